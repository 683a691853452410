"""Building blocks of the networks: invariant features, message passing, vectors out.

Scalars travel along edges and nodes; vectors enter only through invariants (lengths,
cosines, projections) and leave only as sums of scalars times given vectors. The
networks are therefore equivariant under rotation and reflection by construction.

Every block says with `pack` what it needs of its weights, and takes that as an
argument: who keeps it saves the packing, see bound.py. Edges stand as in pairs.Layout.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from cgml.network.leaves import (
    Product,
    grown,
    multiply,
    multiply_onto,
    pack,
    silu,
    widened,
)
from cgml.network.pairs import Layout
from cgml.network.sums import add_ends, sum_arrivals


class MlpWeights(NamedTuple):
    """Packed weights of an MLP."""

    first: Product
    second: Product


class MLP(nn.Module):
    """Linear layers with SiLU between them, LayerNorm at the end if asked."""

    def __init__(
        self, n_input: int, n_hidden: int, n_output: int, *, normalise: bool = False
    ) -> None:
        super().__init__()
        self.first = nn.Linear(n_input, n_hidden)
        self.second = nn.Linear(n_hidden, n_output)
        self.norm = nn.LayerNorm(n_output) if normalise else nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (..., n_input) to (..., n_output)."""
        hidden = nn.functional.silu(self.first(values))
        output: torch.Tensor = self.norm(self.second(hidden))
        return output

    def pack(self, kind: torch.dtype | None) -> MlpWeights:
        """Prepare the weights; see leaves.pack. What comes out is float32 or better."""
        return MlpWeights(
            pack(self.first.weight, self.first.bias, kind),
            pack(self.second.weight, self.second.bias, kind),
        )

    def run(self, weights: MlpWeights, values: torch.Tensor) -> torch.Tensor:
        """Map (n, n_input) to (n, n_output)."""
        return self.finish(weights.second, multiply(weights.first, values))

    def finish(self, second: Product, hidden: torch.Tensor) -> torch.Tensor:
        """Go on from the first product, (n, n_hidden), which is used up."""
        output: torch.Tensor = self.norm(widened(multiply(second, silu(hidden))))
        return output


class ScalarReadout(nn.Module):
    """One number per row; the same bits whatever else is in the batch.

    A product with a single output column goes to a matrix-vector routine whose order
    of summation depends on the number of rows; one with several columns does not.

    Args:
        n_input: width of the features.
    """

    def __init__(self, n_input: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_input, n_input)
        self.second = nn.Linear(n_input, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, n_input) to (n, 1)."""
        return self.run(self.pack(), values)

    def pack(self) -> MlpWeights:
        """Prepare the weights."""
        weight, bias = self.second.weight, self.second.bias
        return MlpWeights(
            pack(self.first.weight, self.first.bias),
            pack(weight.repeat(4, 1), bias.repeat(4)),
        )

    def run(self, weights: MlpWeights, values: torch.Tensor) -> torch.Tensor:
        """Map (n, n_input) to (n, 1)."""
        return multiply(weights.second, silu(multiply(weights.first, values)))[:, :1]


def gaussian(exponents: torch.Tensor) -> torch.Tensor:
    """Take exp of numbers up to 0, which are used up.

    Below -80, a function too small to count, exp would give denormal numbers, which
    cost thirty times as much.
    """
    return exponents.clamp_(min=-80.0).exp_()


class RadialBasis(nn.Module):
    """Gaussians on a logarithmic distance axis.

    Args:
        n_functions: number of Gaussians.
        largest: last centre, in units of log(1 + r / length_scale).
    """

    centres: torch.Tensor
    n_functions: int
    factor: float

    def __init__(self, n_functions: int, largest: float) -> None:
        super().__init__()
        self.n_functions = n_functions
        self.register_buffer("centres", torch.linspace(0.0, largest, n_functions))
        self.factor = -0.5 * (float(n_functions - 1) / largest) ** 2

    def forward(self, lengths: torch.Tensor) -> torch.Tensor:
        """Map (..., n) distances, in units of the length scale, to functions.

        Args:
            lengths: n whole registers.

        Returns:
            (..., n_functions, n).
        """
        steps = torch.log1p(lengths).unsqueeze(-2) - self.centres.unsqueeze(1)
        return gaussian(steps.square_().mul_(self.factor))


class PlacedRadialBasis(nn.Module):
    """Gaussians on a logarithmic distance axis, close together where told to.

    Each is as wide as half the way from the centre before it to the one behind.

    Args:
        centres: ascending, in units of log(1 + r / length_scale), two or more.
    """

    centres: torch.Tensor
    factors: torch.Tensor
    n_functions: int

    def __init__(self, centres: Sequence[float]) -> None:
        super().__init__()
        self.n_functions = len(centres)
        places = torch.tensor(centres, dtype=torch.float64)
        gaps = nn.functional.pad(places.diff()[None], (1, 1), mode="replicate")[0]
        widths = 0.5 * (gaps[1:] + gaps[:-1])
        self.register_buffer("centres", places.float())
        self.register_buffer("factors", (-0.5 / widths.square()).float())

    def forward(self, lengths: torch.Tensor) -> torch.Tensor:
        """Map distances to functions; see RadialBasis."""
        steps = torch.log1p(lengths).unsqueeze(-2) - self.centres.unsqueeze(1)
        return gaussian(steps.square_().mul_(self.factors.unsqueeze(1)))


Radial = RadialBasis | PlacedRadialBasis


class MessageWeights(NamedTuple):
    """Packed weights of an Interaction."""

    edge: Product  # of the edges
    ends: Product  # of receiver and sender, side by side, for all nodes
    own: Product  # first product of the update, of the node itself
    arrived: Product  # likewise, of the sums of messages
    update: Product  # second product of the update


class Interaction(nn.Module):
    """One round of messages: edges see their two nodes, nodes see their edges.

    The first linear map of the edge update is split: its node parts are taken once
    per node and gathered. The second linear map of a message commutes with the sum
    over edges, so it is part of the node update: one matrix product per edge and
    layer.

    Args:
        n_node: width of node features.
        n_edge: width of edge features.
    """

    def __init__(self, n_node: int, n_edge: int) -> None:
        super().__init__()
        self.edge = nn.Linear(n_edge, n_edge)
        self.receiver = nn.Linear(n_node, n_edge, bias=False)
        self.sender = nn.Linear(n_node, n_edge, bias=False)
        self.update = MLP(n_node + n_edge, n_node, n_node)
        self.norm = nn.LayerNorm(n_node)

    def pack(
        self, mean_degree: torch.Tensor, kind: torch.dtype | None
    ) -> MessageWeights:
        """Prepare the weights.

        Args:
            mean_degree: () typical number of edges of a node, scales the sums.
            kind: of the numbers that are multiplied at the edges, and of the inputs
                of the messages; sums of messages, nodes and edges are not shortened.
        """
        bias = self.edge.bias  # added where it costs least: at the nodes
        first, n_node = self.update.first, self.receiver.weight.size(1)
        ends = torch.cat((self.receiver.weight, self.sender.weight))
        arrived = first.weight[:, n_node:] / torch.sqrt(mean_degree)
        return MessageWeights(
            edge=pack(self.edge.weight, None, kind),
            ends=pack(ends, torch.cat((bias, torch.zeros_like(bias)))),
            own=pack(first.weight[:, :n_node], first.bias),
            arrived=pack(arrived, None),
            update=pack(self.update.second.weight, self.update.second.bias),
        )

    def forward(
        self,
        weights: MessageWeights,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        layout: Layout,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Update nodes (n_nodes, n_node) and edges (2 n, n_edge), which are used up."""
        table = multiply(weights.ends, nodes).to(weights.edge.matrix.dtype)
        inputs = multiply_onto(weights.edge, add_ends(table, layout), edges)
        message = silu(widened(inputs))
        total = sum_arrivals(message, layout)
        edges = grown(edges, message)
        hidden = multiply_onto(weights.arrived, multiply(weights.own, nodes), total)
        update = self.update.finish(weights.update, hidden)
        return self.norm(grown(update, nodes)), edges


class ReadoutWeights(NamedTuple):
    """Packed weights of a VectorReadout."""

    edge: torch.Tensor  # (n_edge_vectors, n_edge) scaled weight of the edges
    bias: torch.Tensor  # (n_edge_vectors, 1)
    node: MlpWeights  # of the nodes


class VectorReadout(nn.Module):
    """Vectors per node: sums of edge vectors and node vectors with learned weights.

    Args:
        n_node: width of node features.
        n_edge: width of edge features.
        n_edge_vectors: unit vectors given per edge.
        n_node_vectors: vectors given per node.
    """

    def __init__(
        self, n_node: int, n_edge: int, n_edge_vectors: int, n_node_vectors: int
    ) -> None:
        super().__init__()
        self.edge = nn.Linear(n_edge, n_edge_vectors)
        self.node = MLP(n_node, n_node, n_node_vectors)

    def pack(self, mean_degree: torch.Tensor) -> ReadoutWeights:
        """Prepare the weights; mean_degree is () typical number of edges of a node."""
        scale = 1.0 / torch.sqrt(mean_degree)
        bias = (self.edge.bias * scale).unsqueeze(1)
        return ReadoutWeights(self.edge.weight * scale, bias, self.node.pack(None))

    def forward(
        self,
        weights: ReadoutWeights,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        pair_vectors: torch.Tensor,
        node_vectors: torch.Tensor,
        layout: Layout,
    ) -> torch.Tensor:
        """Combine nodes (n_nodes, n_node) and edges (2 n, n_edge) to (n_nodes, 3).

        Unit vectors of the pairs are (n_edge_vectors, 3, n), receiver minus sender,
        node vectors (n_nodes, n_node_vectors, 3).
        """
        n = pair_vectors.size(2)
        shares = torch.addmm(weights.bias, weights.edge, edges.t())
        along = (shares.view(-1, 2, 1, n) * pair_vectors.unsqueeze(1)).sum(dim=0)
        along[1].neg_()  # (2, 3, n), the second half from the other side
        rows = along.transpose(1, 2).reshape(2 * n, 3)
        own = self.node.run(weights.node, nodes).unsqueeze(2)  # (n_nodes, n_vectors, 1)
        return sum_arrivals(rows, layout).add_((own * node_vectors).sum(dim=1))
