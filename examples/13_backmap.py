"""13. Atoms in the place of beads: what surrounds Li in a run of the bundled model.

    python examples/13_backmap.py [--steps 50] [--md 200] [--output FOLDER]

Chains of 8 ether oxygens with LiTFSI, from the box of data/peo_litfsi that validated
the model: 50 steps of 20 ps, every 5th frame back-mapped while the run goes on. The
distribution of ether oxygens around Li is drawn over that of 200 ps of MD. Atoms and
forces are left as box.pdb and system.xml, which `cgml run` and `cgml backmap` read.
"""

import argparse
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from openmm import app, unit

from cgml.molecules.recipe import Recipe
from cgml.observables.structure import radial_distribution
from openmm_cgml import BackmappedReporter, Backmapper, LearnedCGIntegrator
from openmm_cgml.relaxation import Relaxation
from openmm_cgml.testsystems import PeoSystem, peo_litfsi
from openmm_cgml.testsystems.peo_beads import read_beads
from openmm_cgml.testsystems.peo_protocol import set_edge

START = Path(__file__).resolve().parents[1] / "data/peo_litfsi/validation_16x8_14_7.xtc"
MODEL, TEMPERATURE = "peo-litfsi", 423.0  # K


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50, help="of the model, 20 ps")
    parser.add_argument("--stride", type=int, default=5, help="steps between frames")
    parser.add_argument("--md", type=float, default=200.0, help="ps")
    parser.add_argument("--relaxation", type=float, default=6.0, help="ps, of a frame")
    parser.add_argument("--output", type=Path, default=Path("backmapped"))
    options = parser.parse_args()
    if options.steps < options.stride:
        parser.error("no frame is back-mapped: --steps is less than --stride")
    return options


def start() -> tuple[PeoSystem, NDArray[np.float64]]:
    """Box and atoms of the first frame."""
    beads = read_beads(START, Recipe(6.0, single_bead_limit=15))
    melt = peo_litfsi([8] * 16, 9)
    set_edge(melt, float(beads.box[0, 0]))
    return melt, beads.first_atoms.astype(np.float64)


def simulate_md(
    melt: PeoSystem, atoms: NDArray[np.float64], time: float
) -> NDArray[np.float64]:
    """MD, a frame each ps: what the model was made from."""
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 0.5, 0.005)
    simulation = app.Simulation(melt.topology, melt.system, integrator)
    simulation.context.setPositions(atoms)
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, 1)
    frames = []
    for _ in range(max(1, round(time))):
        simulation.step(200 if time >= 1.0 else round(time / 0.005))
        state = simulation.context.getState(positions=True)
        positions = state.getPositions(asNumpy=True)
        frames.append(positions.value_in_unit(unit.nanometer))
    return np.array(frames)


def run(
    melt: PeoSystem, atoms: NDArray[np.float64], options: argparse.Namespace
) -> NDArray[np.float64]:
    """The model, with a reporter that puts atoms in the place of the beads."""
    integrator = LearnedCGIntegrator(
        MODEL, topology=melt.topology, seed=1, guard="redraw"
    )
    simulation = app.Simulation(melt.topology, melt.system, integrator)
    simulation.context.setPositions(atoms)
    relaxation = Relaxation(time=options.relaxation, time_step=0.005)
    backmapper = Backmapper.from_model(
        MODEL, melt.topology, melt.system, relaxation=relaxation
    )
    path = options.output / "atoms.xtc"
    reporter = BackmappedReporter(path, options.stride, backmapper)
    simulation.reporters.append(reporter)
    simulation.step(options.steps)
    for report in reporter.reports:
        energy = report.energy / len(atoms)
        print(
            f"step {report.frame}: {energy:.3f} kJ/mol an atom, centres moved by "
            f"{report.deviation:.3f} nm, at most {report.farthest:.3f} nm "
            f"{report.problem}"
        )
    if all(report.problem for report in reporter.reports):
        raise SystemExit("no frame could be back-mapped")
    with mdtraj.formats.XTCTrajectoryFile(str(path)) as file:
        return file.read()[0].astype(np.float64)


def main(options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    melt, atoms = start()
    with (options.output / "box.pdb").open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(melt.topology, atoms * 10.0, file)  # Å
    forces = openmm.XmlSerializer.serialize(melt.system)
    (options.output / "system.xml").write_text(forces, encoding="utf-8")
    vectors = melt.topology.getPeriodicBoxVectors()
    cell = np.array(vectors.value_in_unit(unit.nanometer))
    types = np.array(melt.types)
    lithium, ethers = np.flatnonzero(types == "Li"), np.flatnonzero(types == "OS")
    figure, axes = plt.subplots(figsize=(5.0, 3.5), layout="constrained")
    for name, frames in (
        ("MD", simulate_md(melt, atoms, options.md)),
        ("model, back-mapped", run(melt, atoms, options)),
    ):
        found = radial_distribution(
            frames, cell, cutoff=0.6, pair=(lithium, ethers), n_bins=150, n_blocks=1
        )
        axes.plot(found.distances, found.values, label=name)
    axes.set(xlabel="Li-O(ether) / nm", ylabel="g(r)", xlim=(0.1, 0.6))
    axes.legend()
    figure.savefig(options.output / "li_o.png", dpi=150)
    print(options.output / "li_o.png")


if __name__ == "__main__":
    main(parse_options())
