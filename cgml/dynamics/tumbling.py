r"""How molecules of one bead turn: rotational diffusion, at the rate of their kind.

The orientation of a molecule after step :math:`n` is the unit quaternion along

.. math:: Q_n = \sum_{0 \le k < K} \rho^k \xi_{n - k},

:math:`\xi` four independent standard normals of the molecule and the step: a stationary
Gaussian process, all orientations alike. Orientations at two steps are correlated as

.. math:: C(n) = \langle \mathrm{tr} R_0^T R_n \rangle / 3
          = \tfrac{2}{3} r \, {}_2F_1(1, 1; 4; r), \quad r = \rho^{2n},

and :math:`\rho` is such that C is 1/e after the rotation time that the model states,
which `prepare` has measured (molecules/turning.py). K is where C is below 1/1000.

It is a function of seed, replica and step alone: a restart needs no state, any frame of
a path can be made without those before it, and every engine makes the same.
"""

import logging
import math

import numpy as np
import torch
from numpy.typing import NDArray

from cgml.dynamics.noise import generator
from cgml.molecules.mapping import Mapping
from cgml.molecules.turning import compositions, kind_of, named
from cgml.spec import BaseSpec
from cgml.texts import listed

LOGGER = logging.getLogger(__name__)

Floats = NDArray[np.float64]

R_OF_TIME = 0.479592748463407
"""r after the rotation time, where C is 1/e."""

MOST_STEPS = 10_000
"""Longest rotation time, in steps; slower molecules keep their orientation."""

_LEAST_R = 1.0e-3
_BLOCK = 64  # steps whose normals are drawn at once
_STREAM = -1  # "attempt" of their stream of noise; those of steps are 0 and more


class Tumbling:
    """The orientations of the molecules of one bead of a replica.

    Args:
        spec: of the model, which states rotation times.
        mapping: atoms -> beads, as the model knows them. Beads of one atom have no
            orientation; molecules of a kind whose time is not stated keep theirs.
        replica: its number in the random stream.
        is_said: whether the log says of such molecules.
    """

    def __init__(
        self,
        spec: BaseSpec,
        mapping: Mapping,
        replica: int = 0,
        *,
        is_said: bool = True,
    ) -> None:
        self._replica, self._n_beads = replica, mapping.n_beads
        longest = MOST_STEPS * spec.time_step
        times = {kind_of(row): row.time for row in spec.rotation if row.time <= longest}
        found = compositions(mapping)
        beads = [bead for bead, kind in found.items() if kind in times]
        unknown = sorted(set(found.values()) - set(times))
        if unknown and is_said:
            n = len(found) - len(beads)
            LOGGER.warning(
                "%d molecules of one bead (%s) keep the orientation of their start: "
                "model %r does not state how fast they rotate",
                *(n, listed(map(named, unknown)), spec.name),
            )
        self.beads = np.array(beads, dtype=np.int64)
        steps = np.array([spec.time_step / times[found[bead]] for bead in beads])
        self._rho = R_OF_TIME ** (0.5 * steps)
        longest = 1.0 / steps.min(initial=np.inf)
        self._reach = 1 + math.ceil(math.log(_LEAST_R, R_OF_TIME) * longest)  # K

    def rotations(self, seed: int, step: int) -> Floats | None:
        """Return the orientation of each bead, (n_beads, 3, 3); None: all keep theirs.

        Args:
            seed: of the run.
            step: steps done.
        """
        if not len(self.beads):
            return None
        first = step - self._reach + 1
        total = np.zeros((len(self.beads), 4))
        for block in range(first // _BLOCK, step // _BLOCK + 1):
            stream = generator(seed, self._replica, block, _STREAM)
            drawn = torch.randn((_BLOCK, *total.shape), generator=stream)
            steps = np.arange(block * _BLOCK, (block + 1) * _BLOCK)
            chosen = (steps >= first) & (steps <= step)
            shares = self._rho ** (step - steps[chosen])[:, None]
            total += (shares[:, :, None] * drawn.numpy()[chosen]).sum(axis=0)
        rotations = np.tile(np.eye(3), (self._n_beads, 1, 1))
        rotations[self.beads] = matrices(total)
        return rotations

    def undone(self, atoms: Floats, mapping: Mapping, seed: int, step: int) -> Floats:
        """Turn molecules back from where they are after a step.

        Args:
            atoms: molecules whole, (n_atoms, 3), nm.
            mapping: these atoms -> the same beads.
            seed: of the run.
            step: steps done.

        Returns:
            What `rotations` of that step takes to these atoms, (n_atoms, 3), nm.
        """
        rotations = self.rotations(seed, step)
        if rotations is None:
            return atoms
        chosen = np.flatnonzero(np.isin(mapping.bead_index, self.beads))
        index = mapping.bead_index[chosen]
        centres = mapping.positions(atoms)[index]
        start = atoms.copy()
        turned = np.einsum("iyx,iy->ix", rotations[index], atoms[chosen] - centres)
        start[chosen] = centres + turned
        return start


def matrices(quaternions: Floats) -> Floats:
    """Return the rotations along quaternions of any length, (n, 4) -> (n, 3, 3)."""
    lengths = np.linalg.norm(quaternions, axis=1, keepdims=True)
    a, b, c, d = (quaternions / lengths).T
    rows = (
        (1.0 - 2.0 * (c * c + d * d), 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)),
        (2.0 * (b * c + a * d), 1.0 - 2.0 * (b * b + d * d), 2.0 * (c * d - a * b)),
        (2.0 * (b * d - a * c), 2.0 * (c * d + a * b), 1.0 - 2.0 * (b * b + c * c)),
    )
    return np.moveaxis(np.array(rows), -1, 0)
