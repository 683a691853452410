"""Simulated time per second: the bundled chain model beside OpenMM MD, one run.

    python benchmarks/chains.py [--chains 40] [--rounds 5]

Both move the same random copolymers on one thread, in turns, so that a change of the
machine's speed meets both; medians of the rounds are printed with their range. The
last line is what `cgml evaluate --md-cost` takes for this number of chains.
"""

import argparse
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import openmm
import torch
from openmm import unit

from cgml.export import load_model
from cgml.mapping import Mapping
from cgml.memory import keep_freed_memory
from cgml.model import LearnedModel
from cgml.propagator import Propagator, State
from openmm_cgml.convert import graph_from_topology
from openmm_cgml.testsystems import (
    ChainSystem,
    copolymer_chain,
    packed_chains,
    random_sequence,
)

MD_STEPS, MODEL_STEPS = 500, 5  # of one round
TIME_STEP = 0.01  # of MD, ps


def start_md(
    packed: ChainSystem, temperature: float
) -> tuple[openmm.Context, openmm.Integrator]:
    """MD of all chains in one System, on one thread; the caller keeps the Context."""
    integrator = openmm.LangevinMiddleIntegrator(
        temperature, 0.5 / unit.picosecond, TIME_STEP * unit.picosecond
    )
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(packed.system, integrator, platform, {"Threads": "1"})
    context.setPositions(packed.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=200)
    integrator.step(2000)
    return context, integrator


def start_model(
    model: LearnedModel, packed: ChainSystem, context: openmm.Context
) -> tuple[Propagator, State]:
    """The same chains from where MD stands."""
    state = context.getState(positions=True)
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    graphs = [
        graph_from_topology(
            copolymer_chain(sequence).topology, model.spec.particle_types
        )
        for sequence in packed.sequences
    ]
    mappings = [Mapping.from_partition(g, model.spec.atoms_per_bead) for g in graphs]
    atoms = np.split(np.asarray(positions), len(graphs))
    beads = [m.positions(x) for m, x in zip(mappings, atoms, strict=True)]
    propagator = Propagator(model, mappings, guard="record")
    return propagator, propagator.step(propagator.start(np.concatenate(beads)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="copolymer-chain")
    parser.add_argument("--chains", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()

    generator = np.random.default_rng(0)
    sequences = [random_sequence(100, "II", generator) for _ in range(options.chains)]
    packed = packed_chains(sequences)
    model = load_model(options.model)
    context, integrator = start_md(packed, model.spec.temperature)
    propagator, run = start_model(model, packed, context)

    speeds = np.empty((options.rounds, 2))  # ps of all chains per second: MD, model
    for row in speeds:
        begin = time.perf_counter()
        integrator.step(MD_STEPS)
        context.getState(energy=True)  # waits for the steps
        middle = time.perf_counter()
        for _ in range(MODEL_STEPS):
            run = propagator.step(run)
        end = time.perf_counter()
        row[0] = MD_STEPS * TIME_STEP / (middle - begin)
        row[1] = MODEL_STEPS * model.spec.time_step / (end - middle)
    print(f"{options.chains} chains of 100 atoms, one thread, {options.rounds} rounds")
    for name, values, measure in (
        ("OpenMM MD", speeds[:, 0], "ps/s"),
        (model.spec.name, speeds[:, 1], "ps/s"),
        ("model / MD", speeds[:, 1] / speeds[:, 0], "x"),
    ):
        low, median, high = np.quantile(values, [0.0, 0.5, 1.0])
        print(f"{name:>18}: {median:8.2f} {measure} ({low:.2f} - {high:.2f})")
    print(f"--md-cost {1.0 / np.median(speeds[:, 0]):.4g}")


if __name__ == "__main__":
    main()
