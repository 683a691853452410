"""2. Turn reference MD into bead frames and train a model on them.

    python examples/2_prepare_and_train.py [TRAIN.npz VALIDATION.npz]

The files are those of example 1. Without them a few short chains are simulated first.
The network and the run are far too small to be good; the numbers for a real model stand
in the card of the bundled one (cgml models copolymer-chain).
"""

import sys
from pathlib import Path

import numpy as np

from cgml import load_model
from cgml.molecules.recipe import Recipe
from cgml.spec import NetworkConfig
from cgml.training.coarsening import Coarsening
from cgml.training.config import DataConfig, OptimiserConfig, TrainingConfig
from cgml.training.fit import fit
from cgml.training.preparation import prepare
from openmm_cgml import testsystems
from openmm_cgml.testsystems import chain_runs

FOLDER = Path("copolymer")


def simulate(path: Path, n_chains: int, seed: int) -> Path:
    """Write short reference trajectories of chains of 30 atoms."""
    stream = np.random.default_rng(seed)
    sequences = [testsystems.random_sequence(30, "I", stream) for _ in range(n_chains)]
    protocol = chain_runs.Protocol(
        n_frames=40, interval=5.0, equilibration=20.0, seed=seed
    )
    path.parent.mkdir(exist_ok=True)
    chains = testsystems.packed_chains(sequences)
    chain_runs.simulate(chains, protocol).write(path)
    return path


def main(train: Path | None = None, validation: Path | None = None) -> None:
    # atoms -> beads of five atoms; molecules of one split never occur in the other
    frames = {
        "train": train or simulate(FOLDER / "train.npz", 4, seed=1),
        "validation": validation or simulate(FOLDER / "validation.npz", 2, seed=2),
    }
    for split, path in frames.items():
        files = prepare([path], None, FOLDER / split, Coarsening(Recipe(5)))
        print(f"{split}: {len(files)} molecules")

    config = TrainingConfig(
        name="small-copolymer",
        output=FOLDER / "run",
        time_step=20.0,  # ps: one call of the model
        temperature=testsystems.TEMPERATURE,  # K
        friction=testsystems.FRICTION,  # 1/ps: diffusion of the centre of mass
        data=DataConfig(
            train=[str(FOLDER / "train" / "*.h5md")],
            validation=[str(FOLDER / "validation" / "*.h5md")],
        ),
        network=NetworkConfig(n_node=32, n_edge=16),
        optimiser=OptimiserConfig(n_steps=40, validate_every=20, rollout_steps=5),
    )
    model = fit(config)  # the same call after a kill goes on where it was

    spec = load_model(model).spec
    types = ", ".join(spec.particle_types)
    print(f"{model}: one step is {spec.time_step:g} ps, types {types}")
    print(f"bonds of {spec.statistics.bond_length_range} nm in the training data")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:3]))
