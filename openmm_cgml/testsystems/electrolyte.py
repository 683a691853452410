"""Ion-containing polymer melt in a periodic box: salt in a copolymer that solvates it.

Reduced Lennard-Jones units mapped one to one: sigma = 1 nm, epsilon = 1 kJ/mol,
m = 1 Da, hence tau = 1 ps; kT = epsilon.

    U = sum over bonds of 1/2 k (r - r0)^2
      + sum over other pairs closer than r_cut of
        4 eps_ij ((sigma_ij / r)^12 - (sigma_ij / r)^6) s(r)
      + Coulomb by particle-mesh Ewald, Bjerrum length 4 nm

eps_ij and sigma_ij mix by Lorentz and Berthelot, except that two cations have a depth
of their own: the deep well of a cation is meant for E, which solvates it. s(r) switches
off between r_switch and r_cut. Bonded neighbours (1-2) do not interact otherwise.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from cgml import units
from openmm_cgml.testsystems.building import add_particles, springs


class Species(NamedTuple):
    """What a kind of particle is.

    Attributes:
        sigma: Lennard-Jones diameter, nm.
        depth: Lennard-Jones depth, kJ/mol.
        sign: of the charge.
    """

    sigma: float
    depth: float
    sign: int


SPECIES = {
    "E": Species(1.0, 1.0, 0),
    "X": Species(1.0, 0.35, 0),
    "+": Species(0.6, 25.0, 1),
    "-": Species(1.3, 0.5, -1),
}
"""Particle type -> what it is: solvating and inert monomer, cation, anion."""

MONOMERS = ("E", "X")
CATION, ANION = "+", "-"

CATION_PAIR_DEPTH = 0.5  # kJ/mol, between two cations

MASS = 1.0
"""Mass of every particle, Da."""

TEMPERATURE = 1.0 / units.BOLTZMANN
"""Temperature at which kT is 1 kJ/mol, K."""

BJERRUM_LENGTH = 4.0  # nm
CHARGE = math.sqrt(BJERRUM_LENGTH / units.COULOMB)  # e, at kT = 1 kJ/mol
BOND_STIFFNESS = 400.0  # kJ/mol/nm^2
BOND_LENGTH = 0.97  # nm
CUTOFF = 2.5  # nm
SWITCH = 2.2  # nm
EWALD_TOLERANCE = 1.0e-3
FRICTION = 0.5  # 1/ps
START_DENSITY = 0.7  # particles per nm^3; 0.6 to 0.95 at zero pressure

_MAX_RUNS = {"E": 8, "X": 8}


@dataclass(frozen=True, eq=False)
class ElectrolyteSystem:
    """Everything an OpenMM script needs.

    Attributes:
        sequence: one letter per monomer; all chains are alike.
        n_chains: number of chains.
        n_ion_pairs: number of cations, and of anions.
        edge: of the cubic box, nm.
        topology: a chain per polymer, one of the cations and one of the anions; a
            residue per particle; atoms are named by their type and have no element.
        system: the OpenMM System; its box has the edge above.
        positions: a start to minimise, no pair closer than 0.6 of its sigma, chains
            whole, (n_particles, 3), nm: chain by chain, cations, anions.
    """

    sequence: str
    n_chains: int
    n_ion_pairs: int
    edge: float
    topology: app.Topology
    system: openmm.System
    positions: NDArray[np.float64]

    @property
    def types(self) -> str:
        """Particle type of each particle, (n_particles,)."""
        return _types(self.sequence, self.n_chains, self.n_ion_pairs)


def electrolyte_sequence(
    n_monomers: int, kind: Literal["I", "II"], generator: np.random.Generator
) -> str:
    """Draw the sequence of a chain.

    Args:
        n_monomers: length of the chain.
        kind: "I": a run of E and one of X of random lengths, repeated from a random
            place on; "II": independent draws, the probability of E uniform in 0.4 to 1.
        generator: source of randomness.

    Returns:
        A string of E and X.

    Raises:
        ValueError: n_monomers is below 1 or kind is unknown.

    Example:
        >>> electrolyte_sequence(12, "I", np.random.default_rng(0))
        'EXXXXXEEEEEE'
    """
    if n_monomers < 1:
        raise ValueError(
            f"a chain needs at least one monomer, got n_monomers = {n_monomers}"
        )
    if kind == "I":
        n_e = int(generator.integers(1, _MAX_RUNS["E"], endpoint=True))
        n_x = int(generator.integers(0, _MAX_RUNS["X"], endpoint=True))
        motif = "E" * n_e + "X" * n_x
        first = int(generator.integers(len(motif)))
        return (motif * (n_monomers // len(motif) + 2))[first : first + n_monomers]
    if kind == "II":
        share = generator.uniform(0.4, 1.0)
        return "".join(np.where(generator.random(n_monomers) < share, "E", "X"))
    raise ValueError(f"the kind of a sequence must be 'I' or 'II', got {kind!r}")


def polymer_electrolyte(
    sequence: str,
    *,
    n_chains: int = 24,
    n_ion_pairs: int = 24,
    edge: float | None = None,
    generator: np.random.Generator | None = None,
) -> ElectrolyteSystem:
    """Build a periodic box of alike chains and salt.

    Args:
        sequence: one letter per monomer, of E and X.
        n_chains: number of chains.
        n_ion_pairs: number of cations, and of anions.
        edge: of the cubic box, nm; None: that of START_DENSITY, from which a barostat
            brings the box to its own.
        generator: source of the starting configuration; None: one of seed 0.

    Raises:
        ValueError: the sequence is empty or has another letter, a count is not
            positive, or the box is not twice the cutoff wide.

    Example:
        >>> melt = polymer_electrolyte("EEEXX" * 4, n_chains=8, n_ion_pairs=8)
        >>> melt.system.getNumParticles(), melt.topology.getNumBonds()
        (176, 152)
    """
    edge = _checked_edge(sequence, n_chains, n_ion_pairs, edge)
    rng = np.random.default_rng(0) if generator is None else generator
    types = _types(sequence, n_chains, n_ion_pairs)
    box = edge * np.eye(3)
    topology = _topology(sequence, n_chains, n_ion_pairs)
    topology.setPeriodicBoxVectors(box)
    bonds = [(bond.atom1.index, bond.atom2.index) for bond in topology.bonds()]
    system = openmm.System()
    for _ in types:
        system.addParticle(MASS)
    system.setDefaultPeriodicBoxVectors(*box)
    system.addForce(springs(bonds, BOND_LENGTH, BOND_STIFFNESS))
    system.addForce(_pair_force(types, bonds))
    system.addForce(_cation_force(types, bonds))
    positions = _pack(types, len(sequence), n_chains, edge, rng)
    return ElectrolyteSystem(
        sequence, n_chains, n_ion_pairs, edge, topology, system, positions
    )


def _checked_edge(
    sequence: str, n_chains: int, n_ion_pairs: int, edge: float | None
) -> float:
    """Refuse what makes no box; return the edge, nm."""
    unknown = sorted(set(sequence) - set(MONOMERS))
    if unknown or not sequence:
        raise ValueError(
            f"a sequence is made of {', '.join(MONOMERS)}, it "
            + (f"has {', '.join(unknown)}" if unknown else "is empty")
        )
    for name, count in (("n_chains", n_chains), ("n_ion_pairs", n_ion_pairs)):
        if count < 1:
            raise ValueError(f"{name} must be 1 or more, got {count}")
    n_particles = n_chains * len(sequence) + 2 * n_ion_pairs
    if edge is None:
        edge = math.cbrt(n_particles / START_DENSITY)
    if not edge >= 2.0 * CUTOFF:
        raise ValueError(
            f"the box must be at least twice the cutoff of {CUTOFF} nm wide, "
            f"{n_particles} particles make one of {edge:.2f} nm: take more chains, or "
            "a longer edge"
        )
    return edge


def _types(sequence: str, n_chains: int, n_ion_pairs: int) -> str:
    """Particle type of each particle: chain by chain, cations, anions."""
    return sequence * n_chains + CATION * n_ion_pairs + ANION * n_ion_pairs


def _topology(sequence: str, n_chains: int, n_ion_pairs: int) -> app.Topology:
    """Name every particle by its type; bond neighbours along each chain."""
    topology = app.Topology()
    for _ in range(n_chains):
        add_particles(topology, sequence, "MON", is_bonded=True)
    for ion, residue in ((CATION, "CAT"), (ANION, "ANI")):
        add_particles(topology, ion * n_ion_pairs, residue, is_bonded=False)
    return topology


def _pair_force(types: str, bonds: list[tuple[int, int]]) -> openmm.NonbondedForce:
    """Build Lennard-Jones and Coulomb interactions without 1-2 pairs."""
    force = openmm.NonbondedForce()
    for name in types:
        kind = SPECIES[name]
        force.addParticle(kind.sign * CHARGE, kind.sigma, kind.depth)
    for i, j in bonds:
        force.addException(i, j, 0.0, 1.0, 0.0)
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    force.setEwaldErrorTolerance(EWALD_TOLERANCE)
    force.setCutoffDistance(CUTOFF)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(SWITCH)
    force.setUseDispersionCorrection(False)
    return force


def _cation_force(
    types: str, bonds: list[tuple[int, int]]
) -> openmm.CustomNonbondedForce:
    """Build what makes the well between two cations shallow: the difference."""
    sigma, depth, _ = SPECIES[CATION]
    force = openmm.CustomNonbondedForce(
        f"4*{CATION_PAIR_DEPTH - depth}*(({sigma}/r)^12-({sigma}/r)^6)"
    )
    for _ in types:
        force.addParticle([])
    for i, j in bonds:  # OpenMM wants the exclusions of all such forces alike
        force.addExclusion(i, j)
    cations = [i for i, name in enumerate(types) if name == CATION]
    force.addInteractionGroup(cations, cations)
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(CUTOFF)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(SWITCH)
    return force


def _pack(
    types: str, n_monomers: int, n_chains: int, edge: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Place one particle after the other: of many places take the freest.

    A chain grows bond by bond; its first monomer, and each ion, may be anywhere.

    Returns:
        (n_particles, 3), nm, chains whole, particles outside the box where a chain
        leaves it.
    """
    radii = np.array([0.5 * SPECIES[name].sigma for name in types])
    positions = np.zeros((len(types), 3))
    for i in range(len(types)):
        is_bonded = i < n_chains * n_monomers and i % n_monomers > 0
        trials = _trials(positions[i - 1] if is_bonded else None, edge, rng)
        # the bonded neighbour is always one bond away and does not count
        others = slice(0, i - 1 if is_bonded else i)
        offsets = trials[:, None] - positions[others]
        offsets -= edge * np.round(offsets / edge)  # (n_trials, n_others, 3)
        distances = np.linalg.norm(offsets, axis=2) / (radii[others] + radii[i])
        room = distances.min(axis=1, initial=1.2)  # (n_trials,)
        positions[i] = trials[np.argmax(room)]  # the first of equals is random
    return positions


def _trials(
    bonded: NDArray[np.float64] | None,
    edge: float,
    rng: np.random.Generator,
    n_trials: int = 128,
) -> NDArray[Any]:
    """Draw places one bond away from a particle, or anywhere; (n_trials, 3), nm."""
    if bonded is None:
        return rng.uniform(0.0, edge, size=(n_trials, 3))
    turns = rng.normal(size=(n_trials, 3))
    turns *= BOND_LENGTH / np.linalg.norm(turns, axis=1, keepdims=True)
    return np.asarray(bonded + turns)
