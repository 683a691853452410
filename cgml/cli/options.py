"""Arguments and options that several commands take."""

import os
from pathlib import Path
from typing import Annotated

import typer


def path(text: str) -> Path:
    """Read a path given on the command line; ~ is the user's home."""
    if not text:
        raise typer.BadParameter("a path must not be empty")
    return Path(os.path.expanduser(text))


def folder(text: str) -> Path:
    """Read the path of a folder to write to, there already or not."""
    found = path(text)
    if found.exists() and not found.is_dir():
        raise typer.BadParameter(f"{text} is a file, the output is a folder")
    return found


def model_name(text: str) -> str:
    """Read the name of a bundled model or the path of a file; ~ is the user's home."""
    return os.path.expanduser(text)


File = Annotated[Path, typer.Argument(help="File.", show_default=False, parser=path)]
Files = Annotated[list[Path], typer.Argument(show_default=False, parser=path)]
Model = Annotated[
    str,
    typer.Argument(
        help="Model file, or name of a bundled model (see cgml models).",
        show_default=False,
        callback=model_name,
    ),
]
Config = Annotated[
    Path, typer.Argument(help="TOML file.", show_default=False, parser=path)
]
Topology = Annotated[
    Path | None,
    typer.Option(
        help="File with atoms and bonds (PDB with CONECT, PRMTOP, LAMMPS data...).",
        parser=path,
    ),
]
Charges = Annotated[
    list[str] | None, typer.Option(help="TYPE=CHARGE in e of charged particle types.")
]
Species = Annotated[
    list[str] | None,
    typer.Option(
        help="FORMULA=NAME of a kind of molecule; * and ? stand for anything, as in "
        "'A*B*=polymer'. Kinds of one name are one species.",
    ),
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Seed = Annotated[int, typer.Option(help="Seed of all randomness.")]
SingleBeadLimit = Annotated[
    int, typer.Option(help="Molecules of at most so many atoms are one bead.")
]
