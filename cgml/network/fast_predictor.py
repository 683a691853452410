"""The predictor as it is run: terms that stay are kept, pairs are seen once.

The equations are those of predictor.py; see inference.py.
"""

from typing import Any

import torch
from torch import nn

from cgml.molecules.rouse import apply_blocks
from cgml.network.blocks import from_lanes, length_and_direction, to_lanes
from cgml.network.edges import N_STATIC
from cgml.network.inputs import Beads
from cgml.network.pairs import Layout, Pairs
from cgml.network.predictor import History, Prediction
from cgml.network.products import (
    N_BEADS,
    N_LAYOUT,
    Messages,
    Mlp,
    Part,
    Product,
    Radial,
    Readout,
    Scalar,
    differences,
    lengths_and_directions,
    own_vectors,
    turns_of,
)


class FastPredictor:
    """One predictor.Predictor, bound to beads.

    Args:
        module: the Predictor.
        beads: of all systems.
        embedding: (n_beads, n_embedding).
        kind: of the numbers that are multiplied at the edges.

    Attributes:
        run: `predict`, or what was compiled of it.
    """

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
        self._turns = turns_of(module)
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
        own = own_vectors(beads, present, (drift, *moves), module.length_scale)
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
