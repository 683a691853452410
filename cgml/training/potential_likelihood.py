"""Maximum likelihood for a potential: what its own dynamics visit, against the frames.

Score matching sees forces; how deep wells are that lie apart it hardly sees: compact
and wide chains, free and paired ions. The derivative of -log p(frames) by a weight w is
the mean of dU/dw over the frames less that over the potential's own equilibrium. The
latter is taken from walkers, one of each system: they go on by Langevin dynamics from
one step of the optimiser to the next, while the potential changes slowly (persistent
contrastive divergence; Tieleman, ICML 2008). No noise is on these frames.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from cgml.molecules.systems import sum_by
from cgml.network.inputs import join_beads
from cgml.network.kinds import apply_kernels
from cgml.network.potential import Edges, prior_energy
from cgml.spec import ModelSpec, PotentialSpec
from cgml.training.potential_batches import Batches, Source, joined, white

STEP, FRICTION = 0.15, 0.7  # in the metric of the noise, whose springs are 1
N_MOVES = 5  # of a walker between two steps of the optimiser
FAR = 3.0  # kT per coordinate between frames and walkers: equilibrium is far below
LOST = (
    "a walker of the likelihood has left all bounds: choose a lower learning rate "
    "(--learning-rate), or more steps before (--steps)"
)


class Energy(NamedTuple):
    """A potential in training.

    Attributes:
        network: an EnergyNetwork, or None: the prior alone.
        spec: of the model.
        potential: the prior.
    """

    network: Any
    spec: ModelSpec
    potential: PotentialSpec

    def total(self, embedding: torch.Tensor, edges: Edges) -> torch.Tensor:
        """Energy of all that there is, kT."""
        total: torch.Tensor = prior_energy(self.spec, self.potential, edges).sum()
        if self.network is not None:
            total = total + self.network.energies(embedding, edges).sum()
        return total

    def forces(
        self, embedding: torch.Tensor, edges: Edges, *, is_training: bool
    ) -> torch.Tensor:
        """Forces, (n_beads, 3) kT/nm, to be differentiated in training."""
        vectors = edges.vectors.detach().requires_grad_()
        total = self.total(embedding, edges._replace(vectors=vectors))
        (slope,) = torch.autograd.grad(total, vectors, create_graph=is_training)
        n = len(embedding)
        return sum_by(edges.sender, slope, n) - sum_by(edges.receiver, slope, n)


@dataclass
class Walker:
    """A system that moves in the potential: nm, and velocities in the metric."""

    source: Source
    positions: torch.Tensor
    velocities: torch.Tensor


class Walkers:
    """One walker of each system, from one of its frames on.

    Args:
        batches: of the frames.
        n_systems: walkers that move at a time.
        seed: of starts and noise.

    Attributes:
        all: walkers, in the order of the systems.
    """

    def __init__(self, batches: Batches, n_systems: int, seed: int) -> None:
        self._stream = np.random.default_rng((seed, 1))
        self._n = min(n_systems, len(batches.sources))
        starts = [(one, self._frame(one)) for one in batches.sources]
        self.all = [Walker(one, x, torch.zeros_like(x)) for one, x in starts]

    def loss(self, energy: Energy) -> torch.Tensor:
        """Energy of frames less that of moved walkers, of some systems; a coordinate's.

        Raises:
            ValueError: a walker has left all bounds.
        """
        places = self._stream.choice(len(self.all), self._n, replace=False)
        chosen = [self.all[place] for place in places]
        self._move(energy, chosen)
        sources = [walker.source for walker in chosen]
        frames = [self._frame(source) for source in sources]
        walked = [walker.positions for walker in chosen]
        n = 3 * sum(len(frame) for frame in frames)
        own, other = (energy.total(*joined(sources, x)) for x in (frames, walked))
        loss: torch.Tensor = (own - other) / n
        if not abs(float(loss.detach())) < FAR:
            raise ValueError(LOST)
        return loss

    def _frame(self, source: Source) -> torch.Tensor:
        number = int(self._stream.integers(len(source.positions)))
        return source.positions[number].double()

    def _move(self, energy: Energy, chosen: list[Walker]) -> None:
        """BAOAB (Leimkuhler and Matthews 2013), with unit masses in the metric."""
        sources = [walker.source for walker in chosen]
        beads = join_beads([source.beads for source in sources])
        counts = [len(walker.positions) for walker in chosen]
        x = torch.cat([walker.positions for walker in chosen])
        v = torch.cat([walker.velocities for walker in chosen])
        kept = math.exp(-FRICTION * STEP)
        thrown = math.sqrt(1.0 - kept**2)

        def half_step() -> torch.Tensor:
            return 0.5 * STEP * apply_kernels(beads.kinds.root, beads.kinds, v)

        def half_kick() -> torch.Tensor:
            if not torch.isfinite(x).all():
                raise ValueError(LOST)
            here = joined(sources, torch.split(x, counts))
            force = energy.forces(*here, is_training=False)
            return 0.5 * STEP * white(force, beads).double()

        kick = half_kick()
        for _ in range(N_MOVES):
            v = v + kick
            x = x + half_step()
            v = kept * v + thrown * torch.from_numpy(self._stream.normal(size=v.shape))
            x = x + half_step()
            kick = half_kick()
            v = v + kick
        parts = zip(chosen, torch.split(x, counts), torch.split(v, counts), strict=True)
        for walker, positions, velocities in parts:
            walker.positions, walker.velocities = positions, velocities
