"""Where atoms lie in their beads, as far as the bond graph tells.

A bead is the centre of mass of its atoms; which of them stand at its ends, and towards
which neighbour, is lost. The ideal chain tells what can be expected: atoms joined by
equal springs whose beads' centres are given. Their expected positions are linear in
the centres, and their spread about a free bead's centre is a diagonal of matrices.

References:
    P. E. Rouse, J. Chem. Phys. 21, 1272 (1953): the ideal chain of springs.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_array, coo_array, csr_array
from scipy.sparse.linalg import splu

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping

LEAST_WEIGHT = 1e-3  # of a bead in the expected position of an atom; others are left


def depths(mapping: Mapping) -> NDArray[np.float64]:
    """How far out in its bead each atom is expected, relative to the bead's mean.

    Args:
        mapping: atoms and beads.

    Returns:
        (n_atoms,) expected square distance from the bead's centre over its mean in
        the bead, less 1: above 0 at the ends, below 0 in the middle, 0 where an atom
        is alone. Bonds to other beads do not count.
    """
    values = np.zeros(mapping.graph.n_atoms)
    order = np.argsort(mapping.bead_index, kind="stable")
    ends = np.cumsum(np.bincount(mapping.bead_index))[:-1]
    known: dict[bytes, NDArray[np.float64]] = {}
    for atoms in np.split(order, ends):
        if len(atoms) == 1:
            continue
        part = mapping.graph.select(atoms)
        key = part.masses.tobytes() + part.bonds.tobytes()
        if key not in known:  # equal beads share their numbers
            springs = np.linalg.pinv(_laplacian(part).toarray())
            share = part.masses / part.masses.sum()
            centred = np.eye(len(atoms)) - share[None, :]
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
    fall off from bead to bead, and small ones are left out.

    Args:
        mapping: atoms and beads.
        types: (n_atoms,) type of each atom, 0 to n_types - 1.
        n_types: number of types.

    Returns:
        Pairs of beads (n, 2), i and j, ascending, and their weights (n, n_types).
    """
    members = np.split(
        np.argsort(mapping.molecule_index, kind="stable"),
        np.cumsum(np.bincount(mapping.molecule_index))[:-1],
    )
    known: dict[bytes, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    pairs, weights = [np.zeros((0, 2), np.int64)], [np.zeros((0, n_types))]
    for atoms, beads in zip(mapping.graph.molecules, members, strict=True):
        if len(beads) == 1:
            continue
        part = mapping.graph.select(atoms)
        labels = np.searchsorted(beads, mapping.bead_index[atoms])
        own = types[atoms]
        key = b"".join(a.tobytes() for a in (part.masses, part.bonds, labels, own))
        if key not in known:  # equal molecules share their numbers
            known[key] = _molecule_centres(part, labels, own, n_types)
        ends, shares = known[key]
        pairs.append(beads[ends])
        weights.append(shares)
    ends, shares = np.concatenate(pairs), np.concatenate(weights)
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    return ends[order], shares[order]


def _molecule_centres(
    graph: MolecularGraph,
    labels: NDArray[np.int64],
    types: NDArray[np.int64],
    n_types: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`type_centres` of one molecule of several beads."""
    expected = _expected_positions(graph, labels)
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
    graph: MolecularGraph, labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Matrix (n_atoms, n_beads) from the beads of a molecule to its atoms.

    The atoms that stretch the springs least while every bead has its centre of mass.
    """
    n_atoms, n_beads = graph.n_atoms, int(labels.max()) + 1
    masses = np.bincount(labels, weights=graph.masses)
    shares = csr_array(
        (graph.masses / masses[labels], (labels, np.arange(n_atoms))),
        shape=(n_beads, n_atoms),
    )
    matrix = block_array([[_laplacian(graph), shares.T], [shares, None]])
    given = np.concatenate((np.zeros((n_atoms, n_beads)), np.eye(n_beads)))
    solution: NDArray[np.float64] = splu(matrix.tocsc()).solve(given)
    return solution[:n_atoms]


def _laplacian(graph: MolecularGraph) -> csr_array:
    """Laplacian of the bonds, (n_atoms, n_atoms)."""
    n, (first, second) = graph.n_atoms, graph.bonds.T
    ones = np.ones(len(first))
    joined = coo_array((ones, (first, second)), shape=(n, n)).tocsr()
    joined = joined + joined.T
    degrees = coo_array((joined.sum(axis=0), (np.arange(n), np.arange(n))))
    return csr_array(degrees - joined)
