"""Arguments and options that several commands take."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from cgml.training.preparation import Coarsening


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


@dataclass(frozen=True)
class Reader:
    """Options of all commands that read files of atoms."""

    topology: Topology = None
    types: Annotated[
        Path | None,
        typer.Option(
            help="Table (TOML, CSV) of names or numbers with their types and masses.",
            parser=path,
        ),
    ] = None
    system: Annotated[
        Path | None,
        typer.Option(
            help="XML file of the OpenMM System, which has the masses.", parser=path
        ),
    ] = None
    mass: Annotated[
        list[str] | None,
        typer.Option(help="NAME=MASS in Da of an atom, or of a particle type."),
    ] = None
    type_name: Annotated[
        list[str] | None, typer.Option(help="NUMBER=NAME of a LAMMPS atom type.")
    ] = None
    time_step: Annotated[
        float | None,
        typer.Option(help="Time between frames, ps, where the file does not tell."),
    ] = None
    units: Annotated[
        Literal["real", "metal"] | None,
        typer.Option(help="Units of the LAMMPS run; default: real."),
    ] = None
    md_step: Annotated[
        float | None,
        typer.Option(help="The timestep of LAMMPS: fs (real) or ps (metal)."),
    ] = None

    def complete(self, coarsening: "Coarsening") -> "Coarsening":
        """Add what the user says to what the model says, or the defaults.

        Raises:
            ValueError: an option that cannot be read.
        """
        from cgml.formats.type_table import read_types
        from cgml.molecules.chemistry import Row
        from cgml.training.preparation import parse_type_names, parse_values

        rows = read_types(self.types) if self.types else {}
        for name, mass in parse_values(self.mass or [], "mass").items():
            rows[name] = rows.get(name, Row())._replace(mass=mass)
        for number, name in parse_type_names(self.type_name or []).items():
            rows[str(number)] = rows.get(str(number), Row())._replace(type=name)
        step = coarsening.time_step if self.time_step is None else self.time_step
        return replace(
            coarsening,
            chemistry=replace(coarsening.chemistry, rows=rows),
            system=self.system,
            time_step=step,
            lammps=replace(coarsening.lammps, units=self.units, md_step=self.md_step),
        )


def reads_atoms(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `reader` the options of Reader."""
    own = inspect.signature(command).parameters.values()
    taken = [
        item.replace(kind=item.KEYWORD_ONLY) for item in own if item.name != "reader"
    ]
    added = [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=item.default,
            annotation=item.type,
        )
        for item in fields(Reader)
    ]

    @wraps(command)
    def whole(**values: Any) -> None:
        reader = Reader(**{item.name: values.pop(item.name) for item in added})
        command(reader=reader, **values)

    whole.__signature__ = inspect.Signature([*taken, *added])  # type: ignore[attr-defined]
    whole.__annotations__ = {item.name: item.annotation for item in [*taken, *added]}
    return whole
