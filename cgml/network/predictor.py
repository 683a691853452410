"""The dynamics network: history -> Gaussian over the next positions."""

from typing import NamedTuple

import torch
from torch import nn

from cgml.molecules.rouse import apply_blocks
from cgml.network.blocks import (
    MLP,
    Interaction,
    RadialBasis,
    ScalarReadout,
    VectorReadout,
    directions,
    edge_differences,
    from_lanes,
    length_and_direction,
    to_lanes,
)
from cgml.network.edges import N_STATIC, Edges, edge_vectors
from cgml.network.inputs import Beads
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


class Prediction(NamedTuple):
    """Gaussian over the next positions, x' = mean + L (spread * w), w white.

    Attributes:
        mean: (n_beads, 3) expected next positions, nm.
        spread: (n_beads, 1) dimensionless; 1 is the Rouse model's spread.
        nodes: (n_beads, n_node) latent.
        edges: (n_edges, n_edge) latent.
        pairs: (n_edges, n_edge) products of the two beads' learned properties.
    """

    mean: torch.Tensor
    spread: torch.Tensor
    nodes: torch.Tensor
    edges: torch.Tensor
    pairs: torch.Tensor


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

    min_spread: float
    length_scale: torch.Tensor
    displacement_scale: torch.Tensor
    mean_degree: torch.Tensor

    def __init__(
        self,
        sizes: NetworkConfig,
        n_history: int,
        n_centres: int,
        radial: RadialBasis,
    ) -> None:
        super().__init__()
        self.min_spread = 0.1
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
        self.directions = directions(n_layers, n_node, n_edge, sizes.n_vectors, n_given)
        self.shift = VectorReadout(n_node, n_edge, 2, n_given)
        self.spread = ScalarReadout(n_node)

    def forward(
        self, beads: Beads, edges: Edges, embedding: torch.Tensor, history: History
    ) -> Prediction:
        """Predict the next positions.

        Args:
            beads: static description.
            edges: pairs that exchange messages.
            embedding: (n_beads, n_embedding).
            history: present positions and earlier displacements.
        """
        present = history.positions
        relaxed = apply_blocks(beads.mean_kernel, beads.slots, present)
        drift = (relaxed - present) / self.displacement_scale
        moves = (
            history.displacements / self.displacement_scale
        )  # (n_history, n_beads, 3)
        known = history.known

        length_now, along_now = length_and_direction(edge_vectors(present, edges))
        length_relaxed, along_relaxed = length_and_direction(
            edge_vectors(relaxed, edges)
        )
        radial_now = self.radial(length_now / self.length_scale)
        properties = self.properties(embedding)
        pairs = properties.index_select(0, edges.receiver) * properties.index_select(
            0, edges.sender
        )
        node_parts = [embedding, beads.masses, length_and_direction(drift)[0]]
        edge_parts = [
            radial_now,
            self.radial(length_relaxed / self.length_scale),
            (along_now * along_relaxed).sum(dim=1, keepdim=True),
            edges.static,
        ]
        node_vectors = [drift]
        for age in range(moves.size(0)):
            move = moves[age]
            node_parts.extend([length_and_direction(move)[0], known[age]])
            relative = edge_differences(move, edges.sender, edges.receiver)
            edge_parts.append((relative * along_now).sum(dim=1, keepdim=True))
            edge_parts.append((relative * along_relaxed).sum(dim=1, keepdim=True))
            node_vectors.append(move)

        nodes = self.node_encoder(torch.cat(node_parts, dim=1))
        latent = self.edge_encoder(torch.cat(edge_parts, dim=1))
        latent = latent + self.filter(radial_now) * pairs
        centres = centre_offsets(beads, present) / self.length_scale
        given = torch.cat((torch.stack(node_vectors, dim=1), centres), dim=1)
        sender, receiver, degree = edges.sender, edges.receiver, self.mean_degree
        for turn, layer in zip(self.directions, self.layers):  # noqa: B905 (TorchScript)
            nodes, latent = turn(
                nodes, latent, along_now, given, sender, receiver, degree
            )
            nodes, latent = layer(nodes, latent, sender, receiver, degree)
        force = self.shift(
            nodes,
            latent,
            torch.stack((along_now, along_relaxed), dim=1),
            given,
            receiver,
            degree,
        )
        mean = relaxed + apply_blocks(beads.root_kernel, beads.slots, force)
        raw = self.spread(nodes) + 0.4
        spread = self.min_spread + from_lanes(
            nn.functional.softplus(to_lanes(raw)), raw
        )
        return Prediction(mean, spread, nodes, latent, pairs)


def centre_offsets(beads: Beads, positions: torch.Tensor) -> torch.Tensor:
    """Expected centres of the atoms of each type in a bead, relative to the bead.

    Args:
        beads: static description.
        positions: (n_beads, 3) nm, molecules whole.

    Returns:
        (n_beads, n_types, 3) nm, summed in float64; no types where the model does not
        look, zero where a bead has no such atoms.
    """
    weights, wide = beads.centre_weights, positions.to(beads.centre_weights.dtype)
    gaps = wide.index_select(0, beads.centre_sender) - wide.index_select(
        0, beads.centre_receiver
    )
    parts = weights.unsqueeze(2) * gaps.unsqueeze(1)  # (n, n_types, 3)
    offsets = torch.zeros(
        positions.size(0),
        weights.size(1),
        3,
        dtype=parts.dtype,
        device=positions.device,
    ).index_add(0, beads.centre_receiver, parts)
    return offsets.to(positions.dtype)


def whiten(
    positions: torch.Tensor,
    prediction_mean: torch.Tensor,
    spread: torch.Tensor,
    beads: Beads,
) -> torch.Tensor:
    """Coordinates in which the predicted Gaussian is the standard one, (n_beads, 3)."""
    force = apply_blocks(beads.inverse_kernel, beads.slots, positions - prediction_mean)
    return project(force / spread, spread, beads)


def unwhiten(
    white: torch.Tensor,
    prediction_mean: torch.Tensor,
    spread: torch.Tensor,
    beads: Beads,
) -> torch.Tensor:
    """Inverse of `whiten`: positions in nm, (n_beads, 3)."""
    return prediction_mean + apply_blocks(
        beads.root_kernel, beads.slots, spread * white
    )


def project(white: torch.Tensor, spread: torch.Tensor, beads: Beads) -> torch.Tensor:
    """Remove the one direction per molecule that moves nothing, (n_beads, 3)."""
    direction = beads.rest / spread
    n_molecules = beads.molecule_masses.size(0)
    sums = torch.zeros(
        n_molecules, 4, dtype=white.dtype, device=white.device
    ).index_add(
        0, beads.molecules, torch.cat((direction * direction, direction * white), dim=1)
    )
    share = sums[:, 1:] / sums[:, :1].clamp(min=1e-20)
    return white - direction * share.index_select(0, beads.molecules)


def gaussian_loss(
    prediction: Prediction, target: torch.Tensor, beads: Beads
) -> torch.Tensor:
    """Negative log-likelihood per bead coordinate, without constants, ().

    Args:
        prediction: of the next positions.
        target: (n_beads, 3) true next positions, nm.
        beads: static description.
    """
    white = whiten(target, prediction.mean, prediction.spread, beads)
    terms = torch.log(prediction.spread) + 0.5 * white.square()
    # where a direction moves nothing, the volume is that of the others alone
    square = (beads.rest / prediction.spread).square().squeeze(1)
    n_molecules = beads.molecule_masses.size(0)
    held = square.new_zeros(n_molecules).index_add(0, beads.molecules, square)
    volume = 0.5 * torch.log(torch.where(held > 0.0, held, 1.0)).sum()
    return terms.mean() + volume / len(target)
