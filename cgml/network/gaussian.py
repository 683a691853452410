"""The predicted Gaussian: white coordinates, in which it is the standard normal."""

from typing import NamedTuple

import torch

from cgml.molecules.systems import sum_by
from cgml.network.inputs import Beads
from cgml.network.kinds import apply_kernels


class Prediction(NamedTuple):
    """Gaussian over the next positions, x' = mean + L (spread * w), w white."""

    mean: torch.Tensor  # (n_beads, 3) expected next positions, nm
    spread: torch.Tensor  # (n_beads, 1) dimensionless; 1 is the Rouse model's spread
    nodes: torch.Tensor  # (n_beads, n_node) latent
    edges: torch.Tensor  # (2 n, n_edge) latent, in the rows of a Layout
    pairs: torch.Tensor  # (n, n_edge) products of the two beads' learned properties


def whiten(
    positions: torch.Tensor,
    prediction_mean: torch.Tensor,
    spread: torch.Tensor,
    beads: Beads,
) -> torch.Tensor:
    """Coordinates in which the predicted Gaussian is the standard one, (n_beads, 3)."""
    force = apply_kernels(beads.kinds.inverse, beads.kinds, positions - prediction_mean)
    return project(force / spread, spread, beads)


def unwhiten(
    white: torch.Tensor,
    prediction_mean: torch.Tensor,
    spread: torch.Tensor,
    beads: Beads,
) -> torch.Tensor:
    """Inverse of `whiten`: positions in nm, (n_beads, 3)."""
    moved = apply_kernels(beads.kinds.root, beads.kinds, spread * white)
    return prediction_mean + moved


def project(white: torch.Tensor, spread: torch.Tensor, beads: Beads) -> torch.Tensor:
    """Remove the one direction per molecule that moves nothing, (n_beads, 3)."""
    return without(white, held_direction(spread, beads), beads)


class Held(NamedTuple):
    """The one direction per molecule that moves nothing."""

    direction: torch.Tensor  # (n_beads, 1) any length; zero where every direction moves
    square: torch.Tensor  # (n_molecules, 1) its square length, above zero


def held_direction(spread: torch.Tensor, beads: Beads) -> Held:
    """Direction that moves nothing under a spread (n_beads, 1)."""
    direction = beads.rest / spread
    n_molecules = beads.molecule_masses.size(0)
    square = sum_by(beads.molecules, direction * direction, n_molecules)
    return Held(direction, square.clamp(min=1e-20))


def without(white: torch.Tensor, held: Held, beads: Beads) -> torch.Tensor:
    """Remove a direction from white coordinates, (n_beads, 3)."""
    sums = sum_by(beads.molecules, held.direction * white, held.square.size(0))
    share = sums / held.square
    return white - held.direction * share.index_select(0, beads.molecules)


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
    held = sum_by(beads.molecules, square, n_molecules)
    volume = 0.5 * torch.log(torch.where(held > 0.0, held, 1.0)).sum()
    return terms.mean() + volume / len(target)
