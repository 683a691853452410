"""What the commands print: results, and any error as one line.

Text of the user (names, paths) is printed as it is, never read as markup.
"""

import codecs
import io
import logging
import re
import sys
import unicodedata
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from cgml.interrupts import Interrupted, Terminated

P = ParamSpec("P")
R = TypeVar("R")

_PLAIN = {"±": "+-", "–": "-", "—": "-", "−": "-", "→": "->", "·": "*", "…": "..."}
_PLAIN |= {"×": "x", "≤": "<=", "≥": ">=", "σ": "sigma", "τ": "tau", "•": "*"}

out = Console()
err = Console(stderr=True)
show_traceback: ContextVar[bool] = ContextVar("show_traceback", default=False)


def say(text: str) -> None:
    """Print a line of results."""
    out.print(visible(text), markup=False, emoji=False, soft_wrap=True)


def tell(text: str) -> None:
    """Print a line about the work in hand, to standard error."""
    err.print(visible(text), markup=False, emoji=False, soft_wrap=True)


class Teller(logging.Handler):
    """Prints what the packages warn of as a line, to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        tell(f"{record.levelname.lower()}: {record.getMessage()}")


def visible(text: str) -> str:
    """Spell out what would move the cursor or colour the terminal, as in a name."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], text)


def with_plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: an error is one line and exit code 1, a signal is 128 + it."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Interrupted as error:
            tell(str(error))
            raise typer.Exit(128 + error.number) from error
        except (Exception, KeyboardInterrupt) as error:
            if show_traceback.get():
                raise
            text, code = describe(error), 1
            if isinstance(error, KeyboardInterrupt):
                is_term = isinstance(error, Terminated)
                text, code = ("terminated", 143) if is_term else ("interrupted", 130)
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


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded: Å by A, ± by +-, what has no likeness by ?."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = []
    for letter in error.object[error.start : error.end]:
        plain = _PLAIN.get(letter) or unicodedata.normalize("NFKD", letter)
        letters.append(plain.encode("ascii", "ignore").decode() or "?")
    return "".join(letters), error.end
