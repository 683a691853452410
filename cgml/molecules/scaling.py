"""Frames of constant pressure in one box: molecules are moved, not strained.

In a box that breathes, a molecule's place is where it is relative to the box vectors.
Each centre of mass keeps that place in the one box (the mean one); the shape of the
molecule stays as it is, because bonds do not breathe with the box.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.box import Box, reduce
from cgml.molecules.centres import centres_of_mass
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.whole import Unwrapper


class Rescaler:
    """Puts frames of changing boxes into one, see `Unwrapper`; they come in pieces.

    The one box is row vectors, (3, 3), nm, of the form that the frames' boxes have.
    """

    def __init__(
        self,
        graph: MolecularGraph,
        box: Box,
        *,
        is_unwrapped: bool = False,
        source: str = "the positions",
        first: int = 0,
    ) -> None:
        self._graph, self._vectors = graph, box
        self._whole = Unwrapper(
            graph, reduce(box), is_unwrapped=is_unwrapped, source=source, first=first
        )

    def __call__(
        self,
        positions: NDArray[np.float32],
        boxes: NDArray[np.float64],
        corners: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Take the next frames.

        Args:
            positions: (n_frames, n_atoms, 3), nm, as stored.
            boxes: row vectors of each, (n_frames, 3, 3), nm.
            corners: where each box begins, (n_frames, 3), nm; None: at the origin.

        Returns:
            Positions; molecules are whole, of their own shape, without jumps in time.
        """
        to_one = np.linalg.inv(boxes) @ self._vectors  # (n_frames, 3, 3)
        points = positions.astype(np.float64)
        if corners is not None:
            points = points - corners[:, None]
        strained = self._whole(points @ to_one)
        owner = self._graph.molecule_index
        centres = centres_of_mass(strained, owner, self._graph.masses)[:, owner]
        shape = (strained - centres) @ np.linalg.inv(to_one)
        return (centres + shape).astype(np.float32)


def largest_change(boxes: NDArray[Any], box: Box) -> NDArray[np.float64]:
    """Return how much boxes, (n, 3, 3) nm, differ from one, (3, 3) nm.

    The largest entry of the strain between the two, (n,), 0 for none.
    """
    strain = np.linalg.inv(boxes) @ box - np.eye(3)
    return np.asarray(abs(strain).max(axis=(1, 2)))
