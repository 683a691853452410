"""7. Polymer electrolytes: train on boxes, and run the bundled model in OpenMM.

    python examples/7_polymer_electrolyte.py [FOLDER]

FOLDER holds boxes of example 6; without it two small ones are simulated first. The
network and the training are far too small to be good. Then the bundled model, which is,
moves the first box: an ordinary OpenMM script with another integrator.
"""

import sys
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from cgml import load_model
from cgml.spec import NetworkConfig
from cgml.training.config import DataConfig, OptimiserConfig, TrainingConfig
from cgml.training.fit import fit
from openmm_cgml import LearnedCGIntegrator
from openmm_cgml.testsystems import TEMPERATURE, polymer_electrolyte
from openmm_cgml.testsystems.electrolyte_protocol import ElectrolyteProtocol
from openmm_cgml.testsystems.electrolyte_runs import simulate_boxes

SEQUENCES = ["EEEEEXXXXXEEEEEXXXXX", "EEEEEEEEEEEEEEEEEEEE"]


def train(files: list[Path]) -> Path:
    config = TrainingConfig(
        name="small-electrolyte",
        output=Path("electrolyte-run"),
        time_step=4.0,  # ps: one call of the model
        n_history=1,
        atoms_per_bead=5,  # of the chains; an ion is a bead
        cutoff=2.0,  # nm; no friction: the networks move every centre of mass
        remove_drift=True,
        temperature=TEMPERATURE,  # K
        data=DataConfig(train=[str(files[0])], validation=[str(files[1])]),
        network=NetworkConfig(n_node=32, n_edge=16),
        optimiser=OptimiserConfig(
            n_steps=20, validate_every=10, rollout_steps=5, n_molecules=1
        ),
    )
    return fit(config)  # the same call after a kill goes on where it was


def run(sequence: str) -> None:
    melt = polymer_electrolyte(sequence, n_chains=8, n_ion_pairs=8, edge=6.0)
    integrator = LearnedCGIntegrator("polymer-electrolyte", topology=melt.topology)
    simulation = app.Simulation(melt.topology, melt.system, integrator)
    simulation.context.setPositions(melt.positions)
    simulation.minimizeEnergy()  # the forces of the System serve this alone
    simulation.reporters.append(
        app.DCDReporter("electrolyte.dcd", 1, enforcePeriodicBox=True)
    )
    before = simulation.context.getState(positions=True).getPositions(asNumpy=True)
    simulation.step(10)
    after = simulation.context.getState(positions=True).getPositions(asNumpy=True)
    moved = (after - before).value_in_unit(unit.nanometer)  # positions are unwrapped
    for name in ("E", "+", "-"):
        chosen = np.array([kind == name for kind in melt.types])
        square = np.square(moved[chosen]).sum(axis=1).mean()
        print(f"{name}: {square:.2f} nm^2 in 40 ps")


def main(folder: Path | None = None) -> None:
    print("OpenMM", openmm.version.version)
    if folder is None:
        protocol = ElectrolyteProtocol(n_frames=12, pressing=10.0, equilibration=10.0)
        folder = Path("small-electrolyte")
        simulate_boxes(SEQUENCES, folder, protocol, n_chains=8, n_ion_pairs=8)
    files = sorted(folder.glob("*.npz"))
    model = train(files)
    spec = load_model(model).spec
    print(f"{model}: types {', '.join(spec.particle_types)}, cutoff {spec.cutoff:g} nm")
    run(SEQUENCES[0])


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
