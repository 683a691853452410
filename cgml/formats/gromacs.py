"""XTC and TRR files (GROMACS), read and written by mdtraj."""

import struct
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mdtraj.formats import TRRTrajectoryFile, XTCTrajectoryFile
from numpy.typing import NDArray

from cgml.formats.apart import Arrays, apart
from cgml.formats.format import Frames, LammpsOptions, foreign, real_boxes
from cgml.molecules.box import Box

_MAGIC_XTC, _MAGIC_TRR = b"\0\0\x07\xcb", b"\0\0\x07\xc9"
_MAGIC_LARGE = 2023  # XTC of more atoms than 298 million: its sizes have 64 bits
_HEAD_XTC = struct.Struct(">3if9fi")  # magic, atoms, step, time, box, atoms
_PACKED = 36  # bytes from there to the size of the packed positions
_MAGICS_XTC = (1995, _MAGIC_LARGE)
_MOST_ATOMS = 8  # in a byte of packed positions
_PLAIN = 9  # so few atoms are not packed


def xtc_pieces(path: Path, n_frames: int, options: LammpsOptions) -> Iterator[Frames]:
    """Read an XTC file, n_frames at a time."""
    del options
    with foreign(path, "an XTC trajectory"):
        for _ in islice(_xtc_heads(path), 1):
            pass  # a count that cannot be is refused before memory is given to it
        yield from _frames(lambda: _pieces(XTCTrajectoryFile(str(path)), n_frames))


def trr_pieces(path: Path, n_frames: int, options: LammpsOptions) -> Iterator[Frames]:
    """Read a TRR file, n_frames at a time."""
    del options
    with foreign(path, "a TRR trajectory"):
        yield from _frames(lambda: _pieces(TRRTrajectoryFile(str(path)), n_frames))


def xtc_boxes(path: Path, options: LammpsOptions) -> Iterator[NDArray[np.float64]]:
    """Read the boxes of an XTC file alone, (1, 3, 3) nm each; none if it has none."""
    del options
    with foreign(path, "an XTC trajectory"):
        for box in _xtc_heads(path):
            yield from _real(box)


def _xtc_heads(path: Path) -> Iterator[NDArray[np.float64]]:
    """Yield the box of each frame, (1, 3, 3) nm; frames must fit into the file."""
    n_left = path.stat().st_size
    with path.open("rb") as stream:
        while head := stream.read(_HEAD_XTC.size):
            magic, n_atoms, _, _, *box, again = _HEAD_XTC.unpack(head)
            n_bytes, n_head = 12 * n_atoms, _HEAD_XTC.size
            if n_atoms > _PLAIN:
                size = ">q" if magic == _MAGIC_LARGE else ">i"
                more = stream.read(_PACKED - 4 + struct.calcsize(size))
                (n_bytes,) = struct.unpack(size, more[_PACKED - 4 :])
                n_head += len(more)
            n_bytes += -n_bytes % 4
            n_left -= n_head + n_bytes
            possible = 0 < n_atoms == again and n_atoms <= _MOST_ATOMS * n_bytes
            if magic not in _MAGICS_XTC or not possible or n_bytes < 0 or n_left < 0:
                raise ValueError("the head of a frame is no such head")
            stream.seek(n_bytes, 1)
            yield np.array(box).reshape(1, 3, 3)


def trr_boxes(path: Path, options: LammpsOptions) -> Iterator[NDArray[np.float64]]:
    """Read the boxes of a TRR file alone, (1, 3, 3) nm each; none if it has none."""
    del options

    def work() -> Iterator[Arrays]:
        with TRRTrajectoryFile(str(path)) as file:
            while len((piece := file.read(1, atom_indices=[0]))[0]):
                yield (piece[3],)

    with foreign(path, "a TRR trajectory"):
        for (box,) in apart(work):
            yield from _real(box)


def _real(boxes: NDArray[Any] | None) -> list[NDArray[np.float64]]:
    found = real_boxes(boxes)
    return [] if found is None else [found]


def is_xtc(head: bytes) -> bool:
    """Tell an XTC file by its first bytes."""
    return head.startswith(_MAGIC_XTC)


def is_trr(head: bytes) -> bool:
    """Tell a TRR file by its first bytes."""
    return head.startswith(_MAGIC_TRR)


def _pieces(
    file: XTCTrajectoryFile | TRRTrajectoryFile, n_frames: int
) -> Iterator[Arrays]:
    with file:
        while len((piece := file.read(n_frames))[0]):
            positions, times, _, boxes, *_ = piece
            yield positions, times, np.zeros(0, np.float32) if boxes is None else boxes


def _frames(work: Callable[[], Iterator[Arrays]]) -> Iterator[Frames]:
    for positions, times, boxes in apart(work):
        yield Frames(positions, times.astype(np.float64), real_boxes(boxes))


class Writer:
    """Writes an XTC file; it stores times in single precision."""

    def __init__(self, path: Path, box: Box | None) -> None:
        """Open the file; box: row vectors, (3, 3) nm; None for open boundaries."""
        self._path = path
        self._file = XTCTrajectoryFile(str(path), "w")
        self._box = box
        self._n_frames = 0

    def append(self, positions: NDArray[Any], times: NDArray[np.float64]) -> None:
        """Write frames, (n_frames, n_particles, 3) nm, at times, (n_frames,) ps."""
        n = len(positions)
        box = None
        if self._box is not None:
            box = np.broadcast_to(self._box, (n, 3, 3)).astype(np.float32)
        self._file.write(
            np.asarray(positions, np.float32),
            np.asarray(times, np.float32),
            np.arange(self._n_frames, self._n_frames + n, dtype=np.int32),
            box,
        )
        self._n_frames += n

    def close(self) -> None:
        """Close the file and read its end: its library hides a failed last write."""
        self._file.close()
        if not self._n_frames:
            return
        try:
            with XTCTrajectoryFile(str(self._path)) as file:
                file.seek(self._n_frames - 1)
                file.read(1)
        except Exception as error:
            raise OSError(f"{self._path} was not written whole: {error}") from error
