"""10. A real polymer electrolyte in OpenMM: one line of an MD script is different.

    python examples/10_peo_litfsi.py [--time 100] [--ageing 5] [--output FOLDER] [--ase]

Six chains of 20 ether oxygens with 9 LiTFSI at 423 K, united atoms, PME and rigid
bonds: packed, pressed to the density of the training boxes and relaxed with forces for
a moment; then the bundled model simulates 100 ns, in OpenMM or, with --ase, in ASE.
The displacements of Li, TFSI and chains are drawn over those of reference MD in
data/peo_litfsi, where that is at hand.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import ase.units
import mdtraj
import numpy as np
import openmm
from ase import Atoms
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from openmm import app, unit

from ase_cgml import CGMLDynamics
from cgml import load_model
from cgml.molecules.centres import centre_of_mass, centres_of_mass
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.observables.transport import Displacement, mean_squared_displacement
from openmm_cgml import LearnedCGIntegrator
from openmm_cgml.testsystems import PeoSystem, peo_litfsi
from openmm_cgml.testsystems.peo_beads import read_beads
from openmm_cgml.testsystems.peo_protocol import compressed, density, rescaled, set_edge

REFERENCE = Path(__file__).parents[1] / "data" / "peo_litfsi" / "train_8x16_10_2.xtc"
TEMPERATURE, DENSITY = 423.0, 1.11  # K, g/cm3
OPTIONS = {"seed": 1, "guard": "redraw"}  # a step out of range is drawn anew


class Paths(NamedTuple):
    """What either engine gives.

    Attributes:
        frames: of the atoms, unwrapped, (n_frames, n_atoms, 3), nm.
        interval: time between frames, ps.
        mapping: atoms to beads.
    """

    frames: NDArray[np.floating]
    interval: float
    mapping: Mapping


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="peo-litfsi", help="file or bundled name")
    parser.add_argument("--time", type=float, default=100.0, help="ns")
    parser.add_argument("--ageing", type=float, default=5.0, help="ns, thrown away")
    parser.add_argument("--output", type=Path, default=Path("peo_litfsi_run"))
    parser.add_argument("--chains", type=int, default=6)
    parser.add_argument("--salt", type=int, default=9)
    parser.add_argument("--ase", action="store_true", help="in ASE, not OpenMM")
    return parser.parse_args()


def relax(melt: PeoSystem) -> NDArray[np.float64]:
    """Press a packed box to its density, and let forces work for 5 ps."""
    positions, edge = compressed(melt, TEMPERATURE)
    wanted = edge * (density(melt, edge) / DENSITY) ** (1.0 / 3.0)
    positions = rescaled(melt, positions, edge, wanted)
    set_edge(melt, wanted)
    integrator = openmm.LangevinMiddleIntegrator(
        TEMPERATURE * unit.kelvin, 0.5 / unit.picosecond, 5 * unit.femtosecond
    )
    integrator.setRandomNumberSeed(1)
    simulation = app.Simulation(melt.topology, melt.system, integrator)
    simulation.context.setPositions(positions)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(TEMPERATURE * unit.kelvin, 1)
    simulation.step(1000)
    state = simulation.context.getState(positions=True)
    return np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))


def run(
    melt: PeoSystem, positions: NDArray[np.float64], options: argparse.Namespace
) -> Paths:
    """The script: the integrator is the line that is different."""
    # integrator = openmm.LangevinMiddleIntegrator(423, 0.5, 0.005)
    integrator = LearnedCGIntegrator(options.model, topology=melt.topology, **OPTIONS)
    simulation = app.Simulation(melt.topology, melt.system, integrator)
    simulation.context.setPositions(positions)
    trajectory = options.output / "run.xtc"
    simulation.reporters.append(
        app.XTCReporter(str(trajectory), 1, enforcePeriodicBox=False)
    )
    step = integrator.getStepSize().value_in_unit(unit.nanosecond)
    simulation.step(max(2, round((options.ageing + options.time) / step)))
    print(f"drawn anew: {integrator.getGuardCounts()}")
    topology = mdtraj.Topology.from_openmm(melt.topology)
    frames = mdtraj.load_xtc(str(trajectory), top=topology)
    return Paths(frames.xyz, 1000.0 * step, integrator.getMapping())


def run_in_ase(
    melt: PeoSystem, positions: NDArray[np.float64], options: argparse.Namespace
) -> Paths:
    """The same in ASE: the calculator is the line."""
    vectors = melt.system.getDefaultPeriodicBoxVectors()
    atoms = Atoms(
        [atom.element.symbol for atom in melt.topology.atoms()],
        positions=positions * ase.units.nm,
        masses=melt.masses,
        cell=[row.value_in_unit(unit.angstrom) for row in vectors],
        pbc=True,
    )
    topology = mdtraj.Topology.from_openmm(melt.topology)
    atoms.calc = CGMLDynamics(options.model, topology=topology, **OPTIONS)
    step = atoms.calc.model.spec.time_step  # ps
    frames = []
    with atoms.calc.dynamics(atoms, trajectory=options.output / "run.traj") as dynamics:
        dynamics.attach(lambda: frames.append(atoms.positions / ase.units.nm))
        dynamics.run(max(2, round(1000.0 * (options.ageing + options.time) / step)))
    return Paths(np.array(frames[1:]), step, atoms.calc.mapping(atoms))


def displacements(
    mapping: Mapping, positions: NDArray[np.floating], interval: float
) -> dict[str, Displacement]:
    """Mean squared displacements of the kinds of molecules, drift removed.

    Args:
        mapping: atoms to beads.
        positions: of the beads, (n_frames, n_beads, 3), nm.
        interval: time between frames, ps.
    """
    masses, molecule = mapping.bead_masses, mapping.molecule_index
    drift = centre_of_mass(positions, masses)
    centres = centres_of_mass(positions - drift[:, None], molecule, masses)
    n_beads, mass = np.bincount(molecule), np.bincount(molecule, weights=masses)
    kinds = {
        "Li": mass < 10.0,
        "TFSI": (n_beads == 1) & (mass > 10.0),
        "centre of chains": n_beads > 1,
    }
    longest = min(5000.0, 0.5 * interval * (len(positions) - 1))
    return {
        name: mean_squared_displacement(centres[:, chosen], interval, longest=longest)
        for name, chosen in kinds.items()
    }


def main(options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    melt = peo_litfsi([20] * options.chains, options.salt)
    positions = relax(melt)
    begin = time.perf_counter()
    paths = (run_in_ase if options.ase else run)(melt, positions, options)
    seconds = time.perf_counter() - begin
    print(f"{options.time + options.ageing:g} ns in {seconds:.0f} s")
    frames, interval = paths.frames, paths.interval
    aged = frames[min(round(1000.0 * options.ageing / interval), len(frames) // 2) :]
    found = displacements(paths.mapping, paths.mapping.positions(aged), interval)
    known: dict[str, Displacement] = {}
    if REFERENCE.exists():
        recipe = Recipe.from_spec(load_model(options.model).spec)
        md = read_beads(REFERENCE, recipe)
        known = displacements(md.mapping, md.positions, md.time_step)
    figure, axes = plt.subplots(figsize=(5.0, 4.0), layout="constrained")
    for (name, item), colour in zip(found.items(), ("C3", "C0", "0.4"), strict=True):
        axes.loglog(item.lags, item.values, color=colour, label=f"{name}, learned")
        if name in known:
            md_lags, md_mean = known[name].lags, known[name].values
            axes.loglog(md_lags, md_mean, "--", color=colour, label=f"{name}, MD")
    axes.set(xlabel="time / ps", ylabel="mean squared displacement / nm$^2$")
    axes.legend(fontsize="small")
    figure.savefig(options.output / "displacements.png", dpi=150)
    print(options.output / "displacements.png")


if __name__ == "__main__":
    main(parse_options())
