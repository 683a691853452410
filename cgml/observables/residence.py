r"""How long two beads stay together.

With h(t) = 1 while a pair of beads is within a distance and 0 otherwise, over all
pairs and time origins, :math:`C(t) = \langle h(0) h(t) \rangle / \langle h \rangle`
(intermittent: a pair that comes back counts again). It ends at
:math:`p = \langle h \rangle`, the chance to find two beads together, and the lifetime
is :math:`\int_0^\infty (C(t) - p) / (1 - p)\,dt`.

Integrals stop at a self-consistent window (`statistics.integrate`). Errors are
jackknives over the beads of the first group.

References:
    Rapaport, Mol. Phys. 50, 1151 (1983); Luzar and Chandler, Nature 379, 55 (1996).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from cgml.observables import statistics
from cgml.observables.statistics import Estimate
from cgml.observables.structure import (
    Groups,
    check_groups,
    check_molecules,
    check_runs,
    count_pairs,
    neighbours,
)

CHUNK = 4096  # pairs transformed at once

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Contacts:
    """All pairs that ever come together.

    Attributes:
        units: bead of the first group (and run) that each belongs to, (n_pairs,).
        is_close: (n_pairs, n_frames).
        n_units: beads of the first group, times runs.
        n_possible: pairs there are, met or not, times runs.
        others: the same of the second group, of n_others, as `units`; or not known.
    """

    units: NDArray[np.int64]
    is_close: NDArray[np.bool_]
    n_units: int
    n_possible: int
    others: NDArray[np.int64] | None = None
    n_others: int = 0

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Coordination number of each bead of the first group, (n_units, n_frames)."""
        counts = np.zeros((self.n_units, self.is_close.shape[1]), dtype=np.int64)
        np.add.at(counts, self.units, self.is_close)
        return counts

    @property
    def scatter(self) -> float:
        """Relative standard error of the number of contacts by how much beads differ.

        Beads that keep their surroundings tell it where time does not. That of the
        group in which they differ less: if some of one group have all contacts, and
        others none, that does not say how many there are.
        """
        shares, found = self.is_close.mean(axis=1), []
        for owner, n in ((self.units, self.n_units), (self.others, self.n_others)):
            if owner is not None and n > 1 and shares.any():
                sums = np.bincount(owner, shares, minlength=n)
                found.append(float(sums.std(ddof=1) / np.sqrt(n) / sums.mean()))
        return min(found, default=0.0)


class Residence(NamedTuple):
    """A correlation of contacts.

    Attributes:
        lags: (n_lags,) ps, from 0 on.
        values: 1 at lag 0, (n_lags,).
        errors: standard errors, (n_lags,).
        chance: what is left after a long time.
        lifetime: ps.
    """

    lags: Floats
    values: Floats
    errors: Floats
    chance: float
    lifetime: Estimate


def find_contacts(
    frames: ArrayLike,
    box: ArrayLike,
    *,
    cutoff: float,
    pair: Groups,
    molecules: ArrayLike | None = None,
    hosts: bool = False,
) -> Contacts:
    """Find the pairs of two groups within a distance, and when they are.

    Args:
        frames: (n_frames, n, 3) or (n_runs, n_frames, n, 3) nm, evenly spaced.
        box: (3, 3) row vectors, nm, reduced triclinic.
        cutoff: nm.
        pair: two groups.
        molecules: molecule of each bead, (n,), 0 or more; pairs within a molecule are
            left out. None: all pairs count.
        hosts: pair beads of the first group with whole molecules of the second: they
            are together while any of its beads is within the distance.

    Raises:
        ValueError: wrong shapes, a box too narrow, no pair at all, or hosts without
            molecules.
    """
    points = check_runs(frames)
    n_runs, n_frames, n = points.shape[:3]
    first, second = check_groups(pair, n)
    label = check_molecules(molecules, n)
    partners = np.arange(n)
    if hosts:
        if label is None:
            raise ValueError("molecules are required to find hosts, got None")
        _, partners = np.unique(label, return_inverse=True)
    keys, times = [], []
    for k, found in enumerate(neighbours(points, box, cutoff, (first, second))):
        run, frame = divmod(k, n_frames)
        met = found if label is None else found.between(label)
        keys.append((run * n + met.first) * n + partners[met.second])
        times.append(np.full(len(met.first), frame))
    unique, row = np.unique(np.concatenate(keys), return_inverse=True)
    is_close = np.zeros((len(unique), n_frames), dtype=np.bool_)
    is_close[row, np.concatenate(times)] = True
    place = np.full(n, -1)
    place[first] = np.arange(len(first))
    run, bead = np.divmod(unique // n, n)
    which, ones = np.unique(partners[second], return_index=True)
    n_pairs = count_pairs((first, second[ones]), label)
    return Contacts(
        run * len(first) + place[bead],
        is_close,
        n_runs * len(first),
        n_runs * n_pairs,
        run * len(which) + np.searchsorted(which, unique % n),
        n_runs * len(which),
    )


def intermittent(contacts: Contacts, time_step: float) -> Residence:
    """Correlate contacts, whatever happens in between.

    Args:
        contacts: from `find_contacts`.
        time_step: time between frames, ps.

    Raises:
        ValueError: no pair ever meets.
    """
    if not contacts.is_close.any():
        raise ValueError(
            "pairs that meet are required for a lifetime, none of the "
            f"{contacts.n_possible} is ever within the distance"
        )
    n_frames = contacts.is_close.shape[1]
    size = fft.next_fast_len(2 * n_frames, real=True)
    total = np.zeros((contacts.n_units, n_frames))
    for start in range(0, len(contacts.units), CHUNK):
        part = slice(start, start + CHUNK)
        series = contacts.is_close[part].astype(np.float64)
        spectrum = np.abs(fft.rfft(series, size, axis=1)) ** 2
        pairs = fft.irfft(spectrum, size, axis=1)[:, :n_frames]
        np.add.at(total, contacts.units[part], pairs)
    total /= np.arange(n_frames, 0, -1)  # <h h> of each unit, times its pairs
    possible = contacts.n_possible / contacts.n_units

    def measure(sums: Floats, n_units: int) -> tuple[Floats, float, float]:
        chance = float(sums[0] / (possible * n_units))
        values = sums / sums[0]
        if chance >= 1.0:
            return values, chance, np.nan
        time, _ = statistics.integrate((values - chance) / (1.0 - chance))
        return values, chance, time

    values, chance, lifetime = measure(total.sum(axis=0), len(total))
    left = [
        measure(total.sum(axis=0) - one, len(total) - 1)
        for one in total
        if one[0] < total[:, 0].sum() * (1 - 1e-12)
    ]
    noise = statistics.jackknife_errors([item[0] for item in left])
    error = float(statistics.jackknife_errors([item[2] for item in left]))
    return Residence(
        time_step * np.arange(n_frames, dtype=np.float64),
        values,
        noise if len(left) else np.full(n_frames, np.nan),
        chance,
        Estimate(lifetime * time_step, error * time_step),
    )


def departures(contacts: Contacts, time_step: float, patience: float) -> Estimate:
    """Count how often beads leave for good what they were with.

    Absences shorter than the patience are no departure, and stays shorter than it are
    none.

    Args:
        contacts: from `find_contacts`.
        time_step: time between frames, ps.
        patience: ps; rounded to frames, at least one.

    Returns:
        Departures per bead of the first group, 1/ps; the error is that of the mean
        over these beads, at least that of one departure of one of them (of no event
        in the time seen, one is still likely).
    """
    n = max(1, round(patience / time_step))
    along = np.ones((1, n), dtype=np.bool_)
    padded = np.pad(contacts.is_close, ((0, 0), (n, n)), mode="edge")
    lasting = ndimage.binary_opening(ndimage.binary_closing(padded, along), along)
    kept = lasting[:, n:-n]
    ends = (kept[:, :-1] & ~kept[:, 1:]).sum(axis=1)
    counts = np.bincount(contacts.units, ends, minlength=contacts.n_units)
    time = (contacts.is_close.shape[1] - 1) * time_step
    error = np.sqrt(max(counts.sum(), 1.0)) / len(counts)  # Poisson
    if len(counts) > 1:
        spread = counts.std(ddof=1) / np.sqrt(len(counts))
        error = max(spread, 1.0 / len(counts))
    return Estimate(float(counts.mean() / time), float(error / time))
