"""Hands that a chiral model needs are those of the first positions."""

import logging

import numpy as np
import openmm
import pytest
from ase import Atoms
from core_systems import learned, small_spec
from openmm import app
from openmm_systems import positions_of

from ase_cgml import CGMLDynamics
from openmm_cgml import LearnedCGIntegrator
from openmm_cgml.convert import graph_from_topology
from openmm_cgml.testsystems.alanine import alanine_chain

CHAIN = alanine_chain(2)
MIRROR = np.array([1.0, 1.0, -1.0])
MODEL = learned(
    small_spec(
        particle_types={"C": 12.011, "H": 1.008, "N": 14.007, "O": 15.999},
        bond_types=["bond"],
        atoms_per_bead=10.0,
        keep_hydrogens=True,
        network={"n_vectors": 4, "chiral": True},
        prior={"rate": 0.5, "variance": 0.002},
        statistics={"length_scale": 0.3, "displacement_scale": 0.02},
    )
)


def simulate(positions=None, **options) -> app.Simulation:
    """A script as people have it: a force field, rigid bonds of hydrogens."""
    system = app.ForceField("amber14-all.xml").createSystem(
        CHAIN.topology, constraints=app.HBonds
    )
    options = {"topology": CHAIN.topology, "guard": "record", "seed": 3} | options
    integrator = LearnedCGIntegrator(MODEL, **options)
    reference = openmm.Platform.getPlatform("Reference")
    simulation = app.Simulation(CHAIN.topology, system, integrator, reference)
    if positions is not None:
        simulation.context.setPositions(positions)
    return simulation


@pytest.mark.parametrize(("mirror", "hand"), [(1.0, "S"), (MIRROR, "R")])
def test_hands_are_those_of_the_positions(mirror, hand, caplog):
    """L-alanine is S."""
    simulation = simulate(CHAIN.positions * mirror)
    with caplog.at_level(logging.INFO, logger="cgml"):
        simulation.step(2)
    assert f"hands of the stereocentres are those of the positions: 2 {hand}" in (
        caplog.text
    )
    assert simulation.integrator.getMapping().hand_counts == {hand: 2}


def test_a_later_start_has_the_same_hands():
    simulation = simulate(CHAIN.positions)
    simulation.step(1)
    simulation.context.setPositions(CHAIN.positions * MIRROR)
    with pytest.raises(ValueError, match=r"2 stereocentres are of the other hand"):
        simulation.step(1)


def test_before_positions_are_set_nothing_is_known():
    simulation = simulate()
    assert simulation.integrator.getMapping().hand_counts == {"not known": 2}
    with pytest.raises(ValueError, match="positions are required, all are zero"):
        simulation.step(1)
    simulation.context.setPositions(CHAIN.positions)
    simulation.step(1)
    assert simulation.integrator.getMapping().hand_counts == {"S": 2}


def test_a_restart_needs_no_hands(tmp_path):
    one, other = simulate(CHAIN.positions), simulate(seed=0)
    one.step(2)
    one.saveCheckpoint(str(tmp_path / "a.chk"))
    one.step(2)
    other.loadCheckpoint(str(tmp_path / "a.chk"))
    other.step(2)
    np.testing.assert_array_equal(positions_of(other), positions_of(one))


def test_hands_make_a_difference():
    """What the model is told is what it moves by: mirrored starts, other paths."""
    ends = []
    for mirror in (1.0, MIRROR):
        simulation = simulate(CHAIN.positions * mirror)
        simulation.step(1)
        mapping = simulation.integrator.getMapping()
        ends.append(mapping.positions(positions_of(simulation)))
    assert not np.allclose(ends[1], ends[0] * MIRROR, atol=1e-5)


def test_hands_in_ase_are_the_same():
    graph = graph_from_topology(CHAIN.topology, {})
    atoms = Atoms(list(graph.types), CHAIN.positions * 10.0)
    atoms.calc = CGMLDynamics(MODEL, topology=graph, guard="record", seed=3)
    atoms.calc.dynamics(atoms).run(2)
    assert atoms.calc.mapping(atoms).hand_counts == {"S": 2}
    simulation = simulate(CHAIN.positions)
    simulation.step(2)
    found = simulation.integrator.getMapping().positions(positions_of(simulation))
    beads = atoms.calc.mapping(atoms).positions(atoms.positions / 10.0)
    np.testing.assert_allclose(beads, found, atol=1e-5)
