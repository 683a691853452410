"""Whether atoms, bonds and frames make sense: asked once, wherever they came from.

| what | rule |
|---|---|
| atoms of elements without any bond | are ions, or each a residue or id of its own |
| a residue, or a molecule id | in one molecule; monatomic ions may share a residue |
| an atom of a true element | has no more bonds than `MOST_BONDS` allows |
| a bond, in every frame | shorter than half the narrowest width of the box |
| a bond of two elements | at most `LONGEST`, in every frame |
| any other bond | at most `TIMES_MEDIAN` medians of those in the first frame |
| half the bonds of elements not within `REAL_MEDIAN` | said; long ones: as others |
| a molecule between frames | moves less than `LARGEST_MOVE` of the box, or it is said |

An element is a particle type that has the symbol and the mass of one.
"""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.box import Box, minimum_image, widths
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.masses import elements
from cgml.texts import listed

LONGEST = 0.4
"""Longest bond between two atoms of elements, nm (I-I has 0.27, Cs-Cl 0.29)."""

TIMES_MEDIAN = 6.0
"""Longest other bond over the median; one in 10^17 Gaussian bonds is longer."""

REAL_MEDIAN = (0.05, 0.25)
"""Median of the bonds of elements, nm; others mean another unit, or no elements."""

LARGEST_MOVE = 0.25
"""Share of the box that a molecule may move between frames without a word."""

MOST_BONDS = {"H": 1, "F": 1, "O": 3, "C": 4, "N": 4, "Cl": 4, "Br": 4}
"""Atoms that an atom can be bonded to."""

METALS = {"Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Zn"}
"""Elements whose atoms are ions, and in no bond."""

_ALONE = METALS | {"He", "Ne", "Ar", "Kr", "Xe", "F", "Cl", "Br", "I"}
_MASS_SLACK = 0.005  # of the mass: force fields round it
_CHUNK = 1 << 19  # bonds times frames looked at once

LOGGER = logging.getLogger(__name__)


def are_elements(graph: MolecularGraph) -> NDArray[np.bool_]:
    """Flag atoms whose type has the symbol and the mass of an element, (n_atoms,)."""
    known = elements()
    expected = np.array([known.get(name, -1.0) for name in graph.types])
    return np.asarray(abs(graph.masses - expected) <= _MASS_SLACK * expected)


def check_topology(graph: MolecularGraph, source: str) -> None:
    """Refuse atoms that cannot be bonded as they are; source: for the error text.

    Raises:
        ValueError: a residue or molecule id whose atoms no bonds connect, or an atom
            with more bonds than its element can have.
    """
    _check_groups(graph, source)
    _check_free_atoms(graph, source)
    counts = np.bincount(graph.bonds.reshape(-1), minlength=graph.n_atoms)
    most = np.array([MOST_BONDS.get(name, np.inf) for name in graph.types])
    wrong = np.flatnonzero((counts > most) & are_elements(graph))
    if not len(wrong):
        return
    atom = int(wrong[0])
    ends = graph.bonds[(graph.bonds == atom).any(axis=1)]
    others = [int(end) for end in ends.reshape(-1) if end != atom]
    raise ValueError(
        f"{graph.name(atom)} of {source} is bonded to {len(others)} atoms "
        f"({listed((graph.name(i) for i in others), 4)}), an atom of "
        f"{graph.types[atom]} has {int(most[atom])} bonds at most: remove the bonds "
        "that are not chemical ones (a constraint between hydrogens is none), or give "
        "its type another name if it is no such atom"
    )


def _check_groups(graph: MolecularGraph, source: str) -> None:
    """Require that the atoms of a residue or molecule id lie in one molecule."""
    labels = graph.labels
    if labels is None or not labels.group_names:
        return
    first = np.full(len(labels.group_names), -1, dtype=np.int64)
    is_labelled = labels.groups >= 0
    atoms = np.flatnonzero(is_labelled)[::-1]
    first[labels.groups[atoms]] = graph.molecule_index[atoms]  # of its lowest atom
    stray = is_labelled & (graph.molecule_index != first[labels.groups])
    if not stray.any():
        return
    sizes = np.bincount(graph.molecule_index)[graph.molecule_index]
    alone = np.array([name in _ALONE for name in graph.types])
    alone &= are_elements(graph) & (sizes == 1)
    for group in np.unique(labels.groups[stray]).tolist():
        members = np.flatnonzero(labels.groups == group)
        if not alone[members].all():
            raise ValueError(_fallen_apart(graph, members, source))


def _check_free_atoms(graph: MolecularGraph, source: str) -> None:
    """Refuse elements that are no ions where nothing tells molecules at all."""
    if len(graph.bonds) or graph.n_atoms < 2:
        return
    free = are_elements(graph) & np.array([name not in _ALONE for name in graph.types])
    if graph.labels is not None:
        free &= graph.labels.groups < 0
    if free.any():
        atom = int(np.flatnonzero(free)[0])
        raise ValueError(
            f"no bonds: {source} names {graph.n_atoms} atoms and no bond between them, "
            f"nor does it say that {graph.name(atom)} is a molecule by itself: give a "
            "file or topology that has the bonds"
        )


def _fallen_apart(
    graph: MolecularGraph, members: NDArray[np.int64], source: str
) -> str:
    """Say which atoms of a residue or molecule id no bonds connect."""
    labels = graph.labels
    group = "" if labels is None else labels.group_names[labels.groups[members[0]]]
    pieces = [
        members[graph.molecule_index[members] == molecule]
        for molecule in np.unique(graph.molecule_index[members])
    ]
    shown = " and ".join(
        listed((graph.short_name(int(i)) for i in piece), 4) for piece in pieces[:2]
    )
    return (
        f"bonds are missing in {source}: none connect the atoms of {group}, "
        f"its {len(members)} atoms are {len(pieces)} separate pieces ({shown}"
        f"{'; ...' if len(pieces) > 2 else ''}): give a file or topology that has the "
        "bonds (a PDB file needs CONECT records for residues that are no standard "
        "ones), or give molecules that are separate residues or ids of their own"
    )


class FrameChecks:
    """Bond lengths and moves in frames that come in pieces, one after the other.

    Args:
        graph: the atoms.
        box: (3, 3), nm; None: open boundaries.
        source: what the frames are of, for texts.
        are_carried: atoms have gone with their beads: bonds between beads may be long.
    """

    def __init__(
        self,
        graph: MolecularGraph,
        box: Box | None,
        source: str,
        *,
        are_carried: bool = False,
    ) -> None:
        self._graph, self._box, self._source = graph, box, source
        self._are_carried = are_carried
        self._half = np.inf if box is None else 0.5 * float(widths(box).min())
        self._limits: NDArray[np.float64] | None = None  # (n_bonds,) nm
        self._is_told = False

    def bonds(self, positions: NDArray[Any], first_frame: int) -> None:
        """Look at all bonds of frames, (n_frames, n_atoms, 3) nm, molecules whole.

        Raises:
            ValueError: a bond is too long; atoms, length and frame are named.
        """
        bonds = self._graph.bonds
        if not len(bonds) or not len(positions):
            return
        n = max(1, _CHUNK // len(bonds))
        for start in range(0, len(positions), n):
            frames = positions[start : start + n]
            with np.errstate(invalid="ignore"):  # others refuse what is not finite
                vectors = frames[:, bonds[:, 1]] - frames[:, bonds[:, 0]]
                lengths = np.linalg.norm(vectors, axis=2)  # (n_frames, n_bonds)
            if self._limits is None:
                self._limits = self._limits_of(lengths[0])
            longest = np.minimum(self._limits, self._half)
            wrong = np.argwhere((lengths > longest) & np.isfinite(lengths))
            if len(wrong):
                frame, bond = (int(i) for i in wrong[0])
                vector = np.asarray(vectors[frame, bond], dtype=np.float64)
                place = first_frame + start + frame
                raise ValueError(self._too_long(bond, vector, place))

    def moves(self, moves: NDArray[np.float64], first_frame: int) -> None:
        """Say once if molecules move so far that their paths are a guess.

        Moves of their centres, shortest images, are (n_frames, n_molecules, 3) nm, the
        first of them into the first frame.
        """
        if self._box is None or self._is_told or not moves.size:
            return
        shares = abs(moves @ np.linalg.inv(self._box)).max(axis=2)
        if not shares.max() > LARGEST_MOVE:
            return
        self._is_told = True
        frame, molecule = np.unravel_index(int(shares.argmax()), shares.shape)
        atom = int(self._graph.molecules[molecule][0])
        LOGGER.warning(
            "unwrapping %s is a guess: molecule %d (from %s on) moves by %.3g nm, %.0f "
            "%% of the box, between frames %d and %d, and a move of more than half the "
            "box looks like a shorter one the other way: use unwrapped positions (xu "
            "yu zu, or image flags ix iy iz, in a LAMMPS dump; of other formats say "
            "that they are, --unwrapped), or frames stored more often",
            self._source,
            molecule,
            self._graph.name(atom),
            np.linalg.norm(moves[frame, molecule]),
            100.0 * shares.max(),
            first_frame + frame - 1,
            first_frame + frame,
        )

    def _limits_of(self, lengths: NDArray[Any]) -> NDArray[np.float64]:
        """Return the longest sensible length of each bond, (n_bonds,) nm."""
        if self._are_carried:
            return np.full(len(lengths), np.inf)
        is_real = np.asarray(are_elements(self._graph)[self._graph.bonds].all(axis=1))
        median = float(np.median(lengths[is_real])) if is_real.any() else 0.0
        if is_real.any() and not REAL_MEDIAN[0] <= median <= REAL_MEDIAN[1]:
            LOGGER.warning(
                "half the bonds between atoms of elements in %s are %s than %.3g nm, "
                "real ones are about 0.15 nm: check the unit of length, or name the "
                "types of particles that are no elements",
                self._source,
                "longer" if median > REAL_MEDIAN[1] else "shorter",
                median,
            )
        if median > REAL_MEDIAN[1]:
            is_real = np.zeros_like(is_real)
        others = lengths[~is_real]
        longest = TIMES_MEDIAN * float(np.median(others)) if len(others) else 0.0
        return np.where(is_real, LONGEST, max(LONGEST, longest))

    def _too_long(self, bond: int, vector: NDArray[np.float64], frame: int) -> str:
        """Describe a bond that is too long, and why it may be."""
        one, other = (self._graph.name(int(i)) for i in self._graph.bonds[bond])
        length = float(np.linalg.norm(vector))
        nearest = float(np.linalg.norm(minimum_image(vector, self._box)))
        where = f"in frame {frame} of {self._source}"
        if nearest < min(length - 1.0e-3, self._half):
            return (
                f"a molecule is bonded to its own image: with the molecule whole, the "
                f"bond between {one} and {other} is {length:.3g} nm long {where}, "
                f"{nearest:.3g} nm across the boundary: networks and rings through the "
                "box cannot be made whole, give finite molecules (or correct the box)"
            )
        limit = self._half
        reason = "half the box, so its way across the boundary is not known"
        if self._limits is not None and self._limits[bond] <= limit:
            limit = float(self._limits[bond])
            reason = (
                "the longest that bonds of elements are"
                if limit == LONGEST
                else f"{TIMES_MEDIAN:g} times the median of the first frame"
            )
        box = (
            "the file has kept the box that its frames were wrapped in"
            if self._box is None
            else "the box is the one that the frames were wrapped in"
        )
        return (
            f"the bond between {one} and {other} is {length:.3g} nm long {where}, more "
            f"than {limit:.3g} nm, {reason}: check that the bonds are those of these "
            "atoms in this order, that lengths are in the unit of the format, and that "
            f"{box}"
        )
