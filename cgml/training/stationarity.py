"""One step must leave equilibrium as it is: the means of slow functions stay.

For equilibrium frames x and test functions phi, the mean of E[phi(x') | x] - phi(x)
vanishes. One-step losses do not resolve this where phi forgets little in a step: of a
bias b of the stationary mean one step makes (1 - rho) b, with rho the autocorrelation
of phi after a step. The drift over 1 - rho says to first order how far the stationary
mean of the model is off; noise of a step does not enter, only that of the frames.

The functions are means over the molecules of several beads of a system: the squares of
their slowest normal modes (ideal_chain.py), and of all, which is Rg^2 times a constant;
and counts of unbonded pairs of beads nearer than some distances, smooth, a coarse pair
histogram.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from cgml.molecules.frames import BeadTrajectory, near_origin
from cgml.molecules.systems import sum_by
from cgml.network.gaussian import Prediction, project, unwhiten
from cgml.network.inputs import Beads, build_system, join_beads
from cgml.network.leaves import add_shift, differences
from cgml.network.pairs import Layout, PairSearch, lay_out
from cgml.network.sampler import n_draws, sample
from cgml.spec import ModelSpec
from cgml.training.scales import stride_of
from cgml.training.windows import Batch

N_MODES = 3  # of a molecule, the slowest
SHELLS = (0.3, 0.5, 0.7)  # of the reach: distances of the counted pairs
EDGE = 0.05  # of the reach: over which a pair begins to count
N_PAIRS = 64  # of frames one step apart, of a trajectory, for the scales
CHUNK = 16  # frames at once


def stationarity_loss(
    model: Any,
    batch: Batch,
    prediction: Prediction,
    spec: ModelSpec,
    n_windows: int,
    stream: torch.Generator,
) -> torch.Tensor:
    """Square of the mean drift of the slow functions of each system, without bias, ().

    The product of the drifts of two windows, averaged over all pairs of windows of a
    system and over systems and functions: the mean square relative error, to first
    order, of the stationary means. Frames of one short trajectory depend on each other:
    what is matched is what they say.

    Args:
        model: a Model.
        batch: windows, those of a system one after the other.
        prediction: of the batch.
        spec: of the model.
        n_windows: of each system, two or more.
        stream: source of the noise of the step.
    """
    shape = (n_draws(spec.refinement), *batch.target.shape)
    draws = torch.randn(shape, generator=stream).to(batch.target.device)
    found = drifts(model, batch, prediction, draws, spec) * batch.slow
    groups = found.view(-1, n_windows, found.size(1))
    products = groups.sum(dim=1).square() - groups.square().sum(dim=1)
    return products.mean().float() / (n_windows * (n_windows - 1))


def drifts(
    model: Any,
    batch: Batch,
    prediction: Prediction,
    draws: torch.Tensor,
    spec: ModelSpec,
) -> torch.Tensor:
    """Expected change of the slow functions in a step, (n_systems, n_functions).

    Of the Gaussian in closed form, phi(mean) + trace, where phi is quadratic; of what
    the score network adds, from the noise given and its opposite: what is odd in the
    noise cancels. For the arguments see `stationarity_loss`; draws are (n_draws,
    n_beads, 3) standard normals.
    """
    beads, layout, systems = batch.beads, batch.layout, batch.systems
    mean, spread, now = prediction.mean, prediction.spread, batch.history.positions
    condition = model.conditioner(layout, now, prediction)
    embedding = model.embedding(batch.atoms).index_select(0, batch.embedding_rows)
    where = beads, layout, batch.far

    def denoise(white: torch.Tensor, sigma: float) -> torch.Tensor:
        level = white.new_full((1, 1), sigma)
        clean = model.denoise(where, embedding, condition, white, level)
        return project(clean, spread, beads)

    square = squares(beads, systems, mean, spread) - squares(beads, systems, now)
    near = -neighbours(layout, systems, now, reach_of(spec))
    for sign in (1.0, -1.0):
        noise = torch.stack([project(sign * draw, spread, beads) for draw in draws])
        white = sample(denoise, noise, spec.refinement)
        after = unwhiten(white, mean, spread, beads)
        plain = unwhiten(noise[0], mean, spread, beads)
        added = squares(beads, systems, after) - squares(beads, systems, plain)
        square = square + 0.5 * added
        near = near + 0.5 * neighbours(layout, systems, after, reach_of(spec))
    return torch.cat((square, near), dim=1)


def reach_of(spec: ModelSpec) -> float:
    """Distance of the pairs that are looked at, nm."""
    return spec.cutoff or 2.0 * spec.statistics.length_scale


def squares(
    beads: Beads,
    systems: torch.Tensor,
    positions: torch.Tensor,
    spread: torch.Tensor | None = None,
) -> torch.Tensor:
    """Squares of the slowest modes and mean square of all, nm^2.

    Args:
        beads: of all systems.
        systems: (n_beads,) system of each bead.
        positions: (n_beads, 3) nm; or, with a spread, the mean of a Gaussian.
        spread: (n_beads, 1) of the Gaussian, see Prediction: the expected squares.

    Returns:
        (n_systems, N_MODES + 1) float64, means over the molecules of several beads.
    """
    kinds, n_systems = beads.kinds, int(systems.max()) + 1
    total = positions.new_zeros((n_systems, N_MODES + 2), dtype=torch.float64)
    for members, kept, root in zip(kinds.members, kinds.mean, kinds.root, strict=True):
        n, m = members.shape
        if m == 1:
            continue
        weights = beads.masses[members[: len(kept)]].double().sqrt()  # (1 or n, m, 1)
        weights = weights / weights.square().mean(dim=1, keepdim=True).sqrt()
        symmetric = weights * kept / weights.transpose(1, 2)
        vectors = torch.linalg.eigh(symmetric).eigenvectors.flip(-1)  # slowest first
        modes = (vectors * weights).transpose(1, 2)[:, 1:]  # without the centre
        square = (modes @ positions[members].double()).square().sum(dim=2)
        if spread is not None:
            variance = (modes @ root).square() @ spread[members].double().square()
            square = square + 3.0 * variance.squeeze(2)
        slow = torch.nn.functional.pad(square, (0, N_MODES))[:, :N_MODES]
        own = (slow, square.mean(dim=1, keepdim=True), square.new_ones(n, 1))
        total = total + sum_by(systems[members[:, 0]], torch.cat(own, 1), n_systems)
    return total[:, :-1] / total[:, -1:].clamp(min=1.0)


def neighbours(
    layout: Layout, systems: torch.Tensor, positions: torch.Tensor, reach: float
) -> torch.Tensor:
    """Unbonded pairs per bead nearer than each distance, (n_systems, n_shells)."""
    gaps = add_shift(differences(positions, layout), layout)
    lengths = gaps.square().sum(dim=0).clamp(min=1e-8).sqrt()
    edges = reach * lengths.new_tensor(SHELLS)
    counts = torch.sigmoid((edges - lengths[:, None]) / (EDGE * reach))
    is_pair = (layout.receiver != layout.sender) & (layout.static[:, 0] == 0.0)
    n_systems = int(systems.max()) + 1
    owners = systems.index_select(0, layout.receiver)
    total = sum_by(owners, (counts * is_pair[:, None]).double(), n_systems)
    return total / torch.bincount(systems, minlength=n_systems)[:, None]


def slow_weights(
    train: Sequence[BeadTrajectory],
    validation: Sequence[BeadTrajectory],
    spec: ModelSpec,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What makes drifts relative errors of stationary means, (n, 2, n_functions) each.

    1 / ((1 - rho) phi); 0 where the function is 0. phi is the root mean square of the
    function over the half of the frames of a system that the windows are not of: where
    a short trajectory has small values by chance, the drift is upwards, and divided by
    these same values it would count for more than one downwards. The one-step
    autocorrelation rho is that of the system and of all training systems, half and
    half.
    """
    own, others = (
        [(*row, _spread(*row)) for row in (_values(item, spec) for item in items)]
        for items in (train, validation)
    )
    known = torch.stack([spread for *_, spread in own]).mean(dim=0)
    first, second = (
        torch.stack([_weights(*row, known) for row in some]) for some in (own, others)
    )
    return first, second


def _spread(now: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
    """Mean square change in a step and variance, over the mean square, (2, n)."""
    both = torch.cat((now, later))
    square = both.square().mean(dim=0).clamp(min=1e-24)
    change = (later - now).square().mean(dim=0) / square
    return torch.stack((change, both.var(dim=0, correction=0) / square))


def _weights(
    now: torch.Tensor, later: torch.Tensor, spread: torch.Tensor, known: torch.Tensor
) -> torch.Tensor:
    """Weights of one system, (2, n_functions), by its own spread and that of all."""
    change, variance = spread + known
    middle, last = max(len(now) // 2, 1), len(now) - 1
    other = slice(min(middle, last), None), slice(middle)
    sizes = [
        torch.cat((now[half], later[half])).square().mean(dim=0).sqrt()
        for half in other
    ]
    forgotten = change / (2.0 * variance)
    weights: torch.Tensor = 1.0 / (forgotten * torch.stack(sizes))
    return weights.nan_to_num(0.0, 0.0, 0.0)


def _values(item: BeadTrajectory, spec: ModelSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Functions of frames and of those a step later, (n_frames, n_functions) each."""
    stride = stride_of(item, spec.time_step)
    n_starts = len(item.positions) - stride
    starts = np.unique(np.linspace(0, n_starts - 1, min(N_PAIRS, n_starts)).astype(int))
    frames = np.concatenate((starts, starts + stride))
    paths = torch.from_numpy(near_origin(item)[frames].astype(np.float32))
    graph = build_system(item.mapping, spec)
    rows = [
        _functions(part, graph.beads, item, spec) for part in torch.split(paths, CHUNK)
    ]
    now, later = torch.split(torch.cat(rows), len(starts))
    return now, later


def _functions(
    frames: torch.Tensor, one: Beads, item: BeadTrajectory, spec: ModelSpec
) -> torch.Tensor:
    """Functions of frames (n_frames, n_beads, 3) of one system."""
    n_frames, n_beads = frames.shape[:2]
    beads = join_beads([one] * n_frames)
    sizes, positions = [n_beads] * n_frames, frames.reshape(-1, 3)
    cells = None if item.box is None else [torch.tensor(item.box)] * n_frames
    pairs = PairSearch(beads, sizes, spec.cutoff, cells)(positions)
    layout = lay_out(pairs, len(positions), is_periodic=spec.periodic)
    systems = torch.arange(n_frames).repeat_interleave(n_beads)
    near = neighbours(layout, systems, positions, reach_of(spec))
    return torch.cat((squares(beads, systems, positions), near), dim=1)
