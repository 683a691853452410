"""Every key of a training file, as the configuration itself has it."""

import inspect
import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from cgml.fields import Section
from cgml.training.config import TrainingConfig


class Key(NamedTuple):
    """A key of a TOML file.

    Attributes:
        table: it stands in, "" for the top.
        name: of the key.
        kind: what it takes.
        default: as it would be written, or "required".
        meaning: from the docstring of the configuration.
    """

    table: str
    name: str
    kind: str
    default: str
    meaning: str


def keys(section: type[Section] = TrainingConfig, table: str = "") -> Iterator[Key]:
    """Yield the keys of a section, those of its tables last.

    Raises:
        KeyError: a key that its class does not explain.
    """
    meanings, tables = explained(section), []
    for name, field in section.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, Section):
            tables.append((name, field.annotation))
        else:
            yield Key(
                table, name, _kind(field.annotation), _default(field), meanings[name]
            )
    for name, inner in tables:
        yield from keys(inner, name)


def explained(section: type[Section]) -> dict[str, str]:
    """Read name -> meaning off the "Attributes:" of a class."""
    _, _, block = inspect.cleandoc(section.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {6,}.*)*)", block, flags=re.MULTILINE)
    texts = {name: " ".join(text.split()) for name, text in entries}
    return {name: text.replace("None:", "none:") for name, text in texts.items()}


def _kind(annotation: Any, *, plural: bool = False) -> str:
    """Say in words what a key takes, or what a list of such holds."""
    origin, parts = get_origin(annotation), get_args(annotation)
    s = "s" if plural else ""
    if origin is Literal:
        return " or ".join(f'"{part}"' for part in parts)
    if origin in {list, tuple}:
        return f"list{s} of {_kind(parts[0], plural=True)}"
    if origin in {Annotated, Union, UnionType}:
        part = next(part for part in parts if part is not type(None))
        return _kind(part, plural=plural)
    words = {int: f"whole number{s}", float: f"number{s}", bool: "true or false"}
    return words.get(annotation, f"text{s}")


def _default(field: FieldInfo) -> str:
    """Write a default as TOML does."""
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value}"
