"""Orientations of molecules of one bead: a function of seed, replica and step."""

import logging

import numpy as np
import pytest
from core_systems import small_spec
from scipy.special import hyp2f1

from cgml.dynamics.tumbling import R_OF_TIME, Tumbling, matrices
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.turning import Turning
from cgml.spec import Rotation

STEP = small_spec().time_step
WATER = {"A": 1, "B": 2}
N = 60


def waters(n: int = N) -> Mapping:
    """Molecules of one bead."""
    bonds = [[3 * i, 3 * i + k] for i in range(n) for k in (1, 2)]
    graph = MolecularGraph.create("ABB" * n, [16.0, 1.0, 1.0] * n, bonds)
    return Mapping.from_labels(graph, np.repeat(np.arange(n), 3))


def spec_of(steps: float):
    return small_spec(rotation=[Rotation(atoms=WATER, time=steps * STEP)])


def correlation(tumbling: Tumbling, lag: int, n: int = 25) -> tuple[float, float]:
    """tr(R_0^T R_n) / 3 and its error; pairs far apart."""
    found = [
        np.einsum("bij,bij->b", *(tumbling.rotations(3, s) for s in (at, at + lag))) / 3
        for at in range(0, 200 * n, 200)
    ]
    values = np.concatenate(found)
    return values.mean(), values.std() / np.sqrt(len(values))


def closed_form(r: float) -> float:
    return 2.0 / 3.0 * r * hyp2f1(1.0, 1.0, 4.0, r)


def test_the_rotation_time_is_where_the_correlation_is_1_over_e():
    assert closed_form(R_OF_TIME) == pytest.approx(np.exp(-1.0), rel=1e-12)


@pytest.mark.parametrize("lag", [1, 5, 12])
def test_correlation_is_the_closed_form(lag):
    mean, error = correlation(Tumbling(spec_of(5.0), waters()), lag)
    assert abs(mean - closed_form(R_OF_TIME ** (lag / 5.0))) < 4.0 * error


def test_fast_molecules_forget_within_a_step():
    mean, error = correlation(Tumbling(spec_of(0.01), waters()), 1)
    assert abs(mean) < 4.0 * error


def test_what_is_measured_in_the_frames_is_what_was_stated():
    """`prepare` of frames that this has made: the time within its error."""
    mapping, tumbling = waters(), Tumbling(spec_of(5.0), waters())
    start = np.random.default_rng(0).normal(size=(3 * N, 3))
    centred = start - mapping.positions(start)[mapping.bead_index]
    turning = Turning(mapping)
    for step in range(400):
        turns = tumbling.rotations(1, step)[mapping.bead_index]
        frame = np.einsum("ixy,iy->ix", turns, centred)[None].astype(np.float32)
        turning.take(frame, np.array([step * STEP]))
    (row,) = turning.found()
    assert row.atoms == WATER
    assert row.time / STEP == pytest.approx(5.0, abs=0.4)


def test_rotations_are_proper():
    found = matrices(np.random.default_rng(1).normal(size=(50, 4)))
    np.testing.assert_allclose(
        found @ found.transpose(0, 2, 1), np.tile(np.eye(3), (50, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(found), 1.0, atol=1e-12)
    quarter = matrices(np.array([[1.0, 0.0, 0.0, 1.0]]))[0]  # about z
    np.testing.assert_allclose(quarter @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-15)


def test_a_step_depends_on_no_other():
    """Nor on who asks: a restart gives the same bits, another replica others."""
    spec, mapping = spec_of(30.0), waters(3)
    one, other = Tumbling(spec, mapping), Tumbling(spec, mapping)
    for step in range(900, 910):
        last = one.rotations(7, step)
    np.testing.assert_array_equal(other.rotations(7, 909), last)
    assert not np.array_equal(other.rotations(8, 909), last)
    assert not np.array_equal(Tumbling(spec, mapping, 1).rotations(7, 909), last)


def test_a_start_is_turned_back_and_forth():
    mapping, tumbling = waters(3), Tumbling(spec_of(5.0), waters(3))
    atoms = np.random.default_rng(2).normal(size=(9, 3))
    start = tumbling.undone(atoms, mapping, 4, 17)
    assert np.abs(start - atoms).max() > 0.1
    centres = mapping.positions(start)[mapping.bead_index]
    turns = tumbling.rotations(4, 17)[mapping.bead_index]
    again = centres + np.einsum("ixy,iy->ix", turns, start - centres)
    np.testing.assert_allclose(again, atoms, atol=1e-12)


@pytest.mark.parametrize("rotation", [[], [Rotation(atoms=WATER, time=1e6 * STEP)]])
def test_a_model_that_states_no_time_says_so(rotation, caplog):
    """Nor one far beyond any run, which would take for ever."""
    with caplog.at_level(logging.WARNING):
        tumbling = Tumbling(small_spec(rotation=rotation), waters(3))
    assert "3 molecules of one bead (1 A 2 B) keep the orientation" in caplog.text
    assert tumbling.rotations(0, 5) is None
    atoms = np.ones((9, 3))
    assert tumbling.undone(atoms, waters(3), 0, 5) is atoms


def test_beads_of_chains_and_single_atoms_do_not_tumble(caplog):
    graph = MolecularGraph.create("AABB", np.ones(4), [[0, 1], [1, 2]])
    mapping = Mapping.from_labels(graph, [0, 0, 1, 2])
    with caplog.at_level(logging.WARNING):
        assert Tumbling(spec_of(5.0), mapping).rotations(0, 1) is None
    assert not caplog.text
