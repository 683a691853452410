"""Squared radius of gyration of a molecule: mean and distribution."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from cgml.evaluation import drawing
from cgml.evaluation.measure import (
    LARGEST_ERROR,
    PERCENT,
    WHOLE,
    Entry,
    Measure,
    Picture,
    Target,
    change,
    exact,
    noise,
    single_molecule,
    value,
)
from cgml.evaluation.parity import Parity, parity
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.observables import statistics
from cgml.observables.statistics import Estimate

Floats = NDArray[np.float64]


def squared_radius(subject: Subject, run: Run) -> Floats:
    """Return the series of all atoms, else of the beads, (n_runs, n_frames) nm^2."""
    if run.rg2 is not None:
        return run.rg2
    return squared_radius_of_gyration(run.positions, subject.masses)


def both(comparison: Comparison) -> tuple[Floats, Floats]:
    """Return the series of both sides, (n_runs, n_frames) nm^2 each."""
    one, other = (squared_radius(comparison.subject, run) for run in comparison.runs)
    return one, other


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Means of both sides, nm^2, and the distance of the distributions.

    Args:
        comparison: of one molecule.

    Returns:
        rg2_* of all atoms where they are known, rg2_beads_*, rg2_relative_error, and
        rg2_emd in standard deviations of the reference.
    """
    series = comparison.once(both)
    one, other = (statistics.mean_estimate(item) for item in series)
    masses = comparison.subject.masses
    beads = [
        statistics.mean_estimate(squared_radius_of_gyration(run.positions, masses))
        for run in comparison.runs
    ]
    distance = statistics.earth_movers_distance(*series)
    return {
        "rg2_reference": one,
        "rg2_learned": other,
        "rg2_beads_reference": beads[0],
        "rg2_beads_learned": beads[1],
        "rg2_relative_error": change(one, other),
        "rg2_emd": exact(distance / float(series[0].std())),
    }


def distributions(comparisons: Sequence[Comparison]) -> Figure:
    """Distribution of every molecule."""
    figure, axes = drawing.grid(len(comparisons), 1.5)
    for axis, item in zip(axes, comparisons, strict=True):
        series = item.once(both)
        top = max(float(one.max()) for one in series)
        bins = np.linspace(0.0, top, 41)
        right, learned = (np.histogram(one, bins, density=True)[0] for one in series)
        axis.stairs(right, bins, fill=True, color=drawing.SHADE)
        axis.stairs(learned, bins, color=drawing.LEARNED, linewidth=1.3)
        drawing.entitle(axis, item.subject.name)
        axis.set(xlim=(0.0, top), ylim=(0.0, None))
        for side in (axis.xaxis, axis.yaxis):
            drawing.set_ticks(side, (0.0, top), is_log=False)
    figure.supxlabel(r"$R_g^2$ / nm$^2$", fontsize=8.5)
    figure.supylabel(r"density / nm$^{-2}$", fontsize=8.5)
    handles = [Patch(color=drawing.SHADE), drawing.line(drawing.LEARNED)]
    figure.legend(handles, drawing.SIDES, loc="outside upper right", ncols=2)
    return figure


def _read(subject: Subject, run: Run, duration: float, part: str) -> float:
    del duration, part
    return float(squared_radius(subject, run).mean())


TARGET = Target("rg2", "rg2_reference", _read, is_positive=True)
PARITY = Parity(
    "rg2",
    (r"$\langle R_g^2 \rangle$", "nm$^2$"),
    lambda values: (0.0, float(1.12 * values.max())),
    lambda right, predicted: (
        f"mean absolute error {100 * statistics.relative_error(right, predicted):.0f} %"
    ),
    target=TARGET,
)
SIZE = "⟨<i>R</i><sub>g</sub>²⟩"
BOTH = (value("rg2_reference"), value("rg2_learned"))
BEADS = (value("rg2_beads_reference"), value("rg2_beads_learned"))

MEASURE = Measure(
    name="size",
    place=10,
    parts=single_molecule,
    compute=compute,
    rows=(
        Entry(
            "rg2_relative_error",
            f"{SIZE}, mean absolute relative error",
            *PERCENT,
            statistic=statistics.relative_error,
            samples=BOTH,
            target=TARGET,
            pair="rg2",
            memory="tau_reference",
        ),
        Entry(
            "rg2_sampling_error",
            "— of which sampling of both sides",
            *PERCENT,
            samples=(noise("rg2_relative_error"),),
            is_judged=False,
        ),
        Entry(
            "rg2_r2",
            f"{SIZE}, <i>R</i>² across molecules",
            statistic=statistics.r_squared,
            samples=BOTH,
            target=TARGET,
            is_score=True,
            memory="tau_reference",
            largest_error=LARGEST_ERROR,
        ),
        Entry(
            "rg2_correlation",
            f"{SIZE}, correlation across molecules",
            statistic=statistics.correlation,
            samples=BOTH,
            is_score=True,
            memory="tau_reference",
            largest_error=LARGEST_ERROR,
        ),
        Entry(
            "rg2_emd",
            "<i>R</i><sub>g</sub>² distribution, earth mover's distance",
            "standard deviation",
            memory="tau_reference",
        ),
        Entry(
            "rg2_beads_relative_error",
            f"{SIZE} of the beads, mean absolute relative error",
            *PERCENT,
            statistic=statistics.relative_error,
            samples=BEADS,
            pair="rg2_beads",
            memory="tau_reference",
        ),
    ),
    columns=(
        Entry("rg2_reference", f"{SIZE} reference", "nm²", ".2f"),
        Entry("rg2_learned", "learned", "nm²", ".2f", memory="tau_reference"),
        Entry("rg2_relative_error", "deviation", "%", "+.1f", 100.0),
        Entry("rg2_emd", "distribution, distance", "σ", ".2f"),
    ),
    pictures=(
        Picture(
            "parity_rg2",
            lambda e: (
                "Mean squared radius of gyration of every molecule over that of "
                f"the reference{drawing.beside(e.predictions)}. Bars: standard errors, "
                "corrected for correlation. Line: equality."
            ),
            lambda e: parity(PARITY, WHOLE, e.comparisons, e.predictions),
            "size: learned over reference",
        ),
        Picture(
            "distributions",
            lambda e: (
                "Distribution of the squared radius of gyration of "
                f"{'all atoms' if e.rg2_source == 'atoms' else 'the beads'}, by "
                "molecule."
            ),
            lambda e: distributions(e.comparisons),
            "size: distributions",
        ),
    ),
)
