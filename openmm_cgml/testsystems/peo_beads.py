"""Frames of beads from segments of atoms: a small trajectory with all it needs beside.

| file | content |
|---|---|
| NAME.xtc | centres of mass of the beads, unwrapped, to 0.001 nm; box; times, ps |
| NAME.npz | what the beads are, the atoms they are made of, how they were simulated |

In NAME.npz: bead_types, bead_masses (Da), bead_chains (molecule of each bead),
atom_types, atom_masses (Da), bonds, bead_index (bead of each atom), first_atoms (of the
first frame, nm), last_atoms and last_velocities (of the state behind the frames, nm and
nm/ps), box (row vectors, nm), interval (ps), meta (JSON).
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
from cgml.molecules.united import united
from cgml.spec import Rotation
from openmm_cgml.testsystems.peo import PeoSystem
from openmm_cgml.testsystems.peo_parameters import FORCE_FIELDS
from openmm_cgml.testsystems.peo_runs import PeoBox

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
        own = {"first_atoms", "last_atoms", "last_velocities"}  # of the box's own run
        content = {name: file[name] for name in file.files if name not in own}
    meta = json.loads(str(content["meta"])) | {"origin": origin}
    for name in ("times", "history", "pressed_edges"):  # likewise
        del meta[name]
    content |= {"interval": interval, "meta": np.array(json.dumps(meta))}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.with_suffix(".npz")) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **content)
    times = interval * (1.0 + np.arange(len(beads)))
    return write_frames(path, beads, times, content["box"])


def read_beads(path: Path | str, recipe: Recipe) -> BeadTrajectory:
    """Read bead frames that `write_beads` wrote, as beads of a recipe.

    Args:
        path: the trajectory, NAME.xtc; NAME.npz stands beside it.
        recipe: of beads that are whole residues, one or more; three atoms are one
            CH2-O-CH2.

    Returns:
        The frames, with types and masses of atoms as `graph_from_topology` finds them.
        Hydrogens are joined with their carbons. Atoms of the first frame are there, so
        that a run can carry them, unless the MD began elsewhere (`write_branch`) or had
        hydrogens.

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
    types = FORCE_FIELDS["united"].atom_types
    known = {"CH2": types["CT2"].mass, "CH3": types["CT3"].mass}
    graph, place = united(describe(atoms, Chemistry()), known)
    mapping = Mapping.from_recipe(graph, recipe)
    bead = mapping.bead_index[place][np.unique(residues, return_index=True)[1]]
    cut = np.flatnonzero(mapping.bead_index[place] != bead[residues])
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
        first_atoms=content.get("first_atoms") if len(place) == graph.n_atoms else None,
        rotation=(TFSI,),
    )


def write_frames(
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
