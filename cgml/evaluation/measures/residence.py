"""How long beads of two species stay together, and how many do.

Two beads of different molecules are in contact within the first minimum of g(r) of the
reference; pairs without one in its range, half of the box, are in no contact.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

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
    log10_ratio,
    magnitude,
    pairs,
)
from cgml.evaluation.measures.displacement import shown, slowest_first
from cgml.evaluation.measures.pairs import distributions
from cgml.evaluation.parity import Parity, parity
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject
from cgml.observables import peaks, residence, statistics
from cgml.observables.residence import Residence
from cgml.observables.statistics import Estimate, median_factor

Contact = tuple[Residence | None, Estimate]
Found = TypeVar("Found")


def contacts(subject: Subject, run: Run, pair: str, cutoff: float) -> Contact:
    """Follow the contacts of two species.

    Args:
        subject: the box.
        run: frames.
        pair: name of two species.
        cutoff: nm.

    Returns:
        Intermittent residence (None where the two never meet), and the coordination
        number of the first species by the second.
    """
    first, second = subject.pairs[pair]
    found = residence.find_contacts(
        run.positions,
        subject.cell,
        cutoff=cutoff,
        pair=(subject.species[first], subject.species[second]),
        molecules=subject.molecules,
    )
    n_runs, n_frames = run.positions.shape[:2]
    each = found.numbers.reshape(n_runs, -1, n_frames)
    mean = statistics.mean_estimate(each.mean(axis=1))
    mean = Estimate(mean.value, max(mean.error, found.scatter * mean.value))
    if not each.any():
        return None, mean
    return residence.intermittent(found, run.time_step), mean


def reaches(comparison: Comparison) -> dict[str, float]:
    """Return how near beads in contact are, nm, by pair; NaN: there is no contact."""
    return {
        name: peaks.first_minimum(reference)
        for name, (reference, _) in comparison.once(distributions).items()
    }


def followed(
    comparison: Comparison,
    runs: tuple[Run, Run],
    names: Collection[str],
    follow: Callable[[Subject, Run, str, float], Found],
) -> dict[str, tuple[Found, Found]]:
    """Follow both sides, by pair.

    Args:
        comparison: of one box.
        runs: both sides at one spacing.
        names: of pairs; those without a minimum of g are left out.
        follow: (subject, run, pair, first minimum of g of the reference in nm).
    """
    result = {}
    for name, cutoff in comparison.once(reaches).items():
        if name not in names or not np.isfinite(cutoff):
            continue
        one, other = (follow(comparison.subject, run, name, cutoff) for run in runs)
        result[name] = (one, other)
    return result


def stays(comparison: Comparison) -> dict[str, tuple[Contact, Contact]]:
    """Return the contacts of both sides, at one spacing and over one time, by pair.

    A lifetime is what of it a run has seen: those of runs of two lengths are not alike.
    """
    one, other = comparison.aligned
    n_frames = min(one.n_frames, other.n_frames)
    runs = one.first(n_frames), other.first(n_frames)
    return followed(comparison, runs, comparison.subject.pairs, contacts)


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Lifetimes, ps, and numbers of contacts.

    Args:
        comparison: of one box.

    Returns:
        contact_{pair} (nm, how near), coordination_{pair}_* and
        coordination_{pair}_change (learned over reference, less 1), lifetime_{pair}_*
        and lifetime_{pair}_log10_error; NaN for pairs that one side never forms, or
        whose g has no minimum.
    """
    figures = {}
    known = comparison.once(stays)
    for name, reach in comparison.once(reaches).items():
        figures[f"contact_{name}"] = exact(reach)
        both = known.get(name, ((None, NOTHING), (None, NOTHING)))
        lives = [NOTHING if stay is None else stay.lifetime for stay, _ in both]
        for side, (_, number), life in zip(drawing.SIDES, both, lives, strict=True):
            figures[f"coordination_{name}_{side}"] = number
            figures[f"lifetime_{name}_{side}"] = life
        figures[f"lifetime_{name}_log10_error"] = log10_ratio(*lives)
        figures[f"coordination_{name}_change"] = change(*(number for _, number in both))
    return figures


def formed(comparison: Comparison) -> list[str]:
    """Pairs of species that are in contact on a side at least."""
    return [
        name
        for name, both in comparison.once(stays).items()
        if any(stay is not None for stay, _ in both)
    ]


def lifetimes(comparisons: Sequence[Comparison]) -> Figure | None:
    """Draw lifetimes of pairs that are in contact in a box, learned over reference."""
    names = list(dict.fromkeys(name for item in comparisons for name in formed(item)))
    return parity(PARITY, names, comparisons) if names else None


def residences(comparisons: Sequence[Comparison]) -> Figure | None:
    """Draw the correlation of contacts above chance: a row for each box."""
    slowest = slowest_first(comparisons)
    kept = {id(item.subject): formed(item) for item in slowest}
    chosen = [item for item in slowest if kept[id(item.subject)]]
    if not chosen:
        return None
    words = ("time / ps", "contacts, correlation")
    figure, cells = drawing.subject_panels(
        chosen, lambda subject: kept[id(subject)], words
    )
    for axis, item, name in cells:
        met = [stay for stay, _ in item.once(stays).get(name, ()) if stay is not None]
        reach = 4.0 * max((stay.lifetime.value for stay in met), default=1.0)
        for k, (stay, colour) in enumerate(zip(met, drawing.COLOURS, strict=False)):
            if len(met) < 2 or not stay.chance < 1.0:
                continue
            values = (stay.values - stay.chance) / (1.0 - stay.chance)
            half = len(values) // 2 + 1  # of longer lags there are few
            axis.plot(stay.lags[:half], values[:half], color=colour)
            reach = min(reach, float(stay.lags[half - 1]))
            drawing.note(axis, _words(stay.lifetime), 0.85 - 0.14 * k, colour)
        axis.axhline(0.0, color="black", linewidth=0.4)
        axis.set(xlim=(0.0, reach if np.isfinite(reach) else 1.0), ylim=(-0.05, 1.05))
    drawing.legend(figure)
    return figure


def _words(lifetime: Estimate) -> str:
    """Write value and error with as many digits after the point."""
    value, error = lifetime
    form = ".0f" if value >= 100.0 else ".1f"
    noise = f" ± {error:{form}}" if np.isfinite(error) else ""
    return f"{value:{form}}{noise} ps"


PARITY = Parity(
    "lifetime_{}",
    ("contact lifetime", "ps"),
    drawing.log_room,
    lambda right, predicted: f"median factor {median_factor(right, predicted):.2f}",
    is_log=True,
)

MEASURE = Measure(
    name="residence",
    place=80,
    parts=pairs,
    compute=compute,
    rows=(
        Entry(
            "contact_{}",
            "contacts {} are closer than",
            "nm",
            is_judged=False,
        ),
        Entry(
            "lifetime_{}_log10_error",
            "contact lifetime {}, mean absolute error of log<sub>10</sub>",
            samples=(magnitude("lifetime_{}_log10_error"),),
            pair="lifetime_{}",
            memory="lifetime_{}_reference",
        ),
        Entry(
            "coordination_{}_change",
            "contacts {}: beads of the second around one of the first, learned more by",
            *PERCENT,
            pair="coordination_{}",
        ),
    ),
    pictures=(
        Picture(
            "residences",
            lambda e: (
                "How long contacts last: probability above chance that two beads "
                "in contact (closer than the first minimum of g of the reference) "
                "are so "
                f"after a time. {shown(e.comparisons)} Numbers: integrated lifetimes."
            ),
            lambda e: residences(e.comparisons),
            "contacts over time",
        ),
        Picture(
            "lifetimes",
            "Lifetime of contacts of every box, learned over reference, for every pair "
            "of species that has contacts. Bars: standard errors. Line: equality.",
            lambda e: lifetimes(e.comparisons),
            "contact lifetimes: learned over reference",
        ),
    ),
)
