"""What a file format is: readers, writers, and what its files tell.

The formats themselves are rows of a table (table.py), one module for each.
"""

import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.atoms import AtomTable
from cgml.molecules.box import Box
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.ranges import positive
from cgml.units import FEMTOSECOND

TIME_UNITS = {"real": FEMTOSECOND, "metal": 1.0}
"""Time unit, ps, of the LAMMPS units that are read; lengths are Angstrom in both."""

FARTHEST, LONGEST = 1.0e6, 1.0e18
"""Largest coordinate, nm, and time, ps, that are taken for numbers of a simulation."""

HEAVIEST = 1.0e8
"""Largest mass of an atom, Da, that is taken for one."""

_LONGEST_TEXT = 1500  # of an error
MOST_PACKED = 200
"""Times that data may be larger than what they are packed into."""

_SMALL, _PIECE = 1 << 26, 1 << 20  # bytes; of little, packed as well as may be

BROKEN = (EOFError, gzip.BadGzipFile, zlib.error)
"""What reading a cut or damaged compressed file raises."""


@dataclass(frozen=True)
class LammpsOptions:
    """What LAMMPS files do not say of themselves.

    Attributes:
        units: of the simulation: "real" (times in fs) or "metal" (ps); None: not said,
            dumps are then real, and DCD files must be plausible as such.
        md_step: the value of its `timestep` command, in these units; None: not known.
        keep_bond_types: whether bonds carry the numbers of their types. These mean the
            same in two files only if one force field was numbered once for both;
            otherwise all bonds are "bond".

    Raises:
        ValueError: other units, or an MD step that is not positive.
    """

    units: Literal["real", "metal"] | None = None
    md_step: float | None = None
    keep_bond_types: bool = False

    def __post_init__(self) -> None:
        """Check the clock."""
        if self.units is not None and self.units not in TIME_UNITS:
            raise ValueError(
                f"LAMMPS units must be one of {', '.join(TIME_UNITS)}, got "
                f"{self.units!r}"
            )
        if self.md_step is not None:
            positive(self.md_step, "md_step")


class Frames(NamedTuple):
    """Some or all frames of a trajectory file, one after the other.

    Attributes:
        positions: (n_frames, n, 3), nm, float32, as stored (perhaps wrapped).
        times: (n_frames,), ps; None where the file does not tell.
        boxes: row vectors, (n_frames, 3, 3), nm; None for open boundaries.
        is_unwrapped: whether positions are unwrapped in time.
        corners: where each box begins, (n_frames, 3), nm; None: at the origin.
    """

    positions: NDArray[np.float32]
    times: NDArray[np.float64] | None
    boxes: NDArray[np.float64] | None
    is_unwrapped: bool = False
    corners: NDArray[np.float64] | None = None


class Sink(Protocol):
    """Where frames go."""

    def append(self, positions: NDArray[Any], times: NDArray[np.float64]) -> None:
        """Write frames, (n_frames, n, 3), nm, at times, (n_frames,), ps."""

    def close(self) -> None:
        """Complete the file."""


Pieces = Callable[[Path, int, LammpsOptions], Iterator[Frames]]
"""Reads (path, frames in a piece at most, options); a file without frames may yield
none, or an empty piece."""

BoxReader = Callable[[Path, LammpsOptions], Iterator[NDArray[np.float64]]]
"""Reads the boxes of all frames alone, (n, 3, 3) nm at a time, in little time; none
where the file has none."""

TopologyReader = Callable[[Path, LammpsOptions], AtomTable]
"""Reads (path, options)."""

BeadReader = Callable[[Path, Recipe | None, int | None], Iterable[BeadTrajectory]]
"""Reads (path, recipe for files of atoms, frames at most or None)."""

SinkOpener = Callable[[Path, Mapping, Box | None, str], Sink]
"""Opens (path, mapping of the beads, box, name of the system)."""


@dataclass(frozen=True)
class Format:
    """A row of the table: what a format can do; None where it cannot.

    Attributes:
        name: for error texts.
        suffixes: of its files, lower case; those with .gz too, if may_be_compressed.
        clock: what else would tell the times, for error texts.
        pieces: reads frames of atoms.
        boxes: reads the boxes of frames of atoms; None: such a file is one piece.
        topology: reads atoms and bonds.
        beads: reads frames of beads, of one system or of several.
        sink: opens a file to write frames of beads to.
        recognise: tells files without a known suffix by their first bytes.
        may_be_compressed: whether .gz is read.
    """

    name: str
    suffixes: tuple[str, ...]
    clock: str = ""
    pieces: Pieces | None = None
    boxes: BoxReader | None = None
    topology: TopologyReader | None = None
    beads: BeadReader | None = None
    sink: SinkOpener | None = None
    recognise: Callable[[bytes], bool] | None = None
    may_be_compressed: bool = False

    def fits(self, path: Path) -> bool:
        """Tell by the name whether a file is of this format."""
        return suffix_of(path) in self.suffixes and (
            self.may_be_compressed or path.suffix.lower() != ".gz"
        )


def real_boxes(boxes: NDArray[Any] | None) -> NDArray[np.float64] | None:
    """Return boxes unless there are none (absent, or all zero)."""
    if boxes is None or not boxes.any():
        return None
    return np.asarray(boxes, dtype=np.float64)


def check_finite(
    source: Path | str,
    first: int,
    positions: NDArray[Any] | None = None,
    times: NDArray[Any] | None = None,
    boxes: NDArray[Any] | None = None,
) -> None:
    """Refuse frames of no numbers, or of such as no simulation has.

    Args:
        source: the file.
        first: number of the first of these frames.
        positions: (n_frames, n, 3), nm.
        times: (n_frames,), ps.
        boxes: (n_frames, 3, 3), nm.
    """
    items = (
        ("positions", positions, FARTHEST, "nm"),
        ("times", times, LONGEST, "ps"),
        ("boxes", boxes, FARTHEST, "nm"),
    )
    for name, values, largest, unit in items:
        if values is None or (found := abs(values) <= largest).all():
            continue
        frame, *place = (int(i) for i in np.argwhere(~found)[0])
        value = values[(frame, *place)]
        where = f" of atom or bead {place[0]}" if name == "positions" else ""
        what = f"within {largest:g} {unit}" if np.isfinite(value) else "finite"
        raise ValueError(
            f"{name} must be {what}, {source} has {value} in frame "
            f"{first + frame}{where}: remove that frame and those after it, the run "
            "was no longer sound there"
        )


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Say in one line, with the name of the file, whatever a reader raises."""
    try:
        yield
    except Exception as error:  # whatever a broken file makes a parser say
        text = " ".join(str(error).split()) or "no more is known"
        is_foreseen = isinstance(error, ValueError | OSError)
        is_named = str(path) in str(error)
        is_line = "\n" not in str(error) and len(text) <= _LONGEST_TEXT
        is_of_system = isinstance(error, OSError) and error.filename is not None
        is_own = type(error).__module__.startswith("cgml.")  # others look out for it
        if is_of_system or is_own or (is_foreseen and is_named and is_line):
            raise
        kind = "" if is_foreseen else f"{type(error).__name__}: "
        told = text if is_named else f"{path} cannot be read: {kind}{text}"
        raise ValueError(told[:_LONGEST_TEXT]) from error


@contextmanager
def foreign(path: Path, kind: str) -> Iterator[None]:
    """Name the file in whatever a reader of another library raises."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{path} is not {kind}, or it is cut short: {error}"
        ) from error


def uncompressed(path: Path) -> Path:
    """Return the name without .gz."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def suffix_of(path: Path) -> str:
    """Return the suffix before .gz, lower case."""
    return uncompressed(path).suffix.lower()


class _Packed(gzip.GzipFile):
    """A compressed file, which may unfold to so much as such files do."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._left = max(_SMALL, MOST_PACKED * path.stat().st_size)

    def read1(self, size: int = -1) -> bytes:
        """Read some bytes."""
        found = super().read1(size)
        self._left -= len(found)
        if self._left < 0:
            raise ValueError(f"{self.name} is packed too well to be data")
        return found

    def read(self, size: int | None = -1) -> bytes:
        """Read so many bytes, or all, piece by piece."""
        n, pieces = math.inf if size is None or size < 0 else size, []
        while n > 0 and (piece := self.read1(int(min(n, _PIECE)))):
            pieces.append(piece)
            n -= len(piece)
        return b"".join(pieces)


def open_text(path: Path) -> IO[str]:
    """Open a text file, compressed if its name ends in .gz."""
    if path.suffix.lower() == ".gz":
        return io.TextIOWrapper(_Packed(path), encoding="utf-8", errors="replace")
    return path.open(encoding="utf-8", errors="replace")


def check_packed(path: Path) -> None:
    """Refuse a compressed file that is cut, or packed too well, before others read."""
    if path.suffix.lower() == ".gz":
        with _Packed(path) as stream:
            while stream.read1(_PIECE):
                pass
