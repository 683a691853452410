"""MOL and SDF files (V2000): molecules one after the other, elements, bonds, places.

Atoms are called by their element and number in the molecule, residues by the title.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.formats.format import BROKEN, Frames, LammpsOptions, open_text
from cgml.molecules.atoms import AtomTable
from cgml.molecules.masses import elements
from cgml.units import ANGSTROM

_ISOTOPES = {"D": 2.014, "T": 3.016}  # Da, of hydrogen, where they have symbols


class _Record(NamedTuple):
    """A molecule: title, symbols, positions in Angstrom, bonds numbered from 0."""

    title: str
    symbols: list[str]
    positions: list[list[float]]
    bonds: list[list[int]]


def read_atoms(path: Path, options: LammpsOptions) -> AtomTable:
    """Read atoms and bonds of all molecules.

    Raises:
        ValueError: no such file, a cut one, or one of another version.
    """
    del options
    records = _read(path)
    firsts = np.cumsum([0, *(len(item.symbols) for item in records[:-1])])
    bonds = [
        np.array(item.bonds, dtype=np.int64).reshape(-1, 2) + first
        for item, first in zip(records, firsts, strict=True)
    ]
    atoms = [
        (symbol, f"{symbol}{i}", item.title, f"residue {item.title} {number}")
        for number, item in enumerate(records, 1)
        for i, symbol in enumerate(item.symbols, 1)
    ]
    symbols, names, residues, groups = zip(*atoms, strict=True)
    masses = [_ISOTOPES.get(symbol, np.nan) for symbol in symbols]
    known = ["H" if symbol in _ISOTOPES else symbol for symbol in symbols]
    return AtomTable(
        source=str(path),
        names=names,
        bonds=np.concatenate(bonds),
        elements=[symbol if symbol in elements() else "" for symbol in known],
        masses=None if np.isnan(masses).all() else np.array(masses),
        residues=residues,
        groups=groups,
    )


def pieces(path: Path, n_frames: int, options: LammpsOptions) -> Iterator[Frames]:
    """Read the one frame of a file, at time 0."""
    del n_frames, options
    places = [place for item in _read(path) for place in item.positions]
    positions: NDArray[np.float32] = np.array([places], dtype=np.float32) * ANGSTROM
    yield Frames(positions.astype(np.float32), np.zeros(1), None)


def is_sdf(head: bytes) -> bool:
    """Tell a file by the version in its fourth line."""
    return b"V2000" in (head.splitlines() + [b""] * 4)[3]


def _read(path: Path) -> list[_Record]:
    """Read all molecules, at least one."""
    try:
        with open_text(path) as stream:
            lines = stream.read().splitlines()
    except BROKEN as error:
        raise ValueError(f"{path} is cut short: {error}; copy it again") from error
    starts = [0] + [i + 1 for i, line in enumerate(lines) if line.startswith("$$$$")]
    ends = [*starts[1:], len(lines) + 1]
    blocks = [lines[i : k - 1] for i, k in zip(starts, ends, strict=True)]
    found = [block for block in blocks if any(line.strip() for line in block)]
    try:
        return [_record(block) for block in found or [[]]]
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{path} cannot be read as a MOL or SDF file, or it is cut short: {error}"
        ) from error


def _record(lines: list[str]) -> _Record:
    """Read one molecule."""
    if "V3000" in lines[3]:
        raise ValueError("it is of version V3000: write it as V2000")
    n_atoms, n_bonds = int(lines[3][:3]), int(lines[3][3:6])
    if n_atoms < 1:
        raise ValueError(f"a molecule has {n_atoms} atoms")
    atoms = [line.split() for line in lines[4 : 4 + n_atoms]]
    bonds = [
        [int(line[:3]) - 1, int(line[3:6]) - 1]
        for line in lines[4 + n_atoms : 4 + n_atoms + n_bonds]
    ]
    if len(atoms) < n_atoms or len(bonds) < n_bonds:
        raise ValueError(
            f"{n_atoms} atoms and {n_bonds} bonds are promised, it ends before"
        )
    if any(not 0 <= end < n_atoms for bond in bonds for end in bond):
        raise ValueError(f"a bond joins an atom beyond the {n_atoms} of its molecule")
    return _Record(
        title=(lines[0].split() or ["MOL"])[0],
        symbols=[words[3] for words in atoms],
        positions=[[float(word) for word in words[:3]] for words in atoms],
        bonds=bonds,
    )
