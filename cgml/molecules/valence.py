"""Carbons that cannot be bare: united atoms, or hydrogens that are missing.

A file of elements calls a CH2 "C". Its bonds tell: a carbon of less than four partners
has double bonds, and partners that can have them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.graph import components, neighbours

_BONDS = {("O", 1): 1, ("S", 1): 1, ("Se", 1): 1, ("N", 1): 2, ("N", 2): 1}
"""Symbol and number of partners -> further bonds that such an atom can have."""

_NO_METALS = {"", *"HBCNOFPSI", "Si", "Cl", "Br", "Se"}


class _Partner(NamedTuple):
    """An atom that a carbon is bonded to: how many it has itself, and lacks some."""

    symbol: str
    degree: int
    is_lacking: bool

    @property
    def is_metal(self) -> bool:
        return self.symbol not in _NO_METALS


def lack_hydrogens(
    symbols: Sequence[str], bonds: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Flag carbons that lack bonds, in molecules without a hydrogen on any carbon.

    CO2, nitriles, carbonates, carboxylates, aromatic and fluorinated carbons lack none;
    nor do those of molecules that are cut, whose other carbons have their hydrogens.

    Args:
        symbols: of elements, (n_atoms,), "" where an atom has none.
        bonds: atom indices, (n_bonds, 2).

    Example:
        >>> lack_hydrogens("COC", np.array([[0, 1], [1, 2]])).tolist()
        [True, False, True]
        >>> lack_hydrogens("OCO", np.array([[0, 1], [1, 2]])).tolist()
        [False, False, False]
    """
    kinds = np.asarray(list(symbols), dtype=object)
    is_carbon = kinds == "C"
    lacking = np.zeros(len(kinds), dtype=np.bool_)
    if not is_carbon.any():
        return lacking
    molecule = components(len(kinds), bonds)
    ends = kinds[bonds]
    has_both = (ends == "C").any(axis=1) & (ends == "H").any(axis=1)
    is_clothed = np.zeros(len(kinds), dtype=np.bool_)
    is_clothed[molecule[bonds[has_both, 0]]] = True  # by molecule
    asked = np.flatnonzero(is_carbon & ~is_clothed[molecule]).tolist()
    near = neighbours(len(kinds), bonds) if asked else []
    for atom in sorted(asked, key=lambda atom: len(near[atom])):
        partners = [
            _Partner(str(kinds[i]), len(near[i]), bool(lacking[i])) for i in near[atom]
        ]
        lacking[atom] = not _is_whole(partners)
    return lacking


def _is_whole(partners: Sequence[_Partner]) -> bool:
    """Whether a carbon with these partners can be bare."""
    if len(partners) == 1:  # CO, cyanide
        return partners[0][:2] in {("O", 1), ("N", 1)}
    if len(partners) == 2:  # CO2, nitriles, isocyanates, ketenes; no alkynes
        bonds = [_BONDS.get(one[:2], int(one.is_metal)) for one in partners]
        n_flat = sum(one[:2] == ("C", 3) for one in partners)
        return max(bonds) > 0 and sum(bonds) + n_flat >= 2
    if len(partners) == 3:  # flat: aromatic, carbonyl, imine; guanidinium, methides
        n_nitrogens = sum(one.symbol == "N" for one in partners)
        return n_nitrogens > 1 or any(
            one[:2] in _BONDS
            or one.is_metal
            or one[:2] == ("C", 3)
            or one == ("C", 2, False)
            or (one.symbol in {"S", "P"} and one.degree > 2)
            for one in partners
        )
    return len(partners) > 3
