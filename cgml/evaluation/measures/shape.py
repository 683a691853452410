"""Angles, contacts and the ends of a molecule."""

import numpy as np

from cgml.evaluation.measure import Entry, Measure, exact
from cgml.evaluation.measures.surface import has_shape
from cgml.evaluation.results import Comparison
from cgml.observables import chains, statistics
from cgml.observables.statistics import Estimate


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Distance of the ends, angles between bonds, contacts.

    Args:
        comparison: of one molecule.

    Returns:
        end_to_end_* (nm, first to last bead), angle_emd (rad), and contact_error, of
        beads closer than the root mean square bond of the reference.
    """
    subject, runs = comparison.subject, comparison.runs
    ends = [
        statistics.mean_estimate(chains.end_to_end_distance(run.positions))
        for run in runs
    ]
    triplets = chains.angle_triplets(subject.bonds)
    angles = [chains.angles(run.positions, triplets) for run in runs]
    bonds = chains.bond_lengths(runs[0].positions, subject.bonds)
    cutoff = float(np.sqrt(np.mean(bonds**2)))
    contacts = [chains.contact_map(run.positions, cutoff) for run in runs]
    pairs = np.triu_indices(len(subject.masses), k=2)
    return {
        "end_to_end_reference": ends[0],
        "end_to_end_learned": ends[1],
        "angle_emd": exact(statistics.earth_movers_distance(*angles)),
        "contact_error": exact(np.abs(contacts[1] - contacts[0])[pairs].mean()),
    }


MEASURE = Measure(
    name="shape",
    place=40,
    parts=has_shape,
    compute=compute,
    rows=(
        Entry("angle_emd", "angles, earth mover's distance", "rad", ".4f"),
        Entry("contact_error", "contact map, mean absolute error", form=".4f"),
    ),
)
