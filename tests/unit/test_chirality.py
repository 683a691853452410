"""Training data with a left and a right are said, unless the model sees them."""

from dataclasses import replace

import numpy as np
import pytest
from core_systems import chain

from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.training.chirality import warnings_of

MAPPING = chain("AAAAAA", atoms_per_bead=1)


def screws(mirror: float = 1.0, noise: float = 0.1) -> BeadTrajectory:
    """Return frames of a chain that winds to the right, or of its mirror image."""
    turns = np.radians(60.0) * np.arange(6)
    screw = np.stack((np.cos(turns), np.sin(turns), 0.3 * turns), axis=1)
    frames = screw + noise * np.random.default_rng(0).normal(size=(300, 6, 3))
    positions = (mirror * frames).astype(np.float32)
    return BeadTrajectory(MAPPING, positions, np.arange(300.0), name="screw")


@pytest.mark.parametrize(("mirror", "side"), [(1.0, "right"), (-1.0, "left")])
def test_beads_that_wind_one_way_are_said(mirror, side):
    (text,) = warnings_of([screws(mirror)], is_chiral=False)
    assert f"the beads of 'screw' wind to the {side}" in text
    assert "write chiral = true and n_vectors = 8 under [network]" in text
    assert warnings_of([screws(mirror)], is_chiral=True) == []


def test_noise_is_no_hand():
    assert warnings_of([screws(noise=50.0)], is_chiral=False) == []


def test_atoms_of_a_hand_are_said():
    """Here of a star of four masses, with one bead and nothing that winds."""
    bonds = [[0, k] for k in (1, 2, 3, 4)]
    graph = MolecularGraph.create("ABCDE", [1.0, 2.0, 3.0, 4.0, 5.0], bonds)
    corners = np.array([[0.0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    mapping = Mapping.from_labels(graph, [0] * 5).with_hands(corners[None])
    frames = BeadTrajectory(mapping, np.zeros((3, 1, 3), np.float32), np.arange(3.0))
    (text,) = warnings_of([replace(frames, name="star")], is_chiral=False)
    assert "'star' has 1 stereocentres" in text
