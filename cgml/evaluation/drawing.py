"""How plots look, and the parts that several of them share."""

from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from cgml.evaluation.measure import Parts
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.results import Comparison

REFERENCE = "#4d4d4d"
LEARNED = "#0072b2"  # Okabe and Ito: told apart by everyone
BASELINE = "#d55e00"
SHADE = "#c8c8c8"
COLOURS = (REFERENCE, LEARNED)
SIDES = ("reference", "learned")
WIDTH = 7.0  # inches, of every figure: the text of a page
MAX_COLUMNS = 4
LETTERS = 70  # of a title, in a line over the whole width
LEGEND = 96  # letters of a row of the legend

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


def balanced(n: int) -> int:
    """Return columns for n panels: at most `MAX_COLUMNS`, rows of much one length."""
    return -(-n // -(-n // MAX_COLUMNS))


def grid(
    n: int, height: float, n_columns: int | None = None
) -> tuple[Figure, list[Axes]]:
    """Return axes for n panels, row by row; what is left over stays empty."""
    figure, (axes,) = blocks([n], height, n_columns or max(balanced(n), 2))
    return figure, axes


def blocks(
    counts: Sequence[int], height: float, n_columns: int
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure without global state, and the axes of each block.

    Args:
        counts: panels of each block, row by row; a block begins a row of its own.
        height: of a row, inches.
        n_columns: of the figure, which is `WIDTH` wide whatever is in it.
    """
    ends = np.cumsum([-(-n // n_columns) for n in counts]).tolist()
    size = (WIDTH, height * ends[-1] + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    cells = figure.add_gridspec(ends[-1], n_columns)
    with mpl.rc_context(STYLE):
        found = [
            [
                figure.add_subplot(cells[first + k // n_columns, k % n_columns])
                for k in range(n)
            ]
            for first, n in zip([0, *ends], counts, strict=False)
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
    return blocks([n_columns] * n_rows, height, max(n_columns, least))


def subject_panels(
    comparisons: Sequence[Comparison], parts: Parts, words: tuple[str, str]
) -> tuple[Figure, list[tuple[Axes, Comparison, str]]]:
    """Return a panel for each part that a subject has, titles and labels (x, y) drawn.

    Args:
        comparisons: those that have a part at least.
        parts: of a subject.
        words: labels of x and y.
    """
    names = [list(parts(item.subject)) for item in comparisons]
    n_columns = max(balanced(max(map(len, names))), 2)
    height = 1.7 if len(comparisons) == 1 else 1.9
    figure, table = blocks([len(own) for own in names], height, n_columns)
    cells = []
    for row, own, item in zip(table, names, comparisons, strict=True):
        for k, (axis, part) in enumerate(zip(row, own, strict=True)):
            cells.append((axis, item, part))
            entitle(axis, part, "" if len(comparisons) == 1 else item.subject.name)
            if k + n_columns >= len(own):
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
    names = [*SIDES, *(plain(shortened(name, LEGEND // 3)) for _, name in others)]
    widest = max(map(len, names)) + 8  # with the handle
    n_columns = len(names)
    if sum(map(len, names)) + 8 * n_columns > LEGEND:
        n_columns = max(LEGEND // widest, 1)
    figure.legend(handles, names, loc="outside upper right", ncols=n_columns)


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


def shortened(name: str, length: int) -> str:
    """Leave out the middle of a long name: ends tell names apart.

    Example:
        >>> shortened("validation_16x8_14_7", 12)
        'valida…_14_7'
    """
    if len(name) <= length:
        return name
    return f"{name[: length // 2]}…{name[len(name) - (length - 1) // 2 :]}"


def entitle(axis: Axes, name: str, of: str = "", word: str = "") -> None:
    """Write a name over a panel, in as many lines as it needs, three at most.

    Args:
        axis: of a grid.
        name: of any length.
        of: what it is a part of, in a line of its own.
        word: before the name.
    """
    place = axis.get_subplotspec()
    width = LETTERS // (place.get_gridspec().ncols if place else 1)
    lines = [shortened(of, width)] if of else []
    lead = f"{word}: " if word else ""
    left = (3 - len(lines)) * width
    lines += wrap(lead + shortened(name, left - len(lead)), width)[: 3 - len(lines)]
    axis.set_title(plain("\n".join(lines)), pad=3)


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
