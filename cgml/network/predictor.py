"""The dynamics network: history -> Gaussian over the next positions."""

from typing import Final, NamedTuple

import torch
from torch import nn

from cgml.contract.lanes import from_lanes, to_lanes
from cgml.network.blocks import (
    MLP,
    Interaction,
    MessageWeights,
    MlpWeights,
    Radial,
    ReadoutWeights,
    ScalarReadout,
    VectorReadout,
)
from cgml.network.directions import TurnWeights, directions, n_crosses
from cgml.network.gaussian import Prediction
from cgml.network.inputs import Beads, centre_offsets
from cgml.network.kinds import apply_kernels
from cgml.network.leaves import (
    Product,
    add_shift,
    differences,
    length_and_direction,
    lengths_and_directions,
    multiply,
    multiply_onto,
    pack,
)
from cgml.network.pairs import N_STATIC, Layout
from cgml.network.sums import at_ends
from cgml.spec import NetworkConfig


class History(NamedTuple):
    """What is known of the past.

    Attributes:
        positions: (n_beads, 3) nm, relative to any point of the system; molecules
            whole, in the images that the edges belong to.
        displacements: (n_history, n_beads, 3) nm, newest first, free of the motion
            of the molecule's centre of mass where the model holds it out; zero where
            unknown.
        known: (n_history, n_beads, 1) 1 where the displacement is known, else 0.
    """

    positions: torch.Tensor
    displacements: torch.Tensor
    known: torch.Tensor


class PredictorWeights(NamedTuple):
    """Packed weights of a Predictor."""

    moving: Product  # first product of the edge encoder, of what changes at every step
    static: Product  # likewise, of what stays as long as the pairs do
    edges: Product  # second product of the edge encoder
    filter: Product  # of the distances, multiplies the beads' properties
    properties: Product  # of the embedding
    nodes: MlpWeights  # node encoder
    turns: list[TurnWeights]  # what precedes each round of messages
    layers: list[MessageWeights]  # rounds of messages
    shift: ReadoutWeights  # readout of the mean
    spread: MlpWeights  # readout of the spread


class Terms(NamedTuple):
    """What a predictor need not compute again as long as the pairs stay."""

    nodes: torch.Tensor  # (n_beads, n_embedding + 1) inputs of the node encoder
    static: torch.Tensor  # (n, n_edge) terms of the edge encoder
    pairs: torch.Tensor  # (n, n_edge) products of the two beads' learned properties


class PredictorInputs(NamedTuple):
    """All that a predictor's networks look at, tensors alone."""

    layout: Layout  # of the edges
    terms: Terms  # of the pairs
    present: torch.Tensor  # (n_beads, 3) nm
    relaxed: torch.Tensor  # (n_beads, 3) nm, one step later without noise and networks
    displacements: torch.Tensor  # (n_history, n_beads, 3) nm
    known: torch.Tensor  # (n_history, n_beads, 1)
    centres: torch.Tensor  # (n_beads, n_types, 3) nm, see `centre_offsets`


class PredictorOutputs(NamedTuple):
    """What a predictor's networks say."""

    force: torch.Tensor  # (n_beads, 3) shift of the mean in white coordinates
    spread: torch.Tensor  # (n_beads, 1) see Prediction
    nodes: torch.Tensor  # (n_beads, n_node) latent
    edges: torch.Tensor  # (2 n, n_edge) latent


class Predictor(nn.Module):
    """Gaussian over the next positions of every bead (PAPER: dynamics network).

    The mean is the Rouse relaxation of the present positions plus a learned vector;
    the covariance is the Rouse one, scaled bead by bead by a learned spread.

    Args:
        sizes: widths and rounds of messages.
        n_history: displacements of earlier steps.
        n_centres: particle types whose centres in a bead are seen; 0: none.
        radial: functions of the distance.
    """

    has_turns: Final[bool]
    min_spread: float
    n_static: int
    length_scale: torch.Tensor
    displacement_scale: torch.Tensor
    mean_degree: torch.Tensor

    def __init__(
        self,
        sizes: NetworkConfig,
        n_history: int,
        n_centres: int,
        radial: Radial,
    ) -> None:
        super().__init__()
        self.min_spread, self.n_static = 0.1, N_STATIC
        self.register_buffer("length_scale", torch.tensor(1.0))
        self.register_buffer("displacement_scale", torch.tensor(1.0))
        self.register_buffer("mean_degree", torch.tensor(1.0))
        self.radial = radial
        n_node, n_edge, n_radial = sizes.n_node, sizes.n_edge, radial.n_functions
        n_layers, n_given = sizes.n_predictor_layers, 1 + n_history + n_centres
        self.node_encoder = MLP(
            sizes.n_embedding + 2 + 2 * n_history, n_node, n_node, normalise=True
        )
        self.edge_encoder = MLP(
            2 * n_radial + 1 + N_STATIC + 2 * n_history, n_edge, n_edge
        )
        self.properties = nn.Linear(sizes.n_embedding, n_edge, bias=False)
        self.filter = nn.Linear(n_radial, n_edge, bias=False)
        self.layers = nn.ModuleList(
            [Interaction(n_node, n_edge) for _ in range(n_layers)]
        )
        self.has_turns = sizes.n_vectors > 0
        self.directions = directions(n_layers, n_given, sizes)
        self.shift = VectorReadout(n_node, n_edge, 2, n_given + n_crosses(sizes))
        self.spread = ScalarReadout(n_node)

    def forward(
        self, beads: Beads, layout: Layout, embedding: torch.Tensor, history: History
    ) -> Prediction:
        """Predict the next positions; embedding is (n_beads, n_embedding)."""
        weights = self.pack(None)
        terms = self.terms(weights, beads, layout, embedding)
        inputs = self.look(beads, layout, terms, history)
        return self.conclude(beads, inputs, self.evaluate(weights, inputs))

    def pack(self, kind: torch.dtype | None) -> PredictorWeights:
        """Prepare the weights; kind is of the numbers multiplied at the edges."""
        first, second = self.edge_encoder.first, self.edge_encoder.second
        begin = 2 * self.radial.n_functions + 1  # of the static inputs of an edge
        end = begin + self.n_static
        moving = torch.cat((first.weight[:, :begin], first.weight[:, end:]), dim=1)
        turns: list[TurnWeights] = []
        layers: list[MessageWeights] = []
        for turn, layer in zip(self.directions, self.layers):  # noqa: B905 (TorchScript)
            if self.has_turns:
                turns.append(turn.pack(self.mean_degree, kind))  # type: ignore[operator]
            layers.append(layer.pack(self.mean_degree, kind))  # type: ignore[operator]
        return PredictorWeights(
            moving=pack(moving, None),
            static=pack(first.weight[:, begin:end], first.bias),
            edges=pack(second.weight, second.bias, kind),
            filter=pack(self.filter.weight, None),
            properties=pack(self.properties.weight, None),
            nodes=self.node_encoder.pack(None),
            turns=turns,
            layers=layers,
            shift=self.shift.pack(self.mean_degree),
            spread=self.spread.pack(),
        )

    def terms(
        self,
        weights: PredictorWeights,
        beads: Beads,
        layout: Layout,
        embedding: torch.Tensor,
    ) -> Terms:
        """Compute what stays as long as the pairs do; see `forward`."""
        first, second = at_ends(multiply(weights.properties, embedding), layout)
        return Terms(
            nodes=torch.cat((embedding, beads.masses), dim=1),
            static=multiply(weights.static, layout.static),
            pairs=first * second,
        )

    def look(
        self, beads: Beads, layout: Layout, terms: Terms, history: History
    ) -> PredictorInputs:
        """Bring a history before the networks."""
        present = history.positions
        return PredictorInputs(
            layout=layout,
            terms=terms,
            present=present,
            relaxed=apply_kernels(beads.kinds.mean, beads.kinds, present),
            displacements=history.displacements,
            known=history.known,
            centres=centre_offsets(beads, present),
        )

    def evaluate(
        self, weights: PredictorWeights, inputs: PredictorInputs
    ) -> PredictorOutputs:
        """Ask the networks: most of the time of a prediction is spent here."""
        layout = inputs.layout
        drift = (inputs.relaxed - inputs.present) / self.displacement_scale
        moves = inputs.displacements / self.displacement_scale
        pairs, along = self._encode_pairs(weights, inputs, moves)
        edges = pairs.repeat(2, 1)
        parts = [inputs.terms.nodes, length_and_direction(drift)[0]]
        vectors = [drift.unsqueeze(1)]
        for age in range(moves.size(0)):
            parts.append(length_and_direction(moves[age])[0])
            parts.append(inputs.known[age])
            vectors.append(moves[age].unsqueeze(1))
        if inputs.centres.size(1) > 0:
            vectors.append(inputs.centres / self.length_scale)
        own = torch.cat(vectors, dim=1)
        crosses = own[:, :0]
        nodes = self.node_encoder.run(weights.nodes, torch.cat(parts, dim=1))
        for number, (turn, layer) in enumerate(zip(self.directions, self.layers)):  # noqa: B905 (TorchScript)
            if self.has_turns:
                turned = weights.turns[number]
                nodes, edges, crosses = turn(
                    turned, nodes, edges, along[0], own, layout
                )
            nodes, edges = layer(weights.layers[number], nodes, edges, layout)
        if crosses.size(1) > 0:
            own = torch.cat((own, crosses), dim=1)
        force = self.shift(weights.shift, nodes, edges, along, own, layout)
        raw = self.spread.run(weights.spread, nodes) + 0.4
        positive = nn.functional.softplus(to_lanes(raw))
        spread = self.min_spread + from_lanes(positive, raw)
        return PredictorOutputs(force, spread, nodes, edges)

    def conclude(
        self, beads: Beads, inputs: PredictorInputs, outputs: PredictorOutputs
    ) -> Prediction:
        """Say in space what the networks said."""
        moved = apply_kernels(beads.kinds.root, beads.kinds, outputs.force)
        return Prediction(
            mean=inputs.relaxed + moved,
            spread=outputs.spread,
            nodes=outputs.nodes,
            edges=outputs.edges,
            pairs=inputs.terms.pairs,
        )

    def _encode_pairs(
        self, weights: PredictorWeights, inputs: PredictorInputs, moves: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """First latent of both edges of a pair, (n, n_edge), and its directions.

        Here moves are (n_history, n_beads, 3) scaled displacements.
        """
        layout, terms = inputs.layout, inputs.terms
        values = [inputs.present, inputs.relaxed]
        values.extend(moves.unbind(0))
        gaps = differences(torch.cat(values, dim=1), layout)
        gaps = gaps.view(len(values), 3, layout.receiver.size(0))
        lengths, along = lengths_and_directions(add_shift(gaps[:2], layout))
        radial = self.radial(lengths / self.length_scale)  # (2, n_radial, n)
        cosine = (along[0] * along[1]).sum(dim=0)
        turned = (gaps[2:].unsqueeze(1) * along).sum(dim=2)  # (n_history, 2, n)
        features = torch.cat(
            (radial.flatten(0, 1), cosine.unsqueeze(0), turned.flatten(0, 1))
        )
        hidden = multiply_onto(weights.moving, terms.static.clone(), features.t())
        latent = self.edge_encoder.finish(weights.edges, hidden)
        filtered = multiply(weights.filter, radial[0].t())
        return latent.addcmul_(filtered, terms.pairs), along
