"""cgml train: bead frames to a model."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from cgml.cli import console, options
from cgml.cli.answers import model_written
from cgml.cli.console import tell

INTERVAL = 30.0  # s between two lines at first; later a hundredth of the time so far


def _print_keys(*, asked: bool) -> None:
    """Print what may stand in the file, and leave."""
    if not asked:
        return
    from rich.padding import Padding
    from rich.text import Text

    from cgml.training.keys import keys

    found = list(keys())
    console.emit([key._asdict() for key in found])
    if console.for_machines.get():
        raise typer.Exit
    for key in found:
        name = f"{key.table}.{key.name}" if key.table else key.name
        default = key.default if key.default == "required" else f"default {key.default}"
        console.out.print(Text(f"{name}: {key.kind}; {default}"), soft_wrap=True)
        console.out.print(Padding(Text(key.meaning), (0, 0, 0, 4), expand=False))
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
            callback=_print_keys,  # after --json, before CONFIG is missed
            help="Show every key that CONFIG may have, and leave; with --json a list "
            "of objects (table, name, kind, default, meaning).",
        ),
    ] = False,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from", help="Model file or bundled model whose weights are the first."
        ),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(help="Minutes; then save and leave with exit code 142."),
    ] = None,
) -> None:
    """Train the model that CONFIG describes; after a kill, repeat the command.

    Times in the file are in ps, lengths in nm, the temperature in K. Checkpoints, the
    CSV and TensorBoard logs, progress.html (losses, and the model over the reference on
    validation systems) and at the end model.pt with its card lie in the folder it
    names. With split = "time" the last frames of the same molecules are for validation.

    The folder knows its run: repeated with other values or data, the command says which
    and ends. More steps, validate_every, save_minutes, patience and n_threads may be
    asked for. SIGTERM and Ctrl-C save first (exit codes 143 and 130).

    --from goes on from a model, with the networks that it has, on other data of its
    types; optimiser.frozen names networks that stay as they are.

    For example:
        cgml train chain.toml
    """
    del keys  # its callback has answered
    from cgml.cli.values import seconds
    from cgml.models.file import load_model
    from cgml.training.config import TrainingConfig
    from cgml.training.fit import fit

    settings = TrainingConfig.from_toml(config)
    limit = seconds(time_limit)
    with _shown() as show:
        path = fit(
            settings,
            resume=resume,
            on_note=tell,
            on_status=show,
            time_limit=limit,
            origin=load_model(origin) if origin is not None else None,
        )
    model_written(path)


@contextmanager
def _shown() -> Iterator[Callable[[object], None]]:
    """Show how it goes: one line that changes in a terminal, or now and then a line."""
    if console.is_quiet():
        yield lambda _: None
        return
    if console.err.is_terminal:
        with console.err.status("reads data") as line:
            yield lambda status: line.update(str(status))
        return
    begin = said = time.monotonic()

    def tell_sometimes(status: object) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= max(INTERVAL, 0.01 * (now - begin)):
            said = now
            tell(str(status))

    yield tell_sometimes
