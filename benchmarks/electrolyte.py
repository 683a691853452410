"""Simulated time per second: a model of the polymer electrolyte beside OpenMM MD.

    python benchmarks/electrolyte.py [--model NAME] [--chains 24] [--rounds 5]

MD of one box with particle-mesh Ewald (CPU platform) and the model move the same
particles on one thread, in turns, so that a change of the machine's speed meets both;
medians of the rounds are printed with their range. Times are CPU times. Then come the
parts of a model step, the box repeated to about 900 beads, with and without OpenMM
around the propagator, and eight times that. NAME is a model file or the name of a
bundled model. The last line is what `cgml evaluate --md-cost` takes for this box.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from openmm import app, unit
from timing import (
    EXECUTIONS,
    compile_if_needed,
    cpu_time,
    in_turns,
    peak_memory,
    report,
    report_rate,
)

from cgml.dynamics.propagator import Propagator, State
from cgml.memory import keep_freed_memory
from cgml.models.file import load_model
from cgml.models.members import bind
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.systems import Systems
from cgml.network.model import LearnedModel
from cgml.spec import Execution
from openmm_cgml.beads import bead_system, bead_topology
from openmm_cgml.convert import graph_from_topology, periodic_box
from openmm_cgml.integrator import LearnedCGIntegrator
from openmm_cgml.testsystems import ElectrolyteSystem, polymer_electrolyte
from openmm_cgml.testsystems.chain_runs import TIME_STEP
from openmm_cgml.testsystems.electrolyte_protocol import ElectrolyteProtocol
from openmm_cgml.testsystems.electrolyte_runs import electrolyte_simulation

MD_TIME, MODEL_STEPS = 5.0, 5  # of one round: ps, steps
SEQUENCE = "EEEXX" * 4


class Box(NamedTuple):
    """Where a box stands.

    Attributes:
        mapping: atoms to beads.
        beads: (n_beads, 3) nm.
        vectors: (3, 3) nm.
    """

    mapping: Mapping
    beads: NDArray[np.float64]
    vectors: NDArray[np.float64]


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


def md_round(simulation: app.Simulation) -> None:
    """Do MD_TIME of MD."""
    simulation.step(round(MD_TIME / TIME_STEP))
    simulation.context.getState(energy=True)  # waits for the steps


def start_model(
    model: LearnedModel, melt: ElectrolyteSystem, simulation: app.Simulation
) -> Box:
    """The same box from where MD stands."""
    state = simulation.context.getState(positions=True)
    atoms = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    graph = graph_from_topology(melt.topology, model.spec.particle_types)
    mapping = Mapping.from_spec(graph, model.spec)
    beads = mapping.positions(np.asarray(atoms))
    return Box(mapping, beads, periodic_box(simulation.context))


def repeat(box: Box, counts: tuple[int, int, int]) -> Box:
    """Put copies of a box side by side."""
    graph, cells = box.mapping.graph, np.array(list(product(*map(range, counts))))
    n = len(cells)
    bonds = [graph.bonds + number * graph.n_atoms for number in range(n)]
    labels = [
        box.mapping.bead_index + number * box.mapping.n_beads for number in range(n)
    ]
    whole = MolecularGraph.create(
        list(graph.types) * n, np.tile(graph.masses, n), np.concatenate(bonds)
    )
    return Box(
        Mapping.from_labels(whole, np.concatenate(labels)),
        np.concatenate([box.beads + cell @ box.vectors for cell in cells]),
        box.vectors * np.array(counts)[:, None],
    )


def mover(model: LearnedModel, box: Box, **options: Any) -> Callable[[], object]:
    """One step from one frame of a box, to be done again and again."""
    propagator = Propagator(
        model, box.mapping, box=box.vectors, guard="record", **options
    )
    return partial(propagator.step, propagator.start(box.beads))


def search(model: LearnedModel, box: Box) -> tuple[Callable[[], object], int]:
    """One neighbour search, and the number of edges."""
    systems = Systems([box.mapping], torch.device("cpu"), box.vectors)
    stepper = bind(model, systems, None, Execution())
    positions = torch.tensor(box.beads)
    view = stepper.view(positions)
    if view is None:
        raise ValueError("a model that sees its neighbours is required")
    # another tensor each time: of the same one the stepper remembers the neighbours
    return lambda: stepper.view(positions.clone()), 2 * len(view[1].receiver)


def overhead(model: LearnedModel, box: Box, rounds: int) -> NDArray[np.float64]:
    """Time that LearnedCGIntegrator adds, in parts of the propagator's time."""
    integrator = LearnedCGIntegrator(model, topology=box.mapping, guard="record")
    platform = openmm.Platform.getPlatformByName("CPU")
    simulation = app.Simulation(
        bead_topology(box.mapping, box.vectors),
        bead_system(box.mapping, box.vectors),
        integrator,
        platform,
        {"Threads": "1"},
    )
    simulation.context.setPositions(box.beads)
    integrator.step(1)
    inside: list[float] = []
    step = Propagator.step

    def timed(propagator: Propagator, state: State) -> State:
        begin = time.process_time()
        following = step(propagator, state)
        inside.append(time.process_time() - begin)
        return following

    with patch.object(Propagator, "step", timed):
        whole = [cpu_time(lambda: integrator.step(1)) for _ in range(rounds)]
    return np.array(whole) / np.array(inside) - 1.0


def report_parts(model: LearnedModel, box: Box, rounds: int) -> None:
    """Print what a step of the box consists of."""
    sampler = model.spec.refinement
    longer = sampler.model_copy(update={"n_levels": 2 * sampler.n_levels})
    find, n_edges = search(model, box)
    seconds = in_turns(
        {
            "step": (mover(model, box), MODEL_STEPS),
            "longer": (mover(model, box, refinement=longer), MODEL_STEPS),
            "search": (find, MODEL_STEPS),
        },
        rounds,
    )
    evaluation = (seconds["longer"] - seconds["step"]) / sampler.n_levels
    layers = model.spec.network.n_refiner_layers
    print(f"{box.mapping.n_beads} beads, {n_edges} edges")
    report("step", 1e3 * seconds["step"], "ms")
    report("one score evaluation", 1e3 * evaluation, "ms")
    report("one neighbour search", 1e3 * seconds["search"], "ms")
    report("10^6 edges and layers / s", 1e-6 * n_edges * layers / evaluation, "")


def report_sizes(model: LearnedModel, box: Box, rounds: int) -> None:
    """Print time and memory of eight times a box, in those of the box."""
    peaks, works = {}, {}
    for name, counts in (("one", (1, 1, 1)), ("eight", (2, 2, 2))):
        work = mover(model, repeat(box, counts))
        peaks[name] = peak_memory(work)
        works[name] = work, 3 if name == "one" else 1
    seconds = in_turns(works, rounds)
    report("eight boxes / one, time", seconds["eight"] / seconds["one"], "x")
    print(
        f"{'memory of a step':>28}: one box {peaks['one']:.0f} MiB, "
        f"eight boxes {peaks['eight']:.0f} MiB, {peaks['eight'] / peaks['one']:.1f} x"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="polymer-electrolyte")
    parser.add_argument("--chains", type=int, default=24, help="also ion pairs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pressing", type=float, default=20.0, help="ps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()

    model, n = load_model(options.model), options.chains
    compile_if_needed(model)
    melt = polymer_electrolyte(SEQUENCE, n_chains=n, n_ion_pairs=n)
    simulation = start_md(melt, options.pressing)
    box = start_model(model, melt, simulation)
    movers: dict[str, tuple[Callable[[], object], int]] = {
        "MD": (lambda: md_round(simulation), 1)
    }
    for name, execution in EXECUTIONS.items():
        movers[name] = mover(model, box, execution=execution), MODEL_STEPS
    seconds = in_turns(movers, options.rounds)
    md_speed = MD_TIME / seconds["MD"]  # ps/s
    print(f"{len(melt.types)} particles, one thread, {options.rounds} rounds")
    report("OpenMM MD", md_speed, "ps/s")
    for name in EXECUTIONS:
        report(f"{name} / MD", model.spec.time_step / seconds[name] / md_speed, "x")
        if name != "float32":
            report(f"float32 / {name}", seconds["float32"] / seconds[name], "x")
    report_rate(movers["float32"][0], seconds["float32"], options.rounds)
    print(f"{'copies to a device and back':>28}: none, all is done on the CPU")
    report_parts(model, box, options.rounds)
    large = repeat(box, (3, 2, 1))
    report_sizes(model, large, options.rounds)
    report_parts(model, large, options.rounds)
    added = 100.0 * overhead(model, large, 3 * options.rounds)
    report("LearnedCGIntegrator adds", added, "%")
    print(f"--md-cost {1.0 / np.median(md_speed):.4g}")


if __name__ == "__main__":
    main()
