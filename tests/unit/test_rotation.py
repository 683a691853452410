import numpy as np
import pytest
from core_systems import random_orthogonal

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.rotation import Frames, proper


def beads(n, bonds) -> Frames:
    return Frames(MolecularGraph.create(["bead"] * n, np.ones(n), bonds))


def chain(n) -> Frames:
    return beads(n, [[i, i + 1] for i in range(n - 1)])


def angle(rotation) -> float:
    return float(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0)))


@pytest.mark.parametrize("n", [3, 5])
def test_a_turned_molecule_has_turned(n):
    before = np.random.default_rng(n).normal(size=(n, 3))
    turned = random_orthogonal(n)
    found = chain(n).rotations(before, before @ turned.T + 3.0)
    np.testing.assert_allclose(found, np.broadcast_to(turned, (n, 3, 3)), atol=1e-4)


def test_a_mirrored_molecule_is_not_mirrored():
    before = np.random.default_rng(1).normal(size=(6, 3))
    star = beads(6, [[0, i] for i in range(1, 6)])
    for after in (before * [1.0, 1.0, -1.0], -before):
        found = star.rotations(before, after)
        np.testing.assert_allclose(np.linalg.det(found), 1.0)
        np.testing.assert_allclose(
            found @ found.transpose(0, 2, 1),
            np.broadcast_to(np.eye(3), (6, 3, 3)),
            atol=1e-12,
        )


def test_two_beads_turn_alike_and_do_not_spin():
    before = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    after = np.array([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    one, other = chain(2).rotations(before, after)
    expected = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(one, expected, atol=1e-5)
    np.testing.assert_array_equal(one, other)


def test_beads_in_a_line_do_not_spin():
    before = np.arange(5.0)[:, None] * [1.0, 0.0, 0.0]
    way = np.array([1.0, 1.0, 1.0]) / np.sqrt(3.0)
    for rotation in chain(5).rotations(before, np.arange(5.0)[:, None] * way):
        np.testing.assert_allclose(rotation @ [1.0, 0.0, 0.0], way, atol=1e-5)
        assert angle(rotation) == pytest.approx(np.arccos(way[0]), abs=1e-5)


def test_a_line_that_is_turned_around_is_a_rotation_all_the_same():
    before = np.arange(3.0)[:, None] * [0.0, 0.0, 1.0]
    found = chain(3).rotations(before, -before)
    np.testing.assert_allclose(np.linalg.det(found), 1.0)
    np.testing.assert_allclose(
        found @ [0.0, 0.0, 1.0], np.tile([0.0, 0.0, -1.0], (3, 1)), atol=1e-5
    )
    np.testing.assert_array_equal(found, chain(3).rotations(before, -before))


def test_a_bead_without_neighbours_does_not_turn():
    stream = np.random.default_rng(0)
    found = beads(3, np.zeros((0, 2), dtype=int)).rotations(
        stream.normal(size=(3, 3)), stream.normal(size=(3, 3))
    )
    np.testing.assert_allclose(found, np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-12)


def test_beads_on_one_spot():
    found = chain(3).rotations(np.zeros((3, 3)), np.zeros((3, 3)))
    np.testing.assert_allclose(found, np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-12)


def test_no_rotation_fits_better():
    """The definition, tried on many rotations near and far."""
    stream = np.random.default_rng(2)
    matrix = stream.normal(size=(3, 3))
    best = np.trace(proper(matrix).T @ matrix)
    others = [random_orthogonal(seed) for seed in range(200)]
    assert best >= max(np.trace(other.T @ matrix) for other in others)
    for axis in range(3):
        for small in (1e-3, -1e-3):
            nudge = np.eye(3)
            i, j = (k for k in range(3) if k != axis)
            nudge[[i, j], [j, i]] = small, -small
            near = np.linalg.qr(nudge)[0]
            near *= np.sign(np.diag(near))
            assert np.trace((proper(matrix) @ near).T @ matrix) <= best
