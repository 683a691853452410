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
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
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
WIDTH = 7.0  # inches, of every figure: the text of a page
MAX_COLUMNS = 4

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
    n_columns = max(balanced(n_methods if n_methods > 1 else len(parts)), 3)
    height = WIDTH / n_columns + 0.1
    if n_methods == 1:
        figure, axes = grid(len(parts), height, n_columns)
        table = [[axis] for axis in axes]
    else:
        figure, table = blocks(len(parts), n_methods, height, n_columns)
    for part, (right, methods), row in zip(parts, rows, table, strict=True):
        values = np.concatenate([right[:, 0], *(m.values[:, 0] for m in methods)])
        finite = values[np.isfinite(values)]
        limits = plot.limits(finite if len(finite) else np.ones(1))
        for axis, method in zip(row, methods, strict=True):
            _parity_panel(axis, right, method, plot)
            axis.set(xlim=limits, ylim=limits, aspect="equal")
            for side in (axis.xaxis, axis.yaxis):
                set_ticks(side, limits, is_log=plot.is_log)
            is_named = n_methods == 1 and part
            axis.set_title(plain(part) if is_named else fill(method.title, 22), pad=3)
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


def balanced(n: int) -> int:
    """Return columns for n panels: at most `MAX_COLUMNS`, rows of much one length."""
    return -(-n // -(-n // MAX_COLUMNS))


def grid(
    n: int, height: float, n_columns: int | None = None
) -> tuple[Figure, list[Axes]]:
    """Return axes for n panels, row by row; what is left over stays empty."""
    figure, (axes,) = blocks(1, n, height, n_columns or max(balanced(n), 2))
    return figure, axes


def blocks(
    n_blocks: int, n: int, height: float, n_columns: int
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure without global state, and the n axes of each block.

    Args:
        n_blocks: each begins a row of its own.
        n: panels of a block, row by row.
        height: of a row, inches.
        n_columns: of the figure, which is `WIDTH` wide whatever is in it.
    """
    n_rows = -(-n // n_columns)
    size = (WIDTH, height * n_rows * n_blocks + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    cells = figure.add_gridspec(n_rows * n_blocks, n_columns)
    places = [divmod(k, n_columns) for k in range(n)]
    with mpl.rc_context(STYLE):
        found = [
            [figure.add_subplot(cells[first + row, column]) for row, column in places]
            for first in range(0, n_rows * n_blocks, n_rows)
        ]
    return figure, found


def panels(
    n_rows: int, n_columns: int, height: float, least: int = 2
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and its axes by row.

    Args:
        n_rows: of panels.
        n_columns: of panels.
        height: of a row, inches.
        least: panels are not wider than this many would be.
    """
    return blocks(n_rows, n_columns, height, max(n_columns, least))


def subject_panels(
    comparisons: Sequence[Comparison], parts: Sequence[str], words: tuple[str, str]
) -> tuple[Figure, list[tuple[Axes, Comparison, str]]]:
    """Return a panel for each subject and part, titles and labels (x, y) drawn."""
    n_columns = max(balanced(len(parts)), 2)
    figure, table = blocks(len(comparisons), len(parts), 1.7, n_columns)
    cells = []
    for row, item in zip(table, comparisons, strict=True):
        for k, (axis, part) in enumerate(zip(row, parts, strict=True)):
            cells.append((axis, item, part))
            name = "" if len(comparisons) == 1 else f"{plain(item.subject.name)}: "
            axis.set_title(name + plain(part), pad=3)
            if k + n_columns >= len(parts):
                axis.set_xlabel(words[0])
            if k % n_columns == 0:
                axis.set_ylabel(words[1])
    return figure, cells


def set_ticks(side: Axis, limits: tuple[float, float], *, is_log: bool) -> None:
    """Put three ticks or more on an axis, with numbers that can be read."""
    if not is_log:
        side.set_major_locator(MaxNLocator(4))
        return
    side.set_major_locator(FixedLocator(log_ticks(*limits)))
    side.set_minor_locator(NullLocator())
    side.set_major_formatter(lambda x, _: _number(x))


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis, three at least, seven at most.

    Example:
        >>> log_ticks(0.5, 2e3)
        [1.0, 10.0, 100.0, 1000.0]
        >>> log_ticks(80.0, 210.0)
        [100.0, 150.0, 200.0]
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = [float(f"{d}e{k}") for k in decades for d in digits]
        found = [x for x in found if low <= x <= high]
        if len(found) > 2:
            return found[:: -(-len(found) // 7)]
    return [float(x) for x in MaxNLocator(4).tick_values(low, high) if low <= x <= high]


def _number(value: float) -> str:
    """Write a number on an axis."""
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    digits, _, power = f"{value:.0e}".partition("e")
    lead = "" if digits == "1" else rf"{digits} \times "
    return f"${lead}10^{{{int(power)}}}$"


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


def beside(predictions: Sequence[Prediction]) -> str:
    """Say which baselines are drawn beside the model."""
    names = ", ".join(item.name for item in predictions)
    return (
        f", beside what needs no simulation or a short one ({names})" if names else ""
    )


def words_of(names: Sequence[str]) -> str:
    """Say "a, b and c"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


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
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.0},
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
    if plot.is_log:
        axis.set(xscale="log", yscale="log")
    kept = np.isfinite(right[:, 0]) & np.isfinite(method.values[:, 0])
    if kept.any():
        note(axis, plot.note(right[kept, 0], method.values[kept, 0]))
