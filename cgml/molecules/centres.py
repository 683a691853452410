r"""Mass-weighted means over groups of particles, and the spread about them.

Positions are (..., n, 3) in nm, unwrapped and whole, any number of leading dimensions.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]


def mass_shares(masses: ArrayLike | None, n: int) -> Floats:
    """Return the share of each of n particles in the mass of all, (n,).

    Masses are (n,) Da; None: equal ones.

    Raises:
        ValueError: numbers of positions and of masses differ, or one is not positive.
    """
    weights = np.ones(n) if masses is None else np.asarray(masses, dtype=np.float64)
    if weights.shape != (n,) or not (weights > 0.0).all():
        raise ValueError(
            f"a positive mass for each of the {n} positions is required, got shape "
            f"{weights.shape}"
        )
    return np.asarray(weights / weights.sum())


def group_shares(labels: NDArray[np.int64], masses: Floats) -> csr_array:
    """Return the share of each particle in the mass of its group, (n_groups, n).

    Args:
        labels: group of each particle, (n,), 0, 1, ...
        masses: (n,) Da.
    """
    sums = np.zeros(int(labels.max(initial=-1)) + 1)
    np.add.at(sums, labels, masses)
    places = (labels, np.arange(len(labels)))
    return csr_array((masses / sums[labels], places), shape=(len(sums), len(labels)))


def group_means(shares: csr_array, positions: ArrayLike) -> Floats:
    """Return the means, (..., n_groups, 3) nm, weighted by `group_shares`."""
    points = np.asarray(positions)
    columns = np.moveaxis(points, -2, 0).reshape(points.shape[-2], -1)
    means: Floats = shares @ columns
    shape = (shares.shape[0], *points.shape[:-2], 3)
    return np.ascontiguousarray(np.moveaxis(means.reshape(shape), 0, -2))


def centre_of_mass(positions: ArrayLike, masses: ArrayLike | None = None) -> Floats:
    """Return the centre of mass of all particles together, (..., 3) nm.

    Positions are (..., n, 3) nm, masses (n,) Da; None: equal masses.
    """
    points = np.asarray(positions, dtype=np.float64)
    shares = mass_shares(masses, points.shape[-2])
    return np.asarray(np.einsum("i,...ix->...x", shares, points))


def centres_of_mass(
    positions: ArrayLike, molecules: ArrayLike, masses: ArrayLike | None = None
) -> Floats:
    """Return the centre of mass of each molecule, (..., n_molecules, 3) nm.

    Args:
        positions: of the particles in question, (..., n, 3) nm.
        molecules: molecule of each of them, (n,), any whole numbers; the result is in
            their order.
        masses: (n,) Da; None: equal masses.

    Raises:
        ValueError: numbers of positions and of masses differ.
    """
    points = np.asarray(positions, dtype=np.float64)
    _, index = np.unique(np.asarray(molecules), return_inverse=True)
    shares = mass_shares(masses, points.shape[-2])
    return group_means(group_shares(index, shares), points)


def squared_radius_of_gyration(
    positions: ArrayLike, masses: ArrayLike | None = None
) -> Floats:
    r"""Return :math:`R_g^2 = \sum_i m_i |r_i - r_{cm}|^2 / \sum_i m_i`, (...,) nm^2.

    Args:
        positions: (..., n, 3) nm, one molecule.
        masses: (n,) Da; None: equal masses.

    Raises:
        ValueError: numbers of positions and of masses differ.

    Example:
        >>> squared_radius_of_gyration([[0, 0, 0], [2, 0, 0]], [1.0, 1.0]).item()
        1.0
    """
    points = np.asarray(positions, dtype=np.float64)
    shares = mass_shares(masses, points.shape[-2])
    offset = points - np.einsum("i,...ix->...x", shares, points)[..., None, :]
    return np.asarray(np.einsum("i,...ix,...ix->...", shares, offset, offset))
