"""When two masses are one, and which names a mass may have."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

MASS_TOLERANCE = 0.015
"""Masses within this, Da, are one: tables of atomic weights differ by less, "12" is
carbon and "1" hydrogen, but the 14.027 of a CH2 is no nitrogen."""

_N_ELEMENTS = 92
_MOST_HYDROGENS = 4  # of a united atom


class UnknownMassesError(ValueError):
    """Atoms whose masses, and so whose types, only a force field knows."""


@cache
def elements() -> Mapping[str, float]:
    """Standard atomic weights by symbol, Da."""
    from mdtraj.core.element import Element  # heavy: imported when it is needed

    found = [Element.getByAtomicNumber(n) for n in range(1, _N_ELEMENTS + 1)]
    return {element.symbol: element.mass for element in found}


def differing(
    masses: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the places where masses, (n,) Da, are not those expected, ascending."""
    return np.flatnonzero(~(np.abs(masses - expected) <= MASS_TOLERANCE))


def names_of(mass: float, known: Mapping[str, float]) -> list[str]:
    """Return the names (of name -> Da) nearest to a mass, Da, within the tolerance.

    None where no mass is near; several where they have one mass.

    Example:
        >>> names_of(12.0, {"C": 12.011, "N": 14.007, "CG": 12.011})
        ['C', 'CG']
    """
    gaps = {name: abs(value - mass) for name, value in known.items()}
    least = min(gaps.values(), default=np.inf)
    if not least <= MASS_TOLERANCE:
        return []
    return [name for name, gap in gaps.items() if gap == least]


def type_of(element: str, mass: float, known: Mapping[str, float] | None = None) -> str:
    """Name the type of an atom of this element and mass, Da.

    The symbol if the mass is the element's; else the one known particle (name -> Da)
    of this mass; else the united atom; else the symbol with the mass.

    Example:
        >>> type_of("C", 12.0), type_of("C", 14.027), type_of("H", 3.024)
        ('C', 'CH2', 'H(3.024)')
        >>> type_of("C", 14.027, {"CM": 14.03})
        'CM'
    """
    base = elements()[element]
    if abs(mass - base) <= MASS_TOLERANCE:
        return element
    names = names_of(mass, known or {})
    if len(names) == 1:
        return names[0]
    for n in range(1, _MOST_HYDROGENS + 1) if element != "H" else ():
        if abs(mass - base - n * elements()["H"]) <= MASS_TOLERANCE:
            return f"{element}H{n if n > 1 else ''}"
    return f"{element}({mass:g})"


def own_mass(mass: float | None, usual: float | None) -> float | None:
    """Return the usual mass of a type, Da, unless the atom's own is another one."""
    if mass is None or (usual is not None and abs(mass - usual) <= MASS_TOLERANCE):
        return usual
    return mass


def check_mass(mass: float, atom: str, name: str, source: str) -> None:
    """Require a mass, Da, of an atom of some name: virtual sites have none.

    Raises:
        ValueError: it is not positive; the text says how to go on.
    """
    if not mass > 0.0:
        raise ValueError(
            f"masses must be positive, {atom} of {source} has {mass:g} Da: leave "
            f"virtual sites out (--select 'not name {name}'), give a particle that was "
            f"fixed its mass (--mass {name}=NUMBER)"
        )


def check_element(element: str, mass: float, atom: str, source: str) -> None:
    """Refuse an atom of one element with the mass, Da, of another.

    Raises:
        ValueError: they are two elements: masses of other atoms, or in another order.
    """
    found = names_of(mass, elements())
    if found and element not in found:
        raise ValueError(
            f"elements and masses must agree, {atom} of {source} is {element} and has "
            f"{mass:g} Da, the mass of {found[0]}: give masses of these atoms in this "
            "order (--system), or say what it is (--types)"
        )


def of_elements(
    symbols: Sequence[str], masses: NDArray[np.float64], bonds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Take mass that was moved from atoms to their hydrogens back to them.

    MD with long time steps does so; it is no other chemistry.

    Args:
        symbols: of elements, (n_atoms,), "" where an atom has none.
        masses: (n_atoms,), Da.
        bonds: atom indices, (n_bonds, 2).

    Returns:
        (n_atoms,), Da: those of the elements where an atom and its hydrogens have as
        much together; the masses as they are elsewhere.

    Example:
        >>> bonds = np.array([[0, 1], [0, 2]])
        >>> of_elements("OHH", np.array([12.0, 3.007, 3.008]), bonds).round(1).tolist()
        [16.0, 1.0, 1.0]
    """
    usual = np.array([elements().get(symbol, np.nan) for symbol in symbols])
    is_light = np.array([symbol == "H" for symbol in symbols], dtype=np.bool_)
    owner = np.arange(len(masses))
    for one, other in (bonds.T, bonds.T[::-1]):
        is_pair = is_light[one] & ~is_light[other]
        owner[one[is_pair]] = other[is_pair]
    surplus = np.bincount(owner, masses - usual, minlength=len(masses))
    count = np.bincount(owner, minlength=len(masses))
    is_moved = is_light & (masses > usual + MASS_TOLERANCE)
    groups = np.bincount(owner, is_moved, minlength=len(masses)) > 0
    groups &= abs(surplus) <= MASS_TOLERANCE * count
    return np.where(groups[owner], usual, masses)


def united_hint(name: str, known: Iterable[str]) -> str:
    """Say what to do about an unknown type that is an element of known united atoms.

    Readers that find elements by mass call CH2 nitrogen and CH3 oxygen.

    Returns:
        The end of a message; empty where it would not help.
    """
    names = set(known)
    symbol = f"[{name}C]" if name in {"N", "O"} - names else re.escape(name)
    if not any(re.fullmatch(f"{symbol}H[1-4]?", other) for other in names):
        return ""
    return (
        "; united atoms are told by their masses: give those of the force field "
        "(--system, --types or --mass; in OpenMM a System, in ASE atoms.set_masses)"
    )
