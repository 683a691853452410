"""What both test systems are built of: particles in a Topology, springs."""

from itertools import pairwise

import openmm
from openmm import app


def add_particles(
    topology: app.Topology, names: str, residue: str, *, is_bonded: bool
) -> None:
    """Add a chain of particles named by their type.

    Each is a residue of its own: PDB files know no two atoms of one name in a residue.

    Args:
        topology: gets the particles.
        names: one letter per particle.
        residue: name of the residues.
        is_bonded: join neighbours by bonds.
    """
    chain = topology.addChain()
    atoms = [
        topology.addAtom(name, None, topology.addResidue(residue, chain))
        for name in names
    ]
    if is_bonded:
        for one, other in pairwise(atoms):
            topology.addBond(one, other)


def springs(
    bonds: list[tuple[int, int]], length: float, stiffness: float
) -> openmm.HarmonicBondForce:
    """Build equal springs.

    Args:
        bonds: pairs of particles.
        length: at rest, nm.
        stiffness: k of 1/2 k (r - length)^2, kJ/mol/nm^2.
    """
    force = openmm.HarmonicBondForce()
    for i, j in bonds:
        force.addBond(i, j, length, stiffness)
    return force
