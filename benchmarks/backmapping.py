"""Back-mapped frames of PEO with LiTFSI beside the MD that they come from.

    python benchmarks/backmapping.py FOLDER [--frames 100] [--time 8] [--output judged]

FOLDER is a box of examples/8_simulate_peo_litfsi.py. Frames of its MD, evenly apart,
are mapped to beads and back; what they have is printed beside the same frames of MD,
with standard errors over frames. What is done is kept: a repeat goes on.
"""

import argparse
import json
import time
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from numpy.typing import NDArray

from cgml import units
from cgml.molecules.box import minimum_image
from cgml.molecules.graph import MolecularGraph, neighbours
from cgml.molecules.mapping import Mapping
from openmm_cgml import Backmapper
from openmm_cgml.relaxation import Relaxation
from openmm_cgml.testsystems.peo_protocol import set_edge
from openmm_cgml.testsystems.peo_runs import PeoBox

TEMPERATURE = 423.0  # K
SHELL = 0.30  # nm

Floats = NDArray[np.float64]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="peo-litfsi")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--time", type=float, default=8.0, help="of the relaxation, ps")
    parser.add_argument("--time-step", type=float, default=0.005, help="ps")
    parser.add_argument("--output", type=Path, default=Path("judged"))
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


def measures(atoms: Floats, mapping: Mapping, box: Floats) -> dict[str, float | Floats]:
    """What a frame has."""
    graph = mapping.graph
    types = np.array(graph.types)
    carbons = {i for i, name in enumerate(types) if name.startswith("CH")}
    ends = {i: j for pair in graph.bonds.tolist() for i, j in (pair, pair[::-1])}
    oxygens = [i for i in np.flatnonzero(types == "O").tolist() if ends[i] in carbons]
    lithium = np.flatnonzero(types == "Li")
    ways = minimum_image(atoms[lithium][:, None] - atoms[oxygens][None], box)
    distances = np.linalg.norm(ways, axis=-1)
    return {
        "coordination": float((distances < SHELL).sum() / len(lithium)),
        "gauche OCCO": gauche(atoms, torsions(graph, "OCCO")),
        "gauche CCOC": gauche(atoms, torsions(graph, "CCOC")),
        "distances": distances.ravel(),
    }


def peak(distances: Floats) -> float:
    """First maximum of g(r), nm, by a parabola through five bins."""
    edges = np.arange(0.14, 0.26, 0.004)
    counts, _ = np.histogram(distances, edges)
    middles = 0.5 * (edges[1:] + edges[:-1])
    g, k = counts / middles**2, int((counts / middles**2).argmax())
    k = min(max(k, 2), len(g) - 3)
    a, b, _ = np.polyfit(middles[k - 2 : k + 3], g[k - 2 : k + 3], 2)
    return float(-b / (2.0 * a))


def show(name: str, values: list[float]) -> None:
    error = np.std(values) / np.sqrt(len(values))
    print(f"{name:>34}  {np.mean(values):9.4f} +- {error:.4f}")


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

    def map(self, number: int) -> Path:
        """Back-map a frame, if it is not there yet."""
        path = self.output / f"{number}.npz"
        if path.exists():
            return path
        beads = self.mapping.positions(self.md[number])
        begin = time.process_time()
        atoms, report = self.backmapper.map(beads, self.box, number=number)
        seconds = time.process_time() - begin
        self.context.setPositions(self.md[number])
        self.context.applyConstraints(1e-5)
        energy = self.context.getState(energy=True).getPotentialEnergy()._value
        np.savez(
            path,
            atoms=atoms,
            energies=[report.energy, energy],
            deviation=report.deviation,
            seconds=seconds,
            problem=np.array(report.problem),
        )
        return path

    def compare(self, number: int, clouds: dict[str, list[Floats]]) -> dict[str, float]:
        """What is found of a frame; distances of Li and oxygens go to the clouds."""
        per_atom = units.BOLTZMANN * TEMPERATURE * self.mapping.graph.n_atoms
        with np.load(self.map(number)) as done:
            mapped, energies = done["atoms"], done["energies"] / per_atom
            own = {
                "energy, kT per atom, - MD": float(energies[0] - energies[1]),
                "centres moved, nm": float(done["deviation"]),
                "s per 1,000 atoms": float(done["seconds"]) * 1000 / len(mapped),
                "failed": float(bool(str(done["problem"]))),
            }
        for name, atoms in (("MD", self.md[number]), ("mapped", mapped)):
            values = measures(atoms, self.mapping, self.box)
            clouds[name].append(np.asarray(values.pop("distances")))
            own |= {f"{key}, {name}": float(value) for key, value in values.items()}
        return own


def main(options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    judge = Judge(options)
    chosen = np.linspace(0, len(judge.md) - 1, options.frames).astype(int)
    found: dict[str, list[float]] = {}
    clouds: dict[str, list[Floats]] = {"MD": [], "mapped": []}
    for n, number in enumerate(
        np.random.default_rng(0).permutation(chosen).tolist(), 1
    ):
        for key, value in judge.compare(number, clouds).items():
            found.setdefault(key, []).append(value)
        if n in {1, 3, 10, 30, len(chosen)}:
            print(f"{n} frames of {options.folder.name}")
            for key, values in sorted(found.items()):
                show(key, values)
            for name, parts in clouds.items():
                first = peak(np.concatenate(parts))
                print(
                    f"{'first peak of Li-O, nm, ' + name:>34}  {first:9.4f}", flush=True
                )


if __name__ == "__main__":
    main(parse_options())
