"""Correlation times and errors of processes with a closed form."""

import numpy as np
import pytest

from cgml.observables import statistics


def autoregressive(rho: float, shape: tuple[int, int], seed: int) -> np.ndarray:
    """First-order process of unit variance: C(k) = rho^k."""
    generator = np.random.default_rng(seed)
    series = np.empty(shape)
    series[:, 0] = generator.normal(size=shape[0])
    kicks = np.sqrt(1.0 - rho**2) * generator.normal(size=shape)
    for k in range(1, shape[1]):
        series[:, k] = rho * series[:, k - 1] + kicks[:, k]
    return series


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_integrated_time(rho):
    exact = 0.5 + rho / (1.0 - rho)
    result = statistics.integrated_time(autoregressive(rho, (4, 20000), 3))
    assert abs(result.value - exact) < 4.0 * result.error
    assert result.error < 0.1 * exact


def test_relaxation_time():
    runs = autoregressive(0.95, (200, 4000), 8)
    times = np.array([statistics.relaxation_time(run, 0.0) for run in runs])
    exact = -1.0 / np.log(0.95)
    error = times.std(ddof=1) / np.sqrt(200)
    assert error < 0.02 * exact
    assert abs(times.mean() - exact) < 4.0 * error


def test_errors_are_the_spread_of_repeated_measurements():
    runs = autoregressive(0.9, (200, 2000), 11)
    estimates = [statistics.mean_estimate(run) for run in runs]
    spread = np.std([item.value for item in estimates], ddof=1)
    exact = np.sqrt(1.9 / 0.1 / 2000)  # sqrt(2 tau / N), tau = (1 + rho)/(1 - rho)/2
    assert abs(spread - exact) < 4.0 * exact / np.sqrt(2 * 199)
    claimed = np.array([item.error for item in estimates])
    assert abs(claimed.mean() - exact) < 4.0 * claimed.std(ddof=1) / np.sqrt(200)


def test_error_of_the_integrated_time_is_its_spread():
    runs = autoregressive(0.8, (600, 4000), 12)
    estimates = [statistics.integrated_time(run) for run in runs]
    spread = np.std([item.value for item in estimates], ddof=1)
    claimed = np.array([item.error for item in estimates])
    error = np.hypot(spread / np.sqrt(2 * 599), claimed.std(ddof=1) / np.sqrt(600))
    # the formula is that of a wide window: at five times it claims a seventh too much
    assert -4.0 * error < claimed.mean() - spread < spread / 7.0 + 4.0 * error


def test_a_correlated_series_is_not_taken_for_independent_frames():
    series = autoregressive(0.9, (1, 5000), 2)
    naive = series.std() / np.sqrt(5000)
    assert statistics.mean_estimate(series).error > 3.0 * naive
