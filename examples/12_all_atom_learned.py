"""11 and 12. All atoms of PEO with LiTFSI in OpenMM: PME, rigid bonds of hydrogens.

    python examples/11_all_atom_md.py [STEPS]
    python examples/12_all_atom_learned.py [STEPS]

The first is molecular dynamics. The second is the same script with one line changed,
that of the integrator: its steps are of 20 ps. Both write all_atom.xtc, all_atom.chk
and all_atom.pdb. The model, peo-litfsi, knows united atoms: it takes the hydrogens with
their carbons.
"""

import sys
from pathlib import Path

import numpy as np
import openmm.app

import openmm_cgml.testsystems

DATA = Path(__file__).parent / "data" / "peo_all_atom.npz"


def main(steps: int = 5) -> None:
    with np.load(DATA) as data:  # molecular dynamics at 423 K has left it
        positions, edge = data["positions"], float(data["edge"])  # nm
    box = openmm_cgml.testsystems.peo_litfsi(
        [8] * 40, 16, force_field="all-atom", edge=edge
    )
    integrator = openmm_cgml.LearnedCGIntegrator("peo-litfsi", topology=box.topology)
    simulation = openmm.app.Simulation(box.topology, box.system, integrator)
    simulation.context.setPositions(positions)
    with open("all_atom.pdb", "w", encoding="utf-8") as file:
        openmm.app.PDBFile.writeFile(box.topology, positions * 10.0, file)  # Å
    simulation.reporters += [
        openmm.app.XTCReporter("all_atom.xtc", 1),
        openmm.app.CheckpointReporter("all_atom.chk", steps),
        openmm.app.StateDataReporter(sys.stdout, 1, step=True, time=True),
    ]
    simulation.step(steps)
    constraints_hold(box.system, simulation)


def constraints_hold(system: openmm.System, simulation: openmm.app.Simulation) -> None:
    """Show how far the rigid bonds are from their lengths."""
    state = simulation.context.getState(positions=True)
    places = state.getPositions(asNumpy=True)._value
    errors = []
    for number in range(system.getNumConstraints()):
        one, other, length = system.getConstraintParameters(number)
        errors.append(np.linalg.norm(places[one] - places[other]) / length._value - 1)
    print(f"{len(errors)} constraints, off by at most {np.abs(errors).max():.0e}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
