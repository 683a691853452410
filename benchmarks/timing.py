"""What benchmarks share: timing in turns, the rate of matrix products, peak memory."""

import ctypes
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from cgml.network.compiled import compile_model, compiled_parts
from cgml.network.model import LearnedModel
from cgml.spec import Execution, Precision

MIB = 1 << 20
EXECUTIONS = {
    "float32": Execution(compiled=False),
    "compiled": Execution(),
    "bfloat16": Execution(compiled=False, precision="bfloat16"),
    "bfloat16, compiled": Execution(precision="bfloat16"),
}
"""Ways to evaluate the networks of models trained here."""


Work = Callable[[], object]


def cpu_time(work: Work, n: int = 1) -> float:
    """CPU time of one call, the mean of n, s: a busy machine adds little to it."""
    begin = time.process_time()
    for _ in range(n):
        work()
    return (time.process_time() - begin) / n


def in_turns(
    works: Mapping[str, tuple[Work, int]], rounds: int
) -> dict[str, NDArray[np.float64]]:
    """CPU time of one call of each work in every round, (rounds,) s.

    All take turns, so that a change of the machine's speed meets all of them; each is
    called once before.

    Args:
        works: name -> what to do, and how often in a round.
        rounds: how often they take turns.
    """
    for work, _ in works.values():
        work()
    rows = [[cpu_time(work, n) for work, n in works.values()] for _ in range(rounds)]
    return dict(zip(works, np.array(rows).T, strict=True))


def report(name: str, values: NDArray[np.float64], measure: str) -> None:
    """Print median and range of the rounds."""
    low, median, high = np.quantile(values, [0.0, 0.5, 1.0])
    print(f"{name:>28}: {median:9.2f} {measure} ({low:.2f} - {high:.2f})")


def matrix_product(size: int = 2048, dtype: torch.dtype = torch.float32) -> Work:
    """A product of two square matrices, for `in_turns`."""
    stream = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, size, size, generator=stream).to(dtype)
    result = torch.empty_like(one)
    return lambda: torch.mm(one, other, out=result)


def compile_if_needed(model: LearnedModel) -> None:
    """Compile the networks for this machine, unless that was done before."""
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        if compiled_parts(model.spec, model.module, precision) is None:
            print(f"compiling in {precision}, a minute or two")
            compile_model(model, precision)


def report_rate(work: Work, seconds: NDArray[np.float64], rounds: int) -> None:
    """Print how fast products of matrices are done, and how fast they could be.

    Args:
        work: what to count, not compiled.
        seconds: what it takes, (rounds,) s.
        rounds: how often a large product is timed.
    """
    # the counter knows addmm, and not that it may write to its first argument
    known = {torch.ops.aten.addmm_: _addmm}
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        work()
    count = 1e-9 * counter.get_total_flops()
    large = in_turns({"product": (matrix_product(), 1)}, rounds)["product"]
    rate = 2e-9 * 2048**3 / np.median(large)
    report("products of a step", np.full(1, count), "GFLOP")
    report("done at", count / seconds, "GFLOP/s")
    report("share of a large product's", 100.0 * count / seconds / rate, "%")


def _addmm(output: torch.Size, one: torch.Size, other: torch.Size, **_: object) -> int:
    """Operations of output += one @ other."""
    return 2 * one[0] * one[1] * other[1]


def peak_memory(function: Work) -> float:
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
