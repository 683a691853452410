"""Trajectories in memory: of atoms, and of beads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.box import Box, check_box, images, unwrap
from cgml.molecules.graph import MolecularGraph, breadth_first_levels
from cgml.molecules.mapping import Mapping

_CHUNK = 1 << 20  # coordinates worked on at once


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Frames of atoms.

    Attributes:
        graph: the atoms.
        positions: unwrapped, molecules whole, (n_frames, n_atoms, 3), nm, float32.
        times: (n_frames,), ps, increasing.
        box: row vectors, (3, 3), nm; None for open boundaries.
        name: of the system.
        observables: name -> values, (n_frames, ...).

    Raises:
        ValueError: shapes that do not match, or times that do not increase.
    """

    graph: MolecularGraph
    positions: NDArray[np.float32]
    times: NDArray[np.float64]
    box: Box | None = None
    name: str = ""
    observables: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the shapes."""
        _check(self.positions, self.graph.n_atoms, "atom", self.times, self.observables)
        if self.box is not None:
            check_box(self.box)


@dataclass(frozen=True, eq=False)
class BeadTrajectory:
    """Frames of beads.

    Attributes:
        mapping: atoms -> beads.
        positions: unwrapped, (n_frames, n_beads, 3), nm, float32.
        times: (n_frames,), ps, increasing.
        box: row vectors, (3, 3), nm; None for open boundaries.
        name: of the system.
        observables: name -> values, (n_frames, ...); "rg2" is the squared radius of
            gyration of all atoms, nm^2.
        first_atoms: atoms of the first frame, (n_atoms, 3), nm; None if not known.

    Raises:
        ValueError: shapes that do not match, or times that do not increase.
    """

    mapping: Mapping
    positions: NDArray[np.float32]
    times: NDArray[np.float64]
    box: Box | None = None
    name: str = ""
    observables: dict[str, NDArray[Any]] = field(default_factory=dict)
    first_atoms: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check the shapes."""
        n_beads, n_atoms = self.mapping.n_beads, self.mapping.graph.n_atoms
        _check(self.positions, n_beads, "bead", self.times, self.observables)
        if self.box is not None:
            check_box(self.box)
        if self.first_atoms is not None and self.first_atoms.shape != (n_atoms, 3):
            raise ValueError(
                f"first_atoms must have shape ({n_atoms}, 3), got "
                f"{self.first_atoms.shape}"
            )

    @property
    def time_step(self) -> float:
        """Time between frames, ps.

        Raises:
            ValueError: fewer than two frames, or uneven times.
        """
        return spacing(self.times, f"trajectory {self.name!r}")


def boxes_of(systems: Sequence[BeadTrajectory]) -> NDArray[np.float64] | None:
    """Box of each system, (n_systems, 3, 3) nm; None: open boundaries.

    Raises:
        ValueError: some systems have a box and some have none.
    """
    boxes = [system.box for system in systems if system.box is not None]
    if not boxes:
        return None
    if len(boxes) < len(systems):
        raise ValueError(
            "systems of one run must all have a periodic box or all have none, got "
            f"{len(boxes)} boxes for {len(systems)} systems: run them separately"
        )
    return np.stack(boxes)


def spacing(times: NDArray[np.float64], source: str) -> float:
    """Return the time between frames.

    Args:
        times: (n_frames,), ps; perhaps rounded to single precision by a file.
        source: what they belong to, for the error text.

    Returns:
        ps, without the noise of single precision.

    Raises:
        ValueError: fewer than two frames, or uneven times.
    """
    if len(times) < 2:
        raise ValueError(
            f"two frames or more are required to know the time between them, {source} "
            f"has {len(times)}"
        )
    mean = (times[-1] - times[0]) / (len(times) - 1)
    steps = np.diff(times)
    slack = 1.0e-4 * mean + 2.0 * float(np.spacing(np.float32(abs(times).max())))
    if abs(steps - mean).max() > slack:
        raise ValueError(
            f"evenly spaced frames are required, {source} has spacings of "
            f"{steps.min():g} to {steps.max():g} ps"
        )
    short = float(f"{mean:.6g}")
    return short if abs(short - mean) * len(steps) <= slack else float(mean)


def coarsen(trajectory: Trajectory, mapping: Mapping) -> BeadTrajectory:
    """Map atoms to beads, and keep what the beads alone no longer tell.

    Args:
        trajectory: frames of atoms.
        mapping: of the same atoms.

    Returns:
        Frames of beads. A system of one molecule has the observable "rg2", the
        mass-weighted squared radius of gyration of all atoms, nm^2.

    Raises:
        ValueError: the mapping belongs to other atoms, or a position is not finite.
    """
    if mapping.graph.hash() != trajectory.graph.hash():
        raise ValueError(
            "the mapping must be of the same atoms and bonds, got "
            f"{mapping.graph.n_atoms} atoms with {len(mapping.graph.bonds)} bonds for "
            f"{trajectory.graph.n_atoms} with {len(trajectory.graph.bonds)}, or other "
            "types or masses"
        )
    beads = np.empty((len(trajectory.times), mapping.n_beads, 3), dtype=np.float32)
    gyration = np.empty(len(trajectory.times))
    n = max(1, _CHUNK // trajectory.graph.n_atoms)
    for start in range(0, len(beads), n):
        atoms = trajectory.positions[start : start + n]
        beads[start : start + n] = mapping.positions(atoms)
        gyration[start : start + n] = _squared_radius(atoms, mapping.graph.masses)
    observables = dict(trajectory.observables)
    if trajectory.graph.n_molecules == 1:
        observables["rg2"] = gyration
    return BeadTrajectory(
        mapping=mapping,
        positions=beads,
        times=trajectory.times,
        box=trajectory.box,
        name=trajectory.name,
        observables=observables,
        first_atoms=trajectory.positions[0].copy(),
    )


def whole_paths(
    positions: NDArray[Any], graph: MolecularGraph, box: Box | None
) -> NDArray[Any]:
    """Undo periodic boundaries: molecules whole in each frame, no jumps in time.

    Bonds must be shorter than half the box, and so must be the way of a molecule's
    centre between stored frames.

    Args:
        positions: (n_frames, n_atoms, 3), nm.
        graph: the atoms.
        box: (3, 3), nm; None leaves positions as they are.

    Returns:
        (n_frames, n_atoms, 3), nm; the lowest atom of each molecule stays where it
        is in the first frame.
    """
    if box is None:
        return positions
    result = np.empty_like(positions)
    for atoms, bonds in zip(graph.molecules, graph.molecule_bonds, strict=True):
        path = make_whole(positions[:, atoms], bonds, box)
        centre = path.mean(axis=1, keepdims=True)
        result[:, atoms] = path + (unwrap(centre, box) - centre)
    return result


def whole_beads(
    mapping: Mapping, positions: NDArray[Any], box: Box | None
) -> NDArray[np.float64]:
    """Find the beads of frames as an engine holds them, perhaps cut by the boundary.

    Args:
        mapping: atoms -> beads.
        positions: (n_frames, n_atoms, 3) or (n_frames, n_beads, 3), nm; between
            frames a molecule's centre moves less than half the box.
        box: (3, 3), nm; None: open boundaries.

    Returns:
        (n_frames, n_beads, 3), nm, molecules whole, no jumps in time.

    Raises:
        ValueError: the number of particles is neither, or a position is not finite.
    """
    if positions.shape[1] == mapping.n_beads:
        return np.array(whole_paths(positions, mapping.bead_graph, box), dtype=float)
    return mapping.positions(whole_paths(positions, mapping.graph, box))


def whole_start(
    positions: NDArray[np.float32], graph: MolecularGraph, box: Box | None
) -> NDArray[np.float32]:
    """Make molecules whole in the first frame, and move the others along.

    For positions that are unwrapped in time already, but perhaps not along bonds (as
    by the image flags of LAMMPS). Bonds must be shorter than half the box.

    Args:
        positions: (n_frames, n_atoms, 3), nm.
        graph: the atoms.
        box: (3, 3), nm; None leaves positions as they are.

    Returns:
        (n_frames, n_atoms, 3), nm; the lowest atom of each molecule is unchanged.
    """
    if box is None:
        return positions
    first = positions[0].astype(np.float64)
    shift = make_whole(first, graph.bonds, box) - first  # (n_atoms, 3)
    moved = np.flatnonzero(abs(shift).max(axis=1) > 0.25 * np.diag(box).min())
    result = positions.copy()
    result[:, moved] += shift[moved].astype(np.float32)
    return result


def make_whole(
    frames: NDArray[Any], bonds: NDArray[np.int64], box: Box | None
) -> NDArray[np.float64]:
    """Put the pieces of molecules cut by the boundary together along their bonds.

    Args:
        frames: (..., n, 3), nm.
        bonds: particle indices, (n_bonds, 2).
        box: (3, 3), nm; None leaves them as they are.

    Returns:
        (..., n, 3), nm; the lowest particle of each molecule is unchanged.
    """
    whole = np.array(frames, dtype=np.float64)
    if box is None:
        return whole
    for child, parent in breadth_first_levels(whole.shape[-2], bonds):
        bond = whole[..., child, :] - whole[..., parent, :]
        whole[..., child, :] += images(bond, box) @ box
    return whole


def _squared_radius(
    atoms: NDArray[np.float32], masses: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mass-weighted squared radius of gyration, (n_frames,), nm^2."""
    share = masses / masses.sum()
    centre = np.einsum("a,fak->fk", share, atoms, dtype=np.float64)
    offset = atoms - centre[:, None]  # (n_frames, n_atoms, 3)
    return np.asarray(np.einsum("a,fak,fak->f", share, offset, offset))


def _check(
    positions: NDArray[np.float32],
    n: int,
    what: str,
    times: NDArray[np.float64],
    observables: dict[str, NDArray[Any]],
) -> None:
    """Require matching shapes and increasing times."""
    if positions.ndim != 3 or positions.shape[1:] != (n, 3):
        raise ValueError(
            f"{what} count differs: positions of shape (n_frames, {n}, 3) are required "
            f"for {n} {what}s, got {positions.shape}"
        )
    if times.shape != (len(positions),) or (np.diff(times) <= 0.0).any():
        raise ValueError(
            f"increasing times are required for the {len(positions)} frames, got shape "
            f"{times.shape}"
        )
    for name, values in observables.items():
        if len(values) != len(positions):
            raise ValueError(
                f"observable {name!r} must have one value for each of the "
                f"{len(positions)} frames, got {len(values)}"
            )
