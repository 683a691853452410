"""Trajectory files: the only module that opens them, with the formats beside it."""

import json
from collections.abc import Callable
from collections.abc import Mapping as Table
from pathlib import Path
from typing import Any

import h5py
import mdtraj
import numpy as np
from mdtraj.formats import TRRTrajectoryFile, XTCTrajectoryFile
from mdtraj.utils import lengths_and_angles_to_box_vectors
from numpy.typing import NDArray

from cgml.formats import dcd
from cgml.formats.arrays import read_reference
from cgml.formats.dcd import Frames
from cgml.formats.h5md import read_beads, write_beads
from cgml.formats.lammps import LammpsOptions, molecular_graph, read_data
from cgml.formats.lammps_dump import read_dump
from cgml.formats.writer import TrajectoryWriter, write_topology
from cgml.molecules.box import Box, reduce
from cgml.molecules.frames import BeadTrajectory, Trajectory, coarsen
from cgml.molecules.graph import MolecularGraph, from_mdtraj
from cgml.molecules.whole import Unwrapper

_HDF5 = (".h5", ".hdf5")
_DATA = (".data", ".lmp", ".lammps")  # these and dumps may be compressed (.gz)
_DUMP = (".lammpstrj", ".lammpsdump", ".dump")

__all__ = [
    "BeadTrajectory",
    "LammpsOptions",
    "Trajectory",
    "TrajectoryWriter",
    "coarsen",
    "is_data_file",
    "read",
    "read_beads",
    "read_reference",
    "read_topology",
    "write_beads",
    "write_topology",
]


def read(
    trajectory_path: Path | str,
    topology: Path | str | MolecularGraph,
    *,
    masses: Table[str, float] | None = None,
    time_step: float | None = None,
    lammps: LammpsOptions | None = None,
) -> Trajectory:
    """Read a trajectory of atoms; molecules come whole and unwrapped.

    Args:
        trajectory_path: DCD, XTC, TRR, HDF5 (mdtraj's), PDB, or a LAMMPS dump or data
            file (.lammpstrj, .data, ..., perhaps with .gz).
        topology: the atoms, or a file that has them and their bonds.
        masses: particle type -> mass, Da, where the topology is a file and its
            particles are no elements.
        time_step: time between frames, ps, in place of what the file says.
        lammps: what LAMMPS files do not say of themselves.

    Returns:
        The frames, named after the file.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: an unknown format, a foreign or truncated file, an atom count
            that differs from the topology, no bonds, no times, a box that changes.
    """
    path = Path(trajectory_path)
    graph = (
        topology
        if isinstance(topology, MolecularGraph)
        else read_topology(topology, masses=masses, lammps=lammps)
    )
    frames, is_unwrapped = _frames(path, lammps or LammpsOptions())
    n_frames, n_atoms = frames.positions.shape[:2]
    if n_atoms != graph.n_atoms:
        raise ValueError(
            f"atom count differs: {path} has {n_atoms} atoms, its topology has "
            f"{graph.n_atoms}: give the topology of the atoms that were stored"
        )
    if not n_frames:
        raise ValueError(f"{path} holds no frames")
    if time_step is not None:
        times = np.arange(n_frames, dtype=np.float64) * time_step
    elif frames.times is not None:
        times = frames.times
    else:
        raise ValueError(
            f"{path} does not tell the times of its frames: pass time_step, in ps"
            + (", or md_step, that of the simulation" if _is(path, _DUMP) else "")
        )
    box = None if frames.boxes is None else _constant(frames.boxes, path)
    whole = Unwrapper(graph, box, is_unwrapped=is_unwrapped)
    positions = whole(frames.positions)
    return Trajectory(graph, positions, times, box, _uncompressed(path).stem)


def read_topology(
    path: Path | str,
    *,
    masses: Table[str, float] | None = None,
    lammps: LammpsOptions | None = None,
) -> MolecularGraph:
    """Read atoms and bonds from a file.

    Args:
        path: PDB (with CONECT records), mmCIF, PRMTOP, PSF, GRO, HDF5, LAMMPS data, ...
        masses: particle type -> mass, Da; see `cgml.molecules.graph.from_mdtraj`.
        lammps: what LAMMPS files do not say of themselves.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, or it has atoms but no bonds.
    """
    path = _existing(path)
    if is_data_file(path):
        return molecular_graph(read_data(path), masses or {}, lammps or LammpsOptions())
    try:
        if path.suffix.lower() in _HDF5:
            topology = _hdf5_topology(path)
        else:
            topology = mdtraj.load_topology(str(path))
    except Exception as error:  # its parsers raise anything
        raise ValueError(f"{path} cannot be read as a topology: {error}") from error
    graph = from_mdtraj(topology, masses)
    if graph.n_atoms > 1 and not len(graph.bonds):
        raise ValueError(
            f"no bonds: {path} names {graph.n_atoms} atoms and no bond between them; "
            "give a file that has them (a PDB file needs CONECT records), or a "
            "MolecularGraph"
        )
    return graph


def _hdf5_topology(path: Path) -> mdtraj.Topology:
    """Read the atoms and bonds of an HDF5 file in the layout of mdtraj."""
    with h5py.File(path, "r") as file:
        content = json.loads(file["topology"][0])
    topology = mdtraj.Topology()
    for chain in content["chains"]:
        added = topology.add_chain()
        for residue in chain["residues"]:
            place = topology.add_residue(residue["name"], added)
            for atom in residue["atoms"]:
                element = mdtraj.element.get_by_symbol(atom["element"] or "VS")
                topology.add_atom(atom["name"], element, place)
    atoms = list(topology.atoms)
    for i, j in content["bonds"]:
        topology.add_bond(atoms[i], atoms[j])
    return topology


def is_data_file(path: Path) -> bool:
    """Tell a LAMMPS data file, which has atoms, bonds and one frame, by its name."""
    return _is(path, _DATA)


def _uncompressed(path: Path) -> Path:
    """Return the name without .gz."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _is(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Tell a LAMMPS file by its suffix, before .gz if that is there."""
    return _uncompressed(path).suffix.lower() in suffixes


def _frames(path: Path, lammps: LammpsOptions) -> tuple[Frames, bool]:
    """Read a file by the reader of its suffix; tells whether it is unwrapped."""
    if is_data_file(path):
        data = read_data(_existing(path))
        positions = data.positions[None].astype(np.float32)
        return Frames(positions, np.zeros(1), data.box[None]), True
    if _is(path, _DUMP):
        dump = read_dump(_existing(path), lammps)
        times = np.zeros(1) if len(dump.positions) == 1 else None
        times = times if dump.times is None else dump.times
        return Frames(dump.positions, times, dump.boxes), dump.is_unwrapped
    return _binary_frames(path), False


def _binary_frames(path: Path) -> Frames:
    """Read a file by the reader of its suffix."""
    readers: dict[str, Callable[[Path], Frames]] = {
        ".dcd": dcd.read,
        ".xtc": _read_xtc,
        ".trr": _read_trr,
        **dict.fromkeys(_HDF5, _read_hdf5),
        ".pdb": _read_pdb,
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise ValueError(
            f"trajectories are read from {', '.join([*readers, *_DUMP, *_DATA])} "
            f"files (the last {len(_DUMP + _DATA)} also with .gz), got {path.name!r}"
        )
    _existing(path)
    if suffix == ".dcd":
        return dcd.read(path)
    try:
        return readers[suffix](path)
    except Exception as error:  # the readers of mdtraj raise anything
        raise ValueError(
            f"{path} is not a {suffix[1:].upper()} trajectory, or it is cut short: "
            f"{error}"
        ) from error


def _read_xtc(path: Path) -> Frames:
    with XTCTrajectoryFile(str(path)) as file:
        positions, times, _, boxes = file.read()
    return Frames(positions, times.astype(np.float64), _real(boxes))


def _read_trr(path: Path) -> Frames:
    with TRRTrajectoryFile(str(path)) as file:
        positions, times, _, boxes, _ = file.read()
    return Frames(positions, times.astype(np.float64), _real(boxes))


def _read_hdf5(path: Path) -> Frames:
    """Read the layout of mdtraj, without PyTables."""
    with h5py.File(path, "r") as file:
        times = np.asarray(file["time"], np.float64) if "time" in file else None
        boxes = None
        if "cell_lengths" in file:
            cells = np.concatenate([file["cell_lengths"], file["cell_angles"]], axis=1)
            boxes = np.stack(lengths_and_angles_to_box_vectors(*cells.T), axis=1)
        return Frames(np.asarray(file["coordinates"], np.float32), times, _real(boxes))


def _read_pdb(path: Path) -> Frames:
    loaded = mdtraj.load_pdb(str(path))
    times = np.zeros(1) if loaded.n_frames == 1 else None
    return Frames(loaded.xyz, times, _real(loaded.unitcell_vectors))


def _real(boxes: NDArray[Any] | None) -> NDArray[np.float64] | None:
    """Return boxes unless there are none (absent, or all zero)."""
    if boxes is None or not boxes.any():
        return None
    return np.asarray(boxes, dtype=np.float64)


def _constant(boxes: NDArray[np.float64], path: Path) -> Box:
    """Return the one box of all frames, reduced."""
    changes = abs(boxes - boxes[0]).max(axis=(1, 2))
    if changes.max() > 1.0e-4 * abs(boxes[0]).max():
        most = int(changes.argmax())
        raise ValueError(
            f"a constant box is required, the box vectors of {path} change by up to "
            f"{changes.max():g} nm: {boxes[0].round(6).tolist()} nm in frame 0, "
            f"{boxes[most].round(6).tolist()} nm in frame {most}; give frames of "
            "constant volume"
        )
    return reduce(boxes[0])


def _existing(path: Path | str) -> Path:
    """Return the path of a file that is there."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return Path(path)
