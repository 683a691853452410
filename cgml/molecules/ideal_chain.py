"""The ideal chain: what the bond graph alone tells of motion and of places.

**Relaxation, the analytic backbone of the model.** For beads of masses m joined by
equal springs and moving in a solvent whose friction is proportional to the mass, every
eigenmode of the mass-weighted graph Laplacian

    A = M^(-1/2) K M^(-1/2)        (K: Laplacian of the bond graph, M: relative masses)

is an Ornstein-Uhlenbeck process. After one step a mode of eigenvalue lambda keeps the
fraction exp(-b lambda) of its value and has gained the variance
c (1 - exp(-2 b lambda)) / lambda, which tends to 2 b c, free diffusion, for lambda ->
0. The two numbers b and c are fitted to the training data (scales.py); the networks
learn what the Rouse model lacks. Sampling in its metric makes all modes, from a bond
to the whole chain, equally wide.

**Places.** A bead is the centre of mass of its atoms; which of them stand at its ends,
and towards which neighbour, is lost. Atoms joined by equal springs whose beads' centres
are given have expected positions that are linear in the centres, and a spread about a
free bead's centre that is a diagonal of matrices.

References:
    P. E. Rouse, J. Chem. Phys. 21, 1272 (1953), eqs. 9-19.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_array, coo_array, csr_array
from scipy.sparse.linalg import splu

from cgml.molecules.centres import group_shares
from cgml.molecules.mapping import Mapping
from cgml.molecules.pieces import pieces
from cgml.spec import RousePrior

LEAST_WEIGHT = 1e-3  # of a bead in the expected position of an atom; others are left


def laplacian(n: int, bonds: NDArray[np.int64]) -> csr_array:
    """Laplacian of a graph of n nodes with bonds (n_bonds, 2), (n, n)."""
    first, second = bonds.T
    joined = coo_array((np.ones(len(bonds)), (first, second)), shape=(n, n)).tocsr()
    joined = joined + joined.T
    degrees = coo_array((joined.sum(axis=0), (np.arange(n), np.arange(n))))
    return csr_array(degrees - joined)


class Kernels(NamedTuple):
    """Matrices of one molecule with n beads, each (n, n) float64.

    Attributes:
        mean: H, expected positions after one step are H x.
        root: L, displacement noise is L w with w white; nm.
        inverse: pseudo-inverse of L, 1/nm.
        rest: (n,) unit vector w with L w = 0 where the centre of mass is held out,
            else zeros.
    """

    mean: NDArray[np.float64]
    root: NDArray[np.float64]
    inverse: NDArray[np.float64]
    rest: NDArray[np.float64]


def laplacian_modes(
    masses: NDArray[np.float64], bonds: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues and eigenvectors of the mass-weighted graph Laplacian.

    Args:
        masses: (n,) bead masses, Da; only their ratios to the mean count.
        bonds: (n_bonds, 2) bead bonds.

    Returns:
        (n,) ascending, and (n, n) in columns.
    """
    weights = np.sqrt(masses / masses.mean())
    matrix = laplacian(len(masses), bonds).toarray()
    values, vectors = np.linalg.eigh(matrix / np.outer(weights, weights))
    return np.clip(values, 0.0, None), vectors


def retention(
    eigenvalues: NDArray[np.float64], prior: RousePrior
) -> NDArray[np.float64]:
    """Fraction of a mode that is left after one step, (n,)."""
    return np.exp(-prior.rate * eigenvalues)


def gained_variance(
    eigenvalues: NDArray[np.float64], prior: RousePrior
) -> NDArray[np.float64]:
    """Variance that a mode gains in one step, (n,), nm^2."""
    argument = 2.0 * prior.rate * eigenvalues
    small = argument < 1e-9
    safe = np.where(small, 1.0, argument)
    growth = np.where(small, 1.0, -np.expm1(-safe) / safe)
    return 2.0 * prior.rate * prior.variance * growth


def kernels(
    masses: NDArray[np.float64],
    bonds: NDArray[np.int64],
    prior: RousePrior,
    *,
    hold_centre: bool,
) -> Kernels:
    """Matrices of one molecule of beads of masses (n,) Da and bonds (n_bonds, 2).

    With hold_centre the noise leaves out the centre of mass.
    """
    values, vectors = laplacian_modes(masses, bonds)
    weights = np.sqrt(masses / masses.mean())
    deviation = np.sqrt(gained_variance(values, prior))
    inverse = 1.0 / deviation
    rest = np.zeros(len(masses))
    if hold_centre:
        deviation[0] = inverse[0] = 0.0
        rest = vectors[:, 0].copy()
    left = vectors / weights[:, None]
    right = vectors * weights[:, None]
    return Kernels(
        mean=(left * retention(values, prior)) @ right.T,
        root=(left * deviation) @ vectors.T,
        inverse=(vectors * inverse) @ right.T,
        rest=rest,
    )


def depths(mapping: Mapping) -> NDArray[np.float64]:
    """How far out in its bead each atom is expected, relative to the bead's mean.

    Returns:
        (n_atoms,) expected square distance from the bead's centre over its mean in
        the bead, less 1: above 0 at the ends, below 0 in the middle, 0 where an atom
        is alone. Bonds to other beads do not count.
    """
    values = np.zeros(mapping.graph.n_atoms)
    known: dict[bytes, NDArray[np.float64]] = {}
    for atoms, bonds in pieces(mapping.bead_index, mapping.graph.bonds):
        if len(atoms) == 1:
            continue
        masses = mapping.graph.masses[atoms]
        key = masses.tobytes() + bonds.tobytes()
        if key not in known:  # equal beads share their numbers
            springs = np.linalg.pinv(laplacian(len(atoms), bonds).toarray())
            centred = np.eye(len(atoms)) - (masses / masses.sum())[None, :]
            square = np.diag(centred @ springs @ centred.T)
            known[key] = square / square.mean() - 1.0
        values[atoms] = known[key]
    return values


def type_centres(
    mapping: Mapping, types: NDArray[np.int64], n_types: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where in a bead the atoms of each type are expected, from the beads' positions.

    The centre of the atoms of type t in bead i is expected at
    x_i + sum_j w_ijt (x_j - x_i); only beads of the same molecule have weights, which
    fall off from bead to bead, and small ones are left out. Types of the atoms are
    (n_atoms,), 0 to n_types - 1.

    Returns:
        Pairs of beads (n, 2), i and j, ascending, and their weights (n, n_types).
    """
    graph, molecules = mapping.graph, mapping.molecule_index
    known: dict[bytes, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    pairs, weights = [np.zeros((0, 2), np.int64)], [np.zeros((0, n_types))]
    for part, (beads, _) in zip(
        pieces(graph.molecule_index, graph.bonds),
        pieces(molecules, mapping.bead_bonds),
        strict=True,
    ):
        if len(beads) == 1:
            continue
        atoms, bonds = part
        labels = np.searchsorted(beads, mapping.bead_index[atoms])
        masses, own = graph.masses[atoms], types[atoms]
        key = b"".join(each.tobytes() for each in (masses, bonds, labels, own))
        if key not in known:  # equal molecules share their numbers
            expected = _expected_positions(masses, bonds, labels)
            known[key] = _molecule_centres(expected, labels, own, n_types)
        ends, shares = known[key]
        pairs.append(beads[ends])
        weights.append(shares)
    ends, shares = np.concatenate(pairs), np.concatenate(weights)
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    return ends[order], shares[order]


def _molecule_centres(
    expected: NDArray[np.float64],
    labels: NDArray[np.int64],
    types: NDArray[np.int64],
    n_types: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`type_centres` of one molecule from the expected positions of its atoms."""
    n_beads = expected.shape[1]
    centres = np.zeros((n_beads, n_types, n_beads))
    np.add.at(centres, (labels, types), expected)
    counts = np.zeros((n_beads, n_types))
    np.add.at(counts, (labels, types), 1.0)
    centres /= np.maximum(counts, 1.0)[:, :, None]
    weights = centres.transpose(0, 2, 1)  # of bead j for bead i and type t
    is_far = ~np.eye(n_beads, dtype=np.bool_)
    kept = is_far & (np.abs(weights).max(axis=2) > LEAST_WEIGHT)
    return np.argwhere(kept), weights[kept]


def _expected_positions(
    masses: NDArray[np.float64], bonds: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Matrix (n_atoms, n_beads) from the beads of a molecule to its atoms.

    The atoms that stretch the springs least while every bead has its centre of mass.
    """
    n_atoms, n_beads = len(masses), int(labels.max()) + 1
    shares = group_shares(labels, masses)
    matrix = block_array([[laplacian(n_atoms, bonds), shares.T], [shares, None]])
    given = np.concatenate((np.zeros((n_atoms, n_beads)), np.eye(n_beads)))
    solution: NDArray[np.float64] = splu(matrix.tocsc()).solve(given)
    return solution[:n_atoms]
