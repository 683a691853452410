import csv
import math
import time

import MDAnalysis
import mdtraj
import numpy as np
import openmm
import pytest
from MDAnalysis.coordinates.XTC import XTCReader
from openmm import app, unit
from openmm_systems import LEVELS, PLATFORMS, positions_of, simulate

from cgml.formats import trajectory
from cgml.formats.topology import from_mdtraj
from openmm_cgml.systems import degrees_of_freedom

everywhere = pytest.mark.parametrize("name", PLATFORMS)


@pytest.fixture
def run(tiny_model, tmp_path):
    """30 steps of 20 ps, frames every 5 steps: (folder, frames, topology)."""
    simulation = simulate(tiny_model)
    for reporter in (app.DCDReporter, app.XTCReporter, app.PDBReporter):
        name = reporter.__name__[:3].lower()
        simulation.reporters.append(reporter(str(tmp_path / f"a.{name}"), 5))
    frames = []
    for _ in range(6):
        simulation.step(5)
        frames.append(positions_of(simulation))
    simulation.reporters.clear()  # closes the files
    return tmp_path, np.array(frames), simulation.topology


@pytest.mark.filterwarnings("ignore:DCDReader currently makes independent timesteps")
@pytest.mark.parametrize("suffix", ["dcd", "xtc"])
def test_mdanalysis_reads_frames_and_times(run, suffix):
    folder, frames, _ = run
    universe = MDAnalysis.Universe.empty(frames.shape[1], trajectory=False)
    universe.load_new(str(folder / f"a.{suffix}"))
    reader = universe.trajectory
    times = [step.time for step in reader]
    positions = np.array([step.positions.copy() for step in reader]) / 10.0
    np.testing.assert_allclose(times, 100.0 * np.arange(1, 7), rtol=1e-6)
    assert reader.dt == pytest.approx(100.0, rel=1e-6)
    np.testing.assert_allclose(positions, frames, atol=1e-3)
    if isinstance(reader, XTCReader):
        reader.close()


def test_mdtraj_reads_frames_and_times(run):
    folder, frames, topology = run
    molecule = mdtraj.Topology.from_openmm(topology)
    xtc = mdtraj.load(str(folder / "a.xtc"), top=molecule)
    np.testing.assert_allclose(xtc.time, 100.0 * np.arange(1, 7))
    np.testing.assert_allclose(xtc.xyz, frames, atol=1e-3)
    # mdtraj reads no times from any DCD, it counts frames; cgml reads the header
    dcd = mdtraj.load(str(folder / "a.dcd"), top=molecule)
    np.testing.assert_array_equal(dcd.time, np.arange(6))
    np.testing.assert_allclose(dcd.xyz, frames, atol=1e-5)


def test_cgml_reads_times_from_the_dcd_header(run):
    folder, frames, topology = run
    mdtraj_topology = mdtraj.Topology.from_openmm(topology)
    graph = from_mdtraj(mdtraj_topology, dict.fromkeys("ABCD", 1.0))
    read = trajectory.read(folder / "a.dcd", graph)
    np.testing.assert_allclose(np.diff(read.times), 100.0, rtol=1e-6)
    np.testing.assert_allclose(read.positions, frames, atol=1e-5)


def test_pdb_holds_every_frame(run):
    folder, frames, _ = run
    read = app.PDBFile(str(folder / "a.pdb"))
    assert read.getNumFrames() == 6
    last = read.getPositions(asNumpy=True, frame=5).value_in_unit(unit.nanometer)
    np.testing.assert_allclose(last, frames[-1], atol=1e-3)


@pytest.mark.parametrize("level", LEVELS)
def test_appended_dcd_keeps_its_time_step(tiny_model, tmp_path, level):
    path = str(tmp_path / "a.dcd")
    simulation = simulate(tiny_model, level)
    for append in (False, True):
        simulation.reporters.append(app.DCDReporter(path, 2, append=append))
        simulation.step(4)
        simulation.reporters.clear()
    graph = simulation.integrator.getMapping().graph
    if level == "atoms":
        read = trajectory.read(path, graph)
        np.testing.assert_allclose(np.diff(read.times), [40.0] * 3, rtol=1e-6)
    with mdtraj.open(path) as file:
        assert file.read()[0].shape == (4, simulation.system.getNumParticles(), 3)


@everywhere
def test_state_data_reporter_prints_every_column(tiny_model, tmp_path, name):
    path = str(tmp_path / "log.csv")
    simulation = simulate(tiny_model, "beads", name)
    simulation.reporters.append(
        app.StateDataReporter(
            path,
            5,
            step=True,
            time=True,
            temperature=True,
            progress=True,
            remainingTime=True,
            speed=True,
            elapsedTime=True,
            totalSteps=20,
        )
    )
    simulation.step(20)
    simulation.reporters.clear()
    with open(path) as file:
        rows = list(csv.DictReader(file))
    assert [row['#"Progress (%)"'] for row in rows] == [
        "25.0%",
        "50.0%",
        "75.0%",
        "100.0%",
    ]
    assert [int(row["Step"]) for row in rows] == [5, 10, 15, 20]
    assert [float(row["Time (ps)"]) for row in rows] == [100.0, 200.0, 300.0, 400.0]
    assert {float(row["Temperature (K)"]) for row in rows} == {120.272}
    assert float(rows[-1]["Speed (ns/day)"]) > 0.0
    assert rows[-1]["Time Remaining"] == "0:00"


@everywhere
def test_energies_are_of_the_forces_and_of_the_temperature(tiny_model, tmp_path, name):
    """No column has a number that speaks of something else."""
    path = str(tmp_path / "log.csv")
    simulation = simulate(tiny_model, name=name)
    simulation.reporters.append(
        app.StateDataReporter(path, 2, potentialEnergy=True, kineticEnergy=True)
    )
    simulation.step(2)
    simulation.reporters.clear()
    with open(path) as file:
        rows = list(csv.DictReader(file))
    state = simulation.context.getState(energy=True)
    printed = float(rows[0]['#"Potential Energy (kJ/mole)"'])
    assert math.isclose(printed, state.getPotentialEnergy()._value, rel_tol=1e-9)
    freedoms = degrees_of_freedom(simulation.system)
    assert freedoms == 3 * simulation.system.getNumParticles()
    kinetic = float(rows[0]["Kinetic Energy (kJ/mole)"])
    temperature = 2.0 * kinetic / (freedoms * unit.MOLAR_GAS_CONSTANT_R._value / 1e3)
    assert temperature == pytest.approx(120.272, rel=1e-5)


def test_degrees_of_freedom_are_those_of_the_reporter():
    """Two atoms that a constraint joins, a virtual site, and no drift: 2 are left."""
    system = openmm.System()
    for mass in (1.0, 1.0, 0.0):
        system.addParticle(mass)
    system.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    system.addConstraint(0, 1, 0.1)
    system.addForce(openmm.CMMotionRemover())
    assert degrees_of_freedom(system) == 2


def test_run_for_clock_time_stops_and_writes(tiny_model, tmp_path):
    simulation = simulate(tiny_model)
    simulation.step(1)
    began = time.monotonic()
    simulation.runForClockTime(
        0.5 * unit.second,
        checkpointFile=str(tmp_path / "a.chk"),
        stateFile=str(tmp_path / "a.xml"),
    )
    assert 0.5 <= time.monotonic() - began < 10.0
    assert simulation.currentStep > 1
    again = simulate(tiny_model, start=False)
    again.loadState(str(tmp_path / "a.xml"))
    assert again.currentStep == simulation.currentStep
