"""Predictor and refiner as they are run: same equations, less traffic to memory.

The modules of predictor.py and refiner.py say what is computed. Here it is computed
pair by pair (pairs.py) with the blocks of products.py, and what does not change is
kept: terms of the embedding and of the bond graph as long as the pairs are the same,
terms of the prediction over all evaluations of a step, terms of the noise level for
good. The weights are those at the time of binding.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from cgml.edges import N_STATIC
from cgml.graph import Beads
from cgml.networks import Directions, from_lanes, length_and_direction, to_lanes
from cgml.pairs import Layout, Pairs, PairSearch, lay_out
from cgml.predictor import (
    History,
    Prediction,
    centre_offsets,
    project,
    unwhiten,
)
from cgml.products import (
    LEAST_ROWS,
    Messages,
    Mlp,
    Product,
    Radial,
    Readout,
    Scalar,
    Turns,
    add_to_both,
    differences,
    lengths_and_directions,
)
from cgml.refiner import Denoise
from cgml.rouse import apply_blocks

Part = Callable[[list[torch.Tensor]], Sequence[torch.Tensor]]
"""Function of tensors alone: what can be compiled."""


class Parts(NamedTuple):
    """The parts of the networks that take most of the time.

    Attributes:
        predict: once per step.
        evaluate: once per evaluation of the score network.
    """

    predict: Part
    evaluate: Part


N_BEADS, N_LAYOUT = len(Beads._fields), len(Layout._fields)


class FastNetworks:
    """The networks of a model, bound to beads on the CPU; see plain.Networks.

    Edges of its predictions stand in the rows of a Layout, pairs in its halves.

    Args:
        module: a Model.
        beads: of all systems.
        embedding: (n_beads, n_embedding).
        search: of the pairs of these beads.
        kind: of the numbers that are multiplied at the edges.
        compiled: what takes the place of the functions of `parts`; none of them
            without.
    """

    def __init__(
        self,
        module: Any,
        beads: Beads,
        embedding: torch.Tensor,
        search: PairSearch,
        kind: torch.dtype,
        compiled: Parts | None = None,
    ) -> None:
        self.neighbours = search
        self._beads = beads
        self._last: tuple[Pairs, Layout] | None = None
        self._predictor = _Predictor(module.predictor, beads, embedding, kind)
        self._refiner = _Refiner(module, beads, kind)
        self.parts = Parts(self._predictor.predict, self._refiner.evaluate)
        if compiled is not None and len(beads.masses) >= LEAST_ROWS:
            self._predictor.run, self._refiner.run = compiled

    def predict(self, neighbours: Pairs, history: History) -> Prediction:
        """Predict the next positions; see plain.Networks."""
        if self._last is None or self._last[0] is not neighbours:
            layout = lay_out(
                neighbours,
                len(self._beads.molecules),
                is_periodic=self.neighbours.is_periodic,
            )
            self._predictor.bind(neighbours, layout)
            self._last = neighbours, layout
        return self._predictor(history, self._last[1])

    def denoiser(
        self, neighbours: Pairs, positions: torch.Tensor, prediction: Prediction
    ) -> Denoise:
        """Prepare the evaluations of one step; see plain.Networks.

        Raises:
            ValueError: The prediction is not that of the same neighbours.
        """
        if self._last is None or self._last[0] is not neighbours:
            raise ValueError("a prediction for the same neighbours is required first")
        refiner, beads, spread = self._refiner, self._beads, prediction.spread
        step = refiner.prepare(positions, prediction, self._last[1])

        def denoise(white: torch.Tensor, sigma: float) -> torch.Tensor:
            return project(refiner(step, white, sigma), spread, beads)

        return denoise


class _Predictor:
    """One predictor.Predictor."""

    def __init__(
        self, module: Any, beads: Beads, embedding: torch.Tensor, kind: torch.dtype
    ) -> None:
        self._beads, self._module = beads, module
        self._radial = Radial(module.radial, module.length_scale)
        first, n_radial = module.edge_encoder.first, self._radial.n_functions
        begin = 2 * n_radial + 1  # of the static inputs of an edge
        end = begin + N_STATIC
        moving = torch.cat((first.weight[:, :begin], first.weight[:, end:]), dim=1)
        self._moving = Product(moving)
        self._static = Product(first.weight[:, begin:end], first.bias)
        self._encoder = Mlp(module.edge_encoder, kind)
        self._filter = Product(module.filter.weight)
        self._properties = Product(module.properties.weight)(embedding)
        self._node_inputs = torch.cat((embedding, beads.masses), dim=1)
        self._node_encoder = Mlp(module.node_encoder)
        self._layers = [
            Messages(layer, module.mean_degree, kind) for layer in module.layers
        ]
        self._turns = _turns(module)
        self._shift = Readout(module.shift, module.mean_degree)
        self._spread = Scalar(module.spread)
        self._pairs = self._inputs = torch.empty(0)
        self.run: Part = self.predict

    def bind(self, pairs: Pairs, layout: Layout) -> None:
        """Compute what stays as long as the pairs do."""
        ends = self._properties.index_select(0, layout.receiver)
        self._pairs = ends.mul_(self._properties.index_select(0, layout.sender))
        n_padding = len(layout.receiver) - len(pairs.receiver)
        static = nn.functional.pad(pairs.static, (0, 0, 0, n_padding))
        self._inputs = self._static(static)

    def __call__(self, history: History, layout: Layout) -> Prediction:
        """Predict the next positions."""
        fixed = (self._node_inputs, self._inputs, self._pairs)
        parts = self.run([*self._beads, *layout, *fixed, *history])
        mean, spread, nodes, edges = parts
        return Prediction(mean, spread, nodes, edges, self._pairs)

    def predict(self, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """All of a Prediction but its pairs, from tensors alone.

        Args:
            inputs: all of Beads; of Layout; constant inputs of the nodes, constant
                terms of the pairs, products of the two beads' properties; History.
        """
        beads, rest = Beads(*inputs[:N_BEADS]), inputs[N_BEADS:]
        layout, rest = Layout(*rest[:N_LAYOUT]), rest[N_LAYOUT:]
        node_inputs, constant, pairs, present, displacements, known = rest
        module = self._module
        scale = module.displacement_scale
        relaxed = apply_blocks(beads.mean_kernel, beads.slots, present)
        drift = (relaxed - present) / scale
        moves = tuple(displacements / scale)  # n_history x (n_beads, 3)
        values = [present, relaxed, *moves]
        latent, along = self._encode_pairs(values, constant, pairs, layout)
        parts = [node_inputs, length_and_direction(drift)[0]]
        for age, move in enumerate(moves):
            parts.extend([length_and_direction(move)[0], known[age]])
        nodes = self._node_encoder(torch.cat(parts, dim=1))

        edges = latent.repeat(2, 1)
        own = _own(beads, present, (drift, *moves), module.length_scale)
        for turn, layer in zip(self._turns, self._layers, strict=True):
            if turn is not None:
                nodes = turn(nodes, edges, along[0], own, layout)
            nodes = layer(nodes, edges, layout)
        force = self._shift(nodes, edges, along, own, layout)
        mean = relaxed + apply_blocks(beads.root_kernel, beads.slots, force)
        raw = self._spread(nodes) + 0.4
        spread = module.min_spread + from_lanes(
            nn.functional.softplus(to_lanes(raw)), raw
        )
        return mean, spread, nodes, edges

    def _encode_pairs(
        self,
        values: list[torch.Tensor],
        constant: torch.Tensor,
        pairs: torch.Tensor,
        layout: Layout,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """First latent of both edges of a pair, (n, n_edge), and its directions.

        Args:
            values: present and relaxed positions, moves; each (n_beads, 3).
            constant: (n, n_edge) terms that stay as long as the pairs do.
            pairs: (n, n_edge) products of the two beads' properties.
            layout: of the edges.
        """
        gaps = differences(torch.cat(values, dim=1), layout).view(len(values), 3, -1)
        length, along = lengths_and_directions(layout.add_shift(gaps[:2]))
        radial = self._radial(length)  # (2, n_radial, n)
        cosine = (along[0] * along[1]).sum(dim=0)
        turns = (gaps[2:, None] * along).sum(dim=2)  # (n_history, 2, n)
        n = gaps.size(2)
        features = torch.cat((radial.view(-1, n), cosine[None], turns.view(-1, n)))
        hidden = self._moving.onto(constant.clone(), features.T)
        latent = self._encoder.finish(hidden)
        latent.addcmul_(self._filter(radial[0].T), pairs)
        return latent, along


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


class _Refiner:
    """One refiner.Conditioner and one refiner.Denoiser."""

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
        self._turns = _turns(denoiser)
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
        own = _own(beads, candidate, moves, self._length_scale)
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


def _own(
    beads: Beads,
    positions: torch.Tensor,
    moves: tuple[torch.Tensor, ...],
    length_scale: torch.Tensor,
) -> torch.Tensor:
    """Vectors of the nodes, (n_beads, n_vectors, 3)."""
    vectors = torch.stack(moves, dim=1)
    if not beads.centre_weights.size(1):
        return vectors
    centres = centre_offsets(beads, positions) / length_scale
    return torch.cat((vectors, centres), dim=1)


def _turns(module: Any) -> list[Turns | None]:
    """What precedes each round of messages of a Predictor or Denoiser."""
    return [
        Turns(item, module.mean_degree) if isinstance(item, Directions) else None
        for item in module.directions
    ]
