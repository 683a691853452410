"""LAMMPS text dumps, frame by frame; why own code: see lammps_data.py.

| columns | positions |
|---|---|
| xu yu zu, xsu ysu zsu | unwrapped as they stand |
| x y z, xs ys zs with ix iy iz | unwrapped by the image flags |
| x y z, xs ys zs | wrapped |
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.formats.format import (
    BROKEN,
    TIME_UNITS,
    Frames,
    LammpsOptions,
    open_text,
)
from cgml.molecules.box import from_edges
from cgml.units import ANGSTROM

_FLAGS = ("ix", "iy", "iz")
_N_LINES = {"UNITS": 1, "TIME": 1, "TIMESTEP": 1, "NUMBER OF ATOMS": 1, "BOX BOUNDS": 3}


class _Frame(NamedTuple):
    """One frame: step and time as written, ids in order, positions in Angstrom."""

    step: int
    time: float | None
    ids: NDArray[np.int64]
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None
    corner: NDArray[np.float64]
    is_unwrapped: bool


class _Header(NamedTuple):
    """Items before the atoms: step, time, count, box, its corner, periodicity."""

    step: int
    time: float | None
    n_atoms: int
    box: NDArray[np.float64]
    corner: NDArray[np.float64]
    is_periodic: bool


def pieces(path: Path, n_frames: int, options: LammpsOptions) -> Iterator[Frames]:
    """Read a text dump, perhaps compressed (.gz), n_frames at a time.

    Atoms and columns may come in any order, an id is among them. The options' MD step
    makes times of step numbers unless the file has times (`dump_modify time yes`).

    Yields:
        Frames, atoms in order of their ids; times are None where neither the file nor
        the MD step tells, and 0 where there is but one frame.

    Raises:
        ValueError: no text dump, a cut one, no ids or positions, other units,
            boundaries periodic in some directions only, atoms that change, steps
            that do not increase, or coordinates that are not finite.
    """
    first: _Frame | None = None
    last: _Frame | None = None
    frames = _frames(path, options)
    following = next(frames, None)
    if following is None:
        raise ValueError(f"{path} holds no frames")
    while following is not None:
        piece: list[_Frame] = []
        while following is not None and len(piece) < n_frames:
            first = first or following
            if last is not None:
                _check_sequence(path, first, last, following)
            last = following
            piece.append(following)
            following = next(frames, None)
        is_alone = following is None and len(piece) == 1 and piece[0] is first
        yield _joined(piece, options, is_alone=is_alone)


def boxes(path: Path, options: LammpsOptions) -> Iterator[NDArray[np.float64]]:
    """Read the boxes alone, (1, 3, 3) nm each; none for open boundaries."""
    del options
    try:
        with open_text(path) as stream:
            while line := stream.readline():
                if line.strip():
                    header, _, _ = _head(path, line, stream)
                    _take(stream, header.n_atoms)
                    if header.is_periodic:
                        yield header.box[None] * ANGSTROM
    except BROKEN:
        return  # reading the frames says what is wrong


def is_dump(head: bytes) -> bool:
    """Tell a text dump by its first line."""
    return head.lstrip().startswith(b"ITEM: ")


def _joined(frames: list[_Frame], options: LammpsOptions, *, is_alone: bool) -> Frames:
    """Put frames together: nm, ps."""
    boxes = [frame.box for frame in frames if frame.box is not None]
    times = _times(frames, options)
    if times is None and is_alone:
        times = np.zeros(1)
    return Frames(
        np.stack([(frame.positions * ANGSTROM).astype(np.float32) for frame in frames]),
        times,
        np.stack(boxes) * ANGSTROM if boxes else None,
        frames[0].is_unwrapped,
        np.stack([frame.corner for frame in frames]) * ANGSTROM if boxes else None,
    )


def _times(frames: list[_Frame], options: LammpsOptions) -> NDArray[np.float64] | None:
    """Return times, ps; None where nothing tells them."""
    unit = TIME_UNITS[options.units or "real"]
    written = [frame.time for frame in frames if frame.time is not None]
    if written:
        return np.array(written) * unit
    if options.md_step is None:
        return None
    return np.array([frame.step for frame in frames]) * (options.md_step * unit)


def _check_sequence(path: Path, first: _Frame, last: _Frame, frame: _Frame) -> None:
    """Require the same atoms, columns and boundaries, and steps that increase."""
    if not np.array_equal(frame.ids, first.ids):
        raise ValueError(
            f"the same atoms are required in all frames, {path} has {len(first.ids)} "
            f"at step {first.step} and {len(frame.ids)} or others at step {frame.step}"
        )
    if frame.step <= last.step:
        raise ValueError(
            f"steps must increase, step {frame.step} follows step {last.step} in "
            f"{path}: put the runs in files of their own"
        )
    kinds = [(x.is_unwrapped, x.box is None, x.time is None) for x in (frame, first)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"the columns, times or boundaries of {path} change at step {frame.step}: "
            "put the runs in files of their own"
        )


def _frames(path: Path, options: LammpsOptions) -> Iterator[_Frame]:
    """Read frame after frame."""
    n_frames = 0
    try:
        with open_text(path) as stream:
            while line := stream.readline():
                if line.strip():
                    yield _frame(path, line, stream, options)
                    n_frames += 1
    except BROKEN as error:
        raise ValueError(
            f"{path} is cut short behind {n_frames} whole frames: {error}; "
            "copy it again, or remove the last frame"
        ) from error


def _frame(path: Path, line: str, stream: IO[str], options: LammpsOptions) -> _Frame:
    """Read one frame, whose first line is given; EOFError: the file ends inside."""
    header, units, columns = _head(path, line, stream)
    asked = options.units or "real"
    if units not in {"", asked}:
        raise ValueError(
            f"the units of {path} are {units!r}, it was to be read with "
            f"{asked!r}: pass the file's (--units; {' and '.join(TIME_UNITS)} "
            "are read)"
        )
    return _atoms(path, header, columns, _take(stream, header.n_atoms))


def _head(path: Path, line: str, stream: IO[str]) -> tuple[_Header, str, list[str]]:
    """Read what stands before the atoms of a frame: items, units, columns."""
    items: dict[str, tuple[list[str], list[str]]] = {}
    while not line.startswith("ITEM: ATOMS"):
        if not line.endswith("\n"):
            raise EOFError("it ends in the head of a frame")
        name = next((key for key in _N_LINES if _names(line, key)), None)
        if name is None:
            raise ValueError(
                f"{path} is not a text dump of atoms: one of {', '.join(_N_LINES)} and "
                f"ATOMS is required behind ITEM:, got {line[:60].strip()!r}"
            )
        words = line.removeprefix(f"ITEM: {name}").split()
        items[name] = (words, _take(stream, _N_LINES[name]))
        line = stream.readline()
    _, (units, *_) = items.get("UNITS", ([], [""]))
    try:
        return _header(items), units.strip(), line.split()[2:]
    except (IndexError, ValueError) as error:
        raise ValueError(
            f"{path} holds a frame that cannot be read: {error}"
        ) from error


def _names(line: str, item: str) -> bool:
    """Tell whether a line begins an item; "TIME" begins no TIMESTEP."""
    return f"{line.strip()} ".startswith(f"ITEM: {item} ")


def _take(stream: IO[str], n: int) -> list[str]:
    """Read n whole lines."""
    lines = list(islice(stream, n))
    if len(lines) < n or not lines[-1].endswith("\n"):
        raise EOFError(
            f"{n} lines are required, it ends in or behind line {len(lines)}"
        )
    return lines


def _header(items: dict[str, tuple[list[str], list[str]]]) -> _Header:
    """Understand the items before the atoms; see LAMMPS, Howto_triclinic."""
    missing = {"TIMESTEP", "NUMBER OF ATOMS", "BOX BOUNDS"} - set(items)
    if missing:
        raise ValueError(f"it has no {', '.join(sorted(missing))}")
    words, lines = items["BOX BOUNDS"]
    if "abc" in words:
        raise ValueError(
            "general triclinic boxes are not read, dump without triclinic/general"
        )
    bounds = np.array([line.split() for line in lines], dtype=np.float64)
    low, high = bounds[:, 0].copy(), bounds[:, 1].copy()
    tilts = np.zeros(3)
    if bounds.shape[1] == 3:
        xy, xz, yz = tilts = bounds[:, 2]
        low[:2] -= min(0.0, xy, xz, xy + xz), min(0.0, yz)
        high[:2] -= max(0.0, xy, xz, xy + xz), max(0.0, yz)
    box = from_edges(high - low, tilts)
    flags = [word == "pp" for word in words if word not in {"xy", "xz", "yz"}]
    if any(flags) and not all(flags):
        raise ValueError(
            "boundaries must be periodic in all directions or in none, got "
            + " ".join(words)
        )
    time = float(items["TIME"][1][0]) if "TIME" in items else None
    n_atoms = int(items["NUMBER OF ATOMS"][1][0])
    if n_atoms < 1:
        raise ValueError(f"atoms are required, got {n_atoms}")
    step = int(items["TIMESTEP"][1][0])
    return _Header(step, time, n_atoms, box, low, all(flags))


def _coordinates(path: Path, columns: list[str]) -> tuple[str, bool]:
    """Choose the suffix of the position columns, and whether image flags apply."""
    has_flags = set(_FLAGS) <= set(columns)
    for suffix in ("u", "su", "", "s"):
        if {f"{axis}{suffix}" for axis in "xyz"} <= set(columns) and "id" in columns:
            return suffix, has_flags and "u" not in suffix
    raise ValueError(
        "columns id and x y z (or xs, xu, xsu; with ix iy iz to unwrap) are required, "
        f"{path} has {' '.join(columns)}: dump them"
    )


def _atoms(path: Path, header: _Header, columns: list[str], lines: list[str]) -> _Frame:
    """Read the atoms of a frame and put them in order."""
    suffix, has_flags = _coordinates(path, columns)
    names = ["id", *(f"{axis}{suffix}" for axis in "xyz")]
    names += _FLAGS if has_flags else ()
    where = f"step {header.step} of {path}"
    try:
        places = [columns.index(name) for name in names]
        table = np.loadtxt(lines, usecols=places, ndmin=2, comments=None)
    except ValueError as error:
        raise ValueError(
            f"the atoms at {where} cannot be read, the file is cut or damaged: {error}"
        ) from error
    table = table[np.argsort(table[:, 0])]
    ids, values = table[:, 0].astype(np.int64), table[:, 1:]
    if len(ids) < header.n_atoms or (np.diff(ids) == 0).any():
        raise ValueError(
            f"{header.n_atoms} atoms of different ids are required at {where}"
        )
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise ValueError(
            f"coordinates must be finite, atom {ids[wrong[0]]} at {where} is at "
            f"{values[wrong[0], :3].tolist()}: leave out the frames from there on"
        )
    positions = values[:, :3]
    if "s" in suffix:
        positions = header.corner + positions @ header.box
    if has_flags and header.is_periodic:
        positions = positions + values[:, 3:] @ header.box
    return _Frame(
        header.step,
        header.time,
        ids,
        positions,
        header.box if header.is_periodic else None,
        header.corner,
        has_flags or "u" in suffix,
    )
