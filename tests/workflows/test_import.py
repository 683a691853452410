"""`cgml import`: a published checkpoint becomes a model that runs everywhere."""

import os

import numpy as np
import openmm
import pytest
from ase import Atoms
from graphwm_files import CHAIN, MELT, hyper_parameters, random_weights, write
from lammps_files import BRICK, data_text
from openmm import app, unit

from ase_cgml import CGMLDynamics, bead_atoms
from cgml.dynamics.propagator import Propagator
from cgml.models.file import load_model, read_spec
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.training.coarsening import Coarsening
from cgml.training.preparation import read_systems
from openmm_cgml import LearnedCGIntegrator
from openmm_cgml.beads import bead_system, bead_topology

SMALL = MELT | {"cg_level": 2, "num_btypes": 8, "step_size": 1e-3}


def checkpoint(path, parameters, weights=None):
    content = {
        "state_dict": random_weights(parameters) if weights is None else weights,
        "hyper_parameters": hyper_parameters(parameters),
    }
    return write(path, content)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A LAMMPS data file of two alcohols and two ions."""
    path = tmp_path_factory.mktemp("lammps") / "melt.data"
    path.write_text(data_text(2.0 * BRICK))  # bonds of beads are below half of it
    return path


@pytest.fixture
def model(cgml, tmp_path):
    source = checkpoint(tmp_path / "melt.ckpt", SMALL)
    result = cgml(
        *("import", "graphwm", source, "-o", tmp_path / "melt.pt"),
        *("--frame-spacing", 4, "--temperature", 353),
    )
    assert result.exit_code == 0, result.output
    assert "step 4 ps, 3 earlier displacements" in " ".join(result.output.split())
    return tmp_path / "melt.pt"


def test_what_the_file_says(model):
    spec = read_spec(model)
    assert (spec.name, spec.time_step, spec.n_history) == ("melt", 4.0, 3)
    assert spec.cutoff == pytest.approx(0.6)
    assert (spec.periodic, spec.has_property) == (True, False)
    assert spec.particle_types["Li"] == 6.94


def test_it_runs_from_lammps_files(cgml, model, start, tmp_path):
    output = tmp_path / "run"
    result = cgml(
        *("run", model, start, "--time", 12, "--output", output),
        *("--format", "h5md", "--replicas", 2),
    )
    assert result.exit_code == 0, result.output
    assert len(list(output.glob("*.h5md"))) == 2


def test_core_openmm_and_ase_go_the_same_way(model, start):
    learned = load_model(model)
    (system,) = read_systems([start], None, Coarsening.from_spec(learned.spec))
    mapping, box = system.mapping, system.box
    begin = system.positions[0].astype(np.float64)
    propagator = Propagator(learned, mapping, box=box, seed=3)
    state = propagator.start(begin)
    for _ in range(3):
        state = propagator.step(state)
    expected = state.positions.numpy()
    assert np.isfinite(expected).all()

    integrator = LearnedCGIntegrator(learned, topology=mapping, seed=3)
    beads = bead_system(mapping, box)
    simulation = app.Simulation(
        bead_topology(mapping, box),
        beads,
        integrator,
        openmm.Platform.getPlatformByName("Reference"),
    )
    simulation.context.setPositions(begin)
    simulation.step(3)
    found = simulation.context.getState(positions=True).getPositions(asNumpy=True)
    found = found.value_in_unit(unit.nanometer)
    np.testing.assert_allclose(found, expected, atol=1e-5)

    first = system.first_atoms.astype(np.float64) * 10.0
    atoms = Atoms("H" * len(first), first, cell=box * 10.0, pbc=True)
    atoms = bead_atoms(atoms, mapping)
    atoms.calc = CGMLDynamics(learned, topology=mapping, seed=3)
    atoms.calc.dynamics(atoms).run(3)
    np.testing.assert_allclose(atoms.positions / 10.0, expected, atol=1e-4)
    assert np.isfinite(atoms.get_forces()).all()


def test_a_replica_alone_is_as_in_a_batch(model, start):
    learned = load_model(model)
    (system,) = read_systems([start], None, Coarsening.from_spec(learned.spec))
    begin = system.positions[0].astype(np.float64)
    both = Propagator(learned, [system.mapping] * 2, box=system.box, seed=1)
    together = both.step(both.start(np.tile(begin, (2, 1)))).positions
    alone = Propagator(learned, system.mapping, box=system.box, seed=1, replica_ids=[1])
    one = alone.step(alone.start(begin)).positions
    np.testing.assert_allclose(together[both.slices[1]], one, atol=1e-6)


def test_units_of_a_model_without_networks(cgml, tmp_path):
    """All weights zero: ballistic motion and noise of a known size, in nm."""
    weights = {key: 0.0 * value for key, value in random_weights(CHAIN).items()}
    source = checkpoint(tmp_path / "zero.ckpt", CHAIN, weights)
    arguments = ("import", "graphwm", source, "-o", tmp_path / "zero.pt", "--open")
    missing = cgml(*arguments)
    assert missing.exit_code == 1
    assert "say what it is in nm" in " ".join(missing.output.split())
    result = cgml(*arguments, "--length-unit", 2.0, "--frame-spacing", 5)
    assert result.exit_code == 0, result.output
    graph = MolecularGraph.create(
        ["1"] * 600, np.ones(600), [(i, i + 1) for i in range(599)]
    )
    mapping = Mapping.from_labels(graph, np.arange(600) // 3)
    propagator = Propagator(load_model(tmp_path / "zero.pt"), mapping, seed=2)
    begin = np.random.default_rng(0).normal(size=(200, 3))
    moves = np.zeros((3, 200, 3))
    moves[0] = [0.5, 0.0, -1.0]
    state = propagator.step(propagator.start(begin, displacements=moves))
    noise = (state.positions.numpy() - begin - moves[0]).ravel()
    deviation = 2.0 * (0.1 + np.log(2.0))  # length unit (min_std + softplus(0))
    assert abs(noise.mean()) < 4.0 * deviation / 600**0.5
    assert noise.std() == pytest.approx(deviation, rel=4.0 / (2 * 600) ** 0.5)
    with pytest.raises(ValueError, match="score network is required for forces"):
        propagator.mean_forces(begin)


class Malicious:
    """Runs a command when a careless reader unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_malicious_checkpoint_is_refused_and_runs_nothing(cgml, tmp_path):
    trace = tmp_path / "was_here"
    content = {
        "state_dict": random_weights(SMALL),
        "hyper_parameters": Malicious(trace),
    }
    source = write(tmp_path / "bad.ckpt", content)
    result = cgml("import", "graphwm", source, "-o", tmp_path / "bad.pt")
    assert result.exit_code == 1
    assert "system" in result.output
    assert not trace.exists()
    assert not (tmp_path / "bad.pt").exists()
