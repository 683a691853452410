"""Do extrapolation grades tell which chains a model gets wrong? The whole experiment.

    python benchmarks/extrapolation.py FOLDER MODEL... [--time 3000] [--steps 1000]
        [--chains test]

Forty chains: 20 of two to four blocks, a class that training never saw, 10 of a motif
and 10 random ones, as in training. Those of the test choose and calibrate nothing;
`--chains validation` are forty others, to choose by. FOLDER keeps what has been done:
killed and repeated, it goes on where it was, and a longer --time goes on from a shorter
one. <Rg^2> is a static average, so friction and time step of the reference MD are those
that sample it soonest (0.1 / ps and 0.02 ps; the first tenth of the time is thrown
away). MODELs are calibrated files (`cgml join`, `cgml train`). Printed are the errors
of the first model with the areas under the ROC curve of the grades of each: for errors
beyond 15 %, and for the class. Errors: bootstrap over the chains; labels: drawn anew
within the errors of both sides.
"""

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Literal

import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from openmm import unit

from cgml.dynamics.guards import EVERY
from cgml.dynamics.propagator import Propagator, State
from cgml.files import replacing
from cgml.models.file import load_model
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel
from cgml.observables.statistics import mean_estimate
from openmm_cgml.convert import graph_from_topology
from openmm_cgml.testsystems import (
    TEMPERATURE,
    copolymer_chain,
    packed_chains,
    random_sequence,
)

N_ATOMS, N_CHAINS, N_OUTSIDE, N_MOTIF = 100, 40, 20, 10
FRICTION, TIME_STEP, INTERVAL = 0.1, 0.02, 2.0  # 1/ps, ps, ps
PIECE, KEPT = 50.0, 50  # ps of MD, steps of a model: what a kill can cost
SEEDS = {"test": 4242, "validation": 777}
WRONG = 0.15  # relative error of <Rg^2>
Floats = NDArray[np.float64]


def block_sequence(stream: np.random.Generator) -> str:
    """Draw two to four blocks of one length; neighbours differ."""
    n, letters = int(stream.integers(2, 5)), ""
    for block in range(n):
        choices = [letter for letter in "ABCD" if letter != letters[-1:]]
        letters += str(stream.choice(choices)) * (N_ATOMS // n + (block < N_ATOMS % n))
    return letters


def sequences(which: str) -> list[str]:
    """Draw the chains, those outside the training class first; all are different."""
    drawn: list[str] = []
    taken = {_same(chain) for chain in sequences("test")} if which != "test" else set()
    stream = np.random.default_rng(SEEDS[which])
    while len(drawn) < N_CHAINS:
        n = len(drawn) - N_OUTSIDE
        kind: Literal["I", "II"] = "I" if n < N_MOTIF else "II"
        chain = (
            block_sequence(stream) if n < 0 else random_sequence(N_ATOMS, kind, stream)
        )
        if _same(chain) not in taken:
            taken.add(_same(chain))
            drawn.append(chain)
    return drawn


def _same(chain: str) -> str:
    """One name of chains alike: read backwards, or all charges of the other sign."""
    other = chain.translate(str.maketrans("CD", "DC"))
    return min(chain, chain[::-1], other, other[::-1])


def reference(chains: list[str], time: float, path: Path) -> Floats:
    """Squared radii of gyration, (n_frames, n_chains) nm^2, all that there are.

    Args:
        chains: their letters.
        time: to be reached, ps.
        path: what has been done, written every PIECE; where it goes on.
    """
    packed = packed_chains(chains, generator=np.random.default_rng(1))
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, FRICTION, TIME_STEP)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(packed.system, integrator, platform, {"Threads": "1"})
    rows: list[Floats] = []
    if path.exists():
        done = np.load(path)
        rows = list(done["rg2"])
        integrator.setRandomNumberSeed(1 + len(rows))  # a state has no generator's
        context.reinitialize()
        context.setState(openmm.XmlSerializer.deserialize(str(done["state"])))
    else:
        context.setPositions(packed.positions * unit.nanometer)
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=200)
        context.setVelocitiesToTemperature(TEMPERATURE, 1)
    while len(rows) * INTERVAL < time - 1e-6:
        for _ in range(round(PIECE / INTERVAL)):
            integrator.step(round(INTERVAL / TIME_STEP))
            atoms = context.getState(positions=True).getPositions(asNumpy=True)._value
            rows.append(squared_radius_of_gyration(atoms.reshape(len(chains), -1, 3)))
        state = context.getState(positions=True, velocities=True)
        text = openmm.XmlSerializer.serialize(state)
        with replacing(path) as temporary:
            np.savez(temporary, rg2=np.array(rows), state=np.array(text))
    return np.array(rows)


def rollout(
    model: LearnedModel, chains: list[str], steps: int, path: Path
) -> tuple[Floats, ...]:
    """Squared radii of gyration, nm^2, and grades, each (n_frames, n_chains).

    Args:
        model: calibrated.
        chains: their letters.
        steps: of the model, from stretched starts; a fifth is thrown away.
        path: what has been done, written every KEPT steps; where it goes on. It keeps
            the frames that grades are of, (n, n_beads, 3) nm, too.
    """
    spec, stream = model.spec, np.random.default_rng(2)
    built = [copolymer_chain(chain, stream) for chain in chains]
    mappings = [
        Mapping.from_spec(graph_from_topology(one.topology, spec.particle_types), spec)
        for one in built
    ]
    starts = [m.positions(b.positions) for m, b in zip(mappings, built, strict=True)]
    propagator = Propagator(model, mappings, guard="record", unseen="allow")
    state, begin = propagator.start(np.concatenate(starts)), 0
    kept: dict[str, list[Floats]] = {"rg2": [], "grades": [], "frames": []}
    if path.exists():
        done = np.load(path)
        kept = {name: list(done[name]) for name in kept}
        parts = {
            field.name: torch.from_numpy(done[field.name]) for field in fields(state)
        }
        state, begin = State(**parts), int(parts["step"][0])
    for step in range(begin, steps):
        state = propagator.step(state)
        kept["rg2"].append(propagator.radius_of_gyration(state) ** 2)
        if step % EVERY == 0:
            kept["grades"].append(propagator.grades(state.positions))
            kept["frames"].append(state.positions.numpy().astype(np.float32))
        if (step + 1) % KEPT == 0 or step + 1 == steps:
            now = {field.name: getattr(state, field.name) for field in fields(state)}
            with replacing(path) as temporary:
                np.savez(temporary, **{k: np.array(v) for k, v in kept.items()}, **now)
    sizes, grades = kept["rg2"], kept["grades"]
    return np.array(sizes[len(sizes) // 5 :]), np.array(grades[len(grades) // 5 :])


def area(score: Floats, is_bad: NDArray[np.bool_]) -> float:
    """Chance that a bad one has the higher score of two."""
    gaps = score[is_bad][:, None] - score[~is_bad][None]
    return float(np.mean((gaps > 0.0) + 0.5 * (gaps == 0.0)))


def deviation(draw: Callable[[np.random.Generator], float]) -> float:
    """Standard deviation of what is drawn 2,000 times, where it is defined."""
    stream = np.random.default_rng(3)
    return float(np.nanstd([draw(stream) for _ in range(2000)]))


def report(name: str, score: Floats, errors: Floats, noise: Floats) -> None:
    """Print the areas of one model."""
    classes = {
        "error": np.abs(errors) > WRONG,
        "class": np.arange(N_CHAINS) < N_OUTSIDE,
    }
    for what, is_bad in classes.items():

        def resampled(stream: np.random.Generator, own: NDArray = is_bad) -> float:
            places = stream.integers(len(own), size=len(own))
            mixed = 0 < own[places].sum() < len(own)
            return area(score[places], own[places]) if mixed else np.nan

        if 0 < is_bad.sum() < len(is_bad):
            found, spread = area(score, is_bad), deviation(resampled)
            print(f"{name}: area for {what} {found:.2f} +- {spread:.2f}")

    def relabelled(stream: np.random.Generator) -> float:
        is_bad = np.abs(errors + noise * stream.normal(size=len(errors))) > WRONG
        return area(score, is_bad) if 0 < is_bad.sum() < len(is_bad) else np.nan

    print(f"{name}: labels alone +- {deviation(relabelled):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--time", type=float, default=3000.0)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--chains", choices=list(SEEDS), default="test")
    options = parser.parse_args()
    folder = options.folder / options.chains
    folder.mkdir(parents=True, exist_ok=True)
    chains = sequences(options.chains)
    right = reference(chains, options.time, folder / "reference.npz")
    true = [mean_estimate(series) for series in right[len(right) // 10 :].T]
    errors = noise = np.zeros(0)
    for number, path in enumerate(options.models):
        model = load_model(path)
        name = f"{Path(path).stem}-{model.digest[:12]}.npz"
        sizes, grades = rollout(model, chains, options.steps, folder / name)
        if number == 0:
            made = [mean_estimate(series) for series in sizes.T]
            pairs = list(zip(made, true, strict=True))
            errors = np.array([a.value / b.value - 1.0 for a, b in pairs])
            noise = np.array(
                [np.hypot(a.error / a.value, b.error / b.value) for a, b in pairs]
            ) * (1.0 + errors)
            for chain, error, own in zip(chains, errors, noise, strict=True):
                print(f"{chain} {100 * error:+.0f} +- {100 * own:.0f} %")
        report(path, grades.mean(axis=0), errors, noise)


if __name__ == "__main__":
    main()
