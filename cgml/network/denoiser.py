"""The score network: noisy candidate -> denoised candidate, noise level by level.

All of it happens in white coordinates w, in which the predictor's Gaussian is the
standard normal (gaussian.py). There the noise-free target has unit variance on
every mode, and the best linear denoiser is w / (1 + sigma^2); the network learns the
rest. Preconditioning follows Karras et al. with sigma_data = 1.

References:
    T. Karras, M. Aittala, T. Aila, S. Laine, NeurIPS 2022: eq. 7, table 1.
"""

from typing import Final, NamedTuple

import torch
from torch import nn

from cgml.network.blocks import (
    MLP,
    Interaction,
    MessageWeights,
    Radial,
    ReadoutWeights,
    VectorReadout,
)
from cgml.network.conditioner import Condition
from cgml.network.directions import TurnWeights, directions, n_crosses
from cgml.network.gaussian import project, unwhiten
from cgml.network.inputs import Beads, centre_offsets
from cgml.network.kinds import apply_kernels
from cgml.network.leaves import (
    Product,
    add_shift,
    add_to_both,
    differences,
    length_and_direction,
    lengths_and_directions,
    level_waves,
    multiply,
    pack,
)
from cgml.network.pairs import Layout
from cgml.spec import NetworkConfig


class DenoiserWeights(NamedTuple):
    """Packed weights of a Denoiser."""

    encoder: Product  # of the edges
    filter: Product  # of the distances, multiplies the beads' properties
    known: Product  # first product of the node encoder, of the predictor's latent
    phase: Product  # likewise, of the noise level
    length: torch.Tensor  # (n_node,) likewise, of the length of the noisy coordinates
    nodes: Product  # second product of the node encoder
    turns: list[TurnWeights]  # what precedes each round of messages
    layers: list[MessageWeights]  # rounds of messages
    readout: ReadoutWeights  # of the correction


class Level(NamedTuple):
    """A noise level, of all beads or of each."""

    phase: torch.Tensor  # (1 or n_beads, n_node) its term of the node encoder
    total: torch.Tensor  # (1 or n_beads, 1) sqrt(1 + sigma^2)
    sigma: torch.Tensor  # (1 or n_beads, 1) the noise level


class DenoiserInputs(NamedTuple):
    """All that a denoiser's networks look at, tensors alone."""

    layout: Layout  # of the edges
    condition: Condition  # of the step
    nodes: torch.Tensor  # (n_beads, n_node) term of the step in the node encoder
    level: Level  # of the noise
    unit: torch.Tensor  # (n_beads, 3) noisy white coordinates over `level.total`
    candidate: torch.Tensor  # (n_beads, 3) nm, where they are in space
    centres: torch.Tensor  # (n_beads, n_types, 3) nm, see inputs.centre_offsets


class Denoiser(nn.Module):
    """Expected noise-free white coordinates, given noisy ones.

    Args:
        sizes: widths and rounds of messages.
        n_centres: particle types whose centres in a bead are seen; 0: none.
        radial: functions of the distance.
    """

    has_turns: Final[bool]
    length_scale: torch.Tensor
    mean_degree: torch.Tensor
    frequencies: torch.Tensor

    def __init__(self, sizes: NetworkConfig, n_centres: int, radial: Radial) -> None:
        super().__init__()
        self.register_buffer("length_scale", torch.tensor(1.0))
        self.register_buffer("mean_degree", torch.tensor(1.0))
        self.register_buffer("frequencies", torch.tensor([0.5, 1.0, 2.0, 4.0]))
        self.radial = radial
        n_node, n_edge, n_radial = sizes.n_node, sizes.n_edge, radial.n_functions
        n_layers, n_given = sizes.n_refiner_layers, 3 + n_centres
        self.node_encoder = MLP(n_node + 9, n_node, n_node, normalise=True)
        self.edge_encoder = nn.Linear(n_radial + 5, n_edge)
        self.filter = nn.Linear(n_radial, n_edge, bias=False)
        self.layers = nn.ModuleList(
            [Interaction(n_node, n_edge) for _ in range(n_layers)]
        )
        self.has_turns = sizes.n_vectors > 0
        self.directions = directions(n_layers, n_given, sizes)
        self.readout = VectorReadout(n_node, n_edge, 3, n_given + n_crosses(sizes))

    def forward(
        self,
        beads: Beads,
        layout: Layout,
        condition: Condition,
        white: torch.Tensor,
        sigma: torch.Tensor,
    ) -> torch.Tensor:
        """Expect noise-free white coordinates, (n_beads, 3).

        Args:
            beads: static description.
            layout: of the edges.
            condition: of this step.
            white: (n_beads, 3) noisy white coordinates.
            sigma: (n_beads, 1) or (1, 1) noise level.
        """
        weights = self.pack(None)
        nodes = multiply(weights.known, condition.nodes)
        level = self.level(weights, sigma)
        inputs = self.look(beads, layout, condition, nodes, level, white)
        return self.evaluate(weights, inputs)

    def pack(self, kind: torch.dtype | None) -> DenoiserWeights:
        """Prepare the weights; kind is of the numbers multiplied at the edges."""
        first, second = self.node_encoder.first, self.node_encoder.second
        n_node = first.weight.size(0)
        turns: list[TurnWeights] = []
        layers: list[MessageWeights] = []
        for turn, layer in zip(self.directions, self.layers):  # noqa: B905 (TorchScript)
            if self.has_turns:
                turns.append(turn.pack(self.mean_degree, kind))  # type: ignore[operator]
            layers.append(layer.pack(self.mean_degree, kind))  # type: ignore[operator]
        return DenoiserWeights(
            encoder=pack(self.edge_encoder.weight, self.edge_encoder.bias),
            filter=pack(self.filter.weight, None),
            known=pack(first.weight[:, :n_node], first.bias),
            phase=pack(first.weight[:, n_node:-1], None),
            length=first.weight[:, -1],
            nodes=pack(second.weight, second.bias),
            turns=turns,
            layers=layers,
            readout=self.readout.pack(self.mean_degree),
        )

    def level(self, weights: DenoiserWeights, sigma: torch.Tensor) -> Level:
        """What evaluations at a noise level, (n_beads, 1) or (1, 1), share."""
        kind, wide = self.frequencies.dtype, sigma.double()
        waves = level_waves(sigma, self.frequencies)
        total = torch.sqrt(1.0 + wide * wide).to(kind)
        return Level(multiply(weights.phase, waves), total, sigma.to(kind))

    def look(
        self,
        beads: Beads,
        layout: Layout,
        condition: Condition,
        nodes: torch.Tensor,
        level: Level,
        white: torch.Tensor,
    ) -> DenoiserInputs:
        """Bring noisy white coordinates (n_beads, 3) before the networks."""
        unit = white / level.total
        candidate = unwhiten(unit, condition.mean, condition.spread, beads)
        return DenoiserInputs(
            layout=layout,
            condition=condition,
            nodes=nodes,
            level=level,
            unit=unit,
            candidate=candidate,
            centres=centre_offsets(beads, candidate),
        )

    def evaluate(
        self, weights: DenoiserWeights, inputs: DenoiserInputs
    ) -> torch.Tensor:
        """Ask the networks: most of the time of a step is spent here."""
        layout, level, unit = inputs.layout, inputs.level, inputs.unit
        given = inputs.condition
        pairs, along = self._encode_pairs(weights, inputs)
        edges = add_to_both(given.edges, pairs)
        hidden = inputs.nodes + level.phase
        hidden.addcmul_(length_and_direction(unit)[0], weights.length)
        nodes = self.node_encoder.finish(weights.nodes, hidden)
        moves = (unit, given.drift, inputs.candidate - given.mean)
        own = torch.stack(moves, dim=1)
        if inputs.centres.size(1) > 0:
            own = torch.cat((own, inputs.centres / self.length_scale), dim=1)
        crosses = own[:, :0]
        for number, (turn, layer) in enumerate(zip(self.directions, self.layers)):  # noqa: B905 (TorchScript)
            if self.has_turns:
                turned = weights.turns[number]
                nodes, edges, crosses = turn(
                    turned, nodes, edges, along[0], own, layout
                )
            nodes, edges = layer(weights.layers[number], nodes, edges, layout)
        if crosses.size(1) > 0:
            own = torch.cat((own, crosses), dim=1)
        correction = self.readout(weights.readout, nodes, edges, along, own, layout)
        clean: torch.Tensor = (unit + level.sigma * correction) / level.total
        return clean

    def _encode_pairs(
        self, weights: DenoiserWeights, inputs: DenoiserInputs
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the candidate adds to both edges of a pair, and directions (3, 3, n)."""
        layout, given = inputs.layout, inputs.condition
        both = torch.cat((inputs.candidate, inputs.unit), dim=1)
        ends = differences(both, layout).view(2, 3, layout.receiver.size(0))
        gaps, relative = ends[0], ends[1]
        length, own = lengths_and_directions(add_shift(gaps, layout))
        along = torch.cat((own.unsqueeze(0), given.along))
        radial = self.radial(length / self.length_scale)
        cosines = (given.along * own).sum(dim=1)
        features = torch.cat((radial, cosines, (along * relative).sum(dim=1)))
        latent = multiply(weights.encoder, features.t())
        latent.addcmul_(multiply(weights.filter, radial.t()), given.pairs)
        return latent, along


def denoising_loss(
    denoised: torch.Tensor,
    target: torch.Tensor,
    spread: torch.Tensor,
    sigma: torch.Tensor,
    beads: Beads,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Preconditioned denoising score matching in two metrics with one optimum.

    Args:
        denoised: (n_beads, 3) output of the network.
        target: (n_beads, 3) noise-free white coordinates.
        spread: (n_beads, 1) spread of the prediction.
        sigma: (n_beads, 1) noise level.
        beads: static description.

    Returns:
        The loss in white coordinates, (), where every mode counts the same, and in
        space, (), nm^2, where the slow modes count most: they are few, and the
        stationary distribution sums their errors over many steps.
    """
    error = project(denoised - target, spread, beads)
    moved = apply_kernels(beads.kinds.root, beads.kinds, spread * error)
    weight = 1.0 + 1.0 / sigma.square()
    return (weight * error.square()).mean(), (weight * moved.square()).mean()
