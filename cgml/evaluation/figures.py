"""Figures of an evaluation: the learned model laid over its reference."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from cgml.evaluation.baselines import Prediction
from cgml.evaluation.comparison import QUANTILES, Comparison
from cgml.evaluation.evaluation import Cost
from cgml.observables.chains import free_energy
from cgml.observables.statistics import median_factor, relative_error

REFERENCE = "#4d4d4d"
LEARNED = "#0072b2"  # Okabe and Ito: told apart by everyone
BASELINE = "#d55e00"
SHADE = "#c8c8c8"
N_COLUMNS = 5
MAX_ENERGY = 6.0  # kT, top of the free-energy scale

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

RG2 = r"$R_g^2$ / nm$^2$"
Floats = NDArray[np.float64]


def parity_sizes(
    comparisons: Sequence[Comparison], predictions: Sequence[Prediction]
) -> Figure:
    """Mean squared radius of gyration: each method against the reference."""
    return _parity(
        comparisons, predictions, "rg2", r"$\langle R_g^2 \rangle$", "nm$^2$"
    )


def parity_times(
    comparisons: Sequence[Comparison], predictions: Sequence[Prediction]
) -> Figure:
    """Integrated relaxation time: each method against the reference."""
    return _parity(comparisons, predictions, "tau", r"$\tau(R_g^2)$", "ps")


def distributions(comparisons: Sequence[Comparison]) -> Figure:
    """Distribution of the squared radius of gyration of every molecule."""
    figure, axes = _grid(len(comparisons), 1.55, 1.45)
    for axis, item in zip(axes, comparisons, strict=False):
        top = max(float(run.rg2.max()) for run in (item.reference, item.learned))
        bins = np.linspace(0.0, top, 41)
        right, learned = (
            np.histogram(run.rg2, bins, density=True)[0]
            for run in (item.reference, item.learned)
        )
        axis.stairs(right, bins, fill=True, color=SHADE)
        axis.stairs(learned, bins, color=LEARNED, linewidth=1.3)
        axis.set_title(item.molecule.name, pad=3)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.set_xlim(0.0, top)
    figure.supxlabel(RG2, fontsize=8.5)
    figure.legend(
        [_patch(SHADE), _line(LEARNED)],
        ["reference", "learned"],
        loc="outside upper right",
        ncols=2,
    )
    return figure


def correlations(comparisons: Sequence[Comparison]) -> Figure:
    """Autocorrelation of the fastest, the median and the slowest molecule."""
    chosen = by_speed(comparisons)
    figure, axes = panel_row(len(chosen), 2.4, 2.2)
    for axis, (word, item) in zip(axes, chosen.items(), strict=True):
        lags, values, errors = item.correlation
        shown = lags <= max(5.0 * item.figures["tau_reference"].value, lags[1])
        for k, colour in enumerate((REFERENCE, LEARNED)):
            low, high = values[k] - errors[k], values[k] + errors[k]
            axis.fill_between(
                lags[shown], low[shown], high[shown], color=colour, alpha=0.2, lw=0
            )
            axis.plot(lags[shown], values[k][shown], color=colour)
        axis.axhline(0.0, color="black", linewidth=0.5)
        axis.set(title=f"{word}: {item.molecule.name}", xlabel="time / ps")
        axis.set_xlim(0.0, lags[shown][-1])
        axis.set_ylim(-0.3, 1.02)
    axes[0].set_ylabel(r"autocorrelation of $R_g^2$")
    figure.legend(
        [_line(REFERENCE), _line(LEARNED)],
        ["reference", "learned"],
        loc="outside upper right",
        ncols=2,
    )
    return figure


def surfaces(comparisons: Sequence[Comparison]) -> Figure:
    """Free energy over the two principal components of the reference."""
    chosen = by_speed(comparisons)
    figure, rows = panels(2, len(chosen), 2.3, 2.0)
    filled = None
    for column, (word, item) in enumerate(chosen.items()):
        planes = [
            item.surface.project(run.positions)
            for run in (item.reference, item.learned)
        ]
        x, y = _mesh(planes)
        for row, (name, plane) in enumerate(
            zip(("reference", "learned"), planes, strict=True)
        ):
            axis = rows[row][column]
            filled = axis.contourf(
                x,
                y,
                _energy(plane, x, y),  # white above the scale
                levels=np.arange(0.0, MAX_ENERGY + 0.1, 0.5),
                cmap="viridis",
            )
            if row == 0:
                axis.set_title(f"{word}: {item.molecule.name}")
            else:
                axis.set_xlabel("component 1 / nm")
            if column == 0:
                axis.set_ylabel(f"{name}\ncomponent 2 / nm")
    if filled is not None:
        figure.colorbar(
            filled, ax=[axis for row in rows for axis in row], label="free energy / kT"
        )
    return figure


def bond_drift(comparisons: Sequence[Comparison]) -> Figure:
    """Quantiles of the learned bond lengths over time, against the reference."""
    figure, axes = panel_row(len(QUANTILES), 2.3, 2.1)
    drift = 100.0 * (np.array([item.bond_drift for item in comparisons]) - 1.0)
    n = drift.shape[1]
    lengths = [run.learned.rg2.shape[1] * run.learned.time_step for run in comparisons]
    part = (np.arange(n) + 0.5) / n
    for k, axis in enumerate(axes):
        for length, values in zip(lengths, drift[:, :, k], strict=True):
            axis.plot(
                1e-3 * length * part, values, color=LEARNED, alpha=0.3, linewidth=0.8
            )
        axis.plot(
            1e-3 * max(lengths) * part,
            drift[:, :, k].mean(axis=0),
            color=LEARNED,
            linewidth=2.0,
        )
        axis.axhline(0.0, color=REFERENCE, linewidth=0.9)
        axis.set(title=f"{100 * QUANTILES[k]:g} % quantile", xlabel="time / ns")
        axis.set_xlim(left=0.0)
    reach = 1.15 * max(float(np.abs(drift).max()), 1.0)
    for axis in axes:
        axis.set_ylim(-reach, reach)
    axes[0].set_ylabel("bond length, deviation / %")
    figure.legend(
        [_line(REFERENCE), _line(LEARNED), _line(LEARNED, width=0.8, alpha=0.4)],
        ["reference", "learned, mean of molecules", "one molecule"],
        loc="outside upper right",
        ncols=3,
    )
    return figure


def cost(figures: Cost) -> Figure:
    """Simulated time per second of wall time."""
    names, rates = ["learned"], [figures.n_paths / figures.seconds_per_ps]
    if figures.md_seconds_per_ps is not None:
        names.append("reference MD")
        rates.append(figures.n_paths / figures.md_seconds_per_ps)
    figure, axes = panel_row(1, 4.6, 0.5 + 0.4 * len(names))
    axis = axes[0]
    bars = axis.barh(names, rates, color=[LEARNED, REFERENCE][: len(names)], height=0.6)
    axis.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=4)
    axis.set_xlim(0.0, 1.2 * max(rates))
    axis.invert_yaxis()
    paths = f"{figures.n_paths} runs together"
    axis.set_xlabel(f"simulated time of {paths} / ps per second")
    return figure


def by_speed(comparisons: Sequence[Comparison]) -> dict[str, Comparison]:
    """Return the fastest, the median and the slowest molecule, as many as there are."""
    order = sorted(comparisons, key=lambda item: item.figures["tau_reference"].value)
    if len(order) < 3:
        return dict(zip(("fastest", "slowest"), order, strict=False))
    return {
        "fastest": order[0],
        "median": order[len(order) // 2],
        "slowest": order[-1],
    }


def _parity(
    comparisons: Sequence[Comparison],
    predictions: Sequence[Prediction],
    name: str,
    symbol: str,
    unit: str,
) -> Figure:
    """One panel for each method, the learned model first."""
    is_time = name == "tau"
    sides = [
        np.array([item.figures[f"{name}_{side}"] for item in comparisons])
        for side in ("reference", "learned")
    ]  # (n_molecules, 2): values, errors
    panels = [_Panel("learned model", sides[1][:, 0], sides[1][:, 1], LEARNED)]
    for item in predictions:
        draw = item.tau[0] if is_time else item.rg2[0]
        panels.append(_Panel(item.name, draw, np.zeros(len(draw)), BASELINE))
    everything = np.concatenate([sides[0][:, 0], *(panel.values for panel in panels)])
    figure, axes = _grid(len(panels), 1.75, 1.85, n_columns=4)
    low, high = _limits(everything, is_time=is_time)
    for axis, panel in zip(axes, panels, strict=False):
        _parity_panel(axis, sides[0], panel, is_time=is_time)
        axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    figure.supxlabel(f"{symbol} of the reference / {unit}", fontsize=8.5)
    figure.supylabel(f"{symbol} predicted / {unit}", fontsize=8.5)
    return figure


class _Panel(NamedTuple):
    """One method: title, values and errors (n_molecules,), colour."""

    title: str
    values: Floats
    errors: Floats
    colour: str


def _parity_panel(
    axis: Axes, reference: Floats, panel: _Panel, *, is_time: bool
) -> None:
    """Draw one method over the reference (n_molecules, 2): values, errors."""
    right, noise = reference.T
    axis.axline((1.0, 1.0), (2.0, 2.0), color=REFERENCE, linewidth=0.7)
    axis.errorbar(
        right,
        panel.values,
        xerr=np.minimum(noise, 0.9 * right),
        yerr=np.minimum(panel.errors, 0.9 * panel.values),
        fmt="o",
        color=panel.colour,
        elinewidth=0.7,
        markersize=3.5,
        alpha=0.85,
    )
    if is_time:
        axis.set(xscale="log", yscale="log")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.yaxis.set_minor_formatter(NullFormatter())
        note = f"median factor {median_factor(right, panel.values):.1f}"
    else:
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.yaxis.set_major_locator(MaxNLocator(4))
        note = f"mean error {100 * relative_error(right, panel.values):.0f} %"
    axis.set_title(panel.title, pad=3)
    axis.text(0.97, 0.04, note, transform=axis.transAxes, ha="right", fontsize=7.5)


def _limits(values: Floats, *, is_time: bool) -> tuple[float, float]:
    if is_time:
        return float(0.6 * values.min()), float(1.7 * values.max())
    return 0.0, float(1.12 * values.max())


def _energy(plane: Floats, x: Floats, y: Floats) -> Floats:
    """Free energy on a mesh from a smooth density, kT."""
    density = gaussian_kde(plane[:: max(len(plane) // 2000, 1)].T)
    values = density(np.stack((x.ravel(), y.ravel()))).reshape(x.shape)
    return free_energy(np.maximum(values, 1e-300))


def _mesh(planes: Sequence[Floats], n: int = 50) -> tuple[Floats, Floats]:
    both = np.concatenate(list(planes))
    low, high = both.min(axis=0), both.max(axis=0)
    x, y = np.meshgrid(*(np.linspace(a, b, n) for a, b in zip(low, high, strict=True)))
    return x, y


def _grid(
    n: int, width: float, height: float, *, n_columns: int = N_COLUMNS
) -> tuple[Figure, list[Axes]]:
    """Return axes for n panels, row by row; what is left over stays empty."""
    n_columns = min(n, n_columns)
    n_rows = -(-n // n_columns)
    figure, rows = panels(n_rows, n_columns, width, height)
    axes = [axis for row in rows for axis in row]
    for axis in axes[n:]:
        axis.set_axis_off()
    return figure, axes[:n]


def panel_row(n: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of n panels side by side, width x height inches each."""
    figure, rows = panels(1, n, width, height)
    return figure, rows[0]


def panels(
    n_rows: int, n_columns: int, width: float, height: float
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure without global state, and its axes by row."""
    size = (width * n_columns + 0.3, height * n_rows + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    with mpl.rc_context(STYLE):
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
    return figure, [list(row) for row in axes]


def _line(colour: str, width: float = 1.6, alpha: float = 1.0) -> mpl.lines.Line2D:
    return mpl.lines.Line2D([], [], color=colour, linewidth=width, alpha=alpha)


def _patch(colour: str) -> mpl.patches.Patch:
    return mpl.patches.Patch(color=colour)
