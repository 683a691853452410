r"""Correlation times, honest errors, and distances between distributions.

A series is (n_frames,) or (n_runs, n_frames): independent runs of one system at one
spacing. Times are in frames; multiply by the spacing.

The integrated time is :math:`\tau = \int_0^\infty C(t)\,dt`, by the trapezium rule
:math:`\tau = 1/2 + \sum_{k \ge 1} C(k)`, so the variance of a mean over N frames is
:math:`2 \tau \sigma^2 / N`, and white noise has :math:`\tau = 1/2`.

References:
    Sokal, Monte Carlo methods in statistical mechanics (1997), section 3, for the
    self-consistent window; Wolff, Comput. Phys. Commun. 156, 143 (2004), eq. 42, for
    the error of the integrated time.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft
from scipy.spatial.distance import jensenshannon
from scipy.stats import rankdata, wasserstein_distance
from sklearn.metrics import r2_score

WINDOW = 5.0
"""Self-consistent window in units of the integrated time (Sokal: 4 to 10)."""

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A value and its standard error, both in the unit of the value."""

    value: float
    error: float


def autocovariance(series: ArrayLike, mean: float | None = None) -> Floats:
    r"""Return :math:`\langle \delta a(0)\,\delta a(k) \rangle` by FFT.

    Args:
        series: (n_frames,) or (n_runs, n_frames).
        mean: the mean where it is known; None: the mean over all runs.

    Returns:
        (n_frames,), each lag averaged over all its n_frames - k pairs.

    Raises:
        ValueError: fewer than two frames, or a value that is not finite.
    """
    runs = _runs(series)
    delta = runs - (runs.mean() if mean is None else mean)
    n_frames = runs.shape[1]
    size = fft.next_fast_len(2 * n_frames, real=True)
    spectrum = np.abs(fft.rfft(delta, size, axis=1)) ** 2
    total = fft.irfft(spectrum, size, axis=1)[:, :n_frames].mean(axis=0)
    return np.asarray(total / np.arange(n_frames, 0, -1), dtype=np.float64)


def autocorrelation(series: ArrayLike, mean: float | None = None) -> Floats:
    """Return the normalised autocorrelation, 1 at lag 0.

    Args:
        series: (n_frames,) or (n_runs, n_frames).
        mean: the mean where it is known; None: the mean over all runs.

    Returns:
        (n_frames,).

    Raises:
        ValueError: the series does not vary, is too short, or is not finite.

    Example:
        >>> autocorrelation([1.0, -1.0, 1.0, -1.0]).round(3).tolist()
        [1.0, -1.0, 1.0, -1.0]
    """
    covariance = autocovariance(series, mean)
    values = np.asarray(series, dtype=np.float64)
    if covariance[0] <= (1e-12 * np.abs(values).max()) ** 2:
        raise ValueError(
            "a series that varies is required, all its values are "
            f"{values.flat[0]:g}: it has no correlation time"
        )
    return np.asarray(covariance / covariance[0])


def integrate(correlation: ArrayLike, window: float = WINDOW) -> tuple[float, int]:
    """Integrate a correlation over a self-consistent window.

    Args:
        correlation: (n_frames,), 1 at lag 0.
        window: in units of the integral.

    Returns:
        Integral by the trapezium rule, frames, at least 1e-3; and the last lag taken.
    """
    running = np.cumsum(correlation) - 0.5
    lags = np.arange(len(running))
    closed = np.flatnonzero(lags >= window * running)
    stop = int(closed[0]) if len(closed) else len(running) - 1
    return max(float(running[stop]), 1e-3), stop


def integrated_time(
    series: ArrayLike, *, window: float = WINDOW, mean: float | None = None
) -> Estimate:
    """Integrate the autocorrelation over a self-consistent window.

    The window M is the first lag that is at least `window` integrated times.

    Args:
        series: (n_frames,) or (n_runs, n_frames).
        window: M in units of the integrated time.
        mean: the mean where it is known; None: the mean over all runs.

    Returns:
        Integrated time and its standard error, frames. At least 1e-3, where noise or
        anticorrelation would leave nothing. Of a series shorter than some 50
        integrated times the value is a lower bound.
    """
    value, stop = integrate(autocorrelation(series, mean), window)
    variance = 4.0 * (stop + 0.5 - value) / np.size(series)
    return Estimate(value, value * math.sqrt(max(variance, 0.0)))


def relaxation_time(series: ArrayLike, mean: float | None = None) -> float:
    """Return the lag at which the autocorrelation first falls to 1/e.

    Args:
        series: (n_frames,) or (n_runs, n_frames).
        mean: the mean where it is known; None: the mean over all runs.

    Returns:
        Lag in frames, interpolated linearly; NaN where it never falls so far.
    """
    return fall(autocorrelation(series, mean))


def fall(correlation: ArrayLike) -> float:
    """Return the lag at which a correlation, 1 at lag 0, first is 1/e; NaN: at none.

    Example:
        >>> round(fall([1.0, 0.5, 0.0]), 3)
        1.264
    """
    values = np.asarray(correlation, dtype=np.float64)
    below = np.flatnonzero(values <= np.exp(-1.0))
    if not len(below):
        return float("nan")
    after = int(below[0])
    drop = values[after - 1] - values[after]
    return float(after - 1 + (values[after - 1] - np.exp(-1.0)) / drop)


def mean_estimate(series: ArrayLike) -> Estimate:
    """Return the mean and its standard error, corrected for correlation.

    Args:
        series: (n_frames,) or (n_runs, n_frames).

    Returns:
        Mean, and sqrt(2 tau / N) times the standard deviation; with no error where
        the series does not vary.
    """
    runs = _runs(series)
    mean, deviation = float(runs.mean()), float(runs.std())
    if deviation <= 1e-12 * np.abs(runs).max():
        return Estimate(mean, 0.0)
    frames = max(2.0 * integrated_time(runs).value, 1.0)
    independent = max(runs.size / frames, 1.0)
    return Estimate(mean, deviation / float(np.sqrt(independent)))


def earth_movers_distance(values: ArrayLike, others: ArrayLike) -> float:
    """Return the Wasserstein-1 distance of two samples, in their own unit."""
    first = np.ravel(np.asarray(values, dtype=np.float64))
    second = np.ravel(np.asarray(others, dtype=np.float64))
    return float(wasserstein_distance(first, second))


def jensen_shannon_divergence(histogram: ArrayLike, other: ArrayLike) -> float:
    """Return the Jensen-Shannon divergence of two histograms, nats (0 to ln 2).

    Args:
        histogram: counts or probabilities, any shape, not negative, not all zero.
        other: the same shape; each is normalised by itself.

    Raises:
        ValueError: shapes differ, or one is empty or negative.
    """
    first = np.asarray(histogram, dtype=np.float64)
    second = np.asarray(other, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(
            "two histograms over the same bins are required, got shapes "
            f"{first.shape} and {second.shape}"
        )
    for counts in (first, second):
        if counts.size == 0 or counts.min() < 0.0 or counts.sum() <= 0.0:
            raise ValueError(
                "a histogram needs counts that are not negative and not all zero, got "
                f"a sum of {counts.sum():g} and a smallest of {counts.min(initial=0):g}"
            )
    return float(jensenshannon(first.ravel(), second.ravel()) ** 2)


def bootstrap_error(
    statistic: Callable[..., float],
    *samples: ArrayLike,
    generator: np.random.Generator,
    n_resamples: int = 500,
) -> float:
    """Return the standard error of a statistic of paired samples.

    Args:
        statistic: function of as many arrays as there are samples.
        samples: (n,) or (n, ...) each, drawn together.
        generator: where the resamples come from.
        n_resamples: number of resamples.

    Returns:
        Standard deviation over the resamples; resamples without a finite statistic
        (all pairs the same) are left out; NaN for fewer than three pairs.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    n = len(arrays[0])
    if n < 3:
        return float("nan")
    index = generator.integers(n, size=(n_resamples, n))
    index = index[[len(set(row.tolist())) > 1 for row in index]]
    values = np.array([statistic(*(a[row] for a in arrays)) for row in index])
    return float(np.std(values[np.isfinite(values)], ddof=1))


def jackknife_errors(left: ArrayLike) -> Floats:
    """Return standard errors from estimates with one unit left out each.

    Args:
        left: (n_units, ...).

    Returns:
        (...); NaN for fewer than two units.
    """
    values = np.asarray(left, dtype=np.float64)
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(np.sqrt(len(values) - 1) * values.std(axis=0))


def relative_error(reference: Floats, predicted: Floats) -> float:
    """Return the mean absolute relative error."""
    return float(np.mean(np.abs(predicted - reference) / np.abs(reference)))


def log10_error(reference: Floats, predicted: Floats) -> float:
    """Return the mean absolute error of the decimal logarithm."""
    return float(np.mean(np.abs(np.log10(predicted) - np.log10(reference))))


def median_factor(reference: Floats, predicted: Floats) -> float:
    """Return the median factor (1 or more) between the two."""
    return float(10.0 ** np.median(np.abs(np.log10(predicted) - np.log10(reference))))


def r_squared(reference: Floats, predicted: Floats) -> float:
    """Return the coefficient of determination; NaN for a reference without spread."""
    if len(reference) < 2 or np.ptp(reference) == 0.0:
        return float("nan")
    return float(r2_score(reference, predicted))


def correlation(reference: Floats, predicted: Floats) -> float:
    """Return Pearson's correlation; NaN where one side has no spread."""
    if len(reference) < 2 or min(np.ptp(reference), np.ptp(predicted)) == 0.0:
        return float("nan")
    return float(np.corrcoef(reference, predicted)[0, 1])


def spearman(reference: Floats, predicted: Floats) -> float:
    """Return Spearman's rank correlation; NaN where one side has no spread."""
    return correlation(rankdata(reference), rankdata(predicted))


def as_json(figures: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Return figures as JSON has them: NaN becomes null."""
    return {
        name: {
            "value": estimate.value if np.isfinite(estimate.value) else None,
            "error": estimate.error if np.isfinite(estimate.error) else None,
        }
        for name, estimate in figures.items()
    }


def _runs(series: ArrayLike) -> Floats:
    """Return (n_runs, n_frames), checked."""
    runs = np.atleast_2d(np.asarray(series, dtype=np.float64))
    if runs.ndim != 2 or runs.shape[1] < 2:
        raise ValueError(
            "a series of at least two frames, (n_frames,) or (n_runs, n_frames), is "
            f"required, got shape {np.shape(series)}"
        )
    if not np.isfinite(runs).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(runs))[0])
        raise ValueError(
            f"a series must be finite, run {place[0]} frame {place[1]} is {runs[place]}"
        )
    return runs
