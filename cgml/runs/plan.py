"""What a run is, on disk: its options, its start, how its paths are divided."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml import plans
from cgml.dynamics.noise import checked_seed
from cgml.dynamics.propagator import GuardPolicy
from cgml.files import component, make_folder
from cgml.formats import table
from cgml.memory import require
from cgml.models.ensemble import EnsembleWay, check_ensemble
from cgml.molecules.frames import BeadTrajectory, boxes_of
from cgml.molecules.seen import Unseen
from cgml.network.model import LearnedModel
from cgml.ranges import at_least
from cgml.runs.conditions import CONDITIONS, conditions_of, settle
from cgml.spec import FAST, BaseSpec, Execution

PLAN = "run.json"
ATOM_FORMATS = ("dcd", "xtc")
BOXES, GUARD = "boxes", "guard"
LOGGER = logging.getLogger(__name__)
_OF_A_PATH = 1000  # bytes of what is known of a path, at least
_MOST_THREADS = 1 << 12


@dataclass(frozen=True)
class Tally:
    """What guards did in a run that is finished.

    Attributes:
        guards: guard -> draws it refused, those that did.
        stopped: a line for each path that was stopped: which, where, why.
        files: name -> bytes of what was written; none of older versions.
    """

    guards: dict[str, int]
    stopped: list[str]
    files: dict[str, int]


@dataclass(frozen=True)
class RunOptions:
    """Length and form of a run.

    Attributes:
        n_steps: model steps.
        n_replicas: copies of every system, each with randomness of its own.
        seed: of all randomness.
        stride: model steps per stored frame; divides n_steps.
        n_part: frames per part: what a kill can cost.
        guard: what a guard does, "stop", "raise", "redraw" or "record" (Propagator).
        file_format: of the trajectories: "dcd", "xtc", "h5md" (formats/table.py).
        atoms: also write the atoms, carried with their beads; "dcd" or "xtc".
        device: of the networks, "cpu" or "cuda".
        ensemble: how the members of a model move the paths (Propagator).
        execution: how the networks are evaluated.
        unseen: what happens to molecules that are new to the model (Propagator).
        allowed: what is new to it and was allowed all the same, for the record.

    Raises:
        ValueError: a count is below 1, stride does not divide n_steps, or the format
            is not written.
    """

    n_steps: int
    n_replicas: int = 1
    seed: int = 0
    stride: int = 1
    n_part: int = 100
    guard: GuardPolicy = "stop"
    file_format: str = "dcd"
    atoms: bool = False
    device: str = "cpu"
    ensemble: EnsembleWay = "mixture"
    execution: Execution = FAST
    unseen: Unseen = "refuse"
    allowed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the counts."""
        counts = {
            "n_steps": self.n_steps,
            "n_replicas": self.n_replicas,
            "stride": self.stride,
            "n_part": self.n_part,
        }
        for name, value in counts.items():
            at_least(value, 1, name)
        checked_seed(self.seed)
        check_ensemble(self.ensemble)
        if self.n_steps % self.stride:
            raise ValueError(
                f"the number of steps must be a multiple of the {self.stride} steps "
                f"between frames, got {self.n_steps}"
            )
        table.sink_opener(Path(f"run.{self.file_format}"))
        if self.atoms and self.file_format not in ATOM_FORMATS:
            raise ValueError(
                f"atoms are written as {' or '.join(ATOM_FORMATS)}, the format of the "
                f"trajectories is {self.file_format!r}: choose one of these (--format)"
            )

    @property
    def n_frames(self) -> int:
        """Frames stored per replica."""
        return self.n_steps // self.stride


def check_memory(
    spec: BaseSpec,
    systems: Sequence[BeadTrajectory],
    options: RunOptions,
    n_groups: int = 1,
) -> None:
    """Refuse a run that cannot fit, before anything is made of it.

    Args:
        spec: of the model.
        systems: start configurations.
        options: length and form.
        n_groups: to divide the paths into.

    Raises:
        ValueError: the states of a part of all paths need more memory than there is.
    """
    n_states = min(options.n_part, options.n_frames)
    numbers = n_states * 3 * (1 + spec.n_history) / n_groups  # of a bead, 8 bytes each
    n_beads = sum(system.mapping.n_beads for system in systems)
    per_copy = 8 * numbers * n_beads + _OF_A_PATH * len(systems)
    require(
        options.n_replicas * per_copy,
        f"{options.n_replicas} replicas of {len(systems)} systems, with {n_states} "
        "frames between saves,",
        "ask for fewer replicas, or fewer frames between saves (n_part, --part)",
    )


def divide(sizes: Sequence[int], n_groups: int) -> list[range]:
    """Cut a sequence into stretches of about the same size.

    Args:
        sizes: of the items, positive.
        n_groups: wanted; there are fewer where items are few or uneven.

    Example:
        >>> divide([1, 1, 1, 3], 2)
        [range(0, 3), range(3, 4)]
    """
    ends = np.cumsum(sizes)
    middles = ends - np.asarray(sizes) / 2.0
    labels = (middles * n_groups / ends[-1]).astype(np.int64)
    starts = np.unique(labels, return_index=True)[1].tolist()
    return [range(*pair) for pair in pairwise([*starts, len(sizes)])]


def describe(
    model: LearnedModel, systems: Sequence[BeadTrajectory], options: RunOptions
) -> dict[str, Any]:
    """Say what makes a run this run and no other.

    Args:
        model: whichever file it was read from.
        systems: start configurations.
        options: length and form.

    Raises:
        ValueError: no systems, two of one name, a name that is no file's, or atoms
            are wanted and a start has none.
    """
    if not systems:
        raise ValueError("a run needs at least one system to start from, got none")
    names = Counter(component(system.name, "a system") for system in systems)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(
            f"every system needs a name of its own, {twice[0]!r} occurs twice: rename "
            "a start file"
        )
    boxes = boxes_of(systems)
    return {
        "model": model.digest,
        "systems": [
            [system.name, system.mapping.hash(), _fingerprint(system.positions[0])]
            for system in systems
        ],
        "n_steps": options.n_steps,
        "n_replicas": options.n_replicas,
        "seed": options.seed,
        "stride": options.stride,
        "file_format": options.file_format,
        "execution": options.execution.model_dump(),
        **({"ensemble": options.ensemble} if options.ensemble != "mixture" else {}),
        **({"unseen": list(options.allowed)} if options.allowed else {}),
        **({"atoms": _atoms_of(systems)} if options.atoms else {}),
        **({} if boxes is None else {BOXES: boxes.tolist()}),
        GUARD: options.guard,
        CONDITIONS: conditions_of(model, options.execution, options.device),
    }


def claim(
    output: Path, plan: dict[str, Any], groups: list[range], model: Path
) -> tuple[list[range], Tally | None]:
    """Take a folder for a run.

    Args:
        output: folder, made if need be.
        plan: from `describe`; its conditions become those of the run, if it goes on.
        groups: division of the paths, where the run starts anew.
        model: file, which older versions knew by its bytes.

    Returns:
        The groups, those found if the run goes on; and what the guards did, None if
        it is not finished.

    Raises:
        ValueError: the folder holds another run; each value that differs is named. Or
            it cannot go on here to the same bits.
    """
    make_folder(output)
    path = output / PLAN
    if not path.exists():
        record(output, plan, groups, None, model)
        return groups, None
    found = plans.read_plan(path)
    earlier = dict(found["plan"])
    conditions, guard = earlier.pop(CONDITIONS, None), earlier.pop(GUARD, plan[GUARD])
    _require_same(earlier, plan, output, model)
    if "groups" not in found:
        raise ValueError(
            f"{output} holds a run of an older version of cgml: finish it with that "
            "version, or choose another folder"
        )
    try:
        parts, tally = _understood(found, conditions or {}, groups[-1].stop)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({str(error)[:200]}): choose another folder, or delete "
            "this one to start anew"
        ) from error
    if guard != plan[GUARD]:
        effect = "is finished" if tally else f"goes on with guard {plan[GUARD]!r}"
        LOGGER.warning(
            "the run in %s began with guard %r and %s", output, guard, effect
        )
    if tally is None:
        plan[CONDITIONS] = settle(conditions, plan[CONDITIONS], output)
    return parts, tally


def _require_same(
    earlier: dict[str, Any], plan: dict[str, Any], output: Path, model: Path
) -> None:
    """Refuse another plan, conditions and guard aside; some versions wrote less."""
    execution = earlier.get("execution")
    if isinstance(execution, dict) and execution.get("plain") is False:
        del execution["plain"]  # of a version with two networks
    if earlier.get("model") == plans.digest(model):
        earlier["model"] = plan["model"]
    is_aside = {CONDITIONS, GUARD} | ({BOXES} - earlier.keys())
    asked = {key: value for key, value in plan.items() if key not in is_aside}
    changed = plans.changes(earlier, asked)
    if changed:
        raise ValueError(
            f"{output} holds a run with {plans.describe(changed)}: choose another "
            "folder, or repeat that run's options to continue it"
        )


def _understood(
    found: dict[str, Any], conditions: dict[str, Any], n_paths: int
) -> tuple[list[range], Tally | None]:
    """Read groups and tally, and require that they can be those of such a run."""
    groups = [range(*pair) for pair in found["groups"]]
    ends = [0, *(numbers.stop for numbers in groups)]
    if [numbers.start for numbers in groups] != ends[:-1] or ends[-1] != n_paths:
        raise ValueError(f"its groups are not of {n_paths} paths")
    if not 1 <= conditions.get("threads", 1) <= _MOST_THREADS:
        raise ValueError("its threads are no number of threads")
    if found["guards"] is None:
        return groups, None
    stopped, files = found.get("stopped") or [], found.get("files") or {}
    tally = Tally(dict(found["guards"]), list(stopped), dict(files))
    counts = (*tally.guards.values(), *tally.files.values())
    if not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError("it counts in no whole numbers")
    if not all(type(line) is str for line in tally.stopped):
        raise ValueError("it says in no words which paths were stopped")
    return groups, tally


def record(
    output: Path,
    plan: dict[str, Any],
    groups: Sequence[range],
    tally: Tally | None,
    model: Path,
) -> None:
    """Write down what a run is.

    Args:
        output: folder.
        plan: from `describe`.
        groups: division of the paths.
        tally: what the guards did; None: the run is not finished.
        model: file, where it lay; not a part of the plan, which knows its content.
    """
    content = {
        "model": str(model.resolve()),
        "plan": plan,
        "groups": [[numbers.start, numbers.stop] for numbers in groups],
        "guards": tally and tally.guards,
        "stopped": tally and tally.stopped,
        "files": tally and tally.files,
    }
    plans.write_plan(output / PLAN, content)


def _atoms_of(systems: Sequence[BeadTrajectory]) -> list[str]:
    """Fingerprints of the atoms that are carried."""
    found: list[str] = []
    names = {system.name for system in systems}
    for system in systems:
        if f"{system.name}_atoms" in names:
            raise ValueError(
                f"the atoms of {system.name!r} are written as {system.name}_atoms, "
                "which is the name of another system: rename a start file"
            )
        if system.first_atoms is None:
            raise ValueError(
                f"atoms to carry are required in each start, {system.name!r} has beads "
                "alone: start from a trajectory of atoms, or leave --atoms out"
            )
        found.append(_fingerprint(system.first_atoms))
    return found


def _fingerprint(positions: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(positions).tobytes()).hexdigest()
