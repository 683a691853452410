"""Numbers and names that users give, as NAME=VALUE or in units of their own."""

import math
from collections.abc import Iterable

from cgml.ranges import positive


def parse_values(items: Iterable[str], quantity: str) -> dict[str, float]:
    """Read numbers given as NAME=NUMBER; quantity: what they are, for the error text.

    Example:
        >>> parse_values(["C=1", "D=-1"], "charge")
        {'C': 1.0, 'D': -1.0}
    """
    values: dict[str, float] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not name or not math.isfinite(value):
            raise ValueError(
                f"a {quantity} is given as NAME=NUMBER, for example A=1.5, got {item!r}"
            )
        if values.setdefault(name, value) != value:
            raise ValueError(
                f"one {quantity} of {name} is required, got {values[name]:g} and "
                f"{value:g}"
            )
    return values


def seconds(limit: float | None) -> float | None:
    """Return what --time-limit says, in s; limit: as given, in minutes.

    Raises:
        ValueError: it is not positive, or makes no sense.
    """
    if limit is None:
        return None
    return 60.0 * positive(limit, "--time-limit", "minutes")


def parse_type_names(items: Iterable[str]) -> dict[int, str]:
    """Read names of LAMMPS atom types given as NUMBER=NAME.

    Example:
        >>> parse_type_names(["1=C", "2=CH2"])
        {1: 'C', 2: 'CH2'}
    """
    names: dict[int, str] = {}
    for item in items:
        number, _, name = item.partition("=")
        if not (number.isdecimal() and name):
            raise ValueError(
                "the name of an atom type is given as NUMBER=NAME, for example 1=C, "
                f"got {item!r}"
            )
        if names.setdefault(int(number), name) != name:
            raise ValueError(
                f"one name of atom type {number} is required, got "
                f"{names[int(number)]} and {name}"
            )
    return names
