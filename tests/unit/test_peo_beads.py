"""Bead frames of the repository, as beads of a recipe."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from cgml.molecules.recipe import Recipe
from openmm_cgml.testsystems.peo_beads import read_beads, write_branch

DATA = Path(__file__).parents[2] / "data" / "peo_litfsi"
FRAMES = DATA / "train_8x16_10_2.xtc"


@pytest.mark.parametrize(("n_units", "bond"), [(1, 0.321), (2, 0.545)])
def test_beads_of_whole_residues(n_units, bond):
    frames = read_beads(FRAMES, Recipe(3 * n_units, single_bead_limit=15))
    mapping = frames.mapping
    assert mapping.n_beads == 8 * 16 // n_units + 2 * 13
    np.testing.assert_allclose(
        mapping.positions(frames.first_atoms), frames.positions[0], atol=1e-3
    )
    first, second = mapping.bead_bonds.T
    gaps = frames.positions[:, first] - frames.positions[:, second]
    assert np.linalg.norm(gaps, axis=-1).mean() == pytest.approx(bond, abs=0.005)
    assert set(mapping.graph.types) == {"CH2", "CH3", "O", "Li", "N", "S", "C", "F"}
    assert frames.time_step == pytest.approx(2.0)


def test_beads_that_cut_a_residue_are_refused():
    with pytest.raises(ValueError, match="5 atoms to a bead cut residue"):
        read_beads(FRAMES, Recipe(5, single_bead_limit=15))


def test_frames_that_began_elsewhere_say_where(tmp_path):
    with np.load(FRAMES.with_suffix(".npz")) as file:
        content = {name: file[name] for name in file.files}
    content |= {"last_atoms": content["first_atoms"], "last_velocities": np.zeros(3)}
    np.savez(tmp_path / "trunk.npz", **content)
    with mdtraj.formats.XTCTrajectoryFile(str(FRAMES)) as stream:
        beads = stream.read(n_frames=3)[0]
    origin = {"model": "peo-litfsi", "replica": 1, "frame": 15}
    path = write_branch(
        tmp_path / "new" / "branch.xtc", tmp_path / "trunk.xtc", beads, 2.0, origin
    )
    branch = read_beads(path, Recipe(3, single_bead_limit=15))
    assert branch.first_atoms is None
    np.testing.assert_allclose(branch.positions, beads, atol=6e-4)
    np.testing.assert_allclose(branch.times, [2.0, 4.0, 6.0])
    with np.load(path.with_suffix(".npz")) as file:
        assert not {"first_atoms", "last_atoms", "last_velocities"} & set(file.files)
        meta = json.loads(str(file["meta"]))
    assert meta["origin"] == origin
    assert not {"times", "history", "pressed_edges"} & meta.keys()


def test_hydrogens_are_joined_with_their_carbons():
    recipe = Recipe(6, single_bead_limit=15, method="runs")
    atoms, united = (
        read_beads(DATA / f"{name}.xtc", recipe)
        for name in ("atoms_8x16_10_11", "test_8x16_10_10")
    )
    assert atoms.mapping.graph.types == united.mapping.graph.types
    assert atoms.mapping.bead_bonds.tolist() == united.mapping.bead_bonds.tolist()
    np.testing.assert_allclose(
        atoms.mapping.bead_masses, united.mapping.bead_masses, atol=0.01
    )
    assert atoms.first_atoms is None
    assert united.first_atoms is not None
