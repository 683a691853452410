"""Frames of beads from segments of atoms: a small trajectory with all it needs beside.

| file | content |
|---|---|
| NAME.xtc | centres of mass of the beads, unwrapped, to 0.001 nm; box; times, ps |
| NAME.npz | what the beads are, the atoms they are made of, how they were simulated |

In NAME.npz: bead_types, bead_masses (Da), bead_chains (molecule of each bead),
atom_types, atom_masses (Da), bonds, bead_index (bead of each atom), first_atoms (of the
first frame, nm), box (row vectors, nm), interval (ps), meta (JSON).
"""

import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray

from cgml.files import replacing
from cgml.molecules.atoms import AtomTable
from cgml.molecules.centres import group_means, group_shares
from cgml.molecules.chemistry import Chemistry, describe
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.spec import Rotation
from openmm_cgml.testsystems.force_field import CHARGE_SCALE, CUTOFF
from openmm_cgml.testsystems.peo import PeoSystem
from openmm_cgml.testsystems.peo_parameters import FORCE_FIELDS
from openmm_cgml.testsystems.peo_protocol import FRICTION, density
from openmm_cgml.testsystems.peo_runs import PRESSURE, PeoBox, PeoTimes

TFSI = Rotation(atoms={"C": 2, "F": 6, "N": 1, "O": 4, "S": 2}, time=11.8)
"""Mean of the six training boxes at 423 K, 9.1 to 14.9 ps; beads alone do not tell."""


def bead_types(system: PeoSystem) -> list[str]:
    """Name the beads: EO, EO-end (or EO-both, a chain of one), Li, TFSI.

    Args:
        system: the box.

    Returns:
        (n_beads,).
    """
    ends = {0: "EO", 1: "EO-end", 2: "EO-both"}
    names = []
    for residue in system.topology.residues():
        types = [system.types[atom.index] for atom in residue.atoms()]
        ions = {"LI": "Li", "TFS": "TFSI"}
        names.append(ions.get(residue.name) or ends[types.count("CT3")])
    return names


def bead_positions(
    system: PeoSystem, positions: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Return the centres of mass of the beads.

    Args:
        system: the box.
        positions: of its atoms, molecules whole, (n_frames, n_atoms, 3), nm.

    Returns:
        (n_frames, n_beads, 3), nm.
    """
    first = np.flatnonzero(np.diff(system.beads, prepend=-1))  # atom of each bead
    masses = system.masses
    weighted = masses[:, None] * positions.astype(np.float64)
    sums = np.add.reduceat(weighted, first, axis=1)
    return np.asarray(sums / np.add.reduceat(masses, first)[:, None])


def box_of(path: Path) -> PeoSystem:
    """Pack the box of a trajectory that `write_beads` wrote, as it was at its start."""
    with np.load(path.with_suffix(".npz")) as file:
        meta = json.loads(str(file["meta"]))
    return PeoBox(**meta["box"]).build()


def write_beads(folder: Path, output: Path, *, stride: int = 1) -> Path:
    """Reduce a box as far as it is simulated.

    Args:
        folder: of the box, as PeoRun writes it.
        output: folder, made if need be; the files are named after the box.
        stride: keep every so many frames.

    Returns:
        The trajectory.

    Raises:
        FileNotFoundError: the box has no state, or a segment is not there.
        ValueError: there are no frames yet, a segment holds others than it should, or
            the stride is below 1.
    """
    if stride < 1:
        raise ValueError(f"stride must be 1 or more, got {stride}")
    record = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    box = PeoBox(**record["box"])
    system = box.build()
    atoms, times = _frames(folder, record, stride)
    output.mkdir(parents=True, exist_ok=True)
    _write_description(output / f"{box.name}.npz", system, record, atoms, times)
    beads, edges = bead_positions(system, atoms), record["edge"] * np.eye(3)
    return _write_frames(output / f"{box.name}.xtc", beads, times, edges)


def write_branch(
    path: Path,
    trunk: Path,
    beads: NDArray[np.floating[Any]],
    interval: float,
    origin: dict[str, Any],
) -> Path:
    """Write frames of MD of a box that began somewhere else, at a frame of a model.

    Args:
        path: the trajectory to write, NAME.xtc; NAME.npz comes to stand beside it,
            without atoms.
        trunk: the trajectory of the box, as `write_beads` wrote it.
        beads: as of `bead_positions`, (n_frames, n_beads, 3), nm.
        interval: time between frames, and before the first, ps.
        origin: where it began, as JSON has it.

    Returns:
        The trajectory.
    """
    with np.load(trunk.with_suffix(".npz")) as file:
        content = {name: file[name] for name in file.files if name != "first_atoms"}
    meta = json.loads(str(content["meta"])) | {"origin": origin}
    for name in ("times", "history", "pressed_edges"):  # of the box's own run
        del meta[name]
    content |= {"interval": interval, "meta": np.array(json.dumps(meta))}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.with_suffix(".npz")) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **content)
    times = interval * (1.0 + np.arange(len(beads)))
    return _write_frames(path, beads, times, content["box"])


def read_beads(path: Path | str, recipe: Recipe) -> BeadTrajectory:
    """Read bead frames that `write_beads` wrote, as beads of a recipe.

    Args:
        path: the trajectory, NAME.xtc; NAME.npz stands beside it.
        recipe: of beads that are whole residues, one or more; three atoms are one
            CH2-O-CH2.

    Returns:
        The frames, with types and masses of atoms as `graph_from_topology` finds them.
        Atoms of the first frame are there, so that a run can carry them, unless the MD
        began elsewhere (`write_branch`).

    Raises:
        FileNotFoundError: one of the two files is not there.
        ValueError: the two do not belong together, or the recipe cuts residues.
    """
    path = Path(path)
    with np.load(path.with_suffix(".npz")) as file:
        content = {name: file[name] for name in file.files}
    with mdtraj.formats.XTCTrajectoryFile(str(path)) as stream:
        positions, times, _, _ = stream.read()
    masses, residues = content["bead_masses"], content["bead_index"]
    if positions.shape[1] != len(masses):
        raise ValueError(
            f"{path} must have the {len(masses)} beads of {path.with_suffix('.npz')}, "
            f"got {positions.shape[1]}"
        )
    meta = json.loads(str(content["meta"]))
    table = FORCE_FIELDS[meta["force_field"]].atom_types
    atoms = AtomTable(
        source=str(path),
        names=[""] * len(content["atom_types"]),
        bonds=content["bonds"],
        elements=[table[name].element for name in content["atom_types"]],
        masses=content["atom_masses"],
    )
    mapping = Mapping.from_recipe(describe(atoms, Chemistry()), recipe)
    bead = mapping.bead_index[np.unique(residues, return_index=True)[1]]
    cut = np.flatnonzero(mapping.bead_index != bead[residues])
    if len(cut):
        raise ValueError(
            f"beads of whole residues are required, {recipe.atoms_per_bead:g} atoms to "
            f"a bead cut residue {residues[cut[0]]} of {path}"
        )
    centres = group_means(group_shares(bead, masses), positions)
    return BeadTrajectory(
        mapping=mapping,
        positions=centres.astype(np.float32),
        times=times.astype(np.float64),
        box=content["box"],
        name=path.stem,
        first_atoms=content.get("first_atoms"),
        rotation=(TFSI,),
    )


def _frames(
    folder: Path, record: dict[str, Any], stride: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read the segments that the state knows of.

    Returns:
        Atoms (n_frames, n_atoms, 3), nm, and times (n_frames,), ps.
    """
    box, times = PeoBox(**record["box"]), PeoTimes(**record["times"])
    n_segments = record["n_done"] - times.n_unkept
    frames, stamps = [], []
    for index in range(n_segments):
        path = folder / "production" / f"{index:04d}.xtc"
        if not path.exists():
            raise FileNotFoundError(
                f"segment {index} of {n_segments} is missing: {path}"
            )
        with mdtraj.formats.XTCTrajectoryFile(str(path)) as stream:
            atoms, found, numbers, _ = stream.read()
        kept = numbers % stride == 0
        frames.append(atoms[kept])
        stamps.append(found[kept])
    if not frames or not len(np.concatenate(stamps)):
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
    return np.concatenate(frames), stamped


def _write_frames(
    path: Path,
    beads: NDArray[np.floating[Any]],
    times: NDArray[np.floating[Any]],
    box: NDArray[np.float64],
) -> Path:
    """Write (n_frames, n_beads, 3), nm, at times, ps, in a box, whole or not at all."""
    with (
        replacing(path) as temporary,
        mdtraj.formats.XTCTrajectoryFile(str(temporary), "w") as stream,
    ):
        stream.write(
            beads.astype(np.float32),
            time=times.astype(np.float32),
            step=np.arange(len(times), dtype=np.int32),
            box=np.tile(box.astype(np.float32), (len(times), 1, 1)),
        )
    return path


def _write_description(
    path: Path,
    system: PeoSystem,
    record: dict[str, Any],
    atoms: NDArray[np.float32],
    times: NDArray[np.float32],
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
            first_atoms=atoms[0],
            box=record["edge"] * np.eye(3),
            interval=float(times[0]),
            meta=np.array(json.dumps(meta)),
        )
