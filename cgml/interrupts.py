"""Signals that ask a program to end: SIGINT (Ctrl-C) and SIGTERM (kill, schedulers)."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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


def end_at_once() -> None:
    """Let Ctrl-C end the process as SIGTERM does, where nothing is to be saved yet."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def raised() -> Iterator[None]:
    """Let both signals raise, so that both leave the same behind; not if ignored."""
    handlers = (signal.default_int_handler, _terminate)
    with _handled(dict(zip(NUMBERS, handlers, strict=True))):
        yield


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise Terminated


@contextmanager
def _handled(handlers: Mapping[int, Callable[..., object]]) -> Iterator[None]:
    """Exchange the handlers of signals that are not ignored, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in handlers}
    try:
        for number, handler in handlers.items():
            if earlier[number] is not signal.SIG_IGN:
                signal.signal(number, handler)
        yield
    finally:
        for number, before in earlier.items():
            signal.signal(number, before)


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
        """Become the handler of the signals again, after others did."""
        if threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self)


@contextmanager
def noted() -> Iterator[Flag]:
    """Note signals instead of ending where they come.

    Yields:
        What notes them.
    """
    flag = Flag()
    with _handled(dict.fromkeys(NUMBERS, flag)):
        yield flag
