"""Reading frames of atoms and their topologies, whatever the format."""

import logging
from collections.abc import Iterator
from collections.abc import Mapping as Table
from dataclasses import replace
from pathlib import Path

from cgml.formats import table
from cgml.formats.arrays import read_reference
from cgml.formats.format import HEAVIEST, LammpsOptions, reading
from cgml.formats.h5md import read_beads, write_beads
from cgml.formats.openmm_xml import read_masses
from cgml.formats.pdb import write_data, write_structure, write_topology
from cgml.formats.reader import Reader
from cgml.formats.selection import FrameOptions, selected
from cgml.formats.writer import TrajectoryWriter
from cgml.molecules.atoms import AtomTable
from cgml.molecules.checks import check_topology
from cgml.molecules.chemistry import Chemistry, check_carbons, describe
from cgml.molecules.frames import BeadTrajectory, Trajectory, coarsen, join
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.masses import UnknownMassesError

LOGGER = logging.getLogger(__name__)

PIECE = 1 << 19
"""Positions in a piece of a file, about: atoms times frames."""

_LONGEST_NAME = 200  # letters, of an atom

__all__ = [
    "BeadTrajectory",
    "FrameOptions",
    "LammpsOptions",
    "Trajectory",
    "TrajectoryWriter",
    "coarsen",
    "read",
    "read_atoms",
    "read_beads",
    "read_pieces",
    "read_reference",
    "read_topology",
    "write_beads",
    "write_data",
    "write_structure",
    "write_topology",
]


def read(
    trajectory_path: Path | str,
    topology: Path | str | MolecularGraph,
    *,
    masses: Table[str, float] | None = None,
    time_step: float | None = None,
    lammps: LammpsOptions | None = None,
    frames: FrameOptions | None = None,
) -> Trajectory:
    """Read a trajectory of atoms; molecules come whole and unwrapped.

    Args:
        trajectory_path: a file of a format in table.py that has frames of atoms; it is
            known by its suffix, or else by its content.
        topology: the atoms, or a file that has them and their bonds.
        masses: particle type -> mass, Da, of particles that are no elements.
        time_step: time between frames, ps, in place of what the file says.
        lammps: what LAMMPS files do not say of themselves.
        frames: which of them, which atoms, in which box; None: all, in the box of the
            file.

    Returns:
        The frames, named after the file. Those of a box that changes (constant
        pressure) are put into the mean one, molecules keep their shape.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: an unknown format, a truncated file, another number of atoms, no
            bonds, no times, a box that changes by more than the options allow.
    """
    pieces = read_pieces(
        trajectory_path,
        topology,
        masses=masses,
        time_step=time_step,
        lammps=lammps,
        frames=frames,
    )
    return join(pieces)


def read_pieces(
    trajectory_path: Path | str,
    topology: Path | str | MolecularGraph,
    *,
    n_frames: int | None = None,
    masses: Table[str, float] | None = None,
    time_step: float | None = None,
    lammps: LammpsOptions | None = None,
    frames: FrameOptions | None = None,
) -> Iterator[Trajectory]:
    """Read a trajectory of atoms piece by piece: memory does not grow with its length.

    Arguments are those of `read`; n_frames: in a piece; None: a few megabytes.

    Yields:
        The same frames as `read` returns, to the last bit, whatever the pieces.

    Raises:
        ValueError: as `read`; perhaps behind the first pieces.
    """
    path, options = Path(trajectory_path), lammps or LammpsOptions()
    chosen = frames or FrameOptions()
    if isinstance(topology, MolecularGraph):
        graph = topology
    else:
        atoms = read_atoms(topology, lammps=lammps)
        atoms, chosen = selected(atoms, chosen)
        graph = _graph(atoms, Chemistry.of_masses(masses), str(topology))
    row = table.of_frames(path)
    if row.pieces is None:
        raise ValueError(
            f"a trajectory of atoms is required, {path} ({row.name}) holds beads: use "
            "read_beads or read_reference of cgml.formats.trajectory"
        )
    n = n_frames or max(1, PIECE // graph.n_atoms)
    reader = Reader(path, row, graph, time_step, chosen)
    with reading(path):
        yield from reader.read(row.pieces(path, n, options), n, options)


def read_topology(
    path: Path | str,
    *,
    masses: Table[str, float] | None = None,
    lammps: LammpsOptions | None = None,
    chemistry: Chemistry | None = None,
    system: Path | str | None = None,
) -> MolecularGraph:
    """Read atoms and bonds from a file.

    Args:
        path: PDB (with CONECT records), mmCIF, PRMTOP, PSF, GROMACS .top, LAMMPS data,
            ...; known by its suffix, or else by its content.
        masses: particle type -> mass, Da, of particles that are no element.
        lammps: what LAMMPS files do not say of themselves.
        chemistry: all that is known of types and masses, in place of `masses`.
        system: XML file of the OpenMM System of these atoms, which has their masses.

    Raises:
        ValueError: the file cannot be read; it has no bonds, or none that make sense
            (`check_topology`); types or masses are not known; a mass serves nothing.
    """
    given = Chemistry.of_masses(masses) if chemistry is None else chemistry
    return _graph(read_atoms(path, lammps=lammps, system=system), given, str(path))


def _graph(atoms: AtomTable, chemistry: Chemistry, source: str) -> MolecularGraph:
    """Describe and check atoms."""
    with reading(source):
        graph = describe(atoms, chemistry)
        check_topology(graph, source)
    say_carbons(atoms, chemistry)
    return graph


def say_carbons(atoms: AtomTable, chemistry: Chemistry) -> None:
    """Warn of carbons that may be united atoms, see `check_carbons`."""
    try:
        check_carbons(atoms, chemistry)
    except UnknownMassesError as error:
        LOGGER.warning("taken as they are: %s", error)


def read_atoms(
    path: Path | str,
    *,
    lammps: LammpsOptions | None = None,
    system: Path | str | None = None,
) -> AtomTable:
    """Read what files say of atoms and bonds, see `read_topology`."""
    path = Path(path)
    with reading(path):
        atoms = table.topology_reader(path)(path, lammps or LammpsOptions())
        if atoms.masses is not None and (atoms.masses > HEAVIEST).any():
            raise ValueError(
                f"masses up to {HEAVIEST:g} Da are read, {path} has "
                f"{atoms.masses.max():g} Da"
            )
        names = {*atoms.names, *atoms.residues, *atoms.kinds}
        longest = max(map(len, names), default=0)
        if longest > _LONGEST_NAME:
            raise ValueError(
                f"names of at most {_LONGEST_NAME} letters are read, {path} has one of "
                f"{longest}"
            )
    if system is None:
        return atoms
    masses = read_masses(Path(system))
    if len(masses) != atoms.n_atoms:
        raise ValueError(
            f"atom count differs: {path} has {atoms.n_atoms} atoms, {system} has "
            f"{len(masses)}: give the System that was made from this topology"
        )
    return replace(atoms, masses=masses)
