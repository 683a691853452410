import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from openmm_systems import (
    LEVELS,
    PLATFORMS,
    as_mapping,
    chain,
    loaded,
    positions_of,
    simulate,
    velocities_of,
)

from cgml.dynamics.guards import DISPLACEMENT_MARGIN, GuardError
from cgml.dynamics.propagator import Propagator
from cgml.molecules.carriage import Carriage
from cgml.network.model import LearnedModel
from cgml.spec import ModelSpec
from openmm_cgml.integrator import LearnedCGIntegrator

everywhere = pytest.mark.parametrize("name", PLATFORMS)
on_both_levels = pytest.mark.parametrize("level", LEVELS)


def core_frames(model, mapping, start, n_steps, *, seed=0):
    """Beads of a run in the core, (n_steps, n_beads, 3), nm."""
    propagator = Propagator(loaded(model), mapping, seed=seed, guard="record")
    state = propagator.start(start)
    frames = []
    for _ in range(n_steps):
        state = propagator.step(state)
        frames.append(state.positions.numpy().copy())
    return np.array(frames)


@everywhere
def test_beads_go_the_way_of_the_core(tiny_model, name):
    simulation = simulate(tiny_model, "beads", name, seed=3)
    start = positions_of(simulation)
    frames = core_frames(tiny_model, as_mapping(simulation), start, 25, seed=3)
    simulation.step(25)
    np.testing.assert_array_equal(positions_of(simulation), frames[-1])


@everywhere
def test_atoms_are_carried_with_their_beads(tiny_model, name):
    simulation = simulate(tiny_model, "atoms", name)
    mapping = as_mapping(simulation)
    start = positions_of(simulation)
    frames = core_frames(tiny_model, mapping, mapping.positions(start), 25)
    simulation.step(25)
    atoms = positions_of(simulation)
    np.testing.assert_allclose(mapping.positions(atoms), frames[-1], atol=1e-12)
    carriage = Carriage(mapping, start)
    np.testing.assert_allclose(atoms, carriage.place(frames[-1]), atol=1e-12)


@on_both_levels
def test_path_does_not_depend_on_the_size_of_the_calls(tiny_model, level):
    one, other = (simulate(tiny_model, level) for _ in range(2))
    one.integrator.step(23)
    for n_steps in (1, 0, 10, 5, 7):
        other.integrator.step(n_steps)
    np.testing.assert_array_equal(positions_of(one), positions_of(other))
    assert one.currentStep == other.currentStep == 23


@everywhere
@on_both_levels
def test_time_step_count_and_velocities(tiny_model, name, level):
    simulation = simulate(tiny_model, level, name)
    mapping = as_mapping(simulation)
    is_of_atoms = level == "atoms"
    simulation.step(11)
    before = positions_of(simulation)
    simulation.step(1)
    assert simulation.currentStep == 12
    assert simulation.context.getTime() == 240.0 * unit.picosecond
    moves = positions_of(simulation) - before
    if is_of_atoms:  # that of its bead, though it may turn
        moves = mapping.positions(moves)[mapping.bead_index]
    expected = moves / 20.0
    np.testing.assert_allclose(velocities_of(simulation), expected, atol=1e-12)


def test_seeds_choose_the_path(tiny_model):
    ends = []
    for seed in (0, 0, 1, 2**53 - 1):
        simulation = simulate(tiny_model, seed=seed)
        simulation.step(3)
        ends.append(positions_of(simulation))
        assert simulation.integrator.getRandomNumberSeed() == seed
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])
    assert not np.array_equal(ends[2], ends[3])
    simulation = simulate(tiny_model, seed=5)
    simulation.integrator.setRandomNumberSeed(1)
    simulation.step(3)
    np.testing.assert_array_equal(positions_of(simulation), ends[2])


def test_global_random_state_is_not_touched(tiny_model):
    simulation = simulate(tiny_model)
    state = torch.random.get_rng_state()
    simulation.step(2)
    assert torch.equal(state, torch.random.get_rng_state())


@everywhere
def test_new_positions_forget_the_history(tiny_model, name):
    simulation = simulate(tiny_model, "beads", name)
    start = positions_of(simulation)
    simulation.step(5)
    simulation.context.setPositions(start)
    simulation.step(1)
    propagator = Propagator(loaded(tiny_model), as_mapping(simulation), guard="record")
    # no displacement is known, and the random numbers go on
    expected = propagator.step(propagator.start(start, step=5)).positions.numpy()
    np.testing.assert_array_equal(positions_of(simulation), expected)
    unknown_lost = propagator.start(start, displacements=start[None] * 0.01, step=5)
    assert not np.array_equal(expected, propagator.step(unknown_lost).positions.numpy())


@on_both_levels
def test_the_same_positions_again_change_nothing(tiny_model, level):
    one, other = (simulate(tiny_model, level) for _ in range(2))
    one.step(8)
    other.step(4)
    other.context.setPositions(positions_of(other))
    other.step(4)
    np.testing.assert_array_equal(positions_of(one), positions_of(other))


@everywhere
@on_both_levels
def test_a_true_history_continues_a_run(tiny_model, name, level):
    simulation = simulate(tiny_model, level, name)
    mapping = as_mapping(simulation)

    def beads_of(run):
        places = positions_of(run)
        return places if level == "beads" else mapping.positions(places)

    simulation.step(4)
    earlier = [positions_of(simulation)]
    simulation.step(1)
    earlier.append(positions_of(simulation))
    simulation.step(1)
    now = positions_of(simulation)
    state = simulation.context.getState(integratorParameters=True)
    simulation.step(3)
    fresh = simulate(tiny_model, level, name)
    fresh.context.setState(state)  # for the step that selects the random numbers
    fresh.context.setPositions(now)
    fresh.integrator.setHistory(np.array(earlier) * 10 * unit.angstrom)
    fresh.step(3)
    np.testing.assert_allclose(beads_of(fresh), beads_of(simulation), atol=1e-5)
    # and without it the path is another
    fresh.context.setState(state)
    fresh.context.setPositions(now)
    fresh.integrator.setHistory([])
    fresh.step(3)
    difference = np.abs(positions_of(fresh) - positions_of(simulation)).max()
    assert difference > 1e-3


def test_time_and_step_count_are_labels(tiny_model):
    one, other = (simulate(tiny_model) for _ in range(2))
    one.step(6)
    other.step(3)
    other.context.setTime(1000.0)
    other.context.setStepCount(500)
    other.step(3)
    np.testing.assert_array_equal(positions_of(one), positions_of(other))
    assert other.context.getTime() == 1060.0 * unit.picosecond
    assert other.currentStep == 503


@everywhere
@on_both_levels
def test_reinitialize_keeps_the_run(tiny_model, name, level):
    one, other = (simulate(tiny_model, level, name) for _ in range(2))
    one.step(6)
    other.step(3)
    other.system.addForce(openmm.CMMotionRemover())
    other.context.reinitialize(preserveState=True)
    other.step(3)
    np.testing.assert_array_equal(positions_of(one), positions_of(other))
    assert other.currentStep == 6


def test_reinitialize_without_state_is_a_new_start(tiny_model):
    one, other = (simulate(tiny_model) for _ in range(2))
    start = positions_of(one)
    one.step(3)
    other.step(3)
    one.context.reinitialize()
    for simulation in (one, other):
        simulation.context.setPositions(start)
        simulation.step(3)
    np.testing.assert_array_equal(positions_of(one), positions_of(other))


def test_temperature_is_the_model_s(tiny_model):
    integrator = LearnedCGIntegrator(tiny_model, topology=chain().topology)
    assert integrator.computeSystemTemperature() == 120.272 * unit.kelvin
    assert integrator.getTemperature() == 120.272 * unit.kelvin
    integrator.setTemperature(120.272 * unit.kelvin)
    with pytest.raises(
        ValueError, match=r"is 120.272 K and cannot be changed, got 300"
    ):
        integrator.setTemperature(300.0)


def guarded(model, frames):
    """The model with a displacement guard that trips on these frames, and the step."""
    moves = np.linalg.norm(np.diff(frames, axis=0), axis=2).max(axis=1)
    trip = next(i for i in range(1, len(moves)) if moves[i] > moves[:i].max())
    limit = 0.5 * (moves[trip] + moves[:trip].max()) / DISPLACEMENT_MARGIN
    values = model.spec.model_dump()
    values["statistics"]["max_displacement"] = limit
    return LearnedModel(ModelSpec.model_validate(values), model.module), trip + 1


@on_both_levels
def test_guard_stops_at_the_last_good_step(tiny_model, level):
    other = simulate(tiny_model, level)
    mapping = as_mapping(other)
    start = mapping.positions(chain().positions)
    frames = [start, *core_frames(tiny_model, mapping, start, 30)]
    model, step = guarded(loaded(tiny_model), frames)
    simulation = simulate(model, level, guard="raise")
    with pytest.raises(GuardError, match=f"stopped replica 0 at step {step}"):
        simulation.step(30)
    assert simulation.currentStep == step - 1
    assert sum(simulation.integrator.getGuardCounts().values()) == 1
    other.step(step - 1)
    np.testing.assert_array_equal(positions_of(simulation), positions_of(other))


def test_given_mapping_is_used(tiny_model):
    built = chain()
    mapping = LearnedCGIntegrator(tiny_model, topology=built.topology).getMapping()
    labels = mapping.bead_index[::-1].copy()
    own = type(mapping).from_labels(mapping.graph, labels)
    simulation = simulate(tiny_model, "atoms", topology=own)
    assert as_mapping(simulation) is own
    simulation.step(2)
    by_graph = simulate(tiny_model, topology=mapping.graph)
    assert by_graph.integrator.getMapping().hash() == mapping.hash()
