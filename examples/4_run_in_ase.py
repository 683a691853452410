"""4. Run a learned model in ASE, stop, and continue from the .traj file.

    python examples/4_run_in_ase.py [MODEL] [STEPS]

MODEL is a model file or the name of a bundled model, STEPS a number of its steps.
The chain comes from a LAMMPS data file: 100 beads of types 1 to 4, which the model
calls A to D, in an order it has never seen. Writes copolymer.traj and copolymer.log.
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import read
from ase.io.trajectory import Trajectory

from ase_cgml import CGMLDynamics

DATA_FILE = Path(__file__).parent / "data" / "copolymer.data"
TYPE_NAMES = {1: "A", 2: "B", 3: "C", 4: "D"}


def radius_of_gyration(atoms: Atoms) -> float:
    """Of equal masses, nm."""
    offset = atoms.positions - atoms.positions.mean(axis=0)
    return float(np.sqrt((offset**2).sum(axis=1).mean()) / units.nm)


def main(model: str = "copolymer-chain", steps: int = 100) -> None:
    atoms = read(DATA_FILE, format="lammps-data")
    atoms.pbc = False  # the model was trained without a box
    atoms.calc = CGMLDynamics(model, type_names=TYPE_NAMES, seed=1)

    with atoms.calc.dynamics(
        atoms, trajectory="copolymer.traj", logfile="copolymer.log", loginterval=5
    ) as dynamics:
        dynamics.attach(
            lambda: print(
                f"{dynamics.get_time() / (1000 * units.fs):8.0f} ps   "
                f"radius of gyration {radius_of_gyration(atoms):.2f} nm"
            ),
            interval=max(1, steps // 5),
        )
        dynamics.run(steps)

    # Later, in another process: the file knows the history, the bonds and the seed.
    again = read("copolymer.traj")
    again.calc = CGMLDynamics(model)
    with again.calc.dynamics(
        again, trajectory="copolymer.traj", loginterval=5, append_trajectory=True
    ) as dynamics:
        dynamics.run(steps)

    with Trajectory("copolymer.traj") as frames:
        radii = [radius_of_gyration(frame) for frame in frames]
    print(f"{len(radii)} frames, mean radius of gyration {np.mean(radii):.2f} nm")


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(argument) for argument in sys.argv[2:3]))
