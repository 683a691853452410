"""What text files of atoms truly say of each: names, elements, types, masses.

Libraries fill in elements that a file does not have, after the names of atoms; here are
the columns as they stand.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.formats.format import open_text
from cgml.molecules.masses import elements


class Columns(NamedTuple):
    """Columns of a file, (n_atoms,) each; empty where it has none.

    Attributes:
        names: of atoms.
        residues: names of residues.
        elements: symbols, "" where an atom has none.
        kinds: names of types in the force field.
        masses: Da; None: none.
        serials: numbers of atoms, as text.
    """

    names: Sequence[str]
    residues: Sequence[str]
    elements: Sequence[str] = ()
    kinds: Sequence[str] = ()
    masses: NDArray[np.float64] | None = None
    serials: Sequence[str] = ()


def symbol_of(element: str | int) -> str:
    """Return the symbol of an element, told as text or number; "" if it is none.

    Example:
        >>> symbol_of(" CL"), symbol_of("VS"), symbol_of(17), symbol_of(0)
        ('Cl', '', 'Cl', '')
    """
    known = elements()
    if isinstance(element, int):
        return list(known)[element - 1] if 0 < element <= len(known) else ""
    symbol = element.strip().capitalize()
    return symbol if symbol in known else ""


def pdb(path: Path) -> Columns:
    """Read columns 13-16, 18-20 and 77-78 of the first model of a PDB file."""
    lines = []
    with open_text(path) as stream:
        for line in stream:
            if line.startswith(("ATOM  ", "HETATM")):
                lines.append(line.rstrip("\n").ljust(80))
            elif line.startswith("ENDMDL"):
                break
    return Columns(
        names=[line[12:16].strip() for line in lines],
        residues=[line[17:21].strip() for line in lines],
        elements=[symbol_of(line[76:78]) for line in lines],
        serials=[line[6:11].strip() for line in lines],
    )


def gro(path: Path) -> Columns:
    """Read the names of a GRO file, which has nothing else."""
    with open_text(path) as stream:
        next(stream)
        lines = [next(stream) for _ in range(int(next(stream)))]
    return Columns(
        names=[line[10:15].strip() for line in lines],
        residues=[line[5:10].strip() for line in lines],
    )


def prmtop(path: Path) -> Columns:
    """Read names, types, masses and perhaps atomic numbers of a PRMTOP file (AMBER)."""
    flags: dict[str, list[str]] = {}
    lines: list[str] = []
    with open_text(path) as stream:
        for line in stream:
            if line.startswith("%FLAG"):
                lines = flags.setdefault(line.split()[1], [])
            elif not line.startswith("%"):
                lines.append(line.rstrip("\n"))
    names = list(_cells(flags["ATOM_NAME"], 4))
    residues = list(_cells(flags["RESIDUE_LABEL"], 4))
    n = int(next(_cells(flags["POINTERS"], 8)))
    starts = [int(text) - 1 for text in _cells(flags["RESIDUE_POINTER"], 8)]
    owner = np.searchsorted(starts, np.arange(n), side="right") - 1
    numbers = [int(text) for text in _cells(flags.get("ATOMIC_NUMBER", []), 8)]
    return Columns(
        names=names[:n],
        residues=[residues[i] for i in owner.tolist()],
        elements=[symbol_of(number) for number in numbers],
        kinds=list(_cells(flags.get("AMBER_ATOM_TYPE", []), 4))[:n],
        masses=np.array([float(text) for text in _cells(flags["MASS"], 16)]),
    )


def psf(path: Path) -> Columns:
    """Read names, types and masses of a PSF file (CHARMM, NAMD)."""
    with open_text(path) as stream:
        n = next(int(line.split()[0]) for line in stream if "!NATOM" in line)
        rows = [next(stream).split() for _ in range(n)]
    return Columns(
        names=[row[4] for row in rows],
        residues=[row[3] for row in rows],
        kinds=[row[5] for row in rows],
        masses=np.array([float(row[7]) for row in rows]),
    )


def mol2(path: Path) -> Columns:
    """Read names and SYBYL types of a MOL2 file: "C.3" is carbon, "c3" is nothing."""
    rows: list[list[str]] = []
    is_inside = False
    with open_text(path) as stream:
        for line in stream:
            if line.startswith("@"):
                is_inside = line.strip() == "@<TRIPOS>ATOM"
            elif is_inside and line.strip():
                rows.append(line.split())
    bases = [row[5].partition(".")[0] for row in rows]
    return Columns(
        names=[row[1] for row in rows],
        residues=[row[7] if len(row) > 7 else "" for row in rows],
        elements=[base if base in elements() else "" for base in bases],
        kinds=[row[5] for row in rows],
    )


READERS: dict[str, Callable[[Path], Columns]] = {
    ".pdb": pdb,
    ".gro": gro,
    **dict.fromkeys((".prmtop", ".parm7", ".prm7"), prmtop),
    ".psf": psf,
    ".mol2": mol2,
}
"""Suffix -> what reads the columns of such files."""


def _cells(lines: Sequence[str], width: int) -> Iterator[str]:
    """Cut lines into cells of one width."""
    for line in lines:
        for start in range(0, len(line), width):
            cell = line[start : start + width].strip()
            if cell:
                yield cell
