"""How far the beads of long molecules move: all of them, and those inside the chain.

Errors are those of a mean over molecules: beads of one chain are not independent.

Where molecules of many beads have not yet diffused, their beads tell how fast the
chain itself relaxes (Rouse: a displacement that grows as the square root of time).
"""

import numpy as np
from numpy.typing import NDArray

from cgml.evaluation.measure import Entry, Measure
from cgml.evaluation.measures.displacement import Both, deviation, reach
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject
from cgml.observables import transport
from cgml.observables.statistics import Estimate
from cgml.observables.transport import Displacement

Index = NDArray[np.int64]

WORDS = "beads", "inner_beads"


def parts(subject: Subject) -> list[str]:
    """Species with molecules of several beads, in a box of more than one molecule."""
    if subject.box is None or subject.is_single:
        return []
    return [name for name in subject.species if len(subject.chained(name))]


def curves(comparison: Comparison) -> dict[str, Both]:
    """Return displacements of both sides: {species}_beads and {species}_inner_beads.

    Inner beads have more than one bond; without any, there is no such curve.
    """
    subject, longest = comparison.subject, reach(comparison)
    n_bonds = np.bincount(subject.bonds.ravel(), minlength=len(subject.masses))
    result = {}
    for name in parts(subject):
        beads = subject.chained(name)
        inner = beads[n_bonds[beads] > 1]
        for word, chosen in zip(WORDS, (beads, inner), strict=True):
            if len(chosen) > 0:
                one, other = (
                    _displacement(subject, run, chosen, longest)
                    for run in comparison.runs
                )
                result[f"{name}_{word}"] = one, other
    return result


def _displacement(
    subject: Subject, run: Run, beads: Index, longest: float
) -> Displacement:
    """Return the displacement of beads, molecules being its independent units."""
    positions = transport.remove_drift(run.positions, subject.masses)[:, :, beads]
    each = transport.mean_squared_displacement(
        positions, run.time_step, longest=longest
    )
    _, molecule = np.unique(subject.molecules[beads], return_inverse=True)
    weights = np.equal.outer(np.unique(molecule), molecule).astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    units = each.units.reshape(len(run.positions), len(beads), -1)
    means = np.einsum("mb,rbt->rmt", weights, units).reshape(-1, len(each.lags))
    return Displacement(each.lags, each.values, means)


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Largest |log10| of the ratio of displacements.

    Args:
        comparison: of one box.

    Returns:
        msd_{species}_beads_deviation and msd_{species}_inner_beads_deviation; NaN
        without inner beads.
    """
    known = comparison.once(curves)
    names = [f"{name}_{word}" for name in parts(comparison.subject) for word in WORDS]
    return {
        f"msd_{name}_deviation": deviation(known[name], comparison.options.shortest)
        if name in known
        else Estimate(np.nan, np.nan)
        for name in names
    }


MEASURE = Measure(
    name="segments",
    place=65,
    parts=parts,
    compute=compute,
    rows=(
        Entry(
            "msd_{}_beads_deviation",
            "mean squared displacement of the beads of {}, largest deviation of "
            "log<sub>10</sub>",
        ),
        Entry("msd_{}_inner_beads_deviation", "— of those with two bonds or more"),
    ),
)
