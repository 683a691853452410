"""Bonds and angles of back-mapped atoms: which there must be, how far they may be off.

The force field says so of harmonic bonds and constraints; of other bonds, and of the
distance of two atoms across a third, the fragments do.
"""

from collections.abc import Iterator

import numpy as np
import openmm
from numpy.typing import NDArray

from cgml import units
from cgml.molecules.fragments import Floats, Fragments
from cgml.molecules.graph import MolecularGraph, neighbours
from openmm_cgml.alike import Molecules, terms_of
from openmm_cgml.systems import constraints

HIGHEST = 20.0
"""Energy of a harmonic bond, kT, beyond which it is outside its range."""

CONSTRAINED = 1.0e-3
"""Part of its length that a constraint may be off."""

SLACK = 0.25
"""Part of the extremes in the fragments that other distances may be beyond them."""

_Names = tuple[str, ...]  # types of two atoms, or of two and what joins them


class Ranges:
    """Distances of bonded atoms, and of atoms with one between them.

    Args:
        system: of the atoms.
        graph: of the atoms.
        fragments: how far atoms are from each other in MD.
        temperature: K.

    Raises:
        ValueError: the System lacks a bond, or is of other atoms.
    """

    def __init__(
        self,
        system: openmm.System,
        graph: MolecularGraph,
        fragments: Fragments,
        temperature: float,
    ) -> None:
        _check_parameters(system, graph)
        rows = list(_of_forces(system, temperature))
        known = {frozenset(row[:2]) for row in rows}
        _check_bonds(known | set(_other_bonds(system)), graph)
        spans = _spans(fragments)
        near = neighbours(graph.n_atoms, graph.bonds)
        for ends, names in _joined(near, graph.types):
            span = spans.get(min(names, names[::-1]))
            if span is not None and frozenset(ends) not in known:
                least, most = (1.0 - SLACK) * span[0], (1.0 + SLACK) * span[1]
                rows.append((*ends, 0.5 * (least + most), 0.5 * (most - least)))
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        self._ends = table[:, :2].astype(np.int64)
        self._lengths, self._limits = table[:, 2], table[:, 3]

    def n_outside(self, atoms: Floats) -> int:
        """Count those that are too short or too long, of atoms (n_atoms, 3), nm."""
        ways = atoms[self._ends[:, 0]] - atoms[self._ends[:, 1]]
        gaps = abs(np.linalg.norm(ways, axis=1) - self._lengths)
        return int((~(gaps <= self._limits)).sum())


def _check_parameters(system: openmm.System, graph: MolecularGraph) -> None:
    """Refuse charges and the like in an order that is not that of the atoms."""
    n = graph.n_atoms
    molecules = Molecules(graph, np.arange(n), np.zeros(n, dtype=np.bool_))
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce | openmm.CustomNonbondedForce):
            unlike = molecules.difference(terms_of(force))
            if unlike:
                raise ValueError(
                    "the System of the atoms in the topology, in their order, is "
                    f"required: its {force.getName()} treats molecules that are alike "
                    f"differently, particles {unlike}"
                )


def _check_bonds(held: set[frozenset[int]], graph: MolecularGraph) -> None:
    """Refuse atoms that are bonded in the topology, and in the System are not."""
    free = [row for row in graph.bonds.tolist() if frozenset(row) not in held]
    if free:
        one, other = free[0]
        raise ValueError(
            "a System with forces or constraints for all bonds of the topology, in its "
            f"order of atoms, is required: it has none for {len(free)} of "
            f"{len(graph.bonds)} bonds, the first is that of atoms {one} "
            f"({graph.types[one]}) and {other} ({graph.types[other]})"
        )


def _of_forces(
    system: openmm.System, temperature: float
) -> Iterator[tuple[int, int, float, float]]:
    """Atoms, length and largest deviation, nm, of harmonic bonds and constraints."""
    for i, j, length in constraints(system):
        yield i, j, length, CONSTRAINED * length
    most = 2.0 * HIGHEST * units.BOLTZMANN * temperature
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, length, stiffness = force.getBondParameters(k)
                if stiffness._value > 0.0:
                    yield i, j, length._value, float(np.sqrt(most / stiffness._value))


def _other_bonds(system: openmm.System) -> Iterator[frozenset[int]]:
    """Name the atoms that other forces between two hold together."""
    for force in system.getForces():
        if isinstance(force, openmm.CustomBondForce):
            for k in range(force.getNumBonds()):
                yield frozenset(force.getBondParameters(k)[:2])
        elif isinstance(force, openmm.CustomCompoundBondForce):
            for k in range(force.getNumBonds()):
                yield frozenset(force.getBondParameters(k)[0])


def _joined(
    near: list[list[int]], types: tuple[str, ...]
) -> Iterator[tuple[tuple[int, int], _Names]]:
    """Atoms with a bond or one atom between them, and the types of all."""
    for middle, ends in enumerate(near):
        for n, one in enumerate(ends):
            if one < middle:
                yield (one, middle), (types[one], types[middle])
            for other in ends[n + 1 :]:
                yield (one, other), (types[one], types[middle], types[other])


def _spans(fragments: Fragments) -> dict[_Names, tuple[float, float]]:
    """Find the least and the largest distance in the conformers, nm."""
    found: dict[_Names, tuple[float, float]] = {}
    for kind, conformers in fragments.conformers.items():
        bonds: NDArray[np.int64] = np.array(kind.bonds, dtype=np.int64).reshape(-1, 2)
        for (i, j), names in _joined(neighbours(len(kind.types), bonds), kind.types):
            ways = conformers.points[:, i] - conformers.points[:, j]
            lengths = np.linalg.norm(ways, axis=1)
            key = min(names, names[::-1])
            least, most = found.get(key, (np.inf, 0.0))
            found[key] = min(least, lengths.min()), max(most, lengths.max())
    return found
