"""Guards: has a step left the range of the training data?"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch

from cgml.contract.stepper import View
from cgml.molecules.systems import Systems
from cgml.spec import BaseSpec, Statistics

DISPLACEMENT_MARGIN = 1.5  # of the largest displacement in the training data
BOND_MARGIN = 1.3  # of the longest bond in the training data
DISTANCE_MARGIN = 0.1  # of the shortest distance in the training data
GRADE_MARGIN = 1.25  # of the largest grade of validation molecules, which is 1
EVERY = 20  # steps between two looks at the grades
GUARDS = ("finite", "displacement", "bond", "overlap", "extrapolation")
KINDRED = 1.5  # most that bonds of a start may be longer or shorter, rms


@dataclass(frozen=True)
class Trip:
    """A step that left the range of the training data: what, where, when.

    Attributes:
        guard: "finite", "displacement", "bond", "overlap" or "extrapolation".
        replica: number of the replica.
        step: number of the step that was refused.
        time: at its end, ps.
        value: what came, nm; a grade without unit for "extrapolation".
        limit: what was allowed, likewise.
        place: the beads, with their atoms, and their molecule.
        known: what the training data had.
        n: beads or bonds of the replica that did the same in this step.
        cause: the likely one, "" where nobody asked.
    """

    guard: str
    replica: int
    step: int
    time: float
    value: float
    limit: float
    place: str
    known: str
    n: int = 1
    cause: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        others = f", and {self.n - 1} more in this step" if self.n > 1 else ""
        cause = f"; likely cause: {self.cause}" if self.cause else ""
        unit = "" if self.guard == "extrapolation" else " nm"
        return (
            f"guard {self.guard!r} stopped replica {self.replica} at step {self.step} "
            f"({self.time:g} ps): got {self.value:.4g}{unit}, "
            f"allowed {self.limit:.4g}{unit} "
            f"({self.known}), {self.place}{others}{cause}; the state before the step "
            "is intact"
        )


class GuardError(RuntimeError):
    """A step left the range of the training data.

    Attributes:
        trip: what, where, when.
    """

    def __init__(self, trip: Trip) -> None:
        super().__init__(str(trip))
        self.trip = trip

    def __reduce__(self) -> tuple[type[Self], tuple[Trip]]:
        """Come whole out of another process."""
        return type(self), (self.trip,)


class _Test(NamedTuple):
    """One look at all beads or pairs: values, their beads, which failed, the limit."""

    guard: str
    values: torch.Tensor
    beads: tuple[torch.Tensor | None, torch.Tensor | None]
    failed: torch.Tensor
    limit: float


class Guards:
    """Limits of a model, applied to every step.

    Args:
        spec: of the model; where it does not say what the training data looked like,
            positions need only be finite.
        systems: all replicas.
        replica_ids: number of each replica in messages.
    """

    def __init__(
        self, spec: BaseSpec, systems: Systems, replica_ids: Sequence[int]
    ) -> None:
        self._spec, self._systems = spec, systems
        self._replica_ids = list(replica_ids)
        self._largest = self._longest = math.inf
        self._shortest = 0.0
        limits = spec.limits
        if limits is not None:
            self._largest = limits.max_displacement * DISPLACEMENT_MARGIN
            self._longest = limits.bond_length_range[1] * BOND_MARGIN
            self._shortest = limits.min_distance * DISTANCE_MARGIN

    def check(
        self, move: torch.Tensor, view: View | None, steps: torch.Tensor
    ) -> dict[int, Trip]:
        """Look at one step.

        Args:
            move: (n_beads,) lengths of the displacements, nm.
            view: (n_beads, 3) positions after the step, nm, and the pairs to look at:
                the bonded ones may not be too long, the others not too short; None
                where there is nothing to look at.
            steps: (n_replicas,) steps done before this one.

        Returns:
            Place of each replica that failed -> its first failure.
        """
        beads = (None, None)
        tests = [
            _Test("finite", move, beads, ~torch.isfinite(move), math.inf),
            _Test("displacement", move, beads, move > self._largest, self._largest),
        ]
        if view is not None:
            length, bonded = _lengths(view)
            ends = (view[1].receiver, view[1].sender)
            long, short = length > self._longest, length < self._shortest
            tests += [
                _Test("bond", length, ends, bonded & long, self._longest),
                _Test("overlap", length, ends, ~bonded & short, self._shortest),
            ]
        trips: dict[int, Trip] = {}
        if not bool(torch.stack([test.failed.any() for test in tests]).any()):
            return trips
        for test in tests:
            failed = test.failed.nonzero().flatten()
            first = failed if test.beads[0] is None else test.beads[0][failed]
            numbers = Counter(places := self._systems.replica[first].tolist())
            for index, place in zip(failed.tolist(), places, strict=True):
                if place not in trips:
                    step = int(steps[place]) + 1
                    trips[place] = self._trip(test, index, place, step, numbers[place])
        return trips

    def check_grades(
        self, grades: torch.Tensor, steps: torch.Tensor
    ) -> dict[int, Trip]:
        """Look at the extrapolation grades before a step.

        Args:
            grades: (n_molecules,) of all replicas.
            steps: (n_replicas,) steps done.

        Returns:
            Place of each replica with a molecule beyond the limit -> its worst.
        """
        trips: dict[int, Trip] = {}
        parts = torch.split(grades.cpu(), self._systems.n_molecules)
        for place, own in enumerate(parts):
            failed = int((own > GRADE_MARGIN).sum())
            if not failed:
                continue
            step, worst = int(steps[place]) + 1, int(own.argmax())
            trips[place] = Trip(
                guard="extrapolation",
                replica=self._replica_ids[place],
                step=step,
                time=step * self._spec.time_step,
                value=float(own[worst]),
                limit=GRADE_MARGIN,
                place=f"molecule {worst}",
                known="extrapolation grade; of molecules as in training it is up to 1",
                n=failed,
                cause="the model has not learned such molecules, or such shapes of "
                "them: results would be of unknown worth",
            )
        return trips

    def cause(
        self,
        trip: Trip,
        place: int,
        view: View | None,
        n_known: int,
        n_trips: int,
        *,
        is_redrawn: bool = False,
    ) -> str:
        """Say what is likely to be behind a trip.

        Args:
            trip: of a step.
            place: of its replica.
            view: positions before the step, and the pairs to look at.
            n_known: true displacements before the step; 0: it is the first one.
            n_trips: draws of the replica that were refused, this one among them.
            is_redrawn: whether the policy has drawn the step anew, as often as it does.
        """
        what = "the start" if n_known == 0 else "the state before the step"
        if self._spec.limits is None or view is None:
            return f"{what} is unlike the training data, or another kind of molecule"
        found = self._fault_before(self._spec.limits, trip, place, view)
        if found is not None:
            return f"{what} {found}"
        inside = f"{what} is within the training data"
        excess = max(trip.value / trip.limit, trip.limit / max(trip.value, 1e-9))
        if excess < KINDRED and trip.n == 1:  # no number compares so with nan
            kind = "a rare draw" if n_trips == 1 else f"draw {n_trips} refused in all"
            remedy = (
                "drawn anew in vain: train for longer, or start from another frame"
                if is_redrawn
                else "guard policy 'redraw' draws such a step anew"
            )
            return f"{kind}, at the limit of the model, {inside}: {remedy}"
        return (
            f"the model is at its limit, {inside}: kind of molecule, density or "
            "temperature may be others than it has seen"
        )

    def _fault_before(
        self, limits: Statistics, trip: Trip, place: int, view: View
    ) -> str | None:
        """Say what was wrong with a replica before a step, if anything."""
        still = torch.zeros(len(self._systems.replica), device=view[0].device)
        steps = torch.full((len(self._replica_ids),), trip.step - 1)
        before = self.check(still, view, steps).get(place)
        if before is not None:
            return (
                f"is outside the training data already ({before.guard}: "
                f"{before.value:.4g} nm, {before.place}): start from a relaxed frame "
                "of these molecules, positions in nm"
            )
        typical = self._typical_bond(view, place)
        scale = limits.length_scale
        if math.isnan(typical) or scale / KINDRED < typical < scale * KINDRED:
            return None
        return (
            f"has bonds of {typical:.3g} nm (rms), the training data of "
            f"{scale:.3g} nm: another kind of molecule, or other units"
        )

    def _trip(self, test: _Test, index: int, place: int, step: int, n: int) -> Trip:
        """Describe the failure of one bead or pair."""
        ends = [index if end is None else int(end[index]) for end in test.beads]
        return Trip(
            guard=test.guard,
            replica=self._replica_ids[place],
            step=step,
            time=step * self._spec.time_step,
            value=float(test.values[index]),
            limit=test.limit,
            place=self._name(place, sorted(set(ends))),
            known=_known(test.guard, self._spec.limits),
            n=n,
        )

    def _name(self, place: int, beads: Sequence[int]) -> str:
        """Name beads, counted through all replicas, by atoms and molecule."""
        mapping = self._systems.mappings[place]
        first = self._systems.slices[place].start
        names, molecules = [], []
        for bead in (bead - first for bead in beads):
            atoms = (mapping.bead_index == bead).nonzero()[0]
            found = Counter(mapping.graph.types[atom] for atom in atoms)
            kinds = " ".join(f"{name}{n if n > 1 else ''}" for name, n in found.items())
            names.append(f"{bead} ({kinds})")
            molecules.append(str(mapping.molecule_index[bead]))
        inside = " and ".join(dict.fromkeys(molecules))
        return (
            f"bead{'s' * (len(names) > 1)} {' and '.join(names)} of "
            f"molecule{'s' * (len(set(molecules)) > 1)} {inside}"
        )

    def _typical_bond(self, view: View, place: int) -> float:
        """Root mean square of the bonds of a replica, nm; nan without any."""
        length, bonded = _lengths(view)
        own = bonded & (self._systems.replica[view[1].receiver] == place)
        return float(length[own].square().mean().sqrt())


def _lengths(view: View) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths of pairs, (n_pairs,) nm, and which of them are bonds."""
    after, near = view
    ends = after.index_select(0, near.receiver) + near.shift.to(after.dtype)
    length = (ends - after.index_select(0, near.sender)).norm(dim=1)
    return length, near.static[:, 0] > 0.0


def _known(guard: str, limits: Statistics | None) -> str:
    """What the training data had of what a guard looks at."""
    if guard == "finite" or limits is None:
        return "positions must be finite"
    shortest, longest = limits.bond_length_range
    return {
        "displacement": f"moves up to {limits.max_displacement:.4g} nm",
        "bond": f"bonds of {shortest:.4g} to {longest:.4g} nm",
        "overlap": f"distances of {limits.min_distance:.4g} nm or more",
    }[guard] + " in the training data"
