"""A box under way as a small trajectory of beads, and on from there.

write_beads(folder, Path("data"))           # frames, and the state behind the last
resume(Path("data/NAME.xtc"), another)      # a folder of PeoRun that goes on with it
"""

import json
import shutil
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray
from openmm import version

from cgml.files import replacing
from openmm_cgml.testsystems.force_field import CHARGE_SCALE, CUTOFF
from openmm_cgml.testsystems.peo import PeoSystem
from openmm_cgml.testsystems.peo_beads import bead_positions, bead_types, write_frames
from openmm_cgml.testsystems.peo_protocol import FRICTION, density
from openmm_cgml.testsystems.peo_runs import PRESSURE, PeoBox, PeoTimes

BEFORE = "before"  # name of the frames that a folder goes on from


def write_beads(folder: Path, output: Path, *, stride: int = 1) -> Path:
    """Reduce a box as far as it is simulated.

    Args:
        folder: of the box, as PeoRun writes it; where `resume` began it, the frames of
            before come first.
        output: folder, made if need be; the files are named after the box.
        stride: keep every so many frames.

    Returns:
        The trajectory.

    Raises:
        FileNotFoundError: the box has no state, or a segment is not there.
        ValueError: there are no frames yet, a segment holds others than it should, the
            stride is below 1, or not that of the frames of before.
    """
    if stride < 1:
        raise ValueError(f"stride must be 1 or more, got {stride}")
    record = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    box = PeoBox(**record["box"])
    system = box.build()
    beads, times, first_atoms = _frames(folder, record, stride, system)
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{box.name}.npz"
    _write_description(path, system, record, first_atoms, times)
    return write_frames(
        path.with_suffix(".xtc"), beads, times, record["edge"] * np.eye(3)
    )


def resume(trunk: Path, folder: Path) -> None:
    """Begin a folder of PeoRun where frames that `write_beads` wrote end.

    Args:
        trunk: the trajectory, NAME.xtc; NAME.npz stands beside it. Both are copied
            into the folder, as `before`.
        folder: made if need be; left as it is if it has a state.

    Raises:
        ValueError: the frames have no state behind them, or the two files do not belong
            together.
    """
    if (folder / "state.json").exists():
        return
    with np.load(trunk.with_suffix(".npz")) as file:
        content = {name: file[name] for name in file.files}
    if "last_atoms" not in content:
        raise ValueError(
            f"{trunk.with_suffix('.npz')} must have the state behind its frames, "
            "last_atoms and last_velocities; it has none, and its box can only be "
            "simulated anew"
        )
    meta = json.loads(str(content["meta"]))
    times, n_done = PeoTimes(**meta["times"]), len(meta["history"])
    n_before = n_done - times.n_unkept
    n_expected = int(n_before * times.segment / content["interval"] + 1e-6)
    with mdtraj.formats.XTCTrajectoryFile(str(trunk)) as stream:
        n_frames = len(stream)
    if n_frames != n_expected:
        raise ValueError(
            f"{trunk} must have the {n_expected} frames of "
            f"{trunk.with_suffix('.npz')}, got {n_frames}"
        )
    kept = ("box", "times", "temperature", "time_step", "history", "pressed_edges")
    record = {name: meta[name] for name in kept} | {
        "openmm": version.version,
        "n_done": n_done,
        "n_before": n_before,
        "edge": float(content["box"][0, 0]),
        "edges": [],
        "positions": content["last_atoms"].tolist(),
        "velocities": content["last_velocities"].tolist(),
    }
    (folder / "production").mkdir(parents=True, exist_ok=True)
    for suffix in (".xtc", ".npz"):
        with replacing(folder / f"{BEFORE}{suffix}") as path:
            shutil.copyfile(trunk.with_suffix(suffix), path)
    with replacing(folder / "state.json") as path:
        path.write_text(json.dumps(record), encoding="utf-8")


def _frames(
    folder: Path, record: dict[str, Any], stride: int, system: PeoSystem
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """Read the segments that the state knows of, and the frames before them.

    Returns:
        Beads (n_frames, n_beads, 3), nm, times (n_frames,), ps, and the atoms of the
        first frame, (n_atoms, 3), nm.
    """
    box, times = PeoBox(**record["box"]), PeoTimes(**record["times"])
    n_segments, n_before = record["n_done"] - times.n_unkept, record.get("n_before", 0)
    parts, stamps, first_atoms = [], [], None
    if n_before:
        beads, found, first_atoms = _frames_before(folder, stride, times.interval)
        parts, stamps = [beads], [found]
    for index in range(n_before, n_segments):
        path = folder / "production" / f"{index:04d}.xtc"
        if not path.exists():
            raise FileNotFoundError(
                f"segment {index} of {n_segments} is missing: {path}"
            )
        with mdtraj.formats.XTCTrajectoryFile(str(path)) as stream:
            atoms, found, numbers, _ = stream.read()
        kept = numbers % stride == 0
        atoms = atoms[kept]
        parts.append(bead_positions(system, atoms))
        stamps.append(found[kept])
        if first_atoms is None and len(atoms):
            first_atoms = atoms[0]
    if first_atoms is None:
        raise ValueError(
            f"{box.name} has no frames yet: {record['n_done']} of "
            f"{times.n_segments} segments are done, production begins after "
            f"{times.n_unkept}"
        )
    stamped = np.concatenate(stamps)
    expected = stride * times.interval * (1 + np.arange(len(stamped)))
    if not np.allclose(stamped, expected, rtol=1e-6):
        raise ValueError(
            f"frames of {folder} must be {stride * times.interval:g} ps apart from 0 "
            f"on, their times begin with {stamped[:3].tolist()} ps"
        )
    return np.concatenate(parts), stamped, first_atoms


def _frames_before(
    folder: Path, stride: int, interval: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """Read the frames that a folder goes on from, as `_frames` returns them."""
    with np.load(folder / f"{BEFORE}.npz") as file:
        step, first_atoms = file["interval"] / interval, file["first_atoms"]
    if abs(stride - step) > 1e-6:
        raise ValueError(
            f"stride must be {step:g}, as of the frames that {folder} goes on from, "
            f"got {stride}"
        )
    with mdtraj.formats.XTCTrajectoryFile(str(folder / f"{BEFORE}.xtc")) as stream:
        beads, stamps, _, _ = stream.read()
    return beads.astype(np.float64), stamps.astype(np.float64), first_atoms


def _write_description(
    path: Path,
    system: PeoSystem,
    record: dict[str, Any],
    first_atoms: NDArray[np.float32],
    times: NDArray[np.float64],
) -> None:
    """Write what the beads are and how they were simulated."""
    chains = [residue.chain.index for residue in system.topology.residues()]
    kept = ("box", "times", "temperature", "time_step", "openmm")
    meta = {name: record[name] for name in kept} | {
        "friction": FRICTION,
        "pressure": PRESSURE,
        "density": density(system, record["edge"]),
        "force_field": system.force_field,
        "charge_scale": CHARGE_SCALE,
        "cutoff": CUTOFF,
        "pressed_edges": record["pressed_edges"],
        "history": record["history"],
    }
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            bead_types=np.array(bead_types(system)),
            bead_masses=np.bincount(system.beads, weights=system.masses),
            bead_chains=np.array(chains),
            atom_types=np.array(system.types),
            atom_masses=system.masses,
            bonds=np.array(system.bonds),
            bead_index=system.beads,
            first_atoms=first_atoms,
            last_atoms=np.array(record["positions"]),
            last_velocities=np.array(record["velocities"]),
            box=record["edge"] * np.eye(3),
            interval=float(times[0]),
            meta=np.array(json.dumps(meta)),
        )
