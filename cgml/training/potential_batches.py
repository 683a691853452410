"""Frames that potentials are fitted to, with noise of the ideal chain.

Noise that is the same for all beads tells of forces between neighbours: what it moves
is bonds. In the metric of the ideal chain, whose modes all have the width 1, it moves a
whole chain as far as a bond, each in its own measure, and frames come to places where
equilibrium never is, too wide or too compact: the way back is learned as well.

A frame with noise is a x + (1 - a) H x + s L z, a = sqrt(1 - s^2), H x what the ideal
chain forgets last: in the open its centre, so that an ideal chain keeps its size; in
boxes nearly x itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from cgml.contract.atoms import build_all
from cgml.contract.stepper import Pairs
from cgml.molecules.frames import BeadTrajectory, near_origin
from cgml.molecules.systems import Systems
from cgml.network.inputs import Beads, build_system, join_beads
from cgml.network.kinds import apply_kernels
from cgml.network.model import LearnedModel
from cgml.network.pairs import PairSearch
from cgml.network.potential import Edges, edges_of
from cgml.spec import ModelSpec

LEAST = 1.0 / 3.0  # of the largest noise
LONG, SHORT = 1e6, 0.05  # steps of the ideal chain whose noise frames are given


class Batch(NamedTuple):
    """Frames with noise of both signs: the first half of the beads, and the other."""

    embedding: torch.Tensor  # (2 n, n_embedding)
    edges: Edges  # of both halves
    noise: torch.Tensor  # (n, 3) standard normals
    sizes: torch.Tensor  # (n, 1) of the noise
    beads: Beads  # of one half, with the root of the metric


@dataclass(frozen=True)
class Source:
    """Frames of one system."""

    positions: torch.Tensor  # (n_frames, n_beads, 3) float64 nm, near the origin
    embedding: torch.Tensor
    search: PairSearch
    beads: Beads

    def edges(self, frame: torch.Tensor) -> Edges:
        """Pairs at a frame, (n_beads, 3) nm."""
        pairs: Pairs = self.search(frame)
        vectors = frame[pairs.receiver] - frame[pairs.sender] + pairs.shift
        return edges_of(pairs, vectors.float())


class Batches:
    """Batch i is a pure function of (seed, i).

    Args:
        systems: frames.
        model: for vocabulary, embedding and metric.
        cutoff: of the potential, nm.
        noise: largest noise; sizes are even in their logarithm, from a third of it.
        n_systems: frames per batch, of different systems where there are so many.
        seed: of the batches.
    """

    def __init__(
        self,
        systems: Sequence[BeadTrajectory],
        model: LearnedModel,
        cutoff: float | None,
        noise: float,
        n_systems: int,
        seed: int,
    ) -> None:
        self._noise, self._n_systems, self._seed = noise, n_systems, seed
        self.sources = [_source(item, model, cutoff) for item in systems]

    def __call__(self, number: int) -> Batch:
        """Draw the frames of a batch, and their noise."""
        stream = np.random.default_rng((self._seed, number))
        n_all, n = len(self.sources), self._n_systems
        places = stream.choice(n_all, n, replace=n > n_all)
        chosen = [self.sources[place] for place in places]
        frames = [
            one.positions[int(stream.integers(len(one.positions)))] for one in chosen
        ]
        counts = [len(frame) for frame in frames]
        beads = join_beads([one.beads for one in chosen])
        noise = torch.from_numpy(stream.standard_normal((sum(counts), 3)))
        levels = self._noise * LEAST ** torch.from_numpy(stream.random(n))
        sizes = levels.repeat_interleave(torch.tensor(counts))[:, None]
        x = torch.cat(frames).double()
        kept = torch.sqrt(1.0 - sizes**2)
        x = kept * x + (1.0 - kept) * apply_kernels(beads.kinds.mean, beads.kinds, x)
        moves = sizes * apply_kernels(beads.kinds.root, beads.kinds, noise)
        moved = torch.cat((x + moves, x - moves))
        embedding, edges = joined(2 * chosen, torch.split(moved, 2 * counts))
        return Batch(
            embedding,
            edges,
            noise.float(),
            sizes.float(),
            beads,
        )


def joined(
    sources: Sequence[Source], frames: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, Edges]:
    """Embedding and edges of frames of some systems, one after the other."""
    parts, begin = list[Edges](), 0
    for source, frame in zip(sources, frames, strict=True):
        parts.append(_moved(source.edges(frame), begin))
        begin += len(frame)
    edges = Edges(*(torch.cat(part) for part in zip(*parts, strict=True)))
    return torch.cat([one.embedding for one in sources]), edges


def white(force: torch.Tensor, beads: Beads) -> torch.Tensor:
    """L^T f, which is w L f / w, w being the roots of the masses; (n_beads, 3)."""
    weights = beads.masses.sqrt()
    return weights * apply_kernels(beads.kinds.root, beads.kinds, force / weights)


def _moved(edges: Edges, offset: int) -> Edges:
    """The same edges among beads that are counted from another number on."""
    return edges._replace(
        receiver=edges.receiver + offset, sender=edges.sender + offset
    )


def _source(item: BeadTrajectory, model: LearnedModel, cutoff: float | None) -> Source:
    spec: Any = model.spec
    graph = build_system(item.mapping, metric(spec))
    cpu = torch.device("cpu")
    systems = Systems([item.mapping], cpu, item.box)
    boxes = None if systems.boxes is None else list(systems.boxes)
    _, embedding = build_all(systems, lambda _: graph, model.module.embedding)
    search = PairSearch(graph.beads, [item.mapping.n_beads], cutoff, boxes)
    positions = torch.from_numpy(near_origin(item))
    return Source(positions, embedding.clone(), search, graph.beads)


def metric(spec: ModelSpec) -> ModelSpec:
    """A model whose one step is the noise of unit size.

    In the open that is the ideal chain's equilibrium, its centre at rest; in boxes,
    where neighbours hold a bead, all beads move almost by themselves.
    """
    rate = SHORT if spec.periodic else LONG
    return spec.model_copy(
        update={
            "prior": spec.prior.model_copy(update={"rate": rate}),
            "friction": None if spec.periodic else 1.0,  # holds the centre
        }
    )
