"""How large the chains of a melt are, and how long their ends remember."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cgml.evaluation import drawing
from cgml.evaluation.measure import (
    NOTHING,
    PERCENT,
    Entry,
    Measure,
    Picture,
    change,
    log10_ratio,
    magnitude,
)
from cgml.evaluation.measures.displacement import shown, slowest_first
from cgml.evaluation.measures.segments import parts
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.observables import chains, statistics
from cgml.observables.statistics import Estimate

Floats = NDArray[np.float64]


class Memory(NamedTuple):
    """Correlation of end-to-end vectors, the mean over chains and runs.

    Attributes:
        lags: up to half a run, (n_lags,) ps.
        values: 1 at lag 0, (n_lags,).
        errors: standard errors by the jackknife over chains, (n_lags,).
        time: at which it is 1/e, ps; NaN where it is not within these lags.
    """

    lags: Floats
    values: Floats
    errors: Floats
    time: Estimate


def squared_radii(subject: Subject, run: Run, name: str) -> Floats:
    """Return a series for each molecule of several beads, (n_units, n_frames) nm^2."""
    label = subject.molecules
    series: list[Floats] = []
    for molecule in np.unique(label[subject.chained(name)]):
        own = label == molecule
        squares = squared_radius_of_gyration(
            run.positions[:, :, own], subject.masses[own]
        )
        series.extend(squares)
    return np.array(series)


def end_vectors(subject: Subject, run: Run, name: str) -> Floats:
    """Return the way from end to end of each linear molecule of a species.

    Returns:
        (n_units, n_frames, 3) nm, units being molecules of all runs; perhaps none.
    """
    found = chains.ends(subject.bonds)
    found = found[np.isin(found[:, 0], subject.species[name])]
    ways = run.positions[:, :, found[:, 1]] - run.positions[:, :, found[:, 0]]
    n_frames = ways.shape[1]
    return np.moveaxis(ways, 2, 1).reshape(-1, n_frames, 3).astype(np.float64)


def memory(vectors: Floats, time_step: float) -> Memory:
    r"""Correlate end-to-end vectors, <R(0) R(t)> / <R^2>.

    Args:
        vectors: (n_units, n_frames, 3) nm.
        time_step: of the frames, ps.
    """
    n_lags = max(vectors.shape[1] // 2, 2)
    each = np.array(
        [statistics.autocovariance(unit.T, mean=0.0)[:n_lags] for unit in vectors]
    )
    total = each.sum(axis=0)
    values = total / total[0] if total[0] > 0.0 else np.full(n_lags, np.nan)
    time = statistics.fall(values)
    left = total - each
    left = left / np.where(left[:, :1] > 0.0, left[:, :1], np.nan)
    errors = statistics.jackknife_errors(left)
    falls = [statistics.fall(row) for row in left]
    noise = float(statistics.jackknife_errors(falls))
    lags = time_step * np.arange(n_lags, dtype=np.float64)
    return Memory(lags, values, errors, Estimate(time * time_step, noise * time_step))


def memories(comparison: Comparison) -> dict[str, tuple[Memory, Memory]]:
    """Return both sides at one spacing, by species; of those that have ends."""
    subject, result = comparison.subject, {}
    for name in parts(subject):
        sides = [end_vectors(subject, run, name) for run in comparison.aligned]
        if len(sides[0]):
            one, other = (
                memory(side, run.time_step)
                for side, run in zip(sides, comparison.aligned, strict=True)
            )
            result[name] = (one, other)
    return result


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Sizes of the molecules of each species s, and times of their ends.

    Args:
        comparison: of one box.

    Returns:
        rg2_{s}_*, end2_{s}_* (mean squared radius of gyration and end-to-end distance,
        nm^2), each with _relative_error (learned over reference, less 1), and
        end_time_{s}_* (ps) with _log10_error; NaN for species without ends.
    """
    figures: dict[str, Estimate] = {}
    subject = comparison.subject
    known = comparison.once(memories)
    for name in parts(subject):
        sizes, ends = [], []
        for side, run in zip(drawing.SIDES, comparison.runs, strict=True):
            size = statistics.mean_estimate(squared_radii(subject, run, name))
            ways = end_vectors(subject, run, name)
            squares = (ways**2).sum(axis=-1)
            end = statistics.mean_estimate(squares) if len(ways) else NOTHING
            figures |= {f"rg2_{name}_{side}": size, f"end2_{name}_{side}": end}
            sizes.append(size)
            ends.append(end)
        figures[f"rg2_{name}_relative_error"] = change(*sizes)
        figures[f"end2_{name}_relative_error"] = change(*ends)
        times = [side.time for side in known[name]] if name in known else [NOTHING] * 2
        for side, found in zip(drawing.SIDES, times, strict=True):
            figures[f"end_time_{name}_{side}"] = found
        figures[f"end_time_{name}_log10_error"] = log10_ratio(*times)
    return figures


def memories_drawn(comparisons: Sequence[Comparison]) -> Figure | None:
    """Draw the correlation of end-to-end vectors: a row for each box."""
    chosen = [item for item in slowest_first(comparisons) if item.once(memories)]
    if not chosen:
        return None
    words = ("time / ps", "end-to-end correlation")
    figure, cells = drawing.subject_panels(chosen, parts, words)
    for axis, item, name in cells:
        for found, colour in zip(
            item.once(memories).get(name, ()), drawing.COLOURS, strict=False
        ):
            drawing.band(axis, found.lags, found.values, found.errors, colour)
            axis.plot(found.lags, found.values, color=colour)
            axis.set_xlim(0.0, found.lags[-1])
        axis.set_ylim(-0.1, 1.05)
    drawing.legend(figure)
    return figure


SIZE, ENDS = "⟨<i>R</i><sub>g</sub>²⟩", "⟨<i>R</i><sub>ee</sub>²⟩"

MEASURE = Measure(
    name="dimensions",
    place=55,
    parts=parts,
    compute=compute,
    rows=(
        Entry(
            "rg2_{}_relative_error",
            f"{SIZE} of {{}}, mean absolute relative error",
            *PERCENT,
            samples=(magnitude("rg2_{}_relative_error"),),
            pair="rg2_{}",
        ),
        Entry(
            "end2_{}_relative_error",
            f"squared end-to-end distance {ENDS} of {{}}, mean absolute relative error",
            *PERCENT,
            samples=(magnitude("end2_{}_relative_error"),),
            pair="end2_{}",
        ),
        Entry(
            "end_time_{}_log10_error",
            "— its relaxation (1/e), mean absolute error of log<sub>10</sub>",
            samples=(magnitude("end_time_{}_log10_error"),),
            pair="end_time_{}",
            memory="end_time_{}_reference",
        ),
    ),
    columns=(
        Entry("rg2_{}_reference", f"{SIZE} {{}}, reference", "nm²", ".3f"),
        Entry("rg2_{}_learned", "learned", "nm²", ".3f"),
        Entry("end2_{}_reference", f"{ENDS} {{}}, reference", "nm²", ".2f"),
        Entry("end2_{}_learned", "learned", "nm²", ".2f"),
    ),
    pictures=(
        Picture(
            "end_to_end",
            lambda e: (
                "How long chains remember where they point: correlation of end-to-end "
                f"vectors. {shown(e.comparisons)} Shaded: one standard error, by the "
                "jackknife over chains."
            ),
            lambda e: memories_drawn(e.comparisons),
            "end-to-end vectors over time",
        ),
    ),
)
