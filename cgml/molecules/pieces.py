"""Parts of a graph: its molecules, or its beads, nodes numbered from 0 in each."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Piece(NamedTuple):
    """Part of a graph: a molecule, or a bead.

    Attributes:
        members: (n,) its nodes, ascending.
        bonds: (n_bonds, 2) bonds among them, nodes numbered from 0.
    """

    members: NDArray[np.int64]
    bonds: NDArray[np.int64]


def pieces(labels: NDArray[np.int64], bonds: NDArray[np.int64]) -> list[Piece]:
    """Split a graph by the labels of its nodes, in time linear in nodes and bonds.

    Args:
        labels: (n,) piece of each node, 0 to n_pieces - 1.
        bonds: (n_bonds, 2); those between two pieces are left out.
    """
    if not len(labels):
        return []
    sizes = np.bincount(labels)
    order = np.argsort(labels, kind="stable")
    begins = np.cumsum(sizes) - sizes
    local = np.empty(len(labels), dtype=np.int64)
    local[order] = np.arange(len(labels)) - begins[labels[order]]
    owner = labels[bonds]
    inside = bonds[owner[:, 0] == owner[:, 1]]
    owner = labels[inside[:, 0]]
    inside = local[inside[np.argsort(owner, kind="stable")]]
    counts = np.bincount(owner, minlength=len(sizes))
    return [
        Piece(members, own)
        for members, own in zip(
            np.split(order, begins[1:]),
            np.split(inside, np.cumsum(counts)[:-1]),
            strict=True,
        )
    ]
