"""Figures of periodic boxes of several species: the model laid over its reference."""

from collections.abc import Sequence
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from cgml.evaluation.box_baselines import Prediction
from cgml.evaluation.box_comparison import N_SEGMENTS, Comparison
from cgml.evaluation.boxes import Pair
from cgml.evaluation.figures import BASELINE, LEARNED, REFERENCE, panel_row, panels
from cgml.observables.statistics import Estimate

COLOURS = (REFERENCE, LEARNED)
MAX_BOXES = 4
"""Boxes that are drawn one by one."""

Floats = NDArray[np.float64]
Dash = Literal["-", "--", ":", "-."]


def parity_diffusivity(
    comparisons: Sequence[Comparison], predictions: Sequence[Prediction] = ()
) -> Figure:
    """Diffusivity of each species, a row, by each method, a column."""
    species = list(comparisons[0].electrolyte.groups)
    names = ["learned model", *(item.name for item in predictions)]
    figure, rows = panels(len(species), len(names), 1.75, 1.75)
    for row, name in zip(rows, species, strict=True):
        right = _figures(comparisons, f"log10_d_{name}_reference")
        learned = _figures(comparisons, f"log10_d_{name}_learned")
        others = [item.of(name) for item in predictions]
        methods = [learned, *(np.column_stack((v, np.zeros(len(v)))) for v in others)]
        low, high = _limits(np.concatenate([right[:, 0], *(m[:, 0] for m in methods)]))
        for k, (axis, method) in enumerate(zip(row, methods, strict=True)):
            _parity(axis, right, method, LEARNED if k == 0 else BASELINE)
            axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
            if axis in rows[0]:
                axis.set_title(names[k], pad=3)
        row[0].set_ylabel(f"{name}\n$\\log_{{10}} D$ predicted")
    figure.supxlabel(
        r"$\log_{10}$ of the diffusivity of the reference / nm$^2$ ps$^{-1}$",
        fontsize=8.5,
    )
    return figure


def displacements(comparisons: Sequence[Comparison]) -> Figure:
    """Mean squared displacement of each species, boxes from slow to fast."""
    chosen = spread_out(comparisons)
    species = list(chosen[0].electrolyte.groups)
    figure, axes = panel_row(len(species), 2.5, 2.4)
    for axis, name in zip(axes, species, strict=True):
        for k, item in enumerate(chosen):
            for curve, colour in zip(item.displacements[name], COLOURS, strict=True):
                low = np.maximum(curve.values - curve.errors, 1e-12)
                axis.fill_between(
                    curve.lags,
                    low,
                    curve.values + curve.errors,
                    color=colour,
                    alpha=0.2,
                    linewidth=0,
                )
                axis.plot(curve.lags, curve.values, color=colour, linestyle=_dash(k))
        _guide(axis, chosen[0].displacements[name][0].lags)
        axis.set(title=name, xscale="log", yscale="log", xlabel="time / ps")
    axes[0].set_ylabel("mean squared displacement / nm$^2$")
    _legend(figure, [item.electrolyte.name for item in chosen])
    return figure


def radial_distributions(comparisons: Sequence[Comparison]) -> Figure:
    """Radial distribution functions: a row for each box, a column for each pair."""
    chosen = spread_out(comparisons)
    pairs = list(chosen[0].distributions)
    figure, rows = panels(len(chosen), len(pairs), 1.9, 1.6)
    for row, item in zip(rows, chosen, strict=True):
        for axis, pair in zip(row, pairs, strict=True):
            for rdf, colour in zip(item.distributions[pair], COLOURS, strict=True):
                axis.fill_between(
                    rdf.distances,
                    rdf.values - rdf.errors,
                    rdf.values + rdf.errors,
                    color=colour,
                    alpha=0.25,
                    linewidth=0,
                )
                axis.plot(rdf.distances, rdf.values, color=colour, linewidth=1.2)
            axis.axhline(1.0, color="black", linewidth=0.4)
            axis.set(xlim=(0.0, rdf.distances[-1]), ylim=(0.0, None))
    _label_pairs(rows, chosen, pairs, ("distance / nm", "$g(r)$"))
    _legend(figure)
    return figure


def collisions(comparisons: Sequence[Comparison]) -> Figure:
    """Close pairs along the run over the mean of the reference."""
    chosen = spread_out(comparisons)
    figure, axes = panel_row(len(chosen), 2.3, 2.0)
    part = (np.arange(N_SEGMENTS) + 0.5) / N_SEGMENTS
    top = 2.0
    for axis, item in zip(axes, chosen, strict=True):
        mean = item.figures["collisions_reference"].value
        for values, duration, colour in zip(
            item.collisions, item.durations, COLOURS, strict=True
        ):
            axis.plot(
                1e-3 * duration * part, values / mean, "o-", color=colour, markersize=3
            )
            top = max(top, 1.15 * float(values.max()) / mean)
        axis.axhline(1.0, color="black", linewidth=0.4)
        axis.set(title=item.electrolyte.name, xlabel="time / ns")
        axis.set_xlim(0.0, 1e-3 * max(item.durations))
    for axis in axes:
        axis.set_ylim(0.0, top)
    axes[0].set_ylabel("collisions / mean of reference")
    _legend(figure)
    return figure


def residences(comparisons: Sequence[Comparison]) -> Figure:
    """Correlation of contacts above chance: a row for each box."""
    chosen = spread_out(comparisons)
    pairs = list(chosen[0].electrolyte.pairs)
    figure, rows = panels(len(chosen), len(pairs), 1.9, 1.6)
    for row, item in zip(rows, chosen, strict=True):
        for axis, pair in zip(row, pairs, strict=True):
            notes = []
            for side, colour in zip(
                item.residences.get(pair, ()), COLOURS, strict=False
            ):
                values = (side.values - side.chance) / (1.0 - side.chance)
                axis.plot(side.lags, values, color=colour)
                notes.append(side.lifetime)
            _contact_axis(axis, notes)
    _label_pairs(rows, chosen, pairs, ("time / ps", "contacts, correlation"))
    _legend(figure)
    return figure


def lifetimes(comparisons: Sequence[Comparison]) -> Figure:
    """Lifetime of contacts of each pair: learned against reference, all boxes."""
    pairs = ["-".join(pair) for pair in comparisons[0].electrolyte.pairs]
    figure, axes = panel_row(len(pairs), 1.9, 1.9)
    for axis, pair in zip(axes, pairs, strict=True):
        right = _figures(comparisons, f"lifetime_{pair}_reference")
        learned = _figures(comparisons, f"lifetime_{pair}_learned")
        axis.set(title=pair.replace("-", " – "), xscale="log", yscale="log")
        low, high = _limits(np.log10(np.concatenate((right[:, 0], learned[:, 0]))))
        axis.set(xlim=(10.0**low, 10.0**high), ylim=(10.0**low, 10.0**high))
        axis.set_aspect("equal")
        axis.axline((1.0, 1.0), (2.0, 2.0), color=REFERENCE, linewidth=0.7)
        _points(axis, right, learned, LEARNED)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(LogLocator(10.0, subs=(1.0, 2.0, 5.0)))
            side.set_major_formatter("{x:g}")
            side.set_minor_formatter(NullFormatter())
    figure.supxlabel("lifetime in the reference / ps", fontsize=8.5)
    axes[0].set_ylabel("learned / ps")
    return figure


def spread_out(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return at most `MAX_BOXES` boxes, from slow to fast in the first species."""
    name = f"log10_d_{next(iter(comparisons[0].electrolyte.groups))}_reference"
    order = sorted(comparisons, key=lambda item: item.figures[name].value)
    n = min(len(order), MAX_BOXES)
    places = np.round(np.linspace(0, len(order) - 1, n)).astype(int)
    return [order[k] for k in places]


def _figures(comparisons: Sequence[Comparison], name: str) -> Floats:
    """Values and errors of one figure, (n_boxes, 2)."""
    return np.array([item.figures[name] for item in comparisons], dtype=np.float64)


def _parity(axis: Axes, right: Floats, method: Floats, colour: str) -> None:
    """Draw one method over the reference, both (n_boxes, 2): values, errors."""
    axis.axline((0.0, 0.0), (1.0, 1.0), color=REFERENCE, linewidth=0.7)
    _points(axis, right, method, colour)
    error = float(np.nanmean(np.abs(method[:, 0] - right[:, 0])))
    axis.text(
        0.97,
        0.04,
        f"mean error {error:.3f}",
        transform=axis.transAxes,
        ha="right",
        fontsize=7.5,
    )


def _points(axis: Axes, right: Floats, method: Floats, colour: str) -> None:
    noise = [np.nan_to_num(side[:, 1]) for side in (right, method)]
    axis.errorbar(
        right[:, 0],
        method[:, 0],
        xerr=noise[0],
        yerr=noise[1],
        fmt="o",
        color=colour,
        elinewidth=0.7,
        markersize=3.5,
        alpha=0.85,
    )


def _limits(values: Floats) -> tuple[float, float]:
    """Limits with room around logarithms, at least 0.8 apart."""
    kept = values[np.isfinite(values)]
    if not len(kept):
        return 0.0, 1.0
    middle, half = 0.5 * (kept.min() + kept.max()), 0.5 * float(np.ptp(kept))
    half = max(1.25 * half + 0.05, 0.4)
    return float(middle - half), float(middle + half)


def _guide(axis: Axes, lags: Floats) -> None:
    """Draw a line of slope 1 below the curves."""
    values = np.concatenate([np.asarray(line.get_ydata()) for line in axis.get_lines()])
    span = np.array([0.2 * lags[-1], lags[-1]])
    low = float(np.nanmin(values[values > 0.0]))
    top = float(np.nanmax(values))
    level = 10.0 ** (0.75 * np.log10(low) + 0.25 * np.log10(top))
    axis.plot(span, level * span / span[0], color="black", linewidth=0.7)
    axis.text(span[1], level * 2.0, "slope 1", ha="right", va="top", fontsize=7.0)


def _contact_axis(axis: Axes, lifetimes: Sequence[Estimate]) -> None:
    """Set the limits of a correlation and print its lifetimes."""
    reach = 4.0 * max((item.value for item in lifetimes), default=1.0)
    axis.axhline(0.0, color="black", linewidth=0.4)
    axis.set(xlim=(0.0, reach), ylim=(-0.05, 1.05))
    for k, (item, colour) in enumerate(zip(lifetimes, COLOURS, strict=False)):
        axis.text(
            0.96,
            0.92 - 0.14 * k,
            f"{item.value:.3g} ± {item.error:.1g} ps",
            transform=axis.transAxes,
            ha="right",
            va="top",
            color=colour,
            fontsize=7.5,
        )


def _label_pairs(
    rows: Sequence[Sequence[Axes]],
    chosen: Sequence[Comparison],
    pairs: Sequence[Pair],
    words: tuple[str, str],
) -> None:
    """Name boxes (rows) and pairs (columns), and the two axes."""
    for axis, pair in zip(rows[0], pairs, strict=True):
        axis.set_title(f"{pair[0]} – {pair[1]}", pad=3)
    for axis in rows[-1]:
        axis.set_xlabel(words[0])
    for row, item in zip(rows, chosen, strict=True):
        row[0].set_ylabel(f"{item.electrolyte.name}\n{words[1]}")


def _legend(figure: Figure, dashed: Sequence[str] = ()) -> None:
    """Name the two sides, and the line styles of boxes drawn together."""
    lines = [mpl.lines.Line2D([], [], color=colour) for colour in COLOURS]
    styles = [
        mpl.lines.Line2D([], [], color="black", linestyle=_dash(k))
        for k in range(len(dashed))
    ]
    names = ["reference", "learned"]
    if len(dashed) > 1:
        lines, names = lines + styles, names + list(dashed)
    figure.legend(lines, names, loc="outside upper right", ncols=len(names))


def _dash(k: int) -> Dash:
    dashes: tuple[Dash, ...] = ("-", "--", ":", "-.")
    return dashes[k % len(dashes)]
