"""Train networks of the paper's own kind on bead frames: a row beside our models.

    python benchmarks/published_training.py FOLDER [--steps 3000] [--output OUTPUT]

FOLDER has train/*.h5md, as `examples/9_train_peo_litfsi.py --frames-only` writes them,
of united atoms. Networks, noise of the history, losses, clipping and sampler are those
of the paper (the layout of its checkpoints); steps are 20 ps and
the history has eight frames, as these trajectories of 2 ns allow. Frames are turned by
the rotations and reflections of the cubic box. Particles are elements without their
hydrogens, so what the model is judged on is written, too:

    cgml evaluate OUTPUT/peer.pt --reference 'OUTPUT/frames/test_*.h5md' --output judged

A repeat goes on from the last checkpoint.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cgml import units
from cgml.formats.h5md import read_beads, write_beads
from cgml.models.conversion import Origin, describe
from cgml.models.file import save_model
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.published.blocks import Block, PublishedInteraction, sum_rows
from cgml.published.model import (
    ATOMIC_WEIGHTS,
    PublishedModel,
    build_published_system,
)
from cgml.published.neighbours import NeighbourList
from cgml.published.networks import PublishedDynamics
from cgml.published.spec import HyperParameters, PublishedSpec
from cgml.published.stepper import noise_levels

TIME_STEP = 20.0  # ps
TEMPERATURE = 423.0  # K
N_EMBEDDING = 32
NETWORK = {"latent_dim": 128, "units": 128, "layers": 2, "mp_steps": 7}
PARAMETERS = HyperParameters.model_validate(
    {
        "name": "pnr",
        "seq_len": 8,
        "dilation": 1,
        "cg_level": 6,
        "radius": 6.0,
        "type_emb_size": 32,
        "num_ptypes": 20,
        "num_btypes": 0,
        "use_atom_mass": True,
        "use_weights": True,
        "min_std": 0.05,
        "remove_com": True,
        "embedding_gn_hparams": NETWORK | {"latent_dim": 64},
        "dynamics_gn_hparams": NETWORK,
        "score_gn_hparams": NETWORK,
        "sigma_begin": 10.0,
        "sigma_end": 0.01,
        "sigma_level": 20,
        "step_per_sigma": 10,
        "step_size": 5e-5,
    }
)
HISTORY_NOISE = (0.1, 0.01)  # Angstrom, largest and smallest
LEARNING_RATE, CLIP = 2e-4, 20.0
SAVE_EVERY, SAY_EVERY = 100, 50  # steps


class TrainableInteraction(PublishedInteraction):
    """The same equations, without what autograd forbids."""

    def forward(
        self, nodes: torch.Tensor, latents: list[torch.Tensor], blocks: list[Block]
    ) -> torch.Tensor:
        """Return new nodes, (n_nodes, latent_dim); latents are replaced."""
        weight, bias = self.edge_update.first.weight, self.edge_update.first.bias
        n = nodes.size(1)
        arriving = nn.functional.linear(nodes, weight[:, n : 2 * n], bias)
        leaving = nn.functional.linear(nodes, weight[:, 2 * n :])
        ends = torch.cat((arriving, leaving))
        sums: list[torch.Tensor] = []
        for place, block in enumerate(blocks):
            both = sum_rows(ends, block.ends, block.end_starts)
            hidden = both + latents[place] @ weight[:, :n].t()
            messages = self.edge_update.finish(hidden)
            sums.append(sum_rows(messages, block.rows, block.row_starts))
            latents[place] = latents[place] + messages
        update: torch.Tensor = self.node_update(
            torch.cat((nodes, torch.cat(sums)), dim=1)
        )
        return nodes + update


def trainable(model: PublishedModel) -> PublishedModel:
    """Exchange the rounds of messages, in place; names of weights stay."""
    for network, sizes in (
        (model.embedding, PARAMETERS.embedding_gn_hparams),
        (model.dynamics, PARAMETERS.dynamics_gn_hparams),
        (model.score, PARAMETERS.score_gn_hparams),
    ):
        rounds = [TrainableInteraction(sizes) for _ in range(sizes.mp_steps)]
        network.network.steps = nn.ModuleList(rounds)
    return model


def as_elements(frames: BeadTrajectory) -> BeadTrajectory:
    """Name united atoms by their heavy atom: CH2 is C."""
    graph = frames.mapping.graph
    names = ["C" if name in ("CH2", "CH3") else name for name in graph.types]
    masses = [ATOMIC_WEIGHTS[name] for name in names]
    elements = MolecularGraph.create(names, masses, graph.bonds)
    return replace(frames, mapping=replace(frames.mapping, graph=elements))


class Boxes:
    """Windows of all training boxes, one box after the other.

    Args:
        boxes: one trajectory per box.
        spec: of the model.
        seed: of frames, noise and orientations.
    """

    def __init__(
        self, boxes: Sequence[BeadTrajectory], spec: PublishedSpec, seed: int
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.systems = [build_published_system(box.mapping, spec) for box in boxes]
        self.sizes = [box.mapping.n_beads for box in boxes]
        self.masses = torch.cat([system.masses for system in self.systems])
        self.cells = torch.tensor(np.stack([box.box for box in boxes])) / units.ANGSTROM
        self.neighbours = NeighbourList(
            [system.bonds for system in self.systems],
            self.sizes,
            PARAMETERS.radius,
            0.0,
            torch.device("cpu"),
        )
        self.frames, self.strides = [], []
        for box in boxes:
            positions = torch.tensor(box.positions).double() / units.ANGSTROM
            mass = torch.tensor(box.mapping.bead_masses)[:, None]
            drift = (positions * mass).sum(dim=1, keepdim=True) / mass.sum()
            self.frames.append(positions - drift)
            step = float(np.diff(box.times).mean())
            self.strides.append(round(TIME_STEP / step))

    def draw(self) -> torch.Tensor:
        """Frames of a window of every box, (seq_len + 1, n_beads, 3) Angstrom."""
        length = PARAMETERS.seq_len + 1
        parts = []
        for frames, stride in zip(self.frames, self.strides, strict=True):
            first = self.rng.integers(len(frames) - (length - 1) * stride)
            window = frames[first : first + (length - 1) * stride + 1 : stride]
            signs = torch.tensor(self.rng.choice([-1.0, 1.0], 3))
            parts.append(window[:, :, self.rng.permutation(3)] * signs)
        return torch.cat(parts, dim=1)

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Return standard normals."""
        return torch.from_numpy(self.rng.standard_normal(tuple(like.shape)))

    def per_box(self, values: Sequence[float]) -> torch.Tensor:
        """Return a number for every bead of each box, (n_beads, 1)."""
        sizes = torch.tensor(self.sizes)
        return torch.repeat_interleave(torch.tensor(values), sizes)[:, None].double()


def losses(model: PublishedModel, boxes: Boxes) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-likelihood per coordinate, and denoising score matching.

    Fu et al., TMLR 2023: a Gaussian acceleration; one noise level for each system.
    """
    rows = [model.embedding(system.atoms) for system in boxes.systems]
    window = boxes.draw()
    target, past = window[-1], window[:-1]
    n = len(boxes.sizes)
    scales = boxes.rng.uniform(np.log(HISTORY_NOISE[1]), np.log(HISTORY_NOISE[0]), n)
    noise = boxes.per_box(np.exp(scales).tolist())
    noisy = past + noise * boxes.normal(past)
    edges = boxes.neighbours.edges(noisy[-1], boxes.cells)
    moves = torch.diff(noisy, dim=0).float()
    dynamics: PublishedDynamics = model.dynamics
    ahead = dynamics(edges, moves, torch.cat(rows), boxes.masses)
    change = (target - noisy[-1] - (noisy[-1] - noisy[-2])).float()
    likelihood = nn.functional.gaussian_nll_loss(
        ahead.mean, change, ahead.deviation.square()
    )
    levels = noise_levels(PARAMETERS)
    sigma = boxes.per_box(boxes.rng.choice(levels, n).tolist())
    draw = boxes.normal(target)
    candidate = target + sigma * draw
    edges = boxes.neighbours.edges(candidate, boxes.cells)
    score = model.score(edges, ahead.nodes, boxes.masses)
    matching = 0.5 * (score + draw.float()).square().mean()
    return likelihood, matching


def fit(model: PublishedModel, boxes: Boxes, n_steps: int, checkpoint: Path) -> None:
    """Train with Adam, cosine decay; go on from a checkpoint."""
    optimiser = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 3 * LEARNING_RATE, n_steps, pct_start=0.1
    )
    first = 0
    if checkpoint.exists():
        found = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(found["model"])
        optimiser.load_state_dict(found["optimiser"])
        schedule.load_state_dict(found["schedule"])
        first = found["step"]
    begin, recent = time.monotonic(), []
    for step in range(first, n_steps):
        optimiser.zero_grad()
        likelihood, matching = losses(model, boxes)
        (likelihood + matching).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        recent.append((likelihood.item(), matching.item()))
        if (step + 1) % SAY_EVERY == 0:
            rate = (step + 1 - first) / (time.monotonic() - begin)
            means = np.mean(recent, axis=0)
            print(
                f"step {step + 1} of {n_steps}: likelihood {means[0]:.3f}, "
                f"score {means[1]:.3f}, {rate:.2f} steps/s, "
                f"{(n_steps - step - 1) / rate / 60:.0f} min left",
                flush=True,
            )
            recent.clear()
        if (step + 1) % SAVE_EVERY == 0:
            state = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "step": step + 1,
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("peer"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main(options: argparse.Namespace) -> None:
    (options.output / "frames").mkdir(parents=True, exist_ok=True)
    boxes = []
    for path in sorted(options.folder.glob("*/*.h5md")):
        frames = as_elements(read_beads(path))
        write_beads(options.output / "frames" / path.name, frames)
        if path.parent.name == "train":
            boxes.append(frames)
    torch.default_generator.manual_seed(options.seed)  # weights, once
    origin = Origin(
        TIME_STEP, TEMPERATURE, periodic=True, name="peer", single_bead_limit=15
    )
    provenance = {"trained by": Path(__file__).name, "steps": str(options.steps)}
    spec = describe(PARAMETERS, N_EMBEDDING, origin, provenance)
    spec = spec.model_copy(update={"partition": "runs"})
    model = PublishedModel(PARAMETERS, N_EMBEDDING, units.ANGSTROM)
    data = Boxes(boxes, spec, options.seed)
    fit(trainable(model), data, options.steps, options.output / "last.ckpt")
    trained = PublishedModel(PARAMETERS, N_EMBEDDING, units.ANGSTROM)
    trained.load_state_dict(model.state_dict())
    save_model(options.output / "peer.pt", spec, trained.eval())
    print(options.output / "peer.pt")


if __name__ == "__main__":
    main(parse_options())
