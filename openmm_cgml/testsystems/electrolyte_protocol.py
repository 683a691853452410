"""How the electrolyte is simulated, and what comes out: protocol, frames, file."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml import units
from cgml.files import replacing
from openmm_cgml.testsystems import electrolyte
from openmm_cgml.testsystems.chain_runs import TIME_STEP, n_steps
from openmm_cgml.testsystems.electrolyte import ElectrolyteSystem

BLOCK = 1.0  # ps, between records of the box and between reports


@dataclass(frozen=True)
class ElectrolyteProtocol:
    """How reference dynamics of a box are run.

    Attributes:
        n_frames: frames to keep.
        interval: time between frames, ps.
        pressing: time at zero pressure, ps; the box is then fixed at the mean of the
            second half.
        equilibration: time in the fixed box that is thrown away, ps.
        seed: seed of the thermostat, the barostat and the velocities.
        platform: OpenMM platform name; None: the fastest present, or CPU where
            threads are asked for.
        n_threads: threads of the CPU platform; None: as OpenMM chooses.

    Raises:
        ValueError: no frames, no time between them, too short a time at zero
            pressure, a negative time or seed, times that are no multiples of the time
            step, or threads of another platform.
    """

    n_frames: int = 250
    interval: float = 2.0
    pressing: float = 250.0
    equilibration: float = 400.0
    seed: int = 0
    platform: str | None = None
    n_threads: int | None = None

    def __post_init__(self) -> None:
        """Check the times and the platform."""
        for name, value, least in (
            ("n_frames", self.n_frames, 1),
            ("interval", self.interval, TIME_STEP),
            ("pressing", self.pressing, 2.0 * BLOCK),
            ("equilibration", self.equilibration, 0.0),
            ("seed", self.seed, 0),
        ):
            if not least <= value < math.inf:
                raise ValueError(f"{name} must be {least:g} or more, got {value:g}")
        for time in (self.interval, self.pressing, self.equilibration):
            n_steps(time)
        if self.n_threads is not None and self.platform not in {None, "CPU"}:
            raise ValueError(
                "threads are chosen on the platform CPU, got n_threads = "
                f"{self.n_threads} with {self.platform}"
            )

    @property
    def time(self) -> float:
        """Time to simulate, all stages, ps."""
        return self.pressing + self.equilibration + self.n_frames * self.interval


@dataclass(frozen=True, eq=False)
class ElectrolyteFrames:
    """Frames of reference dynamics of a box.

    Attributes:
        melt: what was simulated.
        edge: of the cubic box while the frames were kept, nm.
        positions: unwrapped, (n_frames, n_particles, 3), nm; the centre of mass of the
            box stays where it is in the first frame.
        energy: potential energy per particle, and kT as the kinetic energy has it, in
            each frame, (n_frames, 2), kJ/mol.
        protocol: how they were made.
    """

    melt: ElectrolyteSystem
    edge: float
    positions: NDArray[np.float32]
    energy: NDArray[np.float64]
    protocol: ElectrolyteProtocol

    @property
    def density(self) -> float:
        """Particles per volume, 1/nm^3."""
        return float(self.positions.shape[1] / self.edge**3)

    def write(self, path: Path | str) -> None:
        """Write a .npz file that `cgml prepare` and `cgml train` read.

        Args:
            path: the file, ending in .npz. It holds x (frames), kind ("P", "+", "-" of
                each particle), chain (-1 for ions), seq, box (edge, nm), rho, energy,
                frac_e (1 for a monomer E, else 0) and meta (JSON).
        """
        melt = self.melt
        n_monomers, n_ions = len(melt.sequence), 2 * melt.n_ion_pairs
        chain = np.repeat(np.arange(melt.n_chains), n_monomers)
        is_e = [float(name == "E") for name in melt.sequence]
        with replacing(Path(path)) as temporary:
            np.savez_compressed(
                temporary,
                x=self.positions,
                kind=np.array([name if name in "+-" else "P" for name in melt.types]),
                chain=np.concatenate([chain, np.full(n_ions, -1)]),
                frac_e=np.tile(is_e, melt.n_chains),
                seq=np.array(melt.sequence),
                box=np.float64(self.edge),
                rho=np.float64(self.density),
                energy=self.energy,
                meta=np.array(json.dumps(meta_of(melt, self.protocol))),
            )


def meta_of(melt: ElectrolyteSystem, protocol: ElectrolyteProtocol) -> dict[str, Any]:
    """Write down the physics and the protocol, what decides the frames."""
    return {
        "chains": melt.n_chains,
        "length": len(melt.sequence),
        "salt": melt.n_ion_pairs,
        "group": 1,
        "frame": protocol.interval,
        "npt": protocol.pressing,
        "nvt": protocol.equilibration,
        "tau": protocol.n_frames * protocol.interval,
        "seed": protocol.seed,
        "dt": TIME_STEP,
        "gamma": electrolyte.FRICTION,
        "kT": units.thermal_energy(electrolyte.TEMPERATURE),
        "lb": electrolyte.BJERRUM_LENGTH,
        "kinds": {
            name: [electrolyte.MASS, kind.sigma, kind.depth, kind.sign]
            for name, kind in electrolyte.SPECIES.items()
        },
        "eps_cat": electrolyte.SPECIES[electrolyte.CATION].depth,
        "eps_pp": electrolyte.CATION_PAIR_DEPTH,
        "k_bond": electrolyte.BOND_STIFFNESS,
        "r0": electrolyte.BOND_LENGTH,
    }


def check_same(
    path: Path, melt: ElectrolyteSystem, protocol: ElectrolyteProtocol
) -> None:
    """Require that a file holds the box that would be simulated."""
    with np.load(path) as content:
        found = json.loads(str(content["meta"])) | {"seq": str(content["seq"])}
    expected = meta_of(melt, protocol) | {"seq": melt.sequence}
    for name, value in expected.items():
        if found.get(name) != value:
            raise ValueError(
                f"{path} is there and holds another box, its {name} is "
                f"{found.get(name)}, not {value}: take another folder"
            )
