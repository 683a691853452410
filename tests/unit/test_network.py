"""The networks against their equations: forward, gradients, steps, bits."""

from typing import Any

import numpy as np
import pytest
import torch
from core_systems import (
    as_double,
    chain,
    coil,
    double_system,
    learned,
    mixture,
    small_spec,
)
from reference_network import both_ways, by_the_equations, naive_edges, step

from cgml.dynamics.propagator import Propagator, State
from cgml.models.file import bundled_models, load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.inputs import Beads, build_system, join_atoms, join_beads
from cgml.network.model import LearnedModel
from cgml.network.pairs import PairSearch, divide, lay_out
from cgml.network.predictor import History
from cgml.network.stepper import check_execution
from cgml.spec import Execution, ModelSpec

SHORT = Execution(precision="bfloat16")
NARROW = np.array([[4.0, 0.0, 0.0], [1.0, 5.5, 0.0], [-1.5, 2.5, 6.5]])
WIDE = {"n_node": 96, "n_edge": 64, "n_predictor_layers": 2, "n_refiner_layers": 3}
MAPPINGS = [chain(), mixture(), chain("ABCD" * 9), chain("AB")]
CASES: dict[str, dict[str, Any]] = {
    "all pairs": {},
    "no history": {"n_history": 0},
    "cutoff": {"cutoff": 3.0},
    "free centre": {"cutoff": 1.0, "friction": None},
    "box": {"cutoff": 2.5, "periodic": True, "friction": None},
    "pairs that arrive": {
        "cutoff": 1.5,
        "reach": 3.5,
        "periodic": True,
        "friction": None,
    },
    "wide": {"network": WIDE},
    "odd": {"network": {"n_node": 30, "n_edge": 21}},
    "angles": {"network": {"n_vectors": 4}},
    "places": {"network": {"atom_places": True}},
    "chiral": {"network": {"n_vectors": 4, "chiral": True}},
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


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape))


def bound(
    model: LearnedModel, mappings: list[Mapping] = MAPPINGS, **more: Any
) -> Propagator:
    box = NARROW if model.spec.periodic else None
    return Propagator(model, mappings, seed=3, box=box, **more)


def both(model: LearnedModel, **more: Any) -> tuple[Propagator, Propagator]:
    """One propagator by the equations, and one as it is run."""
    return by_the_equations(bound(model, **more)), bound(model, **more)


def seen(spec: ModelSpec, beads: Beads, sizes: list[int], boxes: Any, places: Any):
    """Return the pairs that exchange messages, and those that may arrive."""
    search = PairSearch(beads, sizes, spec.farthest, boxes)
    return divide(search(places), places, spec)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_forward_and_gradients(case):
    """In double precision: answers to 1e-9, gradients of all weights to 1e-8."""
    spec = small_spec(**case)
    module = learned(spec).module.double()
    systems = [double_system(build_system(item, spec)) for item in MAPPINGS]
    beads = join_beads([system.beads for system in systems])
    sizes, places = [item.n_beads for item in MAPPINGS], torch.tensor(starts(MAPPINGS))
    boxes = [torch.tensor(NARROW)] * len(sizes) if spec.periodic else None
    pairs, far = seen(spec, beads, sizes, boxes, places)
    layout = as_double(lay_out(pairs, len(places), is_periodic=spec.periodic))
    near, n = naive_edges(beads, sizes, places, spec.cutoff, boxes), len(places)
    edges, others = as_double(near), far and as_double(both_ways(far))
    known = torch.ones(spec.n_history, n, 1, dtype=torch.float64)
    history = History(places, normal(0, spec.n_history, n, 3), known)
    white, sigma = normal(1, n, 3), 0.1 + normal(2, n, 1).abs()
    weights = normal(3, n, 3), normal(4, n, 1), normal(5, n, 3)
    answers, slopes = [], []
    for way in ("network", "equations"):
        embedding = module.embedding(join_atoms([system.atoms for system in systems]))
        if way == "network":
            found = module.predictor(beads, layout, embedding, history)
            condition = module.conditioner(layout, places, found)
            where = beads, layout, far and as_double(far)
            clean = module.denoise(where, embedding, condition, white, sigma)
        else:
            given = embedding, history, white, sigma, others
            found, clean = step(module, beads, edges, *given)
        answer = (found.mean, found.spread, clean)
        loss = sum((w * a).sum() for w, a in zip(weights, answer, strict=True))
        names, values = zip(*module.named_parameters(), strict=True)
        slopes.append(torch.autograd.grad(loss, values, allow_unused=True))
        answers.append((*answer, found.nodes))
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-9)
    for name, one, other in zip(names, *slopes, strict=True):
        assert (one is None) == (other is None) == name.startswith("radius_head"), name
        if one is not None:
            scale = float(other.abs().max())
            np.testing.assert_allclose(one, other, atol=1e-8 * scale, err_msg=name)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_steps(case):
    """To single precision, with the same noise."""
    expected, found = both(learned(small_spec(**case)))
    state = run(expected, expected.start(starts(MAPPINGS)), 2)
    one, other = expected.step(state), found.step(state)
    np.testing.assert_allclose(other.positions, one.positions, atol=2e-5)
    moved = (other.positions - state.positions).norm(dim=1)
    assert moved.median() > 0.1
    np.testing.assert_allclose(other.displacements, one.displacements, atol=2e-5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_forces(case):
    expected, found = (
        item.mean_forces(starts(MAPPINGS)) for item in both(learned(small_spec(**case)))
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-3 * scale)


@pytest.mark.parametrize("sampler", ["heun", "ancestral", "langevin", "none"])
def test_samplers(sampler):
    model = learned(small_spec())
    refinement = model.spec.refinement.model_copy(update={"sampler": sampler})
    expected, found = both(model, refinement=refinement)
    state = expected.start(starts(MAPPINGS))
    np.testing.assert_allclose(
        found.step(state).positions, expected.step(state).positions, atol=5e-5
    )


def test_radius_of_gyration():
    expected, found = both(learned(small_spec()))
    state = expected.start(starts(MAPPINGS))
    np.testing.assert_allclose(
        found.radius_of_gyration(state), expected.radius_of_gyration(state), atol=1e-5
    )


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models(name):
    """Trained weights, a hundred molecules: 1e-4 nm, a thousandth in bfloat16."""
    model = load_model(name)
    mapping = bundled_mapping(model.spec.particle_types)
    box = 9.0 * np.eye(3) if model.spec.periodic else None
    stream = np.random.default_rng(0)
    steps = 0.9 * stream.normal(size=(mapping.n_beads, 3))
    begin = np.cumsum(steps, axis=0)
    options = {"box": box, "guard": "record", "unseen": "allow"}
    movers = [
        by_the_equations(Propagator(model, mapping, **options)),
        Propagator(model, mapping, **options, execution=Execution(compiled=False)),
        Propagator(model, mapping, **options, execution=SHORT),
    ]
    expected, found, short = (
        mover.step(mover.start(begin)).positions for mover in movers
    )
    size = (expected - torch.tensor(begin)).square().mean().sqrt()
    error = (found - expected).abs().max()
    assert error < 1e-4
    short_error = (short - expected).square().mean().sqrt()
    assert 10.0 * error < short_error < 0.01 * size


def bundled_mapping(masses: dict[str, float]) -> Mapping:
    """Return a chain of 20 beads of 5 atoms of these particle types."""
    n = 100
    types = np.random.default_rng(1).choice(sorted(masses), size=n).tolist()
    bonds = np.stack((np.arange(n - 1), np.arange(1, n)), axis=1)
    graph = MolecularGraph.create(types, [masses[name] for name in types], bonds)
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
    propagator = bound(learned(spec), guard="record")
    state = propagator.start(starts(MAPPINGS))
    after = propagator.step(state)
    near, pairs = propagator._stepper.view(after.positions)
    move = (after.positions - state.positions).norm(dim=1)
    trips = [
        propagator._watch.guards.check(move, (near, seen), state.step)
        for seen in (pairs, both_ways(pairs))
    ]
    assert {trip.guard for trip in trips[0].values()} == {"bond"}
    values = [
        {key: (trip.guard, trip.value) for key, trip in found.items()}
        for found in trips
    ]
    assert values[0] == values[1]


def test_short_numbers_elsewhere_than_on_the_cpu_are_refused():
    meta = torch.device("meta")
    with pytest.raises(ValueError, match="'bfloat16' is for the CPU, got 'meta'"):
        check_execution(SHORT, meta)
