"""How unsure a model is of molecules: before a run goes wrong, a number says so.

Of an ensemble the score of a molecule is what its members disagree by in one step:
the root of the variance of the mean over the predicted variance, averaged over the
coordinates, plus the variance of the logarithm of the predicted spread.

Of one set of weights it is how far the predictor's latent, averaged over the beads of
the molecule, is from those of the training molecules (Mahalanobis, in the Gaussian of
`LatentRange`).

Both are dimensionless and a function of the positions alone: earlier displacements are
hidden. The extrapolation grade is the score over the largest of the validation
molecules (`Calibration`).

References:
    M. E. Tipping, C. M. Bishop, J. R. Stat. Soc. B 61, 611 (1999).
    B. Lakshminarayanan et al., NeurIPS 2017: deep ensembles.
"""

from collections.abc import Sequence

import torch

from cgml.calibration import Calibration, LatentRange
from cgml.contract.stepper import Forecast
from cgml.molecules.systems import Systems, sum_by


def latents(forecast: Forecast, systems: Systems) -> torch.Tensor:
    """Latent of each molecule, the mean over its beads, (n_molecules, n) float64."""
    return _means(forecast.latent.double(), systems)


def disagreement(forecasts: Sequence[Forecast], systems: Systems) -> torch.Tensor:
    """What members disagree by, (n_molecules,) float64, in predicted deviations."""
    forces = torch.stack([one.force.double() for one in forecasts])
    logs = torch.stack([one.log_spread.double() for one in forecasts])
    variance = torch.exp(2.0 * logs.mean(dim=0))
    shares = (forces.var(dim=0) / variance).mean(dim=1, keepdim=True) + logs.var(dim=0)
    return _means(shares, systems)[:, 0].sqrt()


def distance(values: torch.Tensor, known: LatentRange) -> torch.Tensor:
    """Distance of latents (n_molecules, n) from those of the training molecules."""
    axes, mean, variances = (
        values.new_tensor(some) for some in (known.axes, known.mean, known.variances)
    )
    offset = values - mean
    along = offset @ axes.reshape(-1, len(mean)).t()
    beyond = (offset.square().sum(dim=1) - along.square().sum(dim=1)).clamp(min=0.0)
    scaled = along.square() / variances
    return (scaled.sum(dim=1) + beyond / known.rest).sqrt()


def scores(
    forecasts: Sequence[Forecast], latent: LatentRange | None, systems: Systems
) -> torch.Tensor:
    """Score of each molecule, (n_molecules,) float64.

    Args:
        forecasts: of all members.
        latent: of the training molecules, for one set of weights.
        systems: all replicas.
    """
    if latent is None:
        return disagreement(forecasts, systems)
    return distance(latents(forecasts[0], systems), latent)


def grades(
    calibration: Calibration, forecasts: Sequence[Forecast], systems: Systems
) -> torch.Tensor:
    """Extrapolation grade of each molecule, (n_molecules,) float64.

    Args:
        calibration: of the model.
        forecasts: of all members.
        systems: all replicas.
    """
    return scores(forecasts, calibration.latent, systems) / calibration.largest


def _means(values: torch.Tensor, systems: Systems) -> torch.Tensor:
    """Mean over the beads of each molecule, (n_molecules, n), of (n_beads, n)."""
    n = sum(systems.n_molecules)
    counts = sum_by(systems.molecules, torch.ones_like(values[:, :1]), n)
    return sum_by(systems.molecules, values, n) / counts
