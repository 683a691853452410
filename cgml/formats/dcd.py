"""DCD files (CHARMM, NAMD, X-PLOR, OpenMM), with the times right.

A frame's time is (istart / nsavc + frame) * nsavc * delta, with delta in AKMA
units: this is what MDAnalysis and VMD read. mdtraj reads no times from DCD files.
LAMMPS writes the timestep of its run there, in the units of the run, and HOOMD-blue in
units of its own: who wrote the file stands in its title.

| word of the header | name | meaning |
|---|---|---|
| 0 | nset | number of frames |
| 1 | istart | step of the first frame |
| 2 | nsavc | steps between frames |
| 9 | delta | time between steps, AKMA |
| 10 | - | frames carry a unit cell |
"""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.formats.format import TIME_UNITS, Frames, LammpsOptions
from cgml.units import AKMA_TIME, ANGSTROM

_HEADER = 84  # bytes of the first record
_N_BOXES = 1000  # at a time
_LARGEST_HEADER = 1 << 16  # bytes, with a long title
_REAL = (0.05, 20.0)  # fs: timesteps of a run in real units
_CHARMM = 24  # version number that readers of this family expect
_CELL = [0, 2, 5, 4, 3, 1]  # places of a, b, c, alpha, beta, gamma


def pieces(path: Path, n_frames: int, options: LammpsOptions) -> Iterator[Frames]:
    """Read a DCD file, n_frames at a time; one of no frames is one empty piece."""
    words, record, start, n_all = _open(path)
    n_atoms = record["x"].shape[0]
    unit = _time_unit(path, words, start, options)
    times = None if unit is None else _times(words, n_all, unit)
    for first in range(0, max(n_all, 1), n_frames):
        place = start + first * record.itemsize
        n = min(n_frames, n_all - first)
        frames = np.fromfile(path, record, n, offset=place)
        if any((frames[f"size_{axis}"] != 4 * n_atoms).any() for axis in "xyz"):
            raise ValueError(f"{path} is damaged: the records of its frames do not fit")
        angstrom = np.stack([frames["x"], frames["y"], frames["z"]], axis=-1)
        positions = (angstrom * np.float32(ANGSTROM)).astype(np.float32)
        boxes = _boxes(frames["cell"]) if "cell" in (record.names or ()) else None
        own = None if times is None else times[first : first + n_frames]
        yield Frames(positions, own, boxes)


def boxes(path: Path, options: LammpsOptions) -> Iterator[NDArray[np.float64]]:
    """Read the unit cells alone, (n, 3, 3) nm at a time; none where there are none."""
    del options
    _, record, start, n_all = _open(path)
    if "cell" not in (record.names or ()) or not n_all:
        return
    frames = np.memmap(path, record, "r", start, (n_all,))
    for first in range(0, n_all, _N_BOXES):
        found = _boxes(np.array(frames["cell"][first : first + _N_BOXES]))
        if found is not None:
            yield found


def _open(path: Path) -> tuple[NDArray[np.int32], np.dtype[np.void], int, int]:
    """Read the header: its words, a frame's bytes, where frames start, their number."""
    with path.open("rb") as stream:
        head = stream.read(_LARGEST_HEADER)
    order = _byte_order(path, head[:8])
    n_atoms, start = _atom_count(path, head, order)
    words = np.frombuffer(head[8:88], order + "i4")
    size = path.stat().st_size - start
    record = _frame_record(path, words, n_atoms, order)
    n_all, rest = divmod(size, record.itemsize)
    if rest or n_all < words[0]:
        raise ValueError(
            f"{path} is cut short: its header promises {words[0]} frames, it holds "
            f"{n_all} and {rest} bytes; save the whole frames to a new file"
        )
    return words, record, start, n_all


def is_dcd(head: bytes) -> bool:
    """Tell a DCD file by its first bytes."""
    return any(head.startswith(struct.pack(f"{o}i4s", _HEADER, b"CORD")) for o in "<>")


class Writer:
    """Writes a DCD file frame by frame; the header is completed by `close`."""

    def __init__(
        self, path: Path, n_particles: int, box: NDArray[np.float64] | None
    ) -> None:
        """Open the file; box: row vectors, (3, 3) nm; None for open boundaries."""
        self._record = _frame(n_particles, has_cell=box is not None)
        self._cell = None if box is None else _cell(box)
        self._n_particles = n_particles
        self._times: list[float] = []
        self._stream = path.open("wb")
        self._stream.write(self._header())

    def append(self, positions: NDArray[Any], times: NDArray[np.float64]) -> None:
        """Write frames, (n_frames, n_particles, 3) nm, at times, (n_frames,) ps."""
        frames = np.zeros(len(positions), self._record)
        if self._cell is not None:
            frames["in"] = frames["out"] = 48
            frames["cell"] = self._cell
        for k, axis in enumerate("xyz"):
            frames[f"size_{axis}"] = frames[f"end_{axis}"] = 4 * self._n_particles
            frames[axis] = np.asarray(positions[..., k], np.float64) / ANGSTROM
        self._stream.write(frames.tobytes())
        self._times.extend(np.asarray(times, np.float64).tolist())

    def close(self) -> None:
        """Complete the header and close the file."""
        self._stream.seek(0)
        self._stream.write(self._header())
        self._stream.close()

    def _header(self) -> bytes:
        """All bytes before the first frame."""
        first, steps, delta = _clock(self._times)
        n_frames = len(self._times)
        words = [n_frames, first, steps, first + max(0, n_frames - 1) * steps]
        flags = [int(self._cell is not None), *[0] * 8, _CHARMM]
        title = b"Created by cgml; time = (istart / nsavc + frame) nsavc delta"
        values = [*words, *[0] * 5, delta, *flags]
        return (
            struct.pack("<i4s9if10ii", _HEADER, b"CORD", *values, _HEADER)
            + struct.pack("<2i80s80si", 164, 2, title, b"", 164)
            + struct.pack("<3i", 4, self._n_particles, 4)
        )


def _clock(times: list[float]) -> tuple[int, int, float]:
    """Find istart, nsavc and delta (AKMA) for evenly spaced times, ps."""
    if len(times) > 1:
        spacing = (times[-1] - times[0]) / (len(times) - 1)
    else:
        spacing = abs(times[0]) if times and times[0] else 1.0
    first = Fraction(times[0] / spacing if times else 0.0).limit_denominator(1000)
    delta = spacing / first.denominator / AKMA_TIME
    return first.numerator, first.denominator, delta


def _byte_order(path: Path, start: bytes) -> str:
    """Tell little from big endian by the length of the first record."""
    for order in "<>":
        if start == struct.pack(order + "i4s", _HEADER, b"CORD"):
            return order
    raise ValueError(
        f"{path} is not a DCD file of positions with 32-bit record marks (it starts "
        f"with {start!r})"
    )


def _atom_count(path: Path, head: bytes, order: str) -> tuple[int, int]:
    """Read past the title; returns the atom count and where the frames start."""
    try:
        (title,) = struct.unpack_from(order + "i", head, 92)
        mark, n_atoms, end = struct.unpack_from(order + "3i", head, 100 + title)
    except struct.error as error:
        raise ValueError(f"{path} is cut short inside its header") from error
    if mark != 4 or end != 4 or n_atoms < 1:
        raise ValueError(f"{path} is damaged: no atom count after its title")
    return n_atoms, 112 + title


def _frame_record(
    path: Path, words: NDArray[np.int32], n_atoms: int, order: str
) -> np.dtype[np.void]:
    """Describe the bytes of one frame."""
    is_charmm = words[19] != 0
    if words[8] or (is_charmm and words[11]):
        raise ValueError(
            f"{path} holds fixed atoms or a fourth dimension, which are not read"
        )
    return _frame(n_atoms, has_cell=bool(is_charmm and words[10]), order=order)


def _frame(n: int, *, has_cell: bool, order: str = "<") -> np.dtype[np.void]:
    """Describe the bytes of one frame: each part stands between two sizes."""
    fields: list[Any] = []
    if has_cell:
        fields += [
            ("in", order + "i4"),
            ("cell", order + "f8", 6),
            ("out", order + "i4"),
        ]
    for axis in "xyz":
        fields += [
            (f"size_{axis}", order + "i4"),
            (axis, order + "f4", n),
            (f"end_{axis}", order + "i4"),
        ]
    return np.dtype(fields)


def _delta(words: NDArray[np.int32]) -> float:
    """Return the time between steps as the header has it."""
    if words[19] != 0:  # of the family of CHARMM
        return float(words[9:10].view(words.dtype.str.replace("i", "f"))[0])
    return float(words[9:11].view(words.dtype.str.replace("i4", "f8"))[0])


def _time_unit(
    path: Path, words: NDArray[np.int32], start: int, options: LammpsOptions
) -> float | None:
    """Return the unit of delta, ps, which depends on who wrote the file.

    None where it cannot be known: the timestep of LAMMPS is not that of a run in real
    units, and no other are asked for.
    """
    with path.open("rb") as stream:
        title = stream.read(start)[_HEADER:].lower()
    if b"hoomd" in title:
        return None
    if b"lammps" not in title:
        return AKMA_TIME
    if options.units is None and not _REAL[0] <= _delta(words) <= _REAL[1]:
        return None
    return TIME_UNITS[options.units or "real"]


def _times(
    words: NDArray[np.int32], n_frames: int, unit: float
) -> NDArray[np.float64] | None:
    """Compute frame times, ps; None where the header holds none.

    Writers that know no times put one AKMA unit a frame, from zero.
    """
    delta = _delta(words)
    first, steps = int(words[1]), int(words[2])
    is_empty = unit == AKMA_TIME and (first, steps, delta) == (0, 1, 1.0)
    if steps < 1 or not 0.0 < delta < np.inf or is_empty:
        return None
    spacing = tidy(steps * delta * unit)
    return np.asarray((first / steps + np.arange(n_frames)) * spacing)


def tidy(value: float) -> float:
    """Return the number with 6 digits that a single-precision one stands for.

    Example:
        >>> tidy(4.9999998), tidy(4.9999)
        (5.0, 4.9999)
    """
    short = float(f"{value:.6g}")
    return short if abs(short - value) <= 1.5e-7 * abs(value) else value


def _cell(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn box vectors, nm, into the six numbers of a DCD frame (Angstrom, cosines)."""
    lengths = np.linalg.norm(box, axis=1)
    unit = box / lengths[:, None]
    cosines = [unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]
    cell = np.empty(6)
    cell[_CELL] = [*(lengths / ANGSTROM), *cosines]
    return cell


def _boxes(cells: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Turn unit cells, (n_frames, 6), into box vectors, nm; None where they are empty.

    Angles stand as cosines (OpenMM, NAMD, VMD) or as degrees (CHARMM).
    """
    a, b, c, *angles = (cells[:, place].astype(np.float64) for place in _CELL)
    if not (a * b * c).all():
        return None
    ca, cb, cg = (np.where(abs(x) <= 1.0, x, np.cos(np.deg2rad(x))) for x in angles)
    sg = np.sqrt(1.0 - cg**2)
    boxes = np.zeros((len(cells), 3, 3))
    boxes[:, 0, 0] = a
    boxes[:, 1, 0], boxes[:, 1, 1] = b * cg, b * sg
    cy = (ca - cb * cg) / sg
    boxes[:, 2, 0], boxes[:, 2, 1] = c * cb, c * cy
    boxes[:, 2, 2] = c * np.sqrt(1.0 - cb**2 - cy**2)
    return boxes * ANGSTROM
