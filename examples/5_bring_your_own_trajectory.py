"""5. From a trajectory and a topology file of your own to a model, and a run with it.

    python examples/5_bring_your_own_trajectory.py

Any DCD, XTC, TRR, HDF5 or PDB trajectory will do, with a file that has the bonds. Here
two short oligomers are simulated first, in place of your own simulations: trained with
far too little data, the model is no good, but the way is the same. The command line
goes it too: cgml prepare, cgml train, cgml run.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from cgml import Propagator, load_model
from cgml.formats.trajectory import TrajectoryWriter, read_beads, write_topology
from cgml.molecules.recipe import Recipe
from cgml.training.coarsening import Coarsening
from cgml.training.config import TrainingConfig
from cgml.training.fit import fit
from cgml.training.preparation import prepare

FOLDER = Path("oligomer")
CONFIG = """
name = "oligomer"
output = "run"
time_step = 5.0       # ps, a multiple of the time between frames
temperature = 300.0   # K
friction = 1.0        # 1/ps, of the thermostat; leave out to learn the diffusion

[data]                # molecules of one list never in the other
train = ["beads/long.h5md"]
validation = ["beads/short.h5md"]

[network]
n_node = 32
n_edge = 16

[optimiser]
n_steps = 40
validate_every = 20
rollout_steps = 5
"""


def simulate(name: str, n_units: int) -> tuple[Path, Path]:
    """Your simulation: united atoms C-C-O in vacuum, 50 frames 1 ps apart."""
    topology, system = app.Topology(), openmm.System()
    residue = topology.addResidue("EO", topology.addChain())
    bonds, pairs = openmm.HarmonicBondForce(), openmm.NonbondedForce()
    for index, symbol in enumerate("CCO" * n_units):
        atom = app.Element.getBySymbol(symbol)
        topology.addAtom(f"{symbol}{index}", atom, residue)
        system.addParticle(atom.mass)
        pairs.addParticle(0.0, 0.35, 0.5)
        if index:
            bonds.addBond(index - 1, index, 0.15, 50_000.0)
    atoms = list(topology.atoms())
    for first, second in pairwise(atoms):
        topology.addBond(first, second)
    pairs.createExceptionsFromBonds([(i, i + 1) for i in range(len(atoms) - 1)], 0, 0)
    system.addForce(bonds)
    system.addForce(pairs)

    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.004)
    integrator.setRandomNumberSeed(1)
    simulation = app.Simulation(topology, system, integrator)
    zigzag = [(0.12 * i, 0.09 * (i % 2), 0.0) for i in range(len(atoms))]
    simulation.context.setPositions(zigzag * unit.nanometer)
    simulation.step(2_500)
    trajectory, start = FOLDER / f"{name}.xtc", FOLDER / f"{name}.pdb"
    with start.open("w") as stream:
        app.PDBFile.writeFile(topology, zigzag * unit.nanometer, stream)
    simulation.reporters.append(app.XTCReporter(str(trajectory), 250))
    simulation.step(12_500)
    return trajectory, start


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, n_units in (("long", 12), ("short", 8)):
        trajectory, topology = simulate(name, n_units)
        prepare([trajectory], topology, FOLDER / "beads", Coarsening(Recipe(4)))

    beads = read_beads(FOLDER / "beads" / "long.h5md")
    sizes = np.bincount(beads.mapping.bead_index)
    print(f"{len(beads.times)} frames, {beads.mapping.n_beads} beads of {sizes} atoms")

    config = FOLDER / "train.toml"
    config.write_text(CONFIG)
    model = load_model(fit(TrainingConfig.from_toml(config)))

    # after so little training the guards would stop it: let them only count
    propagator = Propagator(model, beads.mapping, seed=1, guard="record")
    state = propagator.start(beads.positions[-1])
    write_topology(FOLDER / "learned.pdb", beads.mapping, beads.positions[-1])
    with TrajectoryWriter(FOLDER / "learned.dcd", beads.mapping) as writer:
        for step in range(20):
            state = propagator.step(state)
            time = (step + 1) * model.spec.time_step  # ps
            writer.append(state.positions.numpy()[None], np.array([time]))
    print(f"learned.dcd: 20 steps of {model.spec.time_step:g} ps")
    print(f"guards tripped: {propagator.guard_counts}")


if __name__ == "__main__":
    main()
