"""Arguments and options that several commands take."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from glob import glob
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cgml.cli import console

if TYPE_CHECKING:
    from cgml.training.coarsening import Coarsening


def path(given: str | Path) -> Path:
    """Read a path given on the command line, or a default; ~ is the user's home."""
    text = str(given)
    if not text.strip():
        raise typer.BadParameter("a path must not be empty")
    if "\0" in text:
        raise typer.BadParameter("a path must not hold a zero byte")
    return Path(os.path.expanduser(text))


def matching(given: list[Path] | None) -> list[Path]:
    """Replace patterns, as 'test/*.h5md' in quotes, by the files that match, in order.

    A pattern that matches nothing stays: there is no such file.
    """
    found: list[Path] = []
    for item in given or []:
        matches = [] if item.exists() else [Path(name) for name in glob(str(item))]
        found += sorted(matches) or [item]
    return found


def folder(text: str) -> Path:
    """Read the path of a folder to write to, there already or not."""
    found = path(text)
    if os.path.exists(found) and not os.path.isdir(found):  # the name may be too long
        raise typer.BadParameter(f"{text} is a file, the output is a folder")
    return found


def model_name(text: str) -> str:
    """Read the name of a bundled model or the path of a file; ~ is the user's home."""
    return os.path.expanduser(text)


def bundled(begun: str) -> list[str]:
    """Names of bundled models that begin so, for the completion of the shell."""
    folder = Path(str(files("cgml"))) / "models"
    names = sorted(item.stem for item in folder.glob("*.pt"))
    return [name for name in names if name.startswith(begun)]


def _for_machines(*, asked: bool) -> bool:
    console.for_machines.set(asked)
    return asked


File = Annotated[Path, typer.Argument(help="File.", show_default=False, parser=path)]
Files = Annotated[
    list[Path],
    typer.Argument(help="One file or more.", show_default=False, parser=path),
]
Model = Annotated[
    str,
    typer.Argument(
        help="Model file, or name of a bundled model (see cgml models).",
        show_default=False,
        callback=model_name,
        autocompletion=bundled,
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
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes, or tasks for --scheduler, that share it."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Address of a dask scheduler; its workers share the files."),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=_for_machines,
        is_eager=True,
        help="Print JSON to standard output in place of tables and lines.",
    ),
]
Time = Annotated[float, typer.Option(help="Simulated time of each path, ps.")]
Replicas = Annotated[int, typer.Option(help="Copies of every system.")]
AtomsPerBead = Annotated[float, typer.Option(help="Atoms in a bead, mean.")]
Reference = Annotated[
    list[Path],
    typer.Option(
        help="File of reference frames, or a pattern in quotes.",
        parser=path,
        callback=matching,
    ),
]
TRAIN = typer.Option(
    help="Frames of training molecules: a file, or a pattern in quotes.",
    parser=path,
    callback=matching,
)
VALIDATION = typer.Option(
    help="Frames of other molecules: a file, or a pattern in quotes.",
    parser=path,
    callback=matching,
)
PATTERNS = ("--reference", "--train", "--validation")  # options of several files
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Precision = Annotated[
    Literal["float32", "bfloat16"],
    typer.Option(help="Of the products inside the networks; bfloat16: CPU only."),
]
Seed = Annotated[int, typer.Option(help="Seed of all randomness.")]
Method = Annotated[
    Literal["recursive", "kway", "runs"],
    typer.Option(
        help="How METIS divides; runs: unbranched chains every --atoms-per-bead."
    ),
]
SingleBeadLimit = Annotated[
    int,
    typer.Option(
        help="Molecules of at most so many atoms are one bead; with --method runs "
        "chains (of atoms, or of groups that are kept) are not."
    ),
]

KeepHydrogens = Annotated[
    bool, typer.Option(help="Hydrogens stay with their heavy atom.")
]
KeepGroups = Annotated[
    bool,
    typer.Option("--keep-groups", help="CF3, SO2, CH3 and rings stay whole as well."),
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

    mapping: Annotated[
        Path | None,
        typer.Option(
            help="Beads by hand (TOML or JSON, by names), or a mapping.json.",
            parser=path,
        ),
    ] = None
    select: Annotated[
        str | None,
        typer.Option(help="Atoms to keep, in mdtraj's language, as 'not water'."),
    ] = None
    box: Annotated[
        str | None,
        typer.Option(help="Box for all frames, X or X,Y,Z in nm; default: the mean."),
    ] = None
    no_box: Annotated[
        bool,
        typer.Option("--no-box", help="Take the molecules out of the file's box."),
    ] = False
    max_scaling: Annotated[
        float,
        typer.Option(help="Largest change of a box that is put into the one box."),
    ] = 0.05
    unwrapped: Annotated[
        bool,
        typer.Option("--unwrapped", help="Frames do not jump at the box, as 'nojump'."),
    ] = False

    @property
    def span(self) -> tuple[int, int | None, int]:
        """First frame, frame to stop before, stride."""
        return 0, None, 1

    def complete(self, coarsening: "Coarsening") -> "Coarsening":
        """Add what the user says to what the model says, or the defaults.

        Raises:
            ValueError: an option that cannot be read.
        """
        from cgml.cli.values import parse_type_names, parse_values
        from cgml.formats.selection import FrameOptions, parse_box
        from cgml.formats.type_table import read_types
        from cgml.molecules.chemistry import Row
        from cgml.ranges import positive

        if self.time_step is not None and self.md_step is not None:
            raise ValueError(
                "--time-step is the time between frames, --md-step that between the "
                "steps of LAMMPS that number them: give one of the two"
            )
        rows = read_types(self.types) if self.types else {}
        for name, mass in parse_values(self.mass or [], "mass").items():
            rows[name] = rows.get(name, Row())._replace(mass=mass)
        for number, name in parse_type_names(self.type_name or []).items():
            rows[str(number)] = rows.get(str(number), Row())._replace(type=name)
        start, stop, stride = self.span
        chosen = FrameOptions(
            start=start,
            stop=stop,
            stride=stride,
            select=self.select,
            box=None if self.box is None else parse_box(self.box),
            is_open=self.no_box,
            max_scaling=self.max_scaling,
            is_unwrapped=self.unwrapped,
        )
        step = self.time_step
        return replace(
            coarsening,
            chemistry=replace(coarsening.chemistry, rows=rows),
            mapping=self.mapping,
            system=self.system,
            time_step=None if step is None else positive(step, "time_step", "ps"),
            frames=chosen,
            lammps=replace(coarsening.lammps, units=self.units, md_step=self.md_step),
        )


@dataclass(frozen=True)
class FramesReader(Reader):
    """Options of commands that read many frames."""

    start: Annotated[
        int, typer.Option(help="First frame, from 0; -1 is the last one.")
    ] = 0
    stop: Annotated[
        int | None, typer.Option(help="Frame to stop before; negative: from the end.")
    ] = None
    stride: Annotated[int, typer.Option(help="Take every n-th frame.")] = 1

    @property
    def span(self) -> tuple[int, int | None, int]:
        """First frame, frame to stop before, stride."""
        return self.start, self.stop, self.stride


@dataclass(frozen=True)
class StartReader(Reader):
    """Options of commands that read one frame, to start from."""

    frame: Annotated[
        int, typer.Option(help="Frame to start from, from 0; -1 is the last one.")
    ] = 0

    @property
    def span(self) -> tuple[int, int | None, int]:
        """First frame, frame to stop before, stride."""
        return self.frame, None if self.frame == -1 else self.frame + 1, 1


def reads_atoms(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the kind of Reader that it takes as `reader`."""
    kind = inspect.signature(command).parameters["reader"].annotation
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
        for item in fields(kind)
    ]

    @wraps(command)
    def whole(**values: Any) -> None:
        reader = kind(**{item.name: values.pop(item.name) for item in added})
        command(reader=reader, **values)

    whole.__signature__ = inspect.Signature([*taken, *added])  # type: ignore[attr-defined]
    whole.__annotations__ = {item.name: item.annotation for item in [*taken, *added]}
    return whole
