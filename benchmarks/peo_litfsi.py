"""Simulated time per second: a model of PEO with LiTFSI beside OpenMM MD.

    python benchmarks/peo_litfsi.py [BOX ...] [--model NAME] [--rounds 7]

A BOX is a file of `data/peo_litfsi` (the default: the test boxes there). MD of united
atoms (particle-mesh Ewald, steps of 5 fs, CPU platform) and the model move the same box
on one thread, each on from where it is, in turns, so that a change of the machine's
speed meets both; medians of the rounds are printed with their range. Times are CPU
times.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from timing import EXECUTIONS, compile_if_needed, in_turns, report

from cgml.dynamics.propagator import Propagator
from cgml.memory import keep_freed_memory
from cgml.models.file import load_model
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.recipe import Recipe
from cgml.network.model import LearnedModel
from cgml.spec import Execution
from openmm_cgml.testsystems.peo_beads import box_of, read_beads
from openmm_cgml.testsystems.peo_protocol import peo_simulation, set_edge
from openmm_cgml.testsystems.peo_runs import TEMPERATURE

DATA = Path(__file__).parents[1] / "data" / "peo_litfsi"
MD_TIME, MODEL_STEPS = 5.0, 10  # of one round: ps, steps


def md_mover(path: Path, beads: BeadTrajectory) -> Callable[[], object]:
    """MD of a box on one thread, MD_TIME at each call."""
    melt = box_of(path)
    set_edge(melt, float(beads.box[0, 0]))
    simulation = peo_simulation(melt, TEMPERATURE)
    simulation.context.setPositions(beads.first_atoms)
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, 1)
    n_steps = round(MD_TIME / simulation.integrator.getStepSize()._value)

    def move() -> None:
        simulation.step(n_steps)
        simulation.context.getState(energy=True)  # waits for the steps

    return move


def model_mover(
    model: LearnedModel, beads: BeadTrajectory, execution: Execution
) -> Callable[[], object]:
    """A step of the model at each call."""
    propagator = Propagator(
        model, beads.mapping, box=beads.box, guard="record", execution=execution
    )
    state = propagator.start(beads.positions[0])

    def move() -> None:
        nonlocal state
        state = propagator.step(state)

    return move


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "boxes", type=Path, nargs="*", default=sorted(DATA.glob("test_*.xtc"))
    )
    parser.add_argument("--model", default="peo-litfsi")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    model = load_model(options.model)
    compile_if_needed(model)
    for path in options.boxes:
        beads = read_beads(path, Recipe.from_spec(model.spec))
        works = {"MD": (md_mover(path, beads), 1)}
        for name in ("float32", "compiled", "bfloat16, compiled"):
            works[name] = model_mover(model, beads, EXECUTIONS[name]), MODEL_STEPS
        seconds = in_turns(works, options.rounds)
        speed = MD_TIME / seconds["MD"]
        print(f"{path.stem}: {beads.mapping.n_beads} beads, {options.rounds} rounds")
        report("OpenMM MD", speed, "ps/s")
        for name in tuple(works)[1:]:
            report(f"{name} step", 1e3 * seconds[name], "ms")
            report(f"{name} / MD", model.spec.time_step / seconds[name] / speed, "x")


if __name__ == "__main__":
    main()
