r"""Stereocentres: which atoms have four different substituents, and their hands.

Which atoms, the bond graph says; left or right, positions say. Substituents are ranked
as by Cahn, Ingold and Prelog, sphere by sphere, with masses for atomic numbers, so that
the hands of atoms that are elements are R and S; names of types decide between equals.
United atoms (CH) have their hydrogens, atoms of too few bonds (C=O) their duplicates,
phosphorus and sulfur a lone pair. Substituents that are alike in `REACH` spheres are
alike: the chain on both sides of a monomer, so tacticity is none of this.

References:
    R. S. Cahn, C. Ingold, V. Prelog, Angew. Chem. Int. Ed. 5, 385 (1966).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.graph import MolecularGraph, neighbours
from cgml.molecules.masses import MASS_TOLERANCE, elements

REACH = 6
"""Spheres about a centre within which its substituents must differ."""

LETTERS = {1: "R", -1: "S", 0: "unsettled"}
"""Names of hands; unsettled: not the same in all frames."""

_VALENCES = {"C": 4, "N": 3, "O": 2}
_PYRAMIDS = ("P", "S")  # of three substituents, which do not invert


_Atom = tuple[float, str]  # mass and type


class Stereocentres(NamedTuple):
    """Atoms with four different substituents.

    Attributes:
        atoms: (n,), ascending.
        corners: (n, 4) substituents, the first ranks first; the last is the centre
            itself where that substituent is no atom of its own.
    """

    atoms: NDArray[np.int64]
    corners: NDArray[np.int64]


class _Content(NamedTuple):
    """What an atom of a mass is: a heavy atom, and hydrogens united with it."""

    symbol: str
    n_hydrogens: int
    mass: float


def find(graph: MolecularGraph) -> Stereocentres:
    """Find the atoms of a graph that have four different substituents."""
    suspects = candidates(graph)
    atoms, corners = [np.zeros(0, np.int64)], [np.zeros((0, 4), np.int64)]
    known: dict[tuple[tuple[_Atom, ...], bytes], Stereocentres] = {}
    for number in np.unique(graph.molecule_index[suspects]).tolist():
        members, bonds = graph.molecules[number], graph.molecule_bonds[number]
        atoms_of = [(float(graph.masses[i]), graph.types[i]) for i in members.tolist()]
        key = (tuple(atoms_of), bonds.tobytes())
        if key not in known:  # equal molecules share their centres
            asked = np.flatnonzero(np.isin(members, suspects))
            known[key] = _of_molecule(atoms_of, bonds, asked.tolist())
        atoms.append(members[known[key].atoms])
        corners.append(members[known[key].corners])
    found = Stereocentres(np.concatenate(atoms), np.concatenate(corners))
    order = np.argsort(found.atoms)
    return Stereocentres(found.atoms[order], found.corners[order])


def candidates(graph: MolecularGraph) -> NDArray[np.int64]:
    """Atoms of four substituents, no two of which are the same single atom."""
    degrees = np.bincount(graph.bonds.ravel(), minlength=graph.n_atoms)
    found, near = [], None
    for atom in np.flatnonzero((degrees == 3) | (degrees == 4)).tolist():
        content = _content(float(graph.masses[atom]))
        n_pairs = int(degrees[atom] == 3 and content.symbol in _PYRAMIDS)
        if degrees[atom] + content.n_hydrogens + n_pairs != 4:
            continue
        near = near or neighbours(graph.n_atoms, graph.bonds)
        around = [i for i in near[atom] if degrees[i] == 1]
        single = [(graph.masses[i], graph.types[i]) for i in around]
        if len(set(single)) == len(single):
            found.append(atom)
    return np.array(found, dtype=np.int64)


def hands(centres: Stereocentres, positions: NDArray[Any]) -> NDArray[np.int8]:
    r"""Tell left from right by the sign of a volume.

    With the substituents :math:`a > b > c > d` the hand is the sign of
    :math:`-(a - d) \cdot ((b - d) \times (c - d))`: a, b, c turn clockwise, seen with d
    behind them.

    Args:
        centres: of the atoms.
        positions: (..., n_atoms, 3) nm, molecules whole.

    Returns:
        (..., n) 1 (R), -1 (S), or 0 where they lie in a plane.
    """
    corners = np.asarray(positions, dtype=np.float64)[..., centres.corners, :]
    a, b, c = np.moveaxis(corners[..., :3, :] - corners[..., 3:, :], -2, 0)
    volume = np.einsum("...x,...x->...", a, np.cross(b, c))
    return np.asarray(-np.sign(volume), dtype=np.int8)


def counts(found: NDArray[np.int8]) -> dict[str, int]:
    """Count the hands of stereocentres, (n,), by name.

    Example:
        >>> counts(np.array([1, 1, 0], dtype=np.int8))
        {'R': 2, 'unsettled': 1}
    """
    own = found.tolist()
    table = {name: own.count(hand) for hand, name in LETTERS.items()}
    return {name: n for name, n in table.items() if n}


def checked(found: Any, n_atoms: int) -> NDArray[np.int8] | None:
    """Read hands of n_atoms atoms from a file, or None.

    Raises:
        ValueError: other numbers, or of other atoms.
    """
    if found is None:
        return None
    if len(found) != n_atoms or not set(found) <= LETTERS.keys():
        raise ValueError(f"hands must be 1, -1 or 0 of each of {n_atoms} atoms")
    return np.array(found, dtype=np.int8)


def settled(
    centres: Stereocentres, positions: NDArray[Any], n_atoms: int
) -> NDArray[np.int8]:
    """Return the hand that an atom has in all frames, (n_atoms,), else 0.

    Positions are (n_frames, n_atoms, 3) nm, of one frame or more.
    """
    step = max(1, 100_000 // max(len(centres.atoms), 1))
    first = hands(centres, positions[0])
    is_same = np.ones(len(first), dtype=np.bool_)
    for start in range(0, len(positions), step):
        part = hands(centres, positions[start : start + step])
        is_same &= (part == first).all(axis=0)
    found = np.zeros(n_atoms, dtype=np.int8)
    found[centres.atoms] = np.where(is_same, first, 0)
    return found


@lru_cache(maxsize=1024)
def _content(mass: float) -> _Content:
    """Tell what an atom of a mass is; what is no element here remains as it is."""
    table = elements()
    rows = [_Content(name, 0, table[name]) for name in (*_VALENCES, *_PYRAMIDS)]
    rows += [_Content("C", n, table["C"]) for n in range(1, 5)]
    gaps = [abs(row.mass + row.n_hydrogens * table["H"] - mass) for row in rows]
    best = int(np.argmin(gaps))
    return rows[best] if gaps[best] <= MASS_TOLERANCE else _Content("", 0, mass)


def _of_molecule(
    own: list[_Atom], bonds: NDArray[np.int64], suspects: list[int]
) -> Stereocentres:
    """`find` in one molecule."""
    near = neighbours(len(own), bonds)
    weights, full = _completed([mass for mass, _ in own], near)
    names = [name for _, name in own] + [""] * (len(weights) - len(own))
    by_mass = _ranks(weights, full)
    by_name = _ranks(list(zip(weights, names, strict=True)), full)
    atoms, corners = [], []
    for atom in suspects:
        rank = {i: (by_mass[atom, i], by_name[atom, i]) for i in near[atom]}
        if len(set(rank.values())) == len(rank):
            atoms.append(atom)
            around = sorted(rank, key=lambda i: rank[i], reverse=True)
            corners.append([*around, atom][:4])
    table = np.array(corners, dtype=np.int64).reshape(-1, 4)
    return Stereocentres(np.array(atoms, dtype=np.int64), table)


def _ranks(atoms: Sequence[Any], near: list[list[int]]) -> dict[tuple[int, int], int]:
    """Rank what hangs on each atom in each direction: (from, to) -> rank.

    Sphere by sphere, of numbers or texts that atoms have: what is alike so far is told
    apart by what it carries, the highest first.
    """
    value: dict[tuple[int, int], Any] = {
        (i, j): atoms[j] for i, row in enumerate(near) for j in row
    }
    rank: dict[tuple[int, int], int] = {}
    for _ in range(REACH):
        order = {own: k for k, own in enumerate(sorted(set(value.values())))}
        rank = {edge: order[own] for edge, own in value.items()}
        value = {
            (i, j): (
                own,
                *sorted((rank[j, k] for k in near[j] if k != i), reverse=True),
            )
            for (i, j), own in rank.items()
        }
    return rank


def _completed(
    masses: list[float], near: list[list[int]]
) -> tuple[list[float], list[list[int]]]:
    """Masses and neighbours with united hydrogens and duplicates as atoms."""
    contents = [_content(mass) for mass in masses]
    weights = [content.mass for content in contents]
    lacks = [
        _VALENCES.get(content.symbol, 0) - content.n_hydrogens - len(row)
        for content, row in zip(contents, near, strict=True)
    ]
    around = [list(row) for row in near]
    for atom, content in enumerate(contents):
        more = [elements()["H"]] * content.n_hydrogens
        twice = sorted(weights[j] for j in near[atom] if lacks[j] > 0)[::-1]
        more += [twice[k % len(twice)] for k in range(lacks[atom]) if twice]
        for weight in more:
            around[atom].append(len(weights))
            around.append([atom])
            weights.append(weight)
    return weights, around
