"""What the commands print: results, and any error as one line.

Text of the user (names, paths) is printed as it is, never read as markup.
"""

import codecs
import io
import json
import logging
import platform
import re
import sys
import time
import unicodedata
from collections.abc import Callable
from contextvars import ContextVar
from enum import IntEnum
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from cgml import __version__
from cgml.interrupts import Interrupted, Terminated, raised

P = ParamSpec("P")
R = TypeVar("R")

_PLAIN = {"±": "+-", "–": "-", "—": "-", "−": "-", "→": "->", "·": "*", "…": "..."}
_PLAIN |= {"×": "x", "≤": "<=", "≥": ">=", "σ": "sigma", "τ": "tau", "•": "*"}

EXIT_CODES = {
    0: "done",
    1: "an error, told in one line",
    2: "the command line cannot be read",
    3: "done, but guards stopped some replicas, or frames could not be back-mapped",
    130: "Ctrl-C",
    142: "`cgml train --time-limit` is over, all is saved",
    143: "SIGTERM",
}
"""With which code a command ends, and why."""


class Loudness(IntEnum):
    """How much a command says beside what it was asked for."""

    QUIET = 0  # warnings and errors
    NORMAL = 1
    VERBOSE = 2  # conditions, time taken


_NOT_CLOSED = "Can't decrement id ref count"  # by h5py

out = Console()
err = Console(stderr=True)
show_traceback: ContextVar[bool] = ContextVar("show_traceback", default=False)
loudness: ContextVar[Loudness] = ContextVar("loudness", default=Loudness.NORMAL)
for_machines: ContextVar[bool] = ContextVar("for_machines", default=False)


def is_quiet() -> bool:
    """Whether nothing but warnings and what was asked for is printed."""
    return loudness.get() is Loudness.QUIET


def say(text: str) -> None:
    """Print a line of results, unless JSON or silence was asked for."""
    if not (is_quiet() or for_machines.get()):
        out.print(visible(text), markup=False, emoji=False, soft_wrap=True)


def show(table: RenderableType) -> None:
    """Print a table of results, unless JSON or silence was asked for."""
    if not (is_quiet() or for_machines.get()):
        out.print(table)


def emit(content: Any) -> None:
    """Print what a machine reads: JSON, where it was asked for; infinity is null."""
    if for_machines.get():
        text = json.dumps(_finite(content), indent=2, allow_nan=False, default=str)
        out.print(text, markup=False, emoji=False, soft_wrap=True, highlight=False)


def tell(text: str) -> None:
    """Print a line about the work in hand, to standard error."""
    if not is_quiet():
        warn(text)


def detail(text: str) -> None:
    """Print what only --verbose shows, to standard error."""
    if loudness.get() is Loudness.VERBOSE:
        warn(text)


def warn(text: str) -> None:
    """Print a line that is always shown, to standard error."""
    err.print(visible(text), markup=False, emoji=False, soft_wrap=True)


def working() -> Console:
    """Return where bars and spinners go: nowhere, if quiet."""
    return Console(stderr=True, quiet=True) if is_quiet() else err


def _finite(content: Any) -> Any:
    """Replace numbers that JSON does not know."""
    if isinstance(content, dict):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    is_odd = isinstance(content, float) and not abs(content) < float("inf")
    return None if is_odd else content


class Teller(logging.Handler):
    """Prints what the packages warn of as a line, to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        warn(f"{record.levelname.lower()}: {record.getMessage()}")


def visible(text: str) -> str:
    """Spell out what would move the cursor or colour the terminal, as in a name."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], text)


def with_plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: an error is one line and exit code 1, a signal is 128 + it."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        begin, system = time.monotonic(), platform.platform(terse=True)
        detail(f"cgml {__version__}, Python {platform.python_version()}, {system}")
        try:
            with raised():
                result = command(*args, **kwargs)
            detail(f"done in {time.monotonic() - begin:.1f} s")
            return result
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Interrupted as error:
            warn(str(error))
            raise typer.Exit(128 + error.number) from error
        except (Exception, KeyboardInterrupt) as error:
            if show_traceback.get():
                raise
            text, code = describe(error), 1
            if isinstance(error, KeyboardInterrupt):
                is_term = isinstance(error, Terminated)
                text, code = ("terminated", 143) if is_term else ("interrupted", 130)
                warn(text)
                raise typer.Exit(code) from error
            line = Text.assemble(("error: ", "bold red"), visible(text))
            err.print(line, soft_wrap=True)
            raise typer.Exit(code) from error

    return call


def describe(error: BaseException) -> str:
    """Say in one line what went wrong; name the kind of what nobody foresaw."""
    text = re.sub(r"^\[Errno \d+\] ", "", str(error))
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror.lower()}"
    is_foreseen = isinstance(error, (ValueError, OSError, RuntimeError))
    if not is_foreseen or isinstance(error, RecursionError) or not text:
        where = "cgml --debug COMMAND shows where"
        text = f"{type(error).__name__}: {text or 'no more is known'} ({where})"
    lines = (line.strip() for line in text.splitlines())
    return "; ".join(line for line in lines if line).replace(":; ", ": ")


def print_anywhere() -> None:
    """Let both streams take any text, spelt out where their encoding lacks a letter."""
    codecs.register_error("cgml.spell", _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="cgml.spell")


def say_no_more_of_ends() -> None:
    """Leave out what objects say that an error left half made, without --debug.

    Those of HDF5 cannot be closed on a full disk, and say so as if nobody caught it.
    """

    def say(found: Any) -> None:
        if show_traceback.get():
            sys.__unraisablehook__(found)

    def say_uncaught(kind: Any, error: BaseException, trace: Any) -> None:
        if show_traceback.get() or not str(error).startswith(_NOT_CLOSED):
            sys.__excepthook__(kind, error, trace)

    sys.unraisablehook, sys.excepthook = say, say_uncaught


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded: Å by A, ± by +-, what has no likeness by ?."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = []
    for letter in error.object[error.start : error.end]:
        plain = _PLAIN.get(letter) or unicodedata.normalize("NFKD", letter)
        letters.append(plain.encode("ascii", "ignore").decode() or "?")
    return "".join(letters), error.end
