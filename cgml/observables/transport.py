r"""Mean squared displacement and diffusivity.

Positions are unwrapped, (n_frames, n, 3) or (n_runs, n_frames, n, 3) nm. Errors come
from units taken as independent: every particle of every run, cut into n_blocks pieces
of time where there are few particles. With n units and their curves :math:`m_i`, the
standard error of anything linear in the curve is
:math:`\sqrt{\sum_i (x_i - \bar{x})^2 / (n (n - 1))}`. Whatever correlation one
particle has in time is thereby counted, that between particles is not (in melts of 24
ions and 24 chains, blocks of time of all particles together gave the same errors to a
tenth on average).

References:
    Calandrini et al., Collection SFN 12, 201 (2011), section 4.2.1, for the sum over
    all time origins by Fourier transform; Allen and Tildesley, Computer Simulation of
    Liquids, 2nd ed. (2017), section 8.2, for the Einstein relation.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from cgml.molecules.centres import centre_of_mass
from cgml.observables.statistics import Estimate
from cgml.observables.structure import check_runs

CHUNK = 256  # paths transformed at once

Floats = NDArray[np.float64]
Window = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Displacement:
    """A mean squared displacement.

    Attributes:
        lags: (n_lags,) ps, increasing, positive.
        values: over all time origins, (n_lags,) nm^2.
        units: the same of each independent unit, (n_units, n_lags) nm^2.
    """

    lags: Floats
    values: Floats
    units: Floats

    @property
    def errors(self) -> Floats:
        """Standard errors, (n_lags,) nm^2; NaN for a single unit."""
        return _spread(self.units)

    def at(self, lags: ArrayLike) -> "Displacement":
        """Interpolate, linearly between logarithms.

        Args:
            lags: (n,) ps, within those known.

        Raises:
            ValueError: a lag outside, or a displacement that is not positive.
        """
        wanted = np.asarray(lags, dtype=np.float64)
        low, high = self.lags[0] * (1 - 1e-9), self.lags[-1] * (1 + 1e-9)
        if not ((wanted >= low) & (wanted <= high)).all():
            raise ValueError(
                f"lags of {self.lags[0]:g} to {self.lags[-1]:g} ps are known, asked "
                f"for {wanted.min():g} to {wanted.max():g} ps"
            )
        if not (self.values > 0.0).all():
            raise ValueError(
                "positive displacements are required, the smallest is "
                f"{self.values.min():g} nm^2"
            )
        if len(self.lags) == 1:
            return self._take(np.zeros(len(wanted), dtype=np.int64), wanted)
        after = np.clip(np.searchsorted(self.lags, wanted), 1, len(self.lags) - 1)
        step = np.log(self.lags[after] / self.lags[after - 1])
        weight = np.clip(np.log(wanted / self.lags[after - 1]) / step, 0.0, 1.0)
        logs = np.log(self.values)
        values = np.exp((1 - weight) * logs[after - 1] + weight * logs[after])
        relative = self.units / self.values  # to first order, as the errors are
        mixed = (1 - weight) * relative[:, after - 1] + weight * relative[:, after]
        return Displacement(wanted, values, mixed * values)

    def _take(self, index: NDArray[np.int64], lags: Floats) -> "Displacement":
        return Displacement(lags, self.values[index], self.units[:, index])


class Diffusivity(NamedTuple):
    """A diffusivity and where it was read off.

    Attributes:
        value: nm^2/ps.
        error: standard error, nm^2/ps; NaN for a single unit.
        window: first and last lag of the fit, ps.
        slope: of the logarithm of the displacement there, over that of time.
        is_diffusive: whether the slope is within the tolerance of 1.
    """

    value: float
    error: float
    window: Window
    slope: float
    is_diffusive: bool

    @property
    def log10(self) -> Estimate:
        """Decimal logarithm and its standard error; NaN where it has none."""
        if not self.value > 0.0:
            return Estimate(math.nan, math.nan)
        return Estimate(
            math.log10(self.value), self.error / (self.value * math.log(10.0))
        )


def remove_drift(positions: ArrayLike, masses: ArrayLike | None = None) -> Floats:
    """Put the centre of mass of all beads at rest in the origin.

    Args:
        positions: of the whole system, unwrapped, (..., n, 3) nm.
        masses: (n,) Da; None: equal masses.

    Returns:
        (..., n, 3) nm.

    Raises:
        ValueError: numbers of positions and of masses differ.
    """
    points = np.asarray(positions, dtype=np.float64)
    centre = centre_of_mass(points, masses)
    return np.asarray(points - centre[..., None, :])


def mean_squared_displacement(
    positions: ArrayLike,
    time_step: float,
    *,
    longest: float | None = None,
    n_blocks: int = 1,
) -> Displacement:
    r"""Return :math:`\langle |r(t_0 + t) - r(t_0)|^2 \rangle` over all time origins.

    Args:
        positions: of the particles in question, unwrapped, drift removed,
            (n_frames, n, 3) or (n_runs, n_frames, n, 3) nm.
        time_step: time between frames, ps.
        longest: largest lag, ps; None: a quarter of a block.
        n_blocks: pieces of each run that count as independent units. 1 is right for
            many particles; more for few, much longer than the largest lag of interest.

    Returns:
        Lags from one frame on. The value uses all origins of the whole runs, its
        error the blocks.

    Raises:
        ValueError: wrong shapes, or blocks shorter than the largest lag.
    """
    points = np.asarray(check_runs(positions), dtype=np.float64)
    n_frames = points.shape[1] // n_blocks if n_blocks >= 1 else 0
    n_lags = (
        n_frames // 4 if longest is None else math.floor(longest / time_step + 1e-6)
    )
    if not 1 <= n_lags < n_frames:
        raise ValueError(
            f"between 1 and {n_frames - 1} lags are required for {n_blocks} blocks of "
            f"{n_frames} frames {time_step:g} ps apart, got {n_lags}"
        )
    paths = points.transpose(0, 2, 1, 3).reshape(-1, points.shape[1], 3)
    blocks = paths[:, : n_blocks * n_frames].reshape(-1, n_frames, 3)
    units = _squared_displacements(blocks, n_lags)
    whole = units if n_blocks == 1 else _squared_displacements(paths, n_lags)
    lags = time_step * np.arange(1, n_lags + 1)
    return Displacement(lags, whole.mean(axis=0), units)


def diffusive_window(
    displacement: Displacement, tolerance: float = 0.1
) -> tuple[Window, float]:
    """Find the lags over which the displacement grows in proportion to time.

    The slope of log over log is fitted in windows from t to 2 t, four to the octave.
    The longest unbroken row of windows within the tolerance of 1 is joined; where
    there is none, the one window that comes nearest is taken.

    Args:
        displacement: with positive values.
        tolerance: of the slope.

    Returns:
        First and last lag, ps, and the slope between them.

    Raises:
        ValueError: fewer than 3 lags.
    """
    lags = displacement.lags
    n_octaves = math.log2(lags[-1] / (2.0 * lags[0]) * (1 + 1e-9))
    if len(lags) < 3 or n_octaves < 0.0:
        raise ValueError(
            f"lags that span a factor of 2 are required to find a window, got "
            f"{len(lags)} from {lags[0]:g} to {lags[-1]:g} ps"
        )
    starts = lags[-1] / 2.0 * 2.0 ** (-0.25 * np.arange(int(4 * n_octaves), -1, -1))
    windows = [(start, 2.0 * start) for start in starts if (2 * start) >= lags[2]]
    slopes = np.array([_slope(displacement, window) for window in windows])
    good = np.flatnonzero(np.abs(slopes - 1.0) <= tolerance)
    if not len(good):
        best = int(np.argmin(np.abs(slopes - 1.0)))
        return windows[best], float(slopes[best])
    rows = np.split(good, np.flatnonzero(np.diff(good) > 1) + 1)
    row = max(reversed(rows), key=len)
    window = (windows[row[0]][0], windows[row[-1]][1])
    return window, _slope(displacement, window)


def diffusivity(
    displacement: Displacement,
    *,
    window: Window | None = None,
    tolerance: float = 0.1,
) -> Diffusivity:
    r"""Fit :math:`\langle \Delta r^2 \rangle = 6 D t + c` by least squares.

    The slope is linear in the curve: :math:`D = \sum_k w_k m(t_k) / 6` with
    :math:`w_k = (t_k - \bar{t}) / \sum_k (t_k - \bar{t})^2`. So each unit has a D of
    its own, and the error is the standard error of their mean.

    Args:
        displacement: of particles in three dimensions.
        window: first and last lag of the fit, ps; None: `diffusive_window`.
        tolerance: of the slope of log over log to be called diffusive.

    Raises:
        ValueError: fewer than two lags in the window.
    """
    if window is None:
        window, _ = diffusive_window(displacement, tolerance)
    inside = _inside(displacement.lags, window)
    if inside.sum() < 2:
        raise ValueError(
            f"two lags or more are required in the window of {window[0]:g} to "
            f"{window[1]:g} ps, {len(inside)} lags up to {displacement.lags[-1]:g} ps "
            f"have {inside.sum()} there"
        )
    lags = displacement.lags[inside]
    weights = (lags - lags.mean()) / (6.0 * ((lags - lags.mean()) ** 2).sum())
    slope = _slope(displacement, window)
    return Diffusivity(
        float(displacement.values[inside] @ weights),
        float(_spread(displacement.units[:, inside] @ weights)),
        (float(lags[0]), float(lags[-1])),
        slope,
        abs(slope - 1.0) <= tolerance,
    )


def _squared_displacements(paths: Floats, n_lags: int) -> Floats:
    """All time origins: (n_paths, n_frames, 3) to (n_paths, n_lags), lags 1, 2, ...

    The sum over origins of |r(t + k)|^2 + |r(t)|^2 - 2 r(t).r(t + k).
    """
    n_frames = paths.shape[1]
    size = fft.next_fast_len(n_frames + n_lags, real=True)
    pairs = n_frames - np.arange(1, n_lags + 1)
    result = np.empty((len(paths), n_lags))
    for start in range(0, len(paths), CHUNK):
        path = paths[start : start + CHUNK]
        path = path - path.mean(axis=1, keepdims=True)
        spectrum = np.abs(fft.rfft(path, size, axis=1)) ** 2
        product = fft.irfft(spectrum.sum(axis=2), size, axis=1)[:, 1 : n_lags + 1]
        running = np.cumsum((path**2).sum(axis=2), axis=1)  # (n_paths, n_frames)
        early = running[:, -2 : -n_lags - 2 : -1]  # up to frame n_frames - 1 - k
        late = running[:, -1:] - running[:, :n_lags]  # from frame k on
        result[start : start + CHUNK] = (early + late - 2.0 * product) / pairs
    return np.maximum(result, 0.0)  # rounding of paths that stand still


def _spread(units: Floats) -> Floats:
    """Standard error of the mean over the first axis."""
    n = len(units)
    if n < 2:
        return np.full(units.shape[1:], np.nan)
    return np.asarray(units.std(axis=0, ddof=1) / np.sqrt(n))


def _inside(lags: Floats, window: Window) -> NDArray[np.bool_]:
    return (lags >= window[0] * (1 - 1e-9)) & (lags <= window[1] * (1 + 1e-9))


def _slope(displacement: Displacement, window: Window) -> float:
    """Fit the slope of log over log; NaN where the displacement is not positive."""
    inside = _inside(displacement.lags, window)
    values = displacement.values[inside]
    if not (values > 0.0).all():
        return math.nan
    return float(np.polyfit(np.log(displacement.lags[inside]), np.log(values), 1)[0])
