"""When two masses are one, and which names a mass may have."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

MASS_TOLERANCE = 0.015
"""Masses within this, Da, are one: tables of atomic weights differ by less, "12" is
carbon and "1" hydrogen, but the 14.027 of a CH2 is no nitrogen."""


def differing(
    masses: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the places where masses are not those expected, ascending.

    Args:
        masses: (n,) Da.
        expected: (n,) Da.
    """
    return np.flatnonzero(~(np.abs(masses - expected) <= MASS_TOLERANCE))


def names_of(mass: float, known: Mapping[str, float]) -> list[str]:
    """Return the names that a mass may have: the nearest ones within the tolerance.

    Args:
        mass: Da.
        known: name -> mass, Da.

    Returns:
        No name where no mass is near; several where they have one mass.

    Example:
        >>> names_of(12.0, {"C": 12.011, "N": 14.007, "CG": 12.011})
        ['C', 'CG']
    """
    gaps = {name: abs(value - mass) for name, value in known.items()}
    least = min(gaps.values(), default=np.inf)
    if not least <= MASS_TOLERANCE:
        return []
    return [name for name, gap in gaps.items() if gap == least]
