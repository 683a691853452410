import copy
import pickle
import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm import app, unit
from openmm_systems import (
    LEVELS,
    PLATFORMS,
    chain,
    loaded,
    platform,
    positions_of,
    simulate,
)

from cgml.models.file import load_model
from cgml.network.model import LearnedModel
from cgml.spec import ModelSpec
from openmm_cgml.integrator import LearnedCGIntegrator

everywhere = pytest.mark.parametrize("name", PLATFORMS)


def context_of(model, system, *, topology=None, **options) -> openmm.Context:
    integrator = LearnedCGIntegrator(
        loaded(model), topology=topology or chain().topology, **options
    )
    reference = openmm.Platform.getPlatformByName("Reference")
    return openmm.Context(system, integrator, reference)


def with_barostat(system):
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))


def with_membrane_barostat(system):
    barostat = openmm.MonteCarloMembraneBarostat
    system.addForce(barostat(1.0, 0.0, 300.0, barostat.XYIsotropic, barostat.ZFree))


def with_thermostat(system):
    system.addForce(openmm.AndersenThermostat(300.0, 1.0))


def with_virtual_site(system):
    system.setParticleMass(1, 0.0)
    system.setVirtualSite(1, openmm.TwoParticleAverageSite(0, 2, 0.5, 0.5))


def with_fixed_particle(system):
    system.setParticleMass(7, 0.0)


def with_particle(system):
    system.addParticle(1.0)
    system.getForce(1).addParticle(0.0, 1.0, 0.0)


def with_box(system):
    system.getForce(1).setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    system.setDefaultPeriodicBoxVectors([30, 0, 0], [0, 30, 0], [0, 0, 30])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (with_barostat, "has the force MonteCarloBarostat, .* remove it"),
        (with_membrane_barostat, "has the force MonteCarloMembraneBarostat"),
        (with_thermostat, "has the force AndersenThermostat"),
        (with_virtual_site, "must not join atoms: atom 1 of the topology has no mass"),
        (with_fixed_particle, "particle 7 is fixed by a mass of zero"),
        (with_particle, "60 atoms or 12 beads are required .*, got 61 particles"),
        (with_box, "open boundaries, the system has periodic boxes: remove the box"),
    ],
)
def test_system_that_a_model_cannot_move(tiny_model, change, match):
    system = chain().system
    change(system)
    with pytest.raises(ValueError, match=match):
        context_of(tiny_model, system)


def test_constraints_hide_bonds_from_a_system_alone(tiny_model):
    system = chain().system
    system.addConstraint(0, 1, 1.0)
    integrator = LearnedCGIntegrator(loaded(tiny_model), guard="record")
    with pytest.raises(ValueError, match=r"1 constraints, which hide bonds.*topology="):
        openmm.Context(system, integrator, platform("Reference"))


def test_thermostat_added_later(tiny_model):
    simulation = simulate(tiny_model)
    simulation.step(1)
    simulation.system.addForce(openmm.AndersenThermostat(300.0, 1.0))
    with pytest.raises(ValueError, match="has the force AndersenThermostat"):
        simulation.context.reinitialize(preserveState=True)
    with pytest.raises(ValueError, match="has the force AndersenThermostat"):
        simulation.step(1)


def periodic(model: LearnedModel) -> LearnedModel:
    """The same model, as if trained in boxes."""
    values = model.spec.model_dump() | {"periodic": True}
    return LearnedModel(ModelSpec.model_validate(values), model.module)


def test_no_box_for_a_model_of_boxes(tiny_model):
    built = chain()
    integrator = LearnedCGIntegrator(
        periodic(loaded(tiny_model)), topology=built.topology
    )
    with pytest.raises(ValueError, match="the system has open boundaries: give"):
        openmm.Context(built.system, integrator)


def test_box_in_the_topology_of_an_open_model(tiny_model):
    built = chain()
    built.topology.setUnitCellDimensions([30.0, 30.0, 30.0] * unit.nanometer)
    with pytest.raises(ValueError, match="the system has periodic boxes: remove"):
        context_of(tiny_model, built.system, topology=built.topology)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_that_are_not_finite(tiny_model, level, value):
    simulation = simulate(tiny_model, level)
    simulation.step(2)
    positions = positions_of(simulation)
    positions[3, 1] = value
    simulation.context.setPositions(positions)
    message = rf"positions must be finite, positions\[3, 1\] = {value}"
    with pytest.raises(ValueError, match=message):
        simulation.step(1)
    assert simulation.currentStep == 2


@pytest.mark.parametrize("level", LEVELS)
def test_positions_of_what_has_exploded(tiny_model, level):
    """As a minimisation may leave them."""
    simulation = simulate(tiny_model, level)
    positions = positions_of(simulation)
    positions[3, 1] = 2.13e93
    simulation.context.setPositions(positions)
    match = r"positions within 1e\+06 nm are required, one is 2.13e\+93 nm"
    with pytest.raises(ValueError, match=match):
        simulation.step(1)


def test_positions_that_nobody_set(tiny_model):
    simulation = simulate(tiny_model, start=False)
    with pytest.raises(ValueError, match=r"all are zero: call context.setPositions"):
        simulation.step(1)


@pytest.mark.parametrize("time_step", [0.002, 2 * unit.femtosecond, 20.1])
def test_time_step_that_is_not_the_model_s(tiny_model, time_step):
    with pytest.raises(ValueError, match=r"'tiny' is 20 ps and cannot be changed, got"):
        LearnedCGIntegrator(tiny_model, time_step=time_step)
    integrator = LearnedCGIntegrator(loaded(tiny_model))
    with pytest.raises(ValueError, match=r"'tiny' is 20 ps and cannot be changed, got"):
        integrator.setStepSize(time_step)
    assert integrator.getStepSize() == 20.0 * unit.picosecond


def test_time_step_of_the_model(tiny_model):
    for time_step in (20, 20.0 * unit.picosecond, 20000 * unit.femtosecond):
        LearnedCGIntegrator(loaded(tiny_model), time_step=time_step).setStepSize(20.0)


@pytest.mark.parametrize("seed", [None, "3", 1.5, True])
def test_seed_that_is_none(tiny_model, seed):
    with pytest.raises(ValueError, match=f"seed must be an integer.*, got {seed!r}"):
        LearnedCGIntegrator(loaded(tiny_model), seed=seed)


@pytest.mark.parametrize("seed", [-1, 2**53])
def test_seed_out_of_range(tiny_model, seed):
    with pytest.raises(ValueError, match=f"seed must be 0 to 9007.*, got {seed}"):
        LearnedCGIntegrator(loaded(tiny_model), seed=seed)


def test_missing_model(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.pt"):
        LearnedCGIntegrator(tmp_path / "nothing.pt")


def test_masses_that_do_not_determine_the_types(tiny_model):
    built = chain()
    integrator = LearnedCGIntegrator(loaded(tiny_model))
    with pytest.raises(ValueError, match=r"may be A or B or C or D.*: pass topology="):
        openmm.Context(built.system, integrator)


def test_masses_that_do(tiny_model):
    masses = {"A": 1.0, "B": 2.0, "C": 3.0, "D": 4.0}
    model = loaded(tiny_model)
    spec = model.spec.model_dump() | {"particle_types": masses}
    model = LearnedModel(ModelSpec.model_validate(spec), model.module)
    built = chain()
    for i, letter in enumerate(built.sequences[0]):
        built.system.setParticleMass(i, masses[letter])
    simulations = [
        app.Simulation(
            built.topology,
            built.system,
            LearnedCGIntegrator(model, guard="record", topology=topology),
            openmm.Platform.getPlatformByName("Reference"),
        )
        for topology in (None, built.topology)
    ]
    for simulation in simulations:
        simulation.context.setPositions(built.positions)
        simulation.step(3)
    np.testing.assert_array_equal(*map(positions_of, simulations))


def test_topology_without_bonds(tiny_model):
    topology = app.Topology()
    residue = topology.addResidue("R", topology.addChain())
    topology.addAtom("A", None, residue)
    with pytest.raises(ValueError, match="topology of 1 atom has no bonds"):
        LearnedCGIntegrator(loaded(tiny_model), topology=topology)


def test_topology_with_an_unknown_type(tiny_model):
    topology = chain().topology
    next(topology.atoms()).name = "Q"
    with pytest.raises(ValueError, match=r"type 'Q' \(atom 0\): .* A, B, C, D"):
        LearnedCGIntegrator(loaded(tiny_model), topology=topology)
    next(topology.atoms()).element = app.Element.getBySymbol("He")
    with pytest.raises(ValueError, match=r"type 'He' \(atom 0\): .* A, B, C, D"):
        LearnedCGIntegrator(loaded(tiny_model), topology=topology)


def test_topology_of_another_kind(tiny_model):
    with pytest.raises(TypeError, match=r"topology must be an .*, got builtins.str"):
        LearnedCGIntegrator(loaded(tiny_model), topology="chain.pdb")


def test_use_before_there_is_a_context(tiny_model):
    integrator = LearnedCGIntegrator(loaded(tiny_model))
    for use in (lambda: integrator.step(1), lambda: integrator.setHistory([])):
        with pytest.raises(RuntimeError, match="drives no Context: make a Simulation"):
            use()


def test_two_contexts(tiny_model):
    simulation = simulate(tiny_model)
    with pytest.raises(ValueError, match="already belongs to a Context: build another"):
        openmm.Context(chain().system, simulation.integrator)
    simulation.step(1)  # the first is not harmed


def test_inside_a_compound_integrator(tiny_model):
    compound = openmm.CompoundIntegrator()
    inner = LearnedCGIntegrator(loaded(tiny_model), topology=chain().topology)
    compound.addIntegrator(openmm.VerletIntegrator(0.01))
    compound.addIntegrator(inner)
    with pytest.raises(ValueError, match="one inside a CompoundIntegrator"):
        openmm.Context(chain().system, compound)
    with pytest.raises(RuntimeError, match="not a CompoundIntegrator or a copy"):
        inner.step(1)


def test_copy_through_xml(tiny_model):
    integrator = LearnedCGIntegrator(loaded(tiny_model), topology=chain().topology)
    twin = openmm.XmlSerializer.clone(integrator)
    assert not isinstance(twin, LearnedCGIntegrator)
    with pytest.raises(ValueError, match="a copy of one made through XML"):
        openmm.Context(chain().system, twin)


@pytest.mark.parametrize("twice", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copies_in_python(tiny_model, twice):
    integrator = LearnedCGIntegrator(loaded(tiny_model))
    with pytest.raises(TypeError, match="cannot be copied or pickled: build another"):
        twice(integrator)


@everywhere
def test_copy_where_the_package_is_not_loaded_goes_nan(tiny_model, tmp_path, name):
    path = tmp_path / "integrator.xml"
    integrator = LearnedCGIntegrator(loaded(tiny_model), topology=chain().topology)
    path.write_text(openmm.XmlSerializer.serialize(integrator))
    script = f"""
import numpy as np, openmm, pathlib
text = pathlib.Path({str(path)!r}).read_text()
integrator = openmm.XmlSerializer.deserialize(text)
system = openmm.System()
for _ in range(5):
    system.addParticle(1.0)
platform = openmm.Platform.getPlatformByName({name!r})
context = openmm.Context(system, integrator, platform)
context.setPositions(np.ones((5, 3)))
integrator.step(1)
positions = context.getState(positions=True).getPositions(asNumpy=True)
assert np.isnan(positions._value).all(), positions
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@everywhere
def test_step_in_cpp_behind_python_s_back_goes_nan(tiny_model, name):
    simulation = simulate(tiny_model, "beads", name)
    simulation.step(3)
    openmm.CustomIntegrator.step(simulation.integrator, 1)
    assert np.isnan(positions_of(simulation)).all()
    with pytest.raises(ValueError, match="positions must be finite"):
        simulation.step(1)


@pytest.mark.parametrize("shape", [(2, 59, 3), (60, 3)])
def test_history_of_another_shape(tiny_model, shape):
    simulation = simulate(tiny_model)
    message = r"\(n_frames, 60, 3\) are required, got "
    with pytest.raises(ValueError, match=message):
        simulation.integrator.setHistory(np.zeros(shape))


def test_importing_patches_nothing():
    script = """
import openmm
before = openmm.Context.__init__
import openmm_cgml
assert openmm.Context.__init__ is before
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == 0


def test_other_integrators_are_left_alone(tiny_model):
    simulate(tiny_model)
    built = chain()
    integrator = openmm.CustomIntegrator(0.01)
    integrator.addGlobalVariable("other", 0.0)
    context = openmm.Context(built.system, integrator)
    context.setPositions(built.positions)
    integrator.step(1)
    assert load_model(tiny_model).spec.name == "tiny"
