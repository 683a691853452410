"""Beads as sites of fragments: kinds of beads, their atoms in an order of their own.

Beads of one kind have the same atoms, bonds and bonds to atoms of other beads, however
files number them. Atoms on the other side of a bond between beads are anchors.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.graph import neighbours
from cgml.molecules.mapping import Mapping

PLANAR = 0.35
"""Triple product of unit bond vectors below which an atom has no hand: a tetrahedral
atom has 0.77, one in a plane 0."""


@dataclass(frozen=True)
class Kind:
    """Atoms of a bead and what they are bonded to.

    Attributes:
        types: particle types of its atoms, then of the anchors, (n_points,).
        n_atoms: how many of these are its atoms.
        bonds: places in types, sorted, the lower one first.
    """

    types: tuple[str, ...]
    n_atoms: int
    bonds: tuple[tuple[int, int], ...]

    def key(self) -> str:
        """Return a text that tells kinds apart."""
        return json.dumps([self.types, self.n_atoms, self.bonds])

    @classmethod
    def of_key(cls, key: str) -> "Kind":
        """Return the kind that a key is of.

        Raises:
            ValueError: the text is no such key.
        """
        try:
            types, n_atoms, bonds = json.loads(key)
            kind = cls(tuple(types), n_atoms, tuple((i, j) for i, j in bonds))
            n = len(kind.types)
            is_sound = 0 < n_atoms <= n and all(0 <= i < j < n for i, j in kind.bonds)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{key[:60]!r} is no kind of bead") from error
        if not is_sound or not all(type(name) is str for name in kind.types):
            raise ValueError(f"{key[:60]!r} is no kind of bead")
        return kind

    def __str__(self) -> str:
        """Name the atoms, for texts."""
        own = self.types[: self.n_atoms]
        atoms = " ".join(f"{own.count(name)} {name}" for name in sorted(set(own)))
        return f"{atoms} with {len(self.types) - self.n_atoms} bonds to other beads"

    @cached_property
    def centres(self) -> NDArray[np.int64]:
        """Atoms that have a hand, and three of their neighbours, (n, 4) places.

        Those with three or four neighbours of which no two are ends of one type, but
        for nitrogen with three, which turns over. Where the neighbours lie in a plane
        there is no hand after all, see `signs`.
        """
        near = neighbours(len(self.types), np.array(self.bonds).reshape(-1, 2))
        rows = []
        for atom in range(self.n_atoms):
            ends = [self.types[i] for i in near[atom] if self._is_end(i, near)]
            is_fixed = len(near[atom]) == 4 or not self.types[atom].startswith("N")
            if len(near[atom]) in {3, 4} and is_fixed and len(set(ends)) == len(ends):
                rows.append([atom, *sorted(near[atom])[:3]])
        return np.array(rows, dtype=np.int64).reshape(-1, 4)

    def _is_end(self, place: int, near: list[list[int]]) -> bool:
        return place < self.n_atoms and len(near[place]) == 1

    def signs(self, points: NDArray[Any]) -> NDArray[np.int8]:
        """Return the hands of `centres`, (..., n): 1 or -1, 0 for none.

        Args:
            points: of atoms and anchors, (..., n_points, 3), nm, whole.
        """
        atom = self.centres[:, 0]
        arms = points[..., self.centres[:, 1:], :] - points[..., atom, None, :]
        arms = arms / np.linalg.norm(arms, axis=-1, keepdims=True)
        triple = (arms[..., 0, :] * np.cross(arms[..., 1, :], arms[..., 2, :])).sum(-1)
        signs: NDArray[np.int8] = np.sign(triple).astype(np.int8)
        signs[np.abs(triple) < PLANAR] = 0
        return signs


@dataclass(frozen=True, eq=False)
class Site:
    """A bead of a system.

    Attributes:
        kind: of it.
        members: atoms of the system in the order of the kind: its own and the anchors,
            (n_points,).
        beads: bead on which each anchor lies, (n_anchors,).
    """

    kind: Kind
    members: NDArray[np.int64]
    beads: NDArray[np.int64]

    @property
    def atoms(self) -> NDArray[np.int64]:
        """Its own atoms, (n_atoms,)."""
        return self.members[: self.kind.n_atoms]

    @property
    def anchors(self) -> NDArray[np.int64]:
        """Atoms on the other side of bonds to other beads, (n_anchors,)."""
        return self.members[self.kind.n_atoms :]


def sites(mapping: Mapping) -> list[Site]:
    """Find the kind of every bead, (n_beads,)."""
    graph, bead = mapping.graph, mapping.bead_index
    near = neighbours(graph.n_atoms, graph.bonds)
    order = np.argsort(bead, kind="stable")
    found = []
    for own in np.split(order, np.cumsum(np.bincount(bead))[:-1]):
        inside = set(own.tolist())
        pairs = [(i, j) for i in own.tolist() for j in near[i]]
        across = [(i, j) for i, j in pairs if j not in inside]
        place = {atom: n for n, atom in enumerate(own.tolist())}
        bonds = [(place[i], place[j]) for i, j in pairs if j in inside and i < j]
        bonds += [(place[i], len(own) + n) for n, (i, _) in enumerate(across)]
        anchors = np.array([j for _, j in across], dtype=np.int64)
        members = np.concatenate((own, anchors))
        types = tuple(graph.types[i] for i in members)
        kind, ranks = _in_order(types, len(own), tuple(bonds))
        members = members[np.argsort(ranks)]
        found.append(Site(kind, members, bead[members[len(own) :]]))
    return found


@lru_cache(maxsize=4096)
def _in_order(
    types: tuple[str, ...], n_atoms: int, bonds: tuple[tuple[int, int], ...]
) -> tuple[Kind, tuple[int, ...]]:
    """Bring a bead into the order of its kind; ranks: places there.

    Atoms are told apart by type and, round after round, by those of their neighbours
    (Weisfeiler and Leman); of what remains alike the first one goes first.
    """
    n = len(types)
    near = neighbours(n, np.array(bonds, dtype=np.int64).reshape(-1, 2))
    ranks = _refined(_dense([(i >= n_atoms, types[i]) for i in range(n)]), near)
    while (n_classes := len(set(ranks))) < n:
        alike = next(r for r in range(n_classes) if ranks.count(r) > 1)
        first = ranks.index(alike)
        split = [2 * rank + 1 for rank in ranks]
        split[first] -= 1
        ranks = _refined(_dense(split), near)
    order = np.argsort(ranks)
    pairs = [sorted((ranks[i], ranks[j])) for i, j in bonds]
    in_order = tuple(sorted((i, j) for i, j in pairs))
    kind = Kind(tuple(types[i] for i in order), n_atoms, in_order)
    return kind, tuple(ranks)


def _refined(ranks: list[int], near: list[list[int]]) -> list[int]:
    """Tell nodes apart by their neighbours until nothing changes."""
    while True:
        colours = [
            (rank, tuple(sorted(ranks[j] for j in near[i])))
            for i, rank in enumerate(ranks)
        ]
        after = _dense(colours)
        if len(set(after)) == len(set(ranks)):
            return after
        ranks = after


def _dense(colours: Sequence[Any]) -> list[int]:
    """Number colours 0, 1, ... in their order."""
    number = {colour: n for n, colour in enumerate(sorted(set(colours)))}
    return [number[colour] for colour in colours]
