"""Where the functions of the distance are of use: at bonds and first shells."""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cgml.molecules.frames import BeadTrajectory, near_origin
from cgml.molecules.mapping import Mapping
from cgml.molecules.summary import compositions
from cgml.network.neighbours import pairs_within

BIN = 0.002  # nm
BLUR = 4.0  # bins
N_FRAMES = 40  # of a trajectory
EVEN = 0.4  # share of the functions that are even on the logarithmic axis


def place_functions(
    trajectories: Sequence[BeadTrajectory], n: int, scale: float, reach: float
) -> tuple[float, ...]:
    """Place functions of the distance where distributions of distances change.

    A share of them is even on the axis log(1 + r / scale); the rest follows the slopes
    of the distributions g(r) of bonded pairs and of pairs of two kinds of beads (one
    molecule each, or part of a larger one), each normalised.

    Args:
        trajectories: training frames, in boxes.
        n: number of functions.
        scale: length scale of the model, nm.
        reach: largest distance, nm.

    Returns:
        Centres, ascending from 0 to the reach, nm.

    Raises:
        ValueError: frames without a box: without a cutoff all pairs of a molecule are
            seen, however far they are apart.
    """
    edges = np.arange(0.0, reach + BIN, BIN)
    middles = 0.5 * (edges[1:] + edges[:-1])
    even = 1.0 / (middles + scale)
    density = EVEN * even / even.sum()
    counts: dict[str, NDArray[np.float64]] = {}
    for item in trajectories:
        for kind, distances in _distances(item, reach):
            found = np.histogram(distances, bins=edges)[0].astype(np.float64)
            counts[kind] = counts.get(kind, 0.0) + found
    slopes = []
    for found in counts.values():
        slope = np.abs(np.gradient(gaussian_filter1d(found / middles**2, BLUR)))
        if slope.sum() > 0.0:
            slopes.append(slope / slope.sum())
    density += (1.0 - EVEN) * np.mean(slopes, axis=0)
    total = np.concatenate(([0.0], np.cumsum(density / density.sum())))
    centres = np.interp(np.linspace(0.0, 1.0, n), total, edges)
    return tuple(float(value) for value in centres)


def _distances(
    trajectory: BeadTrajectory, reach: float
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Distances of some frames by kind of pair, nm."""
    if trajectory.box is None:
        raise ValueError(
            'radial = "data" is for periodic boxes, the training frames have none: '
            'write radial = "even"'
        )
    mapping, box = trajectory.mapping, [torch.tensor(trajectory.box)]
    kinds, n = _kinds(mapping), mapping.n_beads
    bonds = mapping.bead_bonds @ np.array([n, 1])
    stride = max(1, len(trajectory.positions) // N_FRAMES)
    for frame in near_origin(trajectory)[::stride]:
        places = torch.tensor(frame)
        first, second, _, shift = pairs_within([n], places, reach, box)
        apart = (places[first] - places[second] + shift).norm(dim=1).numpy()
        i, j = first.numpy(), second.numpy()
        is_bond = np.isin(i * n + j, bonds)  # i <= j
        yield "bond", apart[is_bond]
        for one, other in combinations_with_replacement(sorted(set(kinds)), 2):
            is_kind = np.isin(kinds[i], (one, other)) & np.isin(kinds[j], (one, other))
            is_kind &= (kinds[i] != kinds[j]) == (one != other)
            yield f"{one} {other}", apart[is_kind & ~is_bond]


def _kinds(mapping: Mapping) -> NDArray[np.str_]:
    """Kind of each bead: its formula where it is a molecule, else part of one."""
    formulas = np.array(compositions(mapping.graph.types, mapping.bead_index))
    is_part = np.bincount(mapping.molecule_index)[mapping.molecule_index] > 1
    return np.where(is_part, "part", formulas)
