"""Samplers of the score network: each is a table of linear steps.

Solvers step in the angle theta = arctan sigma. With u = w cos(theta), which has unit
variance at every level, the probability flow is du / dtheta = -F, where
F = (D - u cos(theta)) / sin(theta) and D is the denoised point (F is the "v" of
Salimans and Ho, and the network's output alone). F vanishes where the target is the
predictor's Gaussian: that part is exact for any number of levels (for a flow in sigma,
ten levels widen it by 3 %), and only what the network adds is integrated.

References:
    T. Salimans, J. Ho, ICLR 2022, arXiv 2202.00512: the angle and v.
    Y. Song et al., ICLR 2021, eq. 6: the reverse diffusion.
    X. Fu et al., TMLR 2023: annealed Langevin dynamics with one step size.
"""

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import torch

from cgml.spec import Refinement

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
"""(white, sigma) -> expected noise-free white coordinates."""


class Evaluation(NamedTuple):
    """One evaluation of the score network and the step in u that follows it."""

    sigma: float  # noise level
    cosine: float  # of its angle; w = u / cosine is what the network is asked about
    sine: float  # of its angle, so that F = (D - u cosine) / sine
    kept: float = 1.0  # u' = kept u + gain E + fresh noise[draw], where ...
    gain: float = 0.0
    lead: float = 1.0  # ... E = lead F + change (F - F of the evaluation before)
    change: float = 0.0
    fresh: float = 0.0
    draw: int = 0  # number of the noise
    is_answer: bool = False  # the denoised point is the sample, and no step follows


class Schedule(NamedTuple):
    """What a sampler does."""

    start: float  # standard deviation of the white coordinates before the first step
    rows: list[Evaluation]  # evaluations, one after the other


def noise_levels(refinement: Refinement) -> list[float]:
    """Descending noise levels tan(theta), n_levels of them, even in theta^(1/rho)."""
    n, power = refinement.n_levels, 1.0 / refinement.rho
    first = math.atan(refinement.sigma_max) ** power
    last = math.atan(refinement.sigma_min) ** power
    return [
        math.tan((first + index / max(n - 1, 1) * (last - first)) ** refinement.rho)
        for index in range(n)
    ]


def n_draws(refinement: Refinement) -> int:
    """Independent standard normal fields that one sample needs."""
    if refinement.sampler == "ancestral":
        return refinement.n_levels
    if refinement.sampler == "langevin":
        return 1 + refinement.n_levels * refinement.n_repeats
    return 1


@cache
def schedule(refinement: Refinement) -> Schedule:
    """What a sampler does; not to be changed."""
    if refinement.sampler == "none":
        return Schedule(1.0, [])
    levels = noise_levels(refinement)
    if refinement.sampler == "langevin":
        return Schedule(1.0, _langevin(levels, refinement))
    angles = [math.atan(level) for level in levels]
    rows = (
        _heun(angles)
        if refinement.sampler == "heun"
        else _multistep(angles, _mixing(levels, refinement))
    )
    answer = Evaluation(*_at(angles[-1], levels[-1]), is_answer=True)
    # the predictor's own spread and the first noise level together
    return Schedule((1.0 + levels[0] ** 2) ** 0.5, [*rows, answer])


def sample(
    denoise: Denoise, noise: torch.Tensor, refinement: Refinement
) -> torch.Tensor:
    """Draw from the conditional distribution of the next white coordinates.

    Args:
        denoise: what the score network says.
        noise: (n_draws, n_beads, 3) standard normal.
        refinement: sampler and levels.

    Returns:
        (n_beads, 3) white coordinates.
    """
    start, rows = schedule(refinement)
    unit = slope = noise[0]
    if rows:
        unit = unit * start * rows[0].cosine
    for row in rows:
        clean = denoise(unit / row.cosine, row.sigma)
        unit, slope = advance(row, unit, slope, clean, noise)
    return unit


def advance(
    row: Evaluation,
    unit: torch.Tensor,
    before: torch.Tensor,
    clean: torch.Tensor,
    noise: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do the step that follows an evaluation.

    Args:
        row: of the schedule.
        unit: (n_beads, 3) u.
        before: (n_beads, 3) F of the evaluation before; anything in the first.
        clean: (n_beads, 3) the denoised point.
        noise: (n_draws, n_beads, 3) standard normal.

    Returns:
        The next u, and F.
    """
    if row.is_answer:
        return clean, before
    slope = (clean - unit * row.cosine) / row.sine
    estimate = slope
    if row.change != 0.0:
        estimate = row.lead * slope + row.change * (slope - before)
    unit = row.kept * unit + row.gain * estimate
    if row.fresh != 0.0:
        unit = unit + row.fresh * noise[row.draw]
    return unit, slope


def _at(angle: float, level: float | None = None) -> tuple[float, float, float]:
    """Noise level, cosine and sine of an angle."""
    level = math.tan(angle) if level is None else level
    return level, math.cos(angle), math.sin(angle)


def _multistep(angles: list[float], mixing: list[float]) -> list[Evaluation]:
    """Second-order Adams-Bashforth steps in the angle.

    Between two levels a time s of Langevin dynamics at a fixed level,
    du = (-u + F / tan(theta)) ds + sqrt(2) dW, may be mixed in, with the same F; of
    it, too, the Gaussian part is exact. It forgets what earlier evaluations got wrong.

    Args:
        angles: of the levels, descending.
        mixing: s after each level.
    """
    rows, before = [], math.inf
    for index, (angle, lower) in enumerate(pairwise(angles)):
        step, time = angle - lower, mixing[index]
        share = -math.expm1(-time) / math.tan(0.5 * (angle + lower))
        rows.append(
            Evaluation(
                *_at(angle),
                kept=math.exp(-time),
                gain=step + share,
                change=0.5 * step / before,
                fresh=math.sqrt(-math.expm1(-2.0 * time)),
                draw=1 + index,
            )
        )
        before = step
    return rows


def _mixing(levels: list[float], refinement: Refinement) -> list[float]:
    """Langevin time of the reverse diffusion, the integral of tan(theta) dtheta.

    The reverse diffusion is the probability flow with Langevin dynamics that adds as
    much drift again. The flow has none.
    """
    floor = refinement.noise_min if refinement.sampler == "ancestral" else math.inf
    cosines = [math.cos(math.atan(level)) for level in levels]
    return [
        math.log(cosines[index + 1] / cosines[index]) if lower >= floor else 0.0
        for index, lower in enumerate(levels[1:])
    ]


def _heun(angles: list[float]) -> list[Evaluation]:
    """Heun's rule in the angle: a step, and half the change of F at its end."""
    rows = []
    for angle, lower in pairwise(angles):
        step = angle - lower
        rows.append(Evaluation(*_at(angle), gain=step))
        rows.append(Evaluation(*_at(lower), gain=0.5 * step, lead=0.0, change=1.0))
    return rows


def _langevin(levels: list[float], refinement: Refinement) -> list[Evaluation]:
    """Annealed Langevin dynamics with one step size at all levels.

    It starts from a draw of the predictor and moves it little. Here u is w, and F the
    score.
    """
    size, n = refinement.step_size, refinement.n_repeats
    return [
        Evaluation(
            sigma, 1.0, sigma**2, gain=size, fresh=(2.0 * size) ** 0.5, draw=1 + number
        )
        for number, sigma in enumerate(level for level in levels for _ in range(n))
    ]
