"""Back-mapped frames of PEO with LiTFSI beside MD: of the MD itself and of a model.

    python benchmarks/backmapping.py FOLDER [--frames 100] [--run 0] [--output judged]
    python benchmarks/backmapping.py FOLDER --frames 20 --run 20 --figure li_o.png

FOLDER is a box of examples/8_simulate_peo_litfsi.py. Frames of its MD, evenly apart,
are mapped to beads and back, then frames of a run of the model from the first of them;
what they have is printed beside the frames of MD, with standard errors over frames, and
the figure has what surrounds Li. What is done is kept: a repeat goes on.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import mdtraj
import numpy as np
import openmm
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from cgml import units
from cgml.dynamics.propagator import Propagator
from cgml.evaluation import drawing
from cgml.models.file import load_model
from cgml.molecules.box import minimum_image
from cgml.molecules.graph import MolecularGraph, neighbours
from cgml.observables.peaks import highest_peak
from cgml.observables.structure import RadialDistribution, radial_distribution
from openmm_cgml import Backmapper
from openmm_cgml.relaxation import Relaxation
from openmm_cgml.testsystems.peo_protocol import set_edge
from openmm_cgml.testsystems.peo_runs import PeoBox

TEMPERATURE = 423.0  # K
SHELL = 0.30  # nm
TOLERANCE = 0.03  # nm, of the centres of frames of MD
FARTHEST, N_BINS = 0.6, 100  # of g(r), nm
SETTLED, APART = 1000.0, 400.0  # of the frames of a run, ps
SETS = {  # of frames: colour, label
    "MD": (drawing.REFERENCE, "MD"),
    "mapped": (drawing.BASELINE, "MD, mapped and back"),
    "run": (drawing.LEARNED, "model, back-mapped"),
}

Floats = NDArray[np.float64]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="peo-litfsi")
    parser.add_argument("--frames", type=int, default=100, help="of MD")
    parser.add_argument("--run", type=int, default=0, help="frames of the model")
    parser.add_argument("--time", type=float, default=8.0, help="of the relaxation, ps")
    parser.add_argument("--time-step", type=float, default=0.005, help="ps")
    parser.add_argument("--output", type=Path, default=Path("judged"))
    parser.add_argument("--figure", type=Path, help="file to draw")
    return parser.parse_args()


def torsions(graph: MolecularGraph, pattern: str) -> NDArray[np.int64]:
    """Four atoms in a row whose types begin with these letters, (n, 4)."""
    near = neighbours(graph.n_atoms, graph.bonds)
    rows = [
        (i, j, k, m)
        for j, k in graph.bonds.tolist()
        for i in near[j]
        for m in near[k]
        if i != k and m not in (j, i)
    ]
    letters = ["".join(graph.types[i][0] for i in row) for row in rows]
    wanted = {pattern, pattern[::-1]}
    return np.array(
        [row for row, name in zip(rows, letters, strict=True) if name in wanted]
    )


def gauche(atoms: Floats, rows: NDArray[np.int64]) -> float:
    """Fraction of torsions below 120 degrees."""
    a, b, c = (atoms[rows[:, k + 1]] - atoms[rows[:, k]] for k in range(3))
    one, other = np.cross(a, b), np.cross(b, c)
    cosine = (one * other).sum(1)
    cosine /= np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float((cosine > -0.5).mean())


class Surroundings(NamedTuple):
    """Lithium and the ether oxygens around it.

    Attributes:
        lithium, oxygens: which atoms they are.
    """

    lithium: NDArray[np.int64]
    oxygens: NDArray[np.int64]

    @classmethod
    def of(cls, graph: MolecularGraph) -> "Surroundings":
        """Tell ether oxygens from those of sulfur by what they are bonded to."""
        types = np.array(graph.types)
        carbons = {i for i, name in enumerate(types) if name.startswith("CH")}
        ends = {i: j for pair in graph.bonds.tolist() for i, j in (pair, pair[::-1])}
        oxygens = [i for i in np.flatnonzero(types == "O") if ends[int(i)] in carbons]
        return cls(np.flatnonzero(types == "Li"), np.array(oxygens))

    def within(self, atoms: Floats, box: Floats, distance: float) -> float:
        """Ether oxygens of each Li."""
        ways = atoms[self.lithium][:, None] - atoms[self.oxygens][None]
        near = np.linalg.norm(minimum_image(ways, box), axis=-1) < distance
        return float(near.sum() / len(self.lithium))

    def distribution(self, frames: list[Floats], box: Floats) -> RadialDistribution:
        """g(r), with errors of blocks of frames."""
        return radial_distribution(
            np.array(frames),
            box,
            cutoff=FARTHEST,
            pair=self,
            n_bins=N_BINS,
            n_blocks=min(5, len(frames)),
        )

    def running(self, found: RadialDistribution, box: Floats) -> Floats:
        """Ether oxygens of each Li up to the end of each bin, from g(r)."""
        edges = np.linspace(0.0, FARTHEST, N_BINS + 1)
        shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
        per_volume = len(self.oxygens) / abs(np.linalg.det(box))
        return np.asarray(per_volume * np.cumsum(found.values * shells))


class Judge:
    """A box, its MD and what back-mapping makes of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        folder, self.output = options.folder, options.output
        record = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        melt = PeoBox(**record["box"]).build()
        set_edge(melt, record["edge"])
        self.box = record["edge"] * np.eye(3)
        relaxation = Relaxation(time=options.time, time_step=options.time_step)
        self.backmapper = Backmapper.from_model(
            options.model, melt.topology, melt.system, relaxation=relaxation
        )
        self.mapping = self.backmapper.ingredients.mapping
        pieces = []
        for path in sorted((folder / "production").glob("*.xtc")):
            with mdtraj.formats.XTCTrajectoryFile(str(path)) as file:
                pieces.append(file.read()[0])
        self.md = np.concatenate(pieces).astype(np.float64)
        self.context = openmm.Context(melt.system, openmm.VerletIntegrator(0.001))
        graph = self.mapping.graph
        self.around = Surroundings.of(graph)
        self._torsions = {name: torsions(graph, name) for name in ("OCCO", "CCOC")}
        self._per_atom = units.BOLTZMANN * TEMPERATURE * graph.n_atoms  # kJ/mol
        self.frames: dict[str, list[Floats]] = {}
        self.found: dict[str, list[float]] = {}

    def run(self, name: str, n_frames: int) -> tuple[str, Floats]:
        """Label and frames of beads of a run, (n_frames, n_beads, 3) nm."""
        model = load_model(name)
        path = self.output / f"run_{model.digest[:12]}_{n_frames}.npy"
        if not path.exists():
            propagator = Propagator(
                model, self.mapping, seed=1, box=self.box, guard="redraw"
            )
            state = propagator.start(self.mapping.positions(self.md[0]))
            frames = []
            for number in range(n_frames):
                time_between = APART if number else SETTLED
                for _ in range(round(time_between / model.spec.time_step)):
                    state = propagator.step(state)
                frames.append(state.positions.double().numpy())
            np.save(path, np.array(frames))
        return path.stem, np.asarray(np.load(path))

    def map(self, beads: Floats, label: str, number: int) -> dict[str, NDArray[Any]]:
        """Back-map a frame, if it is not there yet."""
        path = self.output / f"{label}_{number}.npz"
        if not path.exists():
            begin = time.process_time()
            atoms, report = self.backmapper.map(beads, self.box, number=number)
            seconds = time.process_time() - begin
            np.savez(path, atoms=atoms, seconds=seconds, **report._asdict())
        with np.load(path) as done:
            return dict(done)

    def energy(self, atoms: Floats) -> float:
        """Of a frame of MD, kT per atom."""
        self.context.setPositions(atoms)
        self.context.applyConstraints(1e-5)
        state = self.context.getState(energy=True)
        return float(state.getPotentialEnergy()._value) / self._per_atom

    def take(self, name: str, atoms: Floats, **more: float) -> None:
        """Keep a frame and what it has."""
        self.frames.setdefault(name, []).append(atoms)
        values = {
            f"ether oxygens within {SHELL} nm": self.around.within(
                atoms, self.box, SHELL
            ),
            **{f"gauche {key}": gauche(atoms, r) for key, r in self._torsions.items()},
            **{key.replace("_", " "): value for key, value in more.items()},
        }
        for key, value in values.items():
            self.found.setdefault(f"{key}, {name}", []).append(value)

    def take_mapped(
        self, name: str, done: dict[str, NDArray[Any]], tolerance: float, zero: float
    ) -> None:
        """Keep a back-mapped frame, or that it failed; zero: of the energy."""
        is_bad = bool(str(done["problem"])) or float(done["deviation"]) > tolerance
        self.found.setdefault(f"failed, {name}", []).append(float(is_bad))
        if is_bad:
            print(f"{name} {done['frame']}: {done['problem']} {done['deviation']:.3f}")
            return
        self.take(
            name,
            done["atoms"],
            centres_moved=float(done["deviation"]),
            farthest_bead=float(done["farthest"]),
            beads_that_had_to_move=len(str(done["moved"]).split()),
            energy=float(done["energy"]) / self._per_atom - zero,
            seconds_for_1000_atoms=1000 * float(done["seconds"]) / len(done["atoms"]),
        )

    def show(self) -> None:
        """Print means of what was found, with standard errors."""
        for key, values in sorted(self.found.items()):
            error = np.std(values) / np.sqrt(len(values))
            print(f"{key:>42}  {np.mean(values):9.4f} +- {error:.4f}")
        for name, frames in self.frames.items():
            peak = highest_peak(self.around.distribution(frames, self.box))
            print(
                f"{'peak of g(r) Li-O(ether), nm, ' + name:>42}  {peak.distance:9.4f}, "
                f"height {peak.height.value:.1f} +- {peak.height.error:.1f}",
                flush=True,
            )

    def draw(self, path: Path) -> None:
        """Draw g(r) and the number of ether oxygens around Li."""
        with plt.rc_context(drawing.STYLE):
            figure, panels = plt.subplots(
                1, 2, figsize=(drawing.WIDTH, 2.8), layout="constrained"
            )
            for name, frames in self.frames.items():
                g = self.around.distribution(frames, self.box)
                colour, label = SETS[name]
                low, high = g.values - g.errors, g.values + g.errors
                panels[0].fill_between(
                    g.distances, low, high, color=colour, alpha=0.25, linewidth=0
                )
                panels[0].plot(g.distances, g.values, color=colour, label=label)
                ends = g.distances + 0.5 * FARTHEST / N_BINS
                panels[1].plot(ends, self.around.running(g, self.box), color=colour)
            panels[0].set(ylabel="g(r) Li-O(ether)")
            panels[1].set(ylabel="ether oxygens within r of Li", ylim=(0, 8))
            for panel in panels:
                panel.set(xlabel="r / nm", xlim=(0.1, 0.5))
            panels[0].legend()
            figure.savefig(path, dpi=150)
            plt.close(figure)
        print(path)


def main(options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    judge = Judge(options)
    chosen = np.linspace(0, len(judge.md) - 1, options.frames).astype(int)
    order = np.random.default_rng(0).permutation(chosen).tolist()
    zeros = []
    for n, number in enumerate(order, 1):
        atoms = judge.md[number]
        zeros.append(judge.energy(atoms))
        judge.take("MD", atoms)
        done = judge.map(judge.mapping.positions(atoms), "md", number)
        judge.take_mapped("mapped", done, TOLERANCE, zeros[-1])
        if n in {3, 10, 30}:
            print(f"{n} frames of {options.folder.name}")
            judge.show()
    if options.run:
        label, beads = judge.run(options.model, options.run)
        for number, frame in enumerate(beads):
            done = judge.map(frame, label, number)
            judge.take_mapped("run", done, np.inf, float(np.mean(zeros)))
    print(f"{len(order)} frames of {options.folder.name}, {options.run} of the model")
    judge.show()
    if options.figure:
        judge.draw(options.figure)


if __name__ == "__main__":
    main(parse_options())
