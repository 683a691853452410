"""Published models on a real box: the score network, the neighbours, and a whole step.

    python benchmarks/published.py FOLDER [--rounds 7] [--skip-steps]

FOLDER holds a polymer electrolyte as LAMMPS files (*.lmp.gz and *.lammpstrj.gz). The
network has the full published size and random weights. All rows take turns on one
thread; times are medians of CPU time. The published code was timed on a machine where
a 2048 x 2048 float32 product ran at PUBLISHED_RATE; its times are scaled by the rate
of this machine.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from timing import cpu_time, in_turns, matrix_product, peak_memory

from cgml import units
from cgml.dynamics.propagator import Propagator
from cgml.formats.trajectory import BeadTrajectory
from cgml.memory import keep_freed_memory
from cgml.models.conversion import Origin, describe
from cgml.network.model import LearnedModel, Model
from cgml.published.blocks import fit_to_machine
from cgml.published.model import PublishedModel, build_published_system
from cgml.published.neighbours import NeighbourList
from cgml.published.spec import HyperParameters, NetworkSizes, PublishedSpec
from cgml.published.stepper import SKIN, noise_levels
from cgml.spec import (
    FAST,
    Execution,
    ModelSpec,
    NetworkConfig,
    Refinement,
    RousePrior,
    Statistics,
)
from cgml.training.coarsening import Coarsening
from cgml.training.preparation import read_systems

PUBLISHED_GRAPH, PUBLISHED_NETWORK = 1.37, 0.22  # s of one evaluation, one thread
PUBLISHED_STEP = 318.0  # s
PUBLISHED_RATE = 158.0  # GFLOP/s of a float32 matrix product on the same thread
COARSE = Execution(precision="bfloat16")
FULL = {"latent_dim": 128, "units": 128, "layers": 2, "mp_steps": 7}
PARAMETERS = HyperParameters.model_validate(
    {
        "name": "pnr",
        "seq_len": 8,
        "dilation": 1,
        "cg_level": 7,
        "radius": 6.0,
        "type_emb_size": 8,
        "num_ptypes": 20,
        "num_btypes": 100,
        "use_atom_mass": True,
        "use_weights": True,
        "min_std": 0.05,
        "embedding_gn_hparams": FULL,
        "dynamics_gn_hparams": FULL,
        "score_gn_hparams": FULL,
        "sigma_begin": 10.0,
        "sigma_end": 0.01,
        "sigma_level": 20,
        "step_per_sigma": 10,
        "step_size": 5e-5,
    }
)


def random_model(n_embedding: int = 32) -> LearnedModel:
    """Full-size networks with random weights."""
    module = PublishedModel(PARAMETERS, n_embedding, units.ANGSTROM)
    stream = torch.Generator().manual_seed(0)
    for values in module.requires_grad_(requires_grad=False).parameters():
        if values.dim() == 2:
            bound = values.size(1) ** -0.5
            values.uniform_(-bound, bound, generator=stream)
    origin = Origin(2.0, 353.0, periodic=True, name="random")
    spec = describe(PARAMETERS, n_embedding, origin, {})
    return LearnedModel(spec, module.eval())


def read_box(folder: Path, spec: PublishedSpec) -> BeadTrajectory:
    """Beads of the first frames."""
    (topology,), (trajectory,) = (
        sorted(folder.glob(name)) for name in ("*.lmp.gz", "*.lammpstrj.gz")
    )
    coarsening = replace(Coarsening.from_spec(spec), time_step=spec.time_step)
    (system,) = read_systems([trajectory], topology, coarsening)
    return system


def operations(n_nodes: int, n_edges: int) -> float:
    """Floating-point operations of the products of one score evaluation.

    Node terms of edges are taken once per node, nodes are encoded already.
    """
    sizes = NetworkSizes.model_validate(FULL)
    width, units_, hidden = sizes.latent_dim, sizes.units, sizes.layers - 1
    tail = units_ * (hidden * units_ + width)  # layers after the first
    edges = 4 * units_ + tail + sizes.mp_steps * (width * units_ + tail)
    nodes = sizes.mp_steps * (4 * width * units_ + tail)
    nodes += units_ * (width + hidden * units_ + 3)  # decoded
    return 2.0 * (n_edges * edges + n_nodes * nodes)


class Box:
    """One system, ready to be timed."""

    def __init__(self, model: LearnedModel, system: BeadTrajectory) -> None:
        self.model, self.system = model, system
        published = build_published_system(system.mapping, model.spec)
        self.n_beads = len(published.masses)
        self.bonds = published.bonds
        self.positions = torch.tensor(system.positions[0] / units.ANGSTROM).double()
        self.cells = torch.tensor(system.box / units.ANGSTROM).double()[None]
        self.edges = self.neighbours(0.0).edges(self.positions, self.cells)
        stream = torch.Generator().manual_seed(1)
        width = PARAMETERS.dynamics_gn_hparams.latent_dim
        latent = torch.randn(self.n_beads, width, generator=stream)
        self.inputs = latent, published.masses

    def neighbours(self, skin: float) -> NeighbourList:
        return NeighbourList(
            [self.bonds],
            [self.n_beads],
            PARAMETERS.radius,
            skin,
            torch.device("cpu"),
        )

    def score(
        self,
        precision: str = "float32",
        *,
        encodes: bool = False,
        block: int | None = None,
    ) -> Callable[[], torch.Tensor]:
        """One evaluation; nodes encoded before, or as part of it."""
        part = fit_to_machine(self.model.module.score, precision)
        usual, nodes = part.network.block, part.encode(*self.inputs)

        def evaluate() -> torch.Tensor:
            part.network.block = usual if block is None else block
            given = part.encode(*self.inputs) if encodes else nodes
            return part.evaluate(given, self.edges)

        return evaluate

    def search(self, skin: float) -> Callable[[], Any]:
        neighbours = self.neighbours(skin)
        return lambda: neighbours.edges(self.positions, self.cells)

    def step(self, execution: Execution) -> tuple[Callable[[], Any], int]:
        """A whole step, and its evaluations."""
        propagator = Propagator(
            self.model, self.system.mapping, box=self.system.box, execution=execution
        )
        state = propagator.start(self.system.positions[0])
        n_evaluations = 1 + len(noise_levels(PARAMETERS))
        return lambda: propagator.step(state), n_evaluations


def own_step(system: BeadTrajectory) -> Callable[[], Any]:
    """A step of networks of cgml's own kind and the same size, five evaluations."""
    graph = system.mapping.graph
    spec = ModelSpec(
        name="random",
        time_step=2.0,
        n_history=1,
        particle_types=dict(zip(graph.types, graph.masses.tolist(), strict=True)),
        bond_types=sorted(set(graph.bond_types)),
        atoms_per_bead=PARAMETERS.cg_level,
        partition="recursive",
        cutoff=PARAMETERS.radius * units.ANGSTROM,
        periodic=True,
        temperature=353.0,
        friction=None,
        has_property=False,
        provenance={},
        network=NetworkConfig(
            n_node=128, n_edge=128, n_predictor_layers=7, n_refiner_layers=7
        ),
        prior=RousePrior(rate=0.1, variance=0.3),
        refinement=Refinement(),
        statistics=Statistics(
            length_scale=0.5,
            displacement_scale=0.1,
            max_displacement=1.0,
            bond_length_range=(0.1, 1.0),
            min_distance=0.1,
            mean_degree=12.0,
        ),
    )
    model = LearnedModel(spec, Model(spec).eval())
    propagator = Propagator(model, system.mapping, box=system.box, guard="record")
    state = propagator.start(system.positions[0])
    return lambda: propagator.step(state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--skip-steps", action="store_true", help="no whole steps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    model = random_model()
    with torch.inference_mode():
        box = Box(model, read_box(options.folder, model.spec))
        report(box, options.rounds)
    if not options.skip_steps:
        report_steps(box)


def report(box: Box, rounds: int) -> None:
    """Evaluations, levers and neighbours, in turns."""
    n_edges, skin = len(box.edges.sender), SKIN * PARAMETERS.radius
    networks = {
        "float32": box.score(),
        "bfloat16": box.score("bfloat16"),
    }
    works = {
        "product": matrix_product(),
        "bfloat16 product": matrix_product(dtype=torch.bfloat16),
        **networks,
        "float32, nodes encoded each time": box.score(encodes=True),
        "float32, one block": box.score(block=1 << 40),
        "bfloat16, one block": box.score("bfloat16", block=1 << 40),
        "fresh search": box.search(0.0),
        "kept list": box.search(skin),
    }
    seconds = in_turns({name: (work, 1) for name, work in works.items()}, rounds)
    times = {name: float(np.median(values)) for name, values in seconds.items()}
    rate = 2.0 * 2048**3 / times["product"] / 1e9
    coarse_rate = 2.0 * 2048**3 / times["bfloat16 product"] / 1e9
    print(f"{box.n_beads} beads, {n_edges} edges, one thread, {rounds} rounds")
    print(f"matrix product: {rate:.0f} GFLOP/s float32, {coarse_rate:.0f} bfloat16")
    slower = PUBLISHED_RATE / rate
    published = slower * np.array([PUBLISHED_GRAPH, PUBLISHED_NETWORK])
    print(
        f"published, scaled: graph {published[0]:.2f} s, network {published[1]:.2f} s"
    )

    print("\nscore network         ms    edges/s  GFLOP/s  of product  MiB")
    exact, done = networks["float32"](), operations(box.n_beads, n_edges) / 1e9
    for name, function in networks.items():
        speed, best = done / times[name], coarse_rate if name == "bfloat16" else rate
        print(
            f"{name:12} {1e3 * times[name]:12.1f} {n_edges / times[name]:10.3g} "
            f"{speed:8.0f} {speed / best:10.0%} {peak_memory(function):6.0f}"
        )
    error = float((networks["bfloat16"]() - exact).abs().max() / exact.abs().max())
    print(f"bfloat16 differs by up to {error:.1e} of the largest score")

    print("\nlever                                         off ms    on ms    off/on")
    for lever, off, on in (
        ("nodes encoded once a step", "float32, nodes encoded each time", "float32"),
        ("blocks of edges, float32", "float32, one block", "float32"),
        ("blocks of edges, bfloat16", "bfloat16, one block", "bfloat16"),
        ("bfloat16 products", "float32", "bfloat16"),
        ("neighbour list with a skin", "fresh search", "kept list"),
    ):
        print(
            f"{lever:40} {1e3 * times[off]:10.2f} {1e3 * times[on]:8.2f} "
            f"{times[off] / times[on]:9.2f}"
        )

    print("\ngraph + network       ms  published/it (scaled)")
    for name in networks:
        total = times[name] + times["kept list"]
        print(f"{name:12} {1e3 * total:12.1f} {published.sum() / total:8.1f}")


def report_steps(box: Box) -> None:
    """Whole steps, in turns with a matrix product."""
    steps = {"float32": box.step(FAST), "bfloat16": box.step(COARSE)}
    works = {"product": matrix_product()} | {
        key: run for key, (run, _) in steps.items()
    }
    times = {name: cpu_time(work) for name, work in works.items()}
    scaled = PUBLISHED_STEP * PUBLISHED_RATE * times["product"] * 1e9 / (2.0 * 2048**3)
    print(
        f"\nwhole step             s  evaluations  published/it ({scaled:.0f} s scaled)"
    )
    for name, (_, count) in steps.items():
        print(f"{name:12} {times[name]:11.2f} {count:12d} {scaled / times[name]:13.1f}")


if __name__ == "__main__":
    main()
