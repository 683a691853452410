"""Which terms of forces are those of a force field: at bonded atoms, once, for all."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np
import openmm
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from cgml.molecules.graph import MolecularGraph
from openmm_cgml.alike import Ints, Molecules, Term, joined, terms_of

Pairs = Callable[[Ints, Ints], NDArray[np.bool_]]
"""Tells which of two atoms each are so, (n,), (n,) -> (n,)."""

_BONDED = {
    **dict.fromkeys(("HarmonicBondForce", "CustomBondForce"), 2),
    **dict.fromkeys(("HarmonicAngleForce", "CustomAngleForce"), 3),
    **dict.fromkeys(("PeriodicTorsionForce", "RBTorsionForce"), 4),
    "CustomTorsionForce": 4,
    "AmoebaTorsionTorsionForce": 5,
    "CMAPTorsionForce": 8,
}
"""Particles of a term."""

_NON_BONDED = {
    "NonbondedForce",
    "CustomNonbondedForce",
    "CustomGBForce",
    "GBSAOBCForce",
    "CustomManyParticleForce",
    "GayBerneForce",
    "LCPOForce",
    "DrudeForce",
    "AmoebaGeneralizedKirkwoodForce",
    "AmoebaMultipoleForce",
    "AmoebaVdwForce",
    "AmoebaWcaDispersionForce",
    "HippoNonbondedForce",
}
_COMPOUND = "CustomCompoundBondForce"  # those of AMOEBA are known by their names
_OF_TWO = {"Exception", "Exclusion", "Reference"}
_SPRINGS = {"HarmonicBondForce": 2, "CustomBondForce": 3}
"""Bonds between the ends of a spring: those of angles, too, and 1-4 pairs."""

OF_CHOSEN = "it acts between chosen particles, not all of their types"
"""The reason of a force that as a whole is none of a force field."""

_FAR = 3  # bonds between the ends of a torsion: no term of a force field goes farther
_TORSION = 4  # particles: a torsion may be a sum of several terms


class Terms:
    """The terms of a System, beside the bonds of its molecules.

    Args:
        system: of the particles.
        graph: of its atoms (or beads).
        atoms: place of each of them in the System.
    """

    def __init__(
        self, system: openmm.System, graph: MolecularGraph, atoms: Ints
    ) -> None:
        n = system.getNumParticles()
        self._place = np.full(n, -1, dtype=np.int64)
        self._place[atoms] = np.arange(len(atoms))
        is_site = np.array([system.isVirtualSite(i) for i in range(n)], dtype=np.bool_)
        for i in np.flatnonzero(is_site).tolist():  # stands for what carries it
            self._place[i] = self._place[system.getVirtualSite(i).getParticle(0)]
        self._graph = graph
        self._molecules = Molecules(graph, self._place, is_site)
        self._are_near = [nearness(graph, n_bonds) for n_bonds in range(1, _FAR + 1)]
        self._known: set[tuple[int, ...]] = set()  # terms of the forces before

    def reason(self, force: openmm.Force) -> str:
        """Say why a force is none of a force field; "" if it is one."""
        kind = type(force).__name__
        if not has_terms(force):
            return ""
        terms, reason = terms_of(force), ""
        if kind in _BONDED:
            reason = self._of_bonded(kind, terms)
        elif kind == _COMPOUND:
            reason = self._of_compound(terms)
        elif self._picks(force):
            reason = OF_CHOSEN
        reason = reason or self._of_pairs(kind, terms)
        unlike = "" if reason else self._molecules.difference(terms)
        if unlike:
            reason = (
                f"it treats molecules that are alike differently: particles {unlike}"
            )
        return reason

    def _of_bonded(self, kind: str, terms: Sequence[Term]) -> str:
        """Say which term is at the wrong atoms, or there twice."""
        size = _BONDED[kind]
        rows = [term.particles for term in terms if len(term.particles) == size]
        places = self._place[np.array(rows, dtype=np.int64).reshape(-1, size)]
        is_right = (places >= 0).all(axis=1) & self._are_shaped(kind, list(places.T))
        if not is_right.all():
            particles = joined(rows[int(np.argmin(is_right))])
            return f"it holds particles {particles}, which no bonds join so"
        found = Counter(min(row, row[::-1]) for row in rows)
        again = [row for row in found if row in self._known]
        if size < _TORSION:
            again += [row for row, n in found.items() if n > 1]
        self._known.update(found)
        if again:
            particles = joined(min(again))
            return f"it holds particles {particles}, which have such a term already"
        return ""

    def _of_compound(self, terms: Sequence[Term]) -> str:
        """Say which term is at atoms that are not all near each other."""
        rows = [
            (k, *p) for k, t in enumerate(terms) for p in combinations(t.particles, 2)
        ]
        of_term, one, other = np.array(rows, dtype=np.int64).reshape(-1, 3).T
        ends = self._place[one], self._place[other]
        is_right = (np.minimum(*ends) >= 0) & self._are_near[_FAR - 1](*ends)
        if not is_right.all():
            particles = joined(terms[of_term[int(np.argmin(is_right))]].particles)
            return f"it holds particles {particles}, which no bonds join so"
        return ""

    def _are_shaped(self, kind: str, ends: list[Ints]) -> NDArray[np.bool_]:
        """Tell which terms are those of bonded atoms, (n_terms,)."""
        if kind in _SPRINGS:
            return self._are_near[_SPRINGS[kind] - 1](*ends)
        are_bonded = self._are_near[0]
        size = _TORSION if len(ends) == 2 * _TORSION else len(ends)  # two in a map
        halves = [ends[k : k + size] for k in range(0, len(ends), size)]
        are_shaped: NDArray[np.bool_] = np.logical_and.reduce(
            [are_bonded(*pair) for half in halves for pair in pairwise(half)]
        )
        if len(ends) == _TORSION:  # an improper one has a centre
            for centre in ends:
                are_shaped |= np.logical_and.reduce(
                    [are_bonded(centre, k) for k in ends]
                )
        return are_shaped

    def _of_pairs(self, kind: str, terms: Sequence[Term]) -> str:
        """Say which pair has forces of its own, though no bonds join it."""
        pairs = [t for t in terms if t.what in _OF_TWO or "Covalent" in t.what]
        rows = np.array([term.particles for term in pairs], dtype=np.int64).reshape(
            -1, 2
        )
        one, other = self._place[rows].T
        is_known = (one >= 0) & (other >= 0)
        numbers = self._molecules.number[rows]
        is_across = is_known & (numbers[:, 0] != numbers[:, 1])
        acts = [
            # depth, charges; those of HIPPO are factors, and may be of 1-5 pairs
            kind != "HippoNonbondedForce" and any(map(float, term.values[:2]))
            for term in pairs
        ]
        is_far = is_known & ~self._are_near[_FAR - 1](one, other) & np.array(acts, bool)
        for are_wrong, what in ((is_across, "of two molecules"), (is_far, "far apart")):
            if are_wrong.any():
                particles = joined(pairs[int(np.argmax(are_wrong))].particles)
                return f"it treats particles {particles}, {what}, otherwise than others"
        return ""

    def _picks(self, force: openmm.Force) -> bool:
        """Tell whether a force acts upon some particles of a type, not all."""
        types = np.array([*self._graph.types, ""])
        for group in _groups(force):
            chosen = self._place[list(group)]
            n_own = np.isin(types, types[chosen])[:-1].sum()
            if len(np.unique(chosen[chosen >= 0])) != n_own:
                return True
        return False


def _groups(force: openmm.Force) -> Iterator[Sequence[int]]:
    """Yield the particles that a force is told to act upon, as often as it is told."""
    if isinstance(force, openmm.CustomNonbondedForce):
        for i in range(force.getNumInteractionGroups()):
            yield from force.getInteractionGroupParameters(i)
    elif isinstance(force, openmm.CustomManyParticleForce):
        n = force.getNumParticles()
        types = np.array([force.getParticleParameters(i)[1] for i in range(n)])
        for i in range(force.getNumParticlesPerSet()):
            allowed = list(force.getTypeFilter(i))
            if allowed:  # else all are
                yield np.flatnonzero(np.isin(types, allowed)).tolist()


def has_terms(force: openmm.Force) -> bool:
    """Tell whether a force is one whose terms are looked at."""
    return type(force).__name__ in {*_BONDED, *_NON_BONDED, _COMPOUND}


def nearness(graph: MolecularGraph, n_bonds: int) -> Pairs:
    """Return what tells which atoms so many bonds or fewer join."""
    n, bonds = graph.n_atoms, graph.bonds
    one, other = np.concatenate((bonds, bonds[:, ::-1])).T
    step = csr_array((np.ones(len(one)), (one, other)), shape=(n, n)) + eye_array(n)
    ways = eye_array(n).tocsr()
    for _ in range(n_bonds):
        ways = csr_array(ways @ step)
    rows, columns = ways.tocoo().coords
    known = rows * n + columns
    return lambda first, last: np.isin(first * n + last, known)
