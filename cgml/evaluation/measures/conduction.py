"""Conductivity of a box with ions, and the share that each kind of ion carries.

Ions are the species whose molecules carry a net charge, of one bead or several.
"""

from collections.abc import Sequence

import numpy as np

from cgml.evaluation import drawing
from cgml.evaluation.measure import WHOLE, Entry, Measure
from cgml.evaluation.measures.displacement import fits, reach
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject
from cgml.observables import conductivity, transport
from cgml.observables.conductivity import Carrier, Conditions
from cgml.observables.statistics import Estimate
from cgml.observables.transport import Diffusivity

N_BLOCKS = 5
"""Pieces of a run, for the error of the collective conductivity."""


def ions(subject: Subject) -> list[str]:
    """Return the species of which molecules carry a net charge."""
    return [name for name in subject.species if subject.molecule_charges(name).any()]


def has_ions(subject: Subject) -> Sequence[str]:
    """Parts of a measure of a box with several molecules, ions and a temperature."""
    known = subject.box is not None and subject.temperature is not None
    return WHOLE if known and not subject.is_single and ions(subject) else ()


def conduct(
    subject: Subject,
    run: Run,
    diffusivities: dict[str, Diffusivity],
    longest: float,
) -> dict[str, Estimate]:
    """Return conductivities and transference numbers.

    Args:
        subject: with charges and a temperature.
        run: frames.
        diffusivities: of all species.
        longest: largest lag of the collective conductivity, ps; at most half a block.

    Returns:
        conductivity_self and conductivity_collective, S/m, transference_{s} (self) of
        each ion; nothing where the measure does not apply.
    """
    if not has_ions(subject) or subject.temperature is None:
        return {}
    conditions = Conditions(subject.volume, subject.temperature)
    carriers = []
    for name in ions(subject):
        charges = subject.molecule_charges(name)
        d = diffusivities[name]
        carriers.append(
            Carrier(
                float(np.sqrt(np.mean(charges**2))),
                len(charges),
                Estimate(d.value, d.error),
            )
        )
    shares = {
        f"transference_{name}": conductivity.self_transference(carriers, kind)
        for kind, name in enumerate(ions(subject))
    }
    return {
        "conductivity_self": conductivity.nernst_einstein(carriers, conditions),
        "conductivity_collective": _collective(subject, run, conditions, longest),
        **shares,
    }


def _collective(
    subject: Subject, run: Run, conditions: Conditions, longest: float
) -> Estimate:
    """Conductivity of the dipole, fitted over the second half of the lags.

    NaN where the run has too few frames for a fit.
    """
    charges = (
        np.zeros(len(subject.masses)) if subject.charges is None else subject.charges
    )
    positions = transport.remove_drift(run.positions, subject.masses)
    dipole = conductivity.charge_dipole(positions, charges)
    last = min(longest, 0.5 * run.duration / N_BLOCKS)
    if last < 3.0 * run.time_step:
        return Estimate(np.nan, np.nan)
    moved = conductivity.dipole_displacement(
        dipole, run.time_step, longest=last, n_blocks=N_BLOCKS
    )
    return conductivity.collective_conductivity(
        moved, conditions, window=(0.5 * last, last)
    )


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Conductivities, S/m, and transference numbers of both sides."""
    figures: dict[str, Estimate] = {}
    for place, (side, run) in enumerate(
        zip(drawing.SIDES, comparison.runs, strict=True)
    ):
        own = {name: both[place] for name, both in comparison.once(fits).items()}
        found = conduct(comparison.subject, run, own, reach(comparison))
        figures |= {f"{name}_{side}": value for name, value in found.items()}
    return figures


MEASURE = Measure(
    name="conduction",
    place=100,
    parts=has_ions,
    compute=compute,
    columns=(
        Entry("conductivity_self_reference", "conductivity, self, reference", "S/m"),
        Entry("conductivity_self_learned", "learned", "S/m"),
        Entry("conductivity_collective_reference", "collective, reference", "S/m"),
        Entry("conductivity_collective_learned", "learned", "S/m"),
    ),
)
