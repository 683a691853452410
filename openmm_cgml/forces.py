"""Which forces and constraints of a System a model replaces, and which it would lose.

A model has learned what the forces of a force field do. A force that does something
else, that holds a distance, pulls along a coordinate or keeps a pressure, would be lost
without a word: it is refused, unless the user says that it may be ignored.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit
from scipy.sparse import csr_array, eye_array

from cgml.molecules.constraints import Distances
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.texts import listed

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

_TERMS: dict[str, tuple[int, Callable[[Any, int], Sequence[int]]]] = {
    "HarmonicBondForce": (2, lambda force, i: force.getBondParameters(i)),
    "CustomBondForce": (2, lambda force, i: force.getBondParameters(i)),
    "HarmonicAngleForce": (3, lambda force, i: force.getAngleParameters(i)),
    "CustomAngleForce": (3, lambda force, i: force.getAngleParameters(i)),
    "PeriodicTorsionForce": (4, lambda force, i: force.getTorsionParameters(i)),
    "RBTorsionForce": (4, lambda force, i: force.getTorsionParameters(i)),
    "CustomTorsionForce": (4, lambda force, i: force.getTorsionParameters(i)),
}
"""Bonded forces: particles of a term, and what returns these first."""

_COUNTS = {2: "getNumBonds", 3: "getNumAngles", 4: "getNumTorsions"}
_FAR = 3  # bonds between the ends of a torsion: no term of a force field goes farther


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
    terms = _Terms(system, graph, atoms)
    for number, force in enumerate(forces):
        reason = _reason(force, terms)
        if reason and titles[number].isdisjoint(ignore):
            name = type(force).__name__
            raise ValueError(
                f"the System has the force {name}, which a learned propagator cannot "
                f"honour, as {reason}: remove it with system.removeForce({number}), or "
                f"go on without it with ignore=[{name!r}]"
            )
        if reason:
            LOGGER.warning(
                "the force %s of the System is ignored, though %s",
                *(force.getName(), reason),
            )


def _reason(force: openmm.Force, terms: "_Terms") -> str:
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
    elif kind in _TERMS:
        reason = terms.reason(force)
    elif kind == "CustomNonbondedForce" and terms.picks(force):
        reason = "it acts between chosen particles, not all of their types"
    return reason


class _Terms:
    """The bonded terms of a System, beside the bonds of its molecules."""

    def __init__(
        self, system: openmm.System, graph: MolecularGraph, atoms: Ints
    ) -> None:
        self._place = np.full(system.getNumParticles(), -1, dtype=np.int64)
        self._place[atoms] = np.arange(len(atoms))
        for i in range(system.getNumParticles()):
            if system.isVirtualSite(i):  # stands for the atom that carries it
                self._place[i] = self._place[system.getVirtualSite(i).getParticle(0)]
        self._graph = graph
        self._are_near = nearness(graph, _FAR)
        self._known: set[tuple[int, ...]] = set()  # terms of the forces before

    def reason(self, force: Any) -> str:
        """Say why a bonded force is none of a force field; "" if it is one."""
        kind = type(force).__name__
        size, get = _TERMS[kind]
        count = getattr(force, _COUNTS[size])()
        rows = [tuple(map(int, get(force, i)[:size])) for i in range(count)]
        terms = self._place[np.array(rows, dtype=np.int64).reshape(-1, size)]
        is_far = (terms < 0).any(axis=1)
        for k in range(1, size):
            is_far |= ~self._are_near(terms[:, 0], terms[:, k])
        if is_far.any():
            particles = _and(rows[int(np.argmax(is_far))])
            return f"it holds particles {particles}, which no bonds join"
        found = {min(row, row[::-1]) for row in rows}
        twice = sorted(found & self._known) if kind.startswith("Custom") else []
        self._known |= found
        if twice:
            return (
                f"it holds particles {_and(twice[0])}, which have such a term already"
            )
        return ""

    def picks(self, force: openmm.CustomNonbondedForce) -> bool:
        """Tell whether interaction groups hold some particles of a type, not all."""
        types = np.array([*self._graph.types, ""])
        for i in range(force.getNumInteractionGroups()):
            for group in force.getInteractionGroupParameters(i):
                chosen = self._place[list(group)]
                n_own = np.isin(types, types[chosen])[:-1].sum()
                if len(np.unique(chosen[chosen >= 0])) != n_own:
                    return True
        return False


def nearness(
    graph: MolecularGraph, n_bonds: int
) -> Callable[[Ints, Ints], NDArray[np.bool_]]:
    """Return what tells which atoms so many bonds or fewer join: two (n,) -> (n,)."""
    n, bonds = graph.n_atoms, graph.bonds
    one, other = np.concatenate((bonds, bonds[:, ::-1])).T
    step = csr_array((np.ones(len(one)), (one, other)), shape=(n, n)) + eye_array(n)
    ways = eye_array(n).tocsr()
    for _ in range(n_bonds):
        ways = csr_array(ways @ step)
    rows, columns = ways.tocoo().coords
    known = rows * n + columns
    return lambda first, last: np.isin(first * n + last, known)


def _constraints_of(
    system: openmm.System, graph: MolecularGraph, atoms: Ints, beads: Ints
) -> Distances:
    """Read the constraints, of particles that are in these beads."""
    rows = list(_constraints(system))
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


def _constraints(system: openmm.System) -> Iterator[tuple[int, int, float]]:
    """Particles and length, nm, of each constraint."""
    for i in range(system.getNumConstraints()):
        one, other, length = system.getConstraintParameters(i)
        yield one, other, length.value_in_unit(unit.nanometer)


def _and(numbers: Sequence[int]) -> str:
    """List numbers, the last after an "and"."""
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
