"""Placing fragments: atoms for beads, bead after bead, as their surroundings ask for.

Each conformer of a bead is turned so that the beads it was bonded to lie where the
neighbours are (least squares, proper rotations only), then judged by how well its
anchors meet the atoms of the neighbours and by atoms that come too near. The best one
is kept; a few rounds over all beads let them settle.

References:
    Kabsch, Acta Crystallogr. A 32, 922 (1976); 34, 827 (1978).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cgml.molecules.box import Box
from cgml.molecules.collecting import bonded_pairs, with_images
from cgml.molecules.fragments import (
    FARTHEST_CONTACT,
    Conformers,
    Floats,
    Fragments,
)
from cgml.molecules.mapping import Mapping
from cgml.molecules.rotation import proper
from cgml.molecules.sites import Site, sites

BEAD_WIDTH = 0.03
"""Misfit of a neighbour's centre, nm, that counts as one."""

ANCHOR_WIDTH = 0.04
"""Misfit of a bonded atom of a neighbour, nm, that counts as one."""

OVERLAP = 40.0
"""What two atoms at one place count."""

_COOLING = (2.0, 1.0, 0.5, 0.0)  # noise of the choice, round by round
_TURNS = 16  # of a bead that its neighbours leave free to turn
_MOST = 768  # conformers and turns that are tried
_MOST_OVERLAPS = 64  # of these, that are compared with atoms around
_BONDS_APART = 3


def turned(
    clouds: Floats, onto: Floats, generator: np.random.Generator | None = None
) -> Floats:
    """Find the proper rotations that bring clouds of points nearest to a target.

    Args:
        clouds: about the origin, (n, n_points, 3), nm.
        onto: (n_points, 3), nm.
        generator: draws the turns that the points leave open; None: there are none.

    Returns:
        (n, 3, 3), to be multiplied from the right: cloud @ rotation.
    """
    covariance = np.einsum("npi,pj->nij", clouds, onto)
    if generator is not None:
        size = 1.0e-6 * (1.0e-6 + np.abs(covariance).max(axis=(1, 2), keepdims=True))
        covariance = covariance + size * random_rotations(len(clouds), generator)
    return proper(covariance)


def random_rotations(n: int, generator: np.random.Generator) -> Floats:
    """Draw rotations, all alike likely, (n, 3, 3), from random unit quaternions."""
    w, x, y, z = (q := generator.standard_normal((4, n))) / np.linalg.norm(q, axis=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


class _Around(NamedTuple):
    """Beads near a bead.

    Attributes:
        beads: which, (n,).
        ways: to their nearest images, (n, 3), nm.
    """

    beads: NDArray[np.int64]
    ways: Floats


class Placer:
    """Places fragments for the beads of a system.

    Args:
        fragments: the library.
        mapping: atoms -> beads.
        reference: atoms with the right hands, molecules whole, (n_atoms, 3), nm; None:
            the hands are those of the library, where all conformers have the same.

    Attributes:
        sites: kind and atoms of each bead.
        hands: of the atoms that have one, by bead, as `Kind.signs`; 0: none.

    Raises:
        ValueError: there are no conformers of a bead, or none of its hands.
    """

    def __init__(
        self, fragments: Fragments, mapping: Mapping, reference: Floats | None = None
    ) -> None:
        self.sites = sites(mapping)
        self._mapping = mapping
        self.hands: list[NDArray[np.int8]] = []
        self._conformers: list[Conformers] = []
        known: dict[tuple[int, bytes], Conformers] = {}
        for bead, site in enumerate(self.sites):
            found = fragments.of(site, bead)
            hands = self._hands_of(site, found, bead, reference)
            key = id(found), hands.tobytes()
            if key not in known:
                known[key] = self._of_hands(site, found, hands, bead)
            self.hands.append(hands)
            self._conformers.append(known[key])
        names = sorted(set(mapping.graph.types))
        self._contacts = fragments.contact_table(names)
        self._types = np.array([names.index(name) for name in mapping.graph.types])
        self._bonded = bonded_pairs(mapping.graph, _BONDS_APART)
        self._mates = [self._mates_of(bead) for bead in range(len(self.sites))]
        self._reach = np.array(
            [
                np.linalg.norm(own.points[:, : site.kind.n_atoms], axis=-1).max()
                for own, site in zip(self._conformers, self.sites, strict=True)
            ]
        )

    def _hands_of(
        self, site: Site, found: Conformers, bead: int, reference: Floats | None
    ) -> NDArray[np.int8]:
        """Find the hands a bead shall have, (n_centres,)."""
        if reference is not None:
            return site.kind.signs(reference[site.members])
        signs = site.kind.signs(found.points)
        mixed = (signs != signs[:1]).any(axis=0)
        if mixed.any() and {-1, 1} <= set(signs[:, mixed].ravel().tolist()):
            atom = site.members[site.kind.centres[int(np.argmax(mixed)), 0]]
            raise ValueError(
                f"{self._mapping.graph.name(int(atom))} of bead {bead} is left- and "
                "right-handed in the fragments: positions of the atoms are required "
                "that show which it is here (a topology file with positions)"
            )
        hands: NDArray[np.int8] = signs[0]
        return hands

    def _of_hands(
        self, site: Site, found: Conformers, hands: NDArray[np.int8], bead: int
    ) -> Conformers:
        """Keep the conformers of these hands; mirror images are never made."""
        signs = site.kind.signs(found.points)
        fits = ((signs == hands) | (hands == 0)).all(axis=1)
        if not fits.any():
            raise ValueError(
                f"none of the {len(fits)} conformers of bead {bead} ({site.kind}) has "
                "the handedness of its atoms: prepare trajectories of such molecules"
            )
        return Conformers(*(item[fits] for item in found))

    def _mates_of(self, bead: int) -> NDArray[np.int64]:
        """Find which anchor of the neighbour is this bead's end of each bond, (n,)."""
        site = self.sites[bead]
        n = site.kind.n_atoms
        owner = {j: i for i, j in site.kind.bonds if j >= n}
        mates = []
        for anchor, other in enumerate(site.beads.tolist()):
            own = site.members[owner[n + anchor]]
            mates.append(int(np.flatnonzero(self.sites[other].anchors == own)[0]))
        return np.array(mates, dtype=np.int64)

    def changed_hands(self, atoms: Floats) -> int:
        """Count atoms whose hand is not the one it shall be; atoms: whole."""
        return sum(
            int(((site.kind.signs(atoms[site.members]) != hands) & (hands != 0)).sum())
            for site, hands in zip(self.sites, self.hands, strict=True)
            if hands.any()
        )

    def place(
        self,
        beads: Floats,
        box: Box | None,
        generator: np.random.Generator,
        *,
        heat: float = 0.0,
    ) -> Floats:
        """Place atoms for a frame of beads.

        Args:
            beads: centres of mass, molecules whole, (n_beads, 3), nm.
            box: row vectors, (3, 3), nm; None: open boundaries.
            generator: of the turns that nothing decides.
            heat: noise of the choice in the last round, in units of what misfits count.

        Returns:
            (n_atoms, 3), nm, molecules whole; beads have their centres.
        """
        placed: list[Floats | None] = [None] * len(beads)
        around = self._surroundings(beads, box)
        for cooling in _COOLING:
            noise = heat + cooling
            for bead in range(len(beads)):
                placed[bead] = self._best(bead, beads, around, placed, generator, noise)
        atoms = np.empty((self._mapping.graph.n_atoms, 3))
        for bead, (site, points) in enumerate(zip(self.sites, placed, strict=True)):
            if points is not None:
                atoms[site.atoms] = beads[bead] + points[: site.kind.n_atoms]
        return atoms

    def _surroundings(self, beads: Floats, box: Box | None) -> list[_Around]:
        """Find beads whose atoms may touch those of each bead."""
        margin = float(2.0 * self._reach.max() + FARTHEST_CONTACT)
        points, index = with_images(beads, box, margin)
        near = cKDTree(points).query_ball_point(points[: len(beads)], margin)
        found = []
        for bead, own in enumerate(near):
            others = np.array([k for k in own if index[k] != bead], dtype=np.int64)
            ways = points[others] - points[bead]
            reach = self._reach[bead] + self._reach[index[others]] + FARTHEST_CONTACT
            is_near = (ways**2).sum(axis=1) < reach**2
            found.append(_Around(index[others[is_near]], ways[is_near]))
        return found

    def _best(
        self,
        bead: int,
        beads: Floats,
        around: list[_Around],
        placed: list[Floats | None],
        generator: np.random.Generator,
        heat: float,
    ) -> Floats:
        """Choose conformer and turn of a bead, (n_points, 3) nm about its centre."""
        site, n = self.sites[bead], self.sites[bead].kind.n_atoms
        found = self._conformers[bead]
        ways = beads[site.beads] - beads[bead]  # (n_anchors, 3)
        is_met = np.array([placed[b] is not None for b in site.beads], dtype=np.bool_)
        meets, seen = self._met(site, self._mates[bead], ways, placed)
        clouds = np.concatenate((found.beads, found.points[:, n:][:, is_met]), axis=1)
        onto = np.concatenate((ways, meets[is_met]))
        n_turns = 1 if len(onto) > 1 or n == 1 else _TURNS
        chosen = np.repeat(np.arange(len(clouds)), n_turns)
        if len(chosen) > _MOST:
            chosen = np.sort(generator.permutation(len(chosen))[:_MOST]) // n_turns
        rotations = turned(clouds[chosen], onto, generator)
        points = found.points[chosen] @ rotations
        centres = found.beads[chosen] @ rotations
        score = -np.log(found.shares[chosen])
        score += ((centres - ways) ** 2).sum(axis=(1, 2)) / BEAD_WIDTH**2
        misfit = ((points[:, n:] - meets) ** 2).sum(axis=2) @ is_met
        ends = [i for i, j in site.kind.bonds if j >= n]
        misfit += ((points[:, ends] - seen) ** 2).sum(axis=2) @ is_met
        score += misfit / ANCHOR_WIDTH**2
        if heat:
            score -= heat * generator.gumbel(size=len(score))
        best = np.argsort(score, kind="stable")[:_MOST_OVERLAPS]
        overlap = self._overlap(bead, points[best, :n], around[bead], placed)
        return np.asarray(points[best[(score[best] + overlap).argmin()]])

    def _met(
        self,
        site: Site,
        mates: NDArray[np.int64],
        ways: Floats,
        placed: list[Floats | None],
    ) -> tuple[Floats, Floats]:
        """Find where neighbours have the anchors, and where they expect this bead's.

        Returns:
            Both (n_anchors, 3), nm about the centre; zeros where there is no atom yet.
        """
        meets, seen = np.zeros_like(ways), np.zeros_like(ways)
        for k, (atom, other) in enumerate(zip(site.anchors, site.beads, strict=True)):
            points, theirs = placed[other], self.sites[other]
            if points is not None:
                place = int(np.flatnonzero(theirs.atoms == atom)[0])
                meets[k] = ways[k] + points[place]
                seen[k] = ways[k] + points[theirs.kind.n_atoms + mates[k]]
        return meets, seen

    def _overlap(
        self,
        bead: int,
        points: Floats,
        around: _Around,
        placed: list[Floats | None],
    ) -> Floats:
        """Judge atoms that are too near to others, (n_conformers,)."""
        members, spots = [], []
        for other, way in zip(around.beads.tolist(), around.ways, strict=True):
            there = placed[other]
            if there is not None:
                site = self.sites[other]
                members.append(site.atoms)
                spots.append(way + there[: site.kind.n_atoms])
        if not members:
            return np.zeros(len(points))
        atoms, places = np.concatenate(members), np.concatenate(spots)
        reach = self._reach[bead] + FARTHEST_CONTACT
        is_near = (places**2).sum(axis=1) < reach**2
        atoms, places = atoms[is_near], places[is_near]
        own = self.sites[bead].atoms
        pairs = np.sort(np.stack(np.broadcast_arrays(own[:, None], atoms)), axis=0)
        keys = pairs[0] * self._mapping.graph.n_atoms + pairs[1]
        limits = self._contacts[np.ix_(self._types[own], self._types[atoms])]
        weights = OVERLAP * ~np.isin(keys, self._bonded)
        gaps = points[:, :, None] - places  # (n_conformers, n_atoms, n_near, 3)
        depth = 1.0 - np.sqrt((gaps**2).sum(axis=-1)) / limits
        return np.asarray((weights * np.maximum(depth, 0.0) ** 2).sum(axis=(1, 2)))
