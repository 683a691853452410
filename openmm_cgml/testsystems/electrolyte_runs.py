"""Reference dynamics of the polymer electrolyte: boxes pressed, aged, frames kept."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from openmm_cgml.testsystems import electrolyte
from openmm_cgml.testsystems.chain_runs import TIME_STEP, n_steps
from openmm_cgml.testsystems.electrolyte import ElectrolyteSystem, polymer_electrolyte
from openmm_cgml.testsystems.electrolyte_protocol import (
    BLOCK,
    ElectrolyteFrames,
    ElectrolyteProtocol,
    check_same,
)

BAROSTAT_STRIDE = 25  # time steps

Report = Callable[[float], None]
"""Called with the time simulated so far, ps."""


def simulate(
    melt: ElectrolyteSystem,
    protocol: ElectrolyteProtocol,
    *,
    report: Report | None = None,
) -> ElectrolyteFrames:
    """Press a box at zero pressure, fix it, let it age and keep frames.

    Args:
        melt: what to simulate.
        protocol: how long, how often, and on which platform.
        report: called with the time simulated so far, ps, about once per ps.
    """
    clock = _Clock(report)
    positions, edge = _press(melt, protocol, clock)
    simulation = electrolyte_simulation(
        melt, protocol, positions=positions, edge=edge, seed_offset=1
    )
    clock.run(simulation, protocol.equilibration)
    frames = np.empty((protocol.n_frames, len(positions), 3), dtype=np.float32)
    energy = np.empty((protocol.n_frames, 2))
    centre: NDArray[np.float64] | None = None
    for frame in range(protocol.n_frames):
        clock.run(simulation, protocol.interval)
        state = simulation.context.getState(positions=True, energy=True)
        now = state.getPositions(asNumpy=True)._value
        mean = now.mean(axis=0)  # all masses are equal: the centre of mass
        centre = mean if centre is None else centre
        frames[frame] = now - (mean - centre)
        kinetic = 2.0 / 3.0 * state.getKineticEnergy()._value
        energy[frame] = state.getPotentialEnergy()._value, kinetic
    return ElectrolyteFrames(melt, edge, frames, energy / len(positions), protocol)


def simulate_boxes(
    sequences: Sequence[str],
    folder: Path | str,
    protocol: ElectrolyteProtocol,
    *,
    n_chains: int = 24,
    n_ion_pairs: int = 24,
    report: Report | None = None,
) -> list[Path]:
    """Simulate one box per sequence, each into a file; files that are there are kept.

    After a kill the same call goes on with the box that was under way.

    Args:
        sequences: one letter per monomer, of E and X; a string per box.
        folder: where to, made if need be: box_000.npz, ...
        protocol: of every box; the seed grows by one from box to box.
        n_chains: chains in a box.
        n_ion_pairs: cations, and anions, in a box.
        report: called with the time simulated so far in all boxes, ps.

    Returns:
        The files.

    Raises:
        ValueError: a file that is there holds another box.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"box_{i:03d}.npz" for i in range(len(sequences))]
    for i, (sequence, path) in enumerate(zip(sequences, paths, strict=True)):
        own = replace(protocol, seed=protocol.seed + i)
        melt = polymer_electrolyte(
            sequence,
            n_chains=n_chains,
            n_ion_pairs=n_ion_pairs,
            generator=np.random.default_rng(own.seed),
        )
        clock = _Clock(report, start=i * protocol.time)
        if path.exists():
            check_same(path, melt, own)
        else:
            simulate(melt, own, report=clock.tell).write(path)
        clock.tell(protocol.time)
    return paths


def electrolyte_simulation(
    melt: ElectrolyteSystem,
    protocol: ElectrolyteProtocol,
    *,
    positions: NDArray[Any] | None = None,
    edge: float | None = None,
    pressure: float | None = None,
    seed_offset: int = 0,
) -> app.Simulation:
    """Make the OpenMM Simulation of the reference dynamics, velocities drawn.

    Args:
        melt: what to simulate.
        protocol: seed, platform and threads.
        positions: (n_particles, 3), nm; None: the start of the melt, minimised.
        edge: of the box, nm; None: that of the melt.
        pressure: of a Monte Carlo barostat, bar; None: a fixed box.
        seed_offset: added to the seed, for another stage of the same run.
    """
    seed = 1 + 2 * protocol.seed + seed_offset  # OpenMM takes a random one for zero
    system = copy.deepcopy(melt.system)
    if pressure is not None:
        barostat = openmm.MonteCarloBarostat(
            pressure, electrolyte.TEMPERATURE, BAROSTAT_STRIDE
        )
        barostat.setRandomNumberSeed(seed)
        system.addForce(barostat)
    integrator = openmm.LangevinMiddleIntegrator(
        electrolyte.TEMPERATURE, electrolyte.FRICTION, TIME_STEP
    )
    integrator.setRandomNumberSeed(seed)
    arguments: list[Any] = [melt.topology, system, integrator, *_platform(protocol)]
    simulation = app.Simulation(*arguments)
    simulation.context.setPeriodicBoxVectors(
        *((melt.edge if edge is None else edge) * np.eye(3))
    )
    start = melt.positions if positions is None else positions
    simulation.context.setPositions(start * unit.nanometer)
    if positions is None:
        simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(electrolyte.TEMPERATURE, seed)
    return simulation


class _Clock:
    """Runs simulations and tells how far they are."""

    def __init__(self, report: Report | None, start: float = 0.0) -> None:
        self._report = report
        self._start = start  # ps
        self._n_steps = 0

    def run(self, simulation: app.Simulation, time: float) -> None:
        """Advance by a time, ps, in blocks."""
        left = n_steps(time)
        while left:
            n = min(left, n_steps(BLOCK))
            simulation.step(n)
            left -= n
            self._n_steps += n
            self.tell(self._n_steps * TIME_STEP)

    def tell(self, time: float) -> None:
        """Report a time, ps, counted from the start."""
        if self._report is not None:
            self._report(self._start + time)


def _press(
    melt: ElectrolyteSystem, protocol: ElectrolyteProtocol, clock: _Clock
) -> tuple[NDArray[np.float64], float]:
    """Run at zero pressure.

    Returns:
        Positions scaled to the mean box of the second half, (n_particles, 3), nm, and
        its edge, nm.
    """
    simulation = electrolyte_simulation(melt, protocol, pressure=0.0)
    n_blocks = int(protocol.pressing / BLOCK)
    edges = []
    for _ in range(n_blocks):
        clock.run(simulation, BLOCK)
        vectors = simulation.context.getState().getPeriodicBoxVectors()
        edges.append(vectors[0][0].value_in_unit(unit.nanometer))
    clock.run(simulation, protocol.pressing - n_blocks * BLOCK)
    edge = _settled(edges)
    state = simulation.context.getState(positions=True)
    now = state.getPeriodicBoxVectors()[0][0].value_in_unit(unit.nanometer)
    positions = state.getPositions(asNumpy=True)._value
    return _scaled(positions, melt, edge / now), edge


def _settled(edges: list[float]) -> float:
    """Mean of the second half, nm."""
    return float(np.mean(edges[len(edges) // 2 :]))


def _scaled(
    positions: NDArray[np.float64], melt: ElectrolyteSystem, factor: float
) -> NDArray[np.float64]:
    """Scale the centres of the molecules and leave the molecules as they are."""
    n_monomers = melt.n_chains * len(melt.sequence)
    chains = positions[:n_monomers].reshape(melt.n_chains, -1, 3)
    moved = chains + (factor - 1.0) * chains.mean(axis=1, keepdims=True)
    return np.concatenate([moved.reshape(-1, 3), factor * positions[n_monomers:]])


def _platform(protocol: ElectrolyteProtocol) -> list[Any]:
    """Platform and its properties as the last arguments of a Simulation."""
    if protocol.n_threads is not None:
        platform = openmm.Platform.getPlatformByName("CPU")
        return [platform, {"Threads": str(protocol.n_threads)}]
    if protocol.platform is not None:
        return [openmm.Platform.getPlatformByName(protocol.platform)]
    return []
