"""Reading frames of atoms and their topologies, whatever the format."""

from collections.abc import Iterator
from collections.abc import Mapping as Table
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgml.formats import table
from cgml.formats.arrays import read_reference
from cgml.formats.format import Format, Frames, LammpsOptions, uncompressed
from cgml.formats.h5md import read_beads, write_beads
from cgml.formats.pdb import write_topology
from cgml.formats.writer import TrajectoryWriter
from cgml.molecules.box import Box, reduce
from cgml.molecules.checks import check_topology
from cgml.molecules.frames import BeadTrajectory, Trajectory, coarsen, join
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.whole import Unwrapper

PIECE = 1 << 19
"""Positions in a piece of a file, about: atoms times frames."""

__all__ = [
    "BeadTrajectory",
    "LammpsOptions",
    "Trajectory",
    "TrajectoryWriter",
    "coarsen",
    "read",
    "read_beads",
    "read_pieces",
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
        trajectory_path: a file of a format in table.py that has frames of atoms; it is
            known by its suffix, or else by its content.
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
    pieces = read_pieces(
        trajectory_path, topology, masses=masses, time_step=time_step, lammps=lammps
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
) -> Iterator[Trajectory]:
    """Read a trajectory of atoms piece by piece: memory does not grow with its length.

    Args:
        trajectory_path: as for `read`, as are the others.
        topology: the atoms.
        n_frames: frames in a piece; None: so many that it has a few megabytes.
        masses: of particles that are no elements.
        time_step: time between frames, ps.
        lammps: what LAMMPS files do not say.

    Yields:
        The same frames as `read` returns, to the last bit, whatever the pieces.

    Raises:
        ValueError: as `read`, as are the others; perhaps behind the first pieces.
    """
    path, options = Path(trajectory_path), lammps or LammpsOptions()
    graph = (
        topology
        if isinstance(topology, MolecularGraph)
        else read_topology(topology, masses=masses, lammps=lammps)
    )
    row = table.of_frames(path)
    if row.pieces is None:
        raise ValueError(
            f"a trajectory of atoms is required, {path} ({row.name}) holds beads: use "
            "read_beads or read_reference of cgml.formats.trajectory"
        )
    n = n_frames or max(1, PIECE // graph.n_atoms)
    reader = _Reader(path, row, graph, time_step)
    for frames in row.pieces(path, n, options):
        if len(frames.positions):
            yield reader.take(frames)
    reader.finish()


class _Reader:
    """Frames of a file as they come: counted, checked, made whole."""

    def __init__(
        self, path: Path, row: Format, graph: MolecularGraph, time_step: float | None
    ) -> None:
        self._path, self._row, self._graph = path, row, graph
        self._time_step = time_step
        self._n_done = 0
        self._last = -np.inf  # ps
        self._first_box: NDArray[np.float64] | None = None
        self._box: Box | None = None
        self._whole: Unwrapper | None = None

    def take(self, frames: Frames) -> Trajectory:
        """Check and unwrap the next frames."""
        path, graph = self._path, self._graph
        n_frames, n_atoms = frames.positions.shape[:2]
        if n_atoms != graph.n_atoms:
            raise ValueError(
                f"atom count differs: {path} has {n_atoms} atoms, its topology has "
                f"{graph.n_atoms}: give the topology of the atoms that were stored"
            )
        times = self._times(frames)
        if self._whole is None:
            if frames.boxes is not None:
                self._first_box, self._box = frames.boxes[0], reduce(frames.boxes[0])
            is_unwrapped = frames.is_unwrapped
            self._whole = Unwrapper(
                graph, self._box, is_unwrapped=is_unwrapped, source=str(path)
            )
        self._check_boxes(frames.boxes)
        positions = self._whole(frames.positions)
        self._n_done += n_frames
        self._last = times[-1]
        return Trajectory(graph, positions, times, self._box, uncompressed(path).stem)

    def finish(self) -> None:
        """Refuse a file without frames."""
        if not self._n_done:
            raise ValueError(f"{self._path} holds no frames")

    def _times(self, frames: Frames) -> NDArray[np.float64]:
        """Return times, ps, and refuse those that do not go on."""
        n = len(frames.positions)
        if self._time_step is not None:
            numbers = np.arange(self._n_done, self._n_done + n, dtype=np.float64)
            return numbers * self._time_step
        if frames.times is None:
            hint = ", or md_step, that of the simulation"
            raise ValueError(
                f"{self._path} does not tell the times of its frames: pass time_step, "
                f"in ps{hint if 'steps' in self._row.tells else ''}"
            )
        known = np.concatenate(([self._last], frames.times))
        wrong = np.flatnonzero(~(np.diff(known) > 0.0))
        if len(wrong):
            place, frame = int(wrong[0]), self._n_done + int(wrong[0])
            raise ValueError(
                f"times must increase, {self._path} has {known[place + 1]:g} ps in "
                f"frame {frame} after {known[place]:g} ps: pass time_step, in ps, or "
                "put the runs in files of their own"
            )
        return frames.times

    def _check_boxes(self, boxes: NDArray[np.float64] | None) -> None:
        """Require the one box of all frames."""
        first = self._first_box
        if boxes is None and first is None:
            return
        if boxes is None or first is None:
            raise ValueError(
                f"a constant box is required, {self._path} has one in some frames only"
            )
        changes = abs(boxes - first).max(axis=(1, 2))
        if not changes.max() <= 1.0e-4 * abs(first).max():
            most = int(changes.argmax())
            raise ValueError(
                f"a constant box is required, the box vectors of {self._path} change "
                f"by up to {changes.max():g} nm: {first.round(6).tolist()} nm in frame "
                f"0, {boxes[most].round(6).tolist()} nm in frame "
                f"{self._n_done + most}; give frames of constant volume"
            )


def read_topology(
    path: Path | str,
    *,
    masses: Table[str, float] | None = None,
    lammps: LammpsOptions | None = None,
) -> MolecularGraph:
    """Read atoms and bonds from a file.

    Args:
        path: PDB (with CONECT records), mmCIF, PRMTOP, PSF, HDF5, LAMMPS data, ...;
            known by its suffix, or else by its content.
        masses: particle type -> mass, Da, of particles that are no element.
        lammps: what LAMMPS files do not say of themselves.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, it has atoms but no bonds, or they are
            none that make sense (`checks.check_topology`).
    """
    reader = table.topology_reader(Path(path))
    graph = reader(Path(path), masses or {}, lammps or LammpsOptions())
    check_topology(graph, str(path))
    return graph
