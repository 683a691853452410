"""The samplers, fed the exact denoiser of a known distribution, draw from it."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from cgml.network.sampler import Denoise, n_draws, noise_levels, sample
from cgml.spec import Refinement

N = 2000  # beads: three independent draws each
FINE = {
    "multistep": {"n_levels": 80},
    "heun": {"n_levels": 60},
    "ancestral": {"n_levels": 600},
}
SAMPLERS = pytest.mark.parametrize("sampler", list(FINE))
WELLS = ((0.3, -2.0, 0.3), (0.7, 1.0, 0.5))  # weight, place, width


def gaussian(mean: float, variance: float) -> Denoise:
    """E[x | x + sigma z] of a normal."""

    def denoise(white: torch.Tensor, sigma: float) -> torch.Tensor:
        return mean + variance / (variance + sigma**2) * (white - mean)

    return denoise


def double_well(white: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[x | x + sigma z] of a mixture of two normals, coordinate by coordinate."""
    total, answer = torch.zeros_like(white), torch.zeros_like(white)
    for weight, place, width in WELLS:
        variance = width**2 + sigma**2
        density = torch.exp(-0.5 * (white - place) ** 2 / variance)
        share = weight * density / variance**0.5 + 1e-300
        total += share
        answer += share * gaussian(place, width**2)(white, sigma)
    return answer / total


def draws(denoise: Denoise, refinement: Refinement, n: int = N) -> np.ndarray:
    stream = torch.Generator().manual_seed(7)
    shape = (n_draws(refinement), n, 3)
    noise = torch.randn(shape, generator=stream, dtype=torch.float64)
    return sample(denoise, noise, refinement).numpy().ravel()


def fine(sampler: str) -> Refinement:
    """Many levels, from where the target is no longer seen to almost none."""
    settings = {"sigma_max": 300.0, "sigma_min": 2e-3, "rho": 7.0}
    return Refinement.model_validate({"sampler": sampler} | settings | FINE[sampler])


def check_moments(values: np.ndarray, mean: float, variance: float) -> None:
    """Mean and variance within 4 standard errors (of the sample)."""
    n = values.size
    offset = values - mean
    assert abs(offset.mean()) < 4.0 * np.sqrt(variance / n)
    square = offset**2
    assert abs(square.mean() - variance) < 4.0 * square.std() / np.sqrt(n)


@SAMPLERS
@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (0.7, 0.05), (-1.0, 4.0)])
def test_a_gaussian_comes_out(sampler, mean, variance):
    check_moments(draws(gaussian(mean, variance), fine(sampler)), mean, variance)


@SAMPLERS
def test_a_double_well_comes_out(sampler):
    """Occupation of the wells, and place and width of each."""
    values = draws(double_well, fine(sampler))
    is_right = values > -0.8  # 4 widths from the left well, 3.6 from the right one
    weight = WELLS[1][0]
    error = np.sqrt(weight * (1.0 - weight) / values.size)
    assert abs(is_right.mean() - weight) < 4.0 * error
    check_moments(values[~is_right], WELLS[0][1], WELLS[0][2] ** 2)
    check_moments(values[is_right], WELLS[1][1], WELLS[1][2] ** 2)


@SAMPLERS
def test_default_levels_keep_the_predictors_gaussian(sampler):
    """Target = the predictor's own Gaussian: exact but for the last level."""
    values = draws(gaussian(0.0, 1.0), Refinement(sampler=sampler, n_levels=10))
    error = 1.0 / np.sqrt(2.0 * values.size)
    assert abs(values.std() - 1.0) < 1e-3 + 4.0 * error


def deviation(sampler: str, n_levels: int, variance: float = 0.2) -> float:
    """Relative error of the width that a deterministic sampler gives a normal.

    Its map is linear: one number goes through it. Exact is the probability flow,
    x(sigma) / x(start) = sqrt((v + sigma^2) / (v + start^2)), and one last denoising.
    """
    refinement = Refinement(
        sampler="multistep" if sampler == "euler" else sampler, n_levels=n_levels
    )
    denoise = gaussian(0.0, variance)
    levels = noise_levels(refinement)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    start = (1.0 + levels[0] ** 2) ** 0.5
    if sampler == "euler":
        white = one[0] * start
        for sigma, lower in pairwise(levels):
            slope = (white - denoise(white, sigma)) / sigma
            white = white + (lower - sigma) * slope
        found = float(denoise(white, levels[-1]))
    else:
        found = float(sample(denoise, one, refinement))
    flow = ((variance + levels[-1] ** 2) / (variance + levels[0] ** 2)) ** 0.5
    exact = start * flow * variance / (variance + levels[-1] ** 2)
    return abs(found / exact - 1.0)


@pytest.mark.parametrize("sampler", ["multistep", "heun"])
def test_solvers_are_of_second_order(sampler):
    errors = np.array([deviation(sampler, n) for n in (40, 80, 160, 320)])
    orders = np.log2(errors[:-1] / errors[1:])
    assert errors[-1] < 1e-3
    assert (orders > 1.7).all()


def test_euler_is_of_first_order():
    """The yardstick of the next test, checked with the same ruler."""
    errors = np.array([deviation("euler", n) for n in (40, 80, 160, 320)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 1.0, atol=0.02)


@pytest.mark.parametrize("variance", [0.05, 0.2, 0.6, 3.0])
def test_multistep_beats_euler_at_ten_levels(variance):
    ours = deviation("multistep", 10, variance)
    assert ours < 0.5 * deviation("euler", 10, variance)
    assert ours < deviation("euler", 20, variance)


def test_langevin_reaches_the_noisy_distribution():
    """At one level, its stationary variance is 1 + sigma^2 (step size to zero)."""
    sigma, n = 1.0, 2_000
    refinement = Refinement(
        sampler="langevin", n_levels=1, sigma_max=sigma, n_repeats=500, step_size=0.01
    )
    stream = torch.Generator().manual_seed(3)
    noise = torch.randn(n_draws(refinement), n, 3, generator=stream)
    found = sample(lambda w, s: w / (1.0 + s * s), noise, refinement)
    variance, count = 1.0 + sigma**2, found.numel()
    # Euler's rule widens the stationary state by 1 / (1 - step / (2 variance))
    expected = variance / (1.0 - refinement.step_size / (2.0 * variance))
    error = expected * (2.0 / count) ** 0.5
    assert abs(float(found.square().mean()) - expected) < 4.0 * error
    start = float(noise[0].square().mean())
    assert abs(start - expected) > 4.0 * error  # it had to move
