"""The fast path against the plain one."""

from typing import Any

import numpy as np
import pytest
import torch
from core_systems import chain, coil, learned, mixture, small_spec

from cgml.dynamics.propagator import Propagator, State
from cgml.models.file import bundled_models, load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.blocks import Interaction, VectorReadout
from cgml.network.inputs import build_system
from cgml.network.model import LearnedModel
from cgml.network.pairs import PairSearch, lay_out
from cgml.network.products import Messages, Readout
from cgml.spec import Execution

PLAIN, SHORT = Execution(plain=True), Execution(precision="bfloat16")
CUBE = np.diag([6.0, 6.0, 6.0])
NARROW = np.array([[4.0, 0.0, 0.0], [1.0, 5.5, 0.0], [-1.5, 2.5, 6.5]])
WIDE = {"n_node": 96, "n_edge": 64, "n_predictor_layers": 2, "n_refiner_layers": 3}
MAPPINGS = [chain(), mixture(), chain("ABCD" * 9), chain("AB")]
CASES: dict[str, dict[str, Any]] = {
    "all pairs": {},
    "no history": {"n_history": 0},
    "cutoff": {"cutoff": 3.0},
    "free centre": {"cutoff": 1.0, "friction": None},
    "box": {"cutoff": 2.5, "periodic": True, "friction": None},
    "wide": {"network": WIDE},
    "odd": {"network": {"n_node": 30, "n_edge": 22}},
    "angles": {"network": {"n_vectors": 4}},
    "places": {"network": {"atom_places": True}},
    "angles in a box": {
        "cutoff": 2.5,
        "periodic": True,
        "friction": None,
        "network": WIDE | {"n_vectors": 12, "atom_places": True},
    },
}


def starts(mappings: list[Mapping]) -> np.ndarray:
    return np.concatenate([coil(item, item.n_beads) for item in mappings])


def run(propagator: Propagator, state: State, n_steps: int) -> State:
    for _ in range(n_steps):
        state = propagator.step(state)
    return state


def bound(
    model: LearnedModel, mappings: list[Mapping], execution: Execution, **more: Any
) -> Propagator:
    box = NARROW if model.spec.periodic else None
    return Propagator(model, mappings, seed=3, box=box, execution=execution, **more)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_steps(case):
    """To single precision, with the same noise."""
    model = learned(small_spec(**case))
    plain, fast = (bound(model, MAPPINGS, e) for e in (PLAIN, Execution()))
    state = run(plain, plain.start(starts(MAPPINGS)), 2)
    expected, found = plain.step(state), fast.step(state)
    np.testing.assert_allclose(found.positions, expected.positions, atol=2e-5)
    moved = (found.positions - state.positions).norm(dim=1)
    assert moved.median() > 0.1
    np.testing.assert_allclose(found.displacements, expected.displacements, atol=2e-5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_forces(case):
    model = learned(small_spec(**case))
    plain, fast = (bound(model, MAPPINGS, e) for e in (PLAIN, Execution()))
    expected = plain.mean_forces(starts(MAPPINGS))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        fast.mean_forces(starts(MAPPINGS)), expected, atol=1e-3 * scale
    )


@pytest.mark.parametrize("sampler", ["heun", "ancestral", "langevin", "none"])
def test_samplers(sampler):
    model = learned(small_spec())
    refinement = model.spec.refinement.model_copy(update={"sampler": sampler})
    plain, fast = (
        bound(model, MAPPINGS, e, refinement=refinement) for e in (PLAIN, Execution())
    )
    state = plain.start(starts(MAPPINGS))
    np.testing.assert_allclose(
        fast.step(state).positions, plain.step(state).positions, atol=5e-5
    )


def test_radius_of_gyration():
    model = learned(small_spec())
    plain, fast = (bound(model, MAPPINGS, e) for e in (PLAIN, Execution()))
    state = plain.start(starts(MAPPINGS))
    np.testing.assert_allclose(
        fast.radius_of_gyration(state), plain.radius_of_gyration(state), atol=1e-5
    )


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models(name):
    """Trained weights, a hundred molecules: 1e-4 nm, a thousandth in bfloat16."""
    model = load_model(name)
    kinds = sorted(model.spec.particle_types)
    mapping = bundled_mapping(kinds)
    box = 9.0 * np.eye(3) if model.spec.periodic else None
    stream = np.random.default_rng(0)
    steps = 0.9 * stream.normal(size=(mapping.n_beads, 3))
    begin = np.cumsum(steps, axis=0)
    states = {}
    for execution in (PLAIN, Execution(), SHORT):
        propagator = Propagator(
            model, mapping, box=box, guard="record", execution=execution
        )
        states[execution] = propagator.step(propagator.start(begin)).positions
    expected = states[PLAIN]
    size = (expected - torch.tensor(begin)).square().mean().sqrt()
    error = (states[Execution()] - expected).abs().max()
    assert error < 1e-4
    short = (states[SHORT] - expected).square().mean().sqrt()
    assert 10.0 * error < short < 0.01 * size


def bundled_mapping(kinds: list[str]) -> Mapping:
    """Return a chain of 20 beads of 5 atoms of these particle types."""
    n = 100
    types = np.random.default_rng(1).choice(kinds, size=n).tolist()
    bonds = np.stack((np.arange(n - 1), np.arange(1, n)), axis=1)
    graph = MolecularGraph.create(types, np.ones(n), bonds)
    return Mapping.from_labels(graph, np.arange(n) // 5)


@pytest.mark.parametrize("cutoff", [None, 3.0])
@pytest.mark.parametrize("execution", [Execution(), SHORT], ids=["float32", "bfloat16"])
def test_a_replica_alone_is_the_replica_in_a_batch(cutoff, execution):
    """To the last bit, also among many and in short numbers."""
    model = learned(small_spec(network=WIDE, cutoff=cutoff))
    mappings = [chain("ABCD" * n) for n in (10, 3, 10, 1, 7, 10, 2, 10)] * 3
    batch = Propagator(model, mappings, seed=1, execution=execution)
    state = run(batch, batch.start(starts(mappings)), 2)
    for number in (0, 3, 4, 14, 23):
        alone = Propagator(
            model, mappings[number], seed=1, replica_ids=[number], execution=execution
        )
        found = run(alone, alone.start(starts([mappings[number]])), 2)
        assert torch.equal(found.positions, state.positions[batch.slices[number]])


def test_guards_see_the_same():
    """The same replica, guard and value, pair by pair as edge by edge."""
    spec = small_spec(statistics={"bond_length_range": (0.1, 0.9)}, cutoff=4.0)
    model = learned(spec)
    counts, values = [], []
    for execution in (PLAIN, Execution()):
        propagator = bound(model, MAPPINGS, execution, guard="record")
        state = propagator.start(starts(MAPPINGS))
        run(propagator, state, 2)
        counts.append(propagator.guard_counts)
        trips = propagator._check(state, propagator.step(state))
        values.append({key: (trip.guard, trip.value) for key, trip in trips.items()})
    assert counts[0] == counts[1]
    assert counts[0]["bond"] > 0
    assert values[0].keys() == values[1].keys()
    for key, (guard, value) in values[0].items():
        assert values[1][key][0] == guard
        assert values[1][key][1] == pytest.approx(value, abs=1e-4)


def test_blocks_against_the_modules():
    """Random features on both edges of each pair, images included."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer, readout = Interaction(12, 8), VectorReadout(12, 8, 2, 3)
    stream = torch.Generator().manual_seed(0)
    mapping, degree = mixture(), torch.tensor(3.0)
    beads = build_system(mapping, small_spec()).beads
    search = PairSearch(beads, [7], 4.5, [torch.tensor(NARROW)])
    layout = lay_out(search(torch.tensor(coil(mapping))), 7, is_periodic=True)
    n = len(layout.receiver)
    nodes = torch.randn((7, 12), generator=stream)
    edges = torch.randn((2 * n, 8), generator=stream)
    vectors = torch.randn((2, 3, n), generator=stream)
    own = torch.randn((7, 3, 3), generator=stream)
    real = layout.arrivals.long()  # sums take these edges alone
    receiver = (layout.ends.view(-1, 2)[:, 0] // 2).long()[real]
    sender = (layout.ends.view(-1, 2)[:, 1] // 2).long()[real]
    with torch.inference_mode():
        expected = layer(nodes, edges[real], sender, receiver, degree)
        both = torch.cat((vectors, -vectors), dim=2).permute(2, 0, 1)[real]
        force = readout(nodes, edges[real], both, own, receiver, degree)
        found = Readout(readout, degree)(nodes, edges, vectors, own, layout)
        torch.testing.assert_close(found, force, atol=1e-5, rtol=1e-5)
        new = Messages(layer, degree, torch.float32)(nodes, edges, layout)
    torch.testing.assert_close(new, expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(edges[real], expected[1], atol=1e-5, rtol=1e-5)


def test_short_numbers_on_the_plain_path_are_refused():
    both = Execution(plain=True, precision="bfloat16")
    with pytest.raises(
        ValueError, match=r"'bfloat16' is for the fast path.*plain=True"
    ):
        Propagator(learned(small_spec()), MAPPINGS, execution=both)
