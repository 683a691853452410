"""Bead frames of the repository, as beads of a recipe."""

from pathlib import Path

import numpy as np
import pytest

from cgml.molecules.recipe import Recipe
from openmm_cgml.testsystems.peo_beads import read_beads

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
