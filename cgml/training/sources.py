"""Which files belong to frames of atoms, and which options to which files."""

from collections.abc import Mapping as Table
from pathlib import Path

from cgml.formats import table
from cgml.formats.format import Format
from cgml.formats.selection import FrameOptions
from cgml.training.coarsening import Coarsening


def check_options(
    rows: Table[Path, Format], topology: Path | None, coarsening: Coarsening
) -> None:
    """Refuse what the user says and none of the files (with their formats) would use.

    Raises:
        ValueError: an option of files of atoms, or of LAMMPS, and there are none.
    """
    of_atoms = {
        "--topology": topology,
        "--system": coarsening.system,
        "--types, --mass or --type-name": coarsening.chemistry.rows,
        "--mapping": coarsening.mapping,
        "--time-step": coarsening.time_step is not None,
        "--unwrapped": coarsening.frames.is_unwrapped,
        "--max-scaling": coarsening.frames.max_scaling != FrameOptions().max_scaling,
    }
    given = [name for name, value in of_atoms.items() if value]
    if given and all(row.beads is not None for row in rows.values()):
        raise ValueError(
            f"{given[0]} is of files of atoms, all files given hold beads: leave it out"
        )
    options = {
        "--md-step": coarsening.lammps.md_step,
        "--units": coarsening.lammps.units,
    }
    for name, value in options.items():
        if value is not None and not any(name in row.clock for row in rows.values()):
            raise ValueError(
                f"{name} is of LAMMPS, none of the files given has times in its units: "
                "leave it out"
            )


def topology_of(path: Path, row: Format, topology: Path | None) -> Path:
    """Return the file with the bonds of frames of atoms: the one given, or theirs."""
    if topology is not None:
        return topology
    if row.topology is not None:
        return path
    raise ValueError(
        f"{path} holds atoms without their bonds: pass the file that has them as the "
        "topology (--topology; for example a PDB file with CONECT records, or a LAMMPS "
        f"data file; read are {table.with_bonds()})"
    )
