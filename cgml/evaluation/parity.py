"""Plots of what each method says over what the reference says."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cgml.evaluation.drawing import (
    BASELINE,
    LEARNED,
    REFERENCE,
    SIDES,
    WIDTH,
    balanced,
    blocks,
    entitle,
    grid,
    note,
    plain,
    set_ticks,
)
from cgml.evaluation.measure import Target
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.results import Comparison, column

Floats = NDArray[np.float64]


class Parity(NamedTuple):
    """A plot of what each method says over the reference, a panel for each.

    Attributes:
        name: figures NAME_reference and NAME_learned, perhaps with {} for the part.
        axis: what is plotted, and its unit.
        limits: of all finite values -> of both axes.
        note: (reference, predicted) -> text in the corner.
        is_log: whether the axes are logarithmic.
        is_positive: whether no error bar may reach zero.
        target: what baselines predict of it.
    """

    name: str
    axis: tuple[str, str]
    limits: Callable[[Floats], tuple[float, float]]
    note: Callable[[Floats, Floats], str]
    is_log: bool = False
    is_positive: bool = True
    target: Target | None = None


class _Method(NamedTuple):
    """Title, values and errors (n_subjects, 2), colour."""

    title: str
    values: Floats
    colour: str


def parity(
    plot: Parity,
    parts: Sequence[str],
    comparisons: Sequence[Comparison],
    predictions: Sequence[Prediction] = (),
) -> Figure:
    """Draw a row of panels for each part and a column for each method."""
    rows = [_methods(plot, part, comparisons, predictions) for part in parts]
    n_methods = len(rows[0][1])
    n_columns = max(balanced(n_methods if n_methods > 1 else len(parts)), 3)
    height = WIDTH / n_columns + 0.1
    if n_methods == 1:
        figure, axes = grid(len(parts), height, n_columns)
        table = [[axis] for axis in axes]
    else:
        figure, table = blocks([n_methods] * len(parts), height, n_columns)
    for part, (right, methods), row in zip(parts, rows, table, strict=True):
        sides = [right, *(method.values for method in methods)]
        values = np.concatenate([_ends(side, plot) for side in sides])
        finite = values[np.isfinite(values)]
        limits = plot.limits(finite if len(finite) else np.ones(1))
        for axis, method in zip(row, methods, strict=True):
            _parity_panel(axis, right, method, plot)
            axis.set(xlim=limits, ylim=limits, aspect="equal")
            for side in (axis.xaxis, axis.yaxis):
                set_ticks(side, limits, is_log=plot.is_log)
            is_named = n_methods == 1 and part
            entitle(axis, part if is_named else method.title)
        if n_methods > 1 and part:
            row[0].set_ylabel(plain(part))
    symbol, unit = plot.axis
    unit = f" / {unit}" if unit else ""
    words = f"{symbol} of the reference{unit}", f"{symbol} predicted{unit}"
    first, *others = figure.axes
    if not others:  # the figure is wider
        first.set(xlabel=words[0], ylabel=words[1])
        return figure
    figure.supxlabel(words[0], fontsize=8.5)
    figure.supylabel(words[1], fontsize=8.5)
    return figure


def _methods(
    plot: Parity,
    part: str,
    comparisons: Sequence[Comparison],
    predictions: Sequence[Prediction],
) -> tuple[Floats, list[_Method]]:
    """Reference (n_subjects, 2), and what each method says of it."""
    right, learned = (
        column(comparisons, f"{plot.name.format(part)}_{side}") for side in SIDES
    )
    methods = [_Method("learned model", learned, LEARNED)]
    target = plot.target
    if target is None:
        return right, methods
    for item in predictions:
        values = np.full(len(right), np.nan)
        name = target.name.format(part)
        if name in item.values:
            values = target.natural(item.values[name][0])
        pair = np.column_stack((values, np.zeros(len(values))))
        methods.append(_Method(item.name, pair, BASELINE))
    return right, methods


def _bars(side: Floats, plot: Parity) -> Floats:
    """Lengths of the error bars of values with errors (n_subjects, 2)."""
    values, bars = np.nan_to_num(side).T
    longest = 0.9 * np.abs(values) if plot.is_positive else np.inf
    return np.asarray(np.minimum(bars, longest))


def _ends(side: Floats, plot: Parity) -> Floats:
    """Both ends of these bars, (2 n_subjects,)."""
    bars = _bars(side, plot)
    return np.concatenate((side[:, 0] - bars, side[:, 0] + bars))


def _parity_panel(axis: Axes, right: Floats, method: _Method, plot: Parity) -> None:
    """Draw one method over the reference (n_subjects, 2): values, errors."""
    axis.axline((1.0, 1.0), (2.0, 2.0), color=REFERENCE, linewidth=0.7)
    axis.errorbar(
        right[:, 0],
        method.values[:, 0],
        xerr=_bars(right, plot),
        yerr=_bars(method.values, plot),
        fmt="o",
        color=method.colour,
        elinewidth=0.7,
        markersize=3.5,
        alpha=0.85,
    )
    if plot.is_log:
        axis.set(xscale="log", yscale="log")
    kept = np.isfinite(right[:, 0]) & np.isfinite(method.values[:, 0])
    if kept.any():
        note(axis, plot.note(right[kept, 0], method.values[kept, 0]))
