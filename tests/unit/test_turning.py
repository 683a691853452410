"""Rotation times from frames of atoms."""

import numpy as np
import pytest

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.turning import N_ORIGINS, Turning, compositions, joined, lag_of
from cgml.spec import Rotation

GRAPH = MolecularGraph.create(
    "BAABAC", [1.0, 16.0, 16.0, 1.0, 16.0, 7.0], [[0, 1], [1, 3], [2, 4]]
)
MAPPING = Mapping.from_labels(GRAPH, [0, 0, 1, 0, 2, 3])


def test_molecules_of_one_bead_and_several_atoms():
    assert compositions(MAPPING) == {0: (("A", 1), ("B", 2))}


@pytest.mark.parametrize(
    ("time", "n", "expected"),
    [(5.0, 60, 5.0), (2.5, 60, 2.5), (0.6, 60, 0.6), (40.0, 30, 40.0)],
)
def test_an_exponential_has_its_time(time, n, expected):
    """Also one that has not fallen to 1/e, and one that has within the first lag."""
    assert lag_of(np.exp(-np.arange(n) / time)) == pytest.approx(expected, rel=1e-6)


def test_what_hardly_turns_has_none():
    assert lag_of(np.exp(-np.arange(30) / 1000.0)) is None


def test_what_is_forgotten_at_once_is_fast():
    assert lag_of(np.array([1.0, -0.02, 0.01])) == pytest.approx(1 / 3, abs=0.01)


def spinning(n: int, period: float) -> np.ndarray:
    """Frames of one molecule that turns about z at even speed."""
    start = np.array([[0.1, 0, 0], [0, 0, 0], [3, 3, 3], [-0.1, 0, 0], [3, 3, 4]])
    start = np.vstack((start, [[5.0, 5.0, 5.0]]))
    angles = 2.0 * np.pi * np.arange(n) / period
    cosine, sine = np.cos(angles), np.sin(angles)
    rows = np.zeros((n, 3, 3))
    rows[:, 0, 0] = rows[:, 1, 1] = cosine
    rows[:, 0, 1], rows[:, 1, 0], rows[:, 2, 2] = -sine, sine, 1.0
    return np.einsum("nxy,iy->nix", rows, start).astype(np.float32)


@pytest.mark.parametrize("size", [1, 7, 500])
def test_a_rotor_and_pieces(size):
    """cos(2 pi t / 40) is 1/e after 7.60 frames, in whatever pieces they come."""
    frames, turning = spinning(500, 40.0), Turning(MAPPING)
    for first in range(0, 500, size):
        part = frames[first : first + size]
        turning.take(part, 2.0 * np.arange(first, first + len(part)))
    (row,) = turning.found()
    assert row.atoms == {"A": 1, "B": 2}
    lag = 40.0 * np.arccos(np.exp(-1.0)) / (2.0 * np.pi)
    assert row.time == pytest.approx(2.0 * lag, rel=0.01)
    assert len(turning._origins) < N_ORIGINS


def test_two_frames_tell_nothing():
    turning = Turning(MAPPING)
    assert turning.found() == ()
    turning.take(spinning(2, 40.0), np.arange(2.0))
    assert turning.found() == ()


def test_systems_are_joined():
    """The mean of those that say something; what is said of no other stays."""
    water, ion = {"A": 1, "B": 2}, {"C": 2}

    def row(atoms, time) -> Rotation:
        return Rotation(atoms=atoms, time=time)

    found = joined([[row(water, 2.0)], [], [row(water, 4.0)]], [row(ion, 9.0)])
    assert found == [row(water, 3.0), row(ion, 9.0)]
    assert joined([[row(ion, 1.0)]], [row(ion, 9.0)]) == [row(ion, 1.0)]
