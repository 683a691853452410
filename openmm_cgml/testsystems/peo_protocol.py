"""From a dilute start to equilibrium: how boxes of PEO with LiTFSI are brought there.

box = peo_litfsi([16] * 8, 10)
positions, edge = compressed(box, 423.0, seed=0)
set_edge(box, edge)            # before the Context: OpenMM picks its PME grid then
simulation = peo_simulation(box, 423.0, pressure=1.0)
...                            # 0.5 ns; the mean edge of the second half
positions = rescaled(box, positions, edge, mean_edge)
"""

import itertools
import math

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from openmm_cgml.testsystems.peo import GRAM_PER_CM3, PeoSystem
from openmm_cgml.testsystems.peo_parameters import FORCE_FIELDS

FRICTION = 0.5  # 1/ps
SQUEEZE = 1000.0  # bar
SQUEEZED_DENSITY = 1.0  # g/cm3
BAROSTAT_INTERVAL = 25  # steps

Array = NDArray[np.float64]


def peo_simulation(
    box: PeoSystem,
    temperature: float,
    *,
    pressure: float | None = None,
    seed: int = 0,
    platform: str = "CPU",
    n_threads: int = 1,
) -> app.Simulation:
    """Make the OpenMM Simulation of a box; positions are left to the caller.

    The step is that of the force field. The total momentum is removed.

    Args:
        box: what to simulate; its System is copied.
        temperature: K.
        pressure: bar; None: the volume is fixed.
        seed: of thermostat and barostat.
        platform: OpenMM platform name.
        n_threads: threads of the CPU platform.
    """
    system = openmm.XmlSerializer.deserialize(
        openmm.XmlSerializer.serialize(box.system)
    )
    system.addForce(openmm.CMMotionRemover(10))
    if pressure is not None:
        barostat = openmm.MonteCarloBarostat(
            pressure * unit.bar, temperature, BAROSTAT_INTERVAL
        )
        barostat.setRandomNumberSeed(1 + seed)  # OpenMM takes a random one for zero
        system.addForce(barostat)
    integrator = openmm.LangevinMiddleIntegrator(
        temperature, FRICTION, FORCE_FIELDS[box.force_field].time_step
    )
    integrator.setRandomNumberSeed(1 + seed)
    properties = {"Threads": str(n_threads)} if platform == "CPU" else {}
    return app.Simulation(
        box.topology,
        system,
        integrator,
        openmm.Platform.getPlatformByName(platform),
        properties,
    )


def compressed(
    box: PeoSystem,
    temperature: float,
    *,
    seed: int = 0,
    platform: str = "CPU",
    max_time: float = 500.0,
) -> tuple[Array, float]:
    """Minimise a dilute box and press it together.

    Args:
        box: a dilute one, at its start.
        temperature: K.
        seed: of velocities, thermostat and barostat.
        platform: OpenMM platform name.
        max_time: after which to give up, ps.

    Returns:
        Positions (n_atoms, 3), nm, molecules whole, and the edge, nm.

    Raises:
        RuntimeError: the box has not reached SQUEEZED_DENSITY in time.
    """
    simulation = peo_simulation(
        box, temperature, pressure=SQUEEZE, seed=seed, platform=platform
    )
    simulation.context.setPositions(box.positions)
    simulation.minimizeEnergy(maxIterations=500)
    simulation.context.setVelocitiesToTemperature(temperature, 1 + seed)
    time_step = simulation.integrator.getStepSize()._value
    simulation.integrator.setStepSize(0.2 * time_step)  # until what strain is left goes
    simulation.step(1000)
    simulation.integrator.setStepSize(time_step)
    for _ in range(math.ceil(max_time / (400 * time_step))):
        simulation.step(400)
        positions, edge = placement(simulation)
        if density(box, edge) >= SQUEEZED_DENSITY:
            return positions, edge
    raise RuntimeError(
        f"the box must reach {SQUEEZED_DENSITY} g/cm3, after {max_time:g} ps it has "
        f"{density(box, placement(simulation)[1]):.3f} g/cm3"
    )


def placement(simulation: app.Simulation) -> tuple[Array, float]:
    """Return positions as they are, not wrapped, (n_atoms, 3), nm, and edge, nm."""
    state = simulation.context.getState(positions=True)
    box = state.getPeriodicBoxVectors(asNumpy=True)._value
    return np.asarray(state.getPositions(asNumpy=True)._value), float(box[0, 0])


def density(box: PeoSystem, edge: float) -> float:
    """Return the mass density at an edge (nm), g/cm3."""
    return float(box.masses.sum() / (GRAM_PER_CM3 * edge**3))


def set_edge(box: PeoSystem, edge: float) -> None:
    """Make an edge (nm) that of the System and of the Topology."""
    vectors = edge * np.eye(3)
    box.system.setDefaultPeriodicBoxVectors(*vectors)
    box.topology.setPeriodicBoxVectors(vectors)


def rescaled(box: PeoSystem, positions: Array, edge: float, new_edge: float) -> Array:
    """Move whole molecules apart as a barostat does.

    Args:
        box: whose molecules.
        positions: (n_atoms, 3), nm, molecules whole.
        edge: they belong to, nm.
        new_edge: nm.

    Returns:
        (n_atoms, 3), nm: centres of mass scaled, shapes as they were.
    """
    masses = box.masses
    moved = np.array(positions, dtype=float)
    sizes = [len(list(chain.atoms())) for chain in box.topology.chains()]
    for first, end in itertools.pairwise(np.cumsum([0, *sizes])):
        centre = np.average(moved[first:end], axis=0, weights=masses[first:end])
        moved[first:end] += (new_edge / edge - 1.0) * centre
    return moved
