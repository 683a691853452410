"""Distances of bonded beads, and whether they drift along a run."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cgml.evaluation import drawing
from cgml.evaluation.measure import (
    PERCENT,
    WHOLE,
    Entry,
    Measure,
    Picture,
    Sample,
    exact,
)
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Subject
from cgml.observables.chains import bond_lengths
from cgml.observables.statistics import Estimate

QUANTILES = (0.01, 0.50, 0.99)
"""Quantiles of the bond lengths that are watched."""

N_SEGMENTS = 10
"""Pieces of a run in which the drift is followed."""

Floats = NDArray[np.float64]


def has_bonds(subject: Subject) -> Sequence[str]:
    """Parts of a measure of what has bonds."""
    return WHOLE if len(subject.bonds) else ()


def drift(comparison: Comparison) -> Floats:
    """Quantiles in pieces of the learned run over those of the whole reference.

    Returns:
        (N_SEGMENTS, n_quantiles).
    """
    right, learned = (
        bond_lengths(run.positions, comparison.subject.bonds) for run in comparison.runs
    )
    pieces = np.array_split(learned, N_SEGMENTS, axis=1)
    quantiles = np.array([np.quantile(piece, QUANTILES) for piece in pieces])
    return np.asarray(quantiles / np.quantile(right, QUANTILES))


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Largest relative deviation of a quantile in the first and the last tenth."""
    start, *_, end = comparison.once(drift)
    return {
        "bond_start_error": exact(np.abs(start - 1.0).max()),
        "bond_end_error": exact(np.abs(end - 1.0).max()),
    }


def drifts(comparisons: Sequence[Comparison]) -> Figure:
    """Quantiles of the learned bond lengths over time, against the reference."""
    figure, (axes,) = drawing.panels(1, len(QUANTILES), 2.1)
    percent = 100.0 * (np.array([item.once(drift) for item in comparisons]) - 1.0)
    part = (np.arange(N_SEGMENTS) + 0.5) / N_SEGMENTS
    lengths = [1e-3 * item.learned.duration for item in comparisons]  # ns
    for k, axis in enumerate(axes):
        for length, values in zip(lengths, percent[:, :, k], strict=True):
            axis.plot(
                length * part, values, color=drawing.LEARNED, alpha=0.3, linewidth=0.8
            )
        middle = percent[:, :, k].mean(axis=0)
        axis.plot(max(lengths) * part, middle, color=drawing.LEARNED, linewidth=2.0)
        axis.axhline(0.0, color=drawing.REFERENCE, linewidth=0.9)
        axis.set(title=f"{100 * QUANTILES[k]:g} % quantile", xlabel="time / ns")
        axis.set_xlim(left=0.0)
    reach = 1.15 * max(float(np.abs(percent).max()), 1.0)
    for axis in axes:
        axis.set_ylim(-reach, reach)
    axes[0].set_ylabel("bond length, deviation / %")
    figure.legend(
        [
            drawing.line(drawing.REFERENCE),
            drawing.line(drawing.LEARNED, linewidth=2.0),
            drawing.line(drawing.LEARNED, linewidth=0.8, alpha=0.4),
        ],
        ["reference", "learned, mean", "each by itself"],
        loc="outside upper right",
        ncols=3,
    )
    return figure


def _segment(k: int) -> Sample:
    return lambda comparison, part: comparison.once(drift)[k]


def _largest_bias(ratios: Floats) -> float:
    """Average (n_subjects, n_quantiles) over subjects; largest distance from 1.

    One subject's tenth of a run holds few extremes, so they are averaged first.
    """
    return float(np.abs(ratios.mean(axis=0) - 1.0).max())


MEASURE = Measure(
    name="bonds",
    place=50,
    parts=has_bonds,
    compute=compute,
    rows=tuple(
        Entry(
            f"bond_{when}_error",
            f"bond-length quantiles at the {when}, largest deviation",
            *PERCENT,
            statistic=_largest_bias,
            samples=(_segment(k),),
        )
        for k, when in ((0, "start"), (-1, "end"))
    ),
    columns=(Entry("bond_end_error", "bonds at the end", *PERCENT),),
    pictures=(
        Picture(
            "bonds",
            "Distances of bonded beads along the run: deviation of three quantiles "
            "from those of the whole reference. Thin: each by itself; thick: the mean.",
            lambda e: drifts(e.comparisons),
            "bond lengths along the run",
        ),
    ),
)
