"""How long beads stay on one molecule of many beads, and how often they leave it.

An ion on a polymer, say: it is on a chain while any bead of the chain is within the
first minimum of g(r) of the reference.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from cgml.evaluation import drawing
from cgml.evaluation.measure import NOTHING, Entry, Measure, Picture, pairs, value
from cgml.evaluation.measures.displacement import slowest_first
from cgml.evaluation.measures.residence import followed
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject
from cgml.observables import residence
from cgml.observables.residence import Residence
from cgml.observables.statistics import Estimate

LAGS = 100.0, 1000.0
"""When it is asked whether a bead is where it was, ps."""

PATIENCE = 100.0
"""Absence that makes a departure, ps."""


class Attachment(NamedTuple):
    """What one side does.

    Attributes:
        stay: correlation of being on a molecule; None where no bead ever is.
        departures: per bead, 1/ps.
    """

    stay: Residence | None
    departures: Estimate


def parts(subject: Subject) -> list[str]:
    """Pairs of a species of single beads and one with several molecules of many."""
    return [name for name in pairs(subject) if _roles(subject, name) is not None]


def attachment(subject: Subject, run: Run, pair: str, cutoff: float) -> Attachment:
    """Follow guests on their hosts.

    Args:
        subject: the box.
        run: frames.
        pair: name, one of `parts`.
        cutoff: nm.

    Raises:
        ValueError: not such a pair.
    """
    roles = _roles(subject, pair)
    if roles is None:
        raise ValueError(f"single beads and molecules of many are required: {pair!r}")
    guests, hosts = subject.species[roles[0]], subject.chained(roles[1])
    found = residence.find_contacts(
        run.positions,
        subject.cell,
        cutoff=cutoff,
        pair=(guests, hosts),
        molecules=subject.molecules,
        hosts=True,
    )
    if not found.is_close.any():
        return Attachment(None, NOTHING)
    return Attachment(
        residence.intermittent(found, run.time_step),
        residence.departures(found, run.time_step, PATIENCE),
    )


def attachments(comparison: Comparison) -> dict[str, tuple[Attachment, Attachment]]:
    """Return both sides at one spacing, by pair."""
    names = parts(comparison.subject)
    return followed(comparison, comparison.aligned, names, attachment)


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Chances to be where one was, and rates of leaving.

    Args:
        comparison: of one box.

    Returns:
        stay_{pair}_{lag}ps_* and departures_{pair}_* (1/ns), each of both sides and
        _error, learned less reference; NaN where half of a run is shorter than the lag,
        or g of the reference has no minimum.
    """
    figures = {}
    known, none = comparison.once(attachments), Attachment(None, NOTHING)
    for name in parts(comparison.subject):
        both = known.get(name, (none, none))
        for lag in LAGS:
            stem = f"stay_{name}_{lag:.0f}ps"
            here = [_at(side.stay, lag) for side in both]
            for word, found in zip(drawing.SIDES, here, strict=True):
                figures[f"{stem}_{word}"] = found
            figures[f"{stem}_error"] = _difference(*here)
        rates = [
            Estimate(*(1e3 * number for number in side.departures)) for side in both
        ]
        for word, rate in zip(drawing.SIDES, rates, strict=True):
            figures[f"departures_{name}_{word}"] = rate
        figures[f"departures_{name}_error"] = _difference(*rates)
    return figures


def _difference(one: Estimate, other: Estimate) -> Estimate:
    """Other less one."""
    noise = float(np.hypot(one.error, other.error))
    return Estimate(other.value - one.value, noise)


def _roles(subject: Subject, pair: str) -> tuple[str, str] | None:
    """Return (guests, hosts) of a pair; None where it has not one of each."""
    names = subject.pairs[pair]
    n_chains = {
        name: len(np.unique(subject.molecules[subject.chained(name)])) for name in names
    }
    guests = [name for name in names if not n_chains[name]]
    hosts = [name for name in names if n_chains[name] > 1]
    return (guests[0], hosts[0]) if len(guests) == len(hosts) == 1 else None


def _at(stay: Residence | None, lag: float) -> Estimate:
    """Read a correlation at a lag of at most half the run."""
    if stay is None or lag > 0.5 * float(stay.lags[-1]):
        return NOTHING
    return Estimate(
        float(np.interp(lag, stay.lags, stay.values)),
        float(np.interp(lag, stay.lags, stay.errors)),
    )


def stays(comparisons: Sequence[Comparison]) -> Figure | None:
    """Draw the correlation of being on a molecule: a row for each box."""
    chosen = [item for item in slowest_first(comparisons) if parts(item.subject)]
    if not chosen:
        return None
    words = ("time / ps", "on the same molecule")
    figure, cells = drawing.subject_panels(chosen, parts, words)
    for axis, item, name in cells:
        for side, colour in zip(
            item.once(attachments).get(name, ()), drawing.COLOURS, strict=False
        ):
            if side.stay is None:
                continue
            half = len(side.stay.lags) // 2
            lags, values = side.stay.lags[1:half], side.stay.values[1:half]
            drawing.band(axis, lags, values, side.stay.errors[1:half], colour)
            axis.plot(lags, values, color=colour)
            axis.axhline(side.stay.chance, color=colour, linewidth=0.4)
        axis.set(xscale="log", ylim=(0.0, 1.05))
        drawing.set_ticks(axis.xaxis, axis.get_xlim(), is_log=True)
    drawing.legend(figure)
    return figure


MEASURE = Measure(
    name="attachment",
    place=85,
    parts=parts,
    compute=compute,
    rows=(
        *(
            Entry(
                f"stay_{{}}_{lag:.0f}ps_error",
                f"{{}}: chance to be on the same molecule after {lag:g} ps, mean error",
                samples=(value(f"stay_{{}}_{lag:.0f}ps_error"),),
                pair=f"stay_{{}}_{lag:.0f}ps",
            )
            for lag in LAGS
        ),
        Entry(
            "departures_{}_error",
            "{}: departures from a molecule, mean error",
            "1/ns",
            pair="departures_{}",
        ),
        Entry(
            "departures_{}_learned",
            "— departures of the model",
            "1/ns",
            is_judged=False,
        ),
    ),
    columns=(),
    pictures=(
        Picture(
            "stays",
            "How long single beads stay on one molecule of many beads: probability "
            "that a bead within the first minimum of g of the reference of any bead "
            "of a molecule is so after a time. Thin lines: chance.",
            lambda e: stays(e.comparisons),
            "stays on one molecule",
        ),
    ),
)
