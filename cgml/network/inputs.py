"""Systems as the networks see them: what never changes is built once."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import shortest_path

from cgml.contract.atoms import Atoms, bond_graph, known_types
from cgml.molecules.graph import bond_type_index, type_index
from cgml.molecules.ideal_chain import depths, kernels, laplacian, type_centres
from cgml.molecules.mapping import Mapping
from cgml.molecules.pieces import pieces
from cgml.molecules.systems import sum_by
from cgml.network.kinds import Kinds, Matrices, group_kinds, join_kinds
from cgml.spec import ModelSpec


class Beads(NamedTuple):
    """Beads of several systems, one after the other.

    Attributes:
        masses: (n_beads, 1) mass in units of the model's mean bead mass.
        molecules: (n_beads,) molecule of each bead.
        molecule_masses: (n_molecules, 1) sums of `masses`.
        kinds: matrices of the molecules.
        rest: (n_beads, 1) direction that the root kernel ignores.
        centre_receiver: (n,) bead in which centres of atom types are expected.
        centre_sender: (n,) bead that says where, see ideal_chain.type_centres.
        centre_weights: (n, n_types) float64; (0, 0) for models that do not look.
    """

    masses: torch.Tensor
    molecules: torch.Tensor
    molecule_masses: torch.Tensor
    kinds: Kinds
    rest: torch.Tensor
    centre_receiver: torch.Tensor
    centre_sender: torch.Tensor
    centre_weights: torch.Tensor


class SystemGraph(NamedTuple):
    """One system, ready to be joined with others."""

    atoms: Atoms
    beads: Beads


def build_system(mapping: Mapping, spec: ModelSpec) -> SystemGraph:
    """Everything about one system that does not depend on positions.

    Args:
        mapping: atoms and beads of the system.
        spec: of the model, for its vocabulary and its prior.

    Raises:
        ValueError: A particle or bond type is not in the vocabulary, or a particle
            has not the mass of its type.
    """
    return SystemGraph(_atoms(mapping, spec), _beads(mapping, spec))


def _mean_mass(spec: ModelSpec) -> float:
    return float(np.mean(list(spec.particle_types.values())))


def _atoms(mapping: Mapping, spec: ModelSpec) -> Atoms:
    graph = mapping.graph
    kinds = bond_type_index(graph, spec.bond_types)
    types, _ = known_types(graph, spec)
    places = [np.zeros((graph.n_atoms, 0))]
    if spec.network.atom_places:
        places.append(depths(mapping)[:, None])
    if spec.network.chiral:
        places.append(_hands(mapping, spec)[:, None])
    masses = graph.masses / _mean_mass(spec)
    columns = torch.from_numpy(np.concatenate(places, axis=1).astype(np.float32))
    return bond_graph(
        (torch.tensor(types), torch.from_numpy(masses), columns),
        torch.tensor(graph.bonds),
        torch.from_numpy(kinds),
        torch.tensor(mapping.bead_index),
    )


def _hands(mapping: Mapping, spec: ModelSpec) -> NDArray[np.float64]:
    """Hand of each atom, (n_atoms,), of which a model must be told."""
    found = mapping.stereocentres.atoms
    if mapping.hands is None and len(found):
        raise ValueError(
            f"model {spec.name!r} tells left from right, and the hands of "
            f"{len(found)} stereocentres are required, the first is "
            f"{mapping.graph.name(int(found[0]))}: prepare the frames of atoms "
            "(again), or give a Mapping that has seen them (mapping.json of cgml "
            "prepare, or Mapping.with_hands)"
        )
    none = np.zeros(mapping.graph.n_atoms)
    return none if mapping.hands is None else mapping.hands.astype(np.float64)


def _beads(mapping: Mapping, spec: ModelSpec) -> Beads:
    molecules = mapping.molecule_index
    masses = mapping.bead_masses / (spec.atoms_per_bead * _mean_mass(spec))
    kinds, rest = _kinds(mapping, spec)
    ends, weights = _centres(mapping, spec)
    return Beads(
        masses=_column(masses),
        molecules=torch.tensor(molecules),
        molecule_masses=_column(np.bincount(molecules, weights=masses)),
        kinds=kinds,
        rest=_column(rest),
        centre_receiver=torch.from_numpy(ends[:, 0].copy()),
        centre_sender=torch.from_numpy(ends[:, 1].copy()),
        centre_weights=torch.from_numpy(weights),
    )


def _kinds(mapping: Mapping, spec: ModelSpec) -> tuple[Kinds, NDArray[np.float64]]:
    """Matrices of the kinds of molecules, and the direction that each ignores."""
    rest = np.zeros(mapping.n_beads)
    known: dict[bytes, tuple[Matrices, NDArray[np.float64]]] = {}
    molecules: dict[bytes, list[NDArray[np.int64]]] = {}
    for members, bonds in pieces(mapping.molecule_index, mapping.bead_bonds):
        masses = mapping.bead_masses[members]
        masses = masses / masses.mean()  # only ratios count
        key = masses.tobytes() + bonds.tobytes()
        if key not in known:  # equal molecules share their matrices
            known[key] = _matrices(masses, bonds, spec)
        rest[members] = known[key][1]
        molecules.setdefault(key, []).append(members)
    groups = [
        (known[key][0], torch.from_numpy(np.stack(found)))
        for key, found in molecules.items()
    ]
    return group_kinds(groups), rest


def _matrices(
    masses: NDArray[np.float64], bonds: NDArray[np.int64], spec: ModelSpec
) -> tuple[Matrices, NDArray[np.float64]]:
    """Matrices of one kind of molecule, and the direction that they ignore."""
    found = kernels(masses, bonds, spec.prior, hold_centre=spec.friction is not None)
    joined = abs(laplacian(len(masses), bonds))
    apart = shortest_path(joined, directed=False, unweighted=True)
    mean, root, inverse, separation = (
        torch.from_numpy(np.ascontiguousarray(matrix))
        for matrix in (found.mean, found.root, found.inverse, apart)
    )
    return (mean, root, inverse, separation), found.rest


def _centres(
    mapping: Mapping, spec: ModelSpec
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of beads and weights of `ideal_chain.type_centres`, or none."""
    if not spec.network.atom_places:
        return np.zeros((0, 2), dtype=np.int64), np.zeros((0, 0))
    types = list(spec.particle_types)
    return type_centres(mapping, type_index(mapping.graph, types), len(types))


def starts(sizes: Sequence[int]) -> list[int]:
    """Place of the first row of each part, parts one after the other."""
    return [0, *np.cumsum(sizes)[:-1].tolist()]


def join_atoms(systems: Sequence[Atoms]) -> Atoms:
    """Several bond graphs as one, in order."""
    atoms, beads = _offsets(systems, "types"), _offsets(systems, "bead_sizes")
    counted = {"sender": atoms, "receiver": atoms, "beads": beads}
    return Atoms(**_joined(systems, Atoms._fields, counted))


def join_beads(systems: Sequence[Beads]) -> Beads:
    """Several systems as one, in order; equal molecules share their matrices."""
    molecules = _offsets(systems, "molecule_masses")
    beads = _offsets(systems, "masses")
    ends = {"centre_receiver": beads, "centre_sender": beads}
    plain = [name for name in Beads._fields if name != "kinds"]
    return Beads(
        kinds=join_kinds([part.kinds for part in systems], beads),
        **_joined(systems, plain, {"molecules": molecules} | ends),
    )


def _joined(
    systems: Sequence[Any], names: Iterable[str], counted: dict[str, list[int]]
) -> dict[str, torch.Tensor]:
    """Fields of several systems one after the other, numbers counted through."""
    found = {}
    for name in names:
        parts = [getattr(part, name) for part in systems]
        if name in counted:
            pairs = zip(parts, counted[name], strict=True)
            parts = [part + offset for part, offset in pairs]
        found[name] = torch.cat(parts)
    return found


def _column(values: NDArray[np.number]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32)[:, None])


def _offsets(systems: Sequence[Any], name: str) -> list[int]:
    return starts([len(getattr(part, name)) for part in systems])


def centre_offsets(beads: Beads, positions: torch.Tensor) -> torch.Tensor:
    """Expected centres of the atoms of each type in a bead, relative to the bead.

    Args:
        beads: static description.
        positions: (n_beads, 3) nm, molecules whole.

    Returns:
        (n_beads, n_types, 3) nm, summed in float64; no types where the model does not
        look, zero where a bead has no such atoms.
    """
    weights = beads.centre_weights
    if weights.size(1) == 0:
        return positions.new_zeros(positions.size(0), 0, 3)
    wide = positions.to(weights.dtype)
    gaps = wide.index_select(0, beads.centre_sender) - wide.index_select(
        0, beads.centre_receiver
    )
    parts = weights.unsqueeze(2) * gaps.unsqueeze(1)  # (n, n_types, 3)
    offsets = sum_by(beads.centre_receiver, parts, positions.size(0))
    return offsets.to(positions.dtype)
