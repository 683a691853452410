"""Long runs of many systems and replicas that survive a kill.

Paths are propagated in groups, one unless the work is shared. Frames are collected in
parts, in a folder per group. A part is written whole, with the state at its end; the
next start of the same run goes on from the last part and, because a step is a pure
function of the state, to the last bit as if nothing had happened. Nor does a path
depend on its group. At the end the parts become one trajectory file per path.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cgml.dynamics.guards import GuardError
from cgml.dynamics.propagator import Propagator, State
from cgml.models.file import find_model, load_model, read_spec
from cgml.molecules.frames import BeadTrajectory, boxes_of
from cgml.network.model import LearnedModel
from cgml.runs.parts import PartWriter, count_frames, find_parts, release
from cgml.runs.plan import RunOptions, claim, describe, divide, record
from cgml.runs.results import RESULTS, Group, Replica, assemble
from cgml.spec import BaseSpec

PARTS = "parts"


@dataclass(frozen=True)
class Outcome:
    """What a run has left.

    Attributes:
        trajectories: one file per replica, systems in order.
        results: table of all replicas (CSV).
        guard_counts: how often each guard tripped.
    """

    trajectories: list[Path]
    results: Path
    guard_counts: dict[str, int]


def count_steps(spec: BaseSpec, time: float) -> int:
    """Model steps in a time.

    Args:
        spec: of the model.
        time: ps.

    Raises:
        ValueError: the time is no positive multiple of the model's step.
    """
    n_steps = round(time / spec.time_step)
    if n_steps < 1 or abs(n_steps * spec.time_step - time) > 1e-6 * spec.time_step:
        raise ValueError(
            f"the time must be a positive multiple of the model's step of "
            f"{spec.time_step:g} ps, got {time:g} ps"
        )
    return n_steps


@dataclass(frozen=True)
class Job:
    """A run that is not finished, as it lies on disk.

    Attributes:
        model: file.
        output: folder of the run.
        options: length and form.
        replicas: all paths, systems in order.
        groups: which of them are propagated together: ranges of their numbers.
        plan: what makes it this run and no other.
    """

    model: Path
    output: Path
    options: RunOptions
    replicas: list[Replica]
    groups: list[range]
    plan: dict[str, Any]

    def folder(self, group: int) -> Path:
        """Parts of a group."""
        return self.output / PARTS / f"{group:04d}"

    def tally(
        self, on_frame: Callable[[int], None] | None
    ) -> Callable[[int, int], None]:
        """Add up the frames of all groups, from those found on disk.

        Args:
            on_frame: called with the number of frames of all paths together; or None.

        Returns:
            Function to call with a group and the frames done of each of its paths.
        """
        done = [count_frames(self.folder(group)) for group in range(len(self.groups))]

        def show(group: int, n_frames: int) -> None:
            done[group] = n_frames
            if on_frame is None:
                return
            pairs = zip(done, self.groups, strict=True)
            on_frame(sum(n * len(numbers) for n, numbers in pairs))

        show(0, done[0])
        return show

    def propagate(
        self, learned: LearnedModel, group: int, on_frame: Callable[[int], None]
    ) -> None:
        """Go on from the last part of a group to the end.

        Args:
            learned: the model.
            group: number.
            on_frame: called with the frames done of each path.

        Raises:
            GuardError: a guard tripped; everything up to there is in the parts.
            RuntimeError: another process took the group over.
        """
        _Group(self, learned, group).propagate(on_frame)

    def release(self) -> None:
        """Stop those who work at it, wherever they are, before their next part."""
        for group in range(len(self.groups)):
            release(self.folder(group))

    def assemble(self) -> dict[str, int]:
        """Write what there is of the results; return the trips of each guard."""
        spec = read_spec(self.model)
        groups = [
            Group(
                [self.replicas[number] for number in numbers],
                find_parts(self.folder(group)),
            )
            for group, numbers in enumerate(self.groups)
        ]
        interval = self.options.stride * spec.time_step
        return assemble(self.output, groups, interval, has_radii=spec.has_property)


def run(
    model: str | Path,
    systems: Sequence[BeadTrajectory],
    output: Path,
    options: RunOptions,
    on_frame: Callable[[int], None] | None = None,
) -> Outcome:
    """Propagate replicas of all systems; start again with the same call after a kill.

    Args:
        model: file, or name of a bundled model.
        systems: start configurations: the first frame of each; replica r of system s
            has the replica number s * n_replicas + r.
        output: folder. At the end it holds NAME_rR.dcd (or the format asked for) and
            NAME.pdb per system, results.csv, radius_of_gyration.csv (where the model
            has that head) and run.json.
        options: length and form.
        on_frame: called with the number of frames done, of all paths together, first
            with those found.

    Returns:
        The files, and how often each guard tripped.

    Raises:
        ValueError: the folder holds another run, or the systems cannot be run.
        GuardError: a guard tripped; everything up to there is written, and the same
            call with guard="redraw" goes on from there.
        RuntimeError: another process took the folder over.
        OSError: the disk is full; whole parts stay.
    """

    def work(job: Job) -> None:
        learned = load_model(job.model, options.device)
        show = job.tally(on_frame)
        for group in range(len(job.groups)):
            job.propagate(learned, group, partial(show, group))

    return conduct(model, systems, output, options, work)


def conduct(
    model: str | Path,
    systems: Sequence[BeadTrajectory],
    output: Path,
    options: RunOptions,
    work: Callable[[Job], None],
    *,
    n_groups: int = 1,
) -> Outcome:
    """Do a run, whoever does its work.

    Args:
        model: see `run`, as for systems, output and options.
        systems: start configurations.
        output: folder.
        options: length and form.
        work: called with a run that is not finished; propagates all its groups.
        n_groups: to divide the paths into; a run that goes on keeps its division.

    Returns:
        As `run`.

    Raises:
        ValueError: as `run`, as are the other errors.
    """
    job, counts = open_job(model, systems, output, options, n_groups=n_groups)
    if counts is None:
        try:
            work(job)
        except GuardError:
            job.assemble()
            raise
        counts = job.assemble()
        record(output, job.plan, job.groups, counts)
    shutil.rmtree(output / PARTS, ignore_errors=True)
    files = [replica.trajectory for replica in job.replicas]
    return Outcome(files, output / RESULTS, counts)


def open_job(
    model: str | Path,
    systems: Sequence[BeadTrajectory],
    output: Path,
    options: RunOptions,
    *,
    n_groups: int = 1,
) -> tuple[Job, dict[str, int] | None]:
    """Take a folder for a run, or find there how far the same run is.

    Args:
        model: see `run`, as for systems, output and options.
        systems: start configurations.
        output: folder.
        options: length and form.
        n_groups: see `conduct`.

    Returns:
        The run; and the trips of each guard, None if it is not finished.

    Raises:
        ValueError: the folder holds another run, or there is nothing to run.
    """
    path = find_model(model).resolve()
    plan = describe(path, systems, options)
    replicas = [
        Replica(
            number=place * options.n_replicas + copy,
            copy=copy,
            system=system,
            trajectory=output / f"{system.name}_r{copy}.{options.file_format}",
        )
        for place, system in enumerate(systems)
        for copy in range(options.n_replicas)
    ]
    sizes = [replica.system.mapping.n_beads for replica in replicas]
    groups, counts = claim(output, plan, divide(sizes, n_groups))
    return Job(path, output, options, replicas, groups, plan), counts


class _Group:
    """The paths of one group on their way."""

    def __init__(self, job: Job, learned: LearnedModel, group: int) -> None:
        replicas = [job.replicas[number] for number in job.groups[group]]
        systems = [replica.system for replica in replicas]
        self._options = job.options
        self._has_radii = learned.spec.has_property
        self._propagator = Propagator(
            learned,
            [system.mapping for system in systems],
            seed=job.options.seed,
            replica_ids=[replica.number for replica in replicas],
            box=boxes_of(systems),
            guard=job.options.guard,
            execution=job.options.execution,
            device=job.options.device,
        )
        self._writer = PartWriter(job.folder(group), self._propagator.slices)
        parts = find_parts(job.folder(group))
        start = np.concatenate([system.positions[0] for system in systems])
        self._state = parts[-1].state() if parts else self._propagator.start(start)
        self._earlier = parts[-1].guard_trips() if parts else [{} for _ in replicas]
        self._trips: list[dict[str, int]] = []  # up to the last frame done
        self._n_done = count_frames(job.folder(group))

    def propagate(self, on_frame: Callable[[int], None]) -> None:
        """Go on to the end."""
        on_frame(self._n_done)
        while self._n_done < self._options.n_frames:
            n_part = min(self._options.n_part, self._options.n_frames - self._n_done)
            states: list[State] = []
            try:
                for after in self._frames(n_part):
                    states.append(after)
                    self._trips = [dict(n) for n in self._propagator.guard_trips]
                    on_frame(self._n_done + len(states))
            finally:  # also what came before a guard or a keyboard interrupt
                if states:
                    self._write_part(states)
            self._state, self._n_done = states[-1], self._n_done + n_part

    def _frames(self, n_frames: int) -> Iterator[State]:
        state = self._state
        for _ in range(n_frames):
            for _ in range(self._options.stride):
                state = self._propagator.step(state)
            yield state

    def _write_part(self, states: list[State]) -> None:
        radii = None
        if self._has_radii:
            radii = np.stack(
                [self._propagator.radius_of_gyration(state) for state in states]
            )
        trips = [
            dict(Counter(earlier) + Counter(now))
            for earlier, now in zip(self._earlier, self._trips, strict=True)
        ]
        self._writer.write(self._n_done, states, radii=radii, guard_trips=trips)
