"""Simulated time per second: a model of the polymer electrolyte beside OpenMM MD.

    python benchmarks/electrolyte.py [--model NAME] [--chains 24] [--rounds 5]

MD of one box with particle-mesh Ewald (CPU platform) and the model move the same
particles on one thread, in turns, so that a change of the machine's speed meets both;
medians of the rounds are printed with their range. NAME is a model file or the name of
a bundled model; without it, MD alone is measured. The last line is what
`cgml evaluate --md-cost` takes for this box.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from openmm import app, unit

from cgml.export import bundled_models, load_model
from cgml.mapping import Mapping
from cgml.memory import keep_freed_memory
from cgml.model import LearnedModel
from cgml.propagator import Propagator
from openmm_cgml.convert import graph_from_topology, periodic_box
from openmm_cgml.electrolyte import ElectrolyteProtocol, electrolyte_simulation
from openmm_cgml.reference import TIME_STEP
from openmm_cgml.testsystems import ElectrolyteSystem, polymer_electrolyte

MD_TIME, MODEL_STEPS = 5.0, 5  # of one round: ps, steps
SEQUENCE = "EEEXX" * 4


def start_md(melt: ElectrolyteSystem, time: float) -> app.Simulation:
    """MD on one thread, pressed to its density in a fixed time, ps."""
    protocol = ElectrolyteProtocol(n_threads=1)
    pressed = electrolyte_simulation(melt, protocol, pressure=0.0)
    pressed.step(round(time / TIME_STEP))
    state = pressed.context.getState(positions=True)
    return electrolyte_simulation(
        melt,
        protocol,
        positions=state.getPositions(asNumpy=True).value_in_unit(unit.nanometer),
        edge=periodic_box(pressed.context)[0, 0],
    )


def md_round(simulation: app.Simulation) -> float:
    """Simulated time, ps."""
    simulation.step(round(MD_TIME / TIME_STEP))
    simulation.context.getState(energy=True)  # waits for the steps
    return MD_TIME


def start_model(
    model: LearnedModel, melt: ElectrolyteSystem, simulation: app.Simulation
) -> Callable[[], float]:
    """The same box from where MD stands; returns what runs a round."""
    state = simulation.context.getState(positions=True)
    atoms = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    graph = graph_from_topology(melt.topology, model.spec.particle_types)
    mapping = Mapping.from_partition(graph, model.spec.atoms_per_bead)
    propagator = Propagator(
        model, [mapping], box=periodic_box(simulation.context), guard="record"
    )
    run = propagator.step(propagator.start(mapping.positions(np.asarray(atoms))))

    def model_round() -> float:
        nonlocal run
        for _ in range(MODEL_STEPS):
            run = propagator.step(run)
        return MODEL_STEPS * model.spec.time_step

    return model_round


def speed(one_round: Callable[[], float]) -> float:
    """Simulated time per second of one round, ps/s."""
    begin = time.perf_counter()
    simulated = one_round()
    return simulated / (time.perf_counter() - begin)


def find_model(name: str | None) -> LearnedModel | None:
    """The model, or None with a word on why there is none."""
    if name is None:
        print(f"no --model given (bundled: {', '.join(bundled_models())}): MD alone")
        return None
    if name not in bundled_models() and not Path(name).is_file():
        print(f"{name!r} is neither a bundled model nor a file: MD alone")
        return None
    return load_model(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--chains", type=int, default=24, help="also ion pairs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pressing", type=float, default=20.0, help="ps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()

    model = find_model(options.model)
    n = options.chains
    melt = polymer_electrolyte(SEQUENCE, n_chains=n, n_ion_pairs=n)
    simulation = start_md(melt, options.pressing)
    movers: dict[str, Callable[[], float]] = {"OpenMM MD": lambda: md_round(simulation)}
    if model is not None:
        movers[model.spec.name] = start_model(model, melt, simulation)

    speeds = np.array(  # (n_rounds, n_movers) ps/s
        [[speed(mover) for mover in movers.values()] for _ in range(options.rounds)]
    )
    print(f"{len(melt.types)} particles, one thread, {options.rounds} rounds")
    rows = [
        (name, column, "ps/s") for name, column in zip(movers, speeds.T, strict=True)
    ]
    if model is not None:
        rows.append(("model / MD", speeds[:, 1] / speeds[:, 0], "x"))
    for name, values, measure in rows:
        low, median, high = np.quantile(values, [0.0, 0.5, 1.0])
        print(f"{name:>18}: {median:8.2f} {measure} ({low:.2f} - {high:.2f})")
    print(f"--md-cost {1.0 / np.median(speeds[:, 0]):.4g}")


if __name__ == "__main__":
    main()
