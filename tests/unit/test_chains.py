"""Observables against naive loops on random positions."""

import numpy as np
import pytest

from cgml.molecules.centres import squared_radius_of_gyration
from cgml.observables import chains as observables
from cgml.observables.chains import Surface


@pytest.fixture
def positions() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, 5, 6, 3))


BONDS = [[0, 1], [1, 2], [1, 3], [3, 4], [4, 5]]


def test_radius_of_gyration_is_the_naive_one(positions):
    masses = np.arange(1.0, 7.0)
    frame = positions[1, 3]
    centre = sum(m * r for m, r in zip(masses, frame, strict=True)) / masses.sum()
    square = sum(
        m * ((r - centre) ** 2).sum() for m, r in zip(masses, frame, strict=True)
    )
    result = squared_radius_of_gyration(positions, masses)
    assert result.shape == (2, 5)
    assert result[1, 3] == pytest.approx(square / masses.sum())


def test_ends(positions):
    result = observables.end_to_end_distance(positions)
    expected = np.linalg.norm(positions[0, 2, 5] - positions[0, 2, 0])
    assert result[0, 2] == pytest.approx(expected)


def test_bond_lengths(positions):
    result = observables.bond_lengths(positions, BONDS)
    assert result.shape == (2, 5, 5)
    expected = np.linalg.norm(positions[1, 0, 3] - positions[1, 0, 1])
    assert result[1, 0, 2] == pytest.approx(expected)


def test_paths_of_a_branched_molecule():
    assert sorted(observables.dihedral_quadruplets(BONDS).tolist()) == [
        [0, 1, 3, 4],
        [1, 3, 4, 5],
        [2, 1, 3, 4],
    ]
    triangle = [[0, 1], [1, 2], [0, 2]]
    assert observables.dihedral_quadruplets(triangle).shape == (0, 4)


def test_signed_volumes(positions):
    """Against determinants, and the angle between two half planes."""
    paths = np.array([[0, 1, 3, 4], [5, 2, 0, 1]])
    angles, volumes = observables.signed_volumes(positions, paths)
    assert angles.shape == volumes.shape == (2, 5, 2)
    one, two, three = np.diff(positions[1, 3, paths[1]], axis=0)
    volume = np.linalg.det([one, two, three])
    lengths = np.prod([np.linalg.norm(bond) for bond in (one, two, three)])
    assert volumes[1, 3, 1] == pytest.approx(volume / lengths)
    axis = two / np.linalg.norm(two)  # seen along the bond in the middle
    here, there = (part - axis * (part @ axis) for part in (-one, three))
    cosine = here @ there / np.linalg.norm(here) / np.linalg.norm(there)
    expected = np.copysign(np.arccos(cosine), volume)
    assert angles[1, 3, 1] == pytest.approx(expected)
    mirrored = observables.signed_volumes(positions * [1.0, -1.0, 1.0], paths)
    np.testing.assert_allclose(mirrored, (-angles, -volumes))


def test_a_right_handed_screw_is_positive():
    """It goes away from who turns it clockwise."""
    turns = np.radians([0.0, 60.0, 120.0, 180.0])
    screw = np.stack((np.cos(turns), np.sin(turns), 0.5 * turns), axis=1)
    angles, volumes = observables.signed_volumes(screw, [[0, 1, 2, 3]])
    assert 0.0 < angles[0] < np.pi / 2.0
    assert volumes[0] > 0.0


def test_triplets_of_a_branched_molecule():
    assert observables.angle_triplets(BONDS).tolist() == [
        [0, 1, 2],
        [0, 1, 3],
        [2, 1, 3],
        [1, 3, 4],
        [3, 4, 5],
    ]


def test_angles(positions):
    points = [[1.0, 0, 0], [0, 0, 0], [0, 2.0, 0], [-3.0, 0, 0]]
    result = observables.angles(points, [[0, 1, 2], [0, 1, 3], [0, 1, 0]])
    np.testing.assert_allclose(result, [np.pi / 2, np.pi, 0.0], atol=1e-12)


def test_pair_distances(positions):
    expected = [
        np.linalg.norm(positions[0, 0, i] - positions[0, 0, j])
        for i in range(6)
        for j in range(i + 1, 6)
    ]
    np.testing.assert_allclose(observables.pair_distances(positions)[0, 0], expected)


def test_contact_map_is_the_naive_one(positions):
    result = observables.contact_map(positions, 1.5)
    frames = positions.reshape(-1, 6, 3)
    for i in range(6):
        for j in range(6):
            distance = np.linalg.norm(frames[:, i] - frames[:, j], axis=-1)
            assert result[i, j] == pytest.approx(np.mean(distance < 1.5))


def test_surface_keeps_all_frames(positions):
    surface = Surface.fit(positions, n_bins=4)
    far = surface.histogram(100.0 * positions)
    assert far.shape == (4, 4)
    assert far.sum() == pytest.approx(1.0)


def test_surface_counts_as_numpy_does():
    frames = np.random.default_rng(2).normal(size=(500, 4, 3))
    surface = Surface.fit(frames, n_bins=6)
    edges = [np.array([-np.inf, *axis, np.inf]) for axis in surface.edges]
    expected = np.histogramdd(surface.project(frames), bins=edges)[0] / 500
    np.testing.assert_allclose(surface.histogram(frames), expected)


def test_surface_does_not_see_rotations(positions):
    from scipy.spatial.transform import Rotation

    surface = Surface.fit(positions)
    turned = positions @ Rotation.from_rotvec([0.3, -1.0, 2.0]).as_matrix() + 7.0
    np.testing.assert_allclose(surface.project(turned), surface.project(positions))


def test_free_energy_of_a_ratio():
    result = observables.free_energy([0.0, 1.0, np.e])
    np.testing.assert_allclose(result, [np.inf, 1.0, 0.0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: squared_radius_of_gyration(np.zeros((2, 3)), [1.0]),
            r"each of the 2 positions.*shape \(1,\)",
        ),
        (lambda: observables.end_to_end_distance(np.zeros((2, 2))), r"got \(2, 2\)"),
        (
            lambda: observables.bond_lengths(np.zeros((2, 3)), [[0, 1, 2]]),
            r"shape \(n, 2\) is required, got \(1, 3\)",
        ),
        (lambda: observables.contact_map(np.zeros((2, 3)), 0.0), "got 0.0 nm"),
        (lambda: Surface.fit(np.zeros((5, 2, 3))), "3 beads.*got 2 beads"),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
