"""Processes forked after torch has worked, as `multiprocessing` makes them on Linux."""

import os
import sys
from functools import cache


@cache
def one_thread_after_fork() -> None:
    """Let torch work with one thread in processes that are forked off this one.

    A fork copies the memory of torch's pool of threads, but none of the threads: the
    child would wait for them for ever. One thread computes the same bits. What makes
    torch work calls this before; only the first call counts.
    """
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    import torch  # is there already: importing is not what this module is for

    torch.set_num_threads(1)
