"""How plots look, and the parts that several of them share."""

from collections.abc import Callable, Sequence
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from cgml.evaluation.measure import Target
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.results import Comparison, column

REFERENCE = "#4d4d4d"
LEARNED = "#0072b2"  # Okabe and Ito: told apart by everyone
BASELINE = "#d55e00"
SHADE = "#c8c8c8"
COLOURS = (REFERENCE, LEARNED)
SIDES = ("reference", "learned")
MAX_COLUMNS = 6

STYLE: Any = {  # the stubs of matplotlib know no plain dict
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}

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
    if min(len(parts), n_methods) == 1:
        width = 2.6 if len(parts) * n_methods == 1 else 1.75
        figure, axes = grid(len(parts) * n_methods, width, width + 0.1, n_columns=4)
        table = [axes[k : k + n_methods] for k in range(0, len(axes), n_methods)]
    else:
        figure, table = panels(len(parts), n_methods, 1.75, 1.75)
    for part, (right, methods), row in zip(parts, rows, table, strict=True):
        values = np.concatenate([right[:, 0], *(m.values[:, 0] for m in methods)])
        finite = values[np.isfinite(values)]
        limits = plot.limits(finite if len(finite) else np.ones(1))
        for axis, method in zip(row, methods, strict=True):
            _parity_panel(axis, right, method, plot)
            _set_limits(axis, limits, is_log=plot.is_log)
            if n_methods == 1 and part:
                axis.set_title(plain(part), pad=3)
            elif row is table[0]:
                axis.set_title(fill(method.title, 22), pad=3)
        if n_methods > 1 and part:
            row[0].set_ylabel(plain(part))
    symbol, unit = plot.axis
    unit = f" / {unit}" if unit else ""
    figure.supxlabel(f"{symbol} of the reference{unit}", fontsize=8.5)
    figure.supylabel(f"{symbol} predicted{unit}", fontsize=8.5)
    return figure


def grid(
    n: int, width: float, height: float, *, n_columns: int = 5
) -> tuple[Figure, list[Axes]]:
    """Return axes for n panels, row by row; what is left over stays empty."""
    n_columns = min(n, n_columns)
    figure, rows = panels(-(-n // n_columns), n_columns, width, height)
    axes = [axis for row in rows for axis in row]
    for axis in axes[n:]:
        axis.set_axis_off()
    return figure, axes[:n]


def panels(
    n_rows: int, n_columns: int, width: float, height: float
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure without global state, and its axes by row; inches each."""
    size = (width * n_columns + 0.3, height * n_rows + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    with mpl.rc_context(STYLE):
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
    return figure, [list(row) for row in axes]


def subject_panels(
    comparisons: Sequence[Comparison], parts: Sequence[str], words: tuple[str, str]
) -> tuple[Figure, list[tuple[Axes, Comparison, str]]]:
    """Return a panel for each subject and part, titles and labels (x, y) drawn.

    Subjects are rows, or columns where there are many parts.
    """
    n = len(comparisons)
    if n == 1:
        figure, axes = grid(len(parts), 2.1, 1.8, n_columns=4)
        table = [axes]
    elif len(parts) <= MAX_COLUMNS:
        figure, table = panels(n, len(parts), 2.0, 1.7)
    else:
        figure, rows = panels(len(parts), n, 2.2, 1.7)
        table = [list(column) for column in zip(*rows, strict=True)]
    cells = []
    for row, item in zip(table, comparisons, strict=True):
        for axis, part in zip(row, parts, strict=True):
            cells.append((axis, item, part))
            name = "" if n == 1 else f"{plain(item.subject.name)}: "
            axis.set_title(name + plain(part), pad=3)
            place = axis.get_subplotspec()
            if place is None or place.is_last_row() or n == 1:
                axis.set_xlabel(words[0])
            if place is None or place.is_first_col():
                axis.set_ylabel(words[1])
    return figure, cells


def set_ticks(side: Axis, limits: tuple[float, float], *, is_log: bool) -> None:
    """Put few ticks on an axis; logarithmic ones at 1, 2, 5, or at powers of ten."""
    if not is_log:
        side.set_major_locator(MaxNLocator(4))
        return
    subs = (1.0, 2.0, 5.0) if limits[1] < 30.0 * limits[0] else (1.0,)
    side.set_major_locator(LogLocator(10.0, subs=subs))
    side.set_major_formatter("{x:g}")
    side.set_minor_formatter(NullFormatter())


def spread_out(
    comparisons: Sequence[Comparison], key: Callable[[Comparison], float], n: int
) -> list[Comparison]:
    """Return at most n subjects, evenly from the smallest key to the largest."""
    order = sorted(comparisons, key=key)
    places = np.round(np.linspace(0, len(order) - 1, min(len(order), n)))
    return [order[k] for k in places.astype(int)]


def band(axis: Axes, x: Floats, y: Floats, errors: Floats, colour: str) -> None:
    """Shade one standard error around a curve."""
    axis.fill_between(x, y - errors, y + errors, color=colour, alpha=0.22, linewidth=0)


def legend(figure: Figure, others: Sequence[tuple[Any, str]] = ()) -> None:
    """Name the two sides above the plot, and other handles."""
    handles = [line(colour) for colour in COLOURS] + [handle for handle, _ in others]
    names = [*SIDES, *(name for _, name in others)]
    figure.legend(handles, names, loc="outside upper right", ncols=len(names))


def line(colour: str, **style: Any) -> mpl.lines.Line2D:
    """Return a line for a legend."""
    return mpl.lines.Line2D([], [], color=colour, **style)


def plain(name: str) -> str:
    """Keep a name out of the hands of the typesetter of formulas."""
    return name.replace("$", r"\$")


def note(axis: Axes, text: str, height: float = 0.04, colour: str = "black") -> None:
    """Write at the right, at a height of 0 to 1."""
    axis.text(
        0.97,
        height,
        text,
        transform=axis.transAxes,
        ha="right",
        color=colour,
        fontsize=7.5,
    )


def room(values: Floats) -> tuple[float, float]:
    """Return limits with room around logarithms, at least 0.8 apart."""
    middle, half = 0.5 * (values.min() + values.max()), 0.5 * float(np.ptp(values))
    half = max(1.25 * half + 0.05, 0.4)
    return float(middle - half), float(middle + half)


def log_room(values: Floats) -> tuple[float, float]:
    """Return limits with room around positive values on a logarithmic axis."""
    low, high = room(np.log10(values))
    return float(10.0**low), float(10.0**high)


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


def _parity_panel(axis: Axes, right: Floats, method: _Method, plot: Parity) -> None:
    """Draw one method over the reference (n_subjects, 2): values, errors."""
    axis.axline((1.0, 1.0), (2.0, 2.0), color=REFERENCE, linewidth=0.7)
    bars = [np.nan_to_num(side[:, 1]) for side in (right, method.values)]
    if plot.is_positive:
        bars = [
            np.minimum(bar, 0.9 * np.nan_to_num(np.abs(side[:, 0])))
            for bar, side in zip(bars, (right, method.values), strict=True)
        ]
    axis.errorbar(
        right[:, 0],
        method.values[:, 0],
        xerr=bars[0],
        yerr=bars[1],
        fmt="o",
        color=method.colour,
        elinewidth=0.7,
        markersize=3.5,
        alpha=0.85,
    )
    kept = np.isfinite(right[:, 0]) & np.isfinite(method.values[:, 0])
    if kept.any():
        note(axis, plot.note(right[kept, 0], method.values[kept, 0]))


def _set_limits(axis: Axes, limits: tuple[float, float], *, is_log: bool) -> None:
    """Give both axes the same limits and few ticks."""
    if is_log:
        axis.set(xscale="log", yscale="log")
    axis.set(xlim=limits, ylim=limits, aspect="equal")
    for side in (axis.xaxis, axis.yaxis):
        set_ticks(side, limits, is_log=is_log)
