"""Left and right: chains that wind one way, learned with `chiral` and without.

    python benchmarks/handedness.py FOLDER [--frames 1000] [--steps 5000] [--moves 1000]
        [--only right left plain]

Reference MD of right-handed chains (openmm_cgml.testsystems.handed_chains) trains three
models: one with chiral = true, one with it on the mirror images of the same frames, one
without. Each moves all chains from frames of other reference MD, for `--moves` steps;
printed are the signed volume of three bonds and the part of the dihedral angles that
stands elsewhere than in that reference, of the first and the last tenth and of all
steps. What is in FOLDER already is not made again.
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from cgml.dynamics.propagator import Propagator
from cgml.evaluation.measures import handedness
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject
from cgml.models.file import load_model
from cgml.molecules.recipe import Recipe
from cgml.spec import NetworkConfig, Refinement
from cgml.training.coarsening import Coarsening
from cgml.training.config import DataConfig, OptimiserConfig, TrainingConfig
from cgml.training.fit import fit
from cgml.training.preparation import prepare, read_prepared
from openmm_cgml.testsystems import FRICTION, TEMPERATURE
from openmm_cgml.testsystems.chain_runs import Protocol, ReferenceFrames, simulate
from openmm_cgml.testsystems.handed_chains import handed_chains

N_CHAINS, N_ATOMS = 12, 4
INTERVAL, TIME_STEP = 2.0, 4.0  # ps, of frames and of a model step
MIRROR = np.array([-1.0, 1.0, 1.0], dtype=np.float32)


class Case(NamedTuple):
    """A model: its name, whether it is chiral, and its data mirrored (-1) or not."""

    name: str
    chiral: bool
    hand: int


CASES = (
    Case("right", chiral=True, hand=1),
    Case("left", chiral=True, hand=-1),
    Case("plain", chiral=False, hand=1),
)


def reference(folder: Path, split: str, n_frames: int, seed: int) -> None:
    """Write right-handed frames and their mirror images as beads, one per atom."""
    if (folder / f"{split}_-1").exists():
        return
    chains = handed_chains(N_CHAINS, N_ATOMS, 1, np.random.default_rng(seed))
    protocol = Protocol(n_frames, INTERVAL, equilibration=100.0, seed=seed)
    frames = simulate(chains, protocol)
    for hand in (1, -1):
        positions = frames.positions if hand == 1 else frames.positions * MIRROR
        path = folder / f"{split}_{hand}.npz"
        ReferenceFrames(frames.sequences, positions, protocol).write(path)
        prepare([path], None, folder / f"{split}_{hand}", Coarsening(Recipe(1)))


def train(folder: Path, case: Case, n_steps: int) -> Path:
    """Train a model; it takes minutes on one core."""
    config = TrainingConfig(
        name=case.name,
        output=folder / case.name,
        time_step=TIME_STEP,
        temperature=TEMPERATURE,
        friction=FRICTION,
        data=DataConfig(
            train=[str(folder / f"train_{case.hand}" / "*.h5md")], split="time"
        ),
        network=NetworkConfig(
            n_node=24,
            n_edge=24,
            n_vectors=8,
            chiral=case.chiral,
            n_predictor_layers=1,
            n_refiner_layers=1,
        ),
        refinement=Refinement(sampler="ancestral", n_levels=10),
        optimiser=OptimiserConfig(
            n_steps=n_steps,
            learning_rate=4e-3,
            n_molecules=N_CHAINS,
            n_windows=8,
            average_decay=0.99,
            validate_every=max(n_steps // 2, 1),
            rollout_steps=20,
            n_threads=1,
        ),
    )
    return fit(config, on_note=print)


def follow(model: Path, starts: NDArray[np.float32], hand: int, n: int) -> Run:
    """Move chains by n steps from (n_chains, n_atoms, 3) nm; all are the same."""
    learned = load_model(model)
    frames = read_prepared(sorted((model.parents[1] / f"test_{hand}").glob("*.h5md")))
    mappings = [item.mapping for item in frames]
    propagator = Propagator(learned, mappings, seed=1, guard="record")
    state, found = propagator.start(starts.reshape(-1, 3)), []
    for _ in range(n):
        state = propagator.step(state)
        found.append(state.positions.numpy().reshape(starts.shape))
    return Run(np.stack(found, axis=1), TIME_STEP)


def judge(folder: Path, case: Case, model: Path, n_moves: int) -> None:
    """Print what a model makes of chains of its hand."""
    paths = sorted((folder / f"test_{case.hand}").glob("*.h5md"))
    frames = read_prepared(paths)
    right = Run(np.stack([item.positions for item in frames]), INTERVAL)
    run = follow(model, right.positions[:, 0], case.hand, n_moves)
    mapping = frames[0].mapping
    subject = Subject(case.name, mapping, {"chain": np.arange(mapping.n_beads)})
    first, *_, last = run.pieces(10)
    for text, part in (("first tenth", first), ("last tenth", last), ("all", run)):
        found = handedness.compute(Comparison(subject, right, part))
        one, other = (found[f"handedness_{k}"] for k in ("reference", "learned"))
        volumes = handedness.look(subject, part).volumes.mean(axis=1)
        n_kept = int((np.sign(volumes) == case.hand).sum())
        print(
            f"{case.name:6s} {text:12s} signed volume {other.value:+.4f} ± "
            f"{other.error:.4f}, reference {one.value:+.4f} ± {one.error:.4f}; angles "
            f"elsewhere {found['dihedral_deviation'].value:.4f}, by sampling "
            f"{found['dihedral_sampling'].value:.4f}; {n_kept} of {len(volumes)} "
            "chains keep their hand"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=5000, help="of the optimiser")
    parser.add_argument("--moves", type=int, default=1000, help="model steps")
    parser.add_argument("--only", nargs="*", help="models to train, by default all")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    reference(options.folder, "train", options.frames, seed=1)
    reference(options.folder, "test", options.frames, seed=2)
    for case in CASES:
        if options.only is None or case.name in options.only:
            model = train(options.folder, case, options.steps)
            judge(options.folder, case, model, options.moves)


if __name__ == "__main__":
    main()
