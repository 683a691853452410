"""What the score network keeps of a step: prediction and present positions, encoded."""

from typing import NamedTuple

import torch
from torch import nn

from cgml.network.blocks import MLP, Radial
from cgml.network.gaussian import Prediction
from cgml.network.leaves import (
    Product,
    add_shift,
    add_to_both,
    differences,
    lengths_and_directions,
    multiply,
    pack,
)
from cgml.network.pairs import Layout


class Condition(NamedTuple):
    """What the score network keeps over all evaluations of one step."""

    mean: torch.Tensor  # (n_beads, 3) predicted positions, nm
    spread: torch.Tensor  # (n_beads, 1) predicted spread
    nodes: torch.Tensor  # (n_beads, n_node) latent of the predictor
    edges: torch.Tensor  # (2 n, n_edge) first-layer term of all constant edge inputs
    pairs: torch.Tensor  # (n, n_edge) see Prediction
    along: torch.Tensor  # (2, 3, n) unit vectors, at present and predicted positions
    drift: torch.Tensor  # (n_beads, 3) predicted displacement over its scale


class ConditionerWeights(NamedTuple):
    """Packed weights of a Conditioner."""

    latent: Product  # first product of the encoder, of the predictor's edges
    ahead: Product  # likewise, of the predicted positions
    second: Product  # second product


class Conditioner(nn.Module):
    """Prepare a Condition from a Prediction: once per step.

    Args:
        n_edge: width of edge features.
        radial: functions of the distance.
    """

    length_scale: torch.Tensor
    displacement_scale: torch.Tensor

    def __init__(self, n_edge: int, radial: Radial) -> None:
        super().__init__()
        self.register_buffer("length_scale", torch.tensor(1.0))
        self.register_buffer("displacement_scale", torch.tensor(1.0))
        self.radial = radial
        self.encoder = MLP(n_edge + radial.n_functions + 1, n_edge, n_edge)

    def forward(
        self, layout: Layout, positions: torch.Tensor, prediction: Prediction
    ) -> Condition:
        """Combine present positions (n_beads, 3) and prediction."""
        return self.run(self.pack(None), layout, positions, prediction)

    def pack(self, kind: torch.dtype | None) -> ConditionerWeights:
        """Prepare the weights; kind is of the numbers that are multiplied."""
        first, second = self.encoder.first, self.encoder.second
        n_edge = first.weight.size(0)
        return ConditionerWeights(
            latent=pack(first.weight[:, :n_edge], None, kind),
            ahead=pack(first.weight[:, n_edge:], first.bias, kind),
            second=pack(second.weight, second.bias, kind),
        )

    def run(
        self,
        weights: ConditionerWeights,
        layout: Layout,
        positions: torch.Tensor,
        prediction: Prediction,
    ) -> Condition:
        """Combine present positions (n_beads, 3) and prediction."""
        both = torch.cat((positions, prediction.mean), dim=1)
        gaps = differences(both, layout).view(2, 3, layout.receiver.size(0))
        lengths, along = lengths_and_directions(add_shift(gaps, layout))
        cosine = (along[0] * along[1]).sum(dim=0)
        radial = self.radial(lengths[1] / self.length_scale)
        features = torch.cat((radial, cosine.unsqueeze(0)))
        hidden = add_to_both(
            multiply(weights.latent, prediction.edges),
            multiply(weights.ahead, features.t()),
        )
        return Condition(
            mean=prediction.mean,
            spread=prediction.spread,
            nodes=prediction.nodes,
            edges=self.encoder.finish(weights.second, hidden),
            pairs=prediction.pairs,
            along=along,
            drift=(prediction.mean - positions) / self.displacement_scale,
        )
