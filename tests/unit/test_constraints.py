import numpy as np
import pytest

from cgml.molecules.constraints import TOLERANCE, Distances, Projection
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping

BONDS = [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]
MASSES = [12.0, 1.0, 16.0, 12.0, 1.0, 1.0]


@pytest.fixture
def mapping() -> Mapping:
    graph = MolecularGraph.create("CHOCHH", MASSES, BONDS)
    return Mapping.from_labels(graph, [0, 0, 0, 1, 1, 1])


@pytest.fixture
def start() -> np.ndarray:
    steps = np.random.default_rng(5).normal(size=(6, 3))
    return np.cumsum(0.1 * steps / np.linalg.norm(steps, axis=1)[:, None], axis=0)


@pytest.mark.parametrize("bonds", [[0, 1], [1, 3], [0, 1, 2, 3, 4]])
def test_distances_are_met_and_centres_stay(mapping, start, bonds):
    """Inside beads, and between them (bond 2)."""
    pairs = np.array(BONDS)[bonds]
    distances = Distances(pairs, np.full(len(pairs), 0.108))
    found = Projection(mapping, distances)(start)
    assert abs(distances.errors(found)).max() <= TOLERANCE
    np.testing.assert_allclose(
        mapping.positions(found), mapping.positions(start), atol=1e-14
    )
    assert np.abs(found - start).max() < 0.1


def test_what_is_met_stays_as_it_is(mapping, start):
    distances = Distances(np.array(BONDS), np.full(5, 0.1))
    np.testing.assert_array_equal(Projection(mapping, distances)(start), start)


def test_atoms_without_constraints_of_their_bead_stay(mapping, start):
    distances = Distances(np.array([[0, 1]]), np.array([0.12]))
    found = Projection(mapping, distances)(start)
    np.testing.assert_array_equal(found[2:], start[2:])
    # by inverse masses, along the bond
    moved = np.linalg.norm(found - start, axis=1)
    assert moved[1] == pytest.approx(12.0 * moved[0], rel=1e-6)


def test_constraints_that_say_the_same_twice():
    """Four atoms in a plane are held by six distances; five would do."""
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
    pairs = np.array([[0, 1], [1, 2], [2, 3], [0, 3], [0, 2], [1, 3]])
    graph = MolecularGraph.create("AAAA", np.ones(4), pairs[:4])
    lengths = Distances(pairs, np.ones(6)).errors(square) + 1.0
    distances = Distances(pairs, lengths)
    noise = np.random.default_rng(0).normal(scale=0.02, size=(4, 3))
    projection = Projection(Mapping.from_labels(graph, [0, 0, 0, 0]), distances)
    assert abs(distances.errors(projection(square + noise))).max() <= 1e-6


def test_what_cannot_be_met_is_not_hidden(mapping, start):
    apart = start.copy()
    apart[3:] += 3.0
    distances = Distances(np.array([[2, 3]]), np.array([0.1]))
    found = Projection(mapping, distances)(apart)
    assert abs(distances.errors(found)).max() > 1.0
    np.testing.assert_allclose(
        mapping.positions(found), mapping.positions(apart), atol=1e-12
    )


def test_none_at_all(mapping, start):
    assert Projection(mapping, Distances())(start) is start
