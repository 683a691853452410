"""The copolymer of examples/ as ASE reads it, for the tests of the ASE adapter."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from ase_cgml import LearnedCGMD, bead_atoms
from ase_cgml.calculator import CGMLDynamics
from cgml.network.model import LearnedModel

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA_FILE = EXAMPLES / "data" / "copolymer.data"
NAMES = {1: "A", 2: "B", 3: "C", 4: "D"}
N_ATOMS, N_BEADS = 100, 20


def read_chain() -> Atoms:
    atoms = read(DATA_FILE, format="lammps-data")
    atoms.pbc = False
    return atoms


def make_dynamics(
    model: Path | LearnedModel, *, beads: bool = False, seed: int | None = 7, **options
) -> LearnedCGMD:
    """A fresh start; guards only count, as the model is untrained."""
    atoms = read_chain()
    topology = None
    if beads:
        topology = CGMLDynamics(model, type_names=NAMES).mapping(atoms)
        atoms = bead_atoms(atoms, topology)
    atoms.calc = CGMLDynamics(
        model, topology=topology, type_names=NAMES, seed=seed, guard="record"
    )
    return atoms.calc.dynamics(atoms, **options)


def path_of(dynamics: LearnedCGMD, steps: int) -> np.ndarray:
    """Positions after each step, (steps, n, 3), Å."""
    run = dynamics.irun(steps)
    next(run)  # before the first step
    return np.array([dynamics.atoms.get_positions() for _ in run])
