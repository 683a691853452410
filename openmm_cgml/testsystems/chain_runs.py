"""Reference dynamics of the chains: Langevin MD of every atom, frames kept."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from cgml import units
from cgml.files import replacing
from cgml.molecules.centres import squared_radius_of_gyration
from openmm_cgml.testsystems import FRICTION, SPECIES, TEMPERATURE, ChainSystem

TIME_STEP = 0.01  # ps


@dataclass(frozen=True)
class Protocol:
    """How reference dynamics are run.

    Attributes:
        n_frames: frames to keep.
        interval: time between frames, ps.
        equilibration: time thrown away first, ps.
        seed: seed of the thermostat and of the first velocities.
        platform: OpenMM platform name; None: the fastest present.
    """

    n_frames: int
    interval: float = 1.0
    equilibration: float = 1500.0
    seed: int = 0
    platform: str | None = None


@dataclass(frozen=True, eq=False)
class ReferenceFrames:
    """Frames of reference dynamics.

    Attributes:
        sequences: one letter per atom, a string per chain, all of one length.
        positions: (n_chains, n_frames, n_atoms, 3), nm, the centre of mass of each
            chain at the origin in every frame.
        protocol: how they were made.
    """

    sequences: tuple[str, ...]
    positions: NDArray[np.float32]
    protocol: Protocol

    @property
    def squared_radius_of_gyration(self) -> NDArray[np.float64]:
        """Mean squared distance from the centre, (n_chains, n_frames), nm^2."""
        return squared_radius_of_gyration(self.positions)

    def write(self, path: Path | str) -> None:
        """Write a .npz file that `cgml prepare` and `cgml train` read.

        Args:
            path: the file, ending in .npz. It holds x (all atoms), types (index into
                A, B, C, D), rg2, x0 (first frame) and meta (JSON).
        """
        letters = "".join(SPECIES)
        meta = asdict(self.protocol) | {
            "n": self.positions.shape[2],
            "group": 1,
            "frame": self.protocol.interval,
            "dt": TIME_STEP,
            "gamma": FRICTION,
            "kT": units.thermal_energy(TEMPERATURE),
        }
        with replacing(Path(path)) as temporary:
            np.savez(
                temporary,
                x=self.positions,
                types=np.array(
                    [[letters.index(letter) for letter in s] for s in self.sequences],
                    dtype=np.int8,
                ),
                rg2=self.squared_radius_of_gyration.astype(np.float32),
                x0=self.positions[:, 0],
                meta=np.array(json.dumps(meta)),
            )


def simulate(chains: ChainSystem, protocol: Protocol) -> ReferenceFrames:
    """Run Langevin dynamics and keep frames.

    Args:
        chains: what to simulate; all chains of one length.
        protocol: how long, how often, and on which platform.

    Returns:
        The frames, the centre of each chain removed.

    Raises:
        ValueError: chains of several lengths, or times that are no multiples of the
            time step.
    """
    lengths = {len(sequence) for sequence in chains.sequences}
    if len(lengths) != 1:
        raise ValueError(
            f"chains of one length are required, got lengths {sorted(lengths)}: "
            "simulate each length by itself"
        )
    simulation = reference_simulation(
        chains, seed=protocol.seed, platform=protocol.platform
    )
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, protocol.seed)
    simulation.step(n_steps(protocol.equilibration))
    stride = n_steps(protocol.interval)
    shape = (len(chains.sequences), lengths.pop(), 3)
    frames = np.empty((shape[0], protocol.n_frames, *shape[1:]), dtype=np.float32)
    for frame in range(protocol.n_frames):
        simulation.step(stride)
        state = simulation.context.getState(positions=True)
        positions = state.getPositions(asNumpy=True)._value.reshape(shape)
        # all masses are equal: the centre of mass is the mean
        frames[:, frame] = positions - positions.mean(axis=1, keepdims=True)
    return ReferenceFrames(chains.sequences, frames, protocol)


def reference_simulation(
    chains: ChainSystem, *, seed: int = 0, platform: str | None = None
) -> app.Simulation:
    """Make the OpenMM Simulation of the reference dynamics, positions set.

    Args:
        chains: what to simulate.
        seed: seed of the thermostat.
        platform: OpenMM platform name; None: the fastest present.
    """
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, FRICTION, TIME_STEP)
    integrator.setRandomNumberSeed(1 + seed)  # OpenMM takes a random one for zero
    arguments: list[Any] = [chains.topology, chains.system, integrator]
    if platform is not None:
        arguments.append(openmm.Platform.getPlatformByName(platform))
    simulation = app.Simulation(*arguments)
    simulation.context.setPositions(chains.positions * unit.nanometer)
    return simulation


def n_steps(time: float) -> int:
    """Turn a time into time steps.

    Args:
        time: ps.

    Raises:
        ValueError: the time is no multiple of TIME_STEP.

    Example:
        >>> n_steps(0.5)
        50
    """
    steps = round(time / TIME_STEP)
    if not math.isclose(steps * TIME_STEP, time, abs_tol=1e-9):
        raise ValueError(f"times must be multiples of {TIME_STEP} ps, got {time} ps")
    return steps
