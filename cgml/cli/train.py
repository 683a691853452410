"""cgml train: bead frames to a model."""

from typing import Annotated

import typer

from cgml.cli import options
from cgml.cli.console import say, tell


def train(
    config: options.Config,
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint, or delete it.")
    ] = True,
) -> None:
    """Train the model that CONFIG describes; after a kill, repeat the command.

    Times in the file are in ps, lengths in nm, the temperature in K. Checkpoints, the
    CSV and TensorBoard logs and at the end model.pt with its card lie in the folder it
    names. With split = "time" the last frames of the same molecules are for validation.

    The folder knows its run: repeated with other values or data, the command says which
    and ends. More steps, validate_every, save_minutes, patience and n_threads may be
    asked for. SIGTERM and Ctrl-C save first (exit codes 143 and 130).

    For example:
        cgml train chain.toml
    """
    from cgml.training.config import TrainingConfig
    from cgml.training.fit import fit

    path = fit(TrainingConfig.from_toml(config), resume=resume, on_note=tell)
    say(f"model written to {path}")
