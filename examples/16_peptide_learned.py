"""15 and 16. All atoms of a peptide of L-alanine in OpenMM, rigid bonds of hydrogens.

    python examples/15_peptide_md.py [STEPS] [FOLDER]
    python examples/16_peptide_learned.py [STEPS] [FOLDER]

The first is molecular dynamics. The second is the same script with one line changed,
that of the integrator: its steps are of 1 ps. The model, which tells left from right,
is what example 14 has left in the folder (`peptide`). Both write peptide.xtc there.
"""

import sys
from pathlib import Path

import mdtraj
import numpy as np
import openmm.app

import openmm_cgml.testsystems.alanine


def main(steps: str = "200", folder: str = "peptide") -> None:
    here = Path(folder)
    start = openmm.app.PDBFile(str(here / "peptide.pdb"))
    topology = start.topology
    field = openmm.app.ForceField("amber14-all.xml")
    system = field.createSystem(topology, constraints=openmm.app.HBonds)
    integrator = openmm_cgml.LearnedCGIntegrator(here / "model.pt", topology=topology)
    simulation = openmm.app.Simulation(topology, system, integrator)
    simulation.context.setPositions(start.positions)
    path = here / "peptide.xtc"
    simulation.reporters.append(openmm.app.XTCReporter(str(path), 1))
    simulation.step(int(steps))
    look(path, topology)


def look(path: Path, topology: openmm.app.Topology) -> None:
    """Print which hands there are, and how far apart the ends."""
    frames = mdtraj.load(str(path), top=mdtraj.Topology.from_openmm(topology))
    is_l = openmm_cgml.testsystems.alanine.is_l
    hands = [is_l(topology, frame) for frame in frames.xyz]
    carbons = frames.topology.select("name CA")
    ends = frames.xyz[:, carbons[-1]] - frames.xyz[:, carbons[0]]
    print(f"{np.mean(hands):.0%} of the alanines in {len(hands)} frames are L")
    print(f"first to last alpha carbon: {np.linalg.norm(ends, axis=1).mean():.2f} nm")


if __name__ == "__main__":
    main(*sys.argv[1:3])
