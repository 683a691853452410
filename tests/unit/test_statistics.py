"""Statistics against naive re-implementations and closed forms."""

import numpy as np
import pytest

from cgml.observables import statistics
from cgml.observables.statistics import Estimate


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def naive_autocovariance(runs, mean):
    n = runs.shape[1]
    delta = runs - mean
    return np.array([np.mean(delta[:, : n - lag] * delta[:, lag:]) for lag in range(n)])


@pytest.mark.parametrize("shape", [(1, 40), (3, 37)])
def test_autocovariance_is_the_naive_one(generator, shape):
    runs = generator.normal(size=shape).cumsum(axis=1)
    expected = naive_autocovariance(runs, runs.mean())
    np.testing.assert_allclose(statistics.autocovariance(runs), expected, atol=1e-10)


def test_autocovariance_takes_a_known_mean(generator):
    runs = generator.normal(size=(2, 30)) + 4.0
    expected = naive_autocovariance(runs, 4.0)
    result = statistics.autocovariance(runs, 4.0)
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_one_run_may_be_flat(generator):
    series = generator.normal(size=20)
    np.testing.assert_array_equal(
        statistics.autocorrelation(series), statistics.autocorrelation(series[None])
    )


def test_relaxation_time_interpolates():
    series = np.sin(np.arange(400_000) * 2 * np.pi / 100)  # C(t) = cos(2 pi t / 100)
    expected = np.arccos(np.exp(-1.0)) * 100 / (2 * np.pi)
    assert statistics.relaxation_time(series) == pytest.approx(expected, abs=0.005)


def test_relaxation_time_that_never_comes_is_nan():
    assert np.isnan(statistics.relaxation_time([0.0, 1.0], mean=-100.0))


def test_integrated_time_is_not_negative(generator):
    series = np.tile([1.0, -1.0], 100) + 0.01 * generator.normal(size=200)
    assert statistics.integrated_time(series).value == 1e-3


def test_mean_of_a_constant_has_no_error():
    assert statistics.mean_estimate([3.0, 3.0, 3.0]) == Estimate(3.0, 0.0)


def test_mean_of_white_noise_has_the_textbook_error(generator):
    series = generator.normal(size=20000)
    error = statistics.mean_estimate(series).error
    time = statistics.integrated_time(series)  # the error goes with its square root
    relative = 0.5 * time.error / time.value
    assert error == pytest.approx(1 / np.sqrt(20000), rel=4.0 * relative)
    assert relative < 0.02


def test_earth_movers_distance_of_a_shift(generator):
    values = generator.normal(size=(4, 50))
    assert statistics.earth_movers_distance(values, values + 0.7) == pytest.approx(0.7)


def test_divergence_of_disjoint_histograms_is_log_2():
    distance = statistics.jensen_shannon_divergence([[3, 0]], [[0, 5]])
    assert distance == pytest.approx(np.log(2.0))


def test_divergence_is_the_naive_one(generator):
    p, q = generator.random((2, 6, 6))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    expected = ((p * np.log(p / middle)).sum() + (q * np.log(q / middle)).sum()) / 2
    result = statistics.jensen_shannon_divergence(7 * p, 3 * q)
    assert result == pytest.approx(expected)


def test_bootstrap_error_of_a_mean(generator):
    values = generator.normal(size=400)
    error = statistics.bootstrap_error(np.mean, values, generator=generator)
    assert error == pytest.approx(values.std() / 20.0, rel=4.0 / np.sqrt(2 * 499))


def test_bootstrap_draws_pairs_together(generator):
    values = generator.normal(size=50)
    error = statistics.bootstrap_error(
        lambda a, b: float(np.mean(a - b)), values, values + 1.0, generator=generator
    )
    assert error == pytest.approx(0.0, abs=1e-12)


def test_bootstrap_of_two_pairs_is_nan(generator):
    error = statistics.bootstrap_error(np.mean, [1.0, 2.0], generator=generator)
    assert np.isnan(error)


def test_scores_of_known_pairs():
    reference, predicted = np.array([10.0, 20.0, 40.0]), np.array([11.0, 10.0, 40.0])
    assert statistics.relative_error(reference, predicted) == pytest.approx(0.2)
    log = (np.log10(1.1) + np.log10(2.0)) / 3
    assert statistics.log10_error(reference, predicted) == pytest.approx(log)
    assert statistics.median_factor(reference, predicted) == pytest.approx(1.1)
    spread = ((reference - reference.mean()) ** 2).sum()
    assert statistics.r_squared(reference, predicted) == pytest.approx(1 - 101 / spread)
    assert statistics.spearman(reference, predicted) == pytest.approx(0.5)


def test_correlation_without_spread_is_nan():
    flat, varied = np.ones(4), np.arange(4.0)
    assert np.isnan(statistics.correlation(flat, varied))
    assert np.isnan(statistics.spearman(varied, flat))
    assert np.isnan(statistics.r_squared(flat, varied))


def test_json_has_null_for_nan():
    result = statistics.as_json({"a": Estimate(1.0, float("nan"))})
    assert result == {"a": {"value": 1.0, "error": None}}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: statistics.autocovariance([1.0]), r"two frames.*shape \(1,\)"),
        (lambda: statistics.autocovariance(np.zeros((2, 2, 2))), r"shape \(2, 2, 2\)"),
        (lambda: statistics.mean_estimate([1.0, np.nan]), "run 0 frame 1 is nan"),
        (lambda: statistics.integrated_time([2.0, 2.0]), "all its values are 2"),
        (
            lambda: statistics.jensen_shannon_divergence([1], [1, 2]),
            r"shapes \(1,\) and \(2,\)",
        ),
        (lambda: statistics.jensen_shannon_divergence([0], [1]), "a sum of 0"),
        (lambda: statistics.jensen_shannon_divergence([2], [-1]), "smallest of -1"),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
