"""cgml train: bead frames to a model."""

from typing import Annotated

import typer

from cgml.cli import console, options
from cgml.cli.console import say, tell


def _print_keys(*, asked: bool) -> None:
    """Print what may stand in the file, and leave."""
    if not asked:
        return
    from rich.table import Table
    from rich.text import Text

    from cgml.training.keys import keys

    table = Table("key", "takes", "default", "meaning")
    for key in keys():
        name = f"{key.table}.{key.name}" if key.table else key.name
        table.add_row(*(Text(cell) for cell in (name, *key[2:])))
    console.out.print(table)
    raise typer.Exit


def train(
    config: options.Config,
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint, or delete it.")
    ] = True,
    keys: Annotated[
        bool,
        typer.Option(
            "--keys",
            callback=_print_keys,
            is_eager=True,
            help="Show every key that CONFIG may have, and leave.",
        ),
    ] = False,
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
    del keys  # its callback has answered
    from cgml.training.config import TrainingConfig
    from cgml.training.fit import fit

    path = fit(
        TrainingConfig.from_toml(config),
        resume=resume,
        on_note=tell,
        shows_progress=not console.is_quiet(),
    )
    say(f"model written to {path}")
