"""Memory: how much a plan needs, and freed blocks kept in the process."""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's mallopt
_MEBIBYTE, _GIBIBYTE = 1 << 20, 1 << 30


def keep_freed_memory() -> bool:
    """Tell the C library to reuse the large blocks that every step frees.

    By default glibc returns arrays of a megabyte to the system as soon as they are
    freed, and the next one is paid for again, page by page. Measured over training
    steps: page faults from 10,000-20,000 to about 1,000 a step, system time from 16 %
    of user time to 1 %; a step of a box of 6,900 beads takes 0.7-0.8 of the time.
    Programs call this once; libraries leave it to them. The environment variables
    MALLOC_TRIM_THRESHOLD_, MALLOC_TOP_PAD_ and MALLOC_MMAP_MAX_ do the same.

    Returns:
        Whether the C library took the settings (False where it is not glibc).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = (
        (_MMAP_MAX, 0),  # blocks of their own are given back at once, however large
        (_TRIM_THRESHOLD, 2047 * _MEBIBYTE),
        (_TOP_PAD, 128 * _MEBIBYTE),
    )
    return all(mallopt(number, value) == 1 for number, value in settings)


def require(n_bytes: float, what: str, remedy: str) -> None:
    """Refuse a plan that needs more memory than this machine has.

    Args:
        n_bytes: at least needed.
        what: needs it, for the error text.
        remedy: what the user can do.

    Raises:
        ValueError: there is less; both numbers are named.
    """
    present = _physical()
    if present is not None and not n_bytes <= present:
        raise ValueError(
            f"{what} need about {n_bytes / _GIBIBYTE:.3g} GiB of memory, this machine "
            f"has {present / _GIBIBYTE:.3g} GiB: {remedy}"
        )


def _physical() -> int | None:
    """Memory of this machine, bytes; None where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
