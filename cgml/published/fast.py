"""The published networks evaluated: as their equations stand, or without waste.

Same inputs, same equations; what the fast way does otherwise:

- the first layer of an edge update is linear in the two nodes, so that their terms are
  taken once per node; an edge adds two rows of them;
- edges come sorted by receiver: the sums over edges are sums over segments;
- nodes are encoded once for all evaluations that share their inputs, and the two kinds
  of edges go through their part of the first layer once for all;
- edges are worked on in blocks whose arrays stay in the cache, whole receivers each, so
  that a sum does not depend on the blocks;
- products are in the precision asked for; sums, normalisation and latents in float32.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from cgml.published.networks import PublishedEdges, edge_geometry, edge_inputs
from cgml.spec import Execution

BLOCK = 4096  # edges of one thread; 2048 to 8192 take the same time
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Evaluator(Protocol):
    """A network with its edge inputs: nodes once, then edges as often as they move."""

    def encode(self, inputs: torch.Tensor) -> torch.Tensor:
        """What is the same in all evaluations with these inputs of the nodes."""

    def evaluate(
        self, nodes: torch.Tensor, edges: PublishedEdges
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Last latent (n_nodes, latent_dim) and outputs (n_nodes, n).

        Args:
            nodes: from `encode`.
            edges: sorted by receiver.
        """


def evaluator(part: Any, execution: Execution) -> Evaluator:
    """Choose the way to evaluate a network.

    Args:
        part: a PublishedDynamics or PublishedScore, or the same in TorchScript.
        execution: which way.
    """
    if execution.plain:
        return PlainEvaluator(part)
    return FastEvaluator(part, DTYPES[execution.precision])


class PlainEvaluator:
    """The equations as they stand.

    Args:
        part: a PublishedDynamics or PublishedScore.
    """

    def __init__(self, part: Any) -> None:
        self._part = part

    def encode(self, inputs: torch.Tensor) -> torch.Tensor:
        """See `Evaluator`: nothing."""
        return inputs

    def evaluate(
        self, nodes: torch.Tensor, edges: PublishedEdges
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Evaluator`."""
        part = self._part
        inputs = edge_inputs(edges, part.cutoff, part.kinds.weight)
        latent, output = part.network(nodes, inputs, edges.sender, edges.receiver)
        return latent, output


class FastEvaluator:
    """The same network without waste.

    Args:
        part: a PublishedDynamics or PublishedScore.
        dtype: of products.
    """

    def __init__(self, part: Any, dtype: torch.dtype) -> None:
        network = part.network
        self._dtype, self._cutoff = dtype, part.cutoff
        self._nodes = _Perceptron(network.encode_nodes, dtype)
        self._edges = _Perceptron(network.encode_edges, dtype)
        self._steps = [
            (_Perceptron(step.edge_update, dtype), _Perceptron(step.node_update, dtype))
            for step in network.steps.children()
        ]
        self._decode = _Perceptron(network.decode, dtype)
        first = network.encode_edges.first  # in float32: it sees the positions
        self._geometry = first.weight[:, :4].t()
        self._kinds = nn.functional.linear(
            part.kinds.weight, first.weight[:, 4:], first.bias
        )

    def encode(self, inputs: torch.Tensor) -> torch.Tensor:
        """Encode nodes; see `Evaluator`."""
        return self._nodes(inputs)

    def evaluate(
        self, nodes: torch.Tensor, edges: PublishedEdges
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Evaluator`."""
        blocks = list(_blocks(edges, len(nodes)))
        geometry = edge_geometry(edges.vectors, self._cutoff)
        latents = []  # of the edges
        for block in blocks:
            hidden = self._kinds.index_select(0, edges.kinds[block.edges])
            hidden.addmm_(geometry[block.edges], self._geometry)
            latents.append(self._edges.finish(hidden.to(self._dtype)))
        for edge_update, node_update in self._steps:
            ends, weight = _node_terms(nodes.to(self._dtype), edge_update)
            sums = []
            for block, latent in zip(blocks, latents, strict=True):
                hidden = _sum_rows(ends, block.ends, block.end_starts)
                hidden.addmm_(latent.to(self._dtype), weight)
                messages = edge_update.finish(hidden)
                sums.append(_sum_rows(messages, block.rows, block.row_starts))
                latent.add_(messages)
            nodes = nodes + node_update(torch.cat((nodes, torch.cat(sums)), dim=1))
        return nodes, self._decode(nodes)


class _Perceptron:
    """Weights of a Perceptron, in the precision of its products."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        values = list(module.parameters())  # weight, bias, weight, bias, ...
        pairs = list(zip(values[::2], values[1::2], strict=True))
        linear = [(w.to(dtype), b.to(dtype)) for w, b in pairs if w.dim() == 2]
        self.first, self._rest = linear[0], linear[1:]
        self._norm = next((pair for pair in pairs if pair[0].dim() == 1), None)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (n, n_input) to (n, n_output) float32."""
        weight, bias = self.first
        return self.finish(nn.functional.linear(inputs.to(weight.dtype), weight, bias))

    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """Go on from what the first layer gives, which is written over."""
        for weight, bias in self._rest:
            hidden = torch.addmm(bias, hidden.clamp_min_(0.0), weight.t())
        output = hidden.float()
        if self._norm is None:
            return output
        return nn.functional.layer_norm(output, (output.size(1),), *self._norm)


class _Block(NamedTuple):
    """Edges of some receivers, with what embedding_bag takes as index and offsets.

    Attributes:
        edges: place of the edges.
        ends: (2 n,) rows of the terms of receiver and sender, edge after edge.
        end_starts: (n,) first of the two.
        rows: (n,) edges of the block.
        row_starts: (n_receivers,) first edge of each receiver.
    """

    edges: slice
    ends: torch.Tensor
    end_starts: torch.Tensor
    rows: torch.Tensor
    row_starts: torch.Tensor


def _blocks(edges: PublishedEdges, n_nodes: int) -> Iterator[_Block]:
    """Cut the edges into about equal blocks of whole receivers.

    None is tiny beside the others: of products of three rows or fewer, the bits depend
    on how many they are.
    """
    receiver, device = edges.receiver, edges.receiver.device
    n_edges = len(receiver)
    size = BLOCK * torch.get_num_threads() if device.type == "cpu" else n_edges
    n_blocks = max(1, -(-n_edges // max(size, 1)))
    counts = torch.bincount(receiver, minlength=n_nodes)
    stops = counts.cumsum(0)  # edges up to each receiver
    targets = torch.arange(1, n_blocks, device=device) * n_edges // n_blocks
    inner = torch.searchsorted(stops, targets).tolist()
    bounds = sorted({0, *inner, n_nodes})
    ends = torch.stack((receiver, edges.sender + n_nodes), dim=1).int().flatten()
    starts = stops - counts
    count = torch.arange(n_edges, dtype=torch.int32, device=device)
    for low, high in pairwise(bounds):
        first, last = int(starts[low]), int(stops[high - 1])
        rows = count[: last - first]
        yield _Block(
            slice(first, last),
            ends[2 * first : 2 * last],
            2 * rows,
            rows,
            (starts[low:high] - first).int(),
        )


def _node_terms(
    nodes: torch.Tensor, update: _Perceptron
) -> tuple[torch.Tensor, torch.Tensor]:
    """First layer of an edge update, of nodes as receivers and then as senders.

    Returns:
        (2 n_nodes, units), and the weights of the edges, (latent_dim, units).
    """
    weight, bias = update.first
    n = nodes.size(1)
    arriving = nn.functional.linear(nodes, weight[:, n : 2 * n], bias)
    leaving = nn.functional.linear(nodes, weight[:, 2 * n :])
    return torch.cat((arriving, leaving)), weight[:, :n].t()


def _sum_rows(
    values: torch.Tensor, rows: torch.Tensor, starts: torch.Tensor
) -> torch.Tensor:
    """Sums of listed rows, one list after the other, (n_lists, width)."""
    return nn.functional.embedding_bag(rows, values, starts, mode="sum")
