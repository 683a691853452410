"""Relaxation of the bond graph: the analytic backbone of the model.

For beads of masses m joined by equal springs and moving in a solvent whose friction
is proportional to the mass, every eigenmode of the mass-weighted graph Laplacian

    A = M^(-1/2) K M^(-1/2)        (K: Laplacian of the bond graph, M: relative masses)

is an Ornstein-Uhlenbeck process. After one step a mode of eigenvalue lambda keeps the
fraction exp(-b lambda) of its value and has gained the variance
c (1 - exp(-2 b lambda)) / lambda, which tends to 2 b c, free diffusion, for lambda ->
0. The two numbers b and c are fitted to the training data (scales.py); the networks
learn what the Rouse model lacks. Sampling in its metric makes all modes, from a bond
to the whole chain, equally wide.

References:
    P. E. Rouse, J. Chem. Phys. 21, 1272 (1953), eqs. 9-19.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cgml.spec import RousePrior


class Kernels(NamedTuple):
    """Matrices of one molecule with n beads, each (n, n) float64.

    Attributes:
        mean: H, expected positions after one step are H x.
        root: L, displacement noise is L w with w white; nm.
        inverse: pseudo-inverse of L, 1/nm.
        rest: (n,) unit vector w with L w = 0 where the centre of mass is held out,
            else zeros.
    """

    mean: NDArray[np.float64]
    root: NDArray[np.float64]
    inverse: NDArray[np.float64]
    rest: NDArray[np.float64]


def laplacian_modes(
    masses: NDArray[np.float64], bonds: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues and eigenvectors of the mass-weighted graph Laplacian.

    Args:
        masses: (n,) bead masses, Da; only their ratios to the mean count.
        bonds: (n_bonds, 2) bead bonds.

    Returns:
        (n,) ascending eigenvalues and (n, n) eigenvectors in columns.
    """
    weights = np.sqrt(masses / masses.mean())
    matrix = np.zeros((len(masses), len(masses)))
    np.add.at(matrix, (bonds[:, 0], bonds[:, 1]), -1.0)
    matrix += matrix.T
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    values, vectors = np.linalg.eigh(matrix / np.outer(weights, weights))
    return np.clip(values, 0.0, None), vectors


def retention(
    eigenvalues: NDArray[np.float64], prior: RousePrior
) -> NDArray[np.float64]:
    """Fraction of a mode that is left after one step, (n,)."""
    return np.exp(-prior.rate * eigenvalues)


def gained_variance(
    eigenvalues: NDArray[np.float64], prior: RousePrior
) -> NDArray[np.float64]:
    """Variance that a mode gains in one step, (n,), nm^2."""
    argument = 2.0 * prior.rate * eigenvalues
    small = argument < 1e-9
    safe = np.where(small, 1.0, argument)
    growth = np.where(small, 1.0, -np.expm1(-safe) / safe)
    return 2.0 * prior.rate * prior.variance * growth


def kernels(
    masses: NDArray[np.float64],
    bonds: NDArray[np.int64],
    prior: RousePrior,
    *,
    hold_centre: bool,
) -> Kernels:
    """Matrices of one molecule.

    Args:
        masses: (n,) bead masses, Da.
        bonds: (n_bonds, 2) bead bonds.
        prior: fitted constants.
        hold_centre: leave the centre of mass out of the noise.
    """
    values, vectors = laplacian_modes(masses, bonds)
    weights = np.sqrt(masses / masses.mean())
    deviation = np.sqrt(gained_variance(values, prior))
    inverse = 1.0 / deviation
    rest = np.zeros(len(masses))
    if hold_centre:
        deviation[0] = inverse[0] = 0.0
        rest = vectors[:, 0].copy()
    left = vectors / weights[:, None]
    right = vectors * weights[:, None]
    return Kernels(
        mean=(left * retention(values, prior)) @ right.T,
        root=(left * deviation) @ vectors.T,
        inverse=(vectors * inverse) @ right.T,
        rest=rest,
    )


def apply_blocks(
    blocks: torch.Tensor, slots: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """Multiply every molecule's vectors by its matrix.

    In float64, so that the result in float32 does not depend on the padding, that is,
    on what else is in the batch.

    Args:
        blocks: (n_molecules, m, m) float64, padded with zeros to the largest molecule.
        slots: (n_beads,) place of each bead in the padded (n_molecules * m) array.
        values: (n_beads, 3).

    Returns:
        (n_beads, 3), of the kind of `values`.
    """
    n_molecules, width = blocks.size(0), blocks.size(1)
    padded = torch.zeros(
        n_molecules * width, 3, dtype=blocks.dtype, device=values.device
    ).index_copy(0, slots, values.to(blocks.dtype))
    product = torch.bmm(blocks, padded.view(n_molecules, width, 3))
    own = product.view(n_molecules * width, 3).index_select(0, slots)
    return own.to(values.dtype)
