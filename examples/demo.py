"""The demo: a learned model moves a copolymer that it never saw, in OpenMM.

    python examples/demo.py [--model MODEL] [--steps N] [--output FOLDER]

The chain has 100 atoms in random order; examples/data/copolymer.npz holds its
sequence, a first frame, and the squared radius of gyration in 20,000 ps of reference
MD. Writes copolymer.dcd, and chain.png: the learned distribution and autocorrelation
of the squared radius of gyration over those of the reference.
"""

import argparse
import sys
from pathlib import Path

import matplotlib.figure
import mdtraj
import numpy as np
from openmm import app, unit

from cgml import Mapping, Propagator, load_model
from cgml.observables.statistics import autocorrelation, mean_estimate
from openmm_cgml import LearnedCGIntegrator
from openmm_cgml.testsystems import copolymer_chain

DATA = Path(__file__).parent / "data" / "copolymer.npz"
COLOURS = {"reference MD": "0.35", "learned": "tab:red"}


def simulate(
    model: str, steps: int, trajectory: Path
) -> tuple[mdtraj.Topology, Mapping]:
    """Run an ordinary OpenMM script; only the integrator is another one."""
    with np.load(DATA) as data:
        chain = copolymer_chain(str(data["sequence"]))
        start = data["positions"]  # (n_atoms, 3) nm
    integrator = LearnedCGIntegrator(model, topology=chain.topology, seed=1)
    simulation = app.Simulation(chain.topology, chain.system, integrator)
    simulation.context.setPositions(start * unit.nanometer)
    simulation.reporters.append(app.DCDReporter(str(trajectory), 1))
    simulation.reporters.append(
        app.StateDataReporter(
            sys.stdout,
            max(1, steps // 10),
            time=True,
            speed=True,
            progress=True,
            remainingTime=True,
            totalSteps=steps,
            separator="\t",
        )
    )
    simulation.step(steps)
    return mdtraj.Topology.from_openmm(chain.topology), integrator.getMapping()


def squared_radii(model: str, frames: np.ndarray, mapping: Mapping) -> np.ndarray:
    """Of all atoms, (n_frames,), nm^2: the model knows them from the beads."""
    learned = load_model(model)
    if not learned.spec.has_property:
        offset = frames - frames.mean(axis=1, keepdims=True)
        return (offset**2).sum(axis=2).mean(axis=1)
    propagator = Propagator(learned, [mapping] * len(frames))
    beads = mapping.positions(frames.astype(np.float64))  # (n_frames, n_beads, 3) nm
    return propagator.radius_of_gyration(propagator.start(beads.reshape(-1, 3))) ** 2


def draw(series: dict[str, tuple[np.ndarray, float]], path: Path) -> None:
    """Lay the learned distribution and autocorrelation over the reference."""
    figure = matplotlib.figure.Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    top = max(values.max() for values, _ in series.values())
    bins = np.linspace(0.0, 1.02 * top, 41)
    for name, (values, spacing) in series.items():
        mean = mean_estimate(values)
        label = f"{name}, mean {mean.value:.1f} ± {mean.error:.1f} nm²"
        style = {"color": COLOURS[name], "label": label}
        if name == "learned":
            left.hist(values, bins, density=True, histtype="step", linewidth=2, **style)
        else:
            left.hist(values, bins, density=True, alpha=0.4, **style)
        n_lags = min(len(values), round(600.0 / spacing))
        times = spacing * np.arange(n_lags)
        right.plot(times, autocorrelation(values)[:n_lags], color=COLOURS[name])
    left.set(xlabel="squared radius of gyration / nm²", ylabel="density / nm⁻²")
    left.legend(fontsize="small", loc="upper right")
    left.margins(y=0.25)
    right.axhline(0.0, color="0.8", linewidth=0.8)
    right.set(xlabel="time / ps", ylabel="autocorrelation", xlim=(0.0, None))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="copolymer-chain", help="file or name")
    parser.add_argument("--steps", type=int, default=1000, help="model steps")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder")
    parser.add_argument("--figure", type=Path, help="default: chain.png in the folder")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    trajectory = options.output / "copolymer.dcd"
    figure = options.figure or options.output / "chain.png"

    topology, mapping = simulate(options.model, options.steps, trajectory)
    frames = mdtraj.load_dcd(str(trajectory), top=topology).xyz
    with np.load(DATA) as data:
        reference = data["rg2"].astype(np.float64), float(data["spacing"])
    learned = squared_radii(options.model, frames, mapping)
    time_step = load_model(options.model).spec.time_step
    draw({"reference MD": reference, "learned": (learned, time_step)}, figure)
    print(f"trajectory: {trajectory}\nfigure:     {figure}")


if __name__ == "__main__":
    main()
