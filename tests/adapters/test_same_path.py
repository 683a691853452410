"""One model, seed and start: the same path in the core, in OpenMM and in ASE.

Beads: equal to the last bit. All three keep positions in float64 (the Reference and
the CPU platform of OpenMM do, too) and call the same propagator on the same numbers;
only the start and the report are converted, Å to nm and back, each by one rounding.
So each engine gets the start after that rounding, and nothing is left to tolerate.

Atoms: 1e-12 nm a step of rounding. Each engine adds a bead's move to its atoms in its
own unit, so sums of some 10 nm differ in the last bit (2e-15 nm), step by step.
"""

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase_systems import NAMES, read_chain
from openmm import unit

from ase_cgml import CGMLDynamics
from cgml.dynamics.propagator import Propagator
from cgml.models.file import load_model
from cgml.molecules.mapping import Mapping
from openmm_cgml.integrator import LearnedCGIntegrator

SEED, STEPS = 11, 6


@pytest.fixture
def mapping(tiny_model) -> Mapping:
    return CGMLDynamics(tiny_model, type_names=NAMES).mapping(read_chain())


@pytest.fixture
def atom_start() -> np.ndarray:
    """Positions of the atoms, (100, 3), nm, as they come out of ASE's Å."""
    return read_chain().positions / 10.0


def core_path(model, mapping, start) -> np.ndarray:
    """Beads, (STEPS, n_beads, 3), nm."""
    propagator = Propagator(load_model(model), mapping, seed=SEED, guard="record")
    state = propagator.start(start)
    frames = []
    for _ in range(STEPS):
        state = propagator.step(state)
        frames.append(state.positions.numpy().copy())
    return np.array(frames)


def openmm_path(model, mapping, start, masses, platform) -> np.ndarray:
    system = openmm.System()
    for mass in masses:
        system.addParticle(mass)
    integrator = LearnedCGIntegrator(model, topology=mapping, seed=SEED, guard="record")
    context = openmm.Context(
        system, integrator, openmm.Platform.getPlatformByName(platform)
    )
    context.setPositions(start)
    frames = []
    for _ in range(STEPS):
        integrator.step(1)
        state = context.getState(getPositions=True)
        frames.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    return np.array(frames)


def ase_path(model, mapping, start) -> np.ndarray:
    """Å divided by 10."""
    atoms = Atoms(positions=start * 10.0)
    atoms.calc = CGMLDynamics(model, topology=mapping, seed=SEED, guard="record")
    run = atoms.calc.dynamics(atoms).irun(STEPS)
    next(run)
    return np.array([atoms.get_positions() for _ in run]) / 10.0


def survives_conversion(positions: np.ndarray) -> np.ndarray:
    """Round until nm -> Å -> nm gives back the same bits."""
    rounded = np.round(positions, 4)
    for _ in range(3):
        rounded = rounded * 10.0 / 10.0
    assert np.array_equal(rounded * 10.0 / 10.0, rounded)
    return rounded


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_beads_in_openmm_to_the_last_bit(tiny_model, mapping, atom_start, platform):
    start = survives_conversion(mapping.positions(atom_start))
    core = core_path(tiny_model, mapping, start)
    found = openmm_path(tiny_model, mapping, start, mapping.bead_masses, platform)
    assert np.array_equal(found, core)


def test_beads_in_ase_to_the_last_bit(tiny_model, mapping, atom_start):
    start = survives_conversion(mapping.positions(atom_start))
    core = core_path(tiny_model, mapping, start)
    found = ase_path(tiny_model, mapping, start)
    assert np.array_equal(found, core * 10.0 / 10.0)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_atoms_in_openmm_and_ase(tiny_model, mapping, atom_start, platform):
    start = survives_conversion(atom_start)
    core = core_path(tiny_model, mapping, mapping.positions(start))
    in_openmm = openmm_path(tiny_model, mapping, start, mapping.graph.masses, platform)
    in_ase = ase_path(tiny_model, mapping, start)
    np.testing.assert_allclose(in_ase, in_openmm, rtol=0, atol=STEPS * 1e-12)
    for path in (in_openmm, in_ase):
        beads = mapping.positions(path)
        np.testing.assert_allclose(beads, core, rtol=0, atol=STEPS * 1e-12)
