"""Chains that wind one way: a test of whether a model learns left from right.

The chains of `chains`, all of type A, with stiff angles and dihedral angles that favour
one hand,

    U = sum over angles of 1/2 k (theta - theta0)^2
      + sum over dihedrals of K (1 - cos(phi - h phi0))

h is 1 for right-handed and -1 for left-handed chains, mirror images of each other.
Every atom is to be a bead: the handedness is in no atom, only in the chain.
"""

import math

import numpy as np
import openmm

from openmm_cgml.testsystems.chains import ChainSystem, packed_chains

ANGLE = math.radians(110.0)
ANGLE_STIFFNESS = 20.0  # kJ/mol/rad^2
DIHEDRAL = math.radians(60.0)
DIHEDRAL_STIFFNESS = 2.0  # kJ/mol, and kT is 1


def handed_chains(
    n_chains: int,
    n_atoms: int,
    hand: int,
    generator: np.random.Generator | None = None,
) -> ChainSystem:
    """Build one System of many such chains that do not feel each other.

    Args:
        n_chains: how many.
        n_atoms: atoms in each, four or more.
        hand: 1: right-handed; -1: left-handed.
        generator: source of the starting configuration; None: one of seed 0.

    Raises:
        ValueError: chains too short for a dihedral angle, or another hand.

    Example:
        >>> handed_chains(2, 6, -1).system.getNumParticles()
        12
    """
    if n_atoms < 4 or hand not in (1, -1):
        raise ValueError(
            "chains of 4 atoms or more and a hand of 1 or -1 are required, got "
            f"{n_atoms} atoms and hand {hand}"
        )
    chains = packed_chains(["A" * n_atoms] * n_chains, generator=generator)
    angles, dihedrals = openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    phase = hand * DIHEDRAL - math.pi
    for first in range(0, n_chains * n_atoms, n_atoms):
        for i in range(first, first + n_atoms - 2):
            angles.addAngle(i, i + 1, i + 2, ANGLE, ANGLE_STIFFNESS)
        for i in range(first, first + n_atoms - 3):
            dihedrals.addTorsion(
                *(i, i + 1, i + 2, i + 3), 1, phase, DIHEDRAL_STIFFNESS
            )
    chains.system.addForce(angles)
    chains.system.addForce(dihedrals)
    return chains
