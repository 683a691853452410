"""The score network as it is run: terms that stay are kept, pairs are seen once.

The equations are those of refiner.py; see inference.py.
"""

import math
from typing import Any, NamedTuple

import torch

from cgml.network.blocks import length_and_direction
from cgml.network.inputs import Beads
from cgml.network.pairs import Layout
from cgml.network.predictor import Prediction, unwhiten
from cgml.network.products import (
    N_BEADS,
    N_LAYOUT,
    Messages,
    Mlp,
    Part,
    Product,
    Radial,
    Readout,
    add_to_both,
    differences,
    lengths_and_directions,
    own_vectors,
    turns_of,
)


class _Step(NamedTuple):
    """What the evaluations of one step share.

    Attributes:
        layout: of the edges.
        mean: (n_beads, 3) predicted positions, nm.
        spread: (n_beads, 1) predicted spread.
        edges: (2 n, n_edge) encoded condition.
        pairs: (n, n_edge) see Prediction.
        nodes: (n_beads, n_node) constant term of the node encoder.
        along: (2, 3, n) unit vectors at the present and at the predicted positions.
        drift: (n_beads, 3) predicted displacement, in its scale.
    """

    layout: Layout
    mean: torch.Tensor
    spread: torch.Tensor
    edges: torch.Tensor
    pairs: torch.Tensor
    nodes: torch.Tensor
    along: torch.Tensor
    drift: torch.Tensor


N_STEP = len(_Step._fields)


class _Level(NamedTuple):
    """What the evaluations at one noise level share.

    Attributes:
        phase: (1, n_node) its term of the node encoder.
        total: () sqrt(1 + sigma^2).
        sigma: () the noise level.
    """

    phase: torch.Tensor
    total: torch.Tensor
    sigma: torch.Tensor


class FastRefiner:
    """One refiner.Conditioner and one refiner.Denoiser, bound to beads.

    Args:
        module: a Model.
        beads: of all systems.
        kind: of the numbers that are multiplied at the edges.

    Attributes:
        run: `evaluate`, or what was compiled of it.
    """

    def __init__(self, module: Any, beads: Beads, kind: torch.dtype) -> None:
        conditioner, denoiser = module.conditioner, module.denoiser
        self._beads, self._frequencies = beads, denoiser.frequencies
        self._length_scale = denoiser.length_scale
        self._scale = conditioner.displacement_scale
        self._radial = Radial(denoiser.radial, denoiser.length_scale)
        self._radial_ahead = Radial(conditioner.radial, conditioner.length_scale)
        first = conditioner.encoder.first
        n_edge = first.weight.size(0)
        self._latent = Product(first.weight[:, :n_edge], None, kind)
        self._ahead = Product(first.weight[:, n_edge:], first.bias, kind)
        self._conditioner = Mlp(conditioner.encoder, kind)
        self._encoder = Product(
            denoiser.edge_encoder.weight, denoiser.edge_encoder.bias
        )
        self._filter = Product(denoiser.filter.weight)
        first = denoiser.node_encoder.first
        n_node = first.weight.size(0)
        self._known = Product(first.weight[:, :n_node], first.bias)
        self._phase = Product(first.weight[:, n_node:-1])
        self._length = first.weight[:, -1]
        self._node_encoder = Mlp(denoiser.node_encoder)
        self._layers = [
            Messages(layer, denoiser.mean_degree, kind) for layer in denoiser.layers
        ]
        self._turns = turns_of(denoiser)
        self._readout = Readout(denoiser.readout, denoiser.mean_degree)
        self._levels: dict[float, _Level] = {}
        self.run: Part = self.evaluate

    def prepare(
        self, positions: torch.Tensor, prediction: Prediction, layout: Layout
    ) -> _Step:
        """Compute what the evaluations of one step share."""
        both = torch.cat((positions, prediction.mean), dim=1)
        gaps = differences(both, layout).view(2, 3, -1)
        lengths, along = lengths_and_directions(layout.add_shift(gaps))
        cosine = (along[0] * along[1]).sum(dim=0)
        features = torch.cat((self._radial_ahead(lengths[1]), cosine[None]))
        hidden = self._latent(prediction.edges)
        edges = self._conditioner.finish(add_to_both(hidden, self._ahead(features.T)))
        return _Step(
            layout=layout,
            mean=prediction.mean,
            spread=prediction.spread,
            edges=edges,
            pairs=prediction.pairs,
            nodes=self._known(prediction.nodes),
            along=along,
            drift=(prediction.mean - positions) / self._scale,
        )

    def __call__(self, step: _Step, white: torch.Tensor, sigma: float) -> torch.Tensor:
        """Expected noise-free white coordinates; see refiner.Denoiser."""
        level = self._level(sigma)
        (clean,) = self.run([*self._beads, *step.layout, *step[1:], *level, white])
        return clean

    def evaluate(self, inputs: list[torch.Tensor]) -> tuple[torch.Tensor]:
        """Expected noise-free white coordinates, from tensors alone.

        Args:
            inputs: all of Beads; of Layout; of _Step but its layout; of _Level;
                noisy white coordinates (n_beads, 3).
        """
        beads, rest = Beads(*inputs[:N_BEADS]), inputs[N_BEADS:]
        layout, rest = Layout(*rest[:N_LAYOUT]), rest[N_LAYOUT:]
        step = _Step(layout, *rest[: N_STEP - 1])
        level, white = _Level(*rest[N_STEP - 1 : -1]), rest[-1]
        unit = white / level.total
        candidate = unwhiten(unit, step.mean, step.spread, beads)
        latent, along = self._encode_pairs(step, candidate, unit)
        nodes = step.nodes + level.phase
        nodes.addcmul_(length_and_direction(unit)[0], self._length)
        nodes = self._node_encoder.finish(nodes)
        edges = add_to_both(step.edges, latent)
        moves = (unit, step.drift, candidate - step.mean)
        own = own_vectors(beads, candidate, moves, self._length_scale)
        for turn, layer in zip(self._turns, self._layers, strict=True):
            if turn is not None:
                nodes = turn(nodes, edges, along[0], own, layout)
            nodes = layer(nodes, edges, layout)
        correction = self._readout(nodes, edges, along, own, layout)
        return ((unit + level.sigma * correction) / level.total,)

    def _encode_pairs(
        self, step: _Step, candidate: torch.Tensor, unit: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the candidate adds to both edges of a pair, and directions (3, 3, n)."""
        both = torch.cat((candidate, unit), dim=1)
        ends = differences(both, step.layout).view(2, 3, -1)
        gaps, relative = ends[0], ends[1]
        length, own = lengths_and_directions(step.layout.add_shift(gaps))
        along = torch.cat((own[None], step.along))
        radial = self._radial(length)
        cosines = (step.along * own).sum(dim=1)
        features = torch.cat((radial, cosines, (along * relative).sum(dim=1)))
        latent = self._encoder(features.T)
        latent.addcmul_(self._filter(radial.T), step.pairs)
        return latent, along

    def _level(self, sigma: float) -> _Level:
        """What evaluations at one noise level share."""
        if sigma not in self._levels:
            phase = math.log(sigma) * self._frequencies[None]
            waves = torch.cat((torch.sin(phase), torch.cos(phase)), dim=1)
            total = math.sqrt(1.0 + sigma * sigma)
            self._levels[sigma] = _Level(
                self._phase(waves), torch.tensor(total), torch.tensor(sigma)
            )
        return self._levels[sigma]
