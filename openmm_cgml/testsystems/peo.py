"""A polymer electrolyte of real chemistry: PEO with LiTFSI in a periodic box.

Chains are H-[CH2-O-CH2]_n-H with n ether oxygens (n = 4 is triglyme); a unit CH2-O-CH2
is a residue PEO, a cation one LI, an anion one TFS. A bead is a residue.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from openmm_cgml.testsystems.force_field import CHARGE_SCALE, CUTOFF, peo_system
from openmm_cgml.testsystems.peo_packing import pack
from openmm_cgml.testsystems.peo_parameters import FORCE_FIELDS

START_DENSITY = 0.2  # g/cm3; 1.1 at 423 K and 1 bar
GRAM_PER_CM3 = 602.214076  # Da/nm^3

TFSI_TYPES = ("N", "S", "S", "CF", "CF", *4 * ("OB",), *6 * ("F",))
TFSI_BONDS = (
    *((0, 1), (0, 2), (1, 3), (2, 4), (1, 5), (1, 6), (2, 7), (2, 8)),
    *((3, 9), (3, 10), (3, 11), (4, 12), (4, 13), (4, 14)),
)
TFSI_NAMES = (
    *("N", "S1", "S2", "C1", "C2", "O11", "O12", "O21", "O22"),
    *("F11", "F12", "F13", "F21", "F22", "F23"),
)


@dataclass(frozen=True, eq=False)
class PeoSystem:
    """Everything an OpenMM script needs.

    Attributes:
        chains: ether oxygens of each chain.
        n_salt: number of cations, and of anions.
        force_field: "united" or "all-atom".
        types: atom type of each atom, as in peo_parameters, (n_atoms,).
        edge: of the cubic box, nm.
        topology: a chain per molecule, a residue per bead. A united atom has the
            element carbon: the System knows its mass, the element does not.
        system: the OpenMM System; its box has the edge above.
        positions: a start to minimise and to compress, molecules whole, (n_atoms, 3),
            nm: chain by chain, cations, anions.
    """

    chains: tuple[int, ...]
    n_salt: int
    force_field: str
    types: tuple[str, ...]
    edge: float
    topology: app.Topology
    system: openmm.System
    positions: NDArray[np.float64]

    @property
    def bonds(self) -> list[tuple[int, int]]:
        """Pairs of bonded atoms."""
        return _bonds(self.topology)

    @property
    def beads(self) -> NDArray[np.int64]:
        """Bead, that is residue, of each atom, (n_atoms,)."""
        return np.array([atom.residue.index for atom in self.topology.atoms()])

    @property
    def masses(self) -> NDArray[np.float64]:
        """Mass of each atom in its force field, not as the System moves it, Da."""
        table = FORCE_FIELDS[self.force_field].atom_types
        return np.array([table[name].mass for name in self.types])


def peo_litfsi(
    chains: Sequence[int],
    n_salt: int,
    *,
    force_field: str = "united",
    charge_scale: float = CHARGE_SCALE,
    edge: float | None = None,
    cutoff: float = CUTOFF,
    generator: np.random.Generator | None = None,
) -> PeoSystem:
    """Build a periodic box of PEO chains and LiTFSI.

    Args:
        chains: ether oxygens of each chain.
        n_salt: number of cations, and of anions; may be 0.
        force_field: "united" (carbon with its hydrogens is an atom; fast) or
            "all-atom".
        charge_scale: factor of the charges of the ions.
        edge: of the cubic box, nm; None: that of START_DENSITY, from which a barostat
            brings the box to its own.
        cutoff: of Lennard-Jones and of the direct part of Coulomb, nm.
        generator: source of the starting configuration; None: one of seed 0.

    Raises:
        ValueError: there is no chain, a chain has no oxygen, the amount of salt is
            negative, the force field is unknown, or the box is not twice the cutoff
            wide.

    Example:
        >>> glyme = peo_litfsi([4] * 16, 4)
        >>> glyme.system.getNumParticles(), glyme.topology.getNumResidues()
        (256, 72)
    """
    _check(chains, n_salt, force_field)
    rng = np.random.default_rng(0) if generator is None else generator
    topology, types = _topology(chains, n_salt, force_field)
    bonds = _bonds(topology)
    table = FORCE_FIELDS[force_field].atom_types
    if edge is None:
        mass = sum(table[name].mass for name in types)
        edge = math.cbrt(mass / (START_DENSITY * GRAM_PER_CM3))
    if not edge >= 2.0 * cutoff:
        raise ValueError(
            f"the box must be at least twice the cutoff of {cutoff} nm wide, it would "
            f"be one of {edge:.2f} nm: take more molecules, or a longer edge"
        )
    system = peo_system(
        types,
        bonds,
        force_field=force_field,
        charge_scale=charge_scale,
        cutoff=cutoff,
    )
    system.setDefaultPeriodicBoxVectors(*edge * np.eye(3))
    topology.setPeriodicBoxVectors(edge * np.eye(3))
    positions = pack(types, bonds, chains, n_salt, edge, rng)
    return PeoSystem(
        tuple(chains),
        n_salt,
        force_field,
        tuple(types),
        edge,
        topology,
        system,
        positions,
    )


def _bonds(topology: app.Topology) -> list[tuple[int, int]]:
    """Return the pairs of bonded atoms of a Topology."""
    return [(bond.atom1.index, bond.atom2.index) for bond in topology.bonds()]


def _check(chains: Sequence[int], n_salt: int, force_field: str) -> None:
    """Refuse what makes no box."""
    if not len(chains):
        raise ValueError("at least one chain is required, got none")
    for index, n_oxygens in enumerate(chains):
        if n_oxygens < 1:
            raise ValueError(
                "a chain needs at least one ether oxygen, "
                f"chains[{index}] = {n_oxygens}"
            )
    if n_salt < 0:
        raise ValueError(f"n_salt must be 0 or more, got {n_salt}")
    if force_field not in FORCE_FIELDS:
        raise ValueError(
            f"the force field must be {' or '.join(FORCE_FIELDS)}, got {force_field!r}"
        )


def _topology(
    chains: Sequence[int], n_salt: int, force_field: str
) -> tuple[app.Topology, list[str]]:
    """Name and bond all atoms; return their types beside."""
    topology = app.Topology()
    types: list[str] = []
    for n_oxygens in chains:
        types += _add_chain(topology, n_oxygens, has_hydrogen=force_field == "all-atom")
    for _ in range(n_salt):
        residue = topology.addResidue("LI", topology.addChain())
        topology.addAtom("LI", app.element.lithium, residue)
        types.append("Li")
    for _ in range(n_salt):
        residue = topology.addResidue("TFS", topology.addChain())
        atoms = [
            topology.addAtom(name, app.Element.getBySymbol(name[0]), residue)
            for name in TFSI_NAMES
        ]
        for i, j in TFSI_BONDS:
            topology.addBond(atoms[i], atoms[j])
        types += TFSI_TYPES
    return topology, types


def _add_chain(
    topology: app.Topology, n_oxygens: int, *, has_hydrogen: bool
) -> list[str]:
    """Add a chain, unit by unit: carbon, oxygen, carbon, their hydrogens."""
    chain = topology.addChain()
    types: list[str] = []
    backbone: list[app.topology.Atom] = []
    for unit in range(n_oxygens):
        residue = topology.addResidue("PEO", chain)
        is_end = (unit == 0, unit == n_oxygens - 1)
        carbons: list[app.topology.Atom] = []
        for name, symbol in (("C1", "C"), ("O", "O"), ("C2", "C")):
            atom = topology.addAtom(name, app.Element.getBySymbol(symbol), residue)
            backbone.append(atom)
            if symbol == "C":
                types.append("CT3" if is_end[len(carbons)] else "CT2")
                carbons.append(atom)
            else:
                types.append("OS")
        if has_hydrogen:
            types += _add_hydrogens(topology, carbons, is_end)
    for one, other in pairwise(backbone):
        topology.addBond(one, other)
    return types


def _add_hydrogens(
    topology: app.Topology,
    carbons: list[app.topology.Atom],
    is_end: tuple[bool, bool],
) -> list[str]:
    """Add two hydrogens to each carbon, three to one at an end."""
    count = 0
    for number, (carbon, has_third) in enumerate(zip(carbons, is_end, strict=True), 1):
        for n in range(3 if has_third else 2):
            name = f"H{number}{n + 1}"
            atom = topology.addAtom(name, app.element.hydrogen, carbon.residue)
            topology.addBond(carbon, atom)
            count += 1
    return count * ["HC"]
