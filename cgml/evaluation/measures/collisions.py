"""Beads closer than the reference hardly ever has them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cgml.evaluation import drawing
from cgml.evaluation.measure import WHOLE, Entry, Measure, Picture, exact
from cgml.evaluation.measures.displacement import shown, slowest_first
from cgml.evaluation.results import Comparison
from cgml.observables import statistics, structure
from cgml.observables.statistics import Estimate

N_SEGMENTS = 10
"""Pieces of a run in which collisions are followed."""

Floats = NDArray[np.float64]


def close_pairs(comparison: Comparison) -> tuple[float, Floats, Floats]:
    """Count pairs that are not bonded and closer than a quantile of the reference.

    Returns:
        The distance, nm, and pairs per bead of both sides, (n_runs, n_frames).
    """
    subject, quantile = comparison.subject, comparison.options.quantile
    nearest = structure.nearest_distances(
        comparison.reference.positions, subject.cell, bonds=subject.bonds
    )
    distance = structure.collision_distance(nearest, quantile)
    one, other = (
        structure.collisions(run.positions, subject.cell, distance, bonds=subject.bonds)
        for run in comparison.runs
    )
    return distance, one, other


def pieces(comparison: Comparison) -> Floats:
    """Mean pairs per bead in successive pieces of both sides, (2, N_SEGMENTS)."""
    _, *both = comparison.once(close_pairs)
    return np.array(
        [
            [part.mean() for part in np.array_split(series, N_SEGMENTS, axis=1)]
            for series in both
        ]
    )


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Close pairs of both sides.

    Args:
        comparison: of one box.

    Returns:
        collision_distance (nm), collisions_reference, _learned (pairs per bead),
        collisions_ratio, and collisions_end_ratio of the last tenth of the run (two
        frames at least).
    """
    distance, *both = comparison.once(close_pairs)
    one = statistics.mean_estimate(both[0])
    other = _counted(both[1], one, both[0].size)
    last = both[1][:, -max(both[1].shape[1] // N_SEGMENTS, 2) :]
    return {
        "collision_distance": exact(distance),
        "collisions_reference": one,
        "collisions_learned": other,
        "collisions_ratio": _ratio(other, one),
        "collisions_end_ratio": _ratio(_counted(last, one, both[0].size), one),
    }


def _counted(series: Floats, reference: Estimate, n_reference: int) -> Estimate:
    """Mean of a side; where it has no close pair, with the error that MD would have.

    None in a short run is no certain zero: the error is that of the reference, of
    n_reference frames, in as many frames as the run has.
    """
    if series.any():
        return statistics.mean_estimate(series)
    scale = np.sqrt(n_reference / series.size)
    return Estimate(0.0, float(reference.error * scale))


def _ratio(value: Estimate, over: Estimate) -> Estimate:
    ratio = value.value / over.value
    noise = np.hypot(over.error * ratio, value.error) / over.value
    return Estimate(ratio, float(noise))


def picture(comparisons: Sequence[Comparison]) -> Figure | None:
    """Draw close pairs along the run over the mean of the reference."""
    if not comparisons:
        return None
    chosen = slowest_first(comparisons)
    figure, (axes,) = drawing.panels(1, len(chosen), 2.0)
    part = (np.arange(N_SEGMENTS) + 0.5) / N_SEGMENTS
    top = 2.0
    for axis, item in zip(axes, chosen, strict=True):
        mean = item.figures["collisions_reference"].value
        for values, run, colour in zip(
            item.once(pieces) / mean, item.runs, drawing.COLOURS, strict=True
        ):
            time = 1e-3 * run.duration * part
            axis.plot(time, values, "o-", color=colour, markersize=3)
            top = max(top, 1.15 * float(values.max()))
        axis.axhline(1.0, color="black", linewidth=0.4)
        drawing.entitle(axis, item.subject.name)
        axis.set_xlabel("time / ns")
        axis.set_xlim(0.0, 1e-3 * max(run.duration for run in item.runs))
    for axis in axes:
        axis.set_ylim(0.0, top)
    axes[0].set_ylabel("collisions / mean of reference")
    drawing.legend(figure)
    return figure


MEASURE = Measure(
    name="collisions",
    place=90,
    parts=lambda subject: () if subject.box is None else WHOLE,
    compute=compute,
    rows=(
        Entry(
            "collisions_ratio",
            "collisions, learned / reference",
            form=".2f",
            pair="collisions",
        ),
        Entry(
            "collisions_end_ratio",
            "— in the last tenth of the run",
            form=".2f",
            is_judged=False,
        ),
    ),
    columns=(Entry("collisions_ratio", "collisions", form=".2f"),),
    pictures=(
        Picture(
            "collisions",
            lambda e: (
                "Pairs of beads closer than all but 0.1 % of the nearest "
                f"neighbours of the reference, along the run. {shown(e.comparisons)}"
            ),
            lambda e: picture(e.comparisons),
            "collisions of beads",
        ),
        Picture(
            "collisions_ablation",
            "Collisions again, without the score network: every bead drawn by itself.",
            lambda e: picture(e.ablation),
            "collisions without the score network",
        ),
    ),
)
