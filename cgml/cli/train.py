"""cgml train: bead frames to a model."""

from typing import Annotated

import typer

from cgml.cli import options
from cgml.cli.console import say


def train(
    config: options.Config,
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint of this run.")
    ] = True,
) -> None:
    """Train the model that CONFIG describes; after a kill, repeat the command.

    Times in the file are in ps, lengths in nm, the temperature in K. Checkpoints, the
    CSV and TensorBoard logs and at the end model.pt lie in the folder it names.

    For example:
        cgml train chain.toml
    """
    from cgml.training.config import TrainingConfig
    from cgml.training.fit import fit

    path = fit(TrainingConfig.from_toml(config), resume=resume)
    say(f"model written to {path}")
