"""TensorNet of torchmd-net as a network of energies (the extra "equivariant").

Two of its leaves are ours: beads are told apart by the model's embedding where atoms
have numbers, and pairs come from our search, so that boxes may be narrower than two
cutoffs. TensorNet sees no bonds; the prior does.

References:
    Simeon and De Fabritiis, NeurIPS 2023 (TensorNet); Pelaez et al., J. Chem. Theory
    Comput. 20, 4076 (2024) (TorchMD-Net 2).
"""

from typing import Any

import torch
from torch import nn

from cgml.network.potential import Edges
from cgml.spec import ModelSpec, PotentialSpec


class _Beads(nn.Module):
    """Features of beads in the place of those of atomic numbers."""

    def __init__(self, n_embedding: int, n_node: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_embedding, n_node)
        self.rows = torch.zeros(0, n_embedding)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Features of the beads of these numbers, (n, n_node)."""
        features: torch.Tensor = self.linear(self.rows)[numbers]
        return features


class _Pairs(nn.Module):
    """Pairs that were found before, in the place of a search."""

    def __init__(self) -> None:
        super().__init__()
        self.edges: Edges | None = None

    def forward(
        self, positions: torch.Tensor, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ends, lengths and vectors of all edges, each bead with itself first."""
        edges: Any = self.edges
        own = torch.arange(len(positions), device=positions.device)
        receiver = torch.cat((own, edges.receiver, edges.sender))
        sender = torch.cat((own, edges.sender, edges.receiver))
        none = torch.zeros_like(positions)
        lengths = torch.sqrt(edges.vectors.square().sum(dim=1) + 1e-12)
        return (
            torch.stack((receiver, sender)),
            torch.cat((none[:, 0], lengths, lengths)),
            torch.cat((none, edges.vectors, -edges.vectors)),
        )


class TensorNetEnergy(nn.Module):
    """TensorNet and a scalar readout.

    Args:
        network: TensorNet, with our leaves.
        readout: of the energy of a bead.
    """

    def __init__(self, network: Any, readout: Any) -> None:
        super().__init__()
        self.network, self.readout = network, readout

    def energies(self, embedding: torch.Tensor, edges: Edges) -> torch.Tensor:
        """Energy of each bead, (n_beads,) kT; see EnergyNetwork."""
        numbers = torch.arange(len(embedding), device=embedding.device)
        self.network.tensor_embedding.emb.rows = embedding
        self.network.distance.edges = edges
        positions = edges.vectors.new_zeros(len(embedding), 3)
        batch = torch.zeros_like(numbers)
        x, v, z, positions, batch = self.network(numbers, positions, batch)
        energy: torch.Tensor = self.readout.pre_reduce(x, v, z, positions, batch)
        return energy[:, 0]


def tensornet(spec: ModelSpec, potential: PotentialSpec) -> TensorNetEnergy:
    """Build TensorNet with its first weights.

    Args:
        spec: of the model.
        potential: with a cutoff.

    Raises:
        ValueError: torchmd-net is not installed.
    """
    try:
        from torchmdnet.models.output_modules import Scalar
        from torchmdnet.models.tensornet import TensorNet
    except ImportError as error:
        raise ValueError(
            "TensorNet potentials need torchmd-net, which is not installed: "
            'pip install "cgml[equivariant]"; the model moves beads without'
        ) from error
    network = TensorNet(
        hidden_channels=potential.n_node,
        num_layers=potential.n_layers,
        num_rbf=potential.n_radial,
        rbf_type="expnorm",
        trainable_rbf=False,
        activation="silu",
        cutoff_lower=0.0,
        cutoff_upper=potential.cutoff,
        max_z=1,
        static_shapes=False,
        dtype=torch.float32,
    )
    network.tensor_embedding.emb = _Beads(spec.network.n_embedding, potential.n_node)
    network.distance = _Pairs()
    readout = Scalar(
        potential.n_node, activation="silu", reduce_op="sum", dtype=torch.float32
    )
    return TensorNetEnergy(network, readout)
