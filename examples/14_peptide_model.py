"""14. A model that tells left from right: a peptide of L-alanine.

    python examples/14_peptide_model.py [--time PS] [--steps N] [--output FOLDER]

Molecular dynamics of acetyl-(Ala)6-methylamide in the gas phase at 500 K (AMBER ff14SB,
rigid bonds of hydrogens), one run to learn from and one to judge by; then `cgml
prepare`, and `cgml train` with chiral = true. Some ten minutes on one core. Examples 15
and 16 use what this leaves in the folder `peptide`.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import openmm.app

import openmm_cgml.testsystems.alanine as alanine

SETTINGS = """
name = "peptide"
output = "model"
time_step = 1.0
temperature = 500.0
friction = 1.0

[data]
train = ["beads/train.h5md"]
split = "time"
gap = 20.0

[network]
chiral = true
n_vectors = 8
n_node = 24
n_edge = 16
n_predictor_layers = 1
n_refiner_layers = 2

[refinement]
sampler = "ancestral"
n_levels = 10

[optimiser]
n_steps = {steps}
learning_rate = 4e-3
n_molecules = 1
n_windows = 24
average_decay = 0.99
validate_every = {every}
rollout_steps = 40
"""


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", type=float, default=1200.0, help="of MD, ps")
    parser.add_argument("--steps", type=int, default=1800, help="of the optimiser")
    parser.add_argument("--output", type=Path, default=Path("peptide"))
    return parser.parse_args()


def simulate(path: Path, time: float, seed: int) -> None:
    """Write a run of MD, a frame per picosecond, and its topology beside it."""
    chain = alanine.alanine_chain(6)
    field = openmm.app.ForceField("amber14-all.xml")
    system = field.createSystem(chain.topology, constraints=openmm.app.HBonds)
    integrator = openmm.LangevinMiddleIntegrator(500, 1, 0.002)  # K, 1/ps, ps
    integrator.setRandomNumberSeed(seed)
    simulation = openmm.app.Simulation(chain.topology, system, integrator)
    simulation.context.setPositions(chain.positions)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(500, seed)
    simulation.step(round(time * 10))
    simulation.reporters.append(openmm.app.XTCReporter(str(path), 500))
    simulation.step(round(time * 500))
    state = simulation.context.getState(positions=True)
    with path.with_name("peptide.pdb").open("w", encoding="utf-8") as file:
        openmm.app.PDBFile.writeFile(chain.topology, state.getPositions(), file)


def command(folder: Path, *words: str) -> None:
    """Run `cgml` in the folder."""
    subprocess.run([sys.executable, "-m", "cgml", *words], cwd=folder, check=True)


def main(options: argparse.Namespace) -> None:
    folder = options.output
    folder.mkdir(parents=True, exist_ok=True)
    simulate(folder / "test.xtc", options.time, seed=2)
    simulate(folder / "train.xtc", options.time, seed=1)
    settings = SETTINGS.format(
        steps=options.steps, every=max(1, min(500, options.steps // 2))
    )
    (folder / "peptide.toml").write_text(settings, encoding="utf-8")
    command(
        *(folder, "prepare", "train.xtc", "test.xtc", "--topology", "peptide.pdb"),
        *("--atoms-per-bead", "10", "--output", "beads"),
    )
    command(folder, "train", "peptide.toml")
    shutil.copyfile(folder / "model" / "model.pt", folder / "model.pt")
    print(folder / "model.pt")


if __name__ == "__main__":
    main(parse_options())
