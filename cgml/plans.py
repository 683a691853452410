"""Plans: what the content of a folder is of, so that a repeat is the same or refused.

A plan is a table of plain values (tables, lists, texts, numbers). It stands in a JSON
file in the folder; what asks for the folder again is compared with it key by key.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cgml.files import read_bytes, replacing

LARGEST = 1 << 28
"""Bytes of a file that holds a plan."""
_N_SHOWN = 20
_MISSING = "nothing"


def read_plan(path: Path) -> dict[str, Any]:
    """Read a file that holds a plan.

    Raises:
        ValueError: it is no such file; one line that names it.
        FileNotFoundError: there is none.
    """
    try:
        content = json.loads(read_bytes(path, LARGEST))
        if type(content) is not dict or type(content.get("plan")) is not dict:
            raise ValueError("it holds no plan")
    except (ValueError, RecursionError) as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path} is damaged ({text}): choose another folder, or delete this one to "
            "start anew"
        ) from error
    return content


def write_plan(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that holds a plan, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def changes(
    found: Mapping[str, Any], asked: Mapping[str, Any]
) -> dict[str, tuple[object, object]]:
    """Compare two plans.

    Args:
        found: the one on disk.
        asked: the one of now.

    Returns:
        Name of a value, with those of the tables it stands in -> both values, where
        they differ.

    Example:
        >>> changes({"seed": 1, "net": {"n": [4]}}, {"seed": 1, "net": {"n": [5]}})
        {'net.n[0]': (4, 5)}
    """
    before, after = (dict(_flat(json.loads(json.dumps(one)))) for one in (found, asked))
    return {
        key: (before.get(key, _MISSING), after.get(key, _MISSING))
        for key in {**before, **after}
        if before.get(key, _MISSING) != after.get(key, _MISSING)
    }


def describe(changed: Mapping[str, tuple[object, object]]) -> str:
    """Name each change with both values, in one line.

    Example:
        >>> describe({"seed": (0, 1)})
        'seed 0, asked for is 1'
    """
    texts = [
        f"{key} {_short(before)}, asked for is {_short(after)}"
        for key, (before, after) in changed.items()
    ]
    more = len(texts) - _N_SHOWN
    return "; ".join(texts[:_N_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def digest(path: Path | str) -> str:
    """SHA-256 of the content of a file, in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(plan: Mapping[str, Any]) -> str:
    """SHA-256 of a plan, in hexadecimal digits."""
    text = json.dumps(plan, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def files_of(paths: Sequence[Path]) -> list[str]:
    """Name and digest of files, in order, as they stand in a plan."""
    return [f"{path.name} {digest(path)[:32]}" for path in paths]


def _flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _flat(item, f"{name}[{place}]")
    else:
        yield name, value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
