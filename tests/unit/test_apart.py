"""Work in a process of its own: the same arrays, and no harm when it dies."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cgml.formats.apart import apart

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
ARRAYS = (np.arange(24, dtype=np.float32).reshape(2, 4, 3), np.ones(2, np.float32))


def test_arrays_come_as_they_are():
    def work():
        yield ARRAYS
        yield (np.zeros((0, 3), np.float32), np.zeros(0, np.float32))

    first, second = apart(work)
    for found, expected in zip(first, ARRAYS, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.flags.writeable
    assert [item.shape for item in second] == [(0, 3), (0,)]


@pytest.mark.parametrize(
    ("end", "match"),
    [
        (lambda: os.kill(os.getpid(), 9), "crashed"),
        (lambda: os._exit(3), "crashed"),
        (lambda: int("x"), "ValueError: invalid literal"),
    ],
)
def test_an_end_is_an_error_after_what_came_before(end, match):
    def work():
        yield ARRAYS
        end()

    pieces = apart(work)
    next(pieces)
    with pytest.raises(ValueError, match=match):
        next(pieces)


def test_whoever_stops_leaves_no_process():
    def work():
        while True:
            yield ARRAYS

    pieces = apart(work)
    next(pieces)
    pieces.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_work_asked_for_by_a_thread():
    def work():
        yield ARRAYS

    with ThreadPoolExecutor(1) as threads:
        ((found, _),) = threads.submit(lambda: list(apart(work))).result()
    np.testing.assert_array_equal(found, ARRAYS[0])
