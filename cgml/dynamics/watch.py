"""What happens to replicas whose steps guards refuse: drawn anew, stopped, raised."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch

from cgml.contract.state import State
from cgml.contract.stepper import View
from cgml.dynamics.guards import EVERY, GUARDS, GuardError, Guards, Trip
from cgml.molecules.systems import Systems

GuardPolicy = Literal["raise", "stop", "redraw", "record"]
POLICIES: tuple[GuardPolicy, ...] = get_args(GuardPolicy)
MAX_REDRAWS = 10  # of one step of one replica
RARE = 1.0e-4  # most draws refused, of all moves of beads, that "stop" draws anew:
# sound models make 0 to 2e-5, one sampled too coarsely 3e-4, one without score network
# 1e-2 (docs/method.md, section 8)


class Watch:
    """Watches over the steps of some replicas.

    Args:
        policy: see `Propagator`.
        guards: what they look for.
        systems: all replicas.
        view: positions (n_beads, 3) nm -> what guards look at.
        grade: positions -> extrapolation grades (n_molecules,); None: not known.

    Attributes:
        guards: as given.
        trips: of each replica: guard -> how many draws it refused.
        stopped: place of a stopped replica -> why.

    Raises:
        ValueError: there is no such policy.
    """

    def __init__(
        self,
        policy: GuardPolicy,
        guards: Guards,
        systems: Systems,
        view: Callable[[torch.Tensor], View | None],
        grade: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        if policy not in POLICIES:
            *most, last = map(repr, POLICIES)
            raise ValueError(
                f"guard must be {', '.join(most)} or {last}, got {policy!r}"
            )
        self.guards, self._policy = guards, policy
        self._systems, self._view, self._grade = systems, view, grade
        self.trips = [dict.fromkeys(GUARDS, 0) for _ in systems.mappings]
        self.stopped: dict[int, GuardError] = {}

    def step(self, state: State, propose: Callable[[Sequence[int]], State]) -> State:
        """Move all replicas by one step, but those that are stopped.

        Args:
            state: before the step.
            propose: number of redraws of each replica -> state after the step.

        Raises:
            GuardError: under "raise", or where all replicas are stopped.
        """
        trips, stopped = [dict(own) for own in self.trips], dict(self.stopped)
        try:
            return self._step(state, propose)
        except GuardError:
            raise
        except BaseException:  # as if the step had not been asked for
            for own, before in zip(self.trips, trips, strict=True):
                own.update(before)
            self.stopped.clear()
            self.stopped.update(stopped)
            raise

    def _step(self, state: State, propose: Callable[[Sequence[int]], State]) -> State:
        self._look_ahead(state)
        attempt = [0] * len(self.trips)
        following = self._with_stopped(state, propose(attempt))
        while trips := self._check(state, following):
            for place, trip in trips.items():
                self.trips[place][trip.guard] += 1
            again = [n for n in trips if self._may_redraw(state, n, attempt[n])]
            for place, trip in trips.items():
                if place in again:
                    attempt[place] += 1
                elif self._policy != "record" or trip.guard == "finite":
                    self._stop(state, place, trip)
            if not again:
                following = self._with_stopped(state, following)
                break
            following = self._with_stopped(state, propose(attempt))
        if len(self.stopped) == len(self.trips):
            raise next(reversed(self.stopped.values()))
        return following

    def _look_ahead(self, state: State) -> None:
        """Stop replicas of molecules that are beyond what was learned.

        Whether it looks depends on the number of the step alone: a run that goes on
        does what one without interruption does.
        """
        if self._grade is None:
            return
        due = (state.step % EVERY == 0).tolist()
        if not any(due):
            return
        trips = self.guards.check_grades(self._grade(state.positions), state.step)
        for place, trip in trips.items():
            if due[place] and place not in self.stopped:
                self.trips[place][trip.guard] += 1
                if self._policy != "record":
                    self._stop(state, place, trip)

    def _check(self, before: State, after: State) -> dict[int, Trip]:
        """Trips of the replicas that are not stopped."""
        move = (after.positions - before.positions).norm(dim=1)
        seen, finite = after.positions, torch.isfinite(move)
        if not bool(finite.all()):  # the others are looked at all the same
            lost = torch.isin(self._systems.replica, self._systems.replica[~finite])
            seen = torch.where(lost[:, None], before.positions, seen)
        trips = self.guards.check(move, self._view(seen), before.step)
        return {
            place: trip for place, trip in trips.items() if place not in self.stopped
        }

    def _may_redraw(self, state: State, place: int, n_redraws: int) -> bool:
        """Whether a draw that was refused, and counted, is replaced by another."""
        if self._policy in ("raise", "record") or n_redraws >= MAX_REDRAWS:
            return False
        if self._policy == "redraw" or n_redraws > 0:
            return True
        n_moves = int(state.step[place]) * self._systems.sizes[place]
        return sum(self.trips[place].values()) <= 1.0 + RARE * n_moves

    def _stop(self, before: State, place: int, trip: Trip) -> None:
        """Stop a replica in the state before a step; under "raise" say so at once."""
        if not trip.cause:
            view, n_known = self._view(before.positions), int(before.n_known[place])
            n_trips = sum(self.trips[place].values())
            is_redrawn = self._policy == "redraw"
            cause = self.guards.cause(
                trip, place, view, n_known, n_trips, is_redrawn=is_redrawn
            )
            trip = replace(trip, cause=cause)
        error = GuardError(trip)
        if self._policy == "raise":
            raise error
        self.stopped[place] = error

    def _with_stopped(self, before: State, after: State) -> State:
        """Leave the stopped replicas where they are."""
        if not self.stopped:
            return after
        place = torch.tensor(sorted(self.stopped))
        device = before.positions.device
        beads = torch.isin(self._systems.replica, place.to(device))[:, None]
        replicas = torch.isin(torch.arange(len(self.trips)), place)
        return State(
            positions=torch.where(beads, before.positions, after.positions),
            displacements=torch.where(beads, before.displacements, after.displacements),
            n_known=torch.where(replicas, before.n_known, after.n_known),
            step=torch.where(replicas, before.step, after.step),
        )
