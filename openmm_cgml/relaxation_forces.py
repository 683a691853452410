"""Systems to relax atoms in: forces chosen, soft repulsion, springs of the beads."""

from collections.abc import Callable

import numpy as np
import openmm

from cgml.molecules.fragments import Fragments
from cgml.molecules.mapping import Mapping

SPRINGS = 1
"""Force group of the springs; that of the System is 0."""

BONDED = (
    openmm.HarmonicBondForce,
    openmm.HarmonicAngleForce,
    openmm.PeriodicTorsionForce,
    openmm.RBTorsionForce,
    openmm.CMAPTorsionForce,
    openmm.CustomBondForce,
    openmm.CustomAngleForce,
    openmm.CustomTorsionForce,
    openmm.CustomCompoundBondForce,
)
"""Forces of bonds, angles and torsions."""

_STIFF = 2.0e5  # kJ/mol/nm^2, of a bond in the place of a constraint
_SOFT_ENERGY = 100.0  # kJ/mol, of two atoms at one place


def is_left_out(force: openmm.Force) -> bool:
    """Tell what would move what shall stay, or the box, or keep another temperature."""
    kind = type(force).__name__
    return kind.endswith(("Barostat", "Thermostat")) or kind == "CMMotionRemover"


def selected(
    system: openmm.System, is_kept: Callable[[openmm.Force], bool]
) -> openmm.System:
    """Copy a System with some of its forces."""
    own = openmm.XmlSerializer.clone(system)
    for number in reversed(range(own.getNumForces())):
        if not is_kept(own.getForce(number)):
            own.removeForce(number)
    return own


def loosened(system: openmm.System) -> openmm.System:
    """Copy a System with stiff bonds in the place of its constraints."""
    own, bonds = openmm.XmlSerializer.clone(system), openmm.HarmonicBondForce()
    for number in reversed(range(own.getNumConstraints())):
        bonds.addBond(*own.getConstraintParameters(number), _STIFF)
        own.removeConstraint(number)
    own.addForce(bonds)
    return own


def springs(mapping: Mapping) -> openmm.CustomCentroidBondForce:
    """Hold the centre of mass of each bead at a place, to be set."""
    force = openmm.CustomCentroidBondForce(
        1, "0.5*stiffness*((x1-x0)^2+(y1-y0)^2+(z1-z0)^2)"
    )
    force.addGlobalParameter("stiffness", 0.0)
    for name in ("x0", "y0", "z0"):
        force.addPerBondParameter(name)
    for bead in range(mapping.n_beads):
        atoms = np.flatnonzero(mapping.bead_index == bead)
        force.addGroup(atoms.tolist(), mapping.graph.masses[atoms].tolist())
        force.addBond([bead], [0.0, 0.0, 0.0])
    force.setForceGroup(SPRINGS)
    return force


def soft_pairs(
    mapping: Mapping, fragments: Fragments, *, is_periodic: bool
) -> openmm.CustomNonbondedForce:
    """Keep atoms apart, softly: 0 at their contact, finite at distance 0."""
    names = sorted(set(mapping.graph.types))
    contacts = fragments.contact_table(names)
    force = openmm.CustomNonbondedForce(
        f"{_SOFT_ENERGY}*step(1-x)*(1-x^2)^2; x=r/contact(type1, type2)"
    )
    n = len(names)
    force.addTabulatedFunction(
        "contact", openmm.Discrete2DFunction(n, n, contacts.ravel().tolist())
    )
    force.addPerParticleParameter("type")
    for name in mapping.graph.types:
        force.addParticle([names.index(name)])
    force.createExclusionsFromBonds(mapping.graph.bonds.tolist(), 3)
    force.setNonbondedMethod(
        force.CutoffPeriodic if is_periodic else force.CutoffNonPeriodic
    )
    force.setCutoffDistance(float(contacts.max()))
    return force
