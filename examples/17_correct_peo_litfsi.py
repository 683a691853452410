"""17. What MD does where a model has led: corrections of a model of PEO with LiTFSI.

    python examples/9_train_peo_litfsi.py --frames-only --output peo
    cgml run peo-litfsi peo/train/*.h5md --replicas 2 --time 12000 --stride 10 \
        --output peo/own
    python examples/17_correct_peo_litfsi.py --run peo/own --output data/peo_litfsi

In long runs a model is asked for steps from where its own errors have brought it, and
no frame of equilibrium MD says what follows there. This script does: it puts atoms in
the place of the beads of some frames and simulates each for a few steps of the model.
After a kill, the same command does what is missing. In a training file they are
`corrections`.
"""

import argparse
import time
from pathlib import Path

import mdtraj
import numpy as np
from openmm import app

from cgml.models.file import find_model, read_spec
from cgml.molecules.recipe import Recipe
from openmm_cgml import Backmapper
from openmm_cgml.testsystems.peo_beads import (
    bead_positions,
    box_of,
    read_beads,
    write_branch,
)
from openmm_cgml.testsystems.peo_protocol import peo_simulation, placement, set_edge
from openmm_cgml.testsystems.peo_runs import TEMPERATURE

DATA = Path(__file__).parents[1] / "data" / "peo_litfsi"
INTERVAL = 2.0  # ps


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of cgml run")
    parser.add_argument("--model", default="peo-litfsi", help="that moved the beads")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of bead frames")
    parser.add_argument("--output", type=Path, default=Path("peo_corrections"))
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[15, 35, 58], help="of each path"
    )
    parser.add_argument("--length", type=float, default=160.0, help="of each MD, ps")
    return parser.parse_args()


def simulated(simulation: app.Simulation, length: float) -> np.ndarray:
    """Go on for some ps; frames of atoms, not wrapped, (n_frames, n_atoms, 3), nm."""
    n_steps = round(INTERVAL / simulation.integrator.getStepSize()._value)
    frames = []
    for _ in range(round(length / INTERVAL)):
        simulation.step(n_steps)
        frames.append(placement(simulation)[0])
    return np.array(frames)


def correct(path: Path, options: argparse.Namespace) -> None:
    """Simulate from frames of a path of the model, NAME_rREPLICA.dcd."""
    name, _, replica = path.stem.rpartition("_r")
    trunk = options.data / f"{name}.xtc"
    beads = read_beads(trunk, Recipe.from_spec(read_spec(find_model(options.model))))
    melt = box_of(trunk)
    set_edge(melt, float(beads.box[0, 0]))
    backmapper = Backmapper.from_model(options.model, beads.mapping, melt.system)
    with mdtraj.formats.DCDTrajectoryFile(str(path)) as stream:
        positions = 0.1 * stream.read()[0]  # from angstroms
    for frame in options.frames:
        stem = f"correction_{name.partition('_')[2]}_r{replica}_f{frame}"
        output, start = options.output / f"{stem}.xtc", time.monotonic()
        if output.exists():
            continue
        atoms, report = backmapper.map(positions[frame], beads.box, number=frame)
        if report.problem:
            print(f"{stem}: left out, {report.problem}")
            continue
        seed = 1000 * int(replica) + frame
        simulation = peo_simulation(melt, TEMPERATURE, seed=seed)
        simulation.context.setPositions(atoms)
        simulation.context.setVelocitiesToTemperature(TEMPERATURE, 1 + seed)
        frames = bead_positions(melt, simulated(simulation, options.length))
        origin = {"model": options.model, "replica": int(replica), "frame": frame}
        write_branch(output, trunk, frames, INTERVAL, origin)
        print(f"{stem}: {options.length:g} ps in {time.monotonic() - start:.0f} s")


def main(options: argparse.Namespace) -> None:
    paths = sorted(options.run.glob("train_*_r*.dcd"))
    if not paths:
        raise SystemExit(f"{options.run} has no paths of training boxes, train_*.dcd")
    for path in paths:
        correct(path, options)


if __name__ == "__main__":
    main(parse_options())
