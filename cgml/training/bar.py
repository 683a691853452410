"""The progress bar of a training run."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from cgml.training.keeper import SCORE


class TrainingBar(RichProgressBar):
    """Shows the steps done and, in words, the last validation loss."""

    def __init__(self) -> None:
        super().__init__()
        self._score: float | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the loss: reading it at every step would make a GPU wait."""
        super().on_validation_end(trainer, pl_module)
        self._score = float(trainer.callback_metrics[SCORE])

    def get_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return what stands beside the bar."""
        del args, kwargs
        return {} if self._score is None else {"validation loss": f"{self._score:.4g}"}
