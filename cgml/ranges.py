"""Numbers that users give: written so that NaN and infinity are wrong."""

import math
from numbers import Integral
from typing import Any

LIMITS = {
    "": (1e-12, 1e12),
    "nm": (1e-6, 1e6),
    "ps": (1e-9, 1e12),
    "minutes": (1e-9, 1e9),
    "1/ps": (1e-12, 1e9),
    "Da": (1e-6, 1e9),
    "K": (1e-3, 1e6),
}
"""Unit -> least and largest number that makes sense; their squares are finite too."""


def is_truth(value: object) -> bool:
    """Whether a value is true or false, which Python takes for 1 and 0."""
    return type(value).__name__ in {"bool", "bool_"}  # numpy's are not imported


def number(value: Any, name: str) -> Any:
    """Return a value that is neither true nor false.

    Raises:
        ValueError: it is; name: of the number, for the error text.
    """
    if is_truth(value):
        raise ValueError(f"{name} must be a number, got {value}")
    return value


def is_sensible(value: float, unit: str) -> bool:
    """Whether a positive number in a unit is within `LIMITS`."""
    least, largest = LIMITS[unit]
    return least <= value <= largest


def sense(unit: str) -> str:
    """Say what `LIMITS` has of a unit."""
    return f"must be {LIMITS[unit][0]:g} to {LIMITS[unit][1]:g} {unit}".rstrip()


def positive(value: float, name: str, unit: str = "") -> float:
    """Return a number that is finite and above 0, and makes sense in its unit.

    Args:
        value: as given.
        name: of the number, for the error text.
        unit: of the number; those of `LIMITS` are looked at.

    Raises:
        ValueError: it is another one.

    Example:
        >>> positive(2.0, "time_step", "ps")
        2.0
    """
    if not 0.0 < number(value, name) < math.inf:
        finite = "" if math.isfinite(value) else " and finite"
        raise ValueError(
            f"{name} must be positive{finite}, got {value:g} {unit}".rstrip()
        )
    if unit and unit in LIMITS and not is_sensible(value, unit):
        raise ValueError(f"{name} {sense(unit)}, got {value:g} {unit}")
    return value


def at_least(value: object, least: int, name: str) -> int:
    """Return a whole number that is large enough.

    Args:
        value: as given.
        least: smallest one allowed.
        name: of the number, for the error text.

    Raises:
        ValueError: it is smaller, or no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    number = int(value)
    if number < least:
        raise ValueError(f"{name} must be {least} or more, got {number}")
    return number
