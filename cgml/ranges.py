"""Numbers that users give: written so that NaN and infinity are wrong."""

import math
from numbers import Integral


def positive(value: float, name: str, unit: str = "") -> float:
    """Return a number that is finite and above 0.

    Args:
        value: as given.
        name: of the number, for the error text.
        unit: of the number.

    Raises:
        ValueError: it is another one.

    Example:
        >>> positive(2.0, "time_step", "ps")
        2.0
    """
    if not 0.0 < value < math.inf:
        finite = "" if math.isfinite(value) else " and finite"
        raise ValueError(
            f"{name} must be positive{finite}, got {value:g} {unit}".rstrip()
        )
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
