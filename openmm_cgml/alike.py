"""Whether a force treats molecules that are alike in the same way.

Force fields do. A model moves such molecules alike, so that what a force does to one of
them alone (a torsion that is stiffer, charges that are others, an exception) is a bias.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import openmm
from numpy.typing import NDArray

from cgml.molecules.graph import MolecularGraph, components

Ints = NDArray[np.int64]

_PARTICLE = re.compile(r"[abp]\d|particle")
_REFERENCE = re.compile(r"[xy]particle|(multipoleA|a)tom[XYZ]|ivIndex|.*AtomIndex")
_DIGITS = 6  # of parameters that are computed for each molecule


class Term(NamedTuple):
    """What a force does to some particles.

    Attributes:
        what: Particle, Bond, Angle, Torsion, Exception, Exclusion ... and Reference: a
            particle and another one that its axes or its place are told by.
        particles: whom it acts on.
        values: its parameters as text, in the order of their names.
    """

    what: str
    particles: tuple[int, ...]
    values: tuple[str, ...]


def terms_of(force: openmm.Force) -> list[Term]:
    """Read the terms of a force whose XML names particles, or lists all of them."""
    found: list[Term] = []
    drudes: list[int] = []
    for group in ElementTree.fromstring(openmm.XmlSerializer.serialize(force)):
        for place, item in enumerate(group):
            if "p" in item.attrib:
                drudes.append(int(item.get("p1", "")))  # the atom that carries it
            if item.tag == "Particle":
                found += _of_particle(drudes[place] if drudes else place, item)
                continue
            given = sorted(item.items())
            ends = [int(text) for name, text in given if _PARTICLE.fullmatch(name)]
            if ends and drudes:  # screened pairs know Drude particles by their number
                ends = [drudes[end] for end in ends]
            others = [text for name, text in given if _REFERENCE.fullmatch(name)]
            rest = [text for name, text in given if not _is_number(name)]
            if ends:
                found.append(Term(item.tag, tuple(ends), tuple(rest)))
                found += _references(ends[0], others)
    return found


def _of_particle(place: int, item: ElementTree.Element) -> list[Term]:
    """Read the parameters of a particle, the axes of its multipoles, its exclusions."""
    is_drude = "p" in item.attrib
    others, values, nested = [], [], []
    for name, text in sorted(item.items()):
        if _REFERENCE.fullmatch(name) or (is_drude and re.fullmatch(r"p\d?", name)):
            others.append(text)
        else:
            values.append(text)
    for child in item:
        values += [text for _, text in sorted(child.items())]
        what = "Exclusion" if child.tag == "ParticleExclusions" else child.tag
        for entry in child:
            nested += [
                Term(what, (place, int(end)), ()) for end in entry.attrib.values()
            ]
    return [
        Term("Particle", (place,), tuple(values)),
        *nested,
        *_references(place, others),
    ]


def _references(place: int, others: Sequence[str]) -> list[Term]:
    """Make terms of those that are there (-1: none)."""
    return [
        Term("Reference", (place, int(text)), ()) for text in others if int(text) >= 0
    ]


def _is_number(name: str) -> bool:
    """Tell whether an attribute is the number of a particle."""
    return any(pattern.fullmatch(name) for pattern in (_PARTICLE, _REFERENCE))


class Molecules:
    """Molecules of a System, and which of them are alike.

    Args:
        graph: of the atoms (or beads).
        place: atom of each particle, of a virtual site that which carries it; -1: none;
            (n_particles,).
        is_site: whether a particle is a virtual site, (n_particles,).

    Attributes:
        number: molecule of each particle, (n_particles,); -1: none.
    """

    def __init__(
        self, graph: MolecularGraph, place: Ints, is_site: NDArray[np.bool_]
    ) -> None:
        of_atoms = components(graph.n_atoms, graph.bonds)
        self.number = np.where(place < 0, -1, of_atoms[place])
        inside = np.flatnonzero(place >= 0)
        inside = inside[np.argsort(self.number[inside], kind="stable")]
        own = self.number[inside]
        self._particles = np.split(inside, np.flatnonzero(np.diff(own)) + 1)
        self._rank = np.zeros(len(place), dtype=np.int64)
        self._rank[inside] = np.arange(len(own)) - np.searchsorted(own, own)
        rank = np.zeros(graph.n_atoms, dtype=np.int64)
        itself = inside[~is_site[inside]]
        rank[place[itself]] = self._rank[itself]
        content: list[list[object]] = [[] for _ in self._particles]
        for particle in inside.tolist():
            atom = place[particle]
            content[self.number[particle]].append(
                (graph.types[atom], round(graph.masses[atom], 3), is_site[particle])
            )
        for one, other in graph.bonds.tolist():
            content[of_atoms[one]].append((int(rank[one]), int(rank[other])))
        first: dict[tuple[object, ...], int] = {}
        self._like = [
            first.setdefault(tuple(row), number) for number, row in enumerate(content)
        ]

    def difference(self, terms: Sequence[Term]) -> str:
        """Name particles of two molecules that are alike, but not to a force.

        Returns:
            The particles of a term, and those in the other molecule; "": none.
        """
        own: list[list[Term]] = [[] for _ in self._like]
        for what, particles, values in terms:
            if what == "Reference":  # atoms that are alike may stand for each other
                continue
            ends = list(particles)
            numbers = set(self.number[ends].tolist())
            if len(numbers) == 1 and -1 not in numbers:
                ranks = tuple(self._rank[ends].tolist())
                term = Term(what, min(ranks, ranks[::-1]), values)
                own[numbers.pop()].append(term)
        for number, like in enumerate(self._like):
            odd = _odd(own[number], own[like])
            if odd:
                here, there = (self._particles[k][odd] for k in (number, like))
                return f"{joined(here)}, and {joined(there)} of a molecule like theirs"
        return ""


def joined(numbers: Sequence[int] | Ints) -> str:
    """List the numbers of particles, the last after an "and"."""
    *front, last = (str(number) for number in numbers)
    return f"{', '.join(front)} and {last}" if front else last


def _odd(terms: list[Term], others: list[Term]) -> list[int]:
    """Find the particles of a term that only one of two molecules has; []: none."""
    if terms == others:
        return []
    one, other = (Counter(map(_rounded, found)) for found in (terms, others))
    return next((list(term.particles) for term in (one - other) + (other - one)), [])


def _rounded(term: Term) -> Term:
    """Leave out what differs by the order of sums."""
    return term._replace(values=tuple(_short(text) for text in term.values))


def _short(text: str) -> str:
    try:
        return f"{float(text):.{_DIGITS}g}"
    except ValueError:
        return text
