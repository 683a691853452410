"""Building blocks of the networks: invariant features, message passing, vectors out.

Scalars travel along edges and nodes; vectors enter only through invariants (lengths,
cosines, projections) and leave only as sums of scalars times given vectors. The
networks are therefore equivariant under rotation and reflection by construction.
"""

import torch
from torch import nn


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
        hidden = nn.functional.silu(self.first(values))
        weight, bias = self.second.weight, self.second.bias
        columns = nn.functional.linear(hidden, weight.repeat(4, 1), bias.repeat(4))
        return columns[:, :1]


class RadialBasis(nn.Module):
    """Gaussians on a logarithmic distance axis.

    Args:
        n_functions: number of Gaussians.
        largest: last centre, in units of log(1 + r / length_scale).
    """

    centres: torch.Tensor
    n_functions: int
    inverse_width: float

    def __init__(self, n_functions: int, largest: float) -> None:
        super().__init__()
        self.n_functions = n_functions
        self.register_buffer("centres", torch.linspace(0.0, largest, n_functions))
        self.inverse_width = float(n_functions - 1) / largest

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Map (n_edges, 1) distances in units of the length scale to (n_edges, n)."""
        logs = from_lanes(torch.log1p(to_lanes(distances)), distances)
        steps = (logs - self.centres) * self.inverse_width
        return from_lanes(torch.exp(to_lanes(-0.5 * steps * steps)), steps)


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

    def forward(
        self,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        sender: torch.Tensor,
        receiver: torch.Tensor,
        mean_degree: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Update nodes (n_nodes, n_node) and edges (n_edges, n_edge).

        Args:
            nodes: node features.
            edges: edge features.
            sender: (n_edges,) index of the node that sends.
            receiver: (n_edges,) index of the node that receives.
            mean_degree: () typical number of edges of a node, scales the sums.
        """
        inputs = self.edge(edges)
        inputs += self.receiver(nodes).index_select(0, receiver)
        inputs += self.sender(nodes).index_select(0, sender)
        message = nn.functional.silu(inputs)
        total = torch.zeros(
            nodes.size(0), message.size(1), dtype=nodes.dtype, device=nodes.device
        ).index_add(0, receiver, message)
        both = torch.cat((nodes, total / torch.sqrt(mean_degree)), dim=1)
        return self.norm(nodes + self.update(both)), edges + message


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

    def forward(
        self,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        edge_vectors: torch.Tensor,
        node_vectors: torch.Tensor,
        receiver: torch.Tensor,
        mean_degree: torch.Tensor,
    ) -> torch.Tensor:
        """Combine to (n_nodes, 3).

        Args:
            nodes: (n_nodes, n_node).
            edges: (n_edges, n_edge).
            edge_vectors: (n_edges, n_edge_vectors, 3) unit vectors.
            node_vectors: (n_nodes, n_node_vectors, 3).
            receiver: (n_edges,) index of the node that receives.
            mean_degree: () typical number of edges of a node.
        """
        weights = self.edge(edges).unsqueeze(2)  # (n_edges, n_edge_vectors, 1)
        along = (weights * edge_vectors).sum(dim=1)  # (n_edges, 3)
        total = torch.zeros(
            nodes.size(0), 3, dtype=nodes.dtype, device=nodes.device
        ).index_add(0, receiver, along)
        weights = self.node(nodes).unsqueeze(2)  # (n_nodes, n_node_vectors, 1)
        own: torch.Tensor = (weights * node_vectors).sum(dim=1)  # (n_nodes, 3)
        return own + total / torch.sqrt(mean_degree)


class Directions(nn.Module):
    """Angles between edges: vectors of a node, and what they are along its edges.

    Every node sums learned multiples of its edges' unit vectors and of vectors given
    to it; lengths of the sums go to the node, their projections on each edge go to
    the edge. So a message knows on which side of a bead the other neighbours are,
    which distances alone tell only after many rounds (as in PaiNN: K. Schütt,
    O. Unke, M. Gastegger, ICML 2021, eq. 8 and 9, with projections for products).

    Args:
        n_node: width of node features.
        n_edge: width of edge features.
        n_vectors: vectors of a node.
        n_node_vectors: vectors given per node.
    """

    def __init__(
        self, n_node: int, n_edge: int, n_vectors: int, n_node_vectors: int
    ) -> None:
        super().__init__()
        self.n_vectors, self.n_given = n_vectors, n_node_vectors
        self.edge = nn.Linear(n_edge, n_vectors)
        self.node = nn.Linear(n_node, n_vectors * n_node_vectors)
        self.to_node = MLP(n_node + n_vectors, n_node, n_node)
        self.to_edge = MLP(2 * n_vectors, n_edge, n_edge)

    def forward(
        self,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        along: torch.Tensor,
        node_vectors: torch.Tensor,
        sender: torch.Tensor,
        receiver: torch.Tensor,
        mean_degree: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Update nodes (n_nodes, n_node) and edges (n_edges, n_edge).

        Args:
            nodes: node features.
            edges: edge features.
            along: (n_edges, 3) unit vectors.
            node_vectors: (n_nodes, n_node_vectors, 3).
            sender: (n_edges,) index of the node that sends.
            receiver: (n_edges,) index of the node that receives.
            mean_degree: () typical number of edges of a node.
        """
        n, width = nodes.size(0), self.n_vectors
        parts = (self.edge(edges).unsqueeze(1) * along.unsqueeze(2)).flatten(1)
        total = torch.zeros(n, 3 * width, dtype=nodes.dtype, device=nodes.device)
        total = total.index_add(0, receiver, parts) / torch.sqrt(mean_degree)
        own = self.node(nodes).view(n, self.n_given, 1, width)
        vectors = total.view(n, 3, width) + (own * node_vectors.unsqueeze(3)).sum(dim=1)
        lengths = torch.sqrt(vectors.square().sum(dim=1) + 1e-8)
        seen = torch.cat(
            (
                (vectors.index_select(0, receiver) * along.unsqueeze(2)).sum(dim=1),
                (vectors.index_select(0, sender) * along.unsqueeze(2)).sum(dim=1),
            ),
            dim=1,
        )
        nodes = nodes + self.to_node(torch.cat((nodes, lengths), dim=1))
        return nodes, edges + self.to_edge(seen)


class NoDirections(nn.Module):
    """In the place of `Directions`, of a network without vectors."""

    def forward(
        self,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        along: torch.Tensor,
        node_vectors: torch.Tensor,
        sender: torch.Tensor,
        receiver: torch.Tensor,
        mean_degree: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return nodes and edges as they are."""
        del along, node_vectors, sender, receiver, mean_degree
        return nodes, edges


def directions(
    n_layers: int, n_node: int, n_edge: int, n_vectors: int, n_node_vectors: int
) -> nn.ModuleList:
    """One `Directions` per layer, or as many that do nothing if n_vectors is 0."""
    if n_vectors == 0:
        return nn.ModuleList([NoDirections() for _ in range(n_layers)])
    return nn.ModuleList(
        [Directions(n_node, n_edge, n_vectors, n_node_vectors) for _ in range(n_layers)]
    )


def length_and_direction(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths (n, 1) and unit vectors (n, 3), smooth through zero."""
    lengths = torch.sqrt((vectors * vectors).sum(dim=1, keepdim=True) + 1e-8)
    return lengths, vectors / lengths


def edge_differences(
    values: torch.Tensor, sender: torch.Tensor, receiver: torch.Tensor
) -> torch.Tensor:
    """Receiver minus sender, (n_edges, 3)."""
    return values.index_select(0, receiver) - values.index_select(0, sender)


def to_lanes(values: torch.Tensor) -> torch.Tensor:
    """Flatten and pad to whole vector registers.

    Torch takes exp, log and their like for whole registers from one library and for
    the rest of an array from another: the last bit of a number would depend on where
    it lies in the batch. Padded, a replica alone gives the bits it gives in a batch.
    Not needed where rows are multiples of 32 wide.
    """
    flat = values.reshape(-1)
    return nn.functional.pad(flat, (0, (32 - flat.size(0) % 32) % 32))


def from_lanes(lanes: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Undo `to_lanes`: the first numbers, in the shape of `like`."""
    return lanes[: like.numel()].view(like.shape)
