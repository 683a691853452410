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
    between,
    lengths_and_directions,
    level_waves,
    multiply,
    pack,
)
from cgml.network.pairs import whole_registers
from cgml.network.potential import envelope

N_HIDDEN = 32


class Far(NamedTuple):
    """Pairs beyond the cutoff before a step.

    Attributes:
        ends: (2, n) receivers, senders.
        shift: (3, n) nm, to add to receiver minus sender.
        ahead: (3, n) unit vectors of receiver minus sender at the predicted positions.
        known: (n, 2 * N_HIDDEN) products of learned properties of the two beads, and
            terms of the distance at the predicted positions.
    """

    ends: torch.Tensor
    shift: torch.Tensor
    ahead: torch.Tensor
    known: torch.Tensor


class ArrivalLevel(NamedTuple):
    """A noise level sigma, of all beads or of each."""

    terms: torch.Tensor  # (1 or n_beads, N_HIDDEN) of the networks
    share: torch.Tensor  # (1 or n_beads, 1) sigma / (1 + sigma^2)^(1/2) / length scale


class ArrivalInputs(NamedTuple):
    """All that the networks look at, tensors alone.

    Attributes:
        gaps: (3, n) nm, receiver minus sender in the candidate.
        relative: (3, n) likewise in noisy white coordinates.
        ahead: (3, n) see Far.
        known: (n, 2 * N_HIDDEN) see Far.
        level: (1 or n, N_HIDDEN) terms of the noise level.
    """

    gaps: torch.Tensor
    relative: torch.Tensor
    ahead: torch.Tensor
    known: torch.Tensor
    level: torch.Tensor


class ArrivalWeights(NamedTuple):
    """Packed weights of Arrivals."""

    properties: Product  # of the embedding
    filter: Product  # of the distances, multiplies the products of properties
    phase: Product  # of the noise level
    ahead: Product  # of the predicted distances
    turned: Product  # of the angle to the predicted direction, and of the noise along
    strengths: MlpWeights  # readout: along the pair, along its predicted direction


def made_up(n: int, stream: torch.Generator) -> ArrivalInputs:
    """Inputs of n pairs, of the sizes and kinds of real ones."""
    sizes = (3, n), (3, n), (3, n), (n, 2 * N_HIDDEN), (1, N_HIDDEN)
    return ArrivalInputs(*(torch.randn(size, generator=stream) for size in sizes))


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
        level = self.level(weights, sigma)
        return self.shift(weights, beads, far, condition, unit, candidate, level)

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

    def level(self, weights: ArrivalWeights, sigma: torch.Tensor) -> ArrivalLevel:
        """What evaluations at a noise level, (n_beads, 1) or (1, 1), share."""
        terms = multiply(weights.phase, level_waves(sigma, self.frequencies))
        share = (sigma / torch.sqrt(1.0 + sigma * sigma)).to(terms.dtype)
        return ArrivalLevel(terms, share / self.length_scale)

    def far(
        self,
        weights: ArrivalWeights,
        pairs: Pairs,
        embedding: torch.Tensor,
        mean: torch.Tensor,
    ) -> Far:
        """Prepare what stays over all evaluations of a step; mean is (n_beads, 3)."""
        ends = torch.stack((pairs.receiver, pairs.sender))
        shift = pairs.shift.t().contiguous()
        own = multiply(weights.properties, embedding)
        products = own.index_select(0, ends[0]) * own.index_select(0, ends[1])
        lengths, ahead = lengths_and_directions(between(mean, ends[0], ends[1]) + shift)
        radial = self.radial(lengths / self.length_scale)
        terms = multiply(weights.ahead, radial.t())
        return Far(ends, shift, ahead, torch.cat((products, terms), dim=1))

    def shift(
        self,
        weights: ArrivalWeights,
        beads: Beads,
        far: Far,
        condition: Condition,
        unit: torch.Tensor,
        candidate: torch.Tensor,
        level: ArrivalLevel,
    ) -> torch.Tensor:
        """What to add to the denoised point; see `forward`.

        Args:
            weights: packed.
            beads: static description.
            far: of the pairs.
            condition: of the step.
            unit: (n_beads, 3) noisy white coordinates over (1 + sigma^2)^(1/2).
            candidate: (n_beads, 3) nm, where these are in space.
            level: of the noise.
        """
        ends, inputs = self.look(far, unit, candidate, level)
        forces = self.evaluate(weights, inputs)
        return self.conclude(beads, ends, condition, forces, level)

    def look(
        self,
        far: Far,
        unit: torch.Tensor,
        candidate: torch.Tensor,
        level: ArrivalLevel,
    ) -> tuple[torch.Tensor, ArrivalInputs]:
        """Bring pairs that are within the cutoff before the networks.

        Returns:
            Receivers and senders, (2, n); inputs, on the CPU padded to whole registers.
        """
        ends, ahead, known = far.ends, far.ahead, far.known
        gaps = between(candidate, ends[0], ends[1]) + far.shift
        n = ends.size(1)
        if candidate.is_cpu and n > 0:  # a GPU does all: nothing waits there for n
            near = gaps.square().sum(dim=0) < self.cutoff**2
            rows = near.nonzero().squeeze(1)
            n = rows.size(0)
            rows = nn.functional.pad(rows, (0, whole_registers(n) - n))
            ends, gaps = ends.index_select(1, rows), gaps.index_select(1, rows)
            ahead, known = ahead.index_select(1, rows), known.index_select(0, rows)
        terms = level.terms
        if terms.size(0) > 1:
            terms = terms.index_select(0, ends[0])
        relative = between(unit, ends[0], ends[1])
        inputs = ArrivalInputs(gaps, relative, ahead, known, terms)
        return ends[:, :n], inputs

    def evaluate(self, weights: ArrivalWeights, inputs: ArrivalInputs) -> torch.Tensor:
        """Ask the networks for the forces on the receivers, (3, n)."""
        ahead, relative = inputs.ahead, inputs.relative
        products, terms = inputs.known.chunk(2, dim=1)
        lengths, along = lengths_and_directions(inputs.gaps)
        radial = self.radial(lengths / self.length_scale)  # (n_radial, n)
        turned = torch.stack((along * ahead, along * relative, ahead * relative))
        hidden = multiply(weights.filter, radial.t()) * products
        hidden = hidden + inputs.level + terms
        hidden = hidden + multiply(weights.turned, turned.sum(dim=1).t())
        strengths = self.strengths.run(weights.strengths, hidden).t()
        strengths = self.gain * strengths * envelope(lengths, self.cutoff)
        forces: torch.Tensor = strengths[0] * along + strengths[1] * ahead
        return forces

    def conclude(
        self,
        beads: Beads,
        ends: torch.Tensor,
        condition: Condition,
        forces: torch.Tensor,
        level: ArrivalLevel,
    ) -> torch.Tensor:
        """Say in white coordinates what the networks said, (n_beads, 3).

        Forces on the beads, opposite for the two of a pair, brought to white
        coordinates like a gradient: what moves a bead there moves its neighbours, too.
        """
        wide = forces[:, : ends.size(1)].t().double()
        total = sum_by(ends.reshape(-1), torch.cat((wide, -wide)), len(beads.masses))
        back = [kernel.transpose(1, 2) for kernel in beads.kinds.root]
        moved = apply_kernels(back, beads.kinds, total).to(condition.spread.dtype)
        return level.share * condition.spread * moved
