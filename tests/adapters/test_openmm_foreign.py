"""Checkpoints and states that are not those of this run: nothing silent."""

import warnings

import numpy as np
import openmm
import pytest
import torch
from openmm import XmlSerializer, app
from openmm_systems import PLATFORMS, chain, loaded, platform, positions_of, simulate

from cgml.network.model import LearnedModel

everywhere = pytest.mark.parametrize("name", PLATFORMS)


def langevin(name: str) -> app.Simulation:
    """Equilibrate with forces, as everyone does before."""
    built = chain()
    integrator = openmm.LangevinMiddleIntegrator(120.272, 0.5, 0.01)
    integrator.setRandomNumberSeed(3)
    simulation = app.Simulation(
        built.topology, built.system, integrator, platform(name)
    )
    simulation.context.setPositions(built.positions)
    simulation.step(10)
    return simulation


def custom(name: str) -> app.Simulation:
    """An integrator with as many variables as ours, of other values."""
    built, integrator = chain(), openmm.CustomIntegrator(0.01)
    for index, value in enumerate((3.7, -2.2, 7.0, 1.0, 12345.0, 9.0)):
        integrator.addGlobalVariable(f"g{index}", value)
    for index in range(9):
        integrator.addPerDofVariable(f"p{index}", 1.5)
    integrator.addComputePerDof("x", "x + 0.001 * v")
    simulation = app.Simulation(
        built.topology, built.system, integrator, platform(name)
    )
    simulation.context.setPositions(built.positions)
    simulation.step(2)
    return simulation


def fresh(model, name: str, positions: np.ndarray, seed: int) -> np.ndarray:
    simulation = simulate(model, name=name, start=False, seed=seed)
    simulation.context.setPositions(positions)
    simulation.step(3)
    return positions_of(simulation)


@everywhere
@pytest.mark.parametrize("source", [langevin, custom])
@pytest.mark.parametrize("suffix", ["chk", "xml"])
def test_foreign_files_leave_the_seed_in_force(
    tiny_model, tmp_path, name, source, suffix
):
    path, before = str(tmp_path / f"eq.{suffix}"), source(name)
    save = {"chk": before.saveCheckpoint, "xml": before.saveState}[suffix]
    save(path)
    for seed in (1, 2):
        simulation = simulate(tiny_model, name=name, start=False, seed=seed)
        load = {"chk": simulation.loadCheckpoint, "xml": simulation.loadState}[suffix]
        with pytest.warns(UserWarning, match=r"another integrator.*without history"):
            (load(path), simulation.step(1))
        assert simulation.integrator.getRandomNumberSeed() == seed
        assert simulation.currentStep == before.currentStep + 1
        simulation.step(2)
        expected = fresh(tiny_model, name, positions_of(before), seed)
        np.testing.assert_allclose(positions_of(simulation), expected, atol=1e-4)


def test_foreign_file_after_steps_of_ours(tiny_model, tmp_path):
    before = langevin("Reference")
    before.saveCheckpoint(str(tmp_path / "eq.chk"))
    simulation = simulate(tiny_model, seed=1)
    simulation.step(2)
    simulation.integrator.setRandomNumberSeed(5)
    simulation.loadCheckpoint(str(tmp_path / "eq.chk"))
    with pytest.warns(UserWarning, match="seed 5 stays"):
        simulation.step(3)
    expected = fresh(tiny_model, "Reference", positions_of(before), 5)
    np.testing.assert_array_equal(positions_of(simulation), expected)


@everywhere
def test_integrator_swapped_by_positions_and_by_state(tiny_model, tmp_path, name):
    """The documented ways, without a warning."""
    before = langevin(name)
    state = before.context.getState(positions=True)
    expected = fresh(tiny_model, name, positions_of(before), 4)
    text = XmlSerializer.serialize(state)
    simulation = simulate(tiny_model, name=name, start=False, seed=4)
    simulation.context.setState(state=XmlSerializer.deserialize(text))
    simulation.step(3)
    np.testing.assert_allclose(positions_of(simulation), expected, atol=1e-4)
    before.saveState(str(tmp_path / "eq.xml"))
    state = XmlSerializer.deserialize((tmp_path / "eq.xml").read_text())
    simulation = simulate(tiny_model, name=name, start=False, seed=4)
    simulation.context.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())
    simulation.context.setPositions(state.getPositions())
    simulation.step(3)
    np.testing.assert_allclose(positions_of(simulation), expected, atol=1e-4)


def test_state_of_another_system_says_what_to_do(tiny_model):
    """Equilibrated at constant pressure: the barostat's parameter is not known here."""
    built = chain()
    built.system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    built.system.setDefaultPeriodicBoxVectors(*(60.0 * np.eye(3)))
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    for _ in range(built.system.getNumParticles()):
        force.addParticle(0.0, 0.1, 0.0)
    built.system.addForce(force)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001)
    before = openmm.Context(built.system, integrator, platform("Reference"))
    before.setPositions(built.positions)
    state = before.getState(positions=True, parameters=True)
    simulation = simulate(tiny_model)
    with pytest.raises(openmm.OpenMMException, match=r"context\.setPositions\(state"):
        simulation.context.setState(state)


def other_weights(path) -> LearnedModel:
    model = loaded(path)
    state = {name: value.clone() for name, value in model.module.state_dict().items()}
    name = next(name for name in state if name.startswith("predictor"))
    state[name] = state[name] + 1e-3
    from cgml.network.model import Model

    module = Model(model.spec).eval()
    module.load_state_dict(state)
    return LearnedModel(model.spec, module.requires_grad_(requires_grad=False))


@pytest.mark.parametrize("suffix", ["chk", "xml"])
def test_checkpoint_of_other_weights_is_refused(tiny_model, tmp_path, suffix):
    path = str(tmp_path / f"a.{suffix}")
    simulation = simulate(tiny_model)
    simulation.step(2)
    {"chk": simulation.saveCheckpoint, "xml": simulation.saveState}[suffix](path)
    other = simulate(other_weights(tiny_model), start=False)
    {"chk": other.loadCheckpoint, "xml": other.loadState}[suffix](path)
    with pytest.raises(ValueError, match="with these weights"):
        other.step(1)


def test_digest_knows_weights_and_spec(tiny_model):
    model = loaded(tiny_model)
    assert model.digest == LearnedModel(model.spec, model.module).digest
    assert model.digest != other_weights(tiny_model).digest
    renamed = model.spec.model_copy(update={"temperature": 121.0})
    assert model.digest != LearnedModel(renamed, model.module).digest
    told = model.spec.model_copy(update={"provenance": {"made": "elsewhere"}})
    assert model.digest == LearnedModel(told, model.module).digest
    assert isinstance(next(iter(model.module.state_dict().values())), torch.Tensor)


def outcome(model, path, expected: np.ndarray) -> str:
    """Load a damaged file and step: "refused", "said", "same" or "silent"."""
    simulation = simulate(model, start=False, seed=8)
    is_state = path.suffix == ".xml"
    load = simulation.loadState if is_state else simulation.loadCheckpoint
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            load(str(path))
            simulation.step(2)
        except (ValueError, openmm.OpenMMException):
            return "refused"
    if said:
        return "said"
    same = np.array_equal(positions_of(simulation), expected)
    return "same" if same else "silent"


@pytest.fixture(params=["chk", "xml"])
def written(tiny_model, tmp_path, request):
    """A file after three steps, and the positions after two more."""
    simulation, path = simulate(tiny_model, seed=6), tmp_path / f"a.{request.param}"
    simulation.step(3)
    save = {"chk": simulation.saveCheckpoint, "xml": simulation.saveState}
    save[request.param](str(path))
    simulation.step(2)
    return path, positions_of(simulation)


def test_checkpoints_cut_short(tiny_model, written):
    path, expected = written
    content = path.read_bytes()
    assert outcome(tiny_model, path, expected) == "same"
    found = []
    for part in np.linspace(0.02, 0.999, 12):
        path.write_bytes(content[: int(part * len(content))])
        found.append(outcome(tiny_model, path, expected))
    assert "silent" not in found
    assert found.count("same") <= 4  # where but zeros are lost
    assert found.count("said") <= 4  # before our variables: as from another integrator


def test_checkpoints_with_a_flipped_bit(tiny_model, written):
    path, expected = written
    content, stream = path.read_bytes(), np.random.default_rng(5)
    found = []
    for place in stream.integers(0, len(content), 24).tolist():
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(stream.integers(8))
        path.write_bytes(bytes(flipped))
        found.append(outcome(tiny_model, path, expected))
    assert set(found) == {"refused", "same"}  # same: it hit what is not used


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("IntegratorParameters", "IntegratorParameTers"),
        ('cgml_step="3"', 'cgml_step="2"'),
        ('cgml_seed="6"', 'cgml_seed="7"'),
        ("cgml_key", "cgml_kex"),
        ('<Position x="-', '<Position x="'),
    ],
)
def test_states_of_which_a_word_was_changed(tiny_model, tmp_path, before, after):
    simulation, path = simulate(tiny_model, seed=6), tmp_path / "a.xml"
    simulation.step(3)
    simulation.saveState(str(path))
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    simulation.step(2)
    assert outcome(tiny_model, path, positions_of(simulation)) in {"refused", "said"}


def test_positions_set_by_hand_before_saving_are_taken_when_asked(tiny_model, tmp_path):
    simulation = simulate(tiny_model, seed=6)
    simulation.step(3)
    simulation.context.setPositions(positions_of(simulation) * 1.001)
    simulation.saveCheckpoint(str(tmp_path / "a.chk"))
    simulation.step(2)
    again = simulate(tiny_model, start=False)
    with pytest.raises(
        ValueError, match=r"do not fit each other; .*setHistory\(\[\]\)"
    ):
        again.loadCheckpoint(str(tmp_path / "a.chk"))
    again.integrator.setHistory([])
    again.step(2)
    np.testing.assert_array_equal(positions_of(again), positions_of(simulation))


def test_a_checkpoint_that_ends_in_the_positions(tiny_model, written):
    path, _ = written
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(openmm.OpenMMException, match="this one has 200: it is cut"):
        simulate(tiny_model, start=False).loadCheckpoint(str(path))
