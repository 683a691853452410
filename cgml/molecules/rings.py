"""Rings of bonds, and bonds that go through them."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.box import Box, minimum_image
from cgml.molecules.graph import MolecularGraph, neighbours
from cgml.molecules.groups import LARGEST_RING

_NEAR = 0.35  # nm, of the middles of a bond and of a ring it may go through


def small_rings(graph: MolecularGraph) -> list[list[int]]:
    """Find rings of up to LARGEST_RING atoms: the smallest through each of their bonds.

    Returns:
        Atoms of each ring in the order of its bonds.
    """
    near = neighbours(graph.n_atoms, graph.bonds)
    has_ring = np.bincount(
        graph.molecule_index[graph.bonds[:, 0]], minlength=graph.n_molecules
    ) >= np.bincount(graph.molecule_index)
    found: dict[frozenset[int], list[int]] = {}
    for i, j in graph.bonds[has_ring[graph.molecule_index[graph.bonds[:, 0]]]].tolist():
        ring = _around(near, i, j)
        if ring:
            found.setdefault(frozenset(ring), ring)
    return list(found.values())


def _around(near: list[list[int]], start: int, end: int) -> list[int]:
    """Walk from one end of a bond to the other, not over it; empty: it is too far."""
    before = {start: start}
    waiting = deque([(start, 1)])
    while waiting:
        atom, length = waiting.popleft()
        for other in near[atom]:
            if other in before or (atom == start and other == end):
                continue
            before[other] = atom
            if other == end:
                way = [end]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way
            if length + 1 < LARGEST_RING:
                waiting.append((other, length + 1))
    return []


def threaded(
    rings: list[list[int]],
    bonds: NDArray[np.int64],
    atoms: NDArray[Any],
    box: Box | None,
) -> list[tuple[int, int]]:
    """Find bonds that go through rings of which they are no part.

    A ring is taken as the triangles between its middle and its bonds.

    Args:
        rings: from `small_rings`.
        bonds: (n_bonds, 2).
        atoms: positions, molecules whole, (n_atoms, 3), nm.
        box: row vectors, (3, 3), nm; None: open boundaries.

    Returns:
        Number of the ring and of the bond, for each pair.
    """
    starts, ends = atoms[bonds[:, 0]], atoms[bonds[:, 1]]
    middles = 0.5 * (starts + ends)
    found = []
    for number, ring in enumerate(rings):
        corners = atoms[ring]
        middle = corners.mean(axis=0)
        ways = minimum_image(middles - middle, box)
        is_near = (ways**2).sum(axis=1) < _NEAR**2
        is_near &= ~np.isin(bonds, ring).any(axis=1)
        for bond in np.flatnonzero(is_near).tolist():
            half = 0.5 * (ends[bond] - starts[bond])
            segment = ways[bond] - half, ways[bond] + half
            if _crosses(*segment, corners - middle):
                found.append((number, bond))
    return found


def _crosses(start: NDArray[Any], end: NDArray[Any], corners: NDArray[Any]) -> bool:
    """Whether a segment meets one of the triangles of the origin and two corners.

    The segment start + t (end - start) is solved for the plane of each triangle: it
    meets where 0 <= t <= 1 and the corners' shares u, v >= 0, u + v <= 1.
    """
    one, other = corners, np.roll(corners, -1, axis=0)
    ways = np.broadcast_to(start - end, one.shape)
    matrix = np.stack((ways, one, other), axis=-1)  # t, u, v
    is_flat = abs(np.linalg.det(matrix)) < 1.0e-12
    matrix[is_flat] = np.eye(3)
    t, u, v = np.linalg.solve(matrix, np.broadcast_to(start, one.shape)[..., None]).T[0]
    meets = (t >= 0.0) & (t <= 1.0) & (u >= 0.0) & (v >= 0.0) & (u + v <= 1.0)
    return bool((meets & ~is_flat).any())
