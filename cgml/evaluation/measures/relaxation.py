"""How long a molecule remembers its size: times of the squared radius of gyration."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cgml.evaluation import drawing
from cgml.evaluation.measure import (
    LARGEST_ERROR,
    WHOLE,
    Entry,
    Measure,
    Picture,
    Target,
    exact,
    log10_ratio,
    single_molecule,
    value,
)
from cgml.evaluation.measures.size import squared_radius
from cgml.evaluation.parity import Parity, parity
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject
from cgml.observables import statistics
from cgml.observables.statistics import Estimate

Floats = NDArray[np.float64]


class Correlation(NamedTuple):
    """Autocorrelation of both sides.

    Attributes:
        lags: (n_lags,) ps.
        values: reference and learned, (2, n_lags).
        errors: standard errors from blocks, (2, n_lags).
    """

    lags: Floats
    values: Floats
    errors: Floats


def time(subject: Subject, run: Run) -> Estimate:
    """Integrated time, ps."""
    frames = statistics.integrated_time(squared_radius(subject, run))
    return Estimate(frames.value * run.time_step, frames.error * run.time_step)


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Relaxation times, ps.

    Args:
        comparison: of one molecule.

    Returns:
        tau_* (integrated) and relaxation_* (1/e) at the spacing that both sides
        share, tau_*_own_spacing, tau_log10_error.
    """
    subject, aligned = comparison.subject, comparison.aligned
    one, other = (time(subject, run) for run in aligned)
    falls = [
        exact(statistics.relaxation_time(squared_radius(subject, run)) * run.time_step)
        for run in aligned
    ]
    return {
        "tau_reference": one,
        "tau_learned": other,
        "tau_log10_error": log10_ratio(one, other),
        "relaxation_reference": falls[0],
        "relaxation_learned": falls[1],
        "tau_reference_own_spacing": time(subject, comparison.reference),
        "tau_learned_own_spacing": time(subject, comparison.learned),
    }


def correlation(comparison: Comparison, n_blocks: int = 8) -> Correlation:
    """Autocorrelation of both sides up to a tenth of the shorter run, with errors."""
    runs = comparison.aligned
    n_lags = max(min(run.n_frames for run in runs) // 10, 2)
    values, errors = [], []
    for run in runs:
        series = squared_radius(comparison.subject, run)
        mean = float(series.mean())
        values.append(statistics.autocorrelation(series, mean)[:n_lags])
        pieces = np.array_split(series, n_blocks, axis=1)
        each = [statistics.autocorrelation(piece, mean)[:n_lags] for piece in pieces]
        shortest = min(n_lags, *(len(block) for block in each))
        spread = np.std([block[:shortest] for block in each], axis=0, ddof=1)
        errors.append(np.pad(spread, (0, n_lags - shortest), mode="edge"))
    return Correlation(
        runs[0].time_step * np.arange(n_lags, dtype=np.float64),
        np.array(values),
        np.array(errors) / np.sqrt(n_blocks),
    )


def by_speed(comparisons: Sequence[Comparison]) -> dict[str, Comparison]:
    """Return the fastest, the median and the slowest molecule, as many as there are."""
    chosen = drawing.spread_out(
        comparisons, lambda item: item.figures["tau_reference"].value, 3
    )
    words = ("fastest", "median", "slowest")
    return dict(zip(words if len(chosen) == 3 else words[::2], chosen, strict=False))


def named(comparisons: Sequence[Comparison]) -> str:
    """Say which molecules `by_speed` gives, by their relaxation times."""
    chosen = by_speed(comparisons)
    if len(chosen) == 1:
        return comparisons[0].subject.name
    words = drawing.words_of([f"the {word}" for word in chosen])
    return f"{words} of {len(comparisons)} molecules"


def correlations(comparisons: Sequence[Comparison]) -> Figure:
    """Autocorrelation of the fastest, the median and the slowest molecule."""
    chosen = by_speed(comparisons)
    figure, (axes,) = drawing.panels(1, len(chosen), 2.3)
    for axis, (word, item) in zip(axes, chosen.items(), strict=True):
        lags, values, errors = item.once(correlation)
        shown = lags <= max(5.0 * item.figures["tau_reference"].value, lags[1])
        for k, colour in enumerate(drawing.COLOURS):
            drawing.band(axis, lags[shown], values[k][shown], errors[k][shown], colour)
            axis.plot(lags[shown], values[k][shown], color=colour)
        axis.axhline(0.0, color="black", linewidth=0.5)
        drawing.entitle(axis, item.subject.name, word=word if len(chosen) > 1 else "")
        axis.set_xlabel("time / ps")
        axis.set_xlim(0.0, lags[shown][-1])
        axis.set_ylim(-0.3, 1.02)
    axes[0].set_ylabel(r"autocorrelation of $R_g^2$")
    drawing.legend(figure)
    return figure


def _read(subject: Subject, run: Run, duration: float, part: str) -> float:
    del duration, part
    return float(np.log10(time(subject, run).value))


TARGET = Target("log10_tau", "tau_reference_own_spacing", _read, is_log10=True)
PARITY = Parity(
    "tau",
    (r"$\tau(R_g^2)$", "ps"),
    lambda values: (float(0.6 * values.min()), float(1.7 * values.max())),
    lambda right, predicted: (
        f"median factor {statistics.median_factor(right, predicted):.1f}"
    ),
    is_log=True,
    target=TARGET,
)
BOTH = (value("tau_reference"), value("tau_learned"))

MEASURE = Measure(
    name="relaxation",
    place=20,
    parts=single_molecule,
    compute=compute,
    rows=(
        Entry(
            "tau_log10_error",
            "log<sub>10</sub> τ, mean absolute error",
            statistic=statistics.log10_error,
            samples=BOTH,
            target=TARGET,
            pair="tau",
            memory="tau_reference",
        ),
        Entry(
            "tau_factor_median",
            "τ, median factor between the two",
            form=".2f",
            statistic=statistics.median_factor,
            samples=BOTH,
            target=TARGET,
            pair="tau",
            memory="tau_reference",
        ),
        Entry(
            "tau_spearman",
            "τ, Spearman's rank correlation",
            statistic=statistics.spearman,
            samples=BOTH,
            target=TARGET,
            is_score=True,
            memory="tau_reference",
            largest_error=LARGEST_ERROR,
        ),
    ),
    columns=(
        Entry("tau_reference", "τ reference", "ps", ".0f"),
        Entry("tau_learned", "learned", "ps", ".0f", memory="tau_reference"),
    ),
    pictures=(
        Picture(
            "parity_tau",
            lambda e: (
                "Integrated relaxation time τ of the squared radius of gyration "
                f"of every molecule over that of the reference"
                f"{drawing.beside(e.predictions)}. Bars: standard errors. Line: "
                "equality."
                + (
                    " Regressions learn τ from short runs, which cut long times off."
                    if e.predictions
                    else ""
                )
            ),
            lambda e: parity(PARITY, WHOLE, e.comparisons, e.predictions),
            "relaxation time: learned over reference",
        ),
        Picture(
            "autocorrelation",
            lambda e: (
                "Autocorrelation of the squared radius of gyration of "
                f"{named(e.comparisons)}. Shaded: one standard error, from eight "
                "blocks."
            ),
            lambda e: correlations(e.comparisons),
            "autocorrelation of the size",
        ),
    ),
)
