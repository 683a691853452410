"""Where frames of the reference go in one step of the model, and in four."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cgml.evaluation.forecast import STEPS, of_frames
from cgml.evaluation.measure import Entry, Measure, exact
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Forecast, Run, Subject
from cgml.molecules.centres import centre_of_mass, squared_radius_of_gyration
from cgml.observables import statistics
from cgml.observables.statistics import Estimate

Floats = NDArray[np.float64]

MOVES, SIZES = "forecast_{}_displacement_emd", "forecast_{}_rg2_emd"


def parts(subject: Subject) -> Sequence[str]:
    """Numbers of steps."""
    del subject
    return [str(n) for n in STEPS]


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Distances of the distributions n steps later, n = 1, 4.

    The learned ones begin where the reference is, with its history; those of a run
    without forecasts, as a half of the reference is, are of its own frames.

    Args:
        comparison: of one system.

    Returns:
        forecast_{n}_displacement_emd, of the beads' displacements, the centre of mass
        of the system at rest; forecast_{n}_rg2_emd, of the change of the squared
        radius of gyration (of a box, of nothing: NaN); in standard deviations of the
        reference. NaN where the reference is too short, or its spacing does not divide
        the step of the model.
    """
    names = [name.format(n) for n in STEPS for name in (MOVES, SIZES)]
    figures = dict.fromkeys(names, Estimate(float("nan"), float("nan")))
    sides = [_forecast(run, comparison.options.step) for run in comparison.runs]
    right, learned = sides
    if right is None or learned is None:
        return figures
    subject = comparison.subject
    for name, one, other in zip(
        names, _changes(subject, right), _changes(subject, learned), strict=False
    ):
        distance = statistics.earth_movers_distance(one[None], other[None])
        figures[name] = exact(distance / float(one.std()))
    if not subject.is_single:
        figures |= {SIZES.format(n): Estimate(np.nan, np.nan) for n in STEPS}
    return figures


def _forecast(run: Run, step: float | None) -> Forecast | None:
    if step is None or run.forecast is not None:
        return run.forecast
    return of_frames(run.positions[0], run.time_step, step)


def _changes(subject: Subject, forecast: Forecast) -> Iterator[Floats]:
    """For each number of steps, displacements of all beads, nm, and changes, nm^2."""
    masses = subject.masses
    before = _at_rest(forecast.start, masses)
    for n in STEPS:
        after = _at_rest(forecast.after[n], masses)
        yield np.linalg.norm(after - before, axis=-1).ravel()
        sizes = (squared_radius_of_gyration(some, masses) for some in (before, after))
        one, other = sizes
        yield other - one


def _at_rest(positions: NDArray[np.floating], masses: Floats) -> Floats:
    wide = np.asarray(positions, dtype=np.float64)
    return np.asarray(wide - centre_of_mass(wide, masses)[..., None, :])


MEASURE = Measure(
    name="forecast",
    place=47,
    parts=parts,
    compute=compute,
    rows=(
        Entry(
            MOVES,
            "{}-step displacements from frames of the reference, earth mover's "
            "distance",
            "standard deviation",
        ),
        Entry(
            SIZES,
            "{}-step change of <i>R</i><sub>g</sub>², earth mover's distance",
            "standard deviation",
        ),
    ),
)
