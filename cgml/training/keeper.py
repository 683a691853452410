"""What a training run keeps: checkpoints, the best weights, and when it ends."""

import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from cgml.files import make_folder, replacing
from cgml.interrupts import Flag, Interrupted
from cgml.spec import ModelSpec
from cgml.training.checkpoint import BEST, PLAN, SPEC, WEIGHTS
from cgml.training.config import OptimiserConfig

SCORE = "validation/total"
LAST, PREVIOUS, BEST_SO_FAR = "last.ckpt", "previous.ckpt", "best.ckpt"


class Keeper(Callback):
    """Saves at every validation, every few minutes, and when a signal comes.

    A checkpoint holds all that the run needs to go on and to end: state, best weights
    so far, the spec they were trained with, and the plan. Two are kept. It must come
    after the callback that averages the weights.

    Args:
        folder: of the checkpoints.
        spec: of the model.
        plan: of the run, as JSON.
        sizes: when to save, and when to stop.
        flag: whether a signal came.
        on_note: told why training stops early.

    Attributes:
        best: averaged weights with the lowest validation loss; None: no validation
            gave a finite one.
    """

    def __init__(
        self,
        folder: Path,
        spec: ModelSpec,
        plan: str,
        sizes: OptimiserConfig,
        flag: Flag,
        on_note: Callable[[str], None],
    ) -> None:
        self.best: dict[str, torch.Tensor] | None = None
        self._score, self._n_worse, self._is_better = math.inf, 0, False
        self._folder, self._spec, self._plan = make_folder(folder), spec, plan
        self._sizes, self._flag, self._note = sizes, flag, on_note
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Take the signals from Lightning, which would end without a checkpoint."""
        del trainer, module
        self._flag.install()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Save every few minutes, and leave if a signal came."""
        del args
        if trainer.is_last_batch:
            return  # validation comes next, and saves
        share, now = trainer.strategy, time.monotonic()
        must_stop = self._flag.number is not None
        is_due = now - self._saved_at >= 60.0 * self._sizes.save_minutes
        if share.reduce_boolean_decision(must_stop or is_due, all=False):
            self._save(trainer)
            self._leave_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Judge the weights, save, and stop where they no longer improve."""
        del module
        score = float(trainer.callback_metrics[SCORE])
        self._is_better = score < self._score
        self._n_worse = 0 if self._is_better else self._n_worse + 1
        if self._is_better:
            self._score = score
        self._save(trainer)
        if not math.isfinite(score):
            self._note(f"training stops: the validation loss is {score:g}")
        if not math.isfinite(score) or self._n_worse >= self._sizes.patience:
            trainer.should_stop = True
        elif trainer.global_step < self._sizes.n_steps:
            self._leave_if_asked(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what is kept; the weights are the averaged ones by now."""
        del trainer, module
        if self._is_better:
            self.best = {
                name: values.detach().cpu().clone()
                for name, values in checkpoint[WEIGHTS].items()
            }
        checkpoint[BEST] = {
            "score": self._score,
            "n_worse": self._n_worse,
            "weights": self.best,
        }
        checkpoint[SPEC], checkpoint[PLAN] = self._spec.model_dump_json(), self._plan

    def on_load_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on from a checkpoint: from its step, as if an epoch began there."""
        del module
        kept = checkpoint[BEST]
        self._score, self._n_worse = kept["score"], kept["n_worse"]
        self.best = kept["weights"]
        checkpoint["loops"] = None  # where in an epoch it was says nothing here
        loop = trainer.fit_loop
        steps = loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step
        steps.total.ready = steps.total.completed = checkpoint["global_step"]
        loop.epoch_loop._batches_that_stepped = checkpoint["global_step"]
        epochs = loop.epoch_progress
        for progress in (epochs.current, epochs.total):
            progress.increment_by(checkpoint["epoch"])
        for state in checkpoint["lr_schedulers"]:  # the schedule is that of n_steps now
            del state["total_steps"], state["_schedule_phases"]

    def _save(self, trainer: Trainer) -> None:
        last = self._folder / LAST
        if trainer.is_global_zero and last.exists():
            os.replace(last, self._folder / PREVIOUS)
        trainer.save_checkpoint(last)
        if trainer.is_global_zero and self._is_better:
            with replacing(self._folder / BEST_SO_FAR) as temporary:
                shutil.copyfile(last, temporary)
        self._is_better = False
        self._saved_at = time.monotonic()

    def _leave_if_asked(self, trainer: Trainer) -> None:
        asked = self._flag.number
        if trainer.strategy.reduce_boolean_decision(asked is not None, all=False):
            raise Interrupted(
                f"stopped after step {trainer.global_step} of {self._sizes.n_steps}, "
                f"saved in {self._folder / LAST}: run the same command again to go on",
                asked or 0,
            )
