"""A chiral chain with all its atoms: acetyl-(alanine)_n-methylamide, L or D.

Names of residues and atoms are those of the AMBER and CHARMM force fields of OpenMM:

    chain = alanine_chain(8)
    field = app.ForceField("amber14-all.xml", "implicit/gbn2.xml")
    system = field.createSystem(chain.topology, constraints=app.HBonds)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from openmm import app

Vector = NDArray[np.float64]

STRETCHED = (-120.0, 130.0)
"""Torsions phi and psi of a chain that does not meet itself, degrees."""

_METHYL = (60.0, 180.0, 300.0)  # torsions of its hydrogens, degrees


@dataclass(frozen=True, eq=False)
class AlanineChain:
    """Everything an OpenMM script needs but the force field.

    Attributes:
        topology: one chain, a residue ACE, n ALA, one NME.
        positions: (n_atoms, 3), nm; bonds and angles near those of force fields.
    """

    topology: app.Topology
    positions: Vector


def alanine_chain(
    n_residues: int,
    *,
    hand: Literal["L", "D"] = "L",
    torsions: Sequence[tuple[float, float]] | None = None,
) -> AlanineChain:
    """Build a chain.

    Args:
        n_residues: alanines, 1 or more.
        hand: of all of them.
        torsions: phi and psi of each, degrees, of an L chain; in a D chain they have
            the other sign. None: a stretched chain.

    Raises:
        ValueError: there is no residue, another hand, or a wrong number of torsions.

    Example:
        >>> alanine_chain(3).topology.getNumAtoms()
        42
    """
    if n_residues < 1:
        raise ValueError(f"at least one residue is required, got {n_residues}")
    if hand not in ("L", "D"):
        raise ValueError(f"the hand must be 'L' or 'D', got {hand!r}")
    angles = [STRETCHED] * n_residues if torsions is None else list(torsions)
    if len(angles) != n_residues:
        raise ValueError(
            f"phi and psi of each of {n_residues} residues are required, got "
            f"{len(angles)} pairs"
        )
    builder = _Builder()
    builder.cap_start()
    for phi, psi in angles:
        builder.residue(phi, psi)
    builder.cap_end()
    positions = np.array(builder.positions)
    mirror = np.array([1.0, 1.0, 1.0 if hand == "L" else -1.0])
    return AlanineChain(builder.topology, positions * mirror)


def is_l(chain: app.Topology, positions: Vector) -> NDArray[np.bool_]:
    """Tell which alanines are L: (n_residues,); positions (n_atoms, 3), nm.

    Seen along the bond from hydrogen to the alpha carbon, CO, R and N go around
    clockwise (the CORN rule).
    """
    found = []
    for residue in chain.residues():
        if residue.name == "ALA":
            place = {atom.name: positions[atom.index] for atom in residue.atoms()}
            carbonyl, rest, nitrogen = (
                place[name] - place["CA"] for name in ("C", "CB", "N")
            )
            found.append(float(np.dot(np.cross(carbonyl, rest), nitrogen)) > 0.0)
    return np.array(found)


class _Builder:
    """Adds atom after atom, each by a bond, an angle and a torsion."""

    def __init__(self) -> None:
        self.topology = app.Topology()
        self.positions: list[Vector] = []
        self._chain = self.topology.addChain()
        self._atoms: list[app.topology.Atom] = []
        self._trace = (0, 0, 0)  # C alpha (or methyl), C and O of the residue before

    def _residue(self, name: str) -> None:
        self._now = self.topology.addResidue(name, self._chain)

    def _put(self, name: str, position: Vector, bonded: int | None = None) -> int:
        """Add an atom; return its number."""
        element = app.Element.getBySymbol(name[0])
        atom = self.topology.addAtom(name, element, self._now)
        if bonded is not None:
            self.topology.addBond(self._atoms[bonded], atom)
        self._atoms.append(atom)
        self.positions.append(position)
        return len(self.positions) - 1

    def _add(
        self,
        name: str,
        frame: tuple[int, int, int],
        length: float,
        angle: float,
        torsion: float,
    ) -> int:
        """Add an atom bonded to the last of three; nm, degrees."""
        one, two, three = (self.positions[i] for i in frame)
        axis = (three - two) / np.linalg.norm(three - two)
        normal = np.cross(two - one, axis)
        normal /= np.linalg.norm(normal)
        side = np.cross(normal, axis)
        bend, turn = np.radians([angle, torsion])
        way = -np.cos(bend) * axis + np.sin(bend) * (
            np.cos(turn) * side + np.sin(turn) * normal
        )
        return self._put(name, three + length * way, frame[2])

    def _methyl(self, names: str, frame: tuple[int, int, int]) -> None:
        """Add the three hydrogens NAME1, NAME2, NAME3."""
        for number, torsion in enumerate(_METHYL, 1):
            self._add(f"{names}{number}", frame, 0.109, 109.5, torsion)

    def cap_start(self) -> None:
        """Add the acetyl group."""
        self._residue("ACE")
        methyl = self._put("CH3", np.zeros(3))
        carbon = self._put("C", np.array([0.152, 0.0, 0.0]), methyl)
        place = np.array([0.2135, 0.1065, 0.0])  # 0.123 nm, 120 degrees
        oxygen = self._put("O", place, carbon)
        self._methyl("HH3", (oxygen, carbon, methyl))
        self._trace = (methyl, carbon, oxygen)

    def _amide(self, carbon: str) -> tuple[int, int]:
        """Add N, H and the carbon behind it; trans."""
        alpha, carbonyl, oxygen = self._trace
        nitrogen = self._add("N", (oxygen, alpha, carbonyl), 0.1335, 116.6, 180.0)
        frame = (alpha, carbonyl, nitrogen)
        self._add("H", frame, 0.101, 119.0, 0.0)
        return nitrogen, self._add(carbon, frame, 0.1449, 121.9, 180.0)

    def residue(self, phi: float, psi: float) -> None:
        """Add an L-alanine."""
        self._residue("ALA")
        before = self._trace[1]
        nitrogen, alpha = self._amide("CA")
        carbon = self._add("C", (before, nitrogen, alpha), 0.1522, 110.1, phi)
        frame = (carbon, nitrogen, alpha)
        self._add("HA", frame, 0.109, 109.5, 118.0)
        beta = self._add("CB", frame, 0.1526, 109.7, -122.5)
        self._methyl("HB", (nitrogen, alpha, beta))
        frame = (nitrogen, alpha, carbon)
        self._trace = (alpha, carbon, self._add("O", frame, 0.1229, 120.4, psi + 180.0))

    def cap_end(self) -> None:
        """Add the methylamide."""
        self._residue("NME")
        before = self._trace[1]
        nitrogen, methyl = self._amide("C")
        self._methyl("H", (before, nitrogen, methyl))
