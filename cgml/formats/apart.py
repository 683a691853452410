"""Libraries that a damaged file may crash read it in a process of their own.

It is forked off this one, decodes, and sends numbers through a pipe; if it dies, or
damages its memory, nothing happens here. Where there is no fork (Windows) the library
reads in this process.
"""

import faulthandler
import os
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from cgml.memory import require

Arrays = tuple[NDArray[np.float32], ...]
Work = Callable[[], Iterator[Arrays]]

_HEAD = struct.Struct("<2q")  # arrays of a piece, or one of the two below; bytes
_END, _ERROR = 0, -1
_MOST_ARRAYS, _MOST_DIMENSIONS, _LONGEST_TEXT = 16, 4, 1000


def apart(work: Work) -> Iterator[Arrays]:
    """Yield what a generator yields, which runs in a process of its own.

    Args:
        work: yields arrays; called there.

    Raises:
        ValueError: it raised something, or its process ended.
    """
    if sys.platform == "win32":
        yield from work()
        return
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: none is used
        child = os.fork()
    if child == 0:
        os.close(reader)
        _send(work, writer)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as stream:
            yield from _receive(stream)
    finally:
        os.kill(child, signal.SIGKILL)  # it is done, or of no use any more
        os.waitpid(child, 0)


def _send(work: Work, writer: int) -> NoReturn:
    """Work in the process that was forked, and end it."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        faulthandler.disable()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)  # what libraries in C say
        with os.fdopen(writer, "wb") as stream:
            try:
                for arrays in work():
                    _write(stream, arrays)
                stream.write(_HEAD.pack(_END, 0))
            except Exception as error:  # noqa: BLE001 (raised on the other side)
                text = f"{type(error).__name__}: {error}".encode()[:_LONGEST_TEXT]
                stream.write(_HEAD.pack(_ERROR, len(text)) + text)
    finally:
        os._exit(0)


def _write(stream: BinaryIO, arrays: Arrays) -> None:
    stream.write(_HEAD.pack(len(arrays), sum(array.nbytes for array in arrays)))
    for array in arrays:
        shape = (array.ndim, *array.shape)
        stream.write(struct.pack(f"<{len(shape)}q", *shape))
        stream.write(np.ascontiguousarray(array, "<f4").tobytes())
    stream.flush()


def _receive(stream: BinaryIO) -> Iterator[Arrays]:
    while True:
        n, n_bytes = _HEAD.unpack(_exactly(stream, _HEAD.size))
        if n == _END:
            return
        if n == _ERROR:
            raise ValueError(stream.read(_LONGEST_TEXT).decode(errors="replace"))
        if not 0 < n <= _MOST_ARRAYS or n_bytes < 0:
            raise ValueError("its reader was damaged by it")
        require(n_bytes, "its frames", "fetch the file anew")
        yield tuple(_array(stream, n_bytes) for _ in range(n))


def _array(stream: BinaryIO, largest: int) -> NDArray[np.float32]:
    """Read an array of at most so many bytes."""
    (n_dimensions,) = struct.unpack("<q", _exactly(stream, 8))
    if not 0 <= n_dimensions <= _MOST_DIMENSIONS:
        raise ValueError("its reader was damaged by it")
    shape = struct.unpack(f"<{n_dimensions}q", _exactly(stream, 8 * n_dimensions))
    n = int(np.prod(shape, dtype=object))
    if min(shape, default=0) < 0 or 4 * n > largest:
        raise ValueError("its reader was damaged by it")
    content = bytearray(_exactly(stream, 4 * n))
    return np.frombuffer(content, "<f4").reshape(shape)


def _exactly(stream: BinaryIO, n: int) -> bytes:
    content = stream.read(n)
    if len(content) < n:
        raise ValueError("its reader crashed")
    return content
