"""What a measure is: figures of a comparison, and how they are summed up and shown.

A file in `measures/` that holds a `MEASURE` is all it takes: the figures appear in
JSON, on the page and in the console, and baselines learn its targets.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from cgml.evaluation.results import Comparison, Evaluation
from cgml.evaluation.subject import Run, Subject
from cgml.observables.statistics import Estimate

Floats = NDArray[np.float64]
Sample = Callable[[Comparison, str], ArrayLike]
"""(comparison, part) -> a number, or an array of one shape for all comparisons."""

Parts = Callable[[Subject], Sequence[str]]
"""What of a subject is measured: its species, say, by name."""

PERCENT = ("%", ".1f", 100.0)
"""Unit, format and factor of a figure that is printed in per cent."""

LARGEST_ERROR = 0.3
"""Of a coefficient of correlation or determination that says anything."""

NOTHING = Estimate(np.nan, np.nan)
"""A figure that is not there."""

WHOLE = ("",)
"""The parts of what is measured of a subject as a whole."""


def mean(values: Floats) -> float:
    """Return the mean."""
    return float(np.mean(values))


@dataclass(frozen=True)
class Target:
    """A number that baselines predict without a model of the dynamics.

    Attributes:
        name: perhaps with {} for the part.
        reference: figure that has the right value.
        read: (subject, run, duration of a training run, part) -> the target; the
            duration in ps says which lags a short run can serve.
        is_log10: whether the target is the decimal logarithm of the figure.
        is_positive: whether networks learn its logarithm, and no prediction is below
            1e-3.
    """

    name: str
    reference: str
    read: Callable[[Subject, Run, float, str], float]
    is_log10: bool = False
    is_positive: bool = False

    def natural(self, values: Floats) -> Floats:
        """Return values of the target in the unit of the figure."""
        return np.asarray(10.0**values) if self.is_log10 else values


@dataclass(frozen=True)
class Entry:
    """A figure: how it is named and printed and, over subjects, summed up.

    Attributes:
        name: in JSON, perhaps with {} for the part.
        text: words, HTML, perhaps with {} for the part.
        unit: of the number printed; "" for none.
        form: format of the number.
        factor: number printed over figure.
        statistic: of the samples, over subjects.
        samples: taken from each comparison; subjects where one is not finite are left
            out; (): the figure of this name.
        target: of which baselines are scored by `statistic`, against its reference;
            None: baselines have no such figure.
        pair: stem of the figures STEM_reference and STEM_learned, perhaps with {} for
            the part, whose errors decide the verdict; "": the halves of the reference.
        memory: figure of the reference that says how long it remembers, ps, perhaps
            with {} for the part; subjects with a run shorter than `verdict.ENOUGH` of
            these times are not judged, nor are those where it is not known; "": all.
        is_judged: whether there is a verdict.
        is_score: whether more is better; else the figure is a distance.
        largest_error: with a larger one, or none, the figure says nothing and is not
            shown.
    """

    name: str
    text: str
    unit: str = ""
    form: str = ".3f"
    factor: float = 1.0
    statistic: Callable[..., float] = mean
    samples: tuple[Sample, ...] = ()
    target: Target | None = None
    pair: str = ""
    memory: str = ""
    is_judged: bool = True
    is_score: bool = False
    largest_error: float = np.inf

    def heading(self, part: str) -> str:
        """Return words and unit, HTML; the part may hold any text."""
        words = self.text.format(html.escape(part))
        return f"{words} / {self.unit}" if self.unit else words

    def is_too_uncertain(self, estimate: Estimate) -> bool:
        """Whether the error leaves nothing of the figure."""
        is_bounded = np.isfinite(self.largest_error)
        return bool(is_bounded and not estimate.error <= self.largest_error)

    def show(self, estimate: Estimate) -> str:
        """Return value and standard error in words."""
        number, error = (self.factor * item for item in estimate)
        if not np.isfinite(number):
            return "–"
        if self.is_too_uncertain(estimate):
            known = np.isfinite(error)
            return f"not shown, error {error:.2g}" if known else "not shown, no error"
        text = format(number, self.form)
        if not float(text):
            text = format(0.0, self.form)  # of no sign
        if not np.isfinite(error):
            return text
        return f"{text} ± {format(error, self.form.lstrip('+'))}"


class Picture(NamedTuple):
    """One plot on the page.

    Attributes:
        name: of the file.
        caption: speaks of what is drawn, so it may depend on the evaluation.
        draw: may return None where there is nothing to show.
        title: in the index of the page; "": the name.
    """

    name: str
    caption: str | Callable[[Evaluation], str]
    draw: Callable[[Evaluation], Figure | None]
    title: str = ""

    def describe(self, evaluation: Evaluation) -> dict[str, str]:
        """Return name, title and caption for the page."""
        text = (
            self.caption if isinstance(self.caption, str) else self.caption(evaluation)
        )
        title = self.title or self.name.replace("_", " ")
        return {"name": self.name, "title": title, "caption": text}


@dataclass(frozen=True)
class Measure:
    """An observable of both sides.

    Attributes:
        name: of the measure.
        place: measures stand in this order.
        parts: what it is measured of, in a subject: `WHOLE`, its species or pairs by
            name, or nothing where the measure does not apply.
        compute: figures of one comparison, by name.
        rows: figures over all subjects, of each part.
        columns: figures of single subjects, of each part, that the page lists.
        pictures: plots.
        note: sentence under a table that has baselines.
    """

    name: str
    place: int
    parts: Parts
    compute: Callable[[Comparison], dict[str, Estimate]]
    rows: tuple[Entry, ...] = ()
    columns: tuple[Entry, ...] = ()
    pictures: tuple[Picture, ...] = ()
    note: str = ""

    @property
    def targets(self) -> list[Target]:
        """What baselines predict."""
        return list({row.target: None for row in self.rows if row.target is not None})


def value(name: str) -> Sample:
    """Sample of a figure's value."""
    return lambda comparison, part: comparison.figures[name.format(part)].value


def magnitude(name: str) -> Sample:
    """Sample of a figure's absolute value."""
    return lambda comparison, part: abs(comparison.figures[name.format(part)].value)


def noise(name: str) -> Sample:
    """Sample of the mean absolute value that a figure has by its error alone."""
    factor = np.sqrt(2.0 / np.pi)
    return lambda comparison, part: comparison.figures[name.format(part)].error * factor


def exact(number: float) -> Estimate:
    """Return a figure without an error."""
    return Estimate(float(number), float("nan"))


def log10_ratio(one: Estimate, other: Estimate) -> Estimate:
    """Return the decimal logarithm of other over one."""
    noise = np.hypot(one.error / one.value, other.error / other.value)
    return Estimate(
        float(np.log10(other.value / one.value)), float(noise / np.log(10.0))
    )


def change(one: Estimate, other: Estimate) -> Estimate:
    """Return other over one, less 1; NaN where there is nothing of one."""
    if not one.value:
        return NOTHING
    ratio = other.value / one.value
    noise = np.hypot(other.error / one.value, ratio * one.error / one.value)
    return Estimate(ratio - 1.0, float(noise))


def single_molecule(subject: Subject) -> Sequence[str]:
    """Parts of a measure of single molecules."""
    return WHOLE if subject.is_single else ()


def species(subject: Subject) -> Sequence[str]:
    """Parts of a measure of each species of a box of several molecules."""
    return () if subject.box is None or subject.is_single else list(subject.species)


def pairs(subject: Subject) -> Sequence[str]:
    """Parts of a measure of all pairs of species of a box."""
    return () if subject.box is None else list(subject.pairs)


def union(parts: Parts, comparisons: Sequence[Comparison]) -> list[str]:
    """Return the parts of any of the subjects."""
    return list(dict.fromkeys(p for item in comparisons for p in parts(item.subject)))
