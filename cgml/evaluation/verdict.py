"""Is what a model makes the reference, as far as the errors of both can tell?

Where a figure is a mean with an error on both sides, the two are compared directly:
with z = (learned - reference) / sqrt(sum of both squared errors) of each subject, the
sum of z^2 over subjects is chi-squared. Other figures are distances from the reference;
they are compared with the distance of one half of the reference from the other, which
is what sampling alone makes at half the length.

Errors of a run that is hardly longer than what it relaxes in are too small, so that
figures with a known memory are judged in runs of `ENOUGH` relaxation times alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from cgml.evaluation.comparison import Line
from cgml.evaluation.measure import Entry, mean
from cgml.evaluation.results import Comparison, Evaluation, column
from cgml.observables.statistics import Estimate

WITHIN, EDGE, OUTSIDE = "within", "at the edge", "outside"
NOT_JUDGED = "not judged"
WORDS = (WITHIN, EDGE, OUTSIDE, NOT_JUDGED)
LIMITS = (2.0, 3.0)
"""Errors up to which a figure is within, and at the edge."""

ENOUGH = 20.0
"""Relaxation times of the reference in a run whose errors can be trusted."""

CHANCES = (0.0455, 0.0027)
"""How often a normal number is beyond these limits."""


class Verdict(NamedTuple):
    """A word, and what it is based on; both "" where there is nothing to judge."""

    word: str
    reason: str


def verdicts(evaluation: Evaluation, lines: Sequence[Line]) -> list[Verdict]:
    """Judge every figure of an evaluation."""
    return [judge(evaluation, line) for line in lines]


def judge(evaluation: Evaluation, line: Line) -> Verdict:
    """Judge one figure."""
    entry, learned = line.entry, evaluation.summary[line.name]
    if not entry.is_judged:
        return Verdict("", "")
    lengths = spans(evaluation.comparisons, line)
    if why := _lack(entry, learned) or _short(lengths, entry):
        return Verdict(NOT_JUDGED, why)
    if entry.pair:
        off = apart(evaluation.comparisons, entry.pair.format(line.part))
        return of_pairs(off[lengths >= ENOUGH])
    return of_distance(*_distances(evaluation, line), is_score=entry.is_score)


def spans(comparisons: Sequence[Comparison], line: Line) -> NDArray[np.float64]:
    """Return relaxation times of the reference in the shorter run, (n_subjects,).

    Args:
        comparisons: of the subjects.
        line: infinite where it has no memory, or none in time; NaN: not known.
    """
    if not line.entry.memory:
        return np.full(len(comparisons), np.inf)
    times = column(comparisons, line.entry.memory.format(line.part))[:, 0]
    lengths = [min(run.duration for run in item.runs) for item in comparisons]
    with np.errstate(divide="ignore"):
        return np.array(lengths) / np.where(times >= 0.0, times, np.nan)


def _short(lengths: NDArray[np.float64], entry: Entry) -> str:
    """Say that runs are too short: all of them, or half where one number has all."""
    share = float((lengths >= ENOUGH).mean())
    if share > (0.0 if entry.pair else 0.5):
        return ""
    short = lengths[lengths < ENOUGH]
    if not len(short):
        return "no relaxation time is known"
    return f"run too short: {short.max():.2g} relaxation times"


def _lack(entry: Entry, learned: Estimate) -> str:
    """Say why a figure tells nothing; "" if it does."""
    if not np.isfinite(learned.value):
        return "no value"
    if learned.error <= entry.largest_error or np.isinf(entry.largest_error):
        return ""
    is_known = np.isfinite(learned.error)
    return "the error is too large" if is_known else "too few subjects for an error"


def _distances(evaluation: Evaluation, line: Line) -> tuple[Estimate, Estimate]:
    """Return learned and halves; errors of few subjects are those of their figures."""
    learned, halves = evaluation.summary[line.name], evaluation.floor[line.name]
    if not np.isfinite(learned.error) and line.entry.statistic is mean:
        found = column(evaluation.comparisons, line.name)
        learned = Estimate(learned.value, _error_of_mean(found))
    if not np.isfinite(halves.error):  # half as long
        halves = Estimate(halves.value, np.sqrt(2.0) * learned.error)
    return learned, halves


def of_pairs(deviations: NDArray[np.float64]) -> Verdict:
    """Judge means of both sides.

    Args:
        deviations: z of each subject, (n_subjects,); NaN: not known.
    """
    known = deviations[np.isfinite(deviations)]
    if not len(known):
        return Verdict(NOT_JUDGED, "no errors are known")
    chance = float(chi2.sf((known**2).sum(), len(known)))
    word = _word(chance >= CHANCES[0], chance >= CHANCES[1])
    if len(known) == 1:
        return Verdict(word, f"{abs(known[0]):.1f} errors apart")
    n_beyond = int((np.abs(known) > LIMITS[1]).sum())
    reason = f"{n_beyond} of {len(known)} differ by more than 3 errors"
    if not n_beyond and word != WITHIN:
        reason += ", but all together by more than chance"
    return Verdict(word, reason)


def of_distance(learned: Estimate, halves: Estimate, *, is_score: bool) -> Verdict:
    """Judge a distance of both sides by that of the halves of the reference.

    Args:
        learned: learned against reference; of a difference with a sign, the size.
        halves: one half of the reference against the other.
        is_score: whether more is better.
    """
    if not np.isfinite(halves.value):
        return Verdict(NOT_JUDGED, "halves of the reference have no value")
    more = halves.value - learned.value
    if not is_score:
        more = abs(learned.value) - abs(halves.value)
    if more <= 0.0:
        return Verdict(WITHIN, "no farther than the halves of the reference")
    noise = float(np.hypot(learned.error, halves.error))
    if not noise > 0.0:
        return Verdict(NOT_JUDGED, "no errors are known: too few subjects")
    reason = f"{more / noise:.1f} errors beyond the halves of the reference"
    return Verdict(_word(more <= LIMITS[0] * noise, more <= LIMITS[1] * noise), reason)


def apart(comparisons: Sequence[Comparison], stem: str) -> NDArray[np.float64]:
    """Return how many errors lie between both sides, (n_subjects,); NaN: not known.

    Args:
        comparisons: of the subjects.
        stem: of the figures STEM_reference and STEM_learned.
    """
    one, other = (
        column(comparisons, f"{stem}_{side}") for side in ("reference", "learned")
    )
    noise = np.hypot(one[:, 1], other[:, 1])
    return (other[:, 0] - one[:, 0]) / np.where(noise > 0.0, noise, np.nan)


def _error_of_mean(found: NDArray[np.float64]) -> float:
    """Error of a mean of values with errors, (n, 2)."""
    errors = found[np.isfinite(found[:, 0]), 1]
    return float(np.sqrt((errors**2).sum()) / max(len(errors), 1))


def _word(is_within: bool, is_at_edge: bool) -> str:  # noqa: FBT001 (both are meant)
    return WITHIN if is_within else EDGE if is_at_edge else OUTSIDE
