"""How far molecules move: mean squared displacement and diffusivity of each species.

Molecules move as their centres of mass, drift of the box removed.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cgml.evaluation import drawing
from cgml.evaluation.measure import (
    Entry,
    Measure,
    Picture,
    Target,
    log10_ratio,
    noise,
    species,
    union,
    value,
)
from cgml.evaluation.parity import Parity, parity
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject
from cgml.molecules.centres import centres_of_mass
from cgml.observables import transport
from cgml.observables.statistics import Estimate
from cgml.observables.transport import Diffusivity, Displacement, Window

MIN_LAGS = 5
"""Lags in the window of a fit."""

MAX_BOXES = 4
"""Boxes that are drawn one by one."""

Floats = NDArray[np.float64]
Both = tuple[Displacement, Displacement]


def displacement(subject: Subject, run: Run, name: str, longest: float) -> Displacement:
    """Return the mean squared displacement of the molecules of one species.

    Args:
        subject: the box.
        run: frames.
        name: of the species.
        longest: largest lag, ps.
    """
    beads = subject.species[name]
    positions = transport.remove_drift(run.positions, subject.masses)
    centres = centres_of_mass(
        positions[:, :, beads], subject.molecules[beads], subject.masses[beads]
    )
    return transport.mean_squared_displacement(centres, run.time_step, longest=longest)


def reach(comparison: Comparison) -> float:
    """Return the largest lag that both sides and the options allow, ps."""
    halves = (0.5 * run.duration for run in comparison.runs)
    return min(comparison.options.longest, *halves)


def curves(comparison: Comparison) -> dict[str, Both]:
    """Return the displacements of both sides, by species."""
    subject, longest = comparison.subject, reach(comparison)
    result = {}
    for name in subject.species:
        one, other = (
            displacement(subject, run, name, longest) for run in comparison.runs
        )
        result[name] = (one, other)
    return result


def fits(comparison: Comparison) -> dict[str, tuple[Diffusivity, Diffusivity]]:
    """Return the diffusivities of both sides, by species, one window for both."""
    return {
        name: _fit(both, comparison.options.window)
        for name, both in comparison.once(curves).items()
    }


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Diffusivities and displacements of each species s.

    Args:
        comparison: of one box.

    Returns:
        log10_d_{s}_reference, _learned (D in nm^2/ps) and _error (learned less
        reference), msd_{s}_deviation (largest |log10| of the ratio of displacements).
    """
    figures = {}
    for name, both in comparison.once(curves).items():
        one, other = (fit.log10 for fit in comparison.once(fits)[name])
        figures[f"log10_d_{name}_reference"] = one
        figures[f"log10_d_{name}_learned"] = other
        figures[f"log10_d_{name}_error"] = Estimate(
            other.value - one.value, float(np.hypot(one.error, other.error))
        )
        figures[f"msd_{name}_deviation"] = deviation(both, comparison.options.shortest)
    return figures


def _fit(both: Both, window: Window | None) -> tuple[Diffusivity, Diffusivity]:
    """Fit both sides in the window of the reference."""
    if window is None:
        window, _ = transport.diffusive_window(both[0])
        if min(_count(curve.lags, window) for curve in both) < MIN_LAGS:
            last = min(float(curve.lags[-1]) for curve in both)
            window = 0.5 * last, last  # runs too short to be diffusive anywhere
    one, other = (transport.diffusivity(curve, window=window) for curve in both)
    return one, other


def _count(lags: Floats, window: Window) -> int:
    """Count the lags in a window."""
    return int(((lags >= window[0]) & (lags <= window[1])).sum())


def deviation(both: Both, shortest: float) -> Estimate:
    """Largest |log10| of the ratio of the two, at the lags of the coarser one.

    NaN where a run is too short to have any.
    """
    coarse = max(both, key=lambda curve: float(curve.lags[0]))
    low = max(shortest, coarse.lags[0]) * (1.0 - 1e-9)
    high = min(curve.lags[-1] for curve in both) * (1.0 + 1e-9)
    lags = coarse.lags[(coarse.lags >= low) & (coarse.lags <= high)]
    if not len(lags):
        return Estimate(np.nan, np.nan)
    one, other = (curve.at(lags) for curve in both)
    worst = int(np.argmax(np.abs(np.log10(other.values / one.values))))
    there = [
        Estimate(float(c.values[worst]), float(c.errors[worst])) for c in (one, other)
    ]
    ratio = log10_ratio(*there)
    return Estimate(abs(ratio.value), ratio.error)


def slowest_first(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return at most `MAX_BOXES` boxes, from slow to fast in the first species."""

    def speed(item: Comparison) -> float:
        name = f"log10_d_{next(iter(item.subject.species))}_reference"
        found = item.figures.get(name)
        return found.value if found is not None and np.isfinite(found.value) else 0.0

    return drawing.spread_out(comparisons, speed, MAX_BOXES)


def shown(comparisons: Sequence[Comparison]) -> str:
    """Say which boxes are drawn one by one."""
    names = [item.subject.name for item in slowest_first(comparisons)]
    rest = len(comparisons) - len(names)
    more = f" of {len(comparisons)}, slow to fast" if rest else ""
    return f"Drawn: {drawing.words_of(names)}{more}."


def displacements(comparisons: Sequence[Comparison]) -> Figure:
    """Displacement of each species, a panel, over the lag."""
    chosen = slowest_first(comparisons)
    names = union(species, chosen)
    figure, axes = drawing.grid(len(names), 2.4)
    styles = ("-", "--", ":", "-.")
    for axis, name in zip(axes, names, strict=True):
        for style, item in zip(styles, chosen, strict=False):
            for curve, colour in zip(
                item.once(curves).get(name, ()), drawing.COLOURS, strict=False
            ):
                drawing.band(axis, curve.lags, curve.values, curve.errors, colour)
                axis.plot(curve.lags, curve.values, color=colour, linestyle=style)
        drawing.entitle(axis, name)
        axis.set(xscale="log", yscale="log", xlabel="time / ps")
        _guide(axis)
    figure.supylabel("mean squared displacement / nm$^2$", fontsize=8.5)
    drawing.legend(
        figure,
        [
            (drawing.line("black", linestyle=style), item.subject.name)
            for style, item in zip(styles, chosen, strict=False)
            if len(chosen) > 1
        ],
    )
    return figure


def _guide(axis: Axes) -> None:
    """Draw a line of slope 1 below the curves."""
    drawn = np.concatenate([one.get_xydata() for one in axis.get_lines()])
    lags, values = drawn.T
    span = np.array([0.2 * lags.max(), lags.max()])
    low, top = float(np.nanmin(values[values > 0.0])), float(np.nanmax(values))
    level = 10.0 ** (0.75 * np.log10(low) + 0.25 * np.log10(top))
    axis.plot(span, level * span / span[0], color="black", linewidth=0.7)
    axis.text(span[1], level * 2.0, "slope 1", ha="right", va="top", fontsize=7.0)
    axis.set_ylim(bottom=0.5 * low)
    drawing.set_ticks(axis.xaxis, axis.get_xlim(), is_log=True)
    drawing.set_ticks(axis.yaxis, axis.get_ylim(), is_log=True)


def _read(subject: Subject, run: Run, duration: float, part: str) -> float:
    """log10 D from lags of a tenth to three tenths of the duration."""
    window = (0.1 * duration, 0.3 * duration)
    curve = displacement(subject, run, part, window[1])
    return transport.diffusivity(curve, window=window).log10.value


def _mean_absolute(reference: Floats, predicted: Floats) -> float:
    return float(np.mean(np.abs(predicted - reference)))


STEM = "log10_d_{}"
TARGET = Target(STEM, f"{STEM}_reference", _read)
PARITY = Parity(
    STEM,
    (r"$\log_{10} D$", "nm$^2$ ps$^{-1}$"),
    drawing.room,
    lambda right, predicted: (
        f"mean absolute error {_mean_absolute(right, predicted):.3f}"
    ),
    is_positive=False,
    target=TARGET,
)
D = "log<sub>10</sub> <i>D</i>"

MEASURE = Measure(
    name="displacement",
    place=60,
    parts=species,
    compute=compute,
    rows=(
        Entry(
            f"{STEM}_error",
            f"{D} of {{}}, mean absolute error",
            statistic=_mean_absolute,
            samples=(value(f"{STEM}_reference"), value(f"{STEM}_learned")),
            target=TARGET,
            pair=STEM,
        ),
        Entry(
            f"{STEM}_bias",
            "— mean error",
            samples=(value(f"{STEM}_error"),),
            is_judged=False,
        ),
        Entry(
            f"{STEM}_sampling_error",
            "— of which sampling of both sides",
            samples=(noise(f"{STEM}_error"),),
            is_judged=False,
        ),
        Entry(
            "msd_{}_deviation",
            "mean squared displacement of {} (centres of mass, drift removed), "
            "largest deviation of log<sub>10</sub>",
        ),
    ),
    columns=(
        Entry(f"{STEM}_reference", f"{D} {{}}, reference"),
        Entry(f"{STEM}_learned", "learned"),
    ),
    pictures=(
        Picture(
            "parity_diffusivity",
            lambda e: (
                "Diffusivity D of every box over that of the reference"
                f"{drawing.beside(e.predictions)}; molecules diffuse as their "
                "centres of "
                "mass, the drift of the box removed. Bars: standard errors. Bottom "
                "right: "
                "mean absolute error of log10 D. Line: equality."
            ),
            lambda e: parity(
                PARITY,
                union(species, e.comparisons),
                e.comparisons,
                e.predictions,
            ),
            "diffusivity: learned over reference",
        ),
        Picture(
            "displacements",
            lambda e: (
                "Mean squared displacement over the time between, of the centres "
                "of mass of the molecules of a species, the drift of the box removed. "
                f"{shown(e.comparisons)} Shaded: one standard error."
            ),
            lambda e: displacements(e.comparisons),
            "mean squared displacements",
        ),
    ),
    note="Property predictors (mean, composition, graph network) give diffusivities "
    "alone, and on alike boxes they are strong. What only a simulator gives, from one "
    "frame and without dynamics of the new box, is diffusivities, displacements, "
    "structure and lifetimes together.",
)
