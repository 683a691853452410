"""cgml examples: scripts and sample data, copied out of the package."""

from pathlib import Path
from typing import Annotated

import typer

from cgml.cli import console, options


def examples(
    folder: Annotated[
        Path, typer.Argument(help="Where to copy to.", parser=options.folder)
    ] = Path("examples"),
) -> None:
    """Copy the example scripts and their sample data into FOLDER.

    They are numbered: simulate reference MD, prepare and train, run in OpenMM and in
    ASE, bring trajectories of your own. Nothing is overwritten.

    For example:
        cgml examples
        cgml run copolymer-chain examples/data/chains.npz --time 400 --output first
    """
    from cgml.examples import copy

    files = [str(path) for path in copy(folder)]
    for path in files:
        console.say(path)
    console.emit({"files": files})
