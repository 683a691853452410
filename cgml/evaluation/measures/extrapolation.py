"""How far subjects are from what a model has learned, and whether it tells its errors.

The grades are those of the frames that the model made (dynamics/extrapolation.py).
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cgml.evaluation import drawing
from cgml.evaluation.measure import (
    LARGEST_ERROR,
    WHOLE,
    Entry,
    Measure,
    Picture,
    exact,
)
from cgml.evaluation.measures.size import squared_radius
from cgml.evaluation.results import Comparison
from cgml.observables import statistics
from cgml.observables.statistics import Estimate

ERROR = "rg2_relative_error"


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Grade, and for a molecule what its runs, by several members, differ by.

    Args:
        comparison: of one subject.

    Returns:
        extrapolation_grade, where the model is calibrated, with its deviation over the
        runs; rollout_spread, the deviation of the mean squared radius of gyration over
        the runs, over the mean, of a single molecule with several runs.
    """
    found: dict[str, Estimate] = {}
    grades = comparison.learned.grades
    if grades is not None:
        spread = grades.std(ddof=1) if len(grades) > 1 else np.nan
        found["extrapolation_grade"] = Estimate(float(grades.mean()), float(spread))
    n_runs = len(comparison.learned.positions)
    if n_runs > 1 and comparison.subject.is_single:
        sizes = squared_radius(comparison.subject, comparison.learned).mean(axis=1)
        found["rollout_spread"] = exact(sizes.std(ddof=1) / sizes.mean())
    return found


def known(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons of single molecules that have grades."""
    wanted = {"extrapolation_grade", ERROR}
    return [item for item in comparisons if wanted <= item.figures.keys()]


def errors_over_grades(comparisons: Sequence[Comparison]) -> Figure | None:
    """Draw the error of each molecule over its grade."""
    items = known(comparisons)
    if not items:
        return None
    figure, ((axis,),) = drawing.panels(1, 1, 2.4, least=1)
    grades = np.array([item.figures["extrapolation_grade"].value for item in items])
    errors = [item.figures[ERROR] for item in items]
    axis.errorbar(
        grades,
        [100.0 * abs(error.value) for error in errors],
        [100.0 * error.error for error in errors],
        fmt="o",
        markersize=3.5,
        color=drawing.LEARNED,
        ecolor=drawing.SHADE,
    )
    axis.axvline(1.0, color=drawing.REFERENCE, linewidth=0.8)
    axis.set(
        xlabel="extrapolation grade",
        ylabel=r"error of $\langle R_g^2 \rangle$ / %",
        ylim=(0.0, None),
    )
    return figure


MEASURE = Measure(
    name="extrapolation",
    place=800,
    parts=lambda subject: WHOLE,
    compute=compute,
    rows=(
        Entry(
            "extrapolation_grade",
            "extrapolation grade, mean",
            form=".2f",
            samples=(lambda item, part: _grade(item),),
            is_judged=False,
        ),
        Entry(
            "grade_error_correlation",
            "its rank correlation with the error of the size",
            form=".2f",
            statistic=statistics.spearman,
            samples=(
                lambda item, part: _grade(item),
                lambda item, part: _error(item),
            ),
            is_judged=False,
            is_score=True,
            largest_error=LARGEST_ERROR,
        ),
    ),
    columns=(
        Entry("extrapolation_grade", "extrapolation grade", form=".2f"),
        Entry("rollout_spread", "spread between runs", "%", ".1f", 100.0),
    ),
    pictures=(
        Picture(
            "error_over_grade",
            "Error of the mean squared radius of gyration of every molecule over its "
            "extrapolation grade: 1 (line) is the largest of the validation molecules "
            "of the training run. Bars: standard errors.",
            lambda e: errors_over_grades(e.comparisons),
            "error over extrapolation grade",
        ),
    ),
)


def _grade(item: Comparison) -> float:
    """Grade of a subject; NaN: not known."""
    found = item.figures.get("extrapolation_grade")
    return float("nan") if found is None else found.value


def _error(item: Comparison) -> float:
    """Size of the error of a subject; NaN: not known."""
    found = item.figures.get(ERROR)
    return float("nan") if found is None else abs(found.value)
