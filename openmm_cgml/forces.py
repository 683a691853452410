"""Which forces and constraints of a System a model replaces, and which it would lose.

A model has learned what the forces of a force field do. A force that does something
else, that holds a distance, pulls along a coordinate or keeps a pressure, would be lost
without a word: it is refused, unless the user says that it may be ignored.
"""

import logging
from collections.abc import Sequence

import numpy as np
import openmm
from numpy.typing import NDArray

from cgml.molecules.constraints import Distances
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.texts import listed
from openmm_cgml.alike import terms_of
from openmm_cgml.systems import constraints
from openmm_cgml.terms import OF_CHOSEN, Terms, has_terms, nearness

LOGGER = logging.getLogger(__name__)

Ints = NDArray[np.int64]

_OF_FORCE_FIELDS = {
    *("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce"),
    *("RBTorsionForce", "CMAPTorsionForce", "NonbondedForce", "CustomNonbondedForce"),
    *("CustomBondForce", "CustomAngleForce", "CustomTorsionForce", "CustomGBForce"),
    *("CustomManyParticleForce", "GBSAOBCForce", "GayBerneForce", "LCPOForce"),
    *("DrudeForce", "AmoebaGeneralizedKirkwoodForce", "AmoebaMultipoleForce"),
    *("AmoebaTorsionTorsionForce", "AmoebaVdwForce", "AmoebaWcaDispersionForce"),
    *("HippoNonbondedForce", "CMMotionRemover"),
}
_OF_AN_ENSEMBLE = ("Barostat", "Thermostat")


def check_forces(
    system: openmm.System, mapping: Mapping, atoms: Ints, ignore: Sequence[str]
) -> Distances:
    """Refuse forces and constraints that a learned propagator would lose.

    Args:
        system: that shall be moved.
        mapping: atoms -> beads; its particles are the ones or the others.
        atoms: place of each of them in the System.
        ignore: classes or names of forces that may be lost; a line in the log says so.

    Returns:
        The constraints between its atoms.

    Raises:
        ValueError: there is such a force or constraint, or none of a name in `ignore`.
    """
    are_beads = len(atoms) == mapping.n_beads
    graph = mapping.bead_graph if are_beads else mapping.graph
    if len(atoms) != graph.n_atoms:
        return Distances()  # refused by those who take them on board
    beads = np.arange(len(atoms)) if are_beads else mapping.bead_index
    _check_kinds(system, graph, atoms, ignore)
    return _constraints_of(system, graph, atoms, beads)


def _check_kinds(
    system: openmm.System, graph: MolecularGraph, atoms: Ints, ignore: Sequence[str]
) -> None:
    """Look at each force."""
    forces = list(system.getForces())
    titles = [{type(force).__name__, force.getName()} for force in forces]
    unknown = [name for name in ignore if not any(name in own for own in titles)]
    if unknown:
        there = listed(sorted(set().union(*titles))) if titles else "none"
        raise ValueError(
            f"ignore names forces of the System, {unknown[0]!r} is none of them: there "
            f"are {there}"
        )
    terms = Terms(system, graph, atoms)

    def rank(number: int) -> tuple[bool, bool]:
        """Those that may be a bias upon others come after these."""
        is_custom = type(forces[number]).__name__.startswith("Custom")
        return not titles[number].isdisjoint(ignore), is_custom

    for number in sorted(range(len(forces)), key=rank):
        force = forces[number]
        reason = _reason(force, terms)
        if reason and titles[number].isdisjoint(ignore):
            raise ValueError(_refusal(force, number, reason))
        if reason:
            LOGGER.warning(
                "the force %s of the System is ignored, though %s",
                *(force.getName(), reason),
            )


def _refusal(force: openmm.Force, number: int, reason: str) -> str:
    """Say what to do about a force; one of a force field has other terms to keep."""
    kind, name = type(force).__name__, force.getName()
    title = kind if name == kind else f"{kind} named {name!r}"
    n_terms = len(terms_of(force)) if has_terms(force) else 1
    advice = f"remove it with system.removeForce({number})"
    if n_terms > 1 and reason != OF_CHOSEN:
        advice = (
            "make the System without that term (system.removeForce"
            f"({number}) takes away all {n_terms:,} of this force)"
        )
    return (
        f"the System has the force {title}, which a learned propagator cannot honour, "
        f"as {reason}: {advice}, or go on without it with ignore=[{name!r}]"
    )


def _reason(force: openmm.Force, terms: Terms) -> str:
    """Say why a force would be lost; "" if a model stands for it."""
    kind = type(force).__name__
    is_amoeba = kind == "CustomCompoundBondForce" and force.getName().startswith(
        "Amoeba"
    )
    reason = ""
    if kind.endswith(_OF_AN_ENSEMBLE):
        reason = "the model keeps its own ensemble"
    elif kind not in _OF_FORCE_FIELDS and not is_amoeba:
        reason = "it is no term of a force field: it biases, or acts from outside"
    else:
        reason = terms.reason(force)
    return reason


def _constraints_of(
    system: openmm.System, graph: MolecularGraph, atoms: Ints, beads: Ints
) -> Distances:
    """Read the constraints, of particles that are in these beads."""
    rows = list(constraints(system))
    place = np.full(system.getNumParticles(), -1, dtype=np.int64)
    place[atoms] = np.arange(len(atoms))
    pairs = place[np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2)]
    is_across = beads[pairs[:, 0]] != beads[pairs[:, 1]]
    far = np.flatnonzero(is_across & ~nearness(graph, 2)(*pairs.T))
    if len(far):
        i, j, length = rows[far[0]]
        raise ValueError(
            f"a constraint holds particles {i} and {j} at {length:g} nm, which are in "
            "two beads, and joined by no bonds: a model moves beads and would lose it; "
            f"remove it with system.removeConstraint({far[0]})"
        )
    return Distances(pairs, np.array([row[2] for row in rows], dtype=np.float64))
