r"""What is read off bead frames: pure functions of arrays.

Positions are (..., n, 3) in nm, unwrapped, any number of leading dimensions (runs,
frames). Nothing here knows where they come from.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

from cgml.molecules.graph import components

Floats = NDArray[np.float64]


def end_to_end_distance(positions: ArrayLike) -> Floats:
    """Return the distance of the first and the last bead.

    Args:
        positions: (..., n, 3) nm, one chain with its beads in order.

    Returns:
        (...,) nm.
    """
    points = _points(positions)
    return np.asarray(np.linalg.norm(points[..., -1, :] - points[..., 0, :], axis=-1))


def ends(bonds: ArrayLike) -> NDArray[np.int64]:
    """Return the two ends of every linear molecule, first the one of lower number.

    Rings, branched molecules and single beads have none.

    Args:
        bonds: (n_bonds, 2), of all molecules.

    Returns:
        (n_chains, 2), in the order of the first ends.

    Example:
        >>> ends([[0, 1], [1, 2], [4, 3]]).tolist()
        [[0, 2], [3, 4]]
    """
    pairs = _index(bonds, 2)
    if not len(pairs):
        return np.zeros((0, 2), dtype=np.int64)
    n = int(pairs.max()) + 1
    degree = np.bincount(pairs.ravel(), minlength=n)
    label = components(n, pairs)
    widest = np.zeros(n, dtype=np.int64)
    np.maximum.at(widest, label, degree)
    tips = np.flatnonzero((degree == 1) & (widest[label] <= 2))
    order = np.argsort(label[tips], kind="stable")
    found = tips[order].reshape(-1, 2)
    return found[np.argsort(found[:, 0])]


def bond_lengths(positions: ArrayLike, bonds: ArrayLike) -> Floats:
    """Return the distance of the two beads of each bond.

    Args:
        positions: (..., n, 3) nm.
        bonds: (n_bonds, 2).

    Returns:
        (..., n_bonds) nm.
    """
    points, pairs = _points(positions), _index(bonds, 2)
    vectors = points[..., pairs[:, 1], :] - points[..., pairs[:, 0], :]
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def angle_triplets(bonds: ArrayLike) -> NDArray[np.int64]:
    """Return every pair of bonds that share a bead, the shared bead in the middle.

    Args:
        bonds: (n_bonds, 2).

    Returns:
        (n_angles, 3), sorted by the middle bead.

    Example:
        >>> angle_triplets([[0, 1], [1, 2]]).tolist()
        [[0, 1, 2]]
    """
    neighbours: dict[int, list[int]] = {}
    for i, j in _index(bonds, 2).tolist():
        neighbours.setdefault(i, []).append(j)
        neighbours.setdefault(j, []).append(i)
    triplets = [
        (one, middle, other)
        for middle, around in sorted(neighbours.items())
        for k, one in enumerate(sorted(around))
        for other in sorted(around)[k + 1 :]
    ]
    return np.array(triplets, dtype=np.int64).reshape(-1, 3)


def angles(positions: ArrayLike, triplets: ArrayLike) -> Floats:
    """Return the angle at the middle bead of each triplet.

    Args:
        positions: (..., n, 3) nm.
        triplets: (n_angles, 3), middle bead second.

    Returns:
        (..., n_angles) rad, 0 to pi (stretched).
    """
    points, index = _points(positions), _index(triplets, 3)
    one = points[..., index[:, 0], :] - points[..., index[:, 1], :]
    other = points[..., index[:, 2], :] - points[..., index[:, 1], :]
    cross = np.linalg.norm(np.cross(one, other), axis=-1)
    return np.asarray(np.arctan2(cross, (one * other).sum(axis=-1)))


def dihedral_quadruplets(bonds: ArrayLike) -> NDArray[np.int64]:
    """Return every path of three bonds.

    Args:
        bonds: (n_bonds, 2).

    Returns:
        (n_dihedrals, 4), each path from one of its ends.

    Example:
        >>> dihedral_quadruplets([[0, 1], [1, 2], [2, 3]]).tolist()
        [[0, 1, 2, 3]]
    """
    pairs = _index(bonds, 2).tolist()
    neighbours: dict[int, list[int]] = {}
    for i, j in pairs:
        neighbours.setdefault(i, []).append(j)
        neighbours.setdefault(j, []).append(i)
    paths = [
        (one, i, j, other)
        for i, j in pairs
        for one in neighbours[i]
        for other in neighbours[j]
        if len({one, i, j, other}) == 4
    ]
    return np.array(paths, dtype=np.int64).reshape(-1, 4)


def signed_volumes(
    positions: ArrayLike, quadruplets: ArrayLike
) -> tuple[Floats, Floats]:
    r"""Return dihedral angles, and how much volume three bonds span, with its sign.

    With the bonds :math:`b_1, b_2, b_3` along a path the angle is
    :math:`\phi = \mathrm{atan2}(|b_2|\, b_1 \cdot (b_2 \times b_3),
    (b_1 \times b_2) \cdot (b_2 \times b_3))` and the volume
    :math:`b_1 \cdot (b_2 \times b_3) / (|b_1| |b_2| |b_3|)`. Both are positive for a
    right-handed screw and change sign in a mirror.

    Args:
        positions: (..., n, 3) nm.
        quadruplets: (n_dihedrals, 4) paths.

    Returns:
        Angles, rad, -pi to pi, and volumes, -1 to 1, each (..., n_dihedrals).

    References:
        IUPAC-IUB Commission on Biochemical Nomenclature, J. Mol. Biol. 52, 1 (1970),
        for the sign of an angle.
    """
    points, index = _points(positions), _index(quadruplets, 4)
    one, two, three = (
        points[..., index[:, k + 1], :] - points[..., index[:, k], :] for k in range(3)
    )
    normal, other = np.cross(one, two), np.cross(two, three)
    triple = (one * other).sum(axis=-1)
    lengths = [np.linalg.norm(bond, axis=-1) for bond in (one, two, three)]
    angles = np.arctan2(lengths[1] * triple, (normal * other).sum(axis=-1))
    scale = np.maximum(lengths[0] * lengths[1] * lengths[2], 1e-30)
    return np.asarray(angles), np.asarray(triple / scale)


def pair_distances(positions: ArrayLike) -> Floats:
    """Return all distances within one molecule.

    Args:
        positions: (..., n, 3) nm.

    Returns:
        (..., n (n - 1) / 2) nm, pairs (0, 1), (0, 2), ... (1, 2), ...
    """
    points = _points(positions)
    first, second = np.triu_indices(points.shape[-2], k=1)
    vectors = points[..., second, :] - points[..., first, :]
    return np.asarray(np.sqrt(np.einsum("...x,...x->...", vectors, vectors)))


def contact_map(positions: ArrayLike, cutoff: float) -> Floats:
    """Return how often each pair of beads is within a cutoff.

    Args:
        positions: (..., n, 3) nm, one molecule.
        cutoff: nm, positive.

    Returns:
        (n, n), symmetric, 1 on the diagonal.
    """
    if not cutoff > 0.0:
        raise ValueError(f"a positive contact cutoff is required, got {cutoff} nm")
    n = np.shape(positions)[-2]
    close = (pair_distances(positions) < cutoff).reshape(-1, n * (n - 1) // 2)
    result = np.eye(n)
    result[np.triu_indices(n, k=1)] = close.mean(axis=0)
    return np.maximum(result, result.T)


@dataclass(frozen=True, eq=False)
class Surface:
    """A plane of principal components and a grid on it, both from the reference.

    The features are all distances within the molecule: free of rotation, and every
    mode of the shape is in them.

    Attributes:
        components: the fitted projection.
        edges: inner edges of the grid on both axes, (2, n_bins - 1), nm; the outer
            bins are open, so that nothing falls off the surface.
    """

    components: PCA
    edges: Floats

    @classmethod
    def fit(cls, positions: ArrayLike, n_bins: int = 8) -> "Surface":
        """Fit the plane to reference frames.

        Args:
            positions: (..., n, 3) nm, one molecule of at least 3 beads.
            n_bins: bins on each axis; they span the middle 98 % of the reference.

        Raises:
            ValueError: fewer than 3 beads or 3 frames.
        """
        points = _points(positions)
        features = _features(points)
        if points.shape[-2] < 3 or len(features) < 3:
            raise ValueError(
                "a surface needs at least 3 beads and 3 frames, got "
                f"{points.shape[-2]} beads and {len(features)} frames"
            )
        components = PCA(n_components=2, svd_solver="covariance_eigh").fit(features)
        low, high = np.quantile(components.transform(features), [0.01, 0.99], axis=0)
        return cls(components, np.linspace(low, high, n_bins - 1, axis=1))

    def project(self, positions: ArrayLike) -> Floats:
        """Project frames on the plane.

        Args:
            positions: (..., n, 3) nm.

        Returns:
            (n_frames, 2) nm.
        """
        return np.asarray(self.components.transform(_features(_points(positions))))

    def histogram(self, positions: ArrayLike) -> Floats:
        """Return the probability of each bin, (n_bins, n_bins), first axis first."""
        n_bins = self.edges.shape[1] + 1
        plane = self.project(positions)
        bins = [np.searchsorted(self.edges[k], plane[:, k]) for k in range(2)]
        flat = np.bincount(bins[0] * n_bins + bins[1], minlength=n_bins**2)
        return (flat / len(plane)).reshape(n_bins, n_bins)


def free_energy(probabilities: ArrayLike) -> Floats:
    r"""Return :math:`F = -\ln(p / p_{max})` in kT; infinite where p is 0."""
    p = np.asarray(probabilities, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p.max()) - np.log(p))


def _points(positions: ArrayLike) -> Floats:
    points = np.asarray(positions, dtype=np.float64)
    if points.ndim < 2 or points.shape[-1] != 3 or points.shape[-2] == 0:
        raise ValueError(
            f"positions of shape (..., n, 3) are required, got {points.shape}"
        )
    return points


def _index(table: ArrayLike, width: int) -> NDArray[np.int64]:
    index = np.asarray(table, dtype=np.int64)
    if index.ndim != 2 or index.shape[1] != width:
        raise ValueError(
            f"a table of beads of shape (n, {width}) is required, got {index.shape}"
        )
    return index


def _features(points: Floats) -> Floats:
    """Flatten leading dimensions: (n_frames, n_pairs)."""
    n = points.shape[-2]
    return pair_distances(points).reshape(-1, n * (n - 1) // 2)
