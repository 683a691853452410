r"""Distances that are met exactly, the centres of the beads where they are.

As SHAKE (Ryckaert, Ciccotti and Berendsen, J. Comput. Phys. 23, 327, 1977), all at once
by Newton's method. Atoms move by :math:`\delta = (M^{-1} - S) J^T \lambda`, with masses
:math:`M`, slopes :math:`J` of the distances and :math:`S_{ab} = 1 / m_{bead}` for atoms
of one bead, which takes out how its centre would move.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.linalg import spsolve

from cgml.molecules.mapping import Mapping
from cgml.molecules.strain import differences

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOLERANCE = 1.0e-8
"""Largest error of a distance, relative to it, where constraints are met."""

_MOST_ITERATIONS = 12
_LARGEST_STEP = 0.05  # nm, of an atom in an iteration
_SOFT = 1.0e-9  # of the largest element: where constraints say the same twice


@dataclass(frozen=True)
class Distances:
    """Pairs of atoms and how far apart they are.

    Attributes:
        pairs: (n, 2), atoms.
        lengths: (n,), nm, positive.
    """

    pairs: Ints = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    lengths: Floats = field(default_factory=lambda: np.zeros(0))

    def take(self, chosen: NDArray[np.bool_]) -> "Distances":
        """Take some, (n,)."""
        return Distances(self.pairs[chosen], self.lengths[chosen])

    def errors(self, positions: Floats) -> Floats:
        """Return how far each is off, relative to its length, (n,)."""
        ways = positions[self.pairs[:, 1]] - positions[self.pairs[:, 0]]
        return np.asarray(np.linalg.norm(ways, axis=1) / self.lengths - 1.0)


class Projection:
    """Moves atoms until distances are met.

    Args:
        mapping: atoms -> beads, whose centres stay.
        distances: to be met.
    """

    def __init__(self, mapping: Mapping, distances: Distances) -> None:
        self._mapping, self._distances = mapping, distances

    @cached_property
    def _matrices(self) -> tuple[csr_array, csr_array, csr_array]:
        """What takes pairs to moves of atoms, (n_atoms, n), and its products."""
        mapping, n_atoms = self._mapping, self._mapping.graph.n_atoms
        ways = differences(self._distances.pairs, n_atoms)
        ones = np.ones(n_atoms)
        places = (mapping.bead_index, np.arange(n_atoms))
        beads = csr_array((ones, places), shape=(mapping.n_beads, n_atoms))
        inverse = diags_array(1.0 / mapping.graph.masses)
        shared = beads.T @ diags_array(1.0 / mapping.bead_masses) @ beads
        moves = (inverse @ ways.T - shared @ ways.T).tocsr()
        return ways, moves, (ways @ moves).tocoo()

    def __call__(self, positions: Floats) -> Floats:
        """Return positions where the distances are met, if that succeeds."""
        if not len(self._distances.pairs):
            return positions
        ways, moves, coupling = self._matrices
        rows, columns = coupling.coords
        for _ in range(_MOST_ITERATIONS):
            bonds = ways @ positions
            lengths = np.linalg.norm(bonds, axis=1)
            gaps = lengths - self._distances.lengths
            if (abs(gaps) <= TOLERANCE * self._distances.lengths).all():
                break
            units = bonds / np.maximum(lengths, 1.0e-9)[:, None]
            cosines = np.einsum("ix,ix->i", units[rows], units[columns])
            matrix = csr_array(
                (coupling.data * cosines, (rows, columns)), shape=coupling.shape
            )
            soft = _SOFT * max(matrix.diagonal().max(), 1.0e-9)
            pull = spsolve((matrix + soft * eye_array(len(gaps))).tocsc(), gaps)
            step = moves @ (pull[:, None] * units)
            longest = np.abs(step).max()
            positions = positions - step * min(1.0, _LARGEST_STEP / max(longest, 1e-99))
        return positions
