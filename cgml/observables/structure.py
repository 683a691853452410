r"""Who is how near to whom in a periodic box of several kinds of beads.

Frames are (n_frames, n, 3) or (n_runs, n_frames, n, 3) nm, wrapped or not; a group is
an array of bead indices, and a pair of groups is (first, second), all beads where it
is None. Neighbours come from freud, at a cost linear in the number of beads.

References:
    Ramasubramani et al., Comput. Phys. Commun. 254, 107275 (2020), for freud.
"""

from collections.abc import Iterator
from typing import NamedTuple

import freud
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgml.molecules.box import Box, check_box, widths

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Groups = tuple[ArrayLike, ArrayLike]


class RadialDistribution(NamedTuple):
    """A radial distribution function.

    Attributes:
        distances: bin centres, (n_bins,) nm.
        values: g(r), 1 for an ideal gas, (n_bins,).
        errors: standard errors from blocks of frames, (n_bins,); NaN for one block.
    """

    distances: Floats
    values: Floats
    errors: Floats


class Neighbours(NamedTuple):
    """Ordered pairs of one frame within a distance.

    Attributes:
        first: bead indices, (n_pairs,).
        second: bead indices, (n_pairs,).
        distances: (n_pairs,) nm.
    """

    first: Index
    second: Index
    distances: Floats

    def between(self, molecules: Index) -> "Neighbours":
        """Keep the pairs of different molecules, given that of each bead, (n,)."""
        kept = molecules[self.first] != molecules[self.second]
        return Neighbours(*(part[kept] for part in self))


def neighbours(
    frames: ArrayLike, box: ArrayLike, cutoff: float, pair: Groups | None = None
) -> Iterator[Neighbours]:
    """Find the ordered pairs within a cutoff, frame by frame, run after run.

    Args:
        frames: (n_frames, n, 3) or (n_runs, n_frames, n, 3) nm.
        box: (3, 3) row vectors, nm, reduced triclinic.
        cutoff: largest distance, nm, at most half the smallest width of the box.
        pair: two groups; a pair of beads in both comes in both orders.

    Yields:
        The pairs of each frame; a bead is no neighbour of itself.

    Raises:
        ValueError: wrong shapes, a box too narrow, a bead that does not exist.
    """
    points = check_runs(frames)
    vectors = check_cutoff(box, cutoff)
    first, second = check_groups(pair, points.shape[-2])
    cell = freud.box.Box.from_matrix(vectors.T)
    for frame in points.reshape(-1, *points.shape[-2:]):
        wrapped = cell.wrap(frame)
        query = freud.locality.AABBQuery(cell, wrapped[second])
        options = {"mode": "ball", "r_max": cutoff, "exclude_ii": False}
        found = query.query(wrapped[first], options).toNeighborList()
        i, j = first[found.query_point_indices], second[found.point_indices]
        other = i != j
        distances = np.asarray(found.distances, dtype=np.float64)
        yield Neighbours(i[other], j[other], distances[other])


def radial_distribution(
    frames: ArrayLike,
    box: ArrayLike,
    *,
    cutoff: float,
    pair: Groups | None = None,
    molecules: ArrayLike | None = None,
    n_bins: int = 100,
    n_blocks: int = 5,
) -> RadialDistribution:
    r"""Return the radial distribution function of two groups.

    .. math:: g(r) = \frac{V}{N_{pairs}} \frac{\langle n(r) \rangle}{v(r)}

    with n(r) pairs in the spherical shell of volume v(r), out of the :math:`N_{pairs}`
    that are admitted: an ideal gas has exactly 1, however few its beads.

    Args:
        frames: (n_frames, n, 3) or (n_runs, n_frames, n, 3) nm.
        box: (3, 3) row vectors, nm, reduced triclinic.
        cutoff: largest distance, nm, at most half the smallest width of the box.
        pair: two groups.
        molecules: molecule of each bead, (n,), 0 or more; pairs within a molecule are
            left out. None: all pairs count.
        n_bins: number of bins.
        n_blocks: blocks of each run for the errors, which hold where a block is much
            longer than the correlation of the structure.

    Raises:
        ValueError: wrong shapes, a box too narrow, no pair at all, or more blocks
            than frames.
    """
    points = check_runs(frames)
    groups = check_groups(pair, points.shape[2])
    label = check_molecules(molecules, points.shape[2])
    counts = np.empty((points.shape[0] * points.shape[1], n_bins))
    for k, found in enumerate(neighbours(points, box, cutoff, groups)):
        distances = (found if label is None else found.between(label)).distances
        bins = np.minimum((distances * (n_bins / cutoff)).astype(int), n_bins - 1)
        counts[k] = np.bincount(bins, minlength=n_bins)
    edges = np.linspace(0.0, cutoff, n_bins + 1)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)  # (n_bins,)
    ideal = shells * count_pairs(groups, label) / abs(np.linalg.det(np.asarray(box)))
    g = (counts / ideal).reshape(*points.shape[:2], n_bins)
    errors = _block_errors(g, n_blocks)
    return RadialDistribution(0.5 * (edges[1:] + edges[:-1]), g.mean((0, 1)), errors)


def nearest_distances(
    frames: ArrayLike,
    box: ArrayLike,
    *,
    cutoff: float | None = None,
    bonds: ArrayLike | None = None,
) -> Floats:
    """Return the distance of each bead to its nearest one that is not bonded to it.

    Args:
        frames: (n_frames, n, 3) or (n_runs, n_frames, n, 3) nm.
        box: (3, 3) row vectors, nm, reduced triclinic.
        cutoff: search radius, nm; None: the edge of a bead's mean volume.
        bonds: pairs that do not count, (n_bonds, 2).

    Returns:
        (n_frames, n) or (n_runs, n_frames, n) nm; infinite where none is that near.
    """
    points = check_runs(frames)
    n = points.shape[2]
    if cutoff is None:
        edge = float((abs(np.linalg.det(np.asarray(box))) / n) ** (1.0 / 3.0))
        cutoff = min(edge, 0.499 * float(widths(check_box(box)).min()))
    excluded = _keys(bonds, n)
    nearest = np.full((points.shape[0] * points.shape[1], n), np.inf)
    for row, found in zip(nearest, neighbours(points, box, cutoff), strict=True):
        kept = ~np.isin(found.first * n + found.second, excluded)
        np.minimum.at(row, found.first[kept], found.distances[kept])
    return nearest.reshape(np.shape(frames)[:-1])


def collision_distance(nearest: ArrayLike, quantile: float = 1e-3) -> float:
    """Return the distance below which two beads of the reference hardly ever come.

    Args:
        nearest: of the reference, any shape, nm; infinite where none was near.
        quantile: share of the beads whose nearest one is closer.

    Returns:
        nm.

    Raises:
        ValueError: too few beads have a neighbour at all.
    """
    values = np.ravel(np.asarray(nearest, dtype=np.float64))
    distance = float(np.quantile(values, quantile, method="inverted_cdf"))
    if not np.isfinite(distance):
        raise ValueError(
            f"nearest distances of at least {100 * quantile:g} % of the beads are "
            "required, fewer have a neighbour within the search radius: search farther"
        )
    return distance


def collisions(
    frames: ArrayLike,
    box: ArrayLike,
    distance: float,
    *,
    bonds: ArrayLike | None = None,
) -> Floats:
    """Count pairs that are not bonded and no farther apart than a distance.

    Args:
        frames: (n_frames, n, 3) or (n_runs, n_frames, n, 3) nm.
        box: (3, 3) row vectors, nm, reduced triclinic.
        distance: from `collision_distance`, nm.
        bonds: pairs that do not count, (n_bonds, 2).

    Returns:
        Pairs per bead, (n_frames,) or (n_runs, n_frames).
    """
    points = check_runs(frames)
    n = points.shape[2]
    excluded = _keys(bonds, n)
    counts = [
        (~np.isin(found.first * n + found.second, excluded)).sum() / (2 * n)
        for found in neighbours(points, box, distance * (1.0 + 1e-6))
    ]
    return np.array(counts, dtype=np.float64).reshape(np.shape(frames)[:-2])


def check_runs(frames: ArrayLike) -> NDArray[np.floating]:
    """Return frames as (n_runs, n_frames, n, 3), checked."""
    points = np.asarray(frames)
    if points.ndim not in (3, 4) or points.shape[-1] != 3 or 0 in points.shape:
        raise ValueError(
            "frames of shape (n_frames, n, 3) or (n_runs, n_frames, n, 3) are "
            f"required, got {points.shape}"
        )
    if not np.isfinite(points).all():
        raise ValueError("finite frames are required, got NaN or infinity")
    return points if points.ndim == 4 else points[None]


def check_cutoff(box: ArrayLike, cutoff: float) -> Box:
    """Return the box, checked against a positive cutoff, nm."""
    if not cutoff > 0.0:
        raise ValueError(f"a positive cutoff is required, got {cutoff} nm")
    return check_box(box, cutoff)


def check_groups(pair: Groups | None, n: int) -> tuple[Index, Index]:
    """Return two groups of beads; all beads where None."""
    if pair is None:
        return np.arange(n), np.arange(n)
    first, second = (np.asarray(group, dtype=np.int64).ravel() for group in pair)
    for group in (first, second):
        if not len(group) or group.min() < 0 or group.max() >= n:
            raise ValueError(
                f"groups of beads 0 to {n - 1} are required, got {group.tolist()}"
            )
    return first, second


def check_molecules(molecules: ArrayLike | None, n: int) -> Index | None:
    """Return the molecule of each bead, (n,), checked; None where not asked for."""
    if molecules is None:
        return None
    label = np.asarray(molecules, dtype=np.int64)
    if label.shape != (n,) or label.min() < 0:
        raise ValueError(
            f"a molecule index, 0 or more, for each of the {n} beads is required, got "
            f"shape {label.shape} with a smallest of {label.min(initial=0)}"
        )
    return label


def count_pairs(groups: tuple[Index, Index], label: Index | None) -> int:
    """Count the ordered pairs that are admitted."""
    first, second = groups
    if label is None:
        same = int(np.isin(first, second).sum())
    else:
        n = int(label.max()) + 1
        both = [np.bincount(label[group], minlength=n) for group in groups]
        same = int((both[0] * both[1]).sum())
    count = len(first) * len(second) - same
    if count == 0:
        raise ValueError(
            f"a pair of different molecules is required, groups of {len(first)} and "
            f"{len(second)} beads have none"
        )
    return count


def _block_errors(values: Floats, n_blocks: int) -> Floats:
    """Standard error of the mean of (n_runs, n_frames, ...) from blocks in time."""
    n_runs, n_frames = values.shape[:2]
    if not 1 <= n_blocks <= n_frames:
        raise ValueError(
            f"between 1 block and one for each of the {n_frames} frames are required, "
            f"got {n_blocks}"
        )
    if n_runs * n_blocks == 1:
        return np.full(values.shape[2:], np.nan)
    pieces = np.array_split(values, n_blocks, axis=1)
    means = np.concatenate([piece.mean(axis=1) for piece in pieces])
    return np.asarray(means.std(axis=0, ddof=1) / np.sqrt(len(means)))


def _keys(bonds: ArrayLike | None, n: int) -> Index:
    """Return a number for each excluded ordered pair."""
    if bonds is None:
        return np.empty(0, dtype=np.int64)
    i, j = np.asarray(bonds, dtype=np.int64).reshape(-1, 2).T
    return np.concatenate((i * n + j, j * n + i))
