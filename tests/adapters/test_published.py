"""A published model in both engines: restarts to the bit, forces, refusals."""

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.io import read
from graphwm_files import CHAIN, MELT, hyper_parameters, random_weights, write
from openmm import app
from openmm_systems import positions_of

from ase_cgml import CGMLDynamics, bead_atoms
from cgml.dynamics.propagator import Propagator
from cgml.models.conversion import Origin, import_checkpoint
from cgml.models.file import load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel
from openmm_cgml import LearnedCGIntegrator
from openmm_cgml.beads import bead_system, bead_topology

BOX = np.array([[2.2, 0.0, 0.0], [0.4, 2.0, 0.0], [-0.3, 0.5, 2.1]])
GRAPH = MolecularGraph.create(
    ["C", "C", "O", "C", "C", "O", "Li"],
    [12.011, 12.011, 15.999, 12.011, 12.011, 15.999, 6.94],
    [(i, i + 1) for i in range(5)],
    ["1", "3", "3", "1", "3"],
)
MAPPING = Mapping.from_labels(GRAPH, [0, 0, 1, 1, 2, 2, 3])


def imported(folder, parameters, **options) -> LearnedModel:
    weights, settings = random_weights(parameters), hyper_parameters(parameters)
    source = write(
        folder / "a.ckpt", {"state_dict": weights, "hyper_parameters": settings}
    )
    origin = Origin(frame_spacing=2.0, temperature=353.0, **options)
    import_checkpoint(source, folder / "a.pt", origin)
    return load_model(folder / "a.pt")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LearnedModel:
    return imported(tmp_path_factory.mktemp("model"), MELT, periodic=True)


def places() -> np.ndarray:
    return np.random.default_rng(5).uniform(0.0, 2.0, (4, 3))


def simulate(model: LearnedModel) -> app.Simulation:
    simulation = app.Simulation(
        bead_topology(MAPPING, BOX),
        bead_system(MAPPING, BOX),
        LearnedCGIntegrator(model, topology=MAPPING, seed=3),
        openmm.Platform.getPlatformByName("Reference"),
    )
    simulation.context.setPositions(places())
    return simulation


def beads(model: LearnedModel, positions: np.ndarray) -> Atoms:
    atoms = bead_atoms(Atoms("H" * 7, cell=BOX * 10.0, pbc=True), MAPPING)
    atoms.positions = positions * 10.0
    atoms.calc = CGMLDynamics(model, topology=MAPPING, seed=3)
    return atoms


def test_a_checkpoint_of_openmm_goes_on_to_the_bit(model, tmp_path):
    simulation = simulate(model)
    simulation.step(2)
    simulation.saveCheckpoint(str(tmp_path / "a.chk"))
    simulation.step(3)
    other = simulate(model)
    other.loadCheckpoint(str(tmp_path / "a.chk"))
    other.step(3)
    assert np.array_equal(positions_of(other), positions_of(simulation))
    assert simulation.integrator.getStepSize()._value == 2.0


def test_a_trajectory_of_ase_goes_on_to_the_bit(model, tmp_path):
    atoms = beads(model, places())
    atoms.calc.dynamics(atoms, trajectory=str(tmp_path / "a.traj")).run(2)
    atoms.calc.dynamics(atoms).run(3)
    again = read(tmp_path / "a.traj")
    again.calc = CGMLDynamics(model, topology=MAPPING, seed=3)
    again.calc.dynamics(again).run(3)
    assert np.array_equal(again.positions, atoms.positions)


def test_forces_of_ase_are_those_of_the_core(model):
    expected = Propagator(model, MAPPING, box=BOX).mean_forces(places())
    in_ase = 0.01036426965 / 10.0  # eV per kJ/mol, nm per Angstrom
    found = beads(model, places()).get_forces()
    np.testing.assert_allclose(found, expected * in_ase, rtol=1e-5)


def test_forces_without_a_score_network_are_refused(tmp_path):
    parameters = MELT | {"name": "gns"}
    model = imported(tmp_path, parameters, periodic=True)
    with pytest.raises(ValueError, match="score network is required for forces"):
        beads(model, places()).get_forces()


def test_boundaries_are_those_given_at_the_import(model, tmp_path):
    with pytest.raises(ValueError, match="was trained in periodic boxes"):
        Propagator(model, MAPPING)
    chain = imported(tmp_path, CHAIN, periodic=False, length_unit=1.0)
    with pytest.raises(ValueError, match="was trained in open boundaries"):
        Propagator(chain, MAPPING, box=BOX)
