"""What benchmarks share: timing in turns, the rate of matrix products, peak memory."""

import ctypes
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

MIB = 1 << 20


def turns(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    warm_up: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Median time of each function, s.

    The functions take turns, so that a change of the machine's speed meets all of
    them.

    Args:
        functions: name -> what to run.
        rounds: how often.
        warm_up: rounds before these, not counted.
        clock: CPU time of the process by default: a busy machine adds little to it.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(warm_up + rounds):
        for name, function in functions.items():
            begin = clock()
            function()
            if number >= warm_up:
                times[name].append(clock() - begin)
    return {name: median(values) for name, values in times.items()}


def matrix_product(
    size: int = 2048, dtype: torch.dtype = torch.float32
) -> Callable[[], Any]:
    """A product of two square matrices, for `turns`."""
    stream = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, size, size, generator=stream).to(dtype)
    result = torch.empty_like(one)
    return lambda: torch.mm(one, other, out=result)


def matrix_rate(
    size: int = 2048, dtype: torch.dtype = torch.float32, rounds: int = 7
) -> float:
    """Rate of a product of two square matrices, GFLOP/s of CPU time."""
    seconds = turns({"product": matrix_product(size, dtype)}, rounds)["product"]
    return 2.0 * size**3 / seconds / 1e9


def peak_memory(function: Callable[[], Any]) -> float:
    """Memory that a call takes beyond what was in use before it, MiB (Linux)."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    function()
    return (_status("VmHWM") - before) / MIB


def _status(name: str) -> int:
    """A number of /proc/self/status, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
