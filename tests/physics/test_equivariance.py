"""Turned, mirrored, shifted or renumbered input gives equally changed output."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from core_systems import (
    MASSES,
    chain,
    coil,
    double_system,
    laid_out,
    learned,
    mixture,
    random_orthogonal,
    small_spec,
)

from cgml.dynamics.noise import Noise
from cgml.dynamics.propagator import Propagator
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.gaussian import Prediction
from cgml.network.inputs import build_system
from cgml.network.model import LearnedModel
from cgml.network.predictor import History
from cgml.spec import ModelSpec

MAPPING = mixture()
N = MAPPING.n_beads
ISOMETRIES = {
    "rotation": (random_orthogonal(1), np.zeros(3)),
    "reflection": (random_orthogonal(2, reflect=True), np.zeros(3)),
    "translation": (np.eye(3), np.array([3.0, -20.0, 7.0])),
    "all": (random_orthogonal(3, reflect=True), np.array([-5.0, 1.0, 2.0])),
}
MOVES = pytest.mark.parametrize("move", list(ISOMETRIES.values()), ids=list(ISOMETRIES))
SPECS = pytest.mark.parametrize(
    "spec",
    [
        small_spec(),
        small_spec(cutoff=4.0),
        small_spec(friction=None),
        small_spec(n_history=0),
        small_spec(network={"n_vectors": 4}),
        small_spec(network={"n_vectors": 4, "atom_places": True}),
    ],
    ids=["all pairs", "cutoff", "free centre", "no history", "angles", "places"],
)
CHIRAL = small_spec(network={"n_vectors": 4, "atom_places": True, "chiral": True})


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def renumbered(mapping: Mapping, order: np.ndarray) -> Mapping:
    """Return the same beads, new bead i being old bead order[i]."""
    return Mapping.from_labels(mapping.graph, np.argsort(order)[mapping.bead_index])


def forward(
    model: LearnedModel,
    mapping: Mapping,
    positions: np.ndarray,
    moves: np.ndarray,
    white: np.ndarray,
) -> tuple[Prediction, np.ndarray]:
    """Predict, and denoise at noise level 0.8, all in double precision."""
    atoms, beads = double_system(build_system(mapping, model.spec))
    places = torch.tensor(positions)
    layout = laid_out(beads, [len(positions)], places, model.spec.cutoff)
    module = model.module.double()
    known = torch.ones(*moves.shape[:2], 1, dtype=torch.float64)
    history = History(places, torch.tensor(moves), known)
    with torch.no_grad():
        prediction = module.predictor(beads, layout, module.embedding(atoms), history)
        condition = module.conditioner(layout, places, prediction)
        sigma = torch.full((len(positions), 1), 0.8, dtype=torch.float64)
        clean = module.denoiser(beads, layout, condition, torch.tensor(white), sigma)
    return prediction, clean.numpy()


@SPECS
@MOVES
def test_networks_under_isometries(spec, move):
    turn, shift = move
    model, start = learned(spec), coil(MAPPING)
    moves, white = normal(1, spec.n_history, N, 3), normal(2, N, 3)
    here, clean = forward(model, MAPPING, start, moves, white)
    there, turned = forward(
        model, MAPPING, start @ turn + shift, moves @ turn, white @ turn
    )
    np.testing.assert_allclose(there.mean, here.mean.numpy() @ turn + shift, atol=1e-8)
    np.testing.assert_allclose(there.spread, here.spread, atol=1e-8)
    np.testing.assert_allclose(there.nodes, here.nodes, atol=1e-8)
    np.testing.assert_allclose(turned, clean @ turn, atol=1e-8)
    assert np.abs(clean - white / 1.64).max() > 1e-3  # the network does something


def test_a_chiral_network_turns_with_its_input_and_not_with_a_mirror():
    """Proper rotations alone are its symmetries; a mirror gives another molecule."""
    model, start = learned(CHIRAL), coil(MAPPING)
    moves, white = normal(1, 2, N, 3), normal(2, N, 3)
    here, clean = forward(model, MAPPING, start, moves, white)

    def largest(turn: np.ndarray) -> tuple[float, ...]:
        there, turned = forward(
            model, MAPPING, start @ turn, moves @ turn, white @ turn
        )
        errors = (
            there.mean.numpy() - here.mean.numpy() @ turn,
            (there.spread - here.spread).numpy(),
            turned - clean @ turn,
        )
        return tuple(float(np.abs(error).max()) for error in errors)

    assert max(largest(random_orthogonal(1))) < 1e-8
    assert max(largest(random_orthogonal(3))) < 1e-8
    assert min(largest(random_orthogonal(2, reflect=True))) > 1e-4


def mirrored(model: LearnedModel) -> LearnedModel:
    """Return a chiral model whose weights of all pseudoscalars have the other sign."""
    other, width = copy.deepcopy(model), model.spec.network.n_vectors
    module = other.module
    places = module.embedding.encoder.first.weight  # the last input is the hand
    with torch.no_grad():
        places[:, -1].neg_()
        for part, out in (
            (module.predictor, module.predictor.shift),
            (module.denoiser, module.denoiser.readout),
        ):
            for turn in part.directions:
                turn.to_node.first.weight[:, -width:].neg_()
                turn.to_edge.first.weight[:, -width:].neg_()
            out.node.second.weight[-width:].neg_()  # of cross products
            out.node.second.bias[-width:].neg_()
    return other


def test_a_chiral_network_and_its_mirror_image():
    """All that tells left from right changes sign: what training on images learns."""
    hands = np.zeros(MAPPING.graph.n_atoms, dtype=np.int8)
    hands[4] = 1
    start, turn = coil(MAPPING), np.diag([1.0, -1.0, 1.0])
    moves, white = normal(1, 2, N, 3), normal(2, N, 3)
    model = learned(CHIRAL)
    here, clean = forward(model, replace(MAPPING, hands=hands), start, moves, white)
    there, turned = forward(
        mirrored(model),
        replace(MAPPING, hands=-hands),
        start @ turn,
        moves @ turn,
        white @ turn,
    )
    np.testing.assert_allclose(there.mean, here.mean.numpy() @ turn, atol=1e-8)
    np.testing.assert_allclose(there.spread, here.spread, atol=1e-8)
    np.testing.assert_allclose(turned, clean @ turn, atol=1e-8)


def test_a_chiral_network_is_told_the_hands_of_atoms():
    """Same beads, same places: the hand of one atom alone makes another molecule."""
    model = learned(CHIRAL)
    found = []
    for hand in (1, -1, 0):
        hands = np.zeros(MAPPING.graph.n_atoms, dtype=np.int8)
        hands[4] = hand
        given = replace(MAPPING, hands=hands)
        start, moves, white = coil(MAPPING), normal(1, 2, N, 3), normal(2, N, 3)
        found.append(forward(model, given, start, moves, white)[1])
    assert min(np.abs(found[0] - found[k]).max() for k in (1, 2)) > 1e-4


@SPECS
def test_networks_under_renumbering_of_beads(spec):
    order = np.array([5, 2, 0, 6, 3, 1, 4])
    model, start = learned(spec), coil(MAPPING)
    moves, white = normal(1, spec.n_history, N, 3), normal(2, N, 3)
    here, clean = forward(model, MAPPING, start, moves, white)
    there, mixed = forward(
        model, renumbered(MAPPING, order), start[order], moves[:, order], white[order]
    )
    np.testing.assert_allclose(there.mean, here.mean[order], atol=1e-8)
    np.testing.assert_allclose(there.spread, here.spread[order], atol=1e-8)
    np.testing.assert_allclose(mixed, clean[order], atol=1e-8)


def test_networks_under_renumbering_of_atoms():
    """Also where the bonds are then written the other way round."""
    model, start = learned(small_spec()), coil(chain())
    graph = chain().graph
    order = np.random.default_rng(0).permutation(graph.n_atoms)
    types = [graph.types[i] for i in order]
    new = MolecularGraph.create(
        types, [MASSES[name] for name in types], np.argsort(order)[graph.bonds]
    )
    mapping = Mapping.from_labels(new, chain().bead_index[order])
    moves, white = normal(1, 2, 5, 3), normal(2, 5, 3)
    here, clean = forward(model, chain(), start, moves, white)
    there, other = forward(model, mapping, start, moves, white)
    np.testing.assert_allclose(there.mean, here.mean, atol=1e-8)
    np.testing.assert_allclose(other, clean, atol=1e-8)


def test_a_chain_read_backwards_is_the_same_molecule():
    model = learned(small_spec())
    forwards, backwards = chain("AABBCDDCAB"), chain("AABBCDDCAB"[::-1])
    start = coil(forwards)
    moves, white = normal(1, 2, 5, 3), normal(2, 5, 3)
    here, clean = forward(model, forwards, start, moves, white)
    there, other = forward(
        model, backwards, start[::-1].copy(), moves[:, ::-1].copy(), white[::-1].copy()
    )
    np.testing.assert_allclose(there.mean, here.mean.flip(0), atol=1e-8)
    np.testing.assert_allclose(other, clean[::-1], atol=1e-8)


def test_the_sequence_matters():
    """What the symmetries must not hide."""
    model, start = learned(small_spec()), coil(chain())
    moves, white = normal(1, 2, 5, 3), normal(2, 5, 3)
    swapped = chain("AABBCDDCBA")
    here, _ = forward(model, chain("AABBCDDCAB"), start, moves, white)
    there, _ = forward(model, swapped, start, moves, white)
    assert np.abs((here.mean - there.mean).numpy()).max() > 1e-4


class Given:
    """Given noise in place of the propagator's own."""

    def __init__(self, white: np.ndarray, kicks: np.ndarray) -> None:
        self.noise = Noise(torch.tensor(white).float(), torch.tensor(kicks))

    def draw(self, *where: object) -> Noise:
        return self.noise


def step(
    monkeypatch: pytest.MonkeyPatch,
    spec: ModelSpec,
    mapping: Mapping,
    start: np.ndarray,
    moves: np.ndarray,
    noise: Given,
) -> np.ndarray:
    propagator = Propagator(learned(spec), mapping)
    monkeypatch.setattr(propagator, "_noise", noise)
    state = propagator.start(start, displacements=moves)
    return propagator.step(state).positions.numpy()


@SPECS
@MOVES
def test_a_whole_step_under_isometries(monkeypatch, spec, move):
    """Given the noise, turned as well: a step in single precision."""
    turn, shift = move
    start, moves = coil(MAPPING), normal(1, spec.n_history, N, 3)
    white, kicks = normal(2, 1, N, 3), normal(3, 3, 3)
    here = step(monkeypatch, spec, MAPPING, start, moves, Given(white, kicks))
    there = step(
        monkeypatch,
        spec,
        MAPPING,
        start @ turn + shift,
        moves @ turn,
        Given(white @ turn, kicks @ turn),
    )
    np.testing.assert_allclose(there, here @ turn + shift, atol=2e-4)


@SPECS
def test_a_whole_step_under_renumbering(monkeypatch, spec):
    order = np.array([2, 3, 1, 0, 5, 4, 6])
    start, moves = coil(MAPPING), normal(1, spec.n_history, N, 3)
    white, kicks = normal(2, 1, N, 3), normal(3, 3, 3)
    here = step(monkeypatch, spec, MAPPING, start, moves, Given(white, kicks))
    there = step(
        monkeypatch,
        spec,
        renumbered(MAPPING, order),
        start[order],
        moves[:, order],
        Given(white[:, order], kicks),
    )
    np.testing.assert_allclose(there, here[order], atol=2e-4)


@MOVES
def test_the_radius_of_gyration_is_invariant(move):
    turn, shift = move
    propagator = Propagator(learned(small_spec()), MAPPING)
    start = coil(MAPPING)
    one, other = (
        propagator.radius_of_gyration(propagator.start(place))
        for place in (start, start @ turn + shift)
    )
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_far_systems_do_not_see_each_other():
    """With a cutoff, another molecule beyond it changes nothing but its own place."""
    bonds = [[0, 1], [1, 2], [3, 4], [4, 5]]
    graph = MolecularGraph.create("AAAAAA", np.ones(6), bonds)
    pair = Mapping.from_labels(graph, [0, 0, 1, 2, 2, 3])
    propagator = Propagator(learned(small_spec(cutoff=4.0)), pair)
    start = np.array([[0.0, 0, 0], [1, 0, 0], [0, 20, 0], [1, 20, 0]])
    far = start + np.array([[0.0], [0], [1], [1]]) * [0.0, 15.0, 0.0]
    near = start - np.array([[0.0], [0], [1], [1]]) * [0.0, 18.0, 0.0]
    middle = {
        name: propagator.step(propagator.start(place)).positions[:2].numpy()
        for name, place in (("here", start), ("far", far), ("near", near))
    }
    np.testing.assert_allclose(middle["here"], middle["far"], atol=1e-4)
    assert np.abs(middle["here"] - middle["near"]).max() > 1e-3
