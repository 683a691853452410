"""Peaks and minima of a radial distribution."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from cgml.observables.statistics import Estimate
from cgml.observables.structure import RadialDistribution

N_SMOOTH = 3
"""Bins of the running mean that hides the noise of g from whoever looks for minima."""

STANDS_OUT = 0.1
"""Part of the largest g by which a peak is above what is around it."""

RISE = 0.1
"""By how much g is higher somewhere behind a minimum."""


class Peak(NamedTuple):
    """The highest peak of a radial distribution.

    Attributes:
        distance: nm.
        height: g there, and its standard error.
    """

    distance: float
    height: Estimate


def highest_peak(rdf: RadialDistribution) -> Peak:
    """Find the highest peak, between bins by the parabola through the three at its top.

    Args:
        rdf: of one pair of groups.
    """
    g, place = rdf.values, int(np.argmax(rdf.values))
    shift = 0.0
    if 0 < place < len(g) - 1:
        left, top, right = g[place - 1 : place + 2]
        curvature = left - 2.0 * top + right
        shift = 0.5 * (left - right) / curvature if curvature < 0.0 else 0.0
        height = top - 0.25 * (left - right) * shift
    else:
        height = g[place]
    width = float(rdf.distances[1] - rdf.distances[0])
    error = float(rdf.errors[place])
    distance = float(rdf.distances[place]) + shift * width
    return Peak(distance, Estimate(float(height), error))


def first_minimum(rdf: RadialDistribution) -> float:
    """Return the distance of the first minimum, after the first peak.

    A peak stands out from what is on both sides of it by a tenth of the largest g; the
    minimum is the lowest place before the next one.

    Args:
        rdf: of one pair of groups.

    Returns:
        nm; NaN where g has no peak, or does not rise again within its range by 0.1 and
        three errors.
    """
    g = uniform_filter1d(rdf.values, N_SMOOTH, mode="nearest")
    peaks, _ = find_peaks(g, prominence=max(STANDS_OUT * float(g.max()), 1e-9))
    if not len(peaks):
        return float("nan")
    end = int(peaks[1]) + 1 if len(peaks) > 1 else len(g)
    place = int(peaks[0]) + int(np.argmin(g[peaks[0] : end]))
    noise = float(rdf.errors[place]) / np.sqrt(N_SMOOTH)
    rises = float(g[place:].max() - g[place]) > max(RISE, 3.0 * np.nan_to_num(noise))
    return float(rdf.distances[place]) if rises else float("nan")
