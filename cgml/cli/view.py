"""cgml view: a run to look at, in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from cgml.cli import options
from cgml.cli.console import emit, say
from cgml.texts import counted


def view(
    run: Annotated[
        Path,
        typer.Argument(
            help="Folder of a run, or a file of bead frames (.h5md).",
            show_default=False,
            parser=options.path,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="HTML file to write; default: view.html in or beside RUN.",
            parser=options.path,
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, help="Frames of each path, evenly over its time.")
    ] = 100,
    paths: Annotated[int, typer.Option(min=1, help="Paths of a run, at most.")] = 12,
) -> None:
    """Write a page that shows beads, bonds and box over time (ps, nm).

    It is one file for any browser and needs no network: drag to turn, scroll to zoom,
    play. Molecules are whole, their centres in the box. Of a run with atoms, name the
    file of one path (NAME_r0_atoms.dcd) to see them. Other programs open NAME.psf,
    NAME.pdb or NAME.data with the trajectories.

    For example:
        cgml view long
    """
    from cgml.runs import scene

    found = scene.paths_of(run)
    target = output or (run if run.is_dir() else run.parent) / "view.html"
    scene.write(target, found[:paths], frames)
    rest = f", of {len(found)} (--paths)" if len(found) > paths else ""
    say(f"{counted(len(found[:paths]), 'path')}{rest} in {target}")
    emit({"page": str(target), "paths": [item.name for item in found[:paths]]})
