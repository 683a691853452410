"""Systems as the networks see them: what never changes is built once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from cgml.molecules.graph import bond_type_index, type_index
from cgml.molecules.mapping import Mapping
from cgml.molecules.masses import differing
from cgml.molecules.places import depths, type_centres
from cgml.molecules.rouse import Kernels, kernels
from cgml.spec import ModelSpec


class Atoms(NamedTuple):
    """Bond graphs of the atoms of several systems, one after the other.

    Attributes:
        types: (n_atoms,) index of the particle type.
        masses: (n_atoms, 1) mass in units of the mean mass of the vocabulary.
        depths: (n_atoms, 1) place in the bead, see places.depths; (n_atoms, 0) for
            models that do not look.
        sender: (2 n_bonds,) first atom of each directed bond.
        receiver: (2 n_bonds,) second atom.
        bond_types: (2 n_bonds,) index of the bond type.
        beads: (n_atoms,) bead of each atom.
        bead_sizes: (n_beads, 1) atoms of each bead.
    """

    types: torch.Tensor
    masses: torch.Tensor
    depths: torch.Tensor
    sender: torch.Tensor
    receiver: torch.Tensor
    bond_types: torch.Tensor
    beads: torch.Tensor
    bead_sizes: torch.Tensor


class Beads(NamedTuple):
    """Beads of several systems, one after the other.

    Attributes:
        masses: (n_beads, 1) mass in units of the model's mean bead mass.
        molecules: (n_beads,) molecule of each bead.
        molecule_masses: (n_molecules, 1) sums of `masses`.
        slots: (n_beads,) place of each bead in the padded blocks below.
        mean_kernel: (n_molecules, m, m) see rouse.Kernels.
        root_kernel: (n_molecules, m, m) nm.
        inverse_kernel: (n_molecules, m, m) 1/nm.
        rest: (n_beads, 1) direction that the root kernel ignores.
        separation: (n_molecules, m, m) number of bonds between two beads.
        centre_receiver: (n,) bead in which centres of atom types are expected.
        centre_sender: (n,) bead that says where, see places.type_centres.
        centre_weights: (n, n_types) float64; (0, 0) for models that do not look.
    """

    masses: torch.Tensor
    molecules: torch.Tensor
    molecule_masses: torch.Tensor
    slots: torch.Tensor
    mean_kernel: torch.Tensor
    root_kernel: torch.Tensor
    inverse_kernel: torch.Tensor
    rest: torch.Tensor
    separation: torch.Tensor
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
    atoms = _atoms(mapping, spec)
    _check_masses(mapping, spec)
    return SystemGraph(atoms, _beads(mapping, spec))


def _check_masses(mapping: Mapping, spec: ModelSpec) -> None:
    graph = mapping.graph
    expected = np.array([spec.particle_types[name] for name in graph.types])
    wrong = differing(graph.masses, expected)
    if len(wrong):
        atom = int(wrong[0])
        raise ValueError(
            f"particle type {graph.types[atom]!r} must have mass {expected[atom]:g} Da "
            f"as in model {spec.name!r}, atom {atom} has {graph.masses[atom]:g} Da: "
            "correct the mass, or name the type differently"
        )


def _mean_mass(spec: ModelSpec) -> float:
    return float(np.mean(list(spec.particle_types.values())))


def _atoms(mapping: Mapping, spec: ModelSpec) -> Atoms:
    graph = mapping.graph
    kinds = bond_type_index(graph, spec.bond_types)
    first, second = graph.bonds.T
    places = _column(depths(mapping)) if spec.network.atom_places else None
    return Atoms(
        types=torch.tensor(type_index(graph, list(spec.particle_types))),
        masses=_column(graph.masses / _mean_mass(spec)),
        depths=torch.zeros(graph.n_atoms, 0) if places is None else places,
        sender=torch.from_numpy(np.concatenate((first, second))),
        receiver=torch.from_numpy(np.concatenate((second, first))),
        bond_types=torch.from_numpy(np.concatenate((kinds, kinds))),
        beads=torch.tensor(mapping.bead_index),
        bead_sizes=_column(np.bincount(mapping.bead_index)),
    )


def _beads(mapping: Mapping, spec: ModelSpec) -> Beads:
    molecules = mapping.molecule_index
    n_molecules = int(molecules.max()) + 1
    members = [np.flatnonzero(molecules == index) for index in range(n_molecules)]
    width = max(len(member) for member in members)
    blocks = np.zeros((4, n_molecules, width, width))
    rest = np.zeros(mapping.n_beads)
    slots = np.zeros(mapping.n_beads, dtype=np.int64)
    local = np.zeros(mapping.n_beads, dtype=np.int64)
    bond_molecules = molecules[mapping.bead_bonds[:, 0]]
    known: dict[bytes, tuple[Kernels, NDArray[np.float64]]] = {}
    for index, member in enumerate(members):
        n = len(member)
        local[member] = np.arange(n)
        slots[member] = index * width + np.arange(n)
        bonds = local[mapping.bead_bonds[bond_molecules == index]]
        key = mapping.bead_masses[member].tobytes() + bonds.tobytes()
        if key not in known:  # equal molecules share their matrices
            known[key] = (
                kernels(
                    mapping.bead_masses[member],
                    bonds,
                    spec.prior,
                    hold_centre=spec.friction is not None,
                ),
                _separation(n, bonds),
            )
        matrices, separation = known[key]
        blocks[0, index, :n, :n] = matrices.mean
        blocks[1, index, :n, :n] = matrices.root
        blocks[2, index, :n, :n] = matrices.inverse
        blocks[3, index, :n, :n] = separation
        rest[member] = matrices.rest
    masses = mapping.bead_masses / (spec.atoms_per_bead * _mean_mass(spec))
    mean, root, inverse, apart = torch.from_numpy(blocks)
    ends, weights = _centres(mapping, spec)
    return Beads(
        masses=_column(masses),
        molecules=torch.tensor(molecules),
        molecule_masses=_column(np.bincount(molecules, weights=masses)),
        slots=torch.from_numpy(slots),
        mean_kernel=mean,
        root_kernel=root,
        inverse_kernel=inverse,
        rest=_column(rest),
        separation=apart,
        centre_receiver=torch.from_numpy(ends[:, 0].copy()),
        centre_sender=torch.from_numpy(ends[:, 1].copy()),
        centre_weights=torch.from_numpy(weights),
    )


def _centres(
    mapping: Mapping, spec: ModelSpec
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of beads and weights of `places.type_centres`, or none."""
    if not spec.network.atom_places:
        return np.zeros((0, 2), dtype=np.int64), np.zeros((0, 0))
    types = list(spec.particle_types)
    return type_centres(mapping, type_index(mapping.graph, types), len(types))


def _separation(n: int, bonds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Number of bonds between any two beads of a molecule, (n, n)."""
    first, second = bonds.T
    joined = coo_array((np.ones(len(bonds)), (first, second)), shape=(n, n)).tocsr()
    return np.asarray(shortest_path(joined, directed=False, unweighted=True))


def starts(sizes: Sequence[int]) -> list[int]:
    """Place of the first row of each part, parts one after the other."""
    return [0, *np.cumsum(sizes)[:-1].tolist()]


def join_atoms(systems: Sequence[Atoms]) -> Atoms:
    """Several bond graphs as one, in order."""
    atom_offsets = _offsets([part.types for part in systems])
    bead_offsets = _offsets([part.bead_sizes for part in systems])
    return Atoms(
        types=torch.cat([part.types for part in systems]),
        masses=torch.cat([part.masses for part in systems]),
        depths=torch.cat([part.depths for part in systems]),
        sender=_cat([part.sender for part in systems], atom_offsets),
        receiver=_cat([part.receiver for part in systems], atom_offsets),
        bond_types=torch.cat([part.bond_types for part in systems]),
        beads=_cat([part.beads for part in systems], bead_offsets),
        bead_sizes=torch.cat([part.bead_sizes for part in systems]),
    )


def join_beads(systems: Sequence[Beads]) -> Beads:
    """Several systems as one, in order; blocks are padded to the largest molecule."""
    width = max(part.mean_kernel.size(1) for part in systems)
    molecule_offsets = _offsets([part.molecule_masses for part in systems])
    bead_offsets = _offsets([part.masses for part in systems])
    slots = []
    for part, offset in zip(systems, molecule_offsets, strict=True):
        own = part.mean_kernel.size(1)
        index = torch.div(part.slots, own, rounding_mode="floor")
        slots.append((index + offset) * width + part.slots % own)
    return Beads(
        masses=torch.cat([part.masses for part in systems]),
        molecules=_cat([part.molecules for part in systems], molecule_offsets),
        molecule_masses=torch.cat([part.molecule_masses for part in systems]),
        slots=torch.cat(slots),
        mean_kernel=_pad([part.mean_kernel for part in systems], width),
        root_kernel=_pad([part.root_kernel for part in systems], width),
        inverse_kernel=_pad([part.inverse_kernel for part in systems], width),
        rest=torch.cat([part.rest for part in systems]),
        separation=_pad([part.separation for part in systems], width),
        centre_receiver=_cat([part.centre_receiver for part in systems], bead_offsets),
        centre_sender=_cat([part.centre_sender for part in systems], bead_offsets),
        centre_weights=torch.cat([part.centre_weights for part in systems]),
    )


def _column(values: NDArray[np.number]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32)[:, None])


def _offsets(parts: Sequence[torch.Tensor]) -> list[int]:
    return starts([len(part) for part in parts])


def _cat(parts: Sequence[torch.Tensor], offsets: Sequence[int]) -> torch.Tensor:
    return torch.cat(
        [part + offset for part, offset in zip(parts, offsets, strict=True)]
    )


def _pad(parts: Sequence[torch.Tensor], width: int) -> torch.Tensor:
    return torch.cat(
        [
            torch.nn.functional.pad(
                part, (0, width - part.size(2), 0, width - part.size(1))
            )
            for part in parts
        ]
    )
