"""Pairs that arrive: beyond the cutoff before a step, near each other at its end.

Messages run between beads within the cutoff before a step. Two beads farther apart may
end it in contact (of large ones four in ten that touch), and nothing would keep them
from ending it on top of each other. So the score network looks at the noisy candidate
for pairs that came from farther away, and moves the two along their line and along the
one predicted, by strengths that depend on both distances, on the angle between, on what
they are and on the noise level. Pairs alone, no messages: it costs a tenth of a step.
"""

from typing import NamedTuple

import torch
from torch import nn

from cgml.contract.stepper import Pairs
from cgml.molecules.systems import sum_by
from cgml.network.blocks import MLP, MlpWeights, Radial
from cgml.network.conditioner import Condition
from cgml.network.gaussian import unwhiten
from cgml.network.inputs import Beads
from cgml.network.kinds import apply_kernels
from cgml.network.leaves import (
    Product,
    length_and_direction,
    level_waves,
    multiply,
    pack,
)
from cgml.network.potential import envelope

N_HIDDEN = 32


class Far(NamedTuple):
    """Pairs beyond the cutoff before a step.

    Attributes:
        receiver: (n,).
        sender: (n,).
        shift: (n, 3) nm, to add to receiver minus sender.
        products: (n, N_HIDDEN) of learned properties of the two beads.
        along: (n, 3) unit vectors of receiver minus sender at the predicted positions.
        ahead: (n, N_HIDDEN) terms of the distance there.
    """

    receiver: torch.Tensor
    sender: torch.Tensor
    shift: torch.Tensor
    products: torch.Tensor
    along: torch.Tensor
    ahead: torch.Tensor


class ArrivalWeights(NamedTuple):
    """Packed weights of Arrivals."""

    properties: Product  # of the embedding
    filter: Product  # of the distances, multiplies the products of properties
    phase: Product  # of the noise level
    ahead: Product  # of the predicted distances
    turned: Product  # of the angle to the predicted direction, and of the noise along
    strengths: MlpWeights  # readout: along the pair, along its predicted direction


def between(
    values: torch.Tensor, receiver: torch.Tensor, sender: torch.Tensor
) -> torch.Tensor:
    """Receiver minus sender of (n_beads, 3): (n, 3)."""
    return values.index_select(0, receiver) - values.index_select(0, sender)


class Arrivals(nn.Module):
    """What the score network adds for pairs that arrive.

    Args:
        n_embedding: width of the bead embedding.
        radial: functions of the distance.
        cutoff: nm, at which the strength ends.
    """

    length_scale: torch.Tensor
    frequencies: torch.Tensor
    cutoff: float
    gain: float

    def __init__(self, n_embedding: int, radial: Radial, cutoff: float) -> None:
        super().__init__()
        self.register_buffer("length_scale", torch.tensor(1.0))
        self.register_buffer("frequencies", torch.tensor([0.5, 1.0, 2.0, 4.0]))
        self.radial, self.cutoff = radial, cutoff
        self.gain = 10.0  # walls are steep, and weights begin small
        self.properties = nn.Linear(n_embedding, N_HIDDEN, bias=False)
        self.filter = nn.Linear(radial.n_functions, N_HIDDEN, bias=False)
        self.phase = nn.Linear(8, N_HIDDEN)
        self.ahead = nn.Linear(radial.n_functions, N_HIDDEN, bias=False)
        self.turned = nn.Linear(3, N_HIDDEN, bias=False)
        self.strengths = MLP(N_HIDDEN, N_HIDDEN, 2)

    def forward(
        self,
        beads: Beads,
        pairs: Pairs,
        embedding: torch.Tensor,
        condition: Condition,
        unit: torch.Tensor,
        sigma: torch.Tensor,
    ) -> torch.Tensor:
        """What to add to the denoised point, (n_beads, 3) white coordinates.

        Args:
            beads: static description.
            pairs: beyond the cutoff before the step.
            embedding: (n_beads, n_embedding).
            condition: of the step.
            unit: (n_beads, 3) noisy white coordinates over (1 + sigma^2)^(1/2).
            sigma: (n_beads, 1) or (1, 1) noise level, one for both beads of a pair.
        """
        weights = self.pack()
        far = self.far(weights, pairs, embedding, condition.mean)
        candidate = unwhiten(unit, condition.mean, condition.spread, beads)
        return self.shift(weights, beads, far, condition, unit, candidate, sigma)

    def pack(self) -> ArrivalWeights:
        """Prepare the weights."""
        return ArrivalWeights(
            properties=pack(self.properties.weight, None),
            filter=pack(self.filter.weight, None),
            phase=pack(self.phase.weight, self.phase.bias),
            ahead=pack(self.ahead.weight, None),
            turned=pack(self.turned.weight, None),
            strengths=self.strengths.pack(None),
        )

    def far(
        self,
        weights: ArrivalWeights,
        pairs: Pairs,
        embedding: torch.Tensor,
        mean: torch.Tensor,
    ) -> Far:
        """Prepare what stays over all evaluations of a step; mean is (n_beads, 3)."""
        own = multiply(weights.properties, embedding)
        first = own.index_select(0, pairs.receiver)
        products = first * own.index_select(0, pairs.sender)
        gaps = between(mean, pairs.receiver, pairs.sender) + pairs.shift
        lengths, along = length_and_direction(gaps)
        radial = self.radial(lengths.squeeze(1) / self.length_scale)
        ahead = multiply(weights.ahead, radial.t())
        return Far(pairs.receiver, pairs.sender, pairs.shift, products, along, ahead)

    def shift(
        self,
        weights: ArrivalWeights,
        beads: Beads,
        far: Far,
        condition: Condition,
        unit: torch.Tensor,
        candidate: torch.Tensor,
        sigma: torch.Tensor,
    ) -> torch.Tensor:
        """What to add to the denoised point; see `forward`.

        Forces on the beads, opposite for the two of a pair, brought to white
        coordinates like a gradient: what moves a bead there moves its neighbours, too.

        Args:
            weights: packed.
            beads: static description.
            far: of the pairs.
            condition: of the step.
            unit: (n_beads, 3) noisy white coordinates over (1 + sigma^2)^(1/2).
            candidate: (n_beads, 3) nm, where these are in space.
            sigma: (n_beads, 1) or (1, 1) noise level.
        """
        gaps = between(candidate, far.receiver, far.sender) + far.shift
        if candidate.is_cpu:  # a GPU does all: nothing there may wait for numbers
            reached = (gaps.square().sum(dim=1) < self.cutoff**2).nonzero().squeeze(1)
            far = Far(
                far.receiver.index_select(0, reached),
                far.sender.index_select(0, reached),
                far.shift.index_select(0, reached),
                far.products.index_select(0, reached),
                far.along.index_select(0, reached),
                far.ahead.index_select(0, reached),
            )
            gaps = gaps.index_select(0, reached)
        lengths, along = length_and_direction(gaps)
        radial = self.radial(lengths.squeeze(1) / self.length_scale)  # (n_radial, n)
        relative = between(unit, far.receiver, far.sender)
        turned = torch.stack(
            (
                (along * far.along).sum(dim=1),
                (along * relative).sum(dim=1),
                (far.along * relative).sum(dim=1),
            ),
            dim=1,
        )
        hidden = multiply(weights.filter, radial.t()) * far.products
        hidden = hidden + self._level(weights, far, sigma) + far.ahead
        hidden = hidden + multiply(weights.turned, turned)
        strengths = self.strengths.run(weights.strengths, hidden)
        strengths = self.gain * strengths * envelope(lengths, self.cutoff)
        forces = (strengths[:, :1] * along + strengths[:, 1:] * far.along).double()
        ends = torch.cat((far.receiver, far.sender))
        total = sum_by(ends, torch.cat((forces, -forces)), candidate.size(0))
        back = [kernel.transpose(1, 2) for kernel in beads.kinds.root]
        moved = apply_kernels(back, beads.kinds, total).to(candidate.dtype)
        noise = (sigma / torch.sqrt(1.0 + sigma * sigma)).to(candidate.dtype)
        shift: torch.Tensor = noise * condition.spread * moved / self.length_scale
        return shift

    def _level(
        self, weights: ArrivalWeights, far: Far, sigma: torch.Tensor
    ) -> torch.Tensor:
        """Terms of the noise level, (1 or n, N_HIDDEN)."""
        level = multiply(weights.phase, level_waves(sigma, self.frequencies))
        return level if level.size(0) == 1 else level.index_select(0, far.receiver)
