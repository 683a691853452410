"""cgml export: a checkpoint of a training run to a model file."""

from pathlib import Path
from typing import Annotated

import typer

from cgml.cli import options
from cgml.cli.answers import model_written


def export(
    config: options.Config,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Default: the best one so far.", parser=options.path),
    ] = None,
) -> None:
    """Write the model file of a training run, also of one that still goes on.

    The file, model.pt in the folder of the run, holds the networks and all that a
    user of the model needs to know: time step (ps), types, masses (Da), limits (nm).

    For example:
        cgml export chain.toml --checkpoint runs/chain/checkpoints/last.ckpt
    """
    from cgml.training import fit as training
    from cgml.training.config import TrainingConfig

    settings = TrainingConfig.from_toml(config)
    path = training.export_checkpoint(settings, checkpoint)
    model_written(path)
