"""What both engines do with a propagator: particles on board, history from frames."""

import numpy as np
import pytest
from core_systems import coil

from cgml.dynamics.passengers import Passengers, resolve_mapping
from cgml.dynamics.propagator import Propagator
from cgml.models.file import load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping


@pytest.fixture
def propagator(tiny_model) -> Propagator:
    bonds = np.stack([np.arange(29), np.arange(1, 30)], axis=1)
    graph = MolecularGraph.create("ABCD" * 7 + "AB", np.ones(30), bonds)
    learned = load_model(tiny_model)
    return Propagator(learned, resolve_mapping(graph, learned.spec), seed=3)


def atoms_of(mapping: Mapping) -> np.ndarray:
    stream = np.random.default_rng(0)
    return coil(mapping)[mapping.bead_index] + 0.1 * stream.normal(size=(30, 3))


@pytest.mark.parametrize("unit", [1.0, 10.0])
def test_atoms_ride_with_their_beads(propagator, unit):
    mapping = propagator.mappings[0]
    atoms = atoms_of(mapping)
    passengers = Passengers(propagator, 30)
    state = passengers.start(atoms)
    after, moved, moves = passengers.advance(unit * atoms, state, unit)
    alone = propagator.step(propagator.start(mapping.positions(atoms)))
    np.testing.assert_array_equal(after.positions, alone.positions)
    shift = (after.positions - state.positions).numpy()[mapping.bead_index]
    np.testing.assert_allclose(moves, unit * shift, rtol=1e-14)
    np.testing.assert_allclose(moved, unit * (atoms + shift), rtol=1e-14)


def test_beads_are_where_the_state_is(propagator):
    mapping = propagator.mappings[0]
    passengers = Passengers(propagator, mapping.n_beads)
    beads = mapping.positions(atoms_of(mapping))
    after, moved, _ = passengers.advance(beads, passengers.start(beads))
    np.testing.assert_array_equal(moved, after.positions)


@pytest.mark.parametrize("n_earlier", [0, 1, 3])
def test_history_from_frames(propagator, n_earlier):
    """Of more frames than the model uses, the newest count."""
    mapping = propagator.mappings[0]
    steps = np.arange(n_earlier + 1)[:, None, None] ** 2 * np.ones(3)
    frames = atoms_of(mapping) + steps
    passengers = Passengers(propagator, 30)
    state = passengers.start(frames[-1], step=7, earlier=frames[:-1])
    assert (int(state.n_known), int(state.step)) == (min(n_earlier, 1), 7)
    expected = 2.0 * n_earlier - 1.0 if n_earlier else 0.0
    np.testing.assert_allclose(state.displacements, expected, atol=1e-12)


def test_paths_are_whole_in_a_box():
    """Cut by the boundary or not: the same beads, the same history (see whole.py)."""
    from cgml.molecules.whole import whole_beads

    bonds = [[0, 1], [1, 2], [2, 3]]
    graph = MolecularGraph.create("AAAA", np.ones(4), bonds)
    mapping = Mapping.from_labels(graph, [0, 0, 1, 1])
    true = np.array([[2.8, 1, 1], [3.1, 1, 1], [3.4, 1, 1], [3.7, 1, 1]])
    frames = np.stack([true, true + 0.5])
    found = whole_beads(mapping, frames % 3.0, 3.0 * np.eye(3))
    np.testing.assert_allclose(found, mapping.positions(frames), atol=1e-12)


def test_wrong_numbers(propagator):
    with pytest.raises(ValueError, match=r"30 atoms or 6 beads .* got 7 particles"):
        Passengers(propagator, 7)
    passengers = Passengers(propagator, 6)
    match = r"earlier frames of shape \(n_frames, 6, 3\) are required, got \(2, 5, 3\)"
    with pytest.raises(ValueError, match=match):
        passengers.start(np.zeros((6, 3)), earlier=np.zeros((2, 5, 3)))


def test_an_unknown_type_is_refused_before_any_cut(tiny_model):
    spec = load_model(tiny_model).spec
    graph = MolecularGraph.create("AQ", np.ones(2), [[0, 1]])
    for atoms in (graph, Mapping.from_labels(graph, [0, 0])):
        with pytest.raises(ValueError, match="unknown particle type 'Q'"):
            resolve_mapping(atoms, spec)
