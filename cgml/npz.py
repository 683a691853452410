"""Arrays of .npz files, read with nothing taken on trust.

What an entry declares is compared with what is there before memory is given to it, and
nothing is unpickled.
"""

import zipfile
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.files import existing
from cgml.memory import require

MOST_ENTRIES = 1 << 20
MOST_PACKED = 100  # times that an entry may be larger than what it is packed into
_SMALL = 1 << 26  # bytes; packed as well as may be
_PIECE = 1 << 20
_HEADS = {(1, 0): np.lib.format.read_array_header_1_0}
_HEADS[2, 0] = np.lib.format.read_array_header_2_0


def read_arrays(
    path: Path, names: Container[str] | None = None, kind: str = "arrays"
) -> dict[str, NDArray[Any]]:
    """Read arrays of numbers and texts; those that are not there are left out.

    Args:
        path: the file.
        names: of the arrays; None: all.
        kind: what they are, for the error text.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a file, cut, changed, or too large; one line that names it.
        OSError: it may not be read.
    """
    with existing(path).open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return _read_all(archive, names)
        except Exception as error:  # whatever a broken file makes a parser say
            text = " ".join(str(error).split())[:300] or type(error).__name__
            raise ValueError(f"{path} cannot be read as {kind}: {text}") from error


def _read_all(
    archive: zipfile.ZipFile, names: Container[str] | None
) -> dict[str, NDArray[Any]]:
    infos = {info.filename: info for info in archive.infolist()[:MOST_ENTRIES]}
    wanted = {
        name: infos[entry]
        for entry in infos
        if (name := entry.removesuffix(".npy")) != entry
        and (names is None or name in names)
    }
    n_bytes = sum(info.file_size for info in wanted.values())
    require(n_bytes, "its arrays", "fetch the file anew")
    return {name: _read(archive, info) for name, info in wanted.items()}


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array, whose size must be the one that its entry has."""
    if info.file_size > max(_SMALL, MOST_PACKED * info.compress_size):
        raise ValueError(f"{info.filename} is packed too well to be data")
    stream: Any  # of type IO, which knows no readinto
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADS:
            raise ValueError(f"{info.filename} is of version {version}")
        shape, is_fortran, dtype = _HEADS[version](stream)
        n = int(np.prod(shape, dtype=object))
        left = info.file_size - stream.tell()
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds pickled objects: never read here")
        if min(shape, default=0) < 0 or n * dtype.itemsize != left:
            raise ValueError(
                f"{info.filename} has {left} bytes for {shape} of {dtype.str}"
            )
        content = bytearray(left)
        view, place = memoryview(content), 0
        while place < left and (got := stream.readinto(view[place : place + _PIECE])):
            place += got
        if place < left or stream.read(1):  # compares the checksum
            raise ValueError(f"{info.filename} is not as long as declared")
    flat = np.frombuffer(content, dtype, n)
    return flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)
