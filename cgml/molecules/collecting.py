"""Collecting fragments from the frames of atoms that `prepare` reads, as they come."""

from collections.abc import Iterable, Iterator
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, eye_array
from scipy.spatial import cKDTree

from cgml.molecules.box import Box, wrap
from cgml.molecules.fragments import (
    FARTHEST_CONTACT,
    Conformers,
    Floats,
    Fragments,
    Pair,
    pair,
)
from cgml.molecules.frames import Trajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.sites import Kind, Site, sites

N_CONFORMERS = 512
"""Conformers of a kind in a library."""

_FRAMES = 48  # of a system that are looked at, at least, where there are as many
_SITES = 64  # of a kind in a frame
_BONDS_APART = 3
_TRIPLES = 40
_QUANTILE = 1.0e-3
_ALIKE = 1.0e-12  # nm^2

_Beads = tuple[Floats, Floats]  # of one kind: points and beads, as in Conformers


class Collector:
    """Collects fragments of all systems that pass.

    The frames that are looked at depend on their numbers alone, not on the pieces in
    which they come.

    Args:
        n_conformers: of each kind, at most.
    """

    def __init__(self, n_conformers: int = N_CONFORMERS) -> None:
        self._n_conformers = n_conformers
        self._pools: list[_Pool] = []

    def watch(
        self, pieces: Iterable[Trajectory], mapping: Mapping
    ) -> Iterator[Trajectory]:
        """Pass the pieces of one trajectory on, and look at them."""
        pool = _Pool(mapping)
        self._pools.append(pool)
        for piece in pieces:
            pool.take(piece)
            yield piece

    def fragments(self) -> Fragments:
        """Choose conformers of what has been seen."""
        seen: dict[Kind, list[_Beads]] = {}
        near: dict[Pair, list[Floats]] = {}
        for pool in self._pools:
            for frame in pool.frames.values():
                for kind, found in frame.items():
                    seen.setdefault(kind, []).append(found)
            for types, distances in pool.near.items():
                near.setdefault(types, []).extend(distances)
        conformers = {}
        for kind, parts in seen.items():
            points = np.concatenate([points for points, _ in parts])
            beads = np.concatenate([beads for _, beads in parts])
            chosen, shares = _diverse(points, beads, self._n_conformers)
            conformers[kind] = Conformers(points[chosen], beads[chosen], shares)
        return Fragments(
            conformers,
            {
                types: float(np.quantile(np.concatenate(own), _QUANTILE))
                for types, own in sorted(near.items())
            },
        )


class _Pool:
    """Conformers of one system, of frames evenly apart, however many come."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._sites: dict[Kind, list[tuple[int, Site]]] = {}
        for bead, site in enumerate(sites(mapping)):
            self._sites.setdefault(site.kind, []).append((bead, site))
        self._contacts = _Contacts(mapping.graph)
        self._stride, self._n_seen, self._next_contacts = 1, 0, 0
        self.frames: dict[int, dict[Kind, _Beads]] = {}
        self.near: dict[Pair, list[Floats]] = {}

    def take(self, trajectory: Trajectory) -> None:
        """Look at the next frames."""
        for positions in trajectory.positions:
            number, self._n_seen = self._n_seen, self._n_seen + 1
            if number % self._stride:
                continue
            atoms = positions.astype(np.float64)
            self.frames[number] = self._cut(number, atoms)
            if number >= self._next_contacts:  # frames 0, 1, 2, 4, 8, ...
                self._next_contacts = max(1, 2 * number)
                for types, own in self._contacts(atoms, trajectory.box).items():
                    self.near.setdefault(types, []).append(own)
            if len(self.frames) >= 2 * _FRAMES:
                self._stride *= 2
                kept = [n for n in self.frames if n % self._stride == 0]
                self.frames = {n: self.frames[n] for n in kept}

    def _cut(self, number: int, atoms: Floats) -> dict[Kind, _Beads]:
        """Take beads out of a frame, others of them in each where there are many."""
        beads = self._mapping.positions(atoms)
        found = {}
        for kind, own in self._sites.items():
            n = min(_SITES, len(own))
            chosen = [own[(number * n + i) % len(own)] for i in range(n)]
            centres = beads[[bead for bead, _ in chosen]]
            points = atoms[np.array([site.members for _, site in chosen])]
            around = beads[np.array([site.beads for _, site in chosen], dtype=np.int64)]
            found[kind] = points - centres[:, None], around - centres[:, None]
        return found


class _Contacts:
    """Distances of atoms that are near each other and far along the bonds."""

    def __init__(self, graph: MolecularGraph) -> None:
        self._types = graph.types
        self._n = graph.n_atoms
        self._bonded = bonded_pairs(graph, _BONDS_APART)

    def __call__(self, atoms: Floats, box: Box | None) -> dict[Pair, Floats]:
        """Return them by types, of one frame, (n_atoms, 3) nm."""
        points, index = with_images(atoms, box, FARTHEST_CONTACT)
        pairs = cKDTree(points).query_pairs(FARTHEST_CONTACT, output_type="ndarray")
        pairs = pairs[(pairs < self._n).any(axis=1)]
        ends = np.sort(index[pairs], axis=1)
        is_far = ~np.isin(ends[:, 0] * self._n + ends[:, 1], self._bonded)
        pairs, ends = pairs[is_far], ends[is_far]
        distances = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
        names = [pair(self._types[i], self._types[j]) for i, j in ends.tolist()]
        found: dict[Pair, list[float]] = {}
        for types, distance in zip(names, distances.tolist(), strict=True):
            found.setdefault(types, []).append(distance)
        return {types: np.array(own) for types, own in found.items()}


def bonded_pairs(graph: MolecularGraph, n_bonds: int) -> NDArray[np.int64]:
    """Find pairs of atoms i <= j at most n_bonds apart, as i * n_atoms + j, sorted."""
    n, ones = graph.n_atoms, np.ones(len(graph.bonds))
    near = coo_array((ones, (graph.bonds[:, 0], graph.bonds[:, 1])), shape=(n, n))
    near = (near + near.T + eye_array(n)).tocsr()
    reach = near
    for _ in range(n_bonds - 1):
        reach = reach @ near
    rows, columns = reach.nonzero()
    keys = rows.astype(np.int64) * n + columns
    return np.unique(keys[rows <= columns])


def with_images(
    positions: Floats, box: Box | None, margin: float
) -> tuple[Floats, NDArray[np.int64]]:
    """Add the periodic images within a margin, nm, of the cell.

    Args:
        positions: (n, 3), nm.
        box: row vectors, (3, 3), nm; None: there are no images.
        margin: of the images.

    Returns:
        Positions in the cell, then those of the images, (n + n_images, 3), nm, and
        whose they are, (n + n_images,).
    """
    if box is None:
        return positions, np.arange(len(positions))
    home = wrap(positions, box)
    fractions = home @ np.linalg.inv(box)
    slack = margin * np.linalg.norm(np.linalg.inv(box), axis=0)  # (3,) of each vector
    points, index = [home], [np.arange(len(home))]
    for shift in product((-1, 0, 1), repeat=3):
        moved = fractions + np.array(shift)
        is_near = ((moved > -slack) & (moved < 1.0 + slack)).all(axis=1)
        if any(shift) and is_near.any():
            points.append(home[is_near] + np.array(shift) @ box)
            index.append(np.flatnonzero(is_near))
    return np.concatenate(points), np.concatenate(index)


def _diverse(points: Floats, beads: Floats, n: int) -> tuple[NDArray[np.int64], Floats]:
    """Choose conformers by farthest point, the most usual one first, at most n.

    Unlikeness: distances of atoms, anchors and beads, and the cube roots of triple
    products, which tell a conformer from its mirror image, nm.

    Returns:
        Which, and the share of all that are nearest to each of them.
    """
    cloud = np.concatenate((points, beads), axis=1)
    first, second = np.triu_indices(cloud.shape[1], 1)
    lengths = np.linalg.norm(cloud[:, first] - cloud[:, second], axis=-1)
    places = range(cloud.shape[1])
    triples = np.array(list(combinations(places, 3)), dtype=np.int64).reshape(-1, 3)
    triples = triples[:: max(1, len(triples) // _TRIPLES)]
    a, b, c = (cloud[:, triples[:, k]] for k in range(3))
    volumes = np.cbrt(np.einsum("nix,nix->ni", a, np.cross(b, c)))
    features = np.concatenate((lengths, volumes), axis=1)
    gaps = ((features - np.median(features, axis=0)) ** 2).sum(axis=1)
    chosen = [int(gaps.argmin())]
    left, nearest = np.full(len(cloud), np.inf), np.zeros(len(cloud), dtype=np.int64)
    while True:
        gaps = ((features - features[chosen[-1]]) ** 2).sum(axis=1)
        nearest[gaps < left] = len(chosen) - 1
        left = np.minimum(left, gaps)
        if len(chosen) == n or not left.max() > _ALIKE:
            break
        chosen.append(int(left.argmax()))
    return np.array(chosen), np.bincount(nearest) / len(cloud)
