"""How a training run is going: a status for each step, a page with plots."""

import math
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from cgml.texts import time_span
from cgml.training.keeper import SCORE
from cgml.training.page import write_page

DECAY = 0.98  # of the average over steps that is called the loss
SPAN = 0.05  # of the run: how far back a trend looks
MAX_POINTS = 400  # of the curve that is kept
PAUSE = 0.5  # s: a GPU waits for the loss to be read


class Status(NamedTuple):
    """Where a training run stands.

    Attributes:
        step: optimiser steps done.
        n_steps: of the run.
        loss: total, averaged over some 50 steps; NaN before the first.
        trend: how much it changed since `since`; NaN where that is not known.
        since: step, a twentieth of the run ago.
        best: lowest validation loss; infinite before the first validation.
        best_step: where.
        rate: steps per second, of this process; NaN before the first step.
        memory: peak of this process, bytes; on a GPU that of the GPU.
    """

    step: int
    n_steps: int
    loss: float
    trend: float
    since: int
    best: float
    best_step: int
    rate: float
    memory: int

    @property
    def seconds_left(self) -> float:
        """Time that the rest takes at this rate, s; patience may end it sooner."""
        return (self.n_steps - self.step) / self.rate

    def __str__(self) -> str:
        """Say all of it in one line."""
        parts = [f"step {self.step:,} of {self.n_steps:,}: loss {self.loss:.4g}"]
        if math.isfinite(self.trend):
            parts[0] += f" ({self.trend:+.2g} since step {self.since:,})"
        if math.isfinite(self.best):
            parts.append(f"validation {self.best:.4g} at best, step {self.best_step:,}")
        if self.rate > 0.0:
            left = time_span(self.seconds_left)
            parts += [f"{self.rate:.3g} steps/s", f"{left} left"]
        return ", ".join([*parts, f"{self.memory / 2**30:.1f} GiB"])


class Watcher(Callback):
    """Tells how a run is going, and draws it after each validation.

    The curve of losses is kept in the checkpoints, so that it goes on with the run.

    Args:
        page: HTML file, written anew after each validation.
        n_steps: of the run.
        on_status: told every half second and after each validation; None: nobody is.
    """

    def __init__(
        self, page: Path, n_steps: int, on_status: Callable[[Status], None] | None
    ) -> None:
        self._page, self._n_steps, self._tell = page, n_steps, on_status
        self._mean: torch.Tensor | None = None
        self._weight = 0.0  # of what the average was begun with, 0 to 1
        self._losses: list[tuple[int, float]] = []
        self._validations: list[tuple[int, float]] = []
        self._begin, self._first, self._next = time.monotonic(), 0, 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin to measure the rate."""
        del module
        self._begin, self._first = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Average the loss, and tell."""
        del args
        loss = outputs["loss"].detach()
        self._mean = (1.0 - DECAY) * loss + (
            0.0 if self._mean is None else DECAY * self._mean
        )
        self._weight = 1.0 - DECAY * (1.0 - self._weight)
        if trainer.global_step % max(1, self._n_steps // MAX_POINTS) == 0:
            self._losses.append((trainer.global_step, self._loss()))
        now = time.monotonic()
        if self._tell is not None and trainer.is_global_zero and now >= self._next:
            self._next = now + PAUSE
            self._tell(self._status(trainer, module))

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw, and tell."""
        if not trainer.is_global_zero:
            return
        score = float(trainer.callback_metrics[SCORE])
        self._validations.append((trainer.global_step, score))
        status = self._status(trainer, module)
        rollouts = getattr(module, "rollouts", [])
        write_page(self._page, str(status), self._losses, self._validations, rollouts)
        if self._tell is not None:
            self._tell(status)

    def state_dict(self) -> dict[str, Any]:
        """Return the curves, for a checkpoint."""
        return {"losses": self._losses, "validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the curves of a checkpoint."""
        self._losses = [(int(k), float(v)) for k, v in state_dict["losses"]]
        self._validations = [(int(k), float(v)) for k, v in state_dict["validations"]]

    def _loss(self) -> float:
        return math.nan if self._mean is None else float(self._mean) / self._weight

    def _status(self, trainer: Trainer, module: LightningModule) -> Status:
        step, loss = trainer.global_step, self._loss()
        reach = step - SPAN * self._n_steps
        earlier = [item for item in self._losses if item[0] <= reach]
        since, before = earlier[-1] if earlier else (0, math.nan)
        finite = [item for item in self._validations if math.isfinite(item[1])]
        best_step, best = min(finite, key=lambda item: item[1], default=(0, math.inf))
        done = step - self._first
        seconds = time.monotonic() - self._begin
        return Status(
            step=step,
            n_steps=self._n_steps,
            loss=loss,
            trend=loss - before,
            since=since,
            best=best,
            best_step=best_step,
            rate=done / seconds if done else math.nan,
            memory=_memory(module.device),
        )


def _memory(device: torch.device) -> int:
    """Peak of the memory in use, bytes."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
