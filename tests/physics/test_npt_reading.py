"""A run at constant pressure, read into its mean box, is the run at that volume."""

from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

from cgml.formats.trajectory import Trajectory, read
from cgml.molecules.centres import centres_of_mass
from cgml.molecules.graph import MolecularGraph
from cgml.observables.structure import radial_distribution
from cgml.observables.transport import mean_squared_displacement, remove_drift

N_SIDE, BOND, MASS, CUTOFF = 4, 0.34, 40.0, 0.8  # molecules along an edge; nm; Da; nm
N_MOLECULES = N_SIDE**3
EVERY, N_FRAMES = 50, 300  # steps of 5 fs
TEMPERATURE = 200.0 * unit.kelvin


def trimers() -> tuple[openmm.System, app.Topology, np.ndarray, float]:
    """Build trimers of argon-like beads in a box; returns its edge, nm, too."""
    system, topology = openmm.System(), app.Topology()
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    nonbonded.setCutoffDistance(CUTOFF)
    nonbonded.setUseDispersionCorrection(False)
    springs = openmm.HarmonicBondForce()
    element, chain = app.Element.getBySymbol("Ar"), topology.addChain()
    for molecule in range(N_MOLECULES):
        residue = topology.addResidue("TRI", chain)
        atoms = []
        for k in range(3):
            system.addParticle(MASS)
            nonbonded.addParticle(0.0, 0.34, 1.0)
            atoms.append(topology.addAtom(f"A{k}", element, residue))
        for k in range(2):
            springs.addBond(3 * molecule + k, 3 * molecule + k + 1, BOND, 20_000.0)
            topology.addBond(atoms[k], atoms[k + 1])
    for bond in range(springs.getNumBonds()):
        first, second, *_ = springs.getBondParameters(bond)
        nonbonded.addException(first, second, 0.0, 1.0, 0.0)
    system.addForce(nonbonded)
    system.addForce(springs)
    edge = 0.7 * N_SIDE
    places = np.stack(np.meshgrid(*[np.arange(N_SIDE)] * 3, indexing="ij"), -1)
    steps = np.array([[-BOND, 0, 0], [0, 0, 0], [0, BOND, 0]])
    positions = places.reshape(-1, 1, 3) * (edge / N_SIDE) + steps
    return system, topology, positions.reshape(-1, 3), edge


def simulate(path: Path, at: Trajectory | None = None) -> Path:
    """Run at 200 bar, or in the box of frames; frames as an engine writes them."""
    system, topology, positions, edge = trimers()
    if at is not None and at.box is not None:
        positions, edge = at.positions[-1], float(at.box[0, 0])
    if at is None:
        pressure = 200.0 * unit.bar
        system.addForce(openmm.MonteCarloBarostat(pressure, TEMPERATURE, 10))
        system.getForce(2).setRandomNumberSeed(3)
    vectors = np.eye(3) * edge
    system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in vectors))
    topology.setPeriodicBoxVectors(vectors * unit.nanometer)
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 1.0, 0.005)
    integrator.setRandomNumberSeed(1 if at is None else 2)
    platform = openmm.Platform.getPlatform("Reference")
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, 5)
    simulation.step(5000 if at is None else 2000)
    simulation.reporters.append(
        app.XTCReporter(str(path), EVERY, enforcePeriodicBox=True)
    )
    simulation.step(EVERY * N_FRAMES)
    return path


def graph() -> MolecularGraph:
    bonds = [(3 * m + k, 3 * m + k + 1) for m in range(N_MOLECULES) for k in range(2)]
    n = 3 * N_MOLECULES
    return MolecularGraph.create(["A"] * n, [MASS] * n, bonds)


def centres(found: Trajectory) -> np.ndarray:
    owner = found.graph.molecule_index
    return centres_of_mass(found.positions, owner, found.graph.masses)


@pytest.mark.slow
def test_npt_in_its_mean_box_is_nvt(tmp_path: Path) -> None:
    """Structure and motion within four standard errors of both sides."""
    breathing = simulate(tmp_path / "npt.xtc")
    with mdtraj.formats.XTCTrajectoryFile(str(breathing)) as file:
        boxes = file.read()[3]
    assert boxes[:, 0, 0].std() > 2e-3  # nm: it does breathe
    npt = read(breathing, graph())
    assert npt.box is not None
    assert 0.0 < npt.scaling < 0.05
    nvt = read(simulate(tmp_path / "nvt.xtc", npt), graph())
    assert nvt.box is not None
    np.testing.assert_allclose(nvt.box, npt.box, atol=2e-4)
    cutoff = 0.49 * float(npt.box[0, 0])
    first, second = (
        radial_distribution(
            centres(item), item.box, cutoff=cutoff, n_bins=20, n_blocks=6
        )
        for item in (npt, nvt)
    )
    known = first.values + second.values > 0.05
    error = np.hypot(first.errors, second.errors)[known] + 1e-3
    gap = (first.values - second.values)[known] / error
    assert abs(gap).max() < 4.0
    assert np.sqrt(np.mean(gap**2)) < 2.0
    moved = [
        mean_squared_displacement(
            remove_drift(centres(item)), EVERY * 0.005, longest=4.0, n_blocks=5
        )
        for item in (npt, nvt)
    ]
    error = np.hypot(moved[0].errors, moved[1].errors)
    assert (abs(moved[0].values - moved[1].values) < 4.0 * error).all()
    assert moved[1].values[-1] > 0.01  # nm^2: molecules do move
