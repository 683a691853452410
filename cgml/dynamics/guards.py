"""Guards: has a step left the range of the training data?"""

import math
from collections.abc import Sequence
from typing import Self

import torch

from cgml.network.pairs import Pairs
from cgml.spec import Statistics

DISPLACEMENT_MARGIN = 1.5  # of the largest displacement in the training data
BOND_MARGIN = 1.3  # of the longest bond in the training data
DISTANCE_MARGIN = 0.1  # of the shortest distance in the training data
GUARDS = ("finite", "displacement", "bond", "overlap")


class GuardError(RuntimeError):
    """A step left the range of the training data.

    Attributes:
        step: number of the step that was refused.
        replica: number of the replica.
        guard: "finite", "displacement", "bond" or "overlap".
        value: what came, nm.
        limit: what was allowed, nm.
    """

    def __init__(
        self, step: int, replica: int, guard: str, value: float, limit: float
    ) -> None:
        super().__init__(
            f"guard {guard!r} stopped replica {replica} at step {step}: got "
            f"{value:.4g} nm, allowed {limit:.4g} nm; the state before the step is "
            "intact; check the start configuration, or choose guard='redraw' or "
            "guard='record'"
        )
        self.step = step
        self.replica = replica
        self.guard = guard
        self.value = value
        self.limit = limit

    def __reduce__(self) -> tuple[type[Self], tuple[int, int, str, float, float]]:
        """Come whole out of another process."""
        return type(self), (self.step, self.replica, self.guard, self.value, self.limit)


class Guards:
    """Limits of a model, applied to every step.

    Args:
        statistics: of the training data; None: positions need only be finite.
        replica: (n_beads,) replica of each bead, counted from 0.
        replica_ids: number of each replica in messages.
    """

    def __init__(
        self,
        statistics: Statistics | None,
        replica: torch.Tensor,
        replica_ids: Sequence[int],
    ) -> None:
        self._replica = replica
        self._replica_ids = list(replica_ids)
        self._largest = self._longest = math.inf
        self._shortest = 0.0
        if statistics is not None:
            self._largest = statistics.max_displacement * DISPLACEMENT_MARGIN
            self._longest = statistics.bond_length_range[1] * BOND_MARGIN
            self._shortest = statistics.min_distance * DISTANCE_MARGIN

    def check(
        self,
        move: torch.Tensor,
        view: tuple[torch.Tensor, Pairs] | None,
        steps: torch.Tensor,
    ) -> dict[int, GuardError]:
        """Look at one step.

        Args:
            move: (n_beads,) lengths of the displacements, nm.
            view: (n_beads, 3) positions after the step, nm, and the pairs to look at:
                the bonded ones may not be too long, the others not too short; None
                where positions are not finite.
            steps: (n_replicas,) steps done before this one.

        Returns:
            Place of each replica that failed -> its first failure.
        """
        on_bead = self._replica
        tests = [
            ("finite", move, on_bead, ~torch.isfinite(move), math.inf),
            ("displacement", move, on_bead, move > self._largest, self._largest),
        ]
        if view is not None:
            after, near = view
            ends = after.index_select(0, near.receiver) + near.shift.to(after.dtype)
            length = (ends - after.index_select(0, near.sender)).norm(dim=1)
            bonded = near.static[:, 0] > 0.0
            on_pair = on_bead.index_select(0, near.receiver)
            long, short = length > self._longest, length < self._shortest
            tests += [
                ("bond", length, on_pair, bonded & long, self._longest),
                ("overlap", length, on_pair, ~bonded & short, self._shortest),
            ]
        trips: dict[int, GuardError] = {}
        if not bool(torch.stack([failed.any() for *_, failed, _ in tests]).any()):
            return trips
        for name, values, replicas, failed, limit in tests:
            for index in failed.nonzero().flatten().tolist():
                place = int(replicas[index])
                error = GuardError(
                    int(steps[place]) + 1,
                    self._replica_ids[place],
                    name,
                    float(values[index]),
                    limit,
                )
                trips.setdefault(place, error)
        return trips
