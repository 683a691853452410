"""Signals that ask a program to end: SIGINT (Ctrl-C) and SIGTERM (kill, schedulers)."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)
ALARM = 14  # SIGALRM, which not every system has


class Interrupted(Exception):  # noqa: N818 (no error: what was asked for was done)
    """Work ended because a signal asked for it; what is done is saved.

    Args:
        text: what was saved, in one line.
        number: of the signal.
    """

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it shall do what Ctrl-C does."""


def take_sigterm_as_interrupt() -> None:
    """Let SIGTERM raise what Ctrl-C raises, so that both leave the same behind."""

    def raise_it(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise Terminated

    signal.signal(signal.SIGTERM, raise_it)


class Flag:
    """Notes that a signal came; the second one raises at once.

    Attributes:
        deadline: time of `time.monotonic` from which on it is as if SIGALRM came.
    """

    def __init__(self) -> None:
        self.deadline = math.inf
        self._number: int | None = None

    @property
    def number(self) -> int | None:
        """Of the signal; None: none has come."""
        if self._number is None and time.monotonic() >= self.deadline:
            return ALARM
        return self._number

    def __call__(self, number: int, frame: FrameType | None = None) -> None:
        """Note a signal, as its handler."""
        del frame
        if self._number is not None:
            raise Interrupted("stopped at once, nothing more was saved", number)
        self._number = number

    def install(self) -> None:
        """Become the handler of the signals, where a thread may have handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                signal.signal(number, self)


@contextmanager
def noted() -> Iterator[Flag]:
    """Note signals instead of ending where they come.

    Yields:
        What notes them.
    """
    flag = Flag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    earlier = {number: signal.getsignal(number) for number in NUMBERS}
    flag.install()
    try:
        yield flag
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
