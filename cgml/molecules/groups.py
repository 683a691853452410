"""Atoms that a cut must not part: hydrogens, small groups, rings.

A unit is a heavy atom with its hydrogens, and perhaps with its group or its ring.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.graph import MolecularGraph, components, neighbours

HYDROGENS = {"H", "D"}
"""Names of particle types that are hydrogen, whatever they weigh."""

HYDROGEN_MASS = (1.007, 1.009)
"""Masses, Da, of hydrogen in force fields, whatever its type is called there."""

END_MASSES = (15.9994, 18.9984, 32.06, 35.453, 79.904, 126.9045)
"""Masses, Da, of the atoms at the ends of small groups: O, S and halogens."""

_NEAR = 0.02  # Da: rounded in one force field or another
LARGEST_RING = 8
"""Atoms of the largest ring that is kept whole."""


def is_hydrogen(graph: MolecularGraph) -> NDArray[np.bool_]:
    """Tell the hydrogens, (n_atoms,): light, with one bond, to a heavier atom.

    A type is hydrogen by its name (H, D) or by its mass; united atoms and particles of
    reduced units are none.
    """
    low, high = HYDROGEN_MASS
    is_named = np.array([name in HYDROGENS for name in graph.types], dtype=np.bool_)
    is_light = (graph.masses > low) & (graph.masses < high)
    return _ends(graph, is_named | is_light)


def units(
    graph: MolecularGraph, *, keep_hydrogens: bool, keep_groups: bool
) -> NDArray[np.int64]:
    """Find which atoms stay together: the lowest atom of each one's unit, (n_atoms,).

    Args:
        graph: the molecules.
        keep_hydrogens: hydrogens stay with their heavy atom.
        keep_groups: so do hydrogens, small groups (an atom with two or more ends that
            are O, S or a halogen, as CF3, SO2, NO2) and rings of up to LARGEST_RING
            atoms; rings that share atoms are one.
    """
    kept = np.zeros(len(graph.bonds), dtype=np.bool_)
    if keep_hydrogens or keep_groups:
        kept |= is_hydrogen(graph)[graph.bonds].any(axis=1)
    if keep_groups:
        kept |= _group_bonds(graph) | _ring_bonds(graph)
    labels = components(graph.n_atoms, graph.bonds[kept])
    return np.unique(labels, return_index=True)[1][labels]


def partners(graph: MolecularGraph) -> NDArray[np.int64]:
    """An atom that each is bonded to, (n_atoms,); itself where it has no bond."""
    found = np.arange(graph.n_atoms)
    found[graph.bonds[:, 0]] = graph.bonds[:, 1]
    found[graph.bonds[:, 1]] = graph.bonds[:, 0]
    return found


def _ends(graph: MolecularGraph, is_light: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep of these atoms those with one bond, to a heavier atom of another kind."""
    degrees = np.bincount(graph.bonds.ravel(), minlength=graph.n_atoms)
    partner = partners(graph)
    is_heavier = graph.masses[partner] > graph.masses
    return np.asarray(is_light & (degrees == 1) & is_heavier & ~is_light[partner])


def _group_bonds(graph: MolecularGraph) -> NDArray[np.bool_]:
    """Bonds from an atom to two or more ends of O, S or a halogen, (n_bonds,)."""
    degrees = np.bincount(graph.bonds.ravel(), minlength=graph.n_atoms)
    gaps = abs(graph.masses[:, None] - np.array(END_MASSES))
    is_end = (gaps.min(axis=1) < _NEAR) & (degrees == 1)
    to_end = is_end[graph.bonds]  # (n_bonds, 2)
    is_edge = to_end.sum(axis=1) == 1
    centre = np.where(to_end[:, 0], graph.bonds[:, 1], graph.bonds[:, 0])
    n_ends = np.bincount(centre[is_edge], minlength=graph.n_atoms)
    return np.asarray(is_edge & (n_ends[centre] >= 2))


def _ring_bonds(graph: MolecularGraph) -> NDArray[np.bool_]:
    """Bonds that close rings of up to LARGEST_RING atoms, (n_bonds,)."""
    kept = np.zeros(len(graph.bonds), dtype=np.bool_)
    owner = graph.molecule_index[graph.bonds[:, 0]]
    known: dict[bytes, NDArray[np.bool_]] = {}
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=graph.n_molecules)
    rows = np.split(order, np.cumsum(counts)[:-1])
    for atoms, bonds, places in zip(
        graph.molecules, graph.molecule_bonds, rows, strict=True
    ):
        if len(bonds) >= len(atoms):  # there is a ring
            key = bonds.tobytes()
            if key not in known:
                known[key] = _in_ring(len(atoms), bonds)
            kept[places] = known[key]
    return kept


def _in_ring(n_atoms: int, bonds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell the bonds of one molecule that are in a small ring, (n_bonds,)."""
    near = neighbours(n_atoms, bonds)
    return np.array([_has_detour(near, i, j) for i, j in bonds.tolist()])


def _has_detour(near: list[list[int]], start: int, end: int) -> bool:
    """Whether bonded atoms are joined by another way of LARGEST_RING - 1 bonds."""
    distance = {start: 0}
    waiting = deque([start])
    while waiting:
        atom = waiting.popleft()
        if distance[atom] == LARGEST_RING - 1:
            return False
        for other in near[atom]:
            if other == end and atom != start:
                return True
            if other not in distance and other != end:
                distance[other] = distance[atom] + 1
                waiting.append(other)
    return False
