"""The samplers as tables of linear steps, for programs that cannot call back."""

import math
from itertools import pairwise

from cgml.network.refiner import noise_levels
from cgml.spec import Refinement


def schedule(refinement: Refinement) -> tuple[float, list[list[float]]]:
    """A sampler of refiner.py as a table.

    Args:
        refinement: sampler and levels.

    Returns:
        What the first noise is multiplied by, and for each evaluation D of the denoiser
        at a white point x: sigma, and what x, D - x, both of the evaluation before, and
        fresh noise are multiplied by in the sum that is the next point.
    """
    levels = noise_levels(refinement)
    if refinement.sampler == "none":
        return 1.0, []
    if refinement.sampler == "langevin":
        size, kick = refinement.step_size, math.sqrt(2.0 * refinement.step_size)
        shares = [size / sigma**2 for sigma in levels]
        return 1.0, [
            [sigma, 1.0, share, 0.0, 0.0, kick]
            for sigma, share in zip(levels, shares, strict=True)
            for _ in range(refinement.n_repeats)
        ]
    angles = [math.atan(level) for level in levels]
    rows = (
        _heun(angles)
        if refinement.sampler == "heun"
        else _bashforth(angles, refinement)
    )
    return 1.0 / math.cos(angles[0]), [*rows, [levels[-1], 1.0, 1.0, 0.0, 0.0, 0.0]]


def _heun(angles: list[float]) -> list[list[float]]:
    """Rows of Heun's rule in the angle."""
    rows = []
    for angle, lower in pairwise(angles):
        step, end = angle - lower, math.cos(lower)
        point, clean = _slope(angle)
        middle, ahead = _slope(lower)
        start = math.cos(angle)
        both = [0.5 * step * middle, 0.5 * step * ahead]
        both += [start + 0.5 * step * point, 0.5 * step * clean]
        first = [start + step * point, step * clean, 0.0, 0.0]
        rows.append([math.tan(angle), *(term / end for term in first), 0.0])
        rows.append([math.tan(lower), *(term / end for term in both), 0.0])
    return rows


def _bashforth(angles: list[float], refinement: Refinement) -> list[list[float]]:
    """Rows of the two-step rule in the angle, with fresh noise if asked for."""
    rows, before, earlier = [], 0.0, 0.0
    floor = refinement.noise_min if refinement.sampler == "ancestral" else math.inf
    for angle, lower in pairwise(angles):
        step, end = angle - lower, math.cos(lower)
        time = 0.0
        if math.tan(lower) >= floor:
            time = math.log(end / math.cos(angle))
        weight = step - math.expm1(-time) / math.tan(0.5 * (angle + lower))
        share = 0.5 * step / before if before > 0.0 else 0.0
        point, clean = _slope(angle)
        point_before, clean_before = _slope(earlier) if share else (0.0, 0.0)
        terms = [
            math.exp(-time) * math.cos(angle) + weight * (1.0 + share) * point,
            weight * (1.0 + share) * clean,
            -weight * share * point_before,
            -weight * share * clean_before,
            math.sqrt(-math.expm1(-2.0 * time)),
        ]
        rows.append([math.tan(angle), *(term / end for term in terms)])
        before, earlier = step, angle
    return rows


def _slope(angle: float) -> tuple[float, float]:
    """Factors of a white point and of its way to the denoised one in F of refiner.py.

    F = (D - x cos^2) / sin = x sin + (D - x) / sin.
    """
    return math.sin(angle), 1.0 / math.sin(angle)
