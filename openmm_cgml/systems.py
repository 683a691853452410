"""What a System itself tells of its particles: masses, bonds, types by mass."""

from collections.abc import Iterator
from collections.abc import Mapping as Table

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from cgml.molecules.graph import Labels, MolecularGraph, components
from cgml.molecules.masses import names_of


def particle_masses(system: openmm.System) -> NDArray[np.float64]:
    """Return the masses of a System's particles, (n_particles,), Da."""
    return np.array(
        [
            system.getParticleMass(i).value_in_unit(unit.dalton)
            for i in range(system.getNumParticles())
        ]
    )


def atoms_of(system: openmm.System) -> NDArray[np.int64]:
    """Number the particles of a System that have mass, (n_atoms,).

    The others are virtual sites, which a Context computes, or stay where they are.
    """
    return np.flatnonzero(particle_masses(system) > 0.0)


def atom_masses(system: openmm.System) -> NDArray[np.float64]:
    """Return the masses of the particles that have one, (n_atoms,), Da."""
    return particle_masses(system)[atoms_of(system)]


def degrees_of_freedom(system: openmm.System) -> int:
    """Count what moves by itself, as `StateDataReporter` does for a temperature."""
    removers = [f for f in system.getForces() if isinstance(f, openmm.CMMotionRemover)]
    n_lost: int = system.getNumConstraints() + (3 if removers else 0)
    return 3 * len(atoms_of(system)) - n_lost


def outline(system: openmm.System, box: NDArray[np.float64] | None) -> str:
    """Tell Systems apart whose particles are others, at the cost of a microsecond."""
    counts = (
        system.getNumParticles(),
        system.getNumForces(),
        system.getNumConstraints(),
    )
    return f"{counts} {None if box is None else box.tolist()}"


def constraints(system: openmm.System) -> Iterator[tuple[int, int, float]]:
    """Name the two particles of each constraint, and its length, nm."""
    for i in range(system.getNumConstraints()):
        one, other, length = system.getConstraintParameters(i)
        yield one, other, length.value_in_unit(unit.nanometer)


def graph_from_system(
    system: openmm.System, masses: Table[str, float]
) -> MolecularGraph:
    """Read a molecular graph off the bonded forces and masses of a System.

    Args:
        system: with HarmonicBondForce or CustomBondForce.
        masses: mass of particle types, Da, those of the model.

    Raises:
        ValueError: there are no bonds, constraints may hide some, a bond may be a
            restraint, or a mass belongs to no type or to several.
    """
    n_constraints = system.getNumConstraints()
    if n_constraints:
        raise ValueError(
            f"the System has {n_constraints} constraints, which hide bonds from those "
            "who read the molecules from its forces: pass topology="
        )
    bonds = [
        force.getBondParameters(i)[:2]
        for force in system.getForces()
        if isinstance(force, openmm.HarmonicBondForce | openmm.CustomBondForce)
        for i in range(force.getNumBonds())
    ]
    if not bonds:
        raise ValueError(
            f"the System of {system.getNumParticles()} particles has no bonds to read "
            "the molecules from: pass topology="
        )
    excluded = {frozenset(pair) for pair in _excluded(system)}
    strange = [pair for pair in bonds if excluded and frozenset(pair) not in excluded]
    if strange:
        raise ValueError(
            f"particles {strange[0][0]} and {strange[0][1]} of the System are held by "
            "a bond, but are not excluded from the forces between other particles, as "
            "bonded atoms are: this may be a restraint; pass topology="
        )
    atoms, weights = atoms_of(system), atom_masses(system)
    types = [
        _type_of_mass(i, mass, masses)
        for i, mass in zip(atoms.tolist(), weights.tolist(), strict=True)
    ]
    place = np.full(system.getNumParticles(), -1, dtype=np.int64)
    place[atoms] = np.arange(len(atoms))
    related = place[np.array([*bonds, *_angles(system), *_excluded(system)])]
    groups = components(len(types), related[(related >= 0).all(axis=1)])
    names = [f"what exclusions and angles join to particle {i}" for i in groups]
    labels = Labels.create([""] * len(types), names)
    pairs = place[np.array(bonds)]
    pairs = pairs[(pairs >= 0).all(axis=1)]
    return MolecularGraph.create(types, weights, pairs, labels=labels)


def _angles(system: openmm.System) -> Iterator[tuple[int, int]]:
    """Name pairs of neighbours in the angles of a System."""
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicAngleForce | openmm.CustomAngleForce):
            for i in range(force.getNumAngles()):
                one, middle, other = force.getAngleParameters(i)[:3]
                yield from ((one, middle), (middle, other))


def _excluded(system: openmm.System) -> Iterator[tuple[int, int]]:
    """Name pairs of particles without the forces that others have."""
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            for i in range(force.getNumExceptions()):
                yield tuple(force.getExceptionParameters(i)[:2])
        elif isinstance(force, openmm.CustomNonbondedForce):
            for i in range(force.getNumExclusions()):
                yield tuple(force.getExclusionParticles(i))


def _type_of_mass(particle: int, mass: float, masses: Table[str, float]) -> str:
    """Find the one particle type that has this mass."""
    found = names_of(mass, masses)
    if len(found) != 1:
        listed = ", ".join(f"{name} ({known:g} Da)" for name, known in masses.items())
        raise ValueError(
            "the System's masses do not determine the particle types: particle "
            f"{particle} of {mass:g} Da may be {' or '.join(found) or 'none'} of "
            f"{listed}: pass topology= (a Topology, MolecularGraph or Mapping of the "
            "atoms)"
        )
    return found[0]
