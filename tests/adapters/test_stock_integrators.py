"""The potential of mean force in ASE and OpenMM: stock optimisers and integrators."""

import numpy as np
import openmm
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE
from core_systems import BOX, chain, coil, energetic, learned, mixture, small_spec
from openmm import unit

from ase_cgml import CGMLDynamics
from cgml.dynamics.potential import Potential
from openmm_cgml import cgml_force
from openmm_cgml.beads import bead_system

KJ = units.kJ / units.mol


def beads_of(mapping, *, is_periodic: bool = False) -> Atoms:
    box = BOX * 10.0 if is_periodic else None
    atoms = Atoms("X" * mapping.n_beads, coil(mapping) * 10.0, cell=box)
    atoms.pbc = is_periodic
    atoms.set_masses(mapping.bead_masses)
    model = energetic(is_periodic=is_periodic)
    atoms.calc = CGMLDynamics(model, topology=mapping, unseen="allow")
    return atoms


def test_ase_has_energy_forces_and_stress():
    mapping = mixture()
    atoms = beads_of(mapping, is_periodic=True)
    model = energetic(is_periodic=True)
    potential = Potential(model, mapping, box=BOX, unseen="allow")
    found = potential(coil(mapping))
    assert atoms.get_potential_energy() == pytest.approx(found.energy[0] * KJ)
    assert atoms.get_potential_energy(force_consistent=True) == pytest.approx(
        found.energy[0] * KJ
    )
    np.testing.assert_allclose(atoms.get_forces(), found.forces * KJ / 10.0, rtol=1e-9)
    stress = atoms.get_stress(voigt=False)
    expected = found.virial[0] * KJ / atoms.get_volume()
    np.testing.assert_allclose(stress, expected, rtol=1e-9)
    atoms.set_cell(atoms.cell * 1.1, scale_atoms=True)  # bound anew
    assert atoms.get_potential_energy() != pytest.approx(found.energy[0] * KJ)


def test_open_boundaries_have_no_stress():
    with pytest.raises(PropertyNotImplementedError, match="gives no stress"):
        beads_of(chain()).get_stress()


def test_fire_goes_downhill_and_verlet_keeps_the_energy():
    atoms = beads_of(chain())
    before = atoms.get_potential_energy()
    FIRE(atoms, logfile=None, dt=0.2, maxstep=1.0).run(1e-6, 30)
    assert atoms.get_potential_energy() < before
    random = np.random.default_rng(0)
    speeds = np.sqrt(units.kB * 300.0 / atoms.get_masses())[:, None]
    atoms.set_velocities(speeds * random.normal(size=(len(atoms), 3)))
    start = atoms.get_total_energy()
    VelocityVerlet(atoms, timestep=20.0 * units.fs).run(100)
    kinetic = 1.5 * len(atoms) * units.kB * 300.0
    assert abs(atoms.get_total_energy() - start) < 0.01 * kinetic


def test_a_model_without_says_how_to_get_one():
    atoms = beads_of(chain())
    atoms.calc = CGMLDynamics(learned(small_spec()), topology=chain())
    with pytest.raises(PropertyNotImplementedError, match="cgml train-potential"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("is_periodic", [False, True])
def test_stock_integrators_of_openmm(is_periodic):
    mapping = mixture()
    box = BOX if is_periodic else None
    system = bead_system(mapping, box)
    model = energetic(is_periodic=is_periodic)
    system.addForce(cgml_force(model, mapping, unseen="allow"))
    context = openmm.Context(
        system,
        openmm.VerletIntegrator(0.02),
        openmm.Platform.getPlatform("Reference"),
    )
    places = coil(mapping)
    context.setPositions(places)
    state = context.getState(energy=True, forces=True)
    found = Potential(model, mapping, box=box, unseen="allow")(places)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert energy == pytest.approx(found.energy[0], rel=1e-6)
    forces = np.array(state.getForces(asNumpy=True)._value)
    np.testing.assert_allclose(forces, found.forces, rtol=1e-5, atol=1e-5)
    context.setVelocitiesToTemperature(300.0, 1)
    totals = []
    for _ in range(5):
        context.getIntegrator().step(10)
        state = context.getState(energy=True)
        total = state.getPotentialEnergy() + state.getKineticEnergy()
        totals.append(total.value_in_unit(unit.kilojoule_per_mole))
    assert np.ptp(totals) < 0.05 * 1.5 * mapping.n_beads * 2.494


def test_openmm_refuses_a_model_without():
    with pytest.raises(ValueError, match="cgml train-potential"):
        cgml_force(learned(small_spec()), chain())
