"""Who stands around whom: radial distribution of the beads of two species.

Pairs within a molecule do not count.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cgml.evaluation import drawing
from cgml.evaluation.measure import (
    NOTHING,
    PERCENT,
    Entry,
    Measure,
    Picture,
    change,
    exact,
    pairs,
    value,
)
from cgml.evaluation.measures.displacement import shown, slowest_first
from cgml.evaluation.results import Comparison
from cgml.molecules.box import widths
from cgml.observables import structure
from cgml.observables.peaks import highest_peak
from cgml.observables.statistics import Estimate
from cgml.observables.structure import RadialDistribution

MIN_DENSITY = 0.2
"""g(r) of the reference below which it is not judged."""

N_BINS = 50

INNER = 0.9
"""Part of the distances within which a highest value is a peak, not a slope."""


Both = tuple[RadialDistribution, RadialDistribution]


def distributions(comparison: Comparison) -> dict[str, Both]:
    """Return g(r) of both sides, by pair.

    It reaches half the box, at most 4 times the edge of a bead's mean volume.
    """
    subject = comparison.subject
    edge = (subject.volume / len(subject.masses)) ** (1.0 / 3.0)
    cutoff = min(0.499 * float(widths(subject.cell).min()), 4.0 * edge)
    result = {}
    for name, (first, second) in subject.pairs.items():
        one, other = (
            structure.radial_distribution(
                run.positions,
                subject.cell,
                cutoff=cutoff,
                pair=(subject.species[first], subject.species[second]),
                molecules=subject.molecules,
                n_bins=N_BINS,
            )
            for run in comparison.runs
        )
        result[name] = (one, other)
    return result


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Largest |g - g_ref| where g_ref > 0.2, over the peak of g_ref.

    Args:
        comparison: of one box.

    Returns:
        rdf_{pair}_deviation; peak_distance_{pair}_* (nm), peak_height_{pair}_* and
        peak_height_{pair}_change (learned over reference, less 1). NaN for a pair that
        the reference never brings near, and of peaks where one side has none.
    """
    figures = {}
    for name, both in comparison.once(distributions).items():
        figures[f"rdf_{name}_deviation"] = _deviation(*both)
        tops = [highest_peak(rdf) for rdf in both]
        is_there = all(
            rdf.values.max() > MIN_DENSITY
            and peak.distance < INNER * float(rdf.distances[-1])
            for rdf, peak in zip(both, tops, strict=True)
        )
        for side, peak in zip(drawing.SIDES, tops, strict=True):
            distance = exact(peak.distance) if is_there else NOTHING
            figures[f"peak_distance_{name}_{side}"] = distance
            figures[f"peak_height_{name}_{side}"] = peak.height if is_there else NOTHING
        heights = (peak.height for peak in tops)
        figures[f"peak_height_{name}_change"] = (
            change(*heights) if is_there else NOTHING
        )
    return figures


def _shift(comparison: Comparison, pair: str) -> float:
    """How much farther the learned peak is, nm."""
    one, other = (
        comparison.figures[f"peak_distance_{pair}_{side}"].value
        for side in drawing.SIDES
    )
    return other - one


def _deviation(reference: RadialDistribution, learned: RadialDistribution) -> Estimate:
    judged = reference.values > MIN_DENSITY
    if not judged.any():
        return Estimate(np.nan, np.nan)
    difference = np.where(judged, np.abs(learned.values - reference.values), 0.0)
    worst, peak = int(np.argmax(difference)), float(reference.values.max())
    noise = float(np.hypot(reference.errors[worst], learned.errors[worst]))
    return Estimate(float(difference[worst]) / peak, noise / peak)


def radial_distributions(comparisons: Sequence[Comparison]) -> Figure:
    """Draw both sides, a row for each box, a column for each pair."""
    chosen = slowest_first(comparisons)
    words = ("distance / nm", "$g(r)$")
    figure, cells = drawing.subject_panels(chosen, pairs, words)
    for axis, item, name in cells:
        for rdf, colour in zip(
            item.once(distributions).get(name, ()), drawing.COLOURS, strict=False
        ):
            drawing.band(axis, rdf.distances, rdf.values, rdf.errors, colour)
            axis.plot(rdf.distances, rdf.values, color=colour, linewidth=1.2)
            axis.set_xlim(0.0, rdf.distances[-1])
        axis.axhline(1.0, color="black", linewidth=0.4)
        axis.set_ylim(0.0, None)
    drawing.legend(figure)
    return figure


MEASURE = Measure(
    name="pairs",
    place=70,
    parts=pairs,
    compute=compute,
    rows=(
        Entry(
            "rdf_{}_deviation",
            "<i>g</i>(<i>r</i>) {}, largest deviation",
            "peak of the reference",
        ),
        Entry(
            "peak_{}_shift", "— its peak, learned farther by", "nm", samples=(_shift,)
        ),
        Entry(
            "peak_{}_change",
            "— its peak, learned higher by",
            *PERCENT,
            samples=(value("peak_height_{}_change"),),
            pair="peak_height_{}",
        ),
    ),
    pictures=(
        Picture(
            "radial_distributions",
            lambda e: (
                "Radial distribution of the beads of two species, of different "
                f"molecules, for every pair of species. {shown(e.comparisons)} "
                "Shaded: one "
                "standard error."
            ),
            lambda e: radial_distributions(e.comparisons),
            "radial distributions",
        ),
    ),
)
