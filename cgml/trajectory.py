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

from cgml import dcd
from cgml.box import Box, reduce
from cgml.dcd import Frames
from cgml.frames import BeadTrajectory, Trajectory, coarsen, whole_paths
from cgml.h5md import read_beads, write_beads
from cgml.reference import read_reference
from cgml.topology import MolecularGraph, from_mdtraj
from cgml.writer import TrajectoryWriter, write_topology

_HDF5 = (".h5", ".hdf5")

__all__ = [
    "BeadTrajectory",
    "Trajectory",
    "TrajectoryWriter",
    "coarsen",
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
) -> Trajectory:
    """Read a trajectory of atoms; molecules come whole and unwrapped.

    Args:
        trajectory_path: DCD, XTC, TRR, HDF5 (mdtraj's) or PDB.
        topology: the atoms, or a file that has them and their bonds.
        masses: particle type -> mass, Da, where the topology is a file and its
            particles are no elements.
        time_step: time between frames, ps, in place of what the file says.

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
        else read_topology(topology, masses=masses)
    )
    frames = _frames(path)
    n_frames, n_atoms = frames.positions.shape[:2]
    if n_atoms != graph.n_atoms:
        raise ValueError(
            f"atom count differs: {path} has {n_atoms} atoms, its topology has "
            f"{graph.n_atoms}"
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
        )
    box = None if frames.boxes is None else _constant(frames.boxes, path)
    positions = whole_paths(frames.positions, graph, box)
    return Trajectory(graph, positions, times, box, path.stem)


def read_topology(
    path: Path | str, *, masses: Table[str, float] | None = None
) -> MolecularGraph:
    """Read atoms and bonds from a file.

    Args:
        path: PDB (with CONECT records), mmCIF, PRMTOP, PSF, GRO, HDF5, ...
        masses: particle type -> mass, Da; see `cgml.topology.from_mdtraj`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, or it has atoms but no bonds.
    """
    path = _existing(path)
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


def _frames(path: Path) -> Frames:
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
            f"trajectories are read from {', '.join(readers)} files, got {path.name!r}"
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
    change = abs(boxes - boxes[0]).max()
    if change > 1.0e-4 * abs(boxes[0]).max():
        raise ValueError(
            f"a constant box is required, the box vectors of {path} change by up to "
            f"{change:g} nm"
        )
    return reduce(boxes[0])


def _existing(path: Path | str) -> Path:
    """Return the path of a file that is there."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return Path(path)
