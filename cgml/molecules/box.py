"""Periodic boxes: three row vectors, nm, in reduced triclinic form; None is open.

Reduced (as OpenMM and GROMACS require): a along x, b in the xy plane, and b and c
at most half a vector off to the side.
"""

from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

Box = NDArray[np.float64]

_SLACK = 1.0e-4  # of a vector: boxes come from files with rounded numbers


def check_box(box: ArrayLike, cutoff: float | None = None) -> Box:
    """Require a reduced box, (3, 3) nm, that is wide enough for the minimum-image rule.

    Args:
        box: row vectors.
        cutoff: largest distance that will be asked for, nm; None asks for none.

    Raises:
        ValueError: wrong shape, not finite, not reduced, or a perpendicular width
            below twice the cutoff.
    """
    vectors = np.array(box, dtype=np.float64)
    if vectors.shape != (3, 3) or not np.isfinite(vectors).all():
        raise ValueError(
            f"a box is three finite row vectors of shape (3, 3), got {box!r}"
        )
    half = (0.5 + _SLACK) * np.diag(vectors)
    tilted = np.tril(np.abs(vectors), -1) > half  # (3, 3), row against column
    if (
        (np.diag(vectors) <= 0.0).any()
        or np.triu(vectors, 1).any()
        or np.tril(tilted, -1).any()
    ):
        raise ValueError(
            "a box must be in reduced form (a along x, b in the xy plane, positive "
            "diagonal, tilts at most half), use cgml.molecules.box.reduce, got "
            f"{vectors.tolist()}"
        )
    if cutoff is not None and widths(vectors).min() < 2.0 * cutoff:
        raise ValueError(
            f"the box must be at least 2 x cutoff = {2.0 * cutoff:g} nm wide, its "
            f"smallest perpendicular width is {widths(vectors).min():g} nm"
        )
    return vectors


def from_edges(lengths: ArrayLike, tilts: ArrayLike = (0.0, 0.0, 0.0)) -> Box:
    """Make a box of edges along the axes, (3,), and tilts xy, xz and yz, as in LAMMPS.

    Returns:
        Row vectors, (3, 3), in the unit of the edges, perhaps not reduced.

    Raises:
        ValueError: not finite, or without a volume.
    """
    box = np.diag(np.asarray(lengths, dtype=np.float64))
    box[[1, 2, 2], [0, 0, 1]] = np.asarray(tilts, dtype=np.float64)
    if not (np.isfinite(box).all() and (np.diag(box) > 0.0).all()):
        raise ValueError(f"the box must have a volume, got {box.tolist()}")
    return box


def widths(box: Box) -> NDArray[np.float64]:
    """Return the distances between opposite faces of a box, (3,), nm."""
    return np.asarray(1.0 / np.linalg.norm(np.linalg.inv(box), axis=0))


def reduce(box: ArrayLike) -> Box:
    """Bring box vectors to reduced form without changing the lattice they span.

    The vectors are turned so that a lies along x and b in the xy plane; positions
    turn with them only where the box has that form already (all common formats).

    Args:
        box: row vectors, (3, 3), nm, right-handed.

    Raises:
        ValueError: not finite, flat or left-handed.
    """
    vectors = np.array(box, dtype=np.float64)
    if vectors.shape != (3, 3) or not np.linalg.det(vectors) > 0.0:
        raise ValueError(
            "three right-handed box vectors with a volume are required, got "
            f"{np.asarray(box).tolist()}"
        )
    reduced = np.array(np.linalg.cholesky(vectors @ vectors.T), dtype=np.float64)
    reduced[2] -= reduced[1] * np.round(reduced[2, 1] / reduced[1, 1])
    reduced[2] -= reduced[0] * np.round(reduced[2, 0] / reduced[0, 0])
    reduced[1] -= reduced[0] * np.round(reduced[1, 0] / reduced[0, 0])
    reduced[np.abs(reduced) < 1.0e-6 * reduced.max()] = 0.0
    return reduced


def minimum_image(displacements: ArrayLike, box: Box | None) -> NDArray[np.float64]:
    """Replace displacements, (..., 3) nm, by their shortest periodic images.

    Exact in every reduced box: of the candidates around the rounded one, the
    shortest is taken. A box of None leaves them as they are.
    """
    vectors = np.asarray(displacements, dtype=np.float64)
    if box is None:
        return vectors
    vectors = vectors - np.round(vectors @ np.linalg.inv(box)) @ box
    if not np.tril(box, -1).any():
        return vectors
    best, shortest = vectors, (vectors**2).sum(axis=-1)
    for shift in product((-1.0, 0.0, 1.0), repeat=3):
        image = vectors + np.array(shift) @ box
        length = (image**2).sum(axis=-1)
        is_shorter = length < shortest
        best = np.where(is_shorter[..., None], image, best)
        shortest = np.where(is_shorter, length, shortest)
    return best


def wrap(positions: ArrayLike, box: Box | None) -> NDArray[np.float64]:
    """Move positions, (..., 3) nm, into the cell; a box of None leaves them."""
    wrapped = np.asarray(positions, dtype=np.float64)
    if box is None:
        return wrapped
    inverse = np.linalg.inv(box)
    for _ in range(2):  # the second brings home what rounding left on the far face
        wrapped = wrapped - np.floor(wrapped @ inverse) @ box
    return wrapped


def images(displacements: ArrayLike, box: Box) -> NDArray[np.float64]:
    """Count the box vectors, (..., 3), to add to displacements for their shortest."""
    vectors = np.asarray(displacements, dtype=np.float64)
    shift = minimum_image(vectors, box) - vectors
    return np.asarray(np.round(shift @ np.linalg.inv(box)))
