"""Two sets of runs of the same subjects, one judged by the other.

Pure functions of arrays. One of the two is called the reference; the other may come
from a model, or from anywhere else. What is compared stands in `measures`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.evaluation import measures
from cgml.evaluation.measure import Entry, Measure, union, value
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.results import (
    Comparison,
    ComparisonOptions,
    column,
)
from cgml.evaluation.subject import Run, Subject
from cgml.observables import statistics
from cgml.observables.statistics import Estimate

Floats = NDArray[np.float64]


class Line(NamedTuple):
    """An entry of a measure for one part."""

    measure: Measure
    entry: Entry
    part: str

    @property
    def name(self) -> str:
        """Of the figure, in JSON."""
        return self.entry.name.format(self.part)

    @property
    def heading(self) -> str:
        """Words and unit, HTML."""
        return self.entry.heading(self.part)


def compare(
    subject: Subject,
    reference: Run,
    learned: Run,
    options: ComparisonOptions | None = None,
) -> Comparison:
    """Compare two sets of runs of one subject by all measures that apply.

    Distributions use all frames of each side; kinetics use the finest spacing that
    both share, so that sampling cannot make a difference.

    Args:
        subject: what both sides are of.
        reference: what is right.
        learned: what is judged.
        options: lags, quantiles.

    Raises:
        ValueError: spacings without a common multiple, or runs too short.
    """
    found = Comparison(subject, reference, learned, options or ComparisonOptions())
    for measure in measures.table():
        if measure.parts(subject):
            found.figures.update(measure.compute(found))
    return found


def lines(comparisons: Sequence[Comparison], *, listed: bool = False) -> list[Line]:
    """Return the rows of all measures that apply to any of the subjects.

    Args:
        comparisons: of the subjects.
        listed: rather the columns, figures of single subjects.
    """
    return [
        Line(measure, entry, part)
        for measure in measures.table()
        for part in union(measure.parts, comparisons)
        for entry in (measure.columns if listed else measure.rows)
    ]


def summarise(comparisons: Sequence[Comparison], seed: int) -> dict[str, Estimate]:
    """Condense many subjects into the figures a model is judged by.

    Args:
        comparisons: one for each subject.
        seed: of the bootstrap over subjects, which gives the errors; all figures see
            the same resamples.

    Returns:
        Name -> value and standard error over the choice of subjects; NaN where too
        few subjects leave a figure without meaning. Subjects without a figure are left
        out of it.
    """
    result = {}
    for line in lines(comparisons):
        of = [c for c in comparisons if line.part in line.measure.parts(c.subject)]
        samples = [
            np.array([sample(item, line.part) for item in of], dtype=np.float64)
            for sample in line.entry.samples or (value(line.entry.name),)
        ]
        result[line.name] = _estimate(line.entry.statistic, samples, seed)
    return result


def scores(
    comparisons: Sequence[Comparison], prediction: Prediction
) -> dict[str, Estimate]:
    """Score a baseline, draws averaged.

    Args:
        comparisons: of the subjects of the prediction, in order.
        prediction: what a baseline says.

    Returns:
        The figures of `summarise` that a baseline has, with the standard error over
        draws (NaN for a single one).
    """
    result = {}
    for line in lines(comparisons):
        target = line.entry.target
        if target is None or target.name.format(line.part) not in prediction.values:
            continue
        name = target.reference.format(line.part)
        right = column(comparisons, name)[:, 0]
        draws = target.natural(prediction.values[target.name.format(line.part)])
        values = []
        for draw in draws:
            kept = np.isfinite(right) & np.isfinite(draw)
            if kept.any():
                values.append(line.entry.statistic(right[kept], draw[kept]))
        n = len(values)
        error = np.std(values, ddof=1) / np.sqrt(n) if n > 1 else np.nan
        mean = float(np.mean(values)) if n else np.nan
        result[line.name] = Estimate(mean, float(error))
    return result


def _estimate(
    statistic: Callable[..., float], samples: Sequence[Floats], seed: int
) -> Estimate:
    """Statistic of what is finite, and its bootstrap error."""
    kept = np.ones(len(samples[0]), dtype=np.bool_)
    for some in samples:
        kept &= np.isfinite(some).reshape(len(some), -1).all(axis=1)
    if not kept.any():
        return Estimate(np.nan, np.nan)
    finite = [some[kept] for some in samples]
    error = statistics.bootstrap_error(
        statistic, *finite, generator=np.random.default_rng(seed)
    )
    return Estimate(statistic(*finite), error)
