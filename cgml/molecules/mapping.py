"""From atoms to beads: positions, masses, bonds."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field, ValidationError
from scipy.sparse import csr_array

from cgml.fields import Section, faults
from cgml.files import read_text, replacing
from cgml.molecules import stereocentres
from cgml.molecules.centres import group_means, group_shares
from cgml.molecules.graph import MolecularGraph, components
from cgml.molecules.partition import partition
from cgml.molecules.recipe import Recipe
from cgml.molecules.stereocentres import Stereocentres
from cgml.spec import BaseSpec

FORMAT = "cgml mapping"
VERSION = 1


_Index = Annotated[int, Field(ge=0, le=10**9)]  # strict: true is none, at once


class _Content(Section):
    """What `Mapping.to_json` writes."""

    model_config = ConfigDict(strict=True)

    format: str
    version: int
    types: list[str]
    masses: list[float]
    bonds: list[list[_Index]]
    bond_types: list[str]
    bead_index: list[_Index]
    recipe: dict[str, Any] | None = None  # none in older files, nor hands
    hands: list[int] | None = None


@dataclass(frozen=True, eq=False)
class Mapping:
    """Which bead each atom belongs to.

    Attributes:
        graph: the atoms.
        bead_index: bead of each atom, (n_atoms,), 0 to n_beads - 1; no bead is
            empty, and each is one connected piece of one molecule.
        recipe: how the beads came about; None: assigned by hand, or not known.
        hands: of the stereocentres among the atoms, (n_atoms,): 1 (R), -1 (S), 0 for
            all other atoms and where frames disagree; None: not known.

    Raises:
        ValueError: bead_index is not such an assignment.
    """

    graph: MolecularGraph
    bead_index: NDArray[np.int64]
    recipe: Recipe | None = None
    hands: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        """Check the assignment."""
        _check_labels(self.graph, self.bead_index)

    @classmethod
    def from_partition(
        cls,
        graph: MolecularGraph,
        atoms_per_bead: float,
        method: Literal["recursive", "kway", "runs"] = "recursive",
        *,
        single_bead_limit: int = 0,
        keep_hydrogens: bool = True,
        keep_groups: bool = False,
    ) -> Self:
        """Cut every molecule into connected beads of nearly equal size: a `Recipe`."""
        recipe = Recipe(
            atoms_per_bead, method, single_bead_limit, keep_hydrogens, keep_groups
        )
        return cls.from_recipe(graph, recipe)

    @classmethod
    def from_recipe(cls, graph: MolecularGraph, recipe: Recipe) -> Self:
        """Cut every molecule by a recipe.

        Raises:
            ValueError: the recipe is of beads that were assigned by hand.
        """
        return cls(graph, partition(graph, recipe), recipe)

    @classmethod
    def from_spec(cls, graph: MolecularGraph, spec: BaseSpec) -> Self:
        """Cut molecules as those that a model was trained on, see `from_recipe`."""
        return cls.from_recipe(graph, Recipe.from_spec(spec))

    @classmethod
    def from_labels(cls, graph: MolecularGraph, labels: ArrayLike) -> Self:
        """Take an assignment as given: bead of each atom, (n_atoms,).

        Raises:
            ValueError: an empty bead, one in several pieces or molecules, or a
                count that does not match.

        Example:
            >>> graph = MolecularGraph.create("AAAA", np.ones(4), [[0, 1], [2, 3]])
            >>> Mapping.from_labels(graph, [0, 0, 1, 1]).bead_masses.tolist()
            [2.0, 2.0]
        """
        values = np.array(labels)
        if values.dtype.kind not in "iu":
            raise ValueError(f"bead labels must be integers, got {values.dtype}")
        values = values.astype(np.int64)
        values.setflags(write=False)
        return cls(graph, values)

    @cached_property
    def n_beads(self) -> int:
        """Number of beads."""
        return int(self.bead_index.max(initial=-1)) + 1

    @cached_property
    def bead_masses(self) -> NDArray[np.float64]:
        """Mass of each bead, (n_beads,), Da."""
        masses = np.zeros(self.n_beads, dtype=np.float64)
        np.add.at(masses, self.bead_index, self.graph.masses)
        return masses

    @cached_property
    def bead_bonds(self) -> NDArray[np.int64]:
        """Beads between which a chemical bond crosses, (n_bead_bonds, 2), i < j."""
        pairs = np.sort(self.bead_index[self.graph.bonds], axis=1)
        return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)

    @cached_property
    def bead_graph(self) -> MolecularGraph:
        """The beads as particles of one type, with their masses and bonds."""
        types = ["bead"] * self.n_beads
        return MolecularGraph.create(types, self.bead_masses, self.bead_bonds)

    @cached_property
    def molecule_index(self) -> NDArray[np.int64]:
        """Molecule of each bead, (n_beads,)."""
        molecule = np.empty(self.n_beads, dtype=np.int64)
        molecule[self.bead_index] = self.graph.molecule_index
        return molecule

    @cached_property
    def _weights(self) -> csr_array:
        """Share of each atom in the mass of its bead, (n_beads, n_atoms)."""
        return group_shares(self.bead_index, self.graph.masses)

    def positions(self, atom_positions: NDArray[Any]) -> NDArray[Any]:
        """Return the centres of mass of the beads, (..., n_beads, 3), nm.

        Float32 for float32 and else float64; summed in float64.

        Args:
            atom_positions: unwrapped, (..., n_atoms, 3), nm.

        Raises:
            ValueError: the atom count does not match, or a position is not finite.
        """
        atoms = np.asarray(atom_positions)
        n_atoms = self.graph.n_atoms
        if atoms.ndim < 2 or atoms.shape[-2:] != (n_atoms, 3):
            raise ValueError(
                f"positions of shape (..., {n_atoms}, 3) are required for the "
                f"{n_atoms} atoms of the mapping, got {atoms.shape}"
            )
        _check_finite(atoms)
        dtype = np.float32 if atoms.dtype == np.float32 else np.float64
        beads: NDArray[Any] = group_means(self._weights, atoms).astype(dtype)
        return beads

    @cached_property
    def stereocentres(self) -> Stereocentres:
        """Atoms with four different substituents."""
        return stereocentres.find(self.graph)

    def with_hands(self, atom_positions: NDArray[Any]) -> Self:
        """Add the hands that frames show; itself where they show nothing new.

        Hands that are known already, from earlier frames, must be these; an atom
        where they are not has none.

        Args:
            atom_positions: (n_frames, n_atoms, 3) nm, molecules whole.
        """
        n_atoms = self.graph.n_atoms
        if not len(self.stereocentres.atoms) or not len(atom_positions):
            return self
        found = stereocentres.settled(self.stereocentres, atom_positions, n_atoms)
        if self.hands is not None:
            found[found != self.hands] = 0
            if np.array_equal(found, self.hands):
                return self
        return replace(self, hands=found)

    @property
    def hand_counts(self) -> dict[str, int]:
        """Number of stereocentres: "R", "S", "unsettled"; or all "not known"."""
        found = self.stereocentres.atoms
        if self.hands is None:
            return {"not known": len(found)} if len(found) else {}
        return stereocentres.counts(self.hands[found])

    def hash(self) -> str:
        """Return a fingerprint (sha256) of the atoms and the assignment."""
        digest = hashlib.sha256(self.graph.hash().encode())
        digest.update(self.bead_index.astype("<i8").tobytes())
        if self.hands is not None and self.hands.any():
            digest.update(self.hands.tobytes())
        return digest.hexdigest()

    def to_json(self) -> str:
        """Write everything as JSON text; masses keep every bit."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "types": self.graph.types,
            "masses": self.graph.masses.tolist(),
            "bonds": self.graph.bonds.tolist(),
            "bond_types": self.graph.bond_types,
            "bead_index": self.bead_index.tolist(),
            "recipe": None if self.recipe is None else asdict(self.recipe),
        }
        if self.hands is not None:
            content["hands"] = self.hands.tolist()
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str, source: str = "text") -> Self:
        """Read what `to_json` wrote; source: where it comes from, for the error text.

        Raises:
            ValueError: not a mapping, or one of a newer version.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"a mapping of cgml is required, {source} is not JSON: {error}"
            ) from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(
                f"a mapping of cgml is required, {source} is JSON of another kind"
            )
        version = content.get("version")
        if version != VERSION:
            raise ValueError(
                f"a mapping of version {VERSION} is required, {source} has version "
                f"{version}: update cgml"
            )
        try:
            found = _Content.model_validate(content)
            graph = MolecularGraph.create(
                found.types,
                found.masses,
                np.array(found.bonds, dtype=np.int64).reshape(-1, 2),
                found.bond_types,
            )
            mapping = cls.from_labels(graph, np.array(found.bead_index, dtype=np.int64))
            return replace(
                mapping,
                recipe=None if found.recipe is None else Recipe(**found.recipe),
                hands=stereocentres.checked(found.hands, graph.n_atoms),
            )
        except ValidationError as error:
            raise ValueError(f"{source} is damaged: {faults(error)}") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source} is damaged: {error}") from error

    def save(self, path: Path | str) -> None:
        """Write a JSON file."""
        with replacing(Path(path)) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a file that `save` wrote, see `from_json`."""
        return cls.from_json(read_text(path), str(path))


def _check_finite(positions: NDArray[Any]) -> None:
    """Refuse NaN and infinity, naming the first."""
    if not np.isfinite(positions).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(positions))[0])
        raise ValueError(
            f"positions must be finite, positions{list(place)} = {positions[place]}"
        )


def _check_labels(graph: MolecularGraph, labels: NDArray[np.int64]) -> None:
    """Require beads that are not empty, connected, and inside one molecule."""
    if labels.shape != (graph.n_atoms,):
        raise ValueError(
            f"one bead label for each of the {graph.n_atoms} atoms is required, got "
            f"shape {labels.shape}"
        )
    least, largest = labels.min(initial=0), labels.max(initial=-1)
    if least < 0 or largest >= graph.n_atoms:  # as many beads as atoms at most
        raise ValueError(
            f"bead labels must be 0 to {graph.n_atoms - 1}, got {least} to {largest}"
        )
    counts = np.bincount(labels)
    if (counts == 0).any():
        raise ValueError(
            f"every bead from 0 to {len(counts) - 1} must hold atoms, bead "
            f"{int(np.argmin(counts))} is empty"
        )
    check_connected(graph, labels, lambda atom: f"bead {labels[atom]}")


def check_connected(
    graph: MolecularGraph, labels: NDArray[np.int64], title: Callable[[int], str]
) -> None:
    """Require that bonds inside a bead connect its atoms; title: of an atom's bead."""
    inside = graph.bonds[labels[graph.bonds[:, 0]] == labels[graph.bonds[:, 1]]]
    piece = components(graph.n_atoms, inside)
    first = np.unique(labels, return_index=True)[1][labels]
    stray = np.flatnonzero(piece != piece[first])
    if len(stray):
        one, other = int(first[stray[0]]), int(stray[0])
        a, b = graph.molecule_index[one], graph.molecule_index[other]
        which = f"molecules {a} and {b}" if a != b else "separate pieces of a molecule"
        raise ValueError(
            "the atoms of a bead must be connected by bonds inside it, "
            f"{title(other)} holds {graph.name(one)} and {graph.name(other)} of {which}"
        )
