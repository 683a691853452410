import numpy as np
import pytest
from core_systems import random_orthogonal

from cgml.molecules.graph import neighbours
from cgml.molecules.strain import Strain, corners_of

BONDS = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [4, 5]])


@pytest.fixture
def start() -> np.ndarray:
    return np.random.default_rng(3).normal(scale=0.15, size=(6, 3))


def test_a_start_is_without_strain_wherever_it_goes(start):
    strain = Strain(BONDS, start)
    turned = start @ random_orthogonal(0).T
    for positions in (start, start + 5.0, turned):
        value, slope = strain(positions)
        assert value == pytest.approx(0.0, abs=1e-20)
        np.testing.assert_allclose(slope, 0.0, atol=1e-12)


def test_slope(start):
    strain = Strain(BONDS, start)
    there = start + np.random.default_rng(4).normal(scale=0.03, size=start.shape)
    slope = strain(there)[1]
    for atom, axis in np.ndindex(*start.shape):
        step = np.zeros_like(start)
        step[atom, axis] = 1e-6
        change = (strain(there + step)[0] - strain(there - step)[0]) / 2e-6
        assert slope[atom, axis] == pytest.approx(change, abs=1e-9)


def test_bonds_angles_and_hands_count(start):
    value = Strain(BONDS, start)(start)[0]
    longer = start.copy()
    longer[5] += 0.5 * (start[5] - start[4])
    bent = start.copy()
    bent[5] = start[4] + np.linalg.norm(start[5] - start[4]) * np.array([0.0, 0.6, 0.8])
    mirrored = start * [1.0, 1.0, -1.0]
    for positions in (longer, bent, mirrored):
        assert Strain(BONDS, start)(positions)[0] > value + 1e-5


def test_corners_are_of_all_three_neighbours():
    assert corners_of(neighbours(6, BONDS)).tolist() == [
        *([0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 3, 4], [0, 2, 3, 4])
    ]
    assert corners_of([[1], [0]]).shape == (0, 4)


def test_cis_and_trans_are_two():
    """Of a bond between planar atoms; about other bonds turning costs nothing."""
    bonds = np.array([[0, 1], [0, 2], [0, 3], [1, 4], [1, 5]])
    trans = 0.1 * np.array(
        [[0, 0, 0], [1, 0, 0], [-1, 1, 0], [-1, -1, 0], [2, 1, 0], [2, -1.5, 0]]
    )
    cis = trans * np.where(np.arange(6)[:, None] > 3, [1, -1, 1], 1)
    assert Strain(bonds, trans)(cis)[0] > 1e-4
    is_raised = np.isin(np.arange(6), [2, 3])[:, None]
    bent = trans + np.where(is_raised, [0.0, 0.0, 0.1], 0.0)
    turned = bent * np.where(np.arange(6)[:, None] > 3, [1, -1, -1], 1)
    assert Strain(bonds, bent)(turned)[0] < 1e-12
