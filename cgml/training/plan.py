"""The plan of a training run: what its weights are of, and what a repeat may change."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import torch

from cgml import machine, plans
from cgml.archive import ArchiveError, refusing
from cgml.spec import ModelSpec
from cgml.training.checkpoint import BEST, PLAN, SPEC, read_checkpoint
from cgml.training.config import FILES, TrainingConfig
from cgml.training.keeper import LAST, PREVIOUS

FILE = "train.json"
FREE = (
    "n_steps",
    "validate_every",
    "save_minutes",
    "patience",
    "n_threads",
    "n_workers",
)
"""Values under [optimiser] that a repeat may change; steps may become more only."""
CHECKPOINTS = "checkpoints"


class Start(NamedTuple):
    """Where a run goes on.

    Attributes:
        path: of the checkpoint.
        content: what it holds.
    """

    path: Path
    content: dict[str, Any]

    @property
    def spec(self) -> ModelSpec:
        """What the weights are of, with the numbers they were trained with."""
        return spec_of(self.content, self.path)

    def is_finished(self, config: TrainingConfig) -> bool:
        """Whether all steps are done, or patience is at its end."""
        sizes = config.optimiser
        n_worse: int = self.content[BEST]["n_worse"]
        step: int = self.content["global_step"]
        return step >= sizes.n_steps or n_worse >= sizes.patience


def describe(
    config: TrainingConfig,
    files: Sequence[Sequence[Path]],
    origin: str | None,
) -> dict[str, Any]:
    """Say what makes a run this run and no other.

    Args:
        config: of the run.
        files: of training molecules, validation molecules and corrections.
        origin: digest of the model that it goes on from.
    """
    device = "cpu"
    if config.optimiser.accelerator != "cpu" and torch.cuda.is_available():
        device = "cuda"
    plan = settings_of(config)
    plan["data"] |= {
        name: plans.files_of(some)
        for name, some in zip(FILES, files, strict=True)
        if some or name == "validation"
    }
    plan["threads"] = torch.get_num_threads()
    plan["machine"] = machine.kind(device)
    if origin is not None:
        plan["from"] = origin
    return plan


def settings_of(config: TrainingConfig) -> dict[str, Any]:
    """What the training file says, without the names of files."""
    settings = config.model_dump(mode="json", exclude={"output"})
    for name in FILES:
        del settings["data"][name]
    if not config.network.chiral:  # runs of older versions do not know it
        del settings["network"]["chiral"]
    if not config.data.bootstrap:
        del settings["data"]["bootstrap"]
    del settings["ensemble"]  # each member has a folder and a plan of its own
    if not config.optimiser.frozen:
        del settings["optimiser"]["frozen"]
    if not config.optimiser.readouts_only:
        del settings["optimiser"]["readouts_only"]
    if config.reach is None:
        del settings["reach"]
    if config.stationarity.weight == 0.0:
        del settings["stationarity"]
    return settings


def find_start(
    config: TrainingConfig, plan: dict[str, Any], note: Callable[[str], None]
) -> Start | None:
    """Find where the run in a folder can go on, if it is the same run.

    Args:
        config: of the run.
        plan: from `describe`; the number of threads becomes that of the run.
        note: told what was changed, and which checkpoint is damaged.

    Returns:
        None where nothing was trained yet.

    Raises:
        ValueError: The folder holds another run; each value that differs is named.
    """
    start = _newest(config.output / CHECKPOINTS, note)
    if start is None:
        return None
    earlier = plan_of(start.content, start.path)
    changed = plans.changes(earlier, plan)
    if start.is_finished(config):
        _drop(changed, "machine")
    sizes = config.optimiser
    for name in FREE:
        before, after = changed.pop(f"optimiser.{name}", (None, None))
        if before == after:
            continue
        if name == "n_steps" and sizes.n_steps < int(str(before)):
            changed["optimiser.n_steps (fewer)"] = before, after
            continue
        note(f"{name} was {before}, is {after} from here on")
    threads = changed.pop("threads", None)
    if threads is not None and sizes.n_threads is None:
        plan["threads"] = threads[0]
        note(f"CPU threads: {threads[0]}, as the run was started with")
    if changed:
        raise ValueError(
            f"{config.output} holds a training run with {plans.describe(changed)}: "
            "restore these to go on with it, choose another output, or start anew with "
            "--no-resume"
        )
    return start


def check_settings(config: TrainingConfig, content: dict[str, Any], path: Path) -> None:
    """Refuse a checkpoint of a run that the config does not describe.

    Raises:
        ValueError: Each value that differs is named.
    """
    earlier, asked = plan_of(content, path), settings_of(config)
    for plan in (earlier, asked):
        for name in FREE:
            plan["optimiser"].pop(name, None)
    for name in FILES:
        earlier["data"].pop(name, None)
    for name in ("threads", "machine", "from"):
        earlier.pop(name, None)
    changed = plans.changes(earlier, asked)
    if changed:
        raise ValueError(
            f"{path} is of a training run with {plans.describe(changed)}: restore these"
        )


def plan_of(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Plan in a checkpoint.

    Raises:
        ValueError: An older version of cgml wrote it.
    """
    if not {PLAN, SPEC, BEST} <= content.keys():
        raise ValueError(
            f"{path} is of a version of cgml whose checkpoints do not say what they "
            "were trained with: finish that run with that version, or choose another "
            "output"
        )
    with refusing(path):
        plan: dict[str, Any] = json.loads(content[PLAN])
        parts = {"optimiser": dict, "data": dict, "machine": dict, "threads": int}
        if any(type(plan[name]) is not kind for name, kind in parts.items()):
            raise ArchiveError("holds no plan of a training run")
    return plan


def spec_of(content: dict[str, Any], path: Path) -> ModelSpec:
    """Spec in a checkpoint.

    Raises:
        ValueError: An older version of cgml wrote it.
    """
    plan_of(content, path)
    with refusing(path):
        return ModelSpec.model_validate_json(content[SPEC])


def _newest(folder: Path, note: Callable[[str], None]) -> Start | None:
    """Read the last checkpoint, or the one before where that is damaged."""
    errors = []
    for path in (folder / LAST, folder / PREVIOUS):
        try:
            start = Start(path, read_checkpoint(path))
        except FileNotFoundError:
            continue
        except ArchiveError as error:
            errors.append(error)
            note(f"{error}")
        else:
            note(f"goes on from step {_check(start)}, in {path}")
            if errors:  # or else the next checkpoint would push the sound one out
                os.replace(folder / LAST, folder / "damaged.ckpt")
            return start
    if errors:
        raise ValueError(
            f"both checkpoints in {folder} are damaged: delete the folder to train "
            "from the beginning"
        ) from errors[0]
    return None


def _check(start: Start) -> int:
    """Refuse a checkpoint that is none of a run; return its step."""
    plan_of(start.content, start.path)
    with refusing(start.path):
        best, step = start.content[BEST], start.content["global_step"]
        kinds = (type(best["score"]), type(best["n_worse"]), type(step))
        if kinds != (float, int, int) or type(best["weights"]) not in {dict, NoneType}:
            raise ArchiveError("is not a checkpoint of a training run")
    number: int = step
    return number


def _drop(changed: dict[str, Any], name: str) -> None:
    for key in [key for key in changed if key.startswith(f"{name}.")]:
        del changed[key]
