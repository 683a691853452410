"""The graph network of the published checkpoints, evaluated without waste.

The equations are the published ones; of the freedom that they leave:

- the first layer of an edge update is linear in the two nodes, so that their terms are
  taken once per node; an edge adds two rows of them;
- edges come sorted by receiver: the sums over edges are sums over segments;
- the two kinds of pairs go through their part of the first layer once for all;
- edges are worked on in blocks whose arrays stay in the cache, whole receivers each, so
  that a sum does not depend on the blocks;
- products are in the precision of their weights (`fit_to_machine`); sums,
  normalisation and latents in float32.

All of it is TorchScript as well. Nothing here is for training: latents of edges are
written over.
"""

from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import nn

from cgml.published.spec import NetworkSizes

BLOCK = 4096  # edges of one thread; 2048 to 8192 take the same time


class PublishedEdges(NamedTuple):
    """Directed pairs of beads, each bead with itself among them, sorted by receiver."""

    sender: torch.Tensor  # (n_edges,) first bead of the pair
    receiver: torch.Tensor  # (n_edges,) second bead, the one that gets the message
    vectors: torch.Tensor  # (n_edges, 3) first minus second, shortest image
    kinds: torch.Tensor  # (n_edges,) 1 for a bond of beads, else 0


class Block(NamedTuple):
    """Edges of some receivers, with what embedding_bag takes as index and offsets."""

    first: int  # first edge
    last: int  # edge after the last one
    ends: torch.Tensor  # (2 n,) rows of the terms of receiver and sender by turns
    end_starts: torch.Tensor  # (n,) first of the two
    rows: torch.Tensor  # (n,) edges of the block
    row_starts: torch.Tensor  # (n_receivers,) first edge of each receiver


class Product(nn.Linear):
    """Linear layer in the precision of its weights."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, n_input) to (n, n_output), in the dtype of the weights."""
        values = values.to(self.weight.dtype)
        return nn.functional.linear(values, self.weight, self.bias)


class Norm(nn.LayerNorm):
    """Normalisation in float32."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, width) to (n, width) float32."""
        return nn.functional.layer_norm(
            values.float(), self.normalized_shape, self.weight, self.bias, self.eps
        )


class Perceptron(nn.Module):
    """Linear layers with ReLU between them, normalisation at the end if asked."""

    def __init__(
        self,
        n_input: int,
        units: int,
        layers: int,
        n_output: int,
        *,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        widths = [n_input, *[units] * layers, n_output]
        self.first = Product(widths[0], widths[1])
        rest: list[nn.Module] = []
        for before, after in pairwise(widths[1:]):
            rest += [nn.ReLU(inplace=True), Product(before, after)]
        if normalise:
            rest.append(Norm(n_output))
        self.rest = nn.Sequential(*rest)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, n_input) to (n, n_output) float32."""
        return self.finish(self.first(values))

    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """Go on from what the first layer gives, which is written over."""
        output: torch.Tensor = self.rest(hidden)
        return output.float()


class PublishedInteraction(nn.Module):
    """One round of messages; edges and nodes are updated from the old nodes.

    Args:
        sizes: of the network that this layer is part of.
    """

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        width, units, layers = sizes.latent_dim, sizes.units, sizes.layers
        self.edge_update = Perceptron(3 * width, units, layers, width, normalise=True)
        self.node_update = Perceptron(2 * width, units, layers, width, normalise=True)

    def forward(
        self, nodes: torch.Tensor, latents: list[torch.Tensor], blocks: list[Block]
    ) -> torch.Tensor:
        """Return new nodes, (n_nodes, latent_dim).

        Args:
            nodes: (n_nodes, latent_dim).
            latents: (n, latent_dim) of the edges of each block, written over.
            blocks: of the edges.
        """
        weight, bias = self.edge_update.first.weight, self.edge_update.first.bias
        n, low = nodes.size(1), nodes.to(weight.dtype)
        arriving = nn.functional.linear(low, weight[:, n : 2 * n], bias)
        leaving = nn.functional.linear(low, weight[:, 2 * n :])
        ends = torch.cat((arriving, leaving))  # (2 n_nodes, units)
        sums: list[torch.Tensor] = []
        for latent, block in zip(latents, blocks):  # noqa: B905 (TorchScript)
            hidden = sum_rows(ends, block.ends, block.end_starts)
            hidden.addmm_(latent.to(weight.dtype), weight[:, :n].t())
            messages = self.edge_update.finish(hidden)
            sums.append(sum_rows(messages, block.rows, block.row_starts))
            latent.add_(messages)
        update: torch.Tensor = self.node_update(
            torch.cat((nodes, torch.cat(sums)), dim=1)
        )
        return nodes + update


class GraphNetwork(nn.Module):
    """Encode nodes and edges, exchange messages, decode nodes.

    Args:
        n_node: width of node inputs.
        n_edge: width of edge inputs.
        sizes: of the network.
        n_output: width of node outputs.

    Attributes:
        block: edges of one block, about.
    """

    def __init__(
        self, n_node: int, n_edge: int, sizes: NetworkSizes, n_output: int
    ) -> None:
        super().__init__()
        width, units, layers = sizes.latent_dim, sizes.units, sizes.layers
        self.block = BLOCK
        self.encode_nodes = Perceptron(n_node, units, layers, width, normalise=True)
        self.encode_edges = Perceptron(n_edge, units, layers, width, normalise=True)
        self.steps = nn.ModuleList(
            [PublishedInteraction(sizes) for _ in range(sizes.mp_steps)]
        )
        self.decode = Perceptron(width, units, layers, n_output)

    def forward(
        self,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        sender: torch.Tensor,
        receiver: torch.Tensor,
    ) -> torch.Tensor:
        """Return outputs, (n_nodes, n_output).

        Args:
            nodes: (n_nodes, n_node) inputs.
            edges: (n_edges, n_edge) inputs, sorted by receiver.
            sender: (n_edges,).
            receiver: (n_edges,), ascending.
        """
        blocks = cut(sender, receiver, nodes.size(0), self.block)
        latents = [
            self.encode_edges(edges[block.first : block.last]) for block in blocks
        ]
        return self._exchange(self.encode_nodes(nodes), latents, blocks)[1]

    def among_beads(
        self,
        nodes: torch.Tensor,
        edges: PublishedEdges,
        cutoff: torch.Tensor,
        kinds: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last latent (n_beads, latent_dim) and outputs (n_beads, n_output).

        Inputs of an edge are its vector and length in units of the cutoff, and the
        embedding of its kind.

        Args:
            nodes: (n_beads, latent_dim) from `encode_nodes`.
            edges: pairs of beads.
            cutoff: in the unit of the vectors.
            kinds: (2, n) embedding of the kinds of edges.
        """
        scaled = edges.vectors / cutoff
        lengths = scaled.square().sum(dim=1, keepdim=True).sqrt()
        geometry = torch.cat((scaled, lengths), dim=1)
        first = self.encode_edges.first
        rows = nn.functional.linear(kinds, first.weight[:, 4:], first.bias)
        weight = first.weight[:, :4].t()
        blocks = cut(edges.sender, edges.receiver, nodes.size(0), self.block)
        latents: list[torch.Tensor] = []
        for block in blocks:
            hidden = rows.index_select(0, edges.kinds[block.first : block.last])
            hidden.addmm_(geometry[block.first : block.last], weight)
            latents.append(self.encode_edges.finish(hidden))
        return self._exchange(nodes, latents, blocks)

    def _exchange(
        self, nodes: torch.Tensor, latents: list[torch.Tensor], blocks: list[Block]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        for step in self.steps:
            nodes = step(nodes, latents, blocks)
        return nodes, self.decode(nodes)


def fit_to_machine(part: Any, precision: str) -> Any:
    """Choose the blocks for this number of threads, and the precision of products.

    The first layer of the edges stays in float32: it sees the positions.

    Args:
        part: a PublishedDynamics or PublishedScore, or the same in TorchScript (in
            float32 only).
        precision: "float32" or "bfloat16".

    Returns:
        The part itself, or a copy where the precision is another.
    """
    part.network.block = BLOCK * torch.get_num_threads()
    if precision == "float32":
        return part
    part = deepcopy(part)
    for name, layer in part.named_modules():
        if isinstance(layer, Product) and not name.endswith("encode_edges.first"):
            layer.to(torch.bfloat16)
    return part


def cut(
    sender: torch.Tensor, receiver: torch.Tensor, n_nodes: int, size: int
) -> list[Block]:
    """Cut the edges into about equal blocks of whole receivers.

    None is tiny beside the others: of products of three rows or fewer, the bits depend
    on how many they are.

    Args:
        sender: (n_edges,).
        receiver: (n_edges,), ascending.
        n_nodes: number of nodes.
        size: edges of a block, about; on a GPU there is one block.
    """
    n_edges, device = receiver.size(0), receiver.device
    counts = torch.bincount(receiver, minlength=n_nodes)
    stops = counts.cumsum(0)  # edges up to each receiver
    starts = stops - counts
    bounds, edges = [0, n_nodes], [0, n_edges]
    if device.type == "cpu" and n_edges > size:
        n_blocks = -(-n_edges // size)
        targets = torch.arange(1, n_blocks) * n_edges
        targets = torch.div(targets, n_blocks, rounding_mode="floor")
        inner = torch.searchsorted(stops, targets)
        places = torch.unique(torch.cat((torch.tensor([0, n_nodes]), inner)))
        inner_edges = nn.functional.pad(stops, (1, 0)).index_select(0, places)
        bounds, edges = _numbers(places), _numbers(inner_edges)
    ends = torch.stack((receiver, sender + n_nodes), dim=1).int().flatten()
    count = torch.arange(n_edges, dtype=torch.int32, device=device)
    blocks: list[Block] = []
    for k in range(len(bounds) - 1):
        first, last = edges[k], edges[k + 1]
        rows = count[: last - first]
        segments = (starts[bounds[k] : bounds[k + 1]] - first).int()
        blocks.append(
            Block(first, last, ends[2 * first : 2 * last], 2 * rows, rows, segments)
        )
    return blocks


def _numbers(values: torch.Tensor) -> list[int]:
    """As a list; TorchScript wants to be told of what."""
    numbers: list[int] = values.tolist()
    return numbers


def sum_rows(
    values: torch.Tensor, rows: torch.Tensor, starts: torch.Tensor
) -> torch.Tensor:
    """Sums of listed rows, one list after the other, (n_lists, width)."""
    return nn.functional.embedding_bag(rows, values, starts, mode="sum")
