"""PDB, PSF and LAMMPS data files of beads, to open a trajectory with."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.files import replacing
from cgml.molecules.box import Box
from cgml.molecules.mapping import Mapping
from cgml.molecules.summary import formula
from cgml.units import ANGSTROM

_LARGEST = 999.0  # Angstrom: eight columns with three decimals and a sign
_NAME = 6  # letters of a type in a PSF file
_CHAINS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def write_topology(
    path: Path | str, mapping: Mapping, positions: NDArray[Any], box: Box | None = None
) -> None:
    """Write beads and their bonds as a PDB file, to open a trajectory with.

    A bead is a residue CG with one atom X, of no element, a molecule is a chain: a
    file of this format knows no masses, and no reader shall take a bead for carbon.

    Args:
        path: the file, .pdb.
        mapping: of the beads.
        positions: (n_beads, 3), nm, within what the columns take.
        box: row vectors, (3, 3) nm; None: open boundaries.
    """
    frame = np.asarray(positions, dtype=np.float64) / ANGSTROM
    if frame.shape != (mapping.n_beads, 3):
        raise ValueError(
            f"positions of shape ({mapping.n_beads}, 3) are required, got {frame.shape}"
        )
    if not (abs(frame) < _LARGEST).all():
        raise ValueError(
            f"a PDB file takes positions within {_LARGEST * ANGSTROM:g} nm of the "
            f"origin, got up to {abs(frame).max() * ANGSTROM:g} nm: centre them first"
        )
    lines = [] if box is None else [_cell(box)]
    lines += [
        f"ATOM  {(i + 1) % 100_000:5d}  X    CG {_CHAINS[molecule % 26]}"
        f"{(i + 1) % 10_000:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00{'X':>12}"
        for i, (molecule, (x, y, z)) in enumerate(
            zip(mapping.molecule_index, frame, strict=True)
        )
    ]
    lines += [
        f"CONECT{(i + 1) % 100_000:5d}{(j + 1) % 100_000:5d}"
        for i, j in mapping.bead_bonds
    ]
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*lines, "END", ""]), encoding="ascii")


def write_structure(path: Path | str, mapping: Mapping) -> None:
    """Write kinds, masses, molecules and bonds of beads as a PSF file, as NAMD does.

    A bead is a residue of its own, named like its kind (`bead_names`).

    Args:
        path: the file, .psf.
        mapping: of the beads.
    """
    lines = ["PSF NAMD", "", f"{1:8d} !NTITLE", " REMARKS beads", ""]
    lines.append(f"{mapping.n_beads:8d} !NATOM")
    names = bead_names(mapping)
    rows = zip(mapping.molecule_index, names, mapping.bead_masses, strict=True)
    lines += [  # of words, but VMD and PyMOL take no line of less than 50 letters
        f"{i:8d} M{molecule + 1:<6d} {i:<8d} {name:<6s} X      {name:<6s} "
        f"{0:10.6f} {mass:13.4f} {0:11d}"
        for i, (molecule, name, mass) in enumerate(rows, 1)
    ]
    bonds = [f"{i + 1:8d}{j + 1:8d}" for i, j in mapping.bead_bonds]
    lines += ["", f"{len(bonds):8d} !NBOND: bonds"]
    lines += ["".join(bonds[k : k + 4]) for k in range(0, len(bonds), 4)]
    for section in ("NTHETA: angles", "NPHI: dihedrals", "NIMPHI: impropers"):
        lines += ["", f"{0:8d} !{section}"]
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*lines, "", ""]), encoding="ascii")


def write_data(
    path: Path | str, mapping: Mapping, positions: NDArray[Any], box: Box | None = None
) -> None:
    """Write kinds, masses, molecules, bonds and box as a LAMMPS data file, in Angstrom.

    It is what OVITO takes bonds from, which leaves out those of a PDB file. A box is
    lower triangular, its first corner at the origin, as LAMMPS requires; without one,
    the file has the smallest that holds all beads.

    Args:
        path: the file, .data.
        mapping: of the beads.
        positions: (n_beads, 3), nm.
        box: row vectors, (3, 3) nm; None: open boundaries.
    """
    frame = np.asarray(positions, dtype=np.float64) / ANGSTROM
    corner = np.zeros(3) if box is not None else frame.min(axis=0) - 1.0
    cell = np.diag(np.ptp(frame, axis=0) + 2.0) if box is None else box / ANGSTROM
    names = bead_names(mapping)
    kinds = {name: k for k, name in enumerate(dict.fromkeys(names), 1)}
    masses = dict(zip(names, mapping.bead_masses, strict=True))
    counts = (len(frame), "atoms"), (len(mapping.bead_bonds), "bonds")
    lines = ["beads", "", *(f"{n} {word}" for n, word in counts)]
    lines += [f"{len(kinds)} atom types", "1 bond types", ""]
    for axis, low, edge in zip("xyz", corner, np.diag(cell), strict=True):
        lines.append(f"{low:.4f} {low + edge:.4f} {axis}lo {axis}hi")
    lines.append(f"{cell[1, 0]:.4f} {cell[2, 0]:.4f} {cell[2, 1]:.4f} xy xz yz")
    lines += ["", "Masses", ""]
    lines += [f"{kinds[name]} {masses[name]:.4f} # {name}" for name in kinds]
    lines += ["", "Atoms # bond", ""]
    rows = zip(names, mapping.molecule_index + 1, frame, strict=True)
    for i, (name, molecule, (x, y, z)) in enumerate(rows, 1):
        lines.append(f"{i} {molecule} {kinds[name]} {x:.4f} {y:.4f} {z:.4f}")
    if len(mapping.bead_bonds):
        lines += ["", "Bonds", ""]
    lines += [f"{k} 1 {i} {j}" for k, (i, j) in enumerate(mapping.bead_bonds + 1, 1)]
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="ascii")


def bead_names(mapping: Mapping) -> list[str]:
    """Return a name of six letters at most for the kind of each bead.

    It is the formula of its atoms where that fits, else B1, B2, ...
    """
    types: list[list[str]] = [[] for _ in range(mapping.n_beads)]
    for name, bead in zip(mapping.graph.types, mapping.bead_index, strict=True):
        types[bead].append(name)
    found = [formula(some) for some in types]
    kinds = list(dict.fromkeys(found))
    short = {
        kind: kind if len(kind) <= _NAME and kind.isascii() else f"B{k + 1}"
        for k, kind in enumerate(kinds)
    }
    return [short[kind] for kind in found]


def _cell(box: Box) -> str:
    """Return the CRYST1 record of a box."""
    lengths = np.linalg.norm(box, axis=1)
    a, b, c = box / lengths[:, None]
    angles = np.degrees(np.arccos([b @ c, a @ c, a @ b]))
    edges = "".join(f"{edge / ANGSTROM:9.3f}" for edge in lengths)
    corners = "".join(f"{angle:7.2f}" for angle in angles)
    return f"CRYST1{edges}{corners} P 1           1"
