"""Corners of stereocentres that turn over, and back."""

import numpy as np
import pytest

from cgml.molecules.corners import Corners
from cgml.molecules.graph import MolecularGraph

TIPS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)
START = 0.15 * np.concatenate((np.zeros((1, 3)), TIPS))


def star(types: list[str], masses: list[float]) -> MolecularGraph:
    """An atom and four around it."""
    return MolecularGraph.create(types, masses, [[0, i] for i in range(1, 5)])


CHIRAL = star(["C", "H", "F", "Cl", "Br"], [12.0, 1.0, 19.0, 35.0, 80.0])


@pytest.mark.parametrize("atom", [0, 1, 4])
def test_an_atom_that_goes_through_a_plane_comes_back(atom):
    """The centre through three of its neighbours, or one of these past the centre."""
    corners = Corners(CHIRAL, START)
    assert len(corners.rows) == 4
    assert not len(corners.turned(START))
    there = START.copy()
    there[atom] += -0.08 * TIPS[0] if atom == 0 else -2.1 * START[atom]
    assert len(corners.turned(there))
    back = there
    for _ in range(3):
        back = corners.mirrored(back)
    assert not len(corners.turned(back))


def test_a_mirror_image_has_all_corners_turned_a_turned_molecule_none():
    corners = Corners(CHIRAL, START)
    assert len(corners.turned(START * [1.0, 1.0, -1.0])) == 4
    assert not len(corners.turned(START[:, [1, 2, 0]] + 3.0))


def test_one_step_back_is_a_mirror_image():
    """Of a hydrogen: its distances to the atoms of the plane are as they were."""
    corners = Corners(CHIRAL, START)
    row = corners.rows[np.flatnonzero(corners.rows[:, 3] == 1)[0]]
    assert row.tolist() == [0, 4, 3, 1]  # the light one last
    there = START.copy()
    there[1] -= 1.2 * START[1]
    back = corners.mirrored(there)
    assert np.linalg.norm(back[0] - back[1]) == pytest.approx(
        np.linalg.norm(there[0] - there[1])
    )


def test_what_has_no_hand_has_no_corner():
    """CH2 has two hydrogens; atoms between equal chains (tactic ones) have a hand."""
    assert not len(Corners(star([*"CHHNO"], [12.0, 1.0, 1.0, 14.0, 16.0]), START).rows)
    types = ["C", "C", "C", "F", *"HHHHHHH"]
    bonds = [[0, 1], [1, 2], [1, 3], [1, 4], *([i % 2 * 2, 5 + i] for i in range(6))]
    masses = [12.011] * 3 + [18.998] + [1.008] * 7
    graph = MolecularGraph.create(types, masses, bonds)
    found = Corners(graph, np.random.default_rng(0).normal(size=(11, 3)))
    assert found.rows[:, 0].tolist() == [1] * 4
