"""Building blocks of the networks, as the fast path evaluates them.

The equations are those of networks.py. The arithmetic is arranged for few passes over
memory: products add onto what is there already, functions work in place, sums run over
edges in the order of the beads they arrive at, and both edges of a pair share what is
the same for both. For evaluation only: nothing here has a gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from cgml.network.blocks import Directions
from cgml.network.inputs import Beads
from cgml.network.pairs import Layout
from cgml.network.predictor import centre_offsets

LEAST_ROWS = 4
N_BEADS, N_LAYOUT = len(Beads._fields), len(Layout._fields)
Part = Callable[[list[torch.Tensor]], Sequence[torch.Tensor]]
"""Function of tensors alone: what can be compiled."""


class Product:
    """x -> x W^T + b.

    Fewer than four rows, and columns beyond a multiple of four, go to routines with
    another order of summation; both are padded, so that a small system alone gets the
    bits that it gets in a batch.

    Args:
        weight: (n_output, n_input).
        bias: (n_output,), or None.
        kind: of the numbers that are multiplied and that come out.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        kind: torch.dtype = torch.float32,
    ) -> None:
        self.kind, self._width = kind, len(weight)
        pad = (0, -self._width % 4)
        self._matrix = nn.functional.pad(weight.T, pad).to(kind).contiguous()
        self._bias = None if bias is None else nn.functional.pad(bias, pad).to(kind)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, n_input) to (n, n_output)."""
        rows = _padded(values.to(self.kind))
        if self._bias is None:
            product = torch.mm(rows, self._matrix)
        else:
            product = torch.addmm(self._bias, rows, self._matrix)
        return product[: values.size(0), : self._width]

    def onto(self, output: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Add x W^T to (n, n_output), of the same kind, which is used up."""
        rows = _padded(values.to(self.kind))
        matrix = self._matrix[:, : self._width]
        return _padded(output).addmm_(rows, matrix)[: values.size(0)]


def _padded(rows: torch.Tensor) -> torch.Tensor:
    missing = LEAST_ROWS - rows.size(0)
    return nn.functional.pad(rows, (0, 0, 0, missing)) if missing > 0 else rows


class Mlp:
    """One networks.MLP.

    Args:
        mlp: the MLP.
        kind: of the numbers that are multiplied; what comes out is float32.
    """

    def __init__(self, mlp: Any, kind: torch.dtype = torch.float32) -> None:
        self._first = Product(mlp.first.weight, mlp.first.bias, kind)
        self._second = Product(mlp.second.weight, mlp.second.bias, kind)
        self._norm = mlp.norm

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, n_input) to (n, n_output)."""
        return self.finish(self._first(values))

    def finish(self, inputs: torch.Tensor) -> torch.Tensor:
        """Go on from the first product, (n, n_hidden), which is used up."""
        output = self._second(nn.functional.silu(inputs, inplace=True)).float()
        normalised: torch.Tensor = self._norm(output)
        return normalised


class Messages:
    """One networks.Interaction.

    Args:
        layer: the Interaction.
        mean_degree: () typical number of edges of a node.
        kind: of the numbers that are multiplied at the edges, and of the inputs of
            the messages; sums of messages, nodes and edges are float32.
    """

    def __init__(
        self, layer: Any, mean_degree: torch.Tensor, kind: torch.dtype
    ) -> None:
        self._edge = Product(layer.edge.weight, None, kind)
        bias = layer.edge.bias  # added where it costs least: at the nodes
        self._ends = Product(
            torch.cat((layer.receiver.weight, layer.sender.weight)),
            torch.cat((bias, torch.zeros_like(bias))),
        )
        first, n_node = layer.update.first, layer.receiver.weight.size(1)
        self._own = Product(first.weight[:, :n_node], first.bias)
        self._arrived = Product(first.weight[:, n_node:] / torch.sqrt(mean_degree))
        self._update = Mlp(layer.update)
        self._norm = layer.norm

    def __call__(
        self, nodes: torch.Tensor, edges: torch.Tensor, layout: Layout
    ) -> torch.Tensor:
        """Update edges (n_edges, n_edge) in place, give new nodes (n_nodes, n_node)."""
        table = self._ends(nodes).to(self._edge.kind)  # (n_nodes, 2 n_edge)
        rows = table.view(2 * table.size(0), -1)
        inputs = self._edge.onto(_sums(rows, layout.ends, layout.twos), edges)
        message = nn.functional.silu(inputs.float(), inplace=True)
        total = _sums(message, layout.arrivals, layout.begins)
        edges.add_(message)
        hidden = self._arrived.onto(self._own(nodes), total)
        updated: torch.Tensor = self._norm(self._update.finish(hidden).add_(nodes))
        return updated


class Turns:
    """One networks.Directions.

    Args:
        directions: the Directions.
        mean_degree: () typical number of edges of a node.
    """

    def __init__(self, directions: Any, mean_degree: torch.Tensor) -> None:
        self._width: int = directions.n_vectors
        scale = 1.0 / torch.sqrt(mean_degree)
        weight, bias = directions.edge.weight * scale, directions.edge.bias * scale
        self._edge = Product(weight, bias)
        self._node = Product(directions.node.weight, directions.node.bias)
        self._to_node, self._to_edge = Mlp(directions.to_node), Mlp(directions.to_edge)

    def __call__(
        self,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        along: torch.Tensor,
        node_vectors: torch.Tensor,
        layout: Layout,
    ) -> torch.Tensor:
        """Update edges (n_edges, n_edge) in place and give new nodes.

        Args:
            nodes: (n_nodes, n_node).
            edges: (n_edges, n_edge).
            along: (3, n) unit vectors of the pairs, receiver minus sender.
            node_vectors: (n_nodes, n_node_vectors, 3).
            layout: of the edges.
        """
        n_nodes, n, width = nodes.size(0), along.size(1), self._width
        axes = along.T.unsqueeze(2)  # (n, 3, 1)
        weights = self._edge(edges).view(2, n, 1, width)
        parts = weights * torch.stack((axes, -axes))  # (2, n, 3, width)
        rows = parts.view(2 * n, 3 * width)
        total = _sums(rows, layout.arrivals, layout.begins).view(n_nodes, 3, width)
        own = self._node(nodes).view(n_nodes, -1, 1, width)
        vectors = total.add_((own * node_vectors.unsqueeze(3)).sum(dim=1))
        lengths = vectors.square().sum(dim=1).add_(1e-8).sqrt_()
        ends = [
            (vectors.index_select(0, end) * axes).sum(dim=1)  # (n, width)
            for end in (layout.receiver, layout.sender)
        ]
        there = torch.cat(ends, dim=1)
        back = torch.cat(ends[::-1], dim=1).neg_()
        edges.add_(self._to_edge(torch.cat((there, back))))
        return self._to_node(torch.cat((nodes, lengths), dim=1)).add_(nodes)


class Readout:
    """One networks.VectorReadout.

    Args:
        readout: the VectorReadout.
        mean_degree: () typical number of edges of a node.
    """

    def __init__(self, readout: Any, mean_degree: torch.Tensor) -> None:
        scale = 1.0 / torch.sqrt(mean_degree)
        self._weight = readout.edge.weight * scale
        self._bias = (readout.edge.bias * scale)[:, None]
        self._node = Mlp(readout.node)

    def __call__(
        self,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        pair_vectors: torch.Tensor,
        node_vectors: torch.Tensor,
        layout: Layout,
    ) -> torch.Tensor:
        """Combine to (n_nodes, 3).

        Args:
            nodes: (n_nodes, n_node).
            edges: (n_edges, n_edge).
            pair_vectors: (n_vectors, 3, n) unit vectors, receiver minus sender.
            node_vectors: (n_nodes, n_node_vectors, 3).
            layout: of the edges.
        """
        weights = torch.addmm(self._bias, self._weight, edges.T)
        n = pair_vectors.size(2)
        along = (weights.view(-1, 2, 1, n) * pair_vectors[:, None]).sum(dim=0)
        along[1].neg_()  # (2, 3, n), the second half from the other side
        rows = along.transpose(1, 2).reshape(2 * n, 3)
        total = _sums(rows, layout.arrivals, layout.begins)
        weights = self._node(nodes).unsqueeze(2)  # (n_nodes, n_node_vectors, 1)
        return total.add_((weights * node_vectors).sum(dim=1))


class Scalar:
    """One networks.ScalarReadout."""

    def __init__(self, readout: Any) -> None:
        self._first = Product(readout.first.weight, readout.first.bias)
        weight, bias = readout.second.weight, readout.second.bias
        self._second = Product(weight.repeat(4, 1), bias.repeat(4))

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, n_input) to (n, 1)."""
        hidden = nn.functional.silu(self._first(values), inplace=True)
        return self._second(hidden)[:, :1]


class Radial:
    """One networks.RadialBasis, pairs in rows.

    Args:
        basis: the RadialBasis.
        length_scale: () nm.
    """

    def __init__(self, basis: Any, length_scale: torch.Tensor) -> None:
        self.n_functions: int = basis.n_functions
        self._centres = basis.centres[:, None]
        self._factor = -0.5 * basis.inverse_width**2
        self._length_scale = length_scale

    def __call__(self, lengths: torch.Tensor) -> torch.Tensor:
        """Map (..., n) distances, nm, n whole registers, to (..., n_functions, n)."""
        logs = torch.log1p(lengths / self._length_scale)
        steps: torch.Tensor = logs.unsqueeze(-2) - self._centres
        return steps.square_().mul_(self._factor).exp_()


def own_vectors(
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


def turns_of(module: Any) -> list[Turns | None]:
    """What precedes each round of messages of a Predictor or Denoiser."""
    return [
        Turns(item, module.mean_degree) if isinstance(item, Directions) else None
        for item in module.directions
    ]


def lengths_and_directions(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths (..., n) and unit vectors of (..., 3, n), smooth through zero."""
    lengths = (vectors * vectors).sum(dim=-2).add_(1e-8).sqrt_()
    return lengths, vectors / lengths.unsqueeze(-2)


def differences(values: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Receiver minus sender of (n_nodes, n_columns): (n_columns, n)."""
    columns = values.T.contiguous()
    ends = columns.index_select(1, layout.receiver)
    return ends.sub_(columns.index_select(1, layout.sender))


def add_to_both(edges: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Sum of (2 n, n_edge) and, in both halves, (n, n_edge)."""
    return (edges.view(2, *pairs.shape) + pairs).view(edges.shape)


def _sums(
    rows: torch.Tensor, places: torch.Tensor, begins: torch.Tensor
) -> torch.Tensor:
    """Sums over the rows at `places`, each from its beginning to the next one's."""
    sums, *_ = torch.embedding_bag(
        rows, places, begins, scale_grad_by_freq=False, mode=0, sparse=False
    )
    return sums
