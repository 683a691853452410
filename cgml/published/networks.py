"""Networks of the published checkpoints, in TorchScript, with the published numbers.

Names and layout follow the file (graphwm.py), the code its equations; graphwm_fast.py
evaluates the same networks without waste. Lengths are in the unit of the model
(Angstrom; chains: their own), masses in Da.

Method: Fu et al., TMLR 2023, arXiv 2204.10348.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn

from cgml.network.blocks import from_lanes, to_lanes
from cgml.network.inputs import Atoms
from cgml.published.spec import HyperParameters, NetworkSizes


class PublishedEdges(NamedTuple):
    """Directed pairs of beads, each bead with itself among them.

    Attributes:
        sender: (n_edges,) first bead of the pair.
        receiver: (n_edges,) second bead, the one that gets the message.
        vectors: (n_edges, 3) first minus second, shortest image.
        kinds: (n_edges,) 1 for a bond of beads, else 0.
    """

    sender: torch.Tensor
    receiver: torch.Tensor
    vectors: torch.Tensor
    kinds: torch.Tensor


class Acceleration(NamedTuple):
    """Diagonal Gaussian over the second difference of positions.

    Attributes:
        mean: (n_beads, 3).
        deviation: (n_beads, 3) standard deviation.
        nodes: (n_beads, latent_dim) last latent, given to score network and head.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    nodes: torch.Tensor


class Perceptron(nn.Module):
    """Linear layers with ReLU between them, LayerNorm at the end if asked."""

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
        self.first = nn.Linear(widths[0], widths[1])
        rest: list[nn.Module] = []
        for before, after in pairwise(widths[1:]):
            rest += [nn.ReLU(), nn.Linear(before, after)]
        if normalise:
            rest.append(nn.LayerNorm(n_output))
        self.rest = nn.Sequential(*rest)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, n_input) to (n, n_output)."""
        output: torch.Tensor = self.rest(self.first(values))
        return output


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
        self,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        sender: torch.Tensor,
        receiver: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Update nodes (n_nodes, latent_dim) and edges (n_edges, latent_dim)."""
        ends = (nodes.index_select(0, receiver), nodes.index_select(0, sender))
        messages = self.edge_update(torch.cat((edges, ends[0], ends[1]), dim=1))
        total = torch.zeros_like(nodes).index_add(0, receiver, messages)
        update = self.node_update(torch.cat((nodes, total), dim=1))
        return nodes + update, edges + messages


class GraphNetwork(nn.Module):
    """Encode nodes and edges, exchange messages, decode nodes.

    Args:
        n_node: width of node inputs.
        n_edge: width of edge inputs.
        sizes: of the network.
        n_output: width of node outputs.
    """

    def __init__(
        self, n_node: int, n_edge: int, sizes: NetworkSizes, n_output: int
    ) -> None:
        super().__init__()
        width, units, layers = sizes.latent_dim, sizes.units, sizes.layers
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
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last latent (n_nodes, latent_dim) and outputs (n_nodes, n)."""
        nodes, edges = self.encode_nodes(nodes), self.encode_edges(edges)
        for step in self.steps:
            nodes, edges = step(nodes, edges, sender, receiver)
        return nodes, self.decode(nodes)


class PublishedEmbedding(nn.Module):
    """Bond graph of the atoms -> one vector per bead.

    Args:
        parameters: of the file.
        n_output: width of the embedding.
    """

    def __init__(self, parameters: HyperParameters, n_output: int) -> None:
        super().__init__()
        width = parameters.type_emb_size
        self.n_output = n_output
        self.use_weights = parameters.use_weights
        self.types = nn.Embedding(parameters.num_ptypes, width)
        self.bond_types = (
            nn.Embedding(parameters.num_btypes, width)
            if parameters.num_btypes
            else None
        )
        n_node = width + int(parameters.use_weights)
        self.network = GraphNetwork(
            n_node, width, parameters.embedding_gn_hparams, n_output
        )

    def forward(self, atoms: Atoms) -> torch.Tensor:
        """Return the mean embedding of each bead's atoms, (n_beads, n_output)."""
        rows = self.embed_atoms(atoms)
        beads = torch.zeros(
            atoms.bead_sizes.size(0), rows.size(1), dtype=rows.dtype, device=rows.device
        ).index_add(0, atoms.beads, rows)
        return beads / atoms.bead_sizes

    def embed_atoms(self, atoms: Atoms) -> torch.Tensor:
        """Embed every atom, (n_atoms, n_output).

        Args:
            atoms: types and bond types as rows of the embeddings of the file, masses
                in Da.
        """
        nodes = self.types(atoms.types)
        edges = nodes.index_select(0, atoms.sender) + nodes.index_select(
            0, atoms.receiver
        )
        if self.bond_types is not None:
            edges = edges + self.bond_types(atoms.bond_types)
        if self.use_weights:
            nodes = torch.cat((nodes, atoms.masses), dim=1)
        output: torch.Tensor = self.network(nodes, edges, atoms.sender, atoms.receiver)[
            1
        ]
        return output


class PublishedDynamics(nn.Module):
    """History of the beads -> Gaussian acceleration.

    Args:
        parameters: of the file.
        n_embedding: width of the beads' embedding.
    """

    cutoff: torch.Tensor
    min_deviation: torch.Tensor

    def __init__(self, parameters: HyperParameters, n_embedding: int) -> None:
        super().__init__()
        self.use_weights = parameters.use_weights
        self.register_buffer("cutoff", torch.tensor(parameters.radius))
        self.register_buffer("min_deviation", torch.tensor(parameters.min_std))
        self.kinds = nn.Embedding(2, parameters.type_emb_size)
        n_node = (
            3 * (parameters.seq_len - 1) + n_embedding + int(parameters.use_weights)
        )
        self.network = GraphNetwork(
            n_node,
            4 + parameters.type_emb_size,
            parameters.dynamics_gn_hparams,
            6,
        )

    def forward(
        self,
        edges: PublishedEdges,
        displacements: torch.Tensor,
        embedding: torch.Tensor,
        masses: torch.Tensor,
    ) -> Acceleration:
        """Predict the next second difference of positions.

        Args:
            edges: pairs at the present positions.
            displacements: (seq_len - 1, n_beads, 3) oldest first.
            embedding: (n_beads, n_embedding).
            masses: (n_beads, 1) Da.
        """
        lengths = edge_inputs(edges, self.cutoff, self.kinds.weight)
        inputs = self.node_inputs(displacements, embedding, masses)
        nodes, output = self.network(inputs, lengths, edges.sender, edges.receiver)
        return self.gaussian(nodes, output)

    def node_inputs(
        self,
        displacements: torch.Tensor,
        embedding: torch.Tensor,
        masses: torch.Tensor,
    ) -> torch.Tensor:
        """Inputs of the beads, one row each; arguments as in `forward`."""
        moves = displacements.transpose(0, 1).flatten(1)  # (n_beads, 3 (seq_len - 1))
        inputs = torch.cat((moves, embedding), dim=1)
        if self.use_weights:
            inputs = torch.cat((inputs, masses), dim=1)
        return inputs

    def gaussian(self, nodes: torch.Tensor, output: torch.Tensor) -> Acceleration:
        """Acceleration from the last latent and the outputs of the network."""
        mean, raw = output[:, :3], output[:, 3:]
        positive = from_lanes(nn.functional.softplus(to_lanes(raw)), raw)
        return Acceleration(mean, self.min_deviation + positive, nodes)


class PublishedScore(nn.Module):
    """Score network: candidate positions -> direction to likelier ones, times sigma.

    Args:
        parameters: of the file.
    """

    cutoff: torch.Tensor

    def __init__(self, parameters: HyperParameters, sizes: NetworkSizes) -> None:
        super().__init__()
        self.use_weights = parameters.use_weights
        self.register_buffer("cutoff", torch.tensor(parameters.radius))
        self.kinds = nn.Embedding(2, parameters.type_emb_size)
        n_node = parameters.dynamics_gn_hparams.latent_dim + int(parameters.use_weights)
        self.network = GraphNetwork(n_node, 4 + parameters.type_emb_size, sizes, 3)

    def forward(
        self, edges: PublishedEdges, nodes: torch.Tensor, masses: torch.Tensor
    ) -> torch.Tensor:
        """Return the score times sigma, (n_beads, 3).

        Args:
            edges: pairs at the candidate positions.
            nodes: (n_beads, latent_dim) latent of the dynamics network.
            masses: (n_beads, 1) Da.
        """
        lengths = edge_inputs(edges, self.cutoff, self.kinds.weight)
        inputs = self.node_inputs(nodes, masses)
        output: torch.Tensor = self.network(
            inputs, lengths, edges.sender, edges.receiver
        )[1]
        return output

    def node_inputs(self, nodes: torch.Tensor, masses: torch.Tensor) -> torch.Tensor:
        """Inputs of the beads, one row each; arguments as in `forward`."""
        return torch.cat((nodes, masses), dim=1) if self.use_weights else nodes


class PublishedHead(nn.Module):
    """Property of a system: radius of gyration of its beads plus a correction.

    Args:
        n_node: width of the latent of the dynamics network.
        units: width of hidden layers.
        layers: hidden layers.
        n_output: numbers per system.
    """

    def __init__(self, n_node: int, units: int, layers: int, n_output: int) -> None:
        super().__init__()
        self.network = Perceptron(n_node, units, layers, n_output)

    def forward(
        self, positions: torch.Tensor, nodes: torch.Tensor, masses: torch.Tensor
    ) -> torch.Tensor:
        """Return the property of one system, (n_output,), a length.

        Args:
            positions: (n_beads, 3) of the present frame, unwrapped.
            nodes: (n_beads, latent_dim) latent at these positions.
            masses: (n_beads, 1) Da.
        """
        shares = masses / masses.sum()
        offset = positions - (shares * positions).sum(dim=0)
        radius = (shares * offset.square()).sum().sqrt()
        correction: torch.Tensor = self.network(nodes.mean(dim=0, keepdim=True))
        return radius + correction.squeeze(0)


def edge_inputs(
    edges: PublishedEdges, cutoff: torch.Tensor, kinds: torch.Tensor
) -> torch.Tensor:
    """Vector and length in units of the cutoff, and kind, (n_edges, 4 + width)."""
    geometry = edge_geometry(edges.vectors, cutoff)
    return torch.cat((geometry, kinds.index_select(0, edges.kinds)), dim=1)


def edge_geometry(vectors: torch.Tensor, cutoff: torch.Tensor) -> torch.Tensor:
    """Vector and length in units of the cutoff, (n_edges, 4)."""
    scaled = vectors / cutoff
    lengths = scaled.square().sum(dim=1, keepdim=True).sqrt()
    return torch.cat((scaled, lengths), dim=1)
