"""Starting configurations of PEO with LiTFSI: molecules grown into a dilute box.

A chain grows atom by atom, its torsions drawn from the Boltzmann law of the united
atoms at TEMPERATURE, Lennard-Jones between the ends included; of a few draws the first
with room is taken. An ion has one shape, and of many places takes the freest. The
hydrogens of all atoms come last and take no room: minimise.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cgml import units
from openmm_cgml.testsystems.force_field import PAIR_SCALE
from openmm_cgml.testsystems.peo_parameters import UNITED

Array = NDArray[np.float64]

TEMPERATURE = 450.0  # K, of the torsions
ROOM = 0.27  # nm, from an atom to one three bonds away, or in another molecule
HYDROGEN_BOND = 0.109  # nm
HYDROGEN_ANGLE = 109.5  # degrees

_N_TRIALS = 24
_N_PLACES = 256

# row by row: bonded to, makes an angle with, makes a torsion with; bond, angle, torsion
_TFSI_ROWS = (
    (1, 0, 2, 0.1818, 100.2, 120.0),  # carbons
    (2, 0, 1, 0.1818, 100.2, 120.0),
    (1, 0, 2, 0.1442, 113.6, 10.0),  # oxygens
    (1, 0, 2, 0.1442, 113.6, -130.0),
    (2, 0, 1, 0.1442, 113.6, 10.0),
    (2, 0, 1, 0.1442, 113.6, -130.0),
    *((3, 1, 0, 0.1323, 111.8, torsion) for torsion in (60.0, 180.0, 300.0)),
    *((4, 2, 0, 0.1323, 111.8, torsion) for torsion in (60.0, 180.0, 300.0)),
)


def pack(
    types: Sequence[str],
    bonds: Sequence[tuple[int, int]],
    chains: Sequence[int],
    n_salt: int,
    edge: float,
    generator: np.random.Generator,
) -> Array:
    """Place all molecules: chains, then anions, then cations.

    Args:
        types: atom type of each atom: chain by chain, cations, anions.
        bonds: pairs of atoms.
        chains: ether oxygens of each chain.
        n_salt: number of cations, and of anions.
        edge: of the cubic box, nm.
        generator: source of randomness.

    Returns:
        (n_atoms, 3), nm, molecules whole.
    """
    positions = np.full((len(types), 3), np.nan)
    backbone = np.flatnonzero(np.isin(types, ("CT3", "CT2", "OS")))
    ends = 3 * np.cumsum(chains)
    for n_oxygens, end in zip(chains, ends, strict=True):
        _grow(positions, backbone[end - 3 * n_oxygens : end], edge, generator)
    _add_hydrogens(positions, types, bonds)
    shape = tfsi_shape()
    for index in range(n_salt):
        first = len(types) - 15 * (n_salt - index)
        positions[first : first + 15] = _freest(shape, positions, edge, generator)
    lithium = np.flatnonzero(np.asarray(types) == "Li")
    for atom in lithium:
        positions[atom] = _freest(np.zeros((1, 3)), positions, edge, generator)
    return positions


def tfsi_shape() -> Array:
    """Return one TFSI near its trans minimum, centred, (15, 3), nm."""
    half = math.radians(0.5 * 125.6)
    sulphur = 0.157 * np.array([math.sin(half), math.cos(half), 0.0])
    atoms = [np.zeros(3), sulphur, sulphur * (-1.0, 1.0, 1.0)]
    for bonded, angle, torsion, *values in _TFSI_ROWS:
        atoms.append(
            placed(atoms[torsion], atoms[angle], atoms[bonded], *values)  # (3,)
        )
    shape = np.array(atoms)
    return np.asarray(shape - shape.mean(axis=0))


def placed(
    a: Array, b: Array, c: Array, bond: float, angle: float, torsion: float | Array
) -> Array:
    """Place an atom d by its bond c-d, angle b-c-d and torsion a-b-c-d.

    Args:
        a: place of an atom, (3,), nm; b and c alike, the three not on a line.
        b: see a.
        c: see a.
        bond: nm.
        angle: degrees.
        torsion: degrees; an array makes as many places.

    Returns:
        (3,) or (n_torsions, 3), nm.

    Example:
        >>> x, y, z = np.eye(3)
        >>> placed(y, np.zeros(3), x, 1.0, 90.0, 0.0).round(3).tolist()
        [1.0, 1.0, 0.0]
    """
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    third = np.cross(normal, axis)
    turn = np.radians(np.asarray(torsion))[..., None]
    sine = math.sin(math.radians(angle))
    along = -math.cos(math.radians(angle)) * axis
    across = np.cos(turn) * third + np.sin(turn) * normal
    return np.asarray(c + bond * (along + sine * across))


def _grow(
    positions: Array, chain: NDArray[np.int64], edge: float, rng: np.random.Generator
) -> None:
    """Grow the backbone of a chain: carbon, oxygen, carbon, carbon, oxygen, ..."""
    kinds = ["COC"[i % 3] for i in range(len(chain))]
    start = _freest(np.zeros((1, 3)), positions, edge, rng)[0]
    first, turn = rng.normal(size=(2, 3))
    first /= np.linalg.norm(first)
    # places before the start that turn the first bond and the first torsion
    trail = [start + np.cross(first, turn) - 2.0 * first, start - first, start]
    for i, atom in enumerate(chain):
        if i > 0:
            trail.append(_next_atom(trail, kinds[: i + 1], positions, edge, rng))
        positions[atom] = trail[-1]


def _next_atom(
    trail: list[Array],
    kinds: list[str],
    positions: Array,
    edge: float,
    rng: np.random.Generator,
) -> Array:
    """Draw the next atom of a backbone: the first place with room, or the freest."""
    bond = UNITED.bonds["CC" if kinds[-2:] == ["C", "C"] else "CO"].rest
    angle = UNITED.angles["COC" if kinds[-3:] == ["C", "O", "C"] else "CCO"].rest
    torsions = _drawn_torsions("OCCO" if kinds[-4:] == [*"OCCO"] else "CCOC", rng)
    before, last_but_one, last = trail[-3:]
    trials = placed(before, last_but_one, last, bond, angle, torsions)  # (n_trials, 3)
    others = _present(positions)
    near = np.array(trail[2:][-2:])  # bonded, and next but one
    is_near = (others[:, None] == near).all(axis=2).any(axis=1)
    room = _room(trials[:, None], others[~is_near], edge)
    enough = np.flatnonzero(room > ROOM)
    return np.asarray(trials[enough[0] if len(enough) else np.argmax(room)])


def _drawn_torsions(name: str, rng: np.random.Generator) -> Array:
    """Draw from the Boltzmann law of a torsion, (n_trials,), degrees."""
    grid = np.arange(0.0, 360.0, 5.0)
    energy = _torsion_energy(name, grid)
    weights = np.exp((energy.min() - energy) / units.thermal_energy(TEMPERATURE))
    drawn = rng.choice(grid, size=_N_TRIALS, p=weights / weights.sum())
    return np.asarray(drawn + rng.uniform(-2.5, 2.5, size=_N_TRIALS))


def _torsion_energy(name: str, torsions: Array) -> Array:
    """Return the energy of a torsion and between its ends, kJ/mol.

    Charges are left out: in a melt the other molecules screen them.
    """
    bonds = [UNITED.bonds["".join(sorted(pair))].rest for pair in pairwise(name)]
    angle = UNITED.angles["CCO"].rest  # that of COC is as wide
    start, along = np.zeros(3), np.array([bonds[1], 0.0, 0.0])
    first = placed(np.array([0.0, 1.0, 0.0]), along, start, bonds[0], angle, 0.0)
    last = placed(first, start, along, bonds[2], angle, torsions)
    distances = np.linalg.norm(last - first, axis=1)
    kind = UNITED.atom_types["OS" if name[0] == "O" else "CT2"]  # the ends are alike
    sixth = (kind.sigma / distances) ** 6
    energy = PAIR_SCALE * 4.0 * kind.depth * (sixth**2 - sixth)
    for n, k, phase in UNITED.torsions[name]:
        energy += k * (1.0 + np.cos(np.radians(n * torsions - phase)))
    return np.asarray(energy)


def _add_hydrogens(
    positions: Array, types: Sequence[str], bonds: Sequence[tuple[int, int]]
) -> None:
    """Place hydrogens around their carbons, staggered."""
    backbone: dict[int, list[int]] = {}
    hydrogens: dict[int, list[int]] = {}
    for i, j in [*bonds, *((j, i) for i, j in bonds)]:
        if types[i] in ("CT3", "CT2", "OS"):
            found = hydrogens if types[j] == "HC" else backbone
            found.setdefault(i, []).append(j)
    for carbon, bonded in hydrogens.items():
        near = backbone[carbon][0]
        if types[carbon] == "CT2":
            far, first = backbone[carbon][1], 120.0
        else:
            far, first = next(i for i in backbone[near] if i != carbon), 60.0
        turns = first + np.array([120.0 * n for n in range(len(bonded))])
        positions[bonded] = placed(
            positions[far],
            positions[near],
            positions[carbon],
            HYDROGEN_BOND,
            HYDROGEN_ANGLE,
            turns,
        )


def _freest(
    shape: Array, positions: Array, edge: float, rng: np.random.Generator
) -> Array:
    """Turn and move a molecule: of many places the freest, (n_atoms, 3), nm."""
    n_turns = _N_PLACES if len(shape) > 1 else 1
    turns, triangular = np.linalg.qr(rng.normal(size=(n_turns, 3, 3)))
    turns *= np.sign(np.diagonal(triangular, axis1=1, axis2=2))[:, None]
    turns[:, 0] *= np.linalg.det(turns)[:, None]  # no mirror images
    centres = rng.uniform(0.0, edge, size=(_N_PLACES, 1, 3))
    trials = centres + shape @ turns  # (n_places, n_atoms, 3)
    return np.asarray(trials[np.argmax(_room(trials, _present(positions), edge))])


def _present(positions: Array) -> Array:
    """Return the atoms placed so far, (n_present, 3), nm."""
    return np.asarray(positions[~np.isnan(positions[:, 0])])


def _room(trials: Array, others: Array, edge: float) -> Array:
    """Return the least distance of each trial to others, (n_trials,), nm."""
    if not len(others):
        return np.full(len(trials), np.inf)
    room = np.full(len(trials), np.inf)
    for atom in range(trials.shape[1]):  # one atom at a time: memory
        offsets = trials[:, atom, None] - others
        offsets -= edge * np.round(offsets / edge)  # (n_trials, n_others, 3)
        squares = np.square(offsets).sum(axis=2)
        room = np.minimum(room, np.sqrt(squares.min(axis=1)))
    return np.asarray(room)
