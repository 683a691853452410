"""Angles in messages, and left and right: vectors of beads, and what they make."""

from typing import Final, NamedTuple

import torch
from torch import nn

from cgml.network.blocks import MLP, MlpWeights
from cgml.network.leaves import Product, grown, multiply, pack, widened
from cgml.network.pairs import Layout
from cgml.network.sums import at_ends, sum_arrivals
from cgml.spec import NetworkConfig


class TurnWeights(NamedTuple):
    """Packed weights of a Directions."""

    edge: Product
    node: Product
    to_node: MlpWeights
    to_edge: MlpWeights


class Directions(nn.Module):
    """Angles between edges: vectors of a node, and what they are along its edges.

    Every node sums learned multiples of its edges' unit vectors and of vectors given
    to it; lengths of the sums go to the node, their projections on each edge go to
    the edge. So a message knows on which side of a bead the other neighbours are,
    which distances alone tell only after many rounds (as in PaiNN: K. Schütt,
    O. Unke, M. Gastegger, ICML 2021, eq. 8 and 9, with projections for products).

    Where it is chiral, sums over bonded and over near beads of the molecule are part of
    these vectors (`near_bonds`), and triple products come beside lengths and
    projections: of three of a node's vectors, and of an edge's axis with a vector at
    each of its ends, which is the sine of a dihedral angle for vectors along the next
    bonds. They change sign in a mirror and not in a rotation, so what follows from them
    is a function of the handedness (of SO(3), no longer of O(3)). Cross products of a
    node's vectors, which leave the plane of its neighbours, are handed on to the
    readout.

    Args:
        n_node: width of node features.
        n_edge: width of edge features.
        n_vectors: vectors of a node.
        n_node_vectors: vectors given per node.
        chiral: whether to look at triple products.
    """

    is_chiral: Final[bool]

    def __init__(
        self,
        n_node: int,
        n_edge: int,
        n_vectors: int,
        n_node_vectors: int,
        *,
        chiral: bool = False,
    ) -> None:
        super().__init__()
        self.n_vectors, self.n_given, self.is_chiral = n_vectors, n_node_vectors, chiral
        self.edge = nn.Linear(n_edge, n_vectors)
        self.node = nn.Linear(n_node, n_vectors * n_node_vectors)
        self.to_node = MLP(n_node + (1 + chiral) * n_vectors, n_node, n_node)
        self.to_edge = MLP((2 + chiral) * n_vectors, n_edge, n_edge)

    def pack(self, mean_degree: torch.Tensor, kind: torch.dtype | None) -> TurnWeights:
        """Prepare the weights.

        Args:
            mean_degree: () typical number of edges of a node, scales the sums.
            kind: of the numbers that are multiplied at the edges.
        """
        scale = 1.0 / torch.sqrt(mean_degree)
        return TurnWeights(
            edge=pack(self.edge.weight * scale, self.edge.bias * scale, kind),
            node=pack(self.node.weight, self.node.bias),
            to_node=self.to_node.pack(None),
            to_edge=self.to_edge.pack(kind),
        )

    def forward(
        self,
        weights: TurnWeights,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        along: torch.Tensor,
        node_vectors: torch.Tensor,
        layout: Layout,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Update nodes (n_nodes, n_node) and edges (2 n, n_edge), which are used up.

        Unit vectors along the pairs are (3, n), receiver minus sender, node vectors
        (n_nodes, n_node_vectors, 3). Cross products, if any, come third,
        (n_nodes, n_vectors or 0, 3).
        """
        n_nodes, n, width = nodes.size(0), along.size(1), self.n_vectors
        axes = along.t().unsqueeze(2)  # (n, 3, 1)
        shares = widened(multiply(weights.edge, edges)).view(2, n, 1, width)
        if self.is_chiral:
            shares = shares + near_bonds(layout, width).unsqueeze(1)
        parts = shares * torch.stack((axes, -axes))  # (2, n, 3, width)
        total = sum_arrivals(parts.view(2 * n, 3 * width), layout)
        own = multiply(weights.node, nodes).reshape(n_nodes, self.n_given, 1, width)
        total = total.view(n_nodes, 3, width)
        vectors = grown(total, (own * node_vectors.unsqueeze(3)).sum(dim=1))
        lengths = vectors.square().sum(dim=1).add_(1e-8).sqrt_()
        inputs = [nodes, lengths]
        crosses = vectors[:, :, :0]
        if self.is_chiral:
            vectors = vectors / (0.1 + lengths).unsqueeze(1)  # about 1, smooth at 0
            crosses = cross(vectors, vectors.roll(1, dims=2))
            inputs.append((vectors.roll(2, dims=2) * crosses).sum(dim=1))
        one, other = at_ends(vectors, layout)  # (n, 3, width)
        first, second = (one * axes).sum(dim=1), (other * axes).sum(dim=1)
        there = torch.cat((first, second), dim=1)
        back = torch.cat((second, first), dim=1).neg_()
        if self.is_chiral:
            triple = (cross(one, other) * axes).sum(dim=1)  # the same from both ends
            there = torch.cat((there, triple), dim=1)
            back = torch.cat((back, triple), dim=1)
        seen = self.to_edge.run(weights.to_edge, torch.cat((there, back)))
        update = self.to_node.run(weights.to_node, torch.cat(inputs, dim=1))
        return grown(update, nodes), grown(edges, seen), crosses.transpose(1, 2)


def near_bonds(layout: Layout, width: int) -> torch.Tensor:
    """Shares that are not learned: 1 of bonds, and exp(-bonds between / 1.5), in turn.

    They point where the next beads of the molecule are, from the first step of
    training on: triple products then mean something before the rest is learned.

    Returns:
        (n, width) of pairs, 0 between molecules.
    """
    both = torch.stack((layout.static[:, 0], layout.static[:, 2]), dim=1)
    return both.repeat(1, width // 2)


def cross(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Cross products of vectors (n, 3, n_columns), in columns."""
    x, y, z = one.unbind(1)
    u, v, w = other.unbind(1)
    return torch.stack((y * w - z * v, z * u - x * w, x * v - y * u), dim=1)


def n_crosses(sizes: NetworkConfig) -> int:
    """Count the cross products that a `Directions` of these sizes hands on."""
    return sizes.n_vectors if sizes.chiral else 0


def directions(
    n_layers: int, n_node_vectors: int, sizes: NetworkConfig
) -> nn.ModuleList:
    """One `Directions` per layer, or as many that nobody calls without vectors."""
    n_node, n_edge, n_vectors = sizes.n_node, sizes.n_edge, sizes.n_vectors
    if n_vectors == 0:
        return nn.ModuleList([nn.Identity() for _ in range(n_layers)])
    widths = (n_node, n_edge, n_vectors, n_node_vectors)
    return nn.ModuleList(
        [Directions(*widths, chiral=sizes.chiral) for _ in range(n_layers)]
    )
