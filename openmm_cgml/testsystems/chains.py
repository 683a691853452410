"""Copolymer chains in implicit solvent: the reference systems of the examples.

Reduced Lennard-Jones units mapped one to one: sigma = 1 nm, epsilon = 1 kJ/mol,
m = 1 Da, hence tau = 1 ps; kT = epsilon.

    U = sum over bonds of 1/2 k (r - r0)^2
      + sum over other pairs closer than r_cut of 4 eps_ij (r^-12 - r^-6) s(r)
      + Coulomb with a reaction field, Bjerrum length 5 nm

eps_ij = sqrt(eps_i eps_j) and s(r) switches off between r_switch and r_cut. Bonded
neighbours (1-2) do not interact otherwise; 1-3 and beyond do. Open boundaries.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from cgml import units
from openmm_cgml.testsystems.building import add_particles, springs

SPECIES = {"A": (0.05, 0), "B": (0.60, 0), "C": (0.25, 1), "D": (0.25, -1)}
"""Particle type -> Lennard-Jones depth (kJ/mol) and sign of the charge."""

MASS = 1.0
"""Mass of every atom, Da."""

TEMPERATURE = 1.0 / units.BOLTZMANN
"""Temperature at which kT is 1 kJ/mol, K."""

BJERRUM_LENGTH = 5.0  # nm
CHARGE = math.sqrt(BJERRUM_LENGTH / units.COULOMB)  # e, at kT = 1 kJ/mol
SIGMA = 1.0  # nm
BOND_STIFFNESS = 200.0  # kJ/mol/nm^2
BOND_LENGTH = 1.0  # nm
CUTOFF = 2.5  # nm
SWITCH = 2.0  # nm
FRICTION = 0.5  # 1/ps
TETHER = 0.05  # kJ/mol/nm^2

_RUN_LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12)
_RUN_COUNT_WEIGHTS = (0.04, 0.32, 0.32, 0.32)  # few homopolymers: there are but four


@dataclass(frozen=True, eq=False)
class ChainSystem:
    """Everything an OpenMM script needs.

    Attributes:
        sequences: one letter per atom, a string per chain.
        topology: a chain per polymer, a residue per atom; atoms are named by their
            type and have no element.
        system: the OpenMM System.
        positions: a start without overlaps, (n_atoms, 3), nm.
    """

    sequences: tuple[str, ...]
    topology: app.Topology
    system: openmm.System
    positions: NDArray[np.float64]


def random_sequence(
    n_atoms: int, kind: Literal["I", "II"], generator: np.random.Generator
) -> str:
    """Draw the sequence of a copolymer.

    Args:
        n_atoms: length of the chain.
        kind: "I": a motif of one to four runs, repeated. "II": a composition from
            the flat Dirichlet law, then independent draws.
        generator: source of randomness.

    Returns:
        A string of A, B, C and D.

    Raises:
        ValueError: n_atoms is below 1 or kind is unknown.

    Example:
        >>> random_sequence(12, "I", np.random.default_rng(3))
        'AAABBBBBBBBB'
    """
    if n_atoms < 1:
        raise ValueError(f"a chain needs at least one atom, got n_atoms = {n_atoms}")
    if kind == "I":
        motif = _random_motif(generator)
        return (motif * (n_atoms // len(motif) + 1))[:n_atoms]
    if kind == "II":
        shares = generator.dirichlet(np.ones(len(SPECIES)))
        return "".join(generator.choice(list(SPECIES), size=n_atoms, p=shares))
    raise ValueError(f"the kind of a sequence must be 'I' or 'II', got {kind!r}")


def copolymer_chain(
    sequence: str, generator: np.random.Generator | None = None
) -> ChainSystem:
    """Build one free chain.

    Args:
        sequence: one letter per atom, of A, B, C and D.
        generator: source of the starting configuration; None: one of seed 0.

    Raises:
        ValueError: the sequence is empty or has another letter.

    Example:
        >>> chain = copolymer_chain("AABBCCDD")
        >>> chain.system.getNumParticles(), chain.topology.getNumBonds()
        (8, 7)
    """
    return packed_chains([sequence], tether=0.0, generator=generator)


def packed_chains(
    sequences: Sequence[str],
    *,
    tether: float = TETHER,
    generator: np.random.Generator | None = None,
) -> ChainSystem:
    """Build one System of many chains that do not feel each other.

    They stand on a grid wider than a stretched chain, and a weak spring, which does
    not touch internal motion, holds each centre of mass: one CPU run then serves many
    sequences, but centre-of-mass diffusion is lost.

    Args:
        sequences: one letter per atom, of A, B, C and D; a string per chain.
        tether: stiffness k of the spring 1/2 k r^2 on each centre of mass,
            kJ/mol/nm^2; 0: none.
        generator: source of the starting configuration; None: one of seed 0.

    Raises:
        ValueError: a sequence is empty or has another letter, or tether is negative.
    """
    _check(sequences, tether)
    rng = np.random.default_rng(0) if generator is None else generator
    sites = _grid(len(sequences), max(map(len, sequences)) * BOND_LENGTH + 4 * CUTOFF)
    walks = [_walk(len(sequence), rng) for sequence in sequences]
    positions = np.concatenate(
        [walk + site for walk, site in zip(walks, sites, strict=True)]
    )
    topology = _topology(sequences)
    system = openmm.System()
    for _ in positions:
        system.addParticle(MASS)
    bonds = [(bond.atom1.index, bond.atom2.index) for bond in topology.bonds()]
    system.addForce(springs(bonds, BOND_LENGTH, BOND_STIFFNESS))
    system.addForce(_pair_force("".join(sequences), bonds))
    if tether > 0.0:
        system.addForce(_tether_force([len(s) for s in sequences], sites, tether))
    return ChainSystem(tuple(sequences), topology, system, positions)


def _random_motif(generator: np.random.Generator) -> str:
    """Draw one to four runs; neighbouring runs differ."""
    letters = ""
    for _ in range(1 + generator.choice(4, p=_RUN_COUNT_WEIGHTS)):
        choices = [letter for letter in SPECIES if letter != letters[-1:]]
        letters += str(generator.choice(choices)) * int(generator.choice(_RUN_LENGTHS))
    return letters


def _check(sequences: Sequence[str], tether: float) -> None:
    """Refuse sequences and a spring that mean nothing."""
    if isinstance(sequences, str) or not sequences:
        raise ValueError(f"a list of sequences is required, got {sequences!r}")
    for i, sequence in enumerate(sequences):
        unknown = sorted(set(sequence) - set(SPECIES))
        if unknown or not sequence:
            raise ValueError(
                f"a sequence is made of {', '.join(SPECIES)}, sequence {i} "
                + (f"has {', '.join(unknown)}" if unknown else "is empty")
            )
    if not tether >= 0.0:
        raise ValueError(f"tether must be zero or positive, got {tether} kJ/mol/nm^2")


def _grid(n_sites: int, spacing: float) -> NDArray[np.float64]:
    """Return the first sites of a cubic grid, (n_sites, 3), nm."""
    edge = math.ceil(n_sites ** (1 / 3) - 1e-9)
    return spacing * np.array(list(np.ndindex(edge, edge, edge))[:n_sites], dtype=float)


def _walk(n_atoms: int, rng: np.random.Generator, n_trials: int = 16) -> NDArray[Any]:
    """Grow a chain that avoids itself: of a few directions take the freest.

    Returns:
        (n_atoms, 3), nm, its centre at the origin.
    """
    positions = np.zeros((n_atoms, 3))
    for i in range(1, n_atoms):
        turns = rng.normal(size=(n_trials, 3))
        turns *= BOND_LENGTH / np.linalg.norm(turns, axis=1, keepdims=True)
        trials = positions[i - 1] + turns
        # the bonded neighbour is always one bond away and does not count
        distances = np.linalg.norm(trials[:, None] - positions[: i - 1], axis=2)
        room = distances.min(axis=1, initial=1.2 * SIGMA)  # (n_trials,)
        positions[i] = trials[np.argmax(room)]  # the first of equals is random
    return np.asarray(positions - positions.mean(axis=0))


def _topology(sequences: Sequence[str]) -> app.Topology:
    """Name every atom by its type; bond neighbours along each chain."""
    topology = app.Topology()
    for sequence in sequences:
        add_particles(topology, sequence, "MON", is_bonded=True)
    return topology


def _pair_force(letters: str, bonds: list[tuple[int, int]]) -> openmm.NonbondedForce:
    """Build Lennard-Jones and Coulomb interactions without 1-2 pairs."""
    force = openmm.NonbondedForce()
    for letter in letters:
        depth, sign = SPECIES[letter]
        force.addParticle(sign * CHARGE, SIGMA, depth)
    for i, j in bonds:
        force.addException(i, j, 0.0, SIGMA, 0.0)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(CUTOFF)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(SWITCH)
    force.setReactionFieldDielectric(1.0e9)
    force.setUseDispersionCorrection(False)
    return force


def _tether_force(
    lengths: list[int], sites: NDArray[np.float64], stiffness: float
) -> openmm.CustomCentroidBondForce:
    """Hold each chain's centre of mass at its site."""
    force = openmm.CustomCentroidBondForce(
        1, "0.5*stiffness*((x1-x0)^2+(y1-y0)^2+(z1-z0)^2)"
    )
    force.addGlobalParameter("stiffness", stiffness)
    for name in ("x0", "y0", "z0"):
        force.addPerBondParameter(name)
    ends = np.cumsum(lengths).tolist()
    for length, end, site in zip(lengths, ends, sites.tolist(), strict=True):
        force.addBond([force.addGroup(range(end - length, end))], site)
    return force
