r"""How beads have turned: the rotations that best fit the ways to their neighbours.

For each bead :math:`i`, the proper rotation :math:`R_i` that maximises

.. math:: \sum_j w_{ij} \, u'_{ij} \cdot R_i u_{ij} + \epsilon \, \mathrm{tr} R_i,

:math:`u, u'` the unit vectors to the beads one or two bonds away, before and after.
This is the least-squares fit of Kabsch (Acta Cryst. A 32, 922, 1976). The second term
counts for nothing but where the first leaves a choice: of all rotations that fit, the
smallest is taken. So a bead with one direction (a molecule of two beads, beads in a
line) does not spin about it, and one without neighbours does not turn.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from cgml.molecules.graph import MolecularGraph

Floats = NDArray[np.float64]

_SECOND = 0.1  # weight of a bead two bonds away, of one bond: 1
_SMALLEST = 1.0e-8  # epsilon


class Frames:
    """The directions from each bead to the beads around it.

    Args:
        beads: with their bonds (`Mapping.bead_graph`).
    """

    def __init__(self, beads: MolecularGraph) -> None:
        self._beads = beads

    @cached_property
    def _around(self) -> tuple[NDArray[np.int64], NDArray[np.int64], csr_array]:
        """Pairs of beads, and the sum over those of each bead, (n_beads, n_pairs)."""
        n, bonds = self._beads.n_atoms, self._beads.bonds
        one, other = np.concatenate((bonds, bonds[:, ::-1])).T
        near = coo_array((np.ones(len(one)), (one, other)), shape=(n, n)).tocsr()
        far = ((near @ near) > 0).astype(np.float64)
        far = (far - far.multiply(near)).tocoo()  # in a triangle both: the nearer
        rows, columns = far.coords
        is_other = (rows != columns) & (far.data > 0.0)
        senders = np.concatenate((one, rows[is_other]))
        receivers = np.concatenate((other, columns[is_other]))
        weights = np.ones(len(senders))
        weights[len(one) :] = _SECOND
        places = (senders, np.arange(len(senders)))
        return senders, receivers, csr_array((weights, places), (n, len(senders)))

    def rotations(self, before: Floats, after: Floats) -> Floats:
        """Return how each bead has turned, (n_beads, 3, 3), proper rotations.

        Args:
            before: positions, molecules whole, (n_beads, 3), nm.
            after: the same beads later.
        """
        senders, receivers, total = self._around
        units = []
        for positions in (after, before):
            ways = positions[receivers] - positions[senders]
            lengths = np.linalg.norm(ways, axis=1, keepdims=True)
            units.append(ways / np.where(lengths > 0.0, lengths, 1.0))
        products = units[0][:, :, None] * units[1][:, None, :]
        fits = (total @ products.reshape(-1, 9)).reshape(-1, 3, 3)
        return proper(fits + _SMALLEST * np.eye(3))


def proper(matrices: Floats) -> Floats:
    r"""Return the rotations R of largest :math:`\mathrm{tr} R^T M`, (..., 3, 3)."""
    left, _, right = np.linalg.svd(matrices)
    left[..., 2] *= np.sign(np.linalg.det(left @ right))[..., None]
    return np.asarray(left @ right)
