"""Trajectories in memory: of atoms, and of beads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.box import Box, check_box, wrap
from cgml.molecules.centres import (
    centre_of_mass,
    centres_of_mass,
    squared_radius_of_gyration,
)
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.spec import Rotation

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
        scaling: largest relative change of the box vectors of a frame that was put
            into this box; 0 where the box was constant.

    Raises:
        ValueError: shapes that do not match, or times that do not increase.
    """

    graph: MolecularGraph
    positions: NDArray[np.float32]
    times: NDArray[np.float64]
    box: Box | None = None
    name: str = ""
    observables: dict[str, NDArray[Any]] = field(default_factory=dict)
    scaling: float = 0.0

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
        times: as of a `Trajectory`, as are box, name and scaling.
        observables: name -> values, (n_frames, ...); "rg2" is the squared radius of
            gyration of all atoms, nm^2.
        first_atoms: atoms of the first frame, (n_atoms, 3), nm; None if not known.
        rotation: of molecules of one bead, as far as their atoms were seen.
    """

    mapping: Mapping
    positions: NDArray[np.float32]
    times: NDArray[np.float64]
    box: Box | None = None
    name: str = ""
    observables: dict[str, NDArray[Any]] = field(default_factory=dict)
    first_atoms: NDArray[np.float32] | None = None
    scaling: float = 0.0
    rotation: tuple[Rotation, ...] = ()

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


Frames = TypeVar("Frames", Trajectory, BeadTrajectory)


def join(pieces: Iterable[Frames]) -> Frames:
    """Put consecutive pieces of one trajectory together, at least one.

    Graph, box, name and first atoms are those of the first piece; the mapping, which
    knows the hands of all atoms, and rotation times are those of the last.
    """
    parts = list(pieces)
    if len(parts) == 1:
        return parts[0]
    changes: dict[str, Any] = {
        "positions": np.concatenate([part.positions for part in parts]),
        "times": np.concatenate([part.times for part in parts]),
        "observables": {
            name: np.concatenate([part.observables[name] for part in parts])
            for name in parts[0].observables
        },
    }
    if isinstance(parts[-1], BeadTrajectory):
        changes |= {"mapping": parts[-1].mapping, "rotation": parts[-1].rotation}
    return replace(parts[0], **changes)


def cut(frames: Frames, part: slice) -> Frames:
    """Take some frames; the atoms of the first one are known where it is among them."""
    changes: dict[str, Any] = {
        "positions": frames.positions[part],
        "times": frames.times[part],
        "observables": {name: own[part] for name, own in frames.observables.items()},
    }
    if part.start and isinstance(frames, BeadTrajectory):
        changes["first_atoms"] = None
    return replace(frames, **changes)


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
    """Return the time between frames, ps, without the noise of single precision.

    Args:
        times: (n_frames,), ps; perhaps rounded to single precision by a file.
        source: what they belong to, for the error text.

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

    A system of one molecule has the observable "rg2", the mass-weighted squared radius
    of gyration of all atoms, nm^2. The mapping must be of the same atoms.
    """
    same = mapping.graph is trajectory.graph
    if not same and mapping.graph.hash() != trajectory.graph.hash():
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
        gyration[start : start + n] = squared_radius_of_gyration(
            atoms, mapping.graph.masses
        )
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
        scaling=trajectory.scaling,
    )


def centred(trajectory: BeadTrajectory) -> NDArray[np.float64]:
    """Positions relative to each molecule's centre of mass, (n_frames, n_beads, 3)."""
    return np.asarray(trajectory.positions - _molecule_centres(trajectory))


def near_origin(trajectory: BeadTrajectory) -> NDArray[np.float64]:
    """Positions as the networks see them, (n_frames, n_beads, 3) nm.

    Relative to the system's centre of mass, or with every molecule whole and its
    centre in the box.
    """
    positions = trajectory.positions.astype(np.float64)
    if trajectory.box is None:
        centre = centre_of_mass(positions, trajectory.mapping.bead_masses)
        return np.asarray(positions - centre[:, None])
    centres = _molecule_centres(trajectory)
    return positions + (wrap(centres, trajectory.box) - centres)


def _molecule_centres(trajectory: BeadTrajectory) -> NDArray[np.float64]:
    """Centre of mass of each bead's molecule, (n_frames, n_beads, 3) nm."""
    mapping = trajectory.mapping
    centres = centres_of_mass(
        trajectory.positions, mapping.molecule_index, mapping.bead_masses
    )
    return centres[:, mapping.molecule_index]


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
    if times.shape != (len(positions),):
        raise ValueError(
            f"increasing times are required for the {len(positions)} frames, got shape "
            f"{times.shape}"
        )
    wrong = np.flatnonzero(~(np.diff(times, prepend=-np.inf) > 0.0))
    if len(wrong) or not np.isfinite(times).all():
        frame = int(wrong[0]) if len(wrong) else int(np.argmax(~np.isfinite(times)))
        before = f" after {times[frame - 1]:g} ps" if frame else ""
        raise ValueError(
            f"increasing times are required, frame {frame} has {times[frame]:g} ps"
            f"{before}"
        )
    for name, values in observables.items():
        if len(values) != len(positions):
            raise ValueError(
                f"observable {name!r} must have one value for each of the "
                f"{len(positions)} frames, got {len(values)}"
            )
