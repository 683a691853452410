"""PDB files of beads, to open a trajectory with."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.files import replacing
from cgml.molecules.mapping import Mapping
from cgml.units import ANGSTROM

_LARGEST = 999.0  # Angstrom: eight columns with three decimals and a sign
_CHAINS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def write_topology(path: Path | str, mapping: Mapping, positions: NDArray[Any]) -> None:
    """Write beads and their bonds as a PDB file, to open a trajectory with.

    A bead is a residue CG with one atom CG, a molecule is a chain.

    Args:
        path: the file, .pdb.
        mapping: of the beads.
        positions: (n_beads, 3), nm, within what the columns take.
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
    lines = [
        f"ATOM  {(i + 1) % 100_000:5d}  CG   CG {_CHAINS[molecule % 26]}"
        f"{(i + 1) % 10_000:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
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
