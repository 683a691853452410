"""Samplers on a target whose score is known: they must give its distribution."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from cgml.config import Refinement
from cgml.refiner import n_draws, sample

N = 20_000
CENTRES, WIDTH, SHARE = np.array([-0.9, 0.9]), 0.4, 0.3  # wells; weight of the left


def denoise(white: torch.Tensor, sigma: float) -> torch.Tensor:
    """Expected noise-free coordinate of the double well, exactly (Tweedie)."""
    variance = WIDTH**2 + sigma**2
    terms = [
        np.log(weight) - (white - centre) ** 2 / (2.0 * variance)
        for weight, centre in zip((SHARE, 1.0 - SHARE), CENTRES, strict=True)
    ]
    left = torch.sigmoid(terms[0] - terms[1])
    means = [
        (WIDTH**2 * white + sigma**2 * centre) / variance for centre in CENTRES.tolist()
    ]
    return left * means[0] + (1.0 - left) * means[1]


def drawn(refinement: Refinement) -> np.ndarray:
    stream = torch.Generator().manual_seed(3)
    shape = (n_draws(refinement), N, 3)
    noise = torch.randn(shape, generator=stream, dtype=torch.float64)
    return sample(denoise, noise, refinement).numpy().ravel()


def distance(values: np.ndarray) -> float:
    """Largest difference of the cumulative distributions (Kolmogorov)."""
    places = np.sort(values)
    exact = sum(
        weight * norm.cdf(places, centre, WIDTH)
        for weight, centre in zip((SHARE, 1.0 - SHARE), CENTRES, strict=True)
    )
    return float(np.abs(exact - (np.arange(len(places)) + 0.5) / len(places)).max())


@pytest.mark.parametrize("sampler", ["multistep", "heun", "ancestral"])
def test_double_well_with_many_levels(sampler):
    """Within 4 standard errors of the Kolmogorov statistic, start error included."""
    refinement = Refinement(
        sampler=sampler, n_levels=300, sigma_max=30.0, sigma_min=1e-3, rho=2.0
    )
    values = drawn(refinement)
    assert distance(values) < 2.0 / len(values) ** 0.5 + 5e-3
    left = (values < 0.0).mean()
    exact = SHARE * norm.cdf(-CENTRES[0] / WIDTH) + (1.0 - SHARE) * norm.cdf(
        -CENTRES[1] / WIDTH
    )
    assert left == pytest.approx(exact, abs=4.0 * (exact / len(values)) ** 0.5 + 3e-3)


def test_ten_evaluations_are_close():
    """Few levels cost little; the start, a normal of equal variance, costs most."""
    values = drawn(Refinement(n_levels=10, sigma_max=10.0))
    assert distance(values) < 0.02
    mean = (1.0 - 2.0 * SHARE) * CENTRES[1]
    assert values.mean() == pytest.approx(mean, abs=0.03)


def test_the_constant_step_of_the_paper_hardly_moves():
    """200 evaluations of the published loop leave the predictor's Gaussian as it is."""
    refinement = Refinement(
        sampler="langevin", n_levels=20, n_repeats=10, sigma_max=10.0, sigma_min=0.01
    )
    assert distance(drawn(refinement)) > 0.1
