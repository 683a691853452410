"""OpenMM Systems from atom types, bonds and tables of parameters."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import openmm

from openmm_cgml.testsystems.peo_parameters import (
    FORCE_FIELDS,
    ION_TYPES,
    AtomType,
    ForceField,
)

CUTOFF = 0.9  # nm
EWALD_TOLERANCE = 5.0e-4
CHARGE_SCALE = 0.8
HYDROGEN_MASS = 3.0  # Da, taken from the carbon
PAIR_SCALE = 0.5  # of energies three bonds apart

Bonds = Sequence[tuple[int, int]]
Term = TypeVar("Term")


def peo_system(
    types: Sequence[str],
    bonds: Bonds,
    *,
    force_field: str = "united",
    charge_scale: float = CHARGE_SCALE,
    cutoff: float = CUTOFF,
    ewald_tolerance: float = EWALD_TOLERANCE,
    has_tail_correction: bool = True,
) -> openmm.System:
    """Build the System of given atoms; its box is left to the caller.

    Args:
        types: atom type of each atom, as in peo_parameters, (n_atoms,).
        bonds: pairs of atoms.
        force_field: "united" or "all-atom".
        charge_scale: factor of the charges of the ions, pairs three bonds apart
            included.
        cutoff: of Lennard-Jones and of the direct part of Coulomb, nm.
        ewald_tolerance: relative error of the forces, as OpenMM takes it.
        has_tail_correction: add the mean Lennard-Jones energy beyond the cutoff.

    Returns:
        Forces by kind: nonbonded (and Lennard-Jones apart where the mixing rule is
        geometric), bonds where any is flexible, angles, torsions.

    Raises:
        ValueError: the force field, a type, or a bonded term is unknown.

    Example:
        >>> system = peo_system(["CT3", "OS", "CT3"], [(0, 1), (1, 2)])
        >>> system.getNumConstraints()
        2
    """
    if force_field not in FORCE_FIELDS:
        raise ValueError(
            f"the force field must be {' or '.join(FORCE_FIELDS)}, got {force_field!r}"
        )
    tables = FORCE_FIELDS[force_field]
    atoms = _atoms(types, tables.atom_types, charge_scale)
    system = openmm.System()
    for mass in _masses(atoms, bonds):
        system.addParticle(mass)
    pairs = _nonbonded(atoms, bonds, tables.rule)
    for force in pairs:
        force.setCutoffDistance(cutoff)
        if isinstance(force, openmm.NonbondedForce):
            force.setEwaldErrorTolerance(ewald_tolerance)
            force.setUseDispersionCorrection(
                has_tail_correction and tables.rule == "lorentz-berthelot"
            )
        else:
            force.setUseLongRangeCorrection(has_tail_correction)
        system.addForce(force)
    elements = [atom.element for atom in atoms]
    _add_bonds(system, elements, bonds, tables)
    neighbours = _neighbours(len(atoms), bonds)
    system.addForce(_angle_force(elements, neighbours, tables))
    system.addForce(_torsion_force(elements, neighbours, bonds, tables))
    return system


def _atoms(
    types: Sequence[str], table: Mapping[str, AtomType], charge_scale: float
) -> list[AtomType]:
    """Look up every atom; charges of ions scaled."""
    unknown = sorted(set(types) - set(table))
    if unknown:
        raise ValueError(
            f"atom types are {', '.join(table)}, there is also {', '.join(unknown)}"
        )
    scales = {name: charge_scale if name in ION_TYPES else 1.0 for name in table}
    return [
        table[name]._replace(charge=scales[name] * table[name].charge) for name in types
    ]


def _masses(atoms: list[AtomType], bonds: Bonds) -> list[float]:
    """Make hydrogen heavier at the cost of its carbon, Da."""
    masses = [atom.mass for atom in atoms]
    for pair in bonds:
        for hydrogen, carbon in (pair, pair[::-1]):
            if atoms[hydrogen].element == "H":
                masses[carbon] -= HYDROGEN_MASS - atoms[hydrogen].mass
                masses[hydrogen] = HYDROGEN_MASS
    return masses


def _neighbours(n_atoms: int, bonds: Bonds) -> list[list[int]]:
    """Return the bonded neighbours of each atom, in order."""
    neighbours: list[list[int]] = [[] for _ in range(n_atoms)]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    return [sorted(found) for found in neighbours]


def _angles(neighbours: list[list[int]]) -> Iterator[tuple[int, int, int]]:
    """Find all atoms i and k bonded to one atom j."""
    for j, found in enumerate(neighbours):
        for n, i in enumerate(found):
            for k in found[n + 1 :]:
                yield i, j, k


def _torsions(
    neighbours: list[list[int]], bonds: Bonds
) -> Iterator[tuple[int, int, int, int]]:
    """Find all atoms i and m bonded to the two ends of a bond j-k."""
    for j, k in bonds:
        for i in neighbours[j]:
            for m in neighbours[k]:
                if i != k and m not in (j, i):
                    yield i, j, k, m


def _named(
    table: Mapping[str, Term], elements: list[str], atoms: tuple[int, ...]
) -> Term:
    """Look up a bonded term, read from either end."""
    key = "".join(elements[i] for i in atoms)
    backwards = "".join(elements[i] for i in reversed(atoms))
    for name in (key, backwards):
        if name in table:
            return table[name]
    raise ValueError(
        f"bonded terms are {', '.join(table)}, atoms {atoms} are {key or 'none'}"
    )


def _nonbonded(
    atoms: list[AtomType], bonds: Bonds, rule: str
) -> list[openmm.NonbondedForce | openmm.CustomNonbondedForce]:
    """Build Coulomb and Lennard-Jones; a rule OpenMM lacks takes a force of its own."""
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    for atom in atoms:
        force.addParticle(atom.charge, atom.sigma, atom.depth)
    force.createExceptionsFromBonds(list(bonds), PAIR_SCALE, PAIR_SCALE)
    if rule != "geometric":
        return [force]
    own = openmm.CustomNonbondedForce(
        "4*depth*(x^2-x); x=(sigma/r)^6; sigma=sqrt(sigma1*sigma2);"
        "depth=sqrt(depth1*depth2)"
    )
    own.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    own.addPerParticleParameter("sigma")
    own.addPerParticleParameter("depth")
    for index, atom in enumerate(atoms):
        own.addParticle([atom.sigma, atom.depth])
        force.setParticleParameters(index, atom.charge, atom.sigma, 0.0)
    for index in range(force.getNumExceptions()):
        i, j, product, _, depth = force.getExceptionParameters(index)
        own.addExclusion(i, j)
        sigma = math.sqrt(atoms[i].sigma * atoms[j].sigma)
        force.setExceptionParameters(index, i, j, product, sigma, depth)
    return [force, own]


def _add_bonds(
    system: openmm.System, elements: list[str], bonds: Bonds, tables: ForceField
) -> None:
    """Add constraints for rigid bonds, springs for others."""
    force = openmm.HarmonicBondForce()
    for i, j in bonds:
        bond = _named(tables.bonds, elements, (i, j))
        if bond.stiffness == 0.0 or "H" in (elements[i], elements[j]):
            system.addConstraint(i, j, bond.rest)
        else:
            force.addBond(i, j, *bond)
    if force.getNumBonds() > 0:
        system.addForce(force)


def _angle_force(
    elements: list[str], neighbours: list[list[int]], tables: ForceField
) -> openmm.HarmonicAngleForce:
    """Build all angles."""
    force = openmm.HarmonicAngleForce()
    for angle in _angles(neighbours):
        rest, stiffness = _named(tables.angles, elements, angle)
        force.addAngle(*angle, math.radians(rest), stiffness)
    return force


def _torsion_force(
    elements: list[str], neighbours: list[list[int]], bonds: Bonds, tables: ForceField
) -> openmm.PeriodicTorsionForce:
    """Build all torsions."""
    force = openmm.PeriodicTorsionForce()
    for torsion in _torsions(neighbours, bonds):
        for n, stiffness, phase in _named(tables.torsions, elements, torsion):
            force.addTorsion(*torsion, n, math.radians(phase), stiffness)
    return force
