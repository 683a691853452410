"""Networks of the published checkpoints, in TorchScript, with the published numbers.

Names and layout follow the file. Lengths are in the unit of the model (Angstrom;
chains: their own), masses in Da.

Method: Fu et al., TMLR 2023, arXiv 2204.10348.
"""

from typing import NamedTuple

import torch
from torch import nn

from cgml.contract.atoms import Atoms
from cgml.contract.lanes import from_lanes, to_lanes
from cgml.molecules.systems import sum_by
from cgml.published.blocks import GraphNetwork, Perceptron, PublishedEdges
from cgml.published.spec import HyperParameters, NetworkSizes


class Acceleration(NamedTuple):
    """Diagonal Gaussian over the second difference of positions."""

    mean: torch.Tensor  # (n_beads, 3)
    deviation: torch.Tensor  # (n_beads, 3) standard deviation
    nodes: torch.Tensor  # (n_beads, latent_dim) last latent, for score and head


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
        return sum_by(atoms.beads, rows, len(atoms.bead_sizes)) / atoms.bead_sizes

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
        receiver, order = torch.sort(atoms.receiver, stable=True)
        output: torch.Tensor = self.network(
            nodes,
            edges.index_select(0, order),
            atoms.sender.index_select(0, order),
            receiver,
        )
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
        moves = displacements.transpose(0, 1).flatten(1)  # (n_beads, 3 (seq_len - 1))
        inputs = torch.cat((moves, embedding), dim=1)
        if self.use_weights:
            inputs = torch.cat((inputs, masses), dim=1)
        nodes = self.network.encode_nodes(inputs)
        latent, output = self.network.among_beads(
            nodes, edges, self.cutoff, self.kinds.weight
        )
        mean, raw = output[:, :3], output[:, 3:]
        positive = from_lanes(nn.functional.softplus(to_lanes(raw)), raw)
        return Acceleration(mean, self.min_deviation + positive, latent)


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
        return self.evaluate(self.encode(nodes, masses), edges)

    def encode(self, nodes: torch.Tensor, masses: torch.Tensor) -> torch.Tensor:
        """Encode the beads, (n_beads, latent_dim); arguments as in `forward`.

        It serves for all candidates of a step.
        """
        inputs = torch.cat((nodes, masses), dim=1) if self.use_weights else nodes
        encoded: torch.Tensor = self.network.encode_nodes(inputs)
        return encoded

    def evaluate(self, nodes: torch.Tensor, edges: PublishedEdges) -> torch.Tensor:
        """Score times sigma from encoded beads and the pairs of a candidate."""
        output: torch.Tensor = self.network.among_beads(
            nodes, edges, self.cutoff, self.kinds.weight
        )[1]
        return output


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
