"""Long runs of many systems and replicas that survive a kill.

Frames are collected in parts. A part is written whole, with the state at its end; the
next start of the same run goes on from the last part and, because a step is a pure
function of the state, to the last bit as if nothing had happened. At the end the parts
become one trajectory file per replica.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cgml.config import BaseSpec
from cgml.export import bundled_models, load_model
from cgml.files import replacing
from cgml.frames import BeadTrajectory, boxes_of
from cgml.guards import GuardError
from cgml.model import LearnedModel
from cgml.parts import Part, find_parts, write_part
from cgml.propagator import Propagator, State
from cgml.trajectory import TrajectoryWriter, write_topology

PARTS = "parts"
PLAN = "run.json"
RADII = "radius_of_gyration.csv"


@dataclass(frozen=True)
class RunOptions:
    """Length and form of a run.

    Attributes:
        n_steps: model steps.
        n_replicas: copies of every system, each with randomness of its own.
        seed: of all randomness.
        stride: model steps per stored frame; divides n_steps.
        n_part: frames per part: what a kill can cost.
        guard: what a guard does, "raise", "redraw" or "record".
        file_format: of the trajectories, "dcd", "xtc" or "h5md".
        device: of the networks, "cpu" or "cuda".

    Raises:
        ValueError: a count is below 1, or stride does not divide n_steps.
    """

    n_steps: int
    n_replicas: int = 1
    seed: int = 0
    stride: int = 1
    n_part: int = 100
    guard: Literal["raise", "redraw", "record"] = "raise"
    file_format: Literal["dcd", "xtc", "h5md"] = "dcd"
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Check the counts."""
        counts = {
            "n_steps": self.n_steps,
            "n_replicas": self.n_replicas,
            "stride": self.stride,
            "n_part": self.n_part,
        }
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        if self.n_steps % self.stride:
            raise ValueError(
                f"the number of steps must be a multiple of the {self.stride} steps "
                f"between frames, got {self.n_steps}"
            )

    @property
    def n_frames(self) -> int:
        """Frames stored per replica."""
        return self.n_steps // self.stride


@dataclass(frozen=True)
class Outcome:
    """What a run has left.

    Attributes:
        trajectories: one file per replica, systems in order.
        guard_counts: how often each guard tripped.
    """

    trajectories: list[Path]
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
            NAME.pdb per system, radius_of_gyration.csv (where the model has that head)
            and run.json.
        options: length and form.
        on_frame: called with the number of frames done, first with those found.

    Returns:
        The files, and how often each guard tripped.

    Raises:
        ValueError: the folder holds another run, or the systems cannot be run.
        GuardError: a guard tripped; everything up to there is written, and the same
            call with guard="redraw" goes on from there.
        OSError: the disk is full; whole parts stay.
    """
    learned = load_model(model, options.device)
    plan = _plan(model, systems, options)
    counts = _claim(output, plan)
    job = _Job(learned, list(systems), output, options)
    if counts is None:
        try:
            counts = job.propagate(on_frame or _ignore)
        except GuardError:
            job.assemble()
            raise
        job.assemble()
        _write_json(output / PLAN, {"plan": plan, "guards": counts})
    shutil.rmtree(output / PARTS, ignore_errors=True)
    return Outcome(job.files, counts)


class _Job:
    """One run: its propagator, its parts, its files."""

    def __init__(
        self,
        learned: LearnedModel,
        systems: list[BeadTrajectory],
        output: Path,
        options: RunOptions,
    ) -> None:
        self._systems = systems
        self._output = output
        self._parts = output / PARTS
        self._options = options
        self._interval = options.stride * learned.spec.time_step
        self._has_radii = learned.spec.has_property
        self._replicas = [
            (system, replica)
            for system in systems
            for replica in range(options.n_replicas)
        ]
        self._propagator = Propagator(
            learned,
            [system.mapping for system, _ in self._replicas],
            seed=options.seed,
            box=boxes_of([system for system, _ in self._replicas]),
            guard=options.guard,
            device=options.device,
        )

    @property
    def files(self) -> list[Path]:
        """Trajectory of each replica."""
        suffix = self._options.file_format
        return [
            self._output / f"{system.name}_r{replica}.{suffix}"
            for system, replica in self._replicas
        ]

    def propagate(self, on_frame: Callable[[int], None]) -> dict[str, int]:
        """Go on from the last part to the end; return the trips of each guard."""
        self._parts.mkdir(exist_ok=True)
        parts = find_parts(self._parts)
        earlier = parts[-1].guard_counts() if parts else {}
        state = parts[-1].state() if parts else self._start()
        n_done = parts[-1].first + len(parts[-1].frames(0)) if parts else 0
        on_frame(n_done)
        while n_done < self._options.n_frames:
            n_part = min(self._options.n_part, self._options.n_frames - n_done)
            states: list[State] = []
            try:
                for after in self._frames(state, n_part):
                    states.append(after)
                    on_frame(n_done + len(states))
            finally:  # also what came before a guard or a keyboard interrupt
                if states:
                    self._write_part(n_done, states, earlier)
            state, n_done = states[-1], n_done + n_part
        return self._guard_counts(earlier)

    def assemble(self) -> None:
        """Join the parts to one trajectory per replica, a topology and a table."""
        parts = find_parts(self._parts)
        for number, ((system, _), path) in enumerate(
            zip(self._replicas, self.files, strict=True)
        ):
            with TrajectoryWriter(
                path, system.mapping, box=system.box, name=path.stem
            ) as writer:
                for part in parts:
                    frames = part.frames(number)
                    writer.append(frames, self._times(part.first, len(frames)))
        for system in self._systems:
            path = self._output / f"{system.name}.pdb"
            write_topology(path, system.mapping, system.positions[0])
        if self._has_radii:
            self._write_radii(parts)

    def _start(self) -> State:
        positions = [system.positions[0] for system, _ in self._replicas]
        return self._propagator.start(np.concatenate(positions))

    def _times(self, first: int, n_frames: int) -> NDArray[np.float64]:
        """Times of frames, (n_frames,), ps; the start configuration is no frame."""
        numbers = np.arange(first + 1, first + 1 + n_frames, dtype=np.float64)
        return numbers * self._interval

    def _frames(self, state: State, n_frames: int) -> Iterator[State]:
        for _ in range(n_frames):
            for _ in range(self._options.stride):
                state = self._propagator.step(state)
            yield state

    def _write_part(
        self, first: int, states: list[State], earlier: dict[str, int]
    ) -> None:
        radii = None
        if self._has_radii:
            radii = np.stack(
                [self._propagator.radius_of_gyration(state) for state in states]
            )
        write_part(
            self._parts,
            first,
            states,
            self._propagator.slices,
            radii=radii,
            guard_counts=self._guard_counts(earlier),
        )

    def _guard_counts(self, earlier: dict[str, int]) -> dict[str, int]:
        return dict(Counter(earlier) + Counter(self._propagator.guard_counts))

    def _write_radii(self, parts: list[Part]) -> None:
        names = [
            f"{path.stem}_m{molecule}" if mapping.graph.n_molecules > 1 else path.stem
            for path, mapping in zip(self.files, self._propagator.mappings, strict=True)
            for molecule in range(mapping.graph.n_molecules)
        ]
        header = "time/ps," + ",".join(f"{name}/nm" for name in names)
        with (
            replacing(self._output / RADII) as temporary,
            temporary.open("w", encoding="utf-8") as stream,
        ):
            stream.write(header + "\n")
            for part in parts:
                radii = part.radii()
                table = np.column_stack((self._times(part.first, len(radii)), radii))
                np.savetxt(stream, table, fmt="%.7g", delimiter=",")


def _plan(
    model: str | Path, systems: Sequence[BeadTrajectory], options: RunOptions
) -> dict[str, Any]:
    """What makes a run this run and no other."""
    if not systems:
        raise ValueError("a run needs at least one system to start from, got none")
    names = Counter(system.name for system in systems)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(
            f"every system needs a name of its own, {twice[0]!r} occurs twice: rename "
            "a start file"
        )
    path = Path(model)
    content = (path if path.is_file() else bundled_models()[str(model)]).read_bytes()
    return {
        "model": hashlib.sha256(content).hexdigest(),
        "systems": [
            [system.name, system.mapping.hash(), _fingerprint(system.positions[0])]
            for system in systems
        ],
        "n_steps": options.n_steps,
        "n_replicas": options.n_replicas,
        "seed": options.seed,
        "stride": options.stride,
        "file_format": options.file_format,
    }


def _claim(output: Path, plan: dict[str, Any]) -> dict[str, int] | None:
    """Take the folder for this run; return the guards' trips if it is finished."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / PLAN
    if not path.exists():
        _write_json(path, {"plan": plan, "guards": None})
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    for key, value in plan.items():
        if found["plan"].get(key) != value:
            raise ValueError(
                f"{output} holds a run with {key} {_short(found['plan'].get(key))}, "
                f"asked for is {_short(value)}: choose another folder, or repeat that "
                "run's options to continue it"
            )
    guards: dict[str, int] | None = found["guards"]
    return guards


def _fingerprint(positions: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(positions).tobytes()).hexdigest()


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _ignore(n_frames: int) -> None:
    """Show nothing."""
    del n_frames
