"""What a run leaves: a trajectory per path, and tables of all paths."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgml.dynamics.guards import GUARDS, Trip
from cgml.dynamics.tumbling import Tumbling
from cgml.files import replacing
from cgml.formats.trajectory import (
    TrajectoryWriter,
    write_data,
    write_structure,
    write_topology,
)
from cgml.molecules.carriage import Carriage
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.mapping import Mapping
from cgml.observables.chains import bond_lengths
from cgml.runs.parts import Part
from cgml.runs.plan import RunOptions, Tally
from cgml.spec import BaseSpec

RADII = "radius_of_gyration.csv"
RESULTS = "results.csv"
MEAN_BOND = "mean_bond/nm"
MEAN_SQUARE = "mean_rg2_of_beads/nm^2"
MEAN_SQUARE_ATOMS = "mean_rg2_of_atoms/nm^2"

Row = dict[str, str | int]


@dataclass(frozen=True)
class Replica:
    """One path of a run.

    Attributes:
        number: among all paths, and in the random stream.
        copy: number among the replicas of its system.
        system: start configuration: the first frame.
        trajectory: file of the path.
    """

    number: int
    copy: int
    system: BeadTrajectory
    trajectory: Path

    @property
    def n_molecules(self) -> int:
        """Molecules of the system."""
        return self.system.mapping.graph.n_molecules


@dataclass(frozen=True)
class Group:
    """Paths that were propagated together.

    Attributes:
        replicas: the paths.
        parts: their frames, in order; those of a path after its stop mean nothing.
        stride: model steps between frames.
        stops: why paths were stopped, one entry each; None: it was not.
    """

    replicas: Sequence[Replica]
    parts: Sequence[Part]
    stride: int
    stops: Sequence[Trip | None]

    @classmethod
    def of(
        cls, replicas: Sequence[Replica], parts: Sequence[Part], stride: int
    ) -> "Group":
        """Find out from the last part which paths were stopped."""
        stops = parts[-1].stops() if parts else [None] * len(replicas)
        return cls(replicas, parts, stride, stops)

    def n_good(self, place: int) -> int | None:
        """Frames of a path before its stop; None: all of them."""
        stop = self.stops[place]
        return None if stop is None else (stop.step - 1) // self.stride

    def frames(self, place: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Frames of a path up to its stop, and the number of the first, part by part.

        Yields:
            A number, and (n_frames, n_beads, 3), nm.
        """
        last = self.n_good(place)
        for part in self.parts:
            if last is not None and last <= part.first:
                break
            n = None if last is None else last - part.first
            yield part.first, part.frames(place)[:n]

    def radii(self) -> NDArray[np.float64]:
        """Radius of gyration of every molecule, (n_frames, n_molecules), nm.

        Not a number after the stop of a path.
        """
        sizes = [replica.n_molecules for replica in self.replicas]
        none = np.empty((0, sum(sizes)))
        found = np.concatenate([none, *(part.radii() for part in self.parts)])
        for place, (end, n) in enumerate(zip(np.cumsum(sizes), sizes, strict=True)):
            if self.stops[place] is not None:
                found[self.n_good(place) :, end - n : end] = np.nan
        return found


def assemble(
    output: Path,
    groups: Sequence[Group],
    spec: BaseSpec,
    options: RunOptions,
) -> Tally:
    """Write trajectories, topologies and tables from the parts that there are.

    Args:
        output: folder of the run.
        groups: all paths, in order; a guard may have stopped some of them.
        spec: of the model.
        options: of the run.

    Returns:
        What the guards did.
    """
    rows, counts, stopped, written = [], Counter[str](), [], [RESULTS]
    interval, n_frames = options.stride * spec.time_step, options.n_frames
    for group in groups:
        trips = group.parts[-1].guard_trips() if group.parts else []
        radii = _mean_squared_radii(group) if spec.has_property else {}
        for place, replica in enumerate(group.replicas):
            own = trips[place] if trips else {}
            counts.update(own)
            row = _write_path(replica, place, group, interval)
            if options.atoms and "file" in row:
                written.append(_write_atoms(replica, place, group, spec, options.seed))
            stop = group.stops[place]
            if stop is not None:
                row |= {"status": "stopped", "reason": str(stop)}
                stopped.append(_stop_line(replica, stop, int(row["frames"]), n_frames))
            else:
                is_whole = row["frames"] == n_frames
                row["status"] = "finished" if is_whole else "unfinished"
            row |= {f"trips_{name}": own.get(name, 0) for name in GUARDS}
            rows.append(row | radii.get(replica.number, {}))
            written += [str(row["file"])] if "file" in row else []
            if replica.copy == 0:
                written += _write_structures(
                    output, replica.system, has_atoms=options.atoms
                )
    _write_results(output / RESULTS, rows)
    if spec.has_property:
        _write_radii(output / RADII, groups, interval)
        written.append(RADII)
    files = {name: (output / name).stat().st_size for name in written}
    return Tally({name: n for name, n in counts.items() if n}, stopped, files)


def _stop_line(replica: Replica, stop: Trip, n: int, n_frames: int) -> str:
    """Say which path was stopped, where, and why."""
    return f"{replica.trajectory.stem} ended after {n} of {n_frames} frames: {stop}"


def _write_path(replica: Replica, place: int, group: Group, interval: float) -> Row:
    """Write one trajectory, to its stop; return what the table says of it."""
    mapping, path = replica.system.mapping, replica.trajectory
    row: Row = {"system": replica.system.name, "replica": replica.copy, "frames": 0}
    if not group.parts or group.n_good(place) == 0:
        return row
    values: dict[str, list[NDArray[np.float64]]] = {MEAN_BOND: [], MEAN_SQUARE: []}
    with TrajectoryWriter(
        path, mapping, box=replica.system.box, name=path.stem
    ) as writer:
        for first, frames in group.frames(place):
            writer.append(frames, _times(first, len(frames), interval))
            row["frames"] = first + len(frames)
            if len(mapping.bead_bonds):
                lengths = bond_lengths(frames, mapping.bead_bonds)
                values[MEAN_BOND].append(lengths.mean(axis=1))
            if replica.n_molecules == 1:
                square = squared_radius_of_gyration(frames, mapping.bead_masses)
                values[MEAN_SQUARE].append(square)
    means = {
        name: f"{np.concatenate(found).mean():.7g}"
        for name, found in values.items()
        if found
    }
    return row | {"file": path.name} | means


def _write_structures(
    output: Path, system: BeadTrajectory, *, has_atoms: bool
) -> list[str]:
    """Write what viewers open a system's paths with; return the files' names."""
    names = [f"{system.name}.{suffix}" for suffix in ("pdb", "psf", "data")]
    mapping, pdb, psf, data = system.mapping, *(output / name for name in names)
    write_topology(pdb, mapping, system.positions[0], system.box)
    write_structure(psf, mapping)
    write_data(data, mapping, system.positions[0], system.box)
    if has_atoms:
        names.append(f"{system.name}_atoms.psf")
        write_structure(output / names[-1], _each(mapping))
    return names


def _each(mapping: Mapping) -> Mapping:
    """Return a mapping whose beads are the atoms."""
    graph = mapping.graph
    return Mapping.from_labels(graph, np.arange(graph.n_atoms))


def _write_atoms(
    replica: Replica, place: int, group: Group, spec: BaseSpec, seed: int
) -> str:
    """Write the atoms of a path, carried with its beads; return the file's name."""
    system, graph = replica.system, replica.system.mapping.graph
    start = np.asarray(system.first_atoms, dtype=np.float64)
    is_first = replica.copy == 0
    tumbling = Tumbling(spec, system.mapping, replica.number, is_said=is_first)
    carriage = Carriage(system.mapping, tumbling.undone(start, system.mapping, seed, 0))
    interval = group.stride * spec.time_step
    path = replica.trajectory
    path = path.with_name(f"{path.stem}_atoms{path.suffix}")
    with TrajectoryWriter(
        path, _each(system.mapping), box=system.box, name=path.stem
    ) as writer:
        for first, frames in group.frames(place):
            atoms = np.empty((len(frames), graph.n_atoms, 3), dtype=np.float32)
            for number, beads in enumerate(frames.astype(np.float64)):
                step = (first + number + 1) * group.stride
                rotations = tumbling.rotations(seed, step)
                name = f"step {step} of {path.name}"
                atoms[number] = carriage.place(beads, rotations, name)
            writer.append(atoms, _times(first, len(frames), interval))
    return path.name


def _mean_squared_radii(group: Group) -> dict[int, Row]:
    """Mean squared radius of gyration of all atoms of each single molecule, nm^2."""
    if not group.parts:
        return {}
    radii = group.radii()
    ends = np.cumsum([replica.n_molecules for replica in group.replicas])
    rows: dict[int, Row] = {}
    for place, (end, replica) in enumerate(zip(ends, group.replicas, strict=True)):
        good = radii[: group.n_good(place), end - 1]
        if replica.n_molecules == 1 and len(good):
            rows[replica.number] = {MEAN_SQUARE_ATOMS: f"{np.square(good).mean():.7g}"}
    return rows


def _write_results(path: Path, rows: Sequence[Row]) -> None:
    trips = [f"trips_{name}" for name in GUARDS]
    columns = ["system", "replica", "file", "frames", "status", *trips]
    columns += [MEAN_BOND, MEAN_SQUARE, MEAN_SQUARE_ATOMS, "reason"]
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        table = csv.DictWriter(stream, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _write_radii(path: Path, groups: Sequence[Group], interval: float) -> None:
    names = [
        f"{replica.trajectory.stem}_m{molecule}"
        if replica.n_molecules > 1
        else replica.trajectory.stem
        for group in groups
        for replica in group.replicas
        for molecule in range(replica.n_molecules)
    ]
    found = [group.radii() for group in groups]
    n_frames = max(len(radii) for radii in found)
    table = np.full((n_frames, 1 + len(names)), np.nan)  # stopped paths leave gaps
    table[:, 0] = _times(0, n_frames, interval)
    first = 1
    for radii in found:
        table[: len(radii), first : first + radii.shape[1]] = radii
        first += radii.shape[1]
    header = "time/ps," + ",".join(f"{name}/nm" for name in names)
    with replacing(path) as temporary:
        np.savetxt(temporary, table, "%.7g", ",", header=header, comments="")


def _times(first: int, n_frames: int, interval: float) -> NDArray[np.float64]:
    """Times of frames, (n_frames,), ps; the start configuration is no frame."""
    return np.arange(first + 1, first + 1 + n_frames, dtype=np.float64) * interval
