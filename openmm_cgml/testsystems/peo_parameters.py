"""Parameters of PEO with LiTFSI: united atoms and all atoms.

Units: nm, kJ/mol, degrees, Da, e. Bonds and angles are 1/2 k (x - x0)^2; a torsion is
a sum of k (1 + cos(n phi - phase)), trans = 180 degrees. Bonded terms are keyed by the
elements along them, read from either end; C is carbon with the hydrogens it swallowed.
Charges of the ions are those at full strength: a System scales them.

| force field | from | pairs |
|---|---|---|
| united | topology published in github.com/Paschek-Lab/LiNTf2-G3 | Lorentz-Berthelot |
| all-atom | OPLS-AA ethers, CL&P ions | geometric |

In both, pairs three bonds apart feel half of the Lennard-Jones and Coulomb energies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

KILOCALORIE = 4.184  # kJ


class AtomType(NamedTuple):
    """What a kind of atom is.

    Attributes:
        element: symbol; C for a carbon with its hydrogens.
        mass: Da.
        charge: e, before scaling.
        sigma: Lennard-Jones diameter, nm.
        depth: Lennard-Jones depth, kJ/mol.
    """

    element: str
    mass: float
    charge: float
    sigma: float
    depth: float


class Harmonic(NamedTuple):
    """A spring: value at rest (nm or degrees), k (kJ/mol/nm^2 or kJ/mol/rad^2)."""

    rest: float
    stiffness: float


class Torsion(NamedTuple):
    """One term: n, k (kJ/mol) and phase (degrees) of k (1 + cos(n phi - phase))."""

    periodicity: int
    stiffness: float
    phase: float = 0.0


@dataclass(frozen=True)
class ForceField:
    """Tables that make a System of atom types and bonds.

    Attributes:
        atom_types: by name.
        bonds: by elements; a stiffness of zero stands for a constraint.
        angles: by elements.
        torsions: by elements; an empty tuple: none.
        rule: how sigma and depth of two types mix.
        time_step: ps, that the masses and constraints allow.
    """

    atom_types: Mapping[str, AtomType]
    bonds: Mapping[str, Harmonic]
    angles: Mapping[str, Harmonic]
    torsions: Mapping[str, tuple[Torsion, ...]]
    rule: Literal["lorentz-berthelot", "geometric"]
    time_step: float


def cosines(*stiffnesses: float) -> tuple[Torsion, ...]:
    """Return the terms of n = 1, 2, ... of a sum of k_n (1 + cos n phi).

    Args:
        stiffnesses: k_1, k_2, ..., kJ/mol; zeros make no term.
    """
    return tuple(Torsion(n, k) for n, k in enumerate(stiffnesses, 1) if k != 0.0)


def opls(*barriers: float, unit: float = 1.0) -> tuple[Torsion, ...]:
    """Return the terms of V1/2 (1 + cos phi) + V2/2 (1 - cos 2 phi) + ...

    Args:
        barriers: V1, V2, ...; zeros make no term.
        unit: of the barriers, kJ/mol.
    """
    return tuple(
        Torsion(n, 0.5 * unit * barrier, 180.0 * (n % 2 == 0))
        for n, barrier in enumerate(barriers, 1)
        if barrier != 0.0
    )


_TFSI_ANGLES = {
    "FCF": Harmonic(107.1, 781.0),
    "OSO": Harmonic(118.5, 969.0),
    "CSO": Harmonic(102.6, 870.0),
    "NSO": Harmonic(113.6, 789.0),
    "SNS": Harmonic(125.6, 671.0),
}

UNITED = ForceField(
    atom_types=MappingProxyType(
        {
            "CT3": AtomType("C", 15.03422, 0.25, 0.375, 0.81482),
            "CT2": AtomType("C", 14.02638, 0.25, 0.395, 0.38247),
            "OS": AtomType("O", 15.999, -0.50, 0.280, 0.45730),
            "Li": AtomType("Li", 6.941, 1.0, 0.14397, 0.43535),
            "N": AtomType("N", 14.0067, -0.69, 0.325, 0.21335),
            "S": AtomType("S", 32.065, 1.076, 0.40825, 0.31371),
            "OB": AtomType("O", 15.999, -0.579, 0.34632, 0.26357),
            "CF": AtomType("C", 12.0107, 0.494, 0.315, 0.08281),
            "F": AtomType("F", 18.9984, -0.189, 0.2655, 0.06652),
        }
    ),
    bonds=MappingProxyType(
        {
            "CC": Harmonic(0.154, 0.0),
            "CO": Harmonic(0.141, 0.0),
            "CF": Harmonic(0.1323, 0.0),
            "CS": Harmonic(0.1818, 0.0),
            "SO": Harmonic(0.1442, 0.0),
            "NS": Harmonic(0.157, 0.0),
        }
    ),
    angles=MappingProxyType(
        _TFSI_ANGLES
        | {
            "COC": Harmonic(112.0, 519.6),
            "CCO": Harmonic(112.0, 418.2),
            "SCF": Harmonic(111.8, 694.0),
            "CSN": Harmonic(100.2, 816.0),
        }
    ),
    torsions=MappingProxyType(
        {
            "CCOC": cosines(-5.1600, -0.6971, 5.3501, 0.8031, 0.2831, 0.0953, -0.0580),
            "OCCO": cosines(7.5853, 6.7052, 8.4007, 0.6322, 0.1106, 0.3596, 0.0168),
            "NSCF": cosines(0.0, 0.0, 2.0401),
            "CSNS": cosines(23.7647, 6.2081, -2.3684, -0.0298, 0.6905, 1.0165),
            "OSCF": (),
            "OSNS": (),
        }
    ),
    rule="lorentz-berthelot",
    time_step=0.005,
)
"""Carbon swallows its hydrogens; all bonds are rigid."""

ALL_ATOM = ForceField(
    atom_types=MappingProxyType(
        {
            "CT3": AtomType("C", 12.011, 0.11, 0.35, 0.276144),
            "CT2": AtomType("C", 12.011, 0.14, 0.35, 0.276144),
            "HC": AtomType("H", 1.008, 0.03, 0.25, 0.12552),
            "OS": AtomType("O", 15.999, -0.40, 0.29, 0.58576),
            "Li": AtomType("Li", 6.941, 1.0, 0.212645, 0.0764793),
            "N": AtomType("N", 14.0067, -0.66, 0.325, 0.71128),
            "S": AtomType("S", 32.065, 1.02, 0.355, 1.046),
            "OB": AtomType("O", 15.999, -0.53, 0.296, 0.87864),
            "CF": AtomType("C", 12.0107, 0.35, 0.35, 0.27614),
            "F": AtomType("F", 18.9984, -0.16, 0.295, 0.22175),
        }
    ),
    bonds=MappingProxyType(
        {
            "CH": Harmonic(0.109, 284512.0),
            "CC": Harmonic(0.1529, 224262.4),
            "CO": Harmonic(0.141, 267776.0),
            "CF": Harmonic(0.1323, 369800.0),
            "CS": Harmonic(0.1818, 195000.0),
            "SO": Harmonic(0.1437, 533100.0),
            "NS": Harmonic(0.157, 313700.0),
        }
    ),
    angles=MappingProxyType(
        _TFSI_ANGLES
        | {
            "HCH": Harmonic(107.8, 276.144),
            "CCH": Harmonic(110.7, 313.8),
            "HCO": Harmonic(109.5, 292.88),
            "CCO": Harmonic(109.5, 418.4),
            "COC": Harmonic(109.5, 502.08),
            "SCF": Harmonic(111.7, 694.0),
            "CSN": Harmonic(103.5, 764.0),
        }
    ),
    torsions=MappingProxyType(
        {
            "CCOC": opls(0.65, -0.25, 0.67, unit=KILOCALORIE),
            "HCOC": opls(0.0, 0.0, 0.76, unit=KILOCALORIE),
            "HCCO": opls(0.0, 0.0, 0.468, unit=KILOCALORIE),
            "HCCH": opls(0.0, 0.0, 0.30, unit=KILOCALORIE),
            "OCCO": opls(-0.55, 0.0, 0.0, unit=KILOCALORIE),
            "OSCF": opls(0.0, 0.0, 1.451),
            "NSCF": opls(0.0, 0.0, 1.322),
            "OSNS": opls(0.0, 0.0, -0.015),
            "CSNS": opls(32.773, -10.420, -3.195),
        }
    ),
    rule="geometric",
    time_step=0.004,
)
"""Bonds to hydrogen are rigid, and hydrogen takes mass from its carbon."""

FORCE_FIELDS = MappingProxyType({"united": UNITED, "all-atom": ALL_ATOM})

ION_TYPES = frozenset({"Li", "N", "S", "OB", "CF", "F"})
"""Atom types of which the charge is scaled."""
