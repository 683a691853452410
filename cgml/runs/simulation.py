"""Long runs of many systems and replicas that survive a kill.

Paths are propagated in groups, one unless the work is shared. Frames are collected in
parts, in a folder per group. A part is written whole, with the state at its end; the
next start of the same run goes on from the last part and, because a step is a pure
function of the state, to the last bit as if nothing had happened. Nor does a path
depend on its group. At the end the parts become one trajectory file per path.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cgml.dynamics.guards import GuardError
from cgml.locks import exclusive
from cgml.models.file import find_model, load_model, read_spec
from cgml.molecules.frames import BeadTrajectory
from cgml.network.model import LearnedModel
from cgml.ranges import positive
from cgml.runs.conditions import CONDITIONS
from cgml.runs.parts import count_frames, find_parts, release
from cgml.runs.paths import Paths
from cgml.runs.plan import (
    BOXES,
    PLAN,
    RunOptions,
    Tally,
    check_memory,
    claim,
    describe,
    divide,
    record,
)
from cgml.runs.results import RESULTS, Group, Replica, assemble
from cgml.spec import BaseSpec

PARTS = "parts"


@dataclass(frozen=True)
class Outcome:
    """What a run has left.

    Attributes:
        trajectories: one file per replica, systems in order, of those that have
            frames.
        results: table of all replicas (CSV).
        guard_counts: how often each guard tripped.
        stopped: a line for each replica that a guard stopped: which, where, why.
    """

    trajectories: list[Path]
    results: Path
    guard_counts: dict[str, int]
    stopped: list[str]


def count_steps(spec: BaseSpec, time: float) -> int:
    """Model steps in a time.

    Args:
        spec: of the model.
        time: ps.

    Raises:
        ValueError: the time is no positive multiple of the model's step.
    """
    n_steps = round(positive(time, "the time", "ps") / spec.time_step)
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

    @property
    def settled(self) -> RunOptions:
        """Options; without compiled networks, if the run began without them."""
        execution = self.options.execution
        is_compiled = execution.compiled and self.plan[CONDITIONS]["compiled"]
        execution = execution.model_copy(update={"compiled": is_compiled})
        return replace(self.options, execution=execution)

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
            GuardError: a guard tripped under "raise"; everything up to there is in the
                parts.
            RuntimeError: another process took the group over.
        """
        numbers = self.groups[group]
        replicas = [self.replicas[number] for number in numbers]
        same = [self.plan[key] for key in ("model", "systems", "seed", "stride")]
        same += [self.plan[BOXES]] if BOXES in self.plan else []
        text = json.dumps([*same, numbers.start, numbers.stop])
        origin = hashlib.sha256(text.encode()).hexdigest()
        paths = Paths(replicas, self.settled, self.folder(group), learned, origin)
        paths.propagate(on_frame)

    def release(self) -> None:
        """Stop those who work at it, wherever they are, before their next part."""
        for group in range(len(self.groups)):
            release(self.folder(group))

    def lost(self, tally: Tally) -> list[str]:
        """Names of files of the finished run that are not as they were written."""
        there = {path.name: path.stat().st_size for path in self.output.iterdir()}
        names = [replica.trajectory.name for replica in self.replicas]
        if not tally.files and not tally.stopped:  # of a version without sizes
            return [name for name in names if name not in there]
        return [name for name, size in tally.files.items() if there.get(name) != size]

    def has_parts(self) -> bool:
        """Whether there are parts of all groups."""
        return all(find_parts(self.folder(n)) for n in range(len(self.groups)))

    def check_whole(self) -> None:
        """Refuse to make results of fewer frames than planned.

        Raises:
            RuntimeError: parts are missing.
        """
        for group in range(len(self.groups)):
            folder, n_planned = self.folder(group), self.options.n_frames
            n_frames, parts = count_frames(folder), find_parts(folder)
            are_stopped = bool(parts) and all(parts[-1].stops())
            if n_frames != n_planned and not are_stopped:
                raise RuntimeError(
                    f"{n_planned} frames of each path are required, the parts in "
                    f"{folder} hold {n_frames}: run the same command again"
                )

    def assemble(self) -> Tally:
        """Write what there is of the results; return what the guards did."""
        groups = [
            Group.of(
                [self.replicas[number] for number in numbers],
                find_parts(self.folder(group)),
                self.options.stride,
            )
            for group, numbers in enumerate(self.groups)
        ]
        return assemble(self.output, groups, read_spec(self.model), self.options)


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
            has that head), run.json, and with atoms NAME_rR_atoms.dcd.
        options: length and form.
        on_frame: called with the number of frames done, of all paths together, first
            with those found.

    Returns:
        The files, how often each guard tripped, and which replicas it stopped: those
        have the frames before.

    Raises:
        ValueError: the folder holds another run, or the systems cannot be run.
        GuardError: a guard tripped under "raise"; everything up to there is written,
            and the same call with another policy goes on from there.
        RuntimeError: another process works in the folder.
        OSError: the disk is full; whole parts stay.
    """

    def work(job: Job) -> None:
        learned = load_model(job.model, options.device)
        show = job.tally(on_frame)
        for group in range(len(job.groups)):
            job.propagate(learned, group, partial(show, group))

    with exclusive(output, "run"):
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
    """Do a run, whoever does its work, in a folder that no one else works in.

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
    job, tally = open_job(model, systems, output, options, n_groups=n_groups)
    lost = [] if tally is None else job.lost(tally)
    if lost and not job.has_parts():
        raise ValueError(
            f"the run in {output} is finished, but {', '.join(lost[:3])} there are "
            f"missing or not as they were written ({len(lost)} files): delete "
            f"{output / PLAN} and run the same command again, which computes the same"
        )
    if tally is None or lost:
        try:
            work(job)
        except GuardError:
            job.assemble()
            raise
        job.check_whole()
        tally = job.assemble()
        record(output, job.plan, job.groups, tally, job.model)
    shutil.rmtree(output / PARTS, ignore_errors=True)
    files = [replica.trajectory for replica in job.replicas]
    if tally.stopped:
        files = [path for path in files if path.exists()]
    return Outcome(files, output / RESULTS, tally.guards, tally.stopped)


def open_job(
    model: str | Path,
    systems: Sequence[BeadTrajectory],
    output: Path,
    options: RunOptions,
    *,
    n_groups: int = 1,
) -> tuple[Job, Tally | None]:
    """Take a folder for a run, or find there how far the same run is.

    Args:
        model: see `run`, as for systems, output and options.
        systems: start configurations.
        output: folder.
        options: length and form.
        n_groups: see `conduct`.

    Returns:
        The run; and what the guards did, None if it is not finished.

    Raises:
        ValueError: the folder holds another run, or there is nothing to run.
    """
    path = find_model(model).resolve()
    learned = load_model(path)
    check_memory(learned.spec, systems, options, n_groups)
    plan = describe(learned, systems, options)
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
    groups, tally = claim(output, plan, divide(sizes, n_groups), path)
    return Job(path, output, options, replicas, groups, plan), tally
