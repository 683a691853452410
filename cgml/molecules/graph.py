"""Chemistry that does not change with time: particle types, masses, bonds."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cgml.molecules.masses import UnknownMassesError, united_hint
from cgml.molecules.pieces import Piece, pieces
from cgml.texts import listed

BOND = "bond"
"""Bond type of a bond about which nothing more is known."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What a source calls its atoms; for checks and texts, no part of the chemistry.

    Attributes:
        names: of each atom, (n_atoms,); "" where it has none.
        groups: residue or molecule id of each atom, (n_atoms,), index into
            group_names; -1: none.
        group_names: for example "residue PEO 1" or "molecule 3".
    """

    names: tuple[str, ...]
    groups: NDArray[np.int64]
    group_names: tuple[str, ...]

    @classmethod
    def create(cls, names: Sequence[str], group_names: Sequence[str]) -> Self:
        """Number the groups; names and group names of each atom, (n_atoms,), or ""."""
        number: dict[str, int] = {}
        groups = [
            number.setdefault(name, len(number)) if name else -1 for name in group_names
        ]
        return cls(tuple(names), np.array(groups, dtype=np.int64), tuple(number))

    def select(self, atoms: NDArray[np.int64]) -> "Labels":
        """Take some atoms."""
        names = tuple(self.names[i] for i in atoms)
        return Labels(names, self.groups[atoms], self.group_names)


@dataclass(frozen=True, eq=False)
class MolecularGraph:
    """Atoms and chemical bonds of all molecules of a system.

    Make one with `create`, which sorts and checks.

    Attributes:
        types: particle type names, (n_atoms,).
        masses: (n_atoms,), Da, positive.
        bonds: atom indices, (n_bonds, 2), i < j, sorted, each bond once.
        bond_types: bond type names, (n_bonds,).
        labels: names, residues or molecule ids of the atoms; None: not known. No part
            of the fingerprint.
    """

    types: tuple[str, ...]
    masses: NDArray[np.float64]
    bonds: NDArray[np.int64]
    bond_types: tuple[str, ...]
    labels: Labels | None = None

    @classmethod
    def create(
        cls,
        types: Sequence[str],
        masses: ArrayLike,
        bonds: ArrayLike,
        bond_types: Sequence[str] | None = None,
        labels: Labels | None = None,
    ) -> Self:
        """Check, sort and deduplicate.

        Args:
            types: particle type names, (n_atoms,).
            masses: (n_atoms,), Da.
            bonds: atom indices, (n_bonds, 2), in any order; may be empty.
            bond_types: (n_bonds,); "bond" for each where not given.
            labels: names, residues or molecule ids of the atoms.

        Raises:
            ValueError: lengths that do not match, a mass that is not positive, a bond
                to no atom or to itself, one bond with two types.

        Example:
            >>> graph = MolecularGraph.create("ABA", [1.0, 2.0, 1.0], [[2, 1], [0, 1]])
            >>> graph.bonds.tolist(), graph.n_molecules
            ([[0, 1], [1, 2]], 1)
        """
        n_atoms = len(types)
        masses = _checked_masses(masses, n_atoms)
        pairs = _checked_pairs(bonds, n_atoms)
        names = [BOND] * len(pairs) if bond_types is None else list(bond_types)
        if len(names) != len(pairs):
            raise ValueError(
                f"one type for each bond is required, got {len(names)} types for "
                f"{len(pairs)} bonds"
            )
        found: dict[tuple[int, int], str] = {}
        for (i, j), name in zip(pairs.tolist(), names, strict=True):
            if found.setdefault((i, j), name) != name:
                raise ValueError(
                    f"bond {i}-{j} is given with two types, {found[i, j]!r} and "
                    f"{name!r}"
                )
        ordered = sorted(found)
        unique = np.array(ordered, dtype=np.int64).reshape(-1, 2)
        masses.setflags(write=False)
        unique.setflags(write=False)
        kinds = tuple(found[b] for b in ordered)
        return cls(tuple(types), masses, unique, kinds, labels)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.types)

    @property
    def n_molecules(self) -> int:
        """Number of connected components; an unbonded atom is one."""
        return len(self.molecules)

    @cached_property
    def molecule_index(self) -> NDArray[np.int64]:
        """Molecule of each atom, (n_atoms,), numbered by first atom."""
        return components(self.n_atoms, self.bonds)

    @cached_property
    def molecules(self) -> tuple[NDArray[np.int64], ...]:
        """Atom indices of each molecule, ascending."""
        return tuple(piece.members for piece in self._pieces)

    @cached_property
    def molecule_bonds(self) -> tuple[NDArray[np.int64], ...]:
        """Bonds of each molecule, (n, 2), its atoms numbered from 0."""
        return tuple(piece.bonds for piece in self._pieces)

    @cached_property
    def _pieces(self) -> list[Piece]:
        return pieces(self.molecule_index, self.bonds)

    def select(self, atoms: ArrayLike) -> "MolecularGraph":
        """Take some atoms, (n,) in the order wanted, and the bonds among them."""
        index = np.asarray(atoms, dtype=np.int64)
        new = np.full(self.n_atoms, -1, dtype=np.int64)
        new[index] = np.arange(len(index))
        bonds = new[self.bonds]
        kept = np.flatnonzero((bonds >= 0).all(axis=1))
        return MolecularGraph.create(
            [self.types[i] for i in index],
            self.masses[index],
            bonds[kept],
            [self.bond_types[i] for i in kept],
            None if self.labels is None else self.labels.select(index),
        )

    def name(self, atom: int) -> str:
        """Call an atom by its number and all that is known of it, for texts."""
        labels = self.labels
        text = f"atom {self.short_name(atom)}"
        if labels is None or labels.groups[atom] < 0:
            return text
        return f"{text} of {labels.group_names[labels.groups[atom]]}"

    def short_name(self, atom: int) -> str:
        """Call an atom by its number, and its name or else its type."""
        own = "" if self.labels is None else self.labels.names[atom]
        return f"{atom} ({own or self.types[atom]})"

    def hash(self) -> str:
        """Return a fingerprint (sha256) of types, masses, bonds and bond types."""
        digest = hashlib.sha256(json.dumps([self.types, self.bond_types]).encode())
        digest.update(self.masses.astype("<f8").tobytes())
        digest.update(self.bonds.astype("<i8").tobytes())
        return digest.hexdigest()


def components(n: int, bonds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the connected components of a graph by their lowest node, (n,).

    Args:
        n: number of nodes.
        bonds: node indices, (n_bonds, 2).
    """
    ones = np.ones(len(bonds), dtype=np.int8)
    adjacency = coo_array((ones, (bonds[:, 0], bonds[:, 1])), shape=(n, n))
    return numbered(connected_components(adjacency, directed=False)[1])


def numbered(labels: ArrayLike) -> NDArray[np.int64]:
    """Replace labels, (n,), by numbers 0, 1, ... in the order of their first places.

    Example:
        >>> numbered([7, 7, 2, 7]).tolist()
        [0, 0, 1, 0]
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def neighbours(n: int, bonds: NDArray[np.int64]) -> list[list[int]]:
    """List the nodes that each node is bonded to, in the order of the bonds."""
    near: list[list[int]] = [[] for _ in range(n)]
    for i, j in bonds.tolist():
        near[i].append(j)
        near[j].append(i)
    return near


def breadth_first_levels(
    n: int, bonds: NDArray[np.int64]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Walk all molecules at once along their bonds, away from their lowest nodes.

    Returns:
        For each distance 1, 2, ...: the nodes there, and for each of them a
        bonded node one step nearer.
    """
    both = np.concatenate([bonds, bonds[:, ::-1]])  # (2 n_bonds, 2)
    is_seen = np.zeros(n, dtype=np.bool_)
    is_seen[np.unique(components(n, bonds), return_index=True)[1]] = True
    levels: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    while True:
        both = both[~is_seen[both[:, 1]]]
        step = both[is_seen[both[:, 0]]]
        if not len(step):
            return levels
        nodes, first = np.unique(step[:, 1], return_index=True)
        levels.append((nodes, step[first, 0]))
        is_seen[nodes] = True


def type_index(
    graph: MolecularGraph, particle_types: Sequence[str]
) -> NDArray[np.int64]:
    """Find each atom's type among those that a model knows, (n_atoms,).

    Raises:
        ValueError: it does not know a type.
    """
    try:
        return _lookup(graph.types, list(particle_types), "particle", "atom")
    except ValueError as error:
        for number, members in enumerate(graph.molecules):
            types = sorted(graph.types[i] for i in members.tolist()[:4])
            if types == ["H", "H", "O"] and not {*types} <= {*particle_types}:
                text = (
                    f"molecule {number} ({graph.name(int(members[0]))}) is water, "
                    "which it was not trained with: leave water out (in OpenMM "
                    "Modeller.deleteWater), or take a model whose training data had it"
                )
                error.args = (f"{error}; {text}",)
                break
        raise


def bond_type_index(
    graph: MolecularGraph, bond_types: Sequence[str]
) -> NDArray[np.int64]:
    """Find each bond's type among those that a model knows, (n_bonds,).

    Raises:
        ValueError: it does not know a type.
    """
    return _lookup(graph.bond_types, list(bond_types), "bond", "bond")


def _lookup(
    names: Sequence[str], known: list[str], kind: str, what: str
) -> NDArray[np.int64]:
    """Replace names by their place in a vocabulary."""
    place = {name: i for i, name in enumerate(known)}
    for i, name in enumerate(names):
        if name not in place:
            hint = united_hint(name, known)
            error = UnknownMassesError if hint else ValueError
            raise error(
                f"unknown {kind} type {name!r} ({what} {i}): the model knows "
                f"{listed(known, 99)}{hint}"
            )
    return np.array([place[name] for name in names], dtype=np.int64)


def _checked_masses(masses: ArrayLike, n_atoms: int) -> NDArray[np.float64]:
    """Return masses as (n_atoms,) float64, positive."""
    values = np.array(masses, dtype=np.float64)
    if values.shape != (n_atoms,):
        raise ValueError(
            f"one mass for each atom is required, got shape {values.shape} for "
            f"{n_atoms} types"
        )
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0.0)))
    if len(wrong):
        raise ValueError(
            f"masses must be positive, masses[{wrong[0]}] = {values[wrong[0]]}"
        )
    return values


def _checked_pairs(bonds: ArrayLike, n_atoms: int) -> NDArray[np.int64]:
    """Return bonds as (n_bonds, 2) int64 with i < j."""
    pairs = np.asarray(bonds)
    if pairs.size == 0:
        return np.zeros((0, 2), dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(
            "bonds must be integers of shape (n_bonds, 2), got "
            f"{pairs.dtype} of shape {pairs.shape}"
        )
    outside = np.flatnonzero(((pairs < 0) | (pairs >= n_atoms)).any(axis=1))
    if len(outside):
        raise ValueError(
            f"bonds must join atoms 0 to {n_atoms - 1}, bonds[{outside[0]}] = "
            f"{pairs[outside[0]].tolist()}"
        )
    selfish = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if len(selfish):
        raise ValueError(
            f"an atom cannot be bonded to itself, bonds[{selfish[0]}] = "
            f"{pairs[selfish[0]].tolist()}"
        )
    return np.sort(pairs.astype(np.int64), axis=1)
