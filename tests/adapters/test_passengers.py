"""What both engines do with a propagator: particles on board, history from frames."""

import numpy as np
import pytest
from core_systems import MASSES, coil, learned, small_spec

from cgml.dynamics.passengers import Passengers, known_mapping, resolve_mapping
from cgml.dynamics.propagator import Propagator
from cgml.models.file import load_model
from cgml.molecules.carriage import Carriage
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel


@pytest.fixture
def propagator(tiny_model) -> Propagator:
    bonds = np.stack([np.arange(29), np.arange(1, 30)], axis=1)
    graph = MolecularGraph.create("ABCD" * 7 + "AB", np.ones(30), bonds)
    learned = load_model(tiny_model)
    return Propagator(learned, resolve_mapping(graph, learned.spec), seed=3)


def atoms_of(mapping: Mapping) -> np.ndarray:
    stream = np.random.default_rng(0)
    return coil(mapping)[mapping.bead_index] + 0.1 * stream.normal(size=(30, 3))


def test_atoms_ride_with_their_beads(propagator):
    mapping = propagator.mappings[0]
    atoms = atoms_of(mapping)
    passengers = Passengers(propagator, 30)
    state, reference = passengers.start(atoms), passengers.reference(atoms)
    np.testing.assert_array_equal(reference, atoms)
    after = propagator.step(state)
    moved = passengers.place(after, reference)
    expected = Carriage(mapping, atoms).place(after.positions.numpy())
    np.testing.assert_array_equal(moved, expected)
    np.testing.assert_allclose(mapping.positions(moved), after.positions, atol=1e-12)
    shift = (after.positions - state.positions).numpy()[mapping.bead_index]
    np.testing.assert_array_equal(passengers.moves(state, after), shift)


def test_molecules_of_one_bead_turn():
    """From where they are at the start, whichever step that is; rigid."""
    graph = MolecularGraph.create("ABB", [1.0, 2.0, 2.0], [[0, 1], [0, 2]])
    mapping = Mapping.from_labels(graph, [0, 0, 0])
    spec = small_spec(rotation=[{"atoms": {"A": 1, "B": 2}, "time": 30.0}])
    passengers = Passengers(Propagator(learned(spec), mapping, seed=2), 3)
    atoms = np.random.default_rng(3).normal(size=(3, 3))
    state = passengers.start(atoms, step=40)
    reference = passengers.reference(atoms, 40)
    np.testing.assert_allclose(passengers.place(state, reference), atoms, atol=1e-12)
    after = passengers.propagator.step(state)
    moved = passengers.place(after, reference)
    np.testing.assert_allclose(mapping.positions(moved), after.positions, atol=1e-12)
    np.testing.assert_allclose(gaps(moved), gaps(atoms), atol=1e-12)
    carried = atoms + (after.positions - state.positions).numpy()
    assert np.abs(moved - carried).max() > 0.1


def gaps(atoms: np.ndarray) -> np.ndarray:
    return np.linalg.norm(atoms[:, None] - atoms, axis=2)


def test_a_new_start_is_another_reference(propagator):
    passengers = Passengers(propagator, 30)
    one = atoms_of(propagator.mappings[0])
    other = one[:, [1, 2, 0]] + 1.0
    for atoms in (one, other, one):
        state = passengers.start(atoms)
        placed = passengers.place(state, passengers.reference(atoms))
        np.testing.assert_allclose(placed, atoms, atol=1e-9)


def test_beads_are_where_the_state_is(propagator):
    mapping = propagator.mappings[0]
    passengers = Passengers(propagator, mapping.n_beads)
    beads = mapping.positions(atoms_of(mapping))
    state = passengers.start(beads)
    assert passengers.reference(beads).shape == (0, 3)
    after = propagator.step(state)
    moved = passengers.place(after, passengers.reference(beads))
    np.testing.assert_array_equal(moved, after.positions)
    moves = (after.positions - state.positions).numpy()
    np.testing.assert_array_equal(passengers.moves(state, after), moves)


def test_the_reference_is_whole():
    """Cut by the boundary or not: the same atoms are carried."""
    mapping, model = box_chain()
    box = 3.0 * np.eye(3)
    whole = np.array([[2.8, 1, 1], [3.1, 1, 1], [3.4, 1, 1], [3.7, 1, 1]])
    propagator = Propagator(model, mapping, box=box)
    passengers = Passengers(propagator, 4, box)
    np.testing.assert_allclose(passengers.reference(whole % 3.0), whole, atol=1e-12)


def test_united_atoms_carry_all_atoms():
    """The model knows CH3 and CH2; the beads are the same."""
    known = {"CH3": 15.035, "CH2": 14.027}
    graph = propane()
    model = learned(
        small_spec(particle_types=known, bond_types=["bond"], atoms_per_bead=1.5)
    )
    mapping = resolve_mapping(graph, model.spec)
    assert mapping.graph is graph
    assert mapping.n_beads == 2
    with pytest.warns(UserWarning, match="8 hydrogens are joined with their heavy"):
        seen = known_mapping(mapping, model.spec)
    assert seen.graph.types == ("CH3", "CH2", "CH3")
    np.testing.assert_allclose(seen.bead_masses, mapping.bead_masses, atol=0.01)
    propagator = Propagator(model, seen)
    passengers = Passengers(propagator, 11, mapping=mapping)
    atoms = np.random.default_rng(0).normal(scale=0.1, size=(11, 3))
    after = propagator.step(passengers.start(atoms))
    moved = passengers.place(after, passengers.reference(atoms))
    np.testing.assert_allclose(mapping.positions(moved), after.positions, atol=1e-12)


def test_water_is_unknown_to_a_model_of_united_ethers():
    known = {"CH3": 15.035, "CH2": 14.027, "O": 15.999}
    spec = small_spec(particle_types=known, bond_types=["bond"])
    water = MolecularGraph.create("OHH", [15.999, 1.008, 1.008], [[0, 1], [0, 2]])
    with pytest.raises(ValueError, match="unknown particle type 'H'"):
        resolve_mapping(water, spec)


def test_a_model_of_all_types_sees_the_atoms(propagator):
    mapping = propagator.mappings[0]
    assert known_mapping(mapping, propagator.spec) is mapping


def propane() -> MolecularGraph:
    bonds = [[0, 1], [1, 2], *([0, 3 + i] for i in range(3)), [1, 6], [1, 7]]
    bonds += [[2, 8 + i] for i in range(3)]
    masses = [12.011] * 3 + [1.008] * 8
    return MolecularGraph.create("CCC" + "H" * 8, masses, bonds)


def box_chain() -> tuple[Mapping, LearnedModel]:
    graph = MolecularGraph.create("AAAA", np.ones(4), [[0, 1], [1, 2], [2, 3]])
    spec = small_spec(periodic=True, cutoff=1.0, friction=None, has_property=False)
    return Mapping.from_labels(graph, [0, 0, 1, 1]), learned(spec)


def test_atoms_of_the_other_hand_are_refused():
    """A chiral model is told hands, and looks whether the atoms have them."""
    names = "AABCD"
    graph = MolecularGraph.create(
        names, [MASSES[name] for name in names], [[0, k] for k in (1, 2, 3, 4)]
    )
    corners = [[0.0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    atoms, plain = np.array(corners), Mapping.from_labels(graph, [0] * 5)
    learned_both = learned(small_spec(network={"n_vectors": 4, "chiral": True}))
    with pytest.raises(ValueError, match=r"hands of 1 stereocentres are required"):
        Propagator(learned_both, plain)
    propagator = Propagator(learned_both, plain.with_hands(atoms[None]))
    passengers = Passengers(propagator, 5)
    assert int(passengers.start(atoms).step) == 0
    with pytest.raises(
        ValueError, match=r"1 stereocentres are of the other hand.*\(A\)"
    ):
        passengers.start(-atoms)
    Passengers(Propagator(learned(small_spec()), plain), 5).start(-atoms)


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
