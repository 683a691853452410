"""The prior of a potential, from training frames: springs, and walls between beads."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from cgml import units
from cgml.molecules.frames import BeadTrajectory, near_origin
from cgml.network.inputs import build_system
from cgml.network.pairs import PairSearch
from cgml.spec import ModelSpec

N_FRAMES = 4000  # of all systems
NEAR = 0.8  # of the smallest distance seen: where the wall stands
WALL = 20.0  # kT, of two beads in one place that were never seen there


class Prior(NamedTuple):
    """As in `PotentialSpec`."""

    bond_stiffness: float
    bond_length: float
    wall_distance: float
    wall_height: float


def fit_prior(spec: ModelSpec, systems: Sequence[BeadTrajectory]) -> Prior:
    """Boltzmann-invert the bonds, and find how near other beads come.

    The spring is the most likely one, p(r) ~ r^2 exp(-k (r - r0)^2 / 2 kT): it has the
    mean and the mean square of the lengths. The wall stands where no other two beads
    were seen.

    Args:
        spec: of the model.
        systems: training frames.
    """
    n = max(2, N_FRAMES // len(systems))
    found = [_distances(item, spec, n) for item in systems]
    bonds, others = (np.concatenate(part) for part in zip(*found, strict=True))
    thermal = units.thermal_energy(spec.temperature)
    stiffness, rest = spring(bonds)
    near = NEAR * float(others.min()) if len(others) else 0.0
    return Prior(stiffness * thermal, rest, near, WALL * thermal)


def _distances(
    item: BeadTrajectory, spec: ModelSpec, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances of bonded beads, and of others that are near, in about n frames, nm."""
    frames = near_origin(item)[:: max(1, len(item.positions) // n)]
    ends = item.mapping.bead_bonds
    bonds = np.linalg.norm(frames[:, ends[:, 0]] - frames[:, ends[:, 1]], axis=-1)
    beads = build_system(item.mapping, spec).beads
    boxes = None if item.box is None else [torch.tensor(item.box)]
    reach = spec.statistics.length_scale
    search, others = PairSearch(beads, [item.mapping.n_beads], reach, boxes), []
    for frame in frames:
        places = torch.from_numpy(frame)
        pairs = search(places)
        vectors = places[pairs.receiver] - places[pairs.sender] + pairs.shift
        others.append(vectors.norm(dim=1)[pairs.static[:, 0] < 0.5].numpy())
    return bonds.reshape(-1), np.concatenate(others)


def spring(lengths: NDArray[np.float64]) -> tuple[float, float]:
    """Stiffness, kT/nm^2, and length, nm, of the most likely spring of some lengths.

    Both are 0 where there are no bonds. The length may be below 0: it is one of the two
    numbers of p(r) ~ r^2 exp(-a r^2 - b r), a = k / 2 kT and b = -k r0 / kT.

    Example:
        >>> stiffness, rest = spring(np.linspace(0.99, 1.01, 100))
        >>> round(rest, 2)
        1.0
    """
    if len(lengths) == 0:
        return 0.0, 0.0
    mean, deviation = float(lengths.mean()), max(float(lengths.std()), 1e-6)
    grid = np.linspace(0.0, float(lengths.max()) + 4.0 * deviation, 4001)[1:]
    own, points = (lengths - mean) / deviation, (grid - mean) / deviation

    def surprise(values: NDArray[np.float64]) -> float:
        """Mean of -log p, but for a constant, of exp(-a u^2 - b u), u in deviations."""
        second, first = np.exp(values[0]), values[1]
        exponents = 2.0 * np.log(grid) - second * points**2 - first * points
        top = exponents.max()
        mass = np.log(np.exp(exponents - top).sum()) + top
        return float(mass + second * np.mean(own**2) + first * np.mean(own))

    second, first = minimize(surprise, [np.log(0.5), 0.0], method="Nelder-Mead").x
    second = float(np.exp(second))
    return 2.0 * second / deviation**2, mean - 0.5 * deviation * float(first) / second
