"""Corners of stereocentres: which have turned over, and how they are turned back.

A corner is a stereocentre and three of its substituents. It has turned over where
the triple product of the ways to them has another sign than at the start. The last of
the three, if it is a single atom, or else the centre then goes to its mirror image on
the other side of the plane of the other three.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.graph import MolecularGraph, neighbours
from cgml.molecules.stereocentres import candidates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Corners:
    """The corners of the stereocentres of a graph, those of tactic chains, too.

    Args:
        graph: atoms and bonds.
        start: positions whose hands are to be kept, (n_atoms, 3), nm.

    Attributes:
        rows: the centre and three substituents, (n, 4); a single and light atom last.
    """

    def __init__(self, graph: MolecularGraph, start: Floats) -> None:
        degrees = np.bincount(graph.bonds.ravel(), minlength=graph.n_atoms)
        near = neighbours(graph.n_atoms, graph.bonds)
        order = np.lexsort((graph.masses, degrees > 1))[::-1]
        place = np.argsort(order)
        rows = [
            (atom, *three)
            for atom in candidates(graph).tolist()
            for three in combinations(sorted(near[atom], key=place.__getitem__), 3)
        ]
        self.rows: Ints = np.array(rows, dtype=np.int64).reshape(-1, 4)
        is_single = degrees[self.rows[:, 3]] == 1
        self._moved = np.where(is_single, self.rows[:, 3], self.rows[:, 0])
        planes = self.rows[:, 1:].copy()
        planes[is_single, 2] = self.rows[is_single, 0]
        self._planes = planes
        self._volumes = self._volume(start)

    def _volume(self, positions: Floats) -> Floats:
        """Triple products of the ways from the centres, (n,), nm^3."""
        centres, one, two, three = np.moveaxis(positions[self.rows], 1, 0)
        normals = np.cross(one - centres, two - centres)
        return np.asarray(np.einsum("ix,ix->i", normals, three - centres))

    def turned(self, positions: Floats) -> Ints:
        """Find the corners that have turned over: their numbers."""
        return np.flatnonzero(self._volume(positions) * self._volumes < 0.0)

    def mirrored(self, positions: Floats) -> Floats:
        """Turn those back, by one atom of each."""
        atoms = positions.copy()
        for corner in self.turned(positions).tolist():
            one, two, three = atoms[self._planes[corner]]
            normal = np.cross(two - one, three - one)
            height = (atoms[self._moved[corner]] - one) @ normal
            square = max(float(normal @ normal), 1.0e-99)
            atoms[self._moved[corner]] -= 2.0 * height / square * normal
        return atoms
