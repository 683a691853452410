"""3. Equilibrate in OpenMM, swap the integrator for a learned one, stop, continue.

    python examples/3_run_in_openmm.py [MODEL] [STEPS]

MODEL is a model file or the name of a bundled model, STEPS a number of its steps. An
ordinary OpenMM script; one line is different, that of the integrator. Writes
equilibrated.xml, copolymer.pdb, copolymer.dcd and copolymer.chk.
"""

import sys
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from openmm import app, unit

from openmm_cgml import LearnedCGIntegrator, bead_simulation
from openmm_cgml.testsystems import copolymer_chain

DATA = Path(__file__).parent / "data" / "copolymer.npz"


def main(model: str = "copolymer-chain", steps: int = 100) -> None:
    with np.load(DATA) as data:  # a chain in random order, and a frame of it
        chain = copolymer_chain(str(data["sequence"]))
        positions = data["positions"]  # (n_atoms, 3) nm

    # with forces, as ever
    forces = openmm.LangevinMiddleIntegrator(120.272, 0.5, 0.01)  # K, 1/ps, ps
    before = app.Simulation(chain.topology, chain.system, forces)
    before.context.setPositions(positions * unit.nanometer)
    before.step(500)
    before.saveState("equilibrated.xml")

    # box and positions go over, from the file or from before.context.getState()
    text = Path("equilibrated.xml").read_text(encoding="utf-8")
    state = openmm.XmlSerializer.deserialize(text)
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)

    # the atoms, each carried along with its bead
    integrator = LearnedCGIntegrator(model, topology=chain.topology, seed=1)
    simulation = app.Simulation(chain.topology, chain.system, integrator)
    simulation.context.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())
    simulation.context.setPositions(state.getPositions())
    app.PDBFile.writeFile(chain.topology, positions * unit.nanometer, "copolymer.pdb")
    every = max(1, steps // 10)
    simulation.reporters += [
        app.DCDReporter("copolymer.dcd", every),
        app.CheckpointReporter("copolymer.chk", every),
        app.StateDataReporter(
            sys.stdout,
            every,
            time=True,
            temperature=True,  # the model's
            speed=True,
            progress=True,
            remainingTime=True,
            totalSteps=steps,
        ),
    ]
    simulation.step(steps)

    # later, perhaps in another process: the file holds history, seed and step
    integrator = LearnedCGIntegrator(model, topology=chain.topology)
    again = app.Simulation(chain.topology, chain.system, integrator)
    again.loadCheckpoint("copolymer.chk")
    # DCDReporter closes its file when it is gone
    simulation.reporters.clear()
    again.reporters.append(app.DCDReporter("copolymer.dcd", every, append=True))
    again.step(2 * steps - again.currentStep)
    again.reporters.clear()

    trajectory = mdtraj.load("copolymer.dcd", top="copolymer.pdb")
    radii = mdtraj.compute_rg(trajectory, masses=np.ones(trajectory.n_atoms))
    print(f"{len(radii)} frames, mean radius of gyration {radii.mean():.2f} nm")

    # the beads alone: smaller files, and no forces to compute for a reporter
    beads = bead_simulation(model, chain.topology, positions, seed=1)
    beads.step(steps)
    print(f"{beads.system.getNumParticles()} beads after {beads.currentStep} steps")


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(argument) for argument in sys.argv[2:3]))
