"""Simulated time per second: the bundled chain model beside OpenMM MD, one run.

    python benchmarks/chains.py [--chains 40] [--rounds 5]

Both move the same random copolymers on one thread, in turns, so that a change of the
machine's speed meets both; medians of the rounds are printed with their range. Times
are CPU times. The model runs in four ways (float32 and bfloat16, compiled and not), and
once with each chain by itself. The last line is what `cgml evaluate --md-cost` takes
for this number of chains.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from openmm import unit
from timing import EXECUTIONS, compile_if_needed, in_turns, report, report_rate

from cgml.dynamics.propagator import Propagator, State
from cgml.memory import keep_freed_memory
from cgml.models.file import load_model
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel
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
    mappings = [Mapping.from_spec(g, model.spec) for g in graphs]
    atoms = np.split(np.asarray(positions), len(graphs))
    beads = [m.positions(x) for m, x in zip(mappings, atoms, strict=True)]
    propagator = Propagator(model, mappings, guard="record")
    return propagator, propagator.step(propagator.start(np.concatenate(beads)))


def model_movers(
    model: LearnedModel, propagator: Propagator, run: State
) -> dict[str, Callable[[], object]]:
    """Work to time: one step in several ways, and its parts.

    Args:
        model: of the propagator.
        propagator: of all chains.
        run: where they stand.
    """
    mappings, levels = propagator.mappings, model.spec.refinement.n_levels
    longer = model.spec.refinement.model_copy(update={"n_levels": 2 * levels})
    ways = {name: {"execution": how} for name, how in EXECUTIONS.items()}
    ways["twice the evaluations"] = {"refinement": longer}
    movers: dict[str, Callable[[], object]] = {}
    for name, options in ways.items():
        bound = Propagator(model, mappings, guard="record", **options)
        movers[name] = partial(bound.step, run)
    for name in ("float32", "compiled"):
        alone = Propagator(
            model, mappings[0], guard="record", execution=EXECUTIONS[name]
        )
        begin = alone.start(run.positions[propagator.slices[0]])
        movers[f"{name}, one chain"] = partial(alone.step, begin)
    return movers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="copolymer-chain")
    parser.add_argument("--chains", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()

    generator = np.random.default_rng(0)
    n_chains = options.chains
    sequences = [random_sequence(100, "II", generator) for _ in range(n_chains)]
    packed = packed_chains(sequences)
    model = load_model(options.model)
    compile_if_needed(model)
    context, integrator = start_md(packed, model.spec.temperature)
    propagator, run = start_model(model, packed, context)

    def md() -> None:
        integrator.step(MD_STEPS)
        context.getState(energy=True)  # waits for the steps

    movers = {"MD": md, **model_movers(model, propagator, run)}
    often = {"MD": 1} | {name: 10 for name in movers if "one chain" in name}
    works = {
        name: (work, often.get(name, MODEL_STEPS)) for name, work in movers.items()
    }
    seconds = in_turns(works, options.rounds)
    md_speed = MD_STEPS * TIME_STEP / seconds["MD"]  # ps of all chains per second
    print(f"{n_chains} chains of 100 atoms, one thread, {options.rounds} rounds")
    report("OpenMM MD", md_speed, "ps/s")
    for name in EXECUTIONS:
        speed = model.spec.time_step / seconds[name]
        report(f"{name} / MD", speed / md_speed, "x")
        report(f"{name}, step", 1e3 * seconds[name], "ms")
        if name != "float32":
            report(f"float32 / {name}", seconds["float32"] / seconds[name], "x")
    print_parts(model, n_edges_of(propagator), seconds, n_chains)
    report_rate(movers["float32"], seconds["float32"], options.rounds)
    print(f"{'copies to a device and back':>28}: none, all is done on the CPU")
    print(f"--md-cost {1.0 / np.median(md_speed):.4g}")


def n_edges_of(propagator: Propagator) -> int:
    """Edges of the chains: all pairs of a chain, both ways."""
    return sum(item.n_beads * (item.n_beads - 1) for item in propagator.mappings)


def print_parts(
    model: LearnedModel, n_edges: int, seconds: dict[str, NDArray[np.float64]], n: int
) -> None:
    """Print the score evaluation, edges per second, and batch against single."""
    levels = model.spec.refinement.n_levels
    evaluation = (seconds["twice the evaluations"] - seconds["compiled"]) / levels
    layers = model.spec.network.n_refiner_layers
    report("one score evaluation", 1e3 * evaluation, "ms")
    report("10^6 edges and layers / s", 1e-6 * n_edges * layers / evaluation, "")
    print(f"{'neighbour search':>28}: none, all pairs of a chain are fixed")
    for name in ("float32", "compiled"):
        alone = seconds[f"{name}, one chain"]
        report(f"{name}, one chain", 1e3 * alone, "ms")
        report(f"{n} of them / batch", n * alone / seconds[name], "x")


if __name__ == "__main__":
    main()
