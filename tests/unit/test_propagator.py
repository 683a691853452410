import re

import numpy as np
import pytest
import torch
from core_systems import (
    chain,
    coil,
    learned,
    mixture,
    rouse_only,
    small_spec,
)

from cgml.dynamics.guards import GuardError
from cgml.dynamics.propagator import Propagator, State
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel

CHAIN, MIXTURE, LONG = chain(), mixture(), chain("ABCD" * 9)
ANY_SIZE = [CHAIN, LONG, MIXTURE, chain("AB"), LONG, CHAIN, CHAIN]
BY_FOUR = [chain("ABCD" * n) for n in (2, 10, 4, 2)]
WIDE = {"n_node": 96, "n_edge": 64, "n_predictor_layers": 2, "n_refiner_layers": 3}


@pytest.fixture(scope="module")
def model() -> LearnedModel:
    return learned(small_spec())


def limited(**statistics: object) -> LearnedModel:
    """Return a Rouse model whose guards have these limits."""
    spec = small_spec(statistics=statistics)
    return LearnedModel(spec, rouse_only(spec).module)


def starts(*mappings: Mapping) -> np.ndarray:
    return np.concatenate([coil(item, item.n_beads) for item in mappings])


def run(propagator: Propagator, state: State, n_steps: int) -> State:
    for _ in range(n_steps):
        state = propagator.step(state)
    return state


def same(one: State, other: State) -> bool:
    """Whether two states have the same bits."""
    return all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("positions", "displacements", "n_known", "step")
    )


# --- randomness and batches


def test_same_seed_same_bits(model):
    first, second = (
        run(Propagator(model, [CHAIN] * 2, seed=5), state, 3)
        for state in [Propagator(model, [CHAIN] * 2).start(starts(CHAIN, CHAIN))] * 2
    )
    assert same(first, second)


@pytest.mark.parametrize("change", [{"seed": 6}, {"replica_ids": [1]}])
def test_seed_and_replica_select_the_noise(model, change):
    one = Propagator(model, CHAIN, seed=5)
    other = Propagator(model, CHAIN, **({"seed": 5} | change))
    state = one.start(starts(CHAIN))
    moved = one.step(state).positions - other.step(state).positions
    assert moved.abs().min() > 0.0


def test_every_step_has_its_own_noise(model):
    propagator = Propagator(model, CHAIN)
    first, second = (
        propagator.step(propagator.start(starts(CHAIN), step=step)) for step in (0, 1)
    )
    assert (first.positions - second.positions).abs().min() > 0.0


def test_replicas_of_one_start_part(model):
    propagator = Propagator(model, [CHAIN] * 2)
    positions = propagator.step(propagator.start(starts(CHAIN, CHAIN))).positions
    one, other = (positions[part] for part in propagator.slices)
    assert (one - other).abs().min() > 0.0


def test_the_global_stream_is_not_touched(model):
    before = torch.get_rng_state()
    propagator = Propagator(model, CHAIN)
    propagator.step(propagator.start(starts(CHAIN)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "network",
    [
        {},
        WIDE,
        {"n_vectors": 4},
        WIDE | {"n_vectors": 12},
        {"n_vectors": 4, "atom_places": True},
        {"n_vectors": 4, "chiral": True},
    ],
    ids=["small", "wide", "angles", "wide with angles", "places", "chiral"],
)
@pytest.mark.parametrize(("cutoff", "reach"), [(None, None), (3.0, None), (1.5, 4.0)])
@pytest.mark.parametrize("mappings", [BY_FOUR, ANY_SIZE], ids=["by_four", "any_size"])
def test_a_replica_alone_is_the_replica_in_a_batch(mappings, network, cutoff, reach):
    """To the last bit, whatever else is in the batch, larger molecules included."""
    model = learned(small_spec(network=network, cutoff=cutoff, reach=reach))
    batch = Propagator(model, mappings, seed=1)
    state = run(batch, batch.start(starts(*mappings)), 3)
    for number, (mapping, part) in enumerate(zip(mappings, batch.slices, strict=True)):
        alone = Propagator(model, mapping, seed=1, replica_ids=[number])
        found = run(alone, alone.start(starts(mapping)), 3)
        assert torch.equal(found.positions, state.positions[part]), number
        assert torch.equal(found.displacements, state.displacements[:, part])


def test_replicas_may_change_places(model):
    mappings = [CHAIN, MIXTURE, CHAIN]
    one = Propagator(model, mappings)
    order = [2, 0, 1]
    other = Propagator(model, [mappings[i] for i in order], replica_ids=order)
    here = run(one, one.start(starts(*mappings)), 2).positions
    there = run(other, other.start(starts(*(mappings[i] for i in order))), 2).positions
    for place, number in enumerate(order):
        assert torch.equal(there[other.slices[place]], here[one.slices[number]])


@pytest.mark.parametrize("n_history", [0, 2])
def test_a_restart_from_arrays_goes_on_with_the_same_bits(n_history):
    model = learned(small_spec(n_history=n_history))
    mappings = [CHAIN, MIXTURE]
    first = Propagator(model, mappings, seed=2)
    middle = run(first, first.start(starts(*mappings)), 3)
    saved = {
        name: np.array(getattr(middle, name).tolist()).reshape(
            getattr(middle, name).shape
        )
        for name in ("positions", "displacements", "n_known", "step")
    }
    second = Propagator(model, mappings, seed=2)
    again = second.start(saved.pop("positions"), **saved)
    assert same(again, middle)
    assert same(run(second, again, 3), run(first, middle, 3))


def test_a_restart_in_the_first_steps_remembers_what_is_not_known(model):
    propagator = Propagator(model, CHAIN)
    state = propagator.step(propagator.start(starts(CHAIN)))
    again = propagator.start(
        state.positions, displacements=state.displacements, n_known=[1], step=[1]
    )
    assert same(propagator.step(again), propagator.step(state))
    claimed = propagator.start(
        state.positions, displacements=state.displacements, step=1
    )
    assert claimed.n_known.tolist() == [2]
    assert not same(propagator.step(claimed), propagator.step(state))


# --- what a step does to the state


def test_a_step_leaves_its_argument_alone(model):
    propagator = Propagator(model, CHAIN)
    state = run(propagator, propagator.start(starts(CHAIN)), 1)
    copy = State(*(getattr(state, name).clone() for name in state.__dataclass_fields__))
    first = propagator.step(state)
    assert same(state, copy)
    assert same(propagator.step(state), first)


def test_the_history_is_newest_first_and_fills_up(model):
    propagator = Propagator(model, [CHAIN, CHAIN])
    states = [propagator.start(starts(CHAIN, CHAIN))]
    for _ in range(3):
        states.append(propagator.step(states[-1]))
    assert [state.n_known.tolist() for state in states] == [[0] * 2, [1] * 2] + [
        [2] * 2
    ] * 2
    assert [state.step.tolist() for state in states] == [[i] * 2 for i in range(4)]
    for age in (0, 1):
        move = states[3 - age].positions - states[2 - age].positions
        np.testing.assert_allclose(states[3].displacements[age], move, atol=1e-12)
    assert (states[1].displacements[1] == 0.0).all()
    assert states[1].positions.dtype == torch.float64


def test_displacements_that_are_not_known_do_not_count(model):
    propagator = Propagator(model, CHAIN)
    moves = np.random.default_rng(0).normal(size=(2, 5, 3))
    other = moves.copy()
    other[1] *= -2.0
    one, two = (
        propagator.step(propagator.start(starts(CHAIN), displacements=m, n_known=1))
        for m in (moves, other)
    )
    assert torch.equal(one.positions, two.positions)
    known = propagator.start(starts(CHAIN), displacements=other)
    assert not torch.equal(propagator.step(known).positions, one.positions)


def test_a_held_centre_forgets_how_it_moved(model):
    """The network sees internal motion only; the kick has no memory."""
    propagator = Propagator(model, CHAIN)
    moves = np.random.default_rng(0).normal(size=(2, 5, 3))
    one, other = (
        propagator.step(propagator.start(starts(CHAIN), displacements=m)).positions
        for m in (moves, moves + 5.0)
    )
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_cutoff_beyond_the_molecule_is_no_cutoff():
    one = learned(small_spec())
    other = LearnedModel(small_spec(cutoff=60.0), one.module)
    mappings = [CHAIN, LONG]
    positions = [
        run(p, p.start(starts(*mappings)), 3).positions
        for p in (Propagator(one, mappings), Propagator(other, mappings))
    ]
    assert torch.equal(*positions)


def test_far_from_the_origin_nothing_is_lost(model):
    """Positions are kept in double precision, the networks see relative ones."""
    propagator = Propagator(model, CHAIN)
    start = np.round(starts(CHAIN) * 2**20) / 2**20
    here = propagator.step(propagator.start(start)).positions
    there = propagator.step(propagator.start(start + 2.0**20)).positions
    np.testing.assert_allclose(there - 2.0**20, here, atol=1e-4)


def test_other_samplers_can_be_asked_for(model):
    settings = [
        model.spec.refinement.model_copy(update={"sampler": name})
        for name in ("multistep", "heun", "ancestral", "none")
    ]
    found = []
    for refinement in settings:
        propagator = Propagator(model, CHAIN, refinement=refinement)
        found.append(propagator.step(propagator.start(starts(CHAIN))).positions)
    assert all(
        not torch.equal(a, b) for i, a in enumerate(found) for b in found[i + 1 :]
    )


def test_what_a_propagator_tells_of_itself(model):
    propagator = Propagator(model, [CHAIN, MIXTURE])
    assert propagator.n_beads == 12
    assert propagator.slices == [slice(0, 5), slice(5, 12)]
    assert propagator.mappings == [CHAIN, MIXTURE]
    assert propagator.spec is model.spec
    assert set(propagator.guard_counts) == {
        *("finite", "displacement", "bond", "overlap", "extrapolation")
    }
    assert set(propagator.guard_counts.values()) == {0}


# --- radius of gyration


def test_radius_of_gyration_of_the_beads():
    """With an idle correction: the mass-weighted one, molecule by molecule."""
    model = learned(small_spec())
    with torch.no_grad():
        model.module.radius_head.correction.second.weight.zero_()
        model.module.radius_head.correction.second.bias.zero_()
    mappings = [MIXTURE, CHAIN]
    propagator = Propagator(model, mappings)
    start = starts(*mappings)
    expected = []
    for mapping, part in zip(mappings, propagator.slices, strict=True):
        for molecule in range(mapping.molecule_index.max() + 1):
            member = mapping.molecule_index == molecule
            masses, points = mapping.bead_masses[member], start[part][member]
            share = masses / masses.sum()
            offset = points - share @ points
            expected.append(np.sqrt(share @ (offset**2).sum(axis=1)))
    found = propagator.radius_of_gyration(propagator.start(start))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_radius_of_gyration_of_the_atoms_is_learned(model):
    propagator = Propagator(model, CHAIN)
    state = propagator.start(starts(CHAIN))
    found = propagator.radius_of_gyration(state)
    with torch.no_grad():
        bias = model.module.radius_head.correction.second.bias
        bias.add_(1.0)
        moved = propagator.radius_of_gyration(state)
        bias.sub_(1.0)
    length = model.spec.statistics.length_scale
    np.testing.assert_allclose(moved - found, length, rtol=1e-5)


def test_no_radius_without_a_property_head():
    propagator = Propagator(learned(small_spec(has_property=False)), CHAIN)
    with pytest.raises(
        ValueError, match=r"model 'small' has no property head: compute"
    ):
        propagator.radius_of_gyration(propagator.start(starts(CHAIN)))


# --- guards

PROVOKED = {
    "displacement": ({"max_displacement": 1e-3}, 1.5e-3),
    "bond": ({"bond_length_range": (0.0, 1e-3)}, 1.3e-3),
    "overlap": ({"min_distance": 1.0e3}, 0.1e3),
}


def provoked(guard: str) -> tuple[LearnedModel, float]:
    if guard == "finite":
        model = limited()
        with torch.no_grad():
            model.module.predictor.shift.edge.bias.fill_(float("nan"))
        return model, float("inf")
    statistics, limit = PROVOKED[guard]
    return limited(**statistics), limit


GUARDS = pytest.mark.parametrize("guard", ["finite", *PROVOKED])


@GUARDS
@pytest.mark.parametrize("cutoff", [None, 60.0])
def test_a_guard_raises(guard, cutoff):
    model, limit = provoked(guard)
    model = LearnedModel(model.spec.model_copy(update={"cutoff": cutoff}), model.module)
    propagator = Propagator(model, [CHAIN, CHAIN], replica_ids=[7, 8])
    state = propagator.start(starts(CHAIN, CHAIN), step=[41, 3])
    copy = state.positions.clone()
    with pytest.raises(GuardError) as caught:
        propagator.step(state)
    error = caught.value.trip
    assert (error.guard, error.replica, error.step) == (guard, 7, 42)
    assert error.limit == pytest.approx(limit)
    if guard == "finite":
        assert np.isnan(error.value)
    elif guard == "overlap":
        assert 0.0 < error.value < limit
    else:
        assert error.value > limit
    time = 42 * model.spec.time_step
    text = (
        rf"^guard '{guard}' stopped replica 7 at step 42 \({time:g} ps\): got .* nm, "
        r"allowed .* nm \(.*\), beads? .* of molecule 0.*; likely cause: "
    )
    assert re.match(text, str(error))
    assert "the state before the step is intact" in str(error)
    assert torch.equal(state.positions, copy)
    assert state.step.tolist() == [41, 3]
    assert propagator.guard_counts[guard] == 2


@GUARDS
def test_a_guard_records(guard):
    """The step is taken all the same, and counted once a replica; but not NaN."""
    model, _ = provoked(guard)
    propagator = Propagator(model, [CHAIN, CHAIN], guard="record")
    state = propagator.start(starts(CHAIN, CHAIN))
    if guard == "finite":
        with pytest.raises(GuardError, match="guard 'finite' stopped replica 1"):
            propagator.step(state)
        assert propagator.guard_counts["finite"] == 2
        return
    state = run(propagator, state, 2)
    assert state.step.tolist() == [2, 2]
    assert propagator.guard_counts == dict.fromkeys(propagator.guard_counts, 0) | {
        guard: 4
    }


def test_recording_changes_nothing(model):
    tight = LearnedModel(
        small_spec(statistics={"max_displacement": 1e-3}), model.module
    )
    recorded, free = Propagator(tight, CHAIN, guard="record"), Propagator(model, CHAIN)
    state = free.start(starts(CHAIN))
    assert same(run(recorded, state, 3), run(free, state, 3))


def test_a_guard_that_nothing_trips_changes_nothing(model):
    state = Propagator(model, CHAIN).start(starts(CHAIN))
    results = [
        run(Propagator(model, CHAIN, guard=guard), state, 2)
        for guard in ("raise", "stop", "redraw", "record")
    ]
    for result in results[1:]:
        assert same(results[0], result)


@GUARDS
def test_redraws_end(guard):
    model, _ = provoked(guard)
    propagator = Propagator(model, CHAIN, guard="redraw")
    with pytest.raises(
        GuardError, match=f"guard '{guard}' stopped replica 0 at step 1"
    ):
        propagator.step(propagator.start(starts(CHAIN)))
    assert propagator.guard_counts[guard] == 11  # the first draw and ten more


def test_a_redraw_replaces_the_step_of_the_replica_that_tripped():
    """Others keep their bits; the new step obeys; the choice is reproducible."""
    mappings = [chain("AABB")] * 12
    free = Propagator(limited(), mappings)
    state = free.start(starts(*mappings))
    steps = (free.step(state).positions - state.positions).norm(dim=1).view(12, -1)
    largest = steps.max(dim=1).values
    limit = float(largest.median())
    tight = limited(max_displacement=limit / 1.5)
    guarded = Propagator(tight, mappings, guard="redraw")
    found = guarded.step(state)
    assert guarded.guard_counts["displacement"] >= 5
    moved = (found.positions - state.positions).norm(dim=1).view(12, -1)
    assert (moved.max(dim=1).values <= limit).all()
    expected = free.step(state)
    for place, part in enumerate(free.slices):
        is_kept = torch.equal(found.positions[part], expected.positions[part])
        assert is_kept == bool(largest[place] <= limit)
    assert same(Propagator(tight, mappings, guard="redraw").step(state), found)
    tripped = int(largest.argmax())
    alone = Propagator(tight, mappings[0], guard="redraw", replica_ids=[tripped])
    part = free.slices[tripped]
    own = alone.step(alone.start(state.positions[part]))
    assert torch.equal(own.positions, found.positions[part])


STRETCH = (0.0, 12.0)  # nm: longer than any bond here, but for stretched ones


def stretched(*mappings: Mapping, place: int) -> np.ndarray:
    """Starts, one of them stretched beyond all limits."""
    positions = starts(*mappings)
    first = sum(mapping.n_beads for mapping in mappings[:place])
    positions[first : first + mappings[place].n_beads] *= 50.0
    return positions


def test_a_stopped_replica_leaves_the_others_their_bits():
    """It stays in its last good state; the others go on as if it were not there."""
    model = limited(bond_length_range=STRETCH)
    mappings = [CHAIN] * 3
    propagator = Propagator(model, mappings, guard="stop", replica_ids=[4, 5, 6])
    state = propagator.start(stretched(*mappings, place=1))
    found = run(propagator, state, 3)
    assert list(propagator.stopped) == [1]
    assert found.step.tolist() == [3, 0, 3]
    others = Propagator(model, mappings[:2], replica_ids=[4, 6])
    keep = torch.tensor([*range(5), *range(10, 15)])
    alone = run(others, others.start(state.positions[keep]), 3)
    assert torch.equal(found.positions[keep], alone.positions)
    assert torch.equal(found.displacements[:, keep], alone.displacements)
    assert torch.equal(found.positions[5:10], state.positions[5:10])
    assert sum(propagator.guard_trips[0].values()) == 0
    n_trips = sum(propagator.guard_trips[1].values())
    run(propagator, found, 2)
    assert sum(propagator.guard_trips[1].values()) == n_trips  # no longer guarded


def test_a_replica_that_becomes_nan_stops_alone(monkeypatch):
    """Under "record" too; the guards still look at the others."""
    propagator = Propagator(
        limited(bond_length_range=STRETCH), [CHAIN] * 3, guard="record"
    )
    state = propagator.start(stretched(CHAIN, CHAIN, CHAIN, place=2))
    displacement = propagator._stepper.displacement

    def broken(*arguments):
        found = displacement(*arguments).clone()
        found[:5] = float("nan")
        return found

    monkeypatch.setattr(propagator._stepper, "displacement", broken)
    found = run(propagator, state, 2)
    assert found.step.tolist() == [0, 2, 2]
    assert torch.isfinite(found.positions).all()
    assert propagator.stopped[0].trip.guard == "finite"
    assert propagator.guard_trips[2]["bond"] == 2


def test_with_all_replicas_stopped_there_is_an_error():
    propagator = Propagator(
        limited(bond_length_range=STRETCH), [CHAIN, CHAIN], guard="stop"
    )
    state = propagator.start(starts(CHAIN, CHAIN) * 50.0)
    with pytest.raises(GuardError, match="stopped replica 1 at step 1"):
        propagator.step(state)
    assert list(propagator.stopped) == [0, 1]
    propagator.start(state.positions)
    assert not propagator.stopped


@pytest.mark.parametrize(("n_steps", "n_anew"), [(0, 1), (25_000, 26)])
def test_what_is_rare_is_drawn_anew(monkeypatch, n_steps, n_anew):
    """One draw, and one more per 10,000 moves of the replica's 10 beads."""
    mapping = chain("ABCDABCDABABCDABCDAB")
    propagator = Propagator(limited(), mapping, guard="stop")
    state = propagator.start(starts(mapping), step=n_steps)
    displacement, calls = propagator._stepper.displacement, []

    def wild_at_first(*arguments):
        calls.append(1)
        found = displacement(*arguments).clone()
        found[0, 0] += 1e6 * (len(calls) % 2)
        return found

    monkeypatch.setattr(propagator._stepper, "displacement", wild_at_first)
    n_beads = mapping.n_beads
    n_allowed = 1 + n_steps * n_beads // 10_000
    assert n_allowed == n_anew
    for _ in range(n_allowed):
        state = propagator.step(state)
    assert propagator.guard_counts["displacement"] == n_allowed
    assert n_steps == 0 or n_allowed > 2
    with pytest.raises(GuardError, match="stopped replica 0"):
        propagator.step(state)


@pytest.mark.parametrize(
    ("spec", "factor", "cause"),
    [
        (
            {"bond_length_range": STRETCH},
            50.0,
            "the start is outside the training data",
        ),
        ({"max_displacement": 1e-3}, 1.0, "the start has bonds of .* another kind"),
        ({}, 1.0, "the model is at its limit, the start is within"),
        ({"bond_length_range": "just"}, 1.0, "a rare draw, .* policy 'redraw'"),
    ],
)
def test_the_likely_cause_is_named(monkeypatch, spec, factor, cause):
    positions = starts(CHAIN)
    typical = np.sqrt(np.square(np.diff(positions, axis=0)).sum(axis=1).mean())
    scale = typical * (3.0 if "max_displacement" in spec else 1.0)
    limits = {"length_scale": float(scale), **spec}
    longest = np.linalg.norm(np.diff(positions, axis=0), axis=1).max()
    if spec.get("bond_length_range") == "just":
        limits["bond_length_range"] = (0.0, float(longest / 1.3 * 1.001))
    propagator = Propagator(limited(**limits), CHAIN)
    if not spec or spec.get("bond_length_range") == "just":
        move = torch.zeros(5, 3, dtype=torch.float64)
        ends = int(np.linalg.norm(np.diff(positions, axis=0), axis=1).argmax())
        way = positions[ends + 1] - positions[ends]
        move[ends + 1 :] = torch.tensor(way * (0.01 if spec else 1e4))
        monkeypatch.setattr(propagator._stepper, "displacement", lambda *_: move)
        propagator._kick_deviation.zero_()
    with pytest.raises(GuardError, match=f"likely cause: {cause}"):
        propagator.step(propagator.start(positions * factor))


def test_limits_are_those_of_the_training_data_with_a_margin():
    """Half a margin below the first trip, nothing; as much above, a trip."""
    state = Propagator(limited(), CHAIN).start(starts(CHAIN))
    after = Propagator(limited(), CHAIN).step(state).positions.numpy()
    moved = np.linalg.norm(after - state.positions.numpy(), axis=1).max()
    gaps = np.linalg.norm(after[:, None] - after, axis=2)
    bonded = np.abs(np.subtract.outer(np.arange(5), np.arange(5))) == 1
    longest = gaps[bonded].max()
    shortest = gaps[~bonded & ~np.eye(5, dtype=bool)].min()
    for guard, name, limit in (
        ("displacement", "max_displacement", moved / 1.5),
        ("bond", "bond_length_range", longest / 1.3),
        ("overlap", "min_distance", shortest / 0.1),
    ):
        for factor in (0.999, 1.001):
            value = factor * limit
            setting = (0.0, value) if guard == "bond" else value
            propagator = Propagator(limited(**{name: setting}), CHAIN, guard="record")
            propagator.step(state)
            is_tripped = factor > 1.0 if guard == "overlap" else factor < 1.0
            assert propagator.guard_counts[guard] == int(is_tripped)


# --- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"guard": "ignore"},
            r"guard must be 'raise', 'stop', 'redraw' or 'record', got 'igno",
        ),
        ({"replica_ids": [0]}, r"one replica id per mapping is required, got 1 for 2"),
        ({"box": 9.0 * np.eye(3)}, r"trained in open boundaries, .* remove the box"),
    ],
)
def test_options_are_checked(model, options, message):
    with pytest.raises(ValueError, match=message):
        Propagator(model, [CHAIN, CHAIN], **options)


@pytest.mark.parametrize("device", ["mps", "banana", "cuda:99", "", "meta:x"])
def test_a_device_that_is_not_there(model, device):
    with pytest.raises(ValueError, match=f"the device '{device}' cannot be used"):
        Propagator(model, CHAIN, device=device)


def test_a_mapping_is_required(model):
    with pytest.raises(ValueError, match="at least one mapping is required, got none"):
        Propagator(model, [])


def test_a_periodic_model_wants_a_box():
    with pytest.raises(ValueError, match=r"trained in periodic boxes, .* give"):
        Propagator(learned(small_spec(periodic=True)), CHAIN)


def test_an_unknown_particle_type_is_named(model):
    graph = MolecularGraph.create("AXA", np.ones(3), [[0, 1], [1, 2]])
    mapping = Mapping.from_labels(graph, [0, 0, 1])
    with pytest.raises(ValueError, match=r"unknown particle type 'X' \(atom 1\)"):
        Propagator(model, [CHAIN, mapping])


@pytest.mark.parametrize("shape", [(9, 3), (10, 2), (2, 5, 3), (30,)])
def test_positions_of_another_shape_are_refused(model, shape):
    propagator = Propagator(model, [CHAIN, CHAIN])
    message = (
        r"positions must have shape \(10, 3\) for 10 beads in 2 replicas, got "
        + re.escape(str(shape))
    )
    with pytest.raises(ValueError, match=message):
        propagator.start(np.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 5, 3), (2, 4, 3), (5, 3)])
def test_displacements_of_another_shape_are_refused(model, shape):
    propagator = Propagator(model, CHAIN)
    with pytest.raises(ValueError, match=r"displacements must have shape \(2, 5, 3\)"):
        propagator.start(starts(CHAIN), displacements=np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(model, value):
    propagator = Propagator(model, CHAIN)
    bad = starts(CHAIN)
    bad[3, 1] = value
    with pytest.raises(ValueError, match=rf"positions\[3, 1\] = {value}"):
        propagator.start(bad)
    moves = np.zeros((2, 5, 3))
    moves[1, 4, 2] = value
    with pytest.raises(ValueError, match=rf"displacements\[1, 4, 2\] = {value}"):
        propagator.start(starts(CHAIN), displacements=moves)


@pytest.mark.parametrize("n_known", [9, -1, 0.5])
def test_history_counts_are_checked(model, n_known):
    with pytest.raises(ValueError, match="n_known must be whole numbers from 0 to 2"):
        Propagator(model, CHAIN).start(starts(CHAIN), n_known=n_known)


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, None, "3", 1.5, True, np.nan])
def test_a_seed_has_64_bits(model, seed):
    text = re.escape(f"the seed must be an integer of 64 bits, got {seed!r}")
    with pytest.raises(ValueError, match=text):
        Propagator(model, CHAIN, seed=seed)
    propagator = Propagator(model, CHAIN, seed=np.int64(3))
    with pytest.raises(ValueError, match=text):
        propagator.seed = seed
    assert propagator.seed == 3


def test_a_wrong_mass_is_refused(model):
    graph = MolecularGraph.create("AB", [12.011, 2.0], [[0, 1]])
    with pytest.raises(ValueError, match=r"'A' must have mass 1 Da .* has 12.011 Da"):
        Propagator(model, Mapping.from_labels(graph, [0, 0]))
