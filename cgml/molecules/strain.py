r"""How far atoms are from the bonds, angles and handedness that they had at a start.

.. math:: E = \sum_{bonds} (r - r_0)^2 + a \sum_{angles} (s - s_0)^2
              + b \sum_{corners} l^2 (V - V_0)^2

:math:`s` is the distance of two atoms that have a bonded neighbour in common, or are
neighbours of the two ends of a bond between planar atoms (so cis stays cis), :math:`V`
the product :math:`e_1 \cdot (e_2 \times e_3)` of three bonds of one atom, over the
product :math:`l^3` of their lengths at the start: its sign is the handedness of the
atom, zero keeps it planar. Distances in nm, E in nm^2.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cgml.molecules.graph import neighbours

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ANGLE = 0.2  # a
_CORNER = 0.1  # b
_PLANAR = 0.3  # largest V at the start of a planar atom; of a tetrahedral one: 0.77


def differences(pairs: Ints, n: int) -> csr_array:
    """Return what takes positions to those of second less first, (n_pairs, n)."""
    values = np.tile([-1.0, 1.0], len(pairs))
    rows = np.repeat(np.arange(len(pairs)), 2)
    return csr_array((values, (rows, pairs.ravel())), shape=(len(pairs), n))


def corners_of(near: list[list[int]]) -> Ints:
    """Find each atom with three neighbours of it, (n_corners, 4); near: of each."""
    found = [
        (j, *three) for j, own in enumerate(near) for three in combinations(own, 3)
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def stiff_pairs(
    near: list[list[int]], bonds: Ints, is_planar: NDArray[np.bool_]
) -> Ints:
    """Find the pairs of atoms whose distance :math:`s` is, (n_pairs, 2)."""
    angles = [pair for own in near for pair in combinations(own, 2)]
    double = bonds[is_planar[bonds].all(axis=1)].tolist()
    torsions = [
        (i, m)
        for j, k in double
        for i in near[j]
        for m in near[k]
        if i != k and m != j and i != m
    ]
    return np.array([*angles, *torsions], dtype=np.int64).reshape(-1, 2)


class Strain:
    """The sum above, and its slope.

    Args:
        bonds: pairs of atoms, (n_bonds, 2).
        start: positions that are without strain, (n_atoms, 3), nm.
    """

    def __init__(self, bonds: Ints, start: Floats) -> None:
        n, near = len(start), neighbours(len(start), bonds)
        corners = corners_of(near)
        edges = np.concatenate([corners[:, [0, k]] for k in (1, 2, 3)])
        self._edges = differences(edges, n)
        self._edges_back = self._edges.T.tocsr()
        lengths = np.linalg.norm(self._edges @ start, axis=1).reshape(3, -1)
        self._scale = np.maximum(lengths.prod(axis=0), 1.0e-12)
        self._stiffness = _CORNER * self._scale ** (2.0 / 3.0)
        self._volumes = self._handed(start)[0]
        flat = corners[abs(self._volumes) < _PLANAR, 0]
        is_planar = np.bincount(corners[:, 0], minlength=n) == 1  # three neighbours
        is_planar &= np.isin(np.arange(n), flat)
        pairs = np.concatenate((bonds, stiff_pairs(near, bonds, is_planar)))
        self._weights = np.repeat((1.0, _ANGLE), (len(bonds), len(pairs) - len(bonds)))
        self._ways = differences(pairs, n)
        self._back = self._ways.T.tocsr()
        self._lengths = np.linalg.norm(self._ways @ start, axis=1)

    def _handed(self, positions: Floats) -> tuple[Floats, Floats]:
        """Volumes of the corners, and their slopes by the edges, (3 n_corners, 3)."""
        one, two, three = (self._edges @ positions).reshape(3, -1, 3)
        slopes = np.stack(
            [np.cross(two, three), np.cross(three, one), np.cross(one, two)]
        )
        slopes /= self._scale[:, None]
        volumes = np.einsum("ix,ix->i", one, slopes[0])
        return volumes, slopes

    def __call__(self, positions: Floats) -> tuple[float, Floats]:
        """Return E, nm^2, and its slope, (n_atoms, 3), nm."""
        ways = self._ways @ positions
        lengths = np.sqrt(np.einsum("ix,ix->i", ways, ways))
        gaps = lengths - self._lengths
        pulls = self._weights * gaps
        ways *= (2.0 * pulls / np.maximum(lengths, 1.0e-9))[:, None]
        volumes, slopes = self._handed(positions)
        turns = volumes - self._volumes
        slopes *= (2.0 * self._stiffness * turns)[:, None]
        value = float(pulls @ gaps + (self._stiffness * turns) @ turns)
        slope = self._back @ ways + self._edges_back @ slopes.reshape(-1, 3)
        return value, np.asarray(slope)
