"""What training frames look like: prior, scales, limits."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from cgml.molecules.frames import BeadTrajectory, centred, near_origin
from cgml.molecules.ideal_chain import gained_variance, laplacian_modes, retention
from cgml.molecules.mapping import Mapping
from cgml.network.neighbours import pairs_within
from cgml.spec import RousePrior, Statistics


def stride_of(trajectory: BeadTrajectory, time_step: float, n_history: int = 1) -> int:
    """Stored frames per model step.

    Args:
        trajectory: bead frames.
        time_step: of the model, ps.
        n_history: earlier displacements in a window.

    Raises:
        ValueError: The stored spacing does not divide the model step, or the
            trajectory is too short.
    """
    ratio = time_step / trajectory.time_step
    stride = round(ratio)
    if stride < 1 or abs(ratio - stride) > 1e-3:
        raise ValueError(
            f"the frame spacing must divide the model step, {trajectory.name!r} has "
            f"{trajectory.time_step:g} ps, the model {time_step:g} ps"
        )
    needed = (n_history + 1) * stride + 1
    if len(trajectory.positions) < needed:
        raise ValueError(
            f"{trajectory.name!r} has {len(trajectory.positions)} frames, a window of "
            f"{n_history + 1} model steps takes {needed}"
        )
    return stride


def fit_prior(trajectories: Sequence[BeadTrajectory], time_step: float) -> RousePrior:
    """Maximum-likelihood Rouse constants of the internal modes.

    Args:
        trajectories: training molecules.
        time_step: of the model, ps.

    Raises:
        ValueError: No two beads are bonded.
    """
    rows = []
    for trajectory in trajectories:
        stride = stride_of(trajectory, time_step)
        beads = trajectory.mapping.bead_graph
        positions = centred(trajectory)
        for member, bonds in zip(beads.molecules, beads.molecule_bonds, strict=True):
            if len(member) == 1:  # it has no internal modes
                continue
            masses = beads.masses[member]
            values, vectors = laplacian_modes(masses, bonds)
            weights = np.sqrt(masses / masses.mean())
            modes = np.einsum(
                "bk,fbd->fkd", vectors * weights[:, None], positions[:, member]
            )
            now, later = modes[:-stride, 1:], modes[stride:, 1:]
            moments = [
                np.mean(a * b, axis=(0, 2))
                for a, b in ((now, now), (now, later), (later, later))
            ]
            rows.append(np.stack((values[1:], *moments)))
    if not rows:
        raise ValueError("training frames without any bonded beads, bonds are required")
    eigenvalues, before, both, after = np.concatenate(rows, axis=1)

    def cost(logs: NDArray[np.float64]) -> float:
        prior = RousePrior(rate=float(np.exp(logs[0])), variance=float(np.exp(logs[1])))
        kept, gained = (
            retention(eigenvalues, prior),
            gained_variance(eigenvalues, prior),
        )
        residual = after - 2.0 * kept * both + kept**2 * before
        return float(np.mean(np.log(gained) + residual / gained))

    best = minimize(cost, np.zeros(2), method="Nelder-Mead")
    return RousePrior(rate=float(np.exp(best.x[0])), variance=float(np.exp(best.x[1])))


class _Extremes(NamedTuple):
    """What one trajectory looks like; not a number where there is nothing to see.

    Attributes:
        square_move: mean square displacement of a bead in one step, nm^2.
        longest_move: largest displacement, nm.
        square_bond: mean square distance of bonded beads, nm^2.
        shortest_bond: nm.
        longest_bond: nm.
        closest: shortest distance of two beads that share no bond, nm.
        degree: mean number of edges that arrive at a bead.
    """

    square_move: float
    longest_move: float
    square_bond: float
    shortest_bond: float
    longest_bond: float
    closest: float
    degree: float


def measure(
    trajectories: Sequence[BeadTrajectory], time_step: float, cutoff: float | None
) -> Statistics:
    """Scales and guard limits of the training data.

    Args:
        trajectories: training molecules.
        time_step: of the model, ps.
        cutoff: of the model, nm, or None for all pairs of a molecule.

    Raises:
        ValueError: No two beads are bonded.
    """
    rows = [_extremes(item, time_step, cutoff) for item in trajectories]
    each = dict(zip(_Extremes._fields, np.array(rows).T, strict=True))
    if np.isnan(each["square_bond"]).all():
        raise ValueError("training frames without any bonded beads, bonds are required")
    closest = float(np.min(each["closest"]))
    return Statistics(
        length_scale=float(np.sqrt(np.nanmean(each["square_bond"]))),
        displacement_scale=float(np.sqrt(np.mean(each["square_move"]))),
        max_displacement=float(np.max(each["longest_move"])),
        bond_length_range=(
            float(np.nanmin(each["shortest_bond"])),
            float(np.nanmax(each["longest_bond"])),
        ),
        min_distance=closest if math.isfinite(closest) else 0.0,
        mean_degree=float(max(np.mean(each["degree"]), 1.0)),
    )


def _extremes(
    trajectory: BeadTrajectory, time_step: float, cutoff: float | None
) -> _Extremes:
    stride, mapping = stride_of(trajectory, time_step), trajectory.mapping
    # a periodic system moves as a whole, a molecule in the open is held at rest
    path = centred(trajectory) if trajectory.box is None else trajectory.positions
    move = np.linalg.norm(path[stride:] - path[:-stride], axis=-1)
    first, second = mapping.bead_bonds.T
    bond = np.full((1, 1), np.nan)
    if len(first):
        frames = trajectory.positions[::stride]
        gaps = frames[:, first] - frames[:, second]
        bond = np.linalg.norm(gaps.astype(np.float64), axis=-1)
    closest, degree = _neighbourhood(trajectory, stride, cutoff)
    return _Extremes(
        float(np.mean(move**2)),
        float(move.max()),
        float(np.mean(bond**2)),
        float(bond.min()),
        float(bond.max()),
        closest,
        degree,
    )


def _neighbourhood(
    trajectory: BeadTrajectory, stride: int, cutoff: float | None
) -> tuple[float, float]:
    """Shortest distance of beads without a bond, nm, and mean number of edges."""
    mapping = trajectory.mapping
    n, box = mapping.n_beads, trajectory.box
    bonds = torch.from_numpy(mapping.bead_bonds @ np.array([n, 1]))  # keys, i < j
    cells = None if box is None else [torch.tensor(box)]
    none = np.zeros((2, 0), np.int64)
    first, second = torch.from_numpy(
        _molecule_pairs(mapping) if cutoff is None else none
    )
    shift = torch.zeros(1, 3)
    closest, n_pairs = math.inf, []
    for frame in near_origin(trajectory)[::stride]:
        places = torch.tensor(frame)
        if cutoff is not None:
            first, second, _, shift = pairs_within([n], places, cutoff, cells)
        is_bond = torch.isin(first * n + second, bonds) & (shift == 0.0).all(dim=1)
        apart = (places[first] - places[second] + shift).norm(dim=1)[~is_bond]
        closest = min(closest, float(apart.min()) if len(apart) else math.inf)
        n_pairs.append(len(apart) + len(bonds))
    return closest, 2.0 * float(np.mean(n_pairs)) / n


def _molecule_pairs(mapping: Mapping) -> NDArray[np.int64]:
    """Pairs of beads of one molecule, (2, n_pairs), i < j."""
    molecules = mapping.bead_graph.molecules
    pairs = [beads[np.array(np.triu_indices(len(beads), k=1))] for beads in molecules]
    return np.concatenate(pairs, axis=1)
