"""What the OpenMM tests share: platforms, one chain, simulations of it."""

from functools import cache
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from cgml.models.file import load_model
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel
from openmm_cgml.beads import bead_system, bead_topology
from openmm_cgml.integrator import LearnedCGIntegrator
from openmm_cgml.testsystems import ChainSystem, copolymer_chain

PLATFORMS = [
    openmm.Platform.getPlatform(i).getName()
    for i in range(openmm.Platform.getNumPlatforms())
]
LEVELS = ["atoms", "beads"]


@cache
def loaded(path: Path) -> LearnedModel:
    """Load a model once: TorchScript compiles on its first calls."""
    return load_model(path)


def chain() -> ChainSystem:
    """60 atoms, 12 beads."""
    return copolymer_chain("AABBCCDDBBCC" * 5, np.random.default_rng(4))


def platform(name: str) -> openmm.Platform:
    return openmm.Platform.getPlatformByName(name)


def simulate(model, level="atoms", name="Reference", *, start=True, **options):
    """A Simulation of `chain()`; the tiny model is untrained: guards only record."""
    built = chain()
    options = {"guard": "record", "topology": built.topology} | options
    if not isinstance(model, LearnedModel):
        model = loaded(model)
    integrator = LearnedCGIntegrator(model, **options)
    topology, system, positions = built.topology, built.system, built.positions
    if level == "beads":
        mapping = integrator.getMapping()
        topology, system = bead_topology(mapping), bead_system(mapping)
        positions = mapping.positions(positions)
    simulation = app.Simulation(topology, system, integrator, platform(name))
    if start:
        simulation.context.setPositions(positions)
    return simulation


def positions_of(simulation) -> np.ndarray:
    state = simulation.context.getState(positions=True)
    return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def velocities_of(simulation) -> np.ndarray:
    state = simulation.context.getState(velocities=True)
    velocities = state.getVelocities(asNumpy=True)
    return velocities.value_in_unit(unit.nanometer / unit.picosecond)


def as_mapping(simulation) -> Mapping:
    return simulation.integrator.getMapping()
