"""Paths on their way: moved together, part by part, on from where the disk has them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from cgml.dynamics.guards import GuardError
from cgml.dynamics.propagator import Propagator, State
from cgml.molecules.frames import boxes_of
from cgml.molecules.united import as_known
from cgml.network.model import LearnedModel
from cgml.runs.parts import Part, PartWriter
from cgml.runs.plan import RunOptions
from cgml.runs.results import Replica
from cgml.runs.soundness import Layout


class Paths:
    """Paths that are propagated together, from the last part on disk.

    Args:
        replicas: the paths.
        options: length and form of the run.
        folder: of the parts; those that are not sound are deleted.
        learned: the model.
        origin: tells this run and these paths from others.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        options: RunOptions,
        folder: Path,
        learned: LearnedModel,
        origin: str,
    ) -> None:
        systems = [replica.system for replica in replicas]
        self._options = options
        self._has_radii = learned.spec.has_property
        self._propagator = Propagator(
            learned,
            [as_known(item.mapping, learned.spec.particle_types) for item in systems],
            seed=options.seed,
            replica_ids=[replica.number for replica in replicas],
            box=boxes_of(systems),
            guard=options.guard,
            ensemble=options.ensemble,
            execution=options.execution,
            unseen=options.unseen,
            device=options.device,
        )
        layout = Layout(
            slices=self._propagator.slices,
            n_history=learned.spec.n_history,
            n_radii=self._has_radii * sum(item.n_molecules for item in replicas),
            stride=options.stride,
            origin=origin,
        )
        self._writer = PartWriter(folder, layout)
        start = np.concatenate([system.positions[0] for system in systems])
        self._state = self._propagator.start(start)
        self._n_done = 0
        if self._writer.parts:
            last = self._writer.parts[-1]
            self._go_on(last)
            self._n_done = last.first + len(last.frames(0))
        self._mark()

    def _go_on(self, part: Part) -> None:
        """Take up state, counts and stopped paths where a part ends."""
        self._state = part.state()
        for trips, earlier in zip(
            self._propagator.guard_trips, part.guard_trips(), strict=True
        ):
            trips.update(earlier)
        self._propagator.stopped.update(
            (place, GuardError(stop))
            for place, stop in enumerate(part.stops())
            if stop is not None
        )

    def _mark(self) -> None:
        """Remember what guards did up to the last frame done."""
        stopped = self._propagator.stopped
        self._trips = [dict(trips) for trips in self._propagator.guard_trips]
        self._stops = [
            stopped[place].trip if place in stopped else None
            for place in range(len(self._trips))
        ]

    def propagate(self, on_frame: Callable[[int], None]) -> None:
        """Go on to the end, or until all paths are stopped."""
        on_frame(self._n_done)
        while self._n_done < self._options.n_frames and not all(self._stops):
            n_part = min(self._options.n_part, self._options.n_frames - self._n_done)
            states: list[State] = []
            try:
                for after in self._frames(n_part):
                    states.append(after)
                    self._mark()
                    on_frame(self._n_done + len(states))
            finally:  # also what came before a guard or a keyboard interrupt
                if states:
                    self._write_part(states)
            self._state, self._n_done = states[-1], self._n_done + n_part
        if self._n_done < self._options.n_frames:
            on_frame(self._options.n_frames)  # nothing more will come

    def _frames(self, n_frames: int) -> Iterator[State]:
        """States after each frame; stopped paths stay where they are."""
        state = self._state
        for _ in range(n_frames):
            for _ in range(self._options.stride):
                try:
                    state = self._propagator.step(state)
                except GuardError:
                    if self._options.guard == "raise":
                        raise  # else all are stopped: the state is the last one
            yield state

    def _write_part(self, states: list[State]) -> None:
        radii = None
        if self._has_radii:
            radii = np.stack(
                [self._propagator.radius_of_gyration(state) for state in states]
            )
        self._writer.write(
            self._n_done,
            states,
            radii=radii,
            guard_trips=self._trips,
            stops=self._stops,
        )
