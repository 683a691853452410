"""The file formats: a row each. A new one is a module and a row here."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cgml.files import existing
from cgml.formats import (
    amber,
    arrays,
    dcd,
    gromacs,
    gromacs_top,
    h5md,
    lammps_data,
    lammps_dump,
    sdf,
    topology,
)
from cgml.formats.format import (
    BROKEN,
    Format,
    SinkOpener,
    TopologyReader,
)

T = TypeVar("T")

_HEAD = 1 << 14  # bytes that tell a format

FORMATS: list[Format] = [
    Format(
        name="DCD",
        suffixes=(".dcd",),
        clock=", or the units of the run if LAMMPS wrote the file (--units)",
        pieces=dcd.pieces,
        boxes=dcd.boxes,
        sink=lambda path, mapping, box, _: dcd.Writer(path, mapping.n_beads, box),
        recognise=dcd.is_dcd,
    ),
    Format(
        name="XTC",
        suffixes=(".xtc",),
        pieces=gromacs.xtc_pieces,
        boxes=gromacs.xtc_boxes,
        sink=lambda path, mapping, box, _: gromacs.Writer(path, box),
        recognise=gromacs.is_xtc,
    ),
    Format(
        name="TRR",
        suffixes=(".trr",),
        pieces=gromacs.trr_pieces,
        boxes=gromacs.trr_boxes,
        recognise=gromacs.is_trr,
    ),
    Format(
        name="AMBER trajectory",
        suffixes=(".nc", ".ncdf"),
        pieces=amber.pieces,
        boxes=amber.boxes,
        recognise=amber.is_netcdf,
    ),
    Format(
        name="AMBER restart",
        suffixes=(".rst7", ".ncrst", ".inpcrd"),
        pieces=amber.restart_pieces,
    ),
    Format(
        name="H5MD",
        suffixes=(".h5md",),
        beads=h5md.read_frames,
        sink=h5md.Writer,
    ),
    Format(
        name="HDF5",
        suffixes=topology.HDF5,
        pieces=topology.hdf5_pieces,
        boxes=topology.hdf5_boxes,
        topology=topology.read_atoms,
    ),
    Format(
        name="PDB",
        suffixes=(".pdb",),
        pieces=topology.structure_pieces,
        topology=topology.read_atoms,
        may_be_compressed=True,
    ),
    Format(
        name="force field",
        suffixes=(".prmtop", ".parm7", ".prm7", ".psf"),
        topology=topology.read_atoms,
    ),
    Format(
        name="molecules",
        suffixes=(".mol2", ".cif", ".pdbx"),
        pieces=topology.structure_pieces,
        topology=topology.read_atoms,
    ),
    Format(
        name="GRO",
        suffixes=(".gro",),
        pieces=topology.structure_pieces,
        topology=topology.read_atoms,
    ),
    Format(
        name="SDF",
        suffixes=(".sdf", ".mol"),
        pieces=sdf.pieces,
        topology=sdf.read_atoms,
        recognise=sdf.is_sdf,
        may_be_compressed=True,
    ),
    Format(
        name="names of atoms",
        suffixes=(".hoomdxml", ".gsd", ".arc", ".lh5"),
        topology=topology.read_atoms,
    ),
    Format(
        name="GROMACS topology",
        suffixes=(".top", ".itp"),
        topology=gromacs_top.read_atoms,
        recognise=gromacs_top.is_topology,
    ),
    Format(
        name="LAMMPS dump",
        suffixes=(".lammpstrj", ".lammpsdump", ".dump"),
        clock=", or md_step, the timestep of the simulation (--md-step, --units)",
        pieces=lammps_dump.pieces,
        boxes=lammps_dump.boxes,
        recognise=lammps_dump.is_dump,
        may_be_compressed=True,
    ),
    Format(
        name="LAMMPS data",
        suffixes=(".data", ".lmp", ".lammps"),
        pieces=lammps_data.pieces,
        topology=lammps_data.read_atoms,
        recognise=lammps_data.is_data,
        may_be_compressed=True,
    ),
    Format(
        name="reference arrays",
        suffixes=(".npz",),
        beads=arrays.read_frames,
    ),
]


def of_frames(path: Path) -> Format:
    """Find the format of a file of frames, of atoms or of beads."""
    return _find(path, "trajectories", lambda row: row.pieces or row.beads)[0]


def has_frames(path: Path) -> bool:
    """Tell files of frames from those of atoms and bonds alone, by their names."""
    existing(path)
    fitting = [row for row in FORMATS if row.fits(path)]
    return not fitting or any(row.pieces or row.beads for row in fitting)


def topology_reader(path: Path) -> TopologyReader:
    """Find what reads a file of atoms and bonds."""
    return _find(path, "atoms and bonds", lambda row: row.topology)[1]


def sink_opener(path: Path) -> SinkOpener:
    """Find what writes a file, by its name."""
    rows = [row for row in FORMATS if row.sink is not None]
    for row in rows:
        if path.suffix in row.suffixes and row.sink is not None:
            return row.sink
    *most, last = _suffixes(rows)
    raise ValueError(
        f"a trajectory is written as {', '.join(most)} or {last}, got {path.name!r}"
    )


def with_bonds() -> str:
    """Name the suffixes of the formats that tell atoms and bonds, for error texts."""
    return ", ".join(_suffixes([row for row in FORMATS if row.topology is not None]))


def _find(
    path: Path, what: str, part: Callable[[Format], T | None]
) -> tuple[Format, T]:
    """Find the row that has the part, by the file's name or else its first bytes."""
    existing(path)
    rows = [(row, found) for row in FORMATS if (found := part(row)) is not None]
    fitting = [row for row in rows if row[0].fits(path)]
    if not fitting:
        head = _head(path)
        fitting = [row for row in rows if row[0].recognise and row[0].recognise(head)]
    if fitting:
        return fitting[0]
    packed = _suffixes([row for row, _ in rows if row.may_be_compressed])
    raise ValueError(
        f"{what} are read from {', '.join(_suffixes([row for row, _ in rows]))} files "
        f"({', '.join(packed)} also with .gz), got {path.name!r}, which is none of "
        "them by its content either"
    )


def _suffixes(rows: Sequence[Format]) -> list[str]:
    return [suffix for row in rows for suffix in row.suffixes]


def _head(path: Path) -> bytes:
    """Read the first bytes, unpacked."""
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as packed:
                return packed.read(_HEAD)
        with path.open("rb") as plain:
            return plain.read(_HEAD)
    except BROKEN:
        return b""
