"""Two sets of runs of one periodic box of several species, one judged by the other.

Pure functions of arrays. One of the two is called the reference; the other may come
from a model, or from anywhere else.

Distributions use all frames of each side, displacements the spacing of each (a lag is
a lag), lifetimes the finest spacing that both share. Diffusivities of both sides are
fitted in one window, found on the reference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgml.evaluation.boxes import (
    BoxRun,
    Electrolyte,
    Pair,
    conduction,
    contacts,
    displacements,
)
from cgml.molecules.box import widths
from cgml.observables import statistics, structure, transport
from cgml.observables.residence import Residence
from cgml.observables.statistics import Estimate
from cgml.observables.structure import RadialDistribution
from cgml.observables.transport import Diffusivity, Displacement, Window

N_SEGMENTS = 10
"""Pieces of a run in which collisions are followed."""

MIN_DENSITY = 0.2
"""g(r) of the reference below which it is not judged."""

MIN_LAGS = 5
"""Lags in the window of a fit."""

SIDES = ("reference", "learned")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ComparisonOptions:
    """Where the two sides are compared.

    Attributes:
        shortest: smallest lag of displacements, ps.
        longest: largest lag of displacements, ps; at most half of the shorter run.
        window: of the fits of diffusivities, ps; None: where the reference is
            diffusive.
        cutoff: of radial distributions, nm; None: half the box, at most 4 times the
            edge of a bead's mean volume.
        n_bins: of radial distributions.
        quantile: of the nearest distances of the reference; what is closer collides.
    """

    shortest: float = 5.0
    longest: float = 500.0
    window: Window | None = None
    cutoff: float | None = None
    n_bins: int = 50
    quantile: float = 1e-3


@dataclass(frozen=True, eq=False)
class Comparison:
    """One box: all figures, and the arrays that the plots need; reference first.

    Attributes:
        electrolyte: what was compared.
        durations: of the runs, ps, (2,).
        figures: name -> value with standard error (NaN where there is none).
        displacements: species -> both sides.
        diffusivities: species -> both sides.
        distributions: pair -> both sides.
        residences: pair -> both sides, intermittent, within the first minimum of
            g(r) of the reference; pairs that one side never forms are missing.
        collisions: pairs per bead in successive pieces of the runs, (2, N_SEGMENTS).
    """

    electrolyte: Electrolyte
    durations: tuple[float, float]
    figures: dict[str, Estimate]
    displacements: dict[str, tuple[Displacement, Displacement]]
    diffusivities: dict[str, tuple[Diffusivity, Diffusivity]]
    distributions: dict[Pair, tuple[RadialDistribution, RadialDistribution]]
    residences: dict[Pair, tuple[Residence, Residence]]
    collisions: Floats


def compare(
    electrolyte: Electrolyte,
    reference: BoxRun,
    learned: BoxRun,
    strides: tuple[int, int] = (1, 1),
    options: ComparisonOptions | None = None,
) -> Comparison:
    """Compare two sets of runs of one box.

    Args:
        electrolyte: box, masses, bonds, species.
        reference: what is right.
        learned: what is judged.
        strides: of frames that give both sides the same spacing, from
            `comparison.common_strides`.
        options: lags, bins.

    Returns:
        Figures, by species s and pair a-b: log10_d_{s}_reference, _learned (D in
        nm^2/ps) and _error (learned less reference); msd_{s}_deviation (largest
        |log10| of the ratio of displacements); rdf_{a-b}_deviation (largest |g -
        g_ref| where g_ref > 0.2, over the peak of g_ref); lifetime_{a-b}_reference,
        _learned (ps) and _log10_error; coordination_{a-b}_*; collision_distance (nm),
        collisions_reference, _learned (pairs per bead) and collisions_ratio,
        collisions_end_ratio (last piece of the run); and, with charges and a
        temperature, conductivity_self_*, conductivity_collective_* (S/m) and
        transference_{s}_* of the ions.

    Raises:
        ValueError: strides that give different spacings, or runs too short.
    """
    settings = options or ComparisonOptions()
    runs = (reference, learned)
    spacings = [run.time_step * k for run, k in zip(runs, strides, strict=True)]
    if abs(spacings[1] / spacings[0] - 1.0) > 1e-6:
        raise ValueError(
            f"strides to a common spacing are required, {strides} give {spacings[0]:g} "
            f"ps and {spacings[1]:g} ps"
        )
    longest = min(settings.longest, *(0.5 * run.duration for run in runs))
    both = [displacements(electrolyte, run, longest) for run in runs]
    moved = {name: (both[0][name], both[1][name]) for name in electrolyte.groups}
    fits = {name: _fit(curves, settings.window) for name, curves in moved.items()}
    rdfs = _distributions(electrolyte, runs, settings)
    aligned = tuple(run.every(k) for run, k in zip(runs, strides, strict=True))
    stays, lifetimes = _residences(electrolyte, aligned, rdfs)
    clashes, collided = _collisions(electrolyte, runs, settings.quantile)
    figures = {
        **_mobility(moved, fits, settings.shortest),
        **{f"rdf_{_join(pair)}_deviation": _deviation(*g) for pair, g in rdfs.items()},
        **lifetimes,
        **collided,
        **_conduction(electrolyte, runs, fits, longest),
    }
    durations = (reference.duration, learned.duration)
    return Comparison(
        electrolyte, durations, figures, moved, fits, rdfs, stays, clashes
    )


def summarise(
    comparisons: Sequence[Comparison], generator: np.random.Generator
) -> dict[str, Estimate]:
    """Condense many boxes into the figures a model is judged by.

    Args:
        comparisons: one for each box, of the same species and pairs.
        generator: source of the bootstrap over boxes, which gives the errors.

    Returns:
        Name -> mean over boxes and its standard error (NaN for fewer than three):
        log10_d_{s}_error (of absolute values) and log10_d_{s}_bias,
        log10_d_{s}_sampling_error (the mean absolute error that the standard errors
        of both sides make by themselves), msd_{s}_deviation, rdf_{a-b}_deviation,
        lifetime_{a-b}_log10_error (absolute), collisions_ratio and
        collisions_end_ratio. Boxes without a figure are left out of it.
    """
    table = columns(comparisons)

    def over(values: Floats, statistic: Callable[..., float] = _mean) -> Estimate:
        kept = values[np.isfinite(values)]
        if not len(kept):
            return Estimate(float("nan"), float("nan"))
        error = statistics.bootstrap_error(statistic, kept, generator=generator)
        return Estimate(statistic(kept), error)

    result = {}
    for name in comparisons[0].electrolyte.groups:
        stem = f"log10_d_{name}"
        noise = np.array([item.figures[f"{stem}_error"].error for item in comparisons])
        result[f"{stem}_error"] = over(np.abs(table[f"{stem}_error"]))
        result[f"{stem}_bias"] = over(table[f"{stem}_error"])
        result[f"{stem}_sampling_error"] = over(noise * np.sqrt(2.0 / np.pi))
        result[f"msd_{name}_deviation"] = over(table[f"msd_{name}_deviation"])
    for pair in comparisons[0].electrolyte.pairs:
        name = _join(pair)
        result[f"rdf_{name}_deviation"] = over(table[f"rdf_{name}_deviation"])
        result[f"lifetime_{name}_log10_error"] = over(
            np.abs(table[f"lifetime_{name}_log10_error"])
        )
    for name in ("collisions_ratio", "collisions_end_ratio"):
        result[name] = over(table[name])
    return result


def columns(comparisons: Sequence[Comparison]) -> dict[str, Floats]:
    """Return each figure of all boxes, (n_boxes,)."""
    return {
        name: np.array([item.figures[name].value for item in comparisons])
        for name in comparisons[0].figures
    }


def _fit(
    curves: tuple[Displacement, Displacement], window: Window | None
) -> tuple[Diffusivity, Diffusivity]:
    """Fit both sides in the window of the reference."""
    if window is None:
        window, _ = transport.diffusive_window(curves[0])
        if min(_count(curve.lags, window) for curve in curves) < MIN_LAGS:
            last = min(float(curve.lags[-1]) for curve in curves)
            window = 0.5 * last, last  # runs too short to be diffusive anywhere
    one, other = (transport.diffusivity(curve, window=window) for curve in curves)
    return one, other


def _count(lags: Floats, window: Window) -> int:
    """Count the lags in a window."""
    return int(((lags >= window[0]) & (lags <= window[1])).sum())


def _mobility(
    moved: dict[str, tuple[Displacement, Displacement]],
    fits: dict[str, tuple[Diffusivity, Diffusivity]],
    shortest: float,
) -> dict[str, Estimate]:
    """Diffusivities and displacements."""
    figures = {}
    for name, curves in moved.items():
        one, other = (fit.log10 for fit in fits[name])
        noise = float(np.hypot(one.error, other.error))
        figures[f"log10_d_{name}_reference"] = one
        figures[f"log10_d_{name}_learned"] = other
        figures[f"log10_d_{name}_error"] = Estimate(other.value - one.value, noise)
        coarse = max(curves, key=lambda curve: float(curve.lags[0]))
        low = max(shortest, coarse.lags[0]) * (1.0 - 1e-9)
        high = min(curve.lags[-1] for curve in curves) * (1.0 + 1e-9)
        lags = coarse.lags[(coarse.lags >= low) & (coarse.lags <= high)]
        right, learned = (curve.at(lags) for curve in curves)
        ratio = np.log10(learned.values / right.values)
        worst = int(np.argmax(np.abs(ratio)))
        spread = [float(c.errors[worst] / c.values[worst]) for c in (right, learned)]
        figures[f"msd_{name}_deviation"] = Estimate(
            float(abs(ratio[worst])), float(np.linalg.norm(spread) / np.log(10.0))
        )
    return figures


def _distributions(
    electrolyte: Electrolyte,
    runs: tuple[BoxRun, BoxRun],
    options: ComparisonOptions,
) -> dict[Pair, tuple[RadialDistribution, RadialDistribution]]:
    """Radial distributions of all pairs; pairs within a molecule do not count."""
    edge = (electrolyte.volume / len(electrolyte.masses)) ** (1.0 / 3.0)
    half = 0.499 * float(widths(electrolyte.box).min())
    cutoff = min(half, 4.0 * edge) if options.cutoff is None else options.cutoff

    def measure(run: BoxRun, pair: Pair) -> RadialDistribution:
        return structure.radial_distribution(
            run.positions,
            electrolyte.box,
            cutoff=cutoff,
            pair=electrolyte.pair(pair),
            molecules=electrolyte.molecules,
            n_bins=options.n_bins,
        )

    return {
        pair: (measure(runs[0], pair), measure(runs[1], pair))
        for pair in electrolyte.pairs
    }


def _deviation(reference: RadialDistribution, learned: RadialDistribution) -> Estimate:
    """Largest difference where the reference has neighbours, over its peak."""
    judged = reference.values > MIN_DENSITY
    difference = np.where(judged, np.abs(learned.values - reference.values), 0.0)
    worst, peak = int(np.argmax(difference)), float(reference.values.max())
    noise = float(np.hypot(reference.errors[worst], learned.errors[worst]))
    return Estimate(float(difference[worst]) / peak, noise / peak)


def _residences(
    electrolyte: Electrolyte,
    runs: tuple[BoxRun, ...],
    rdfs: dict[Pair, tuple[RadialDistribution, RadialDistribution]],
) -> tuple[dict[Pair, tuple[Residence, Residence]], dict[str, Estimate]]:
    """Lifetimes and numbers of contacts."""
    stays, figures = {}, {}
    for pair, (right, _) in rdfs.items():
        cutoff, name = structure.first_minimum(right), _join(pair)
        found = []
        for side, run in zip(SIDES, runs, strict=True):
            stay, number = contacts(electrolyte, run, pair, cutoff)
            found.append(stay)
            figures[f"coordination_{name}_{side}"] = number
            figures[f"lifetime_{name}_{side}"] = (
                Estimate(np.nan, np.nan) if stay is None else stay.lifetime
            )
        one, other = (figures[f"lifetime_{name}_{side}"] for side in SIDES)
        noise = np.hypot(one.error / one.value, other.error / other.value)
        figures[f"lifetime_{name}_log10_error"] = Estimate(
            float(np.log10(other.value / one.value)), float(noise / np.log(10.0))
        )
        if found[0] is not None and found[1] is not None:
            stays[pair] = (found[0], found[1])
    return stays, figures


def _collisions(
    electrolyte: Electrolyte, runs: tuple[BoxRun, BoxRun], quantile: float
) -> tuple[Floats, dict[str, Estimate]]:
    """Pairs closer than the reference hardly ever has them."""
    box, bonds = electrolyte.box, electrolyte.bonds
    nearest = structure.nearest_distances(runs[0].positions, box, bonds=bonds)
    distance = structure.collision_distance(nearest, quantile)
    series = [
        structure.collisions(run.positions, box, distance, bonds=bonds) for run in runs
    ]
    pieces = [
        [float(piece.mean()) for piece in np.array_split(item, N_SEGMENTS, axis=1)]
        for item in series
    ]
    one, other = (statistics.mean_estimate(item) for item in series)
    last = np.array_split(series[1], N_SEGMENTS, axis=1)[-1]
    end = statistics.mean_estimate(last)
    ratio = other.value / one.value
    noise = np.hypot(one.error * ratio, other.error) / one.value
    figures = {
        "collision_distance": _exact(distance),
        "collisions_reference": one,
        "collisions_learned": other,
        "collisions_ratio": Estimate(ratio, float(noise)),
        "collisions_end_ratio": Estimate(
            end.value / one.value,
            float(np.hypot(end.error, one.error * end.value / one.value) / one.value),
        ),
    }
    return np.array(pieces), figures


def _conduction(
    electrolyte: Electrolyte,
    runs: tuple[BoxRun, BoxRun],
    fits: dict[str, tuple[Diffusivity, Diffusivity]],
    longest: float,
) -> dict[str, Estimate]:
    """Conductivities and transference numbers of both sides."""
    figures: dict[str, Estimate] = {}
    for place, (side, run) in enumerate(zip(SIDES, runs, strict=True)):
        own = {name: both[place] for name, both in fits.items()}
        measured = conduction(electrolyte, run, own, longest)
        figures |= {f"{name}_{side}": value for name, value in measured.items()}
    return figures


def _join(pair: Pair) -> str:
    return "-".join(pair)


def _mean(values: Floats) -> float:
    return float(np.mean(values))


def _exact(value: float) -> Estimate:
    return Estimate(value, float("nan"))
