"""Molecules put together that a periodic boundary has cut, and their paths in time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.box import Box, images
from cgml.molecules.centres import centres_of_mass
from cgml.molecules.checks import FrameChecks
from cgml.molecules.graph import MolecularGraph, breadth_first_levels
from cgml.molecules.mapping import Mapping

_Levels = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


class Unwrapper:
    """Undoes periodic boundaries of frames that come in pieces, one after the other.

    Molecules come whole in each frame, and do not jump in time. Bonds must be shorter
    than half the box, and so must be the way of a molecule's centre between stored
    frames; `FrameChecks` sees to it. The frames are those of one piece, to the last
    bit, whatever the pieces.

    Args:
        graph: the atoms.
        box: (3, 3), nm; None leaves positions as they are.
        is_unwrapped: positions are unwrapped in time already, but perhaps not along
            bonds (as by the image flags of LAMMPS): molecules are made whole in the
            first frame, and the others are moved along.
        source: what the frames are of, for texts.
        are_carried: atoms have gone with their beads, see `FrameChecks`.
        first: number of the first frame, for texts.
    """

    def __init__(
        self,
        graph: MolecularGraph,
        box: Box | None,
        *,
        is_unwrapped: bool = False,
        source: str = "the positions",
        are_carried: bool = False,
        first: int = 0,
    ) -> None:
        self._checks = FrameChecks(graph, box, source, are_carried=are_carried)
        self._n_done = first
        self._box = box
        self._molecules = graph.molecule_index
        self._is_unwrapped = is_unwrapped
        self._levels = (
            [] if box is None else breadth_first_levels(graph.n_atoms, graph.bonds)
        )
        self._shift: NDArray[np.float32] | None = None  # (n_atoms, 3) nm
        self._centres: NDArray[np.float64] | None = None  # last, (1, n_molecules, 3)
        self._jumps: NDArray[np.float64] | None = None  # box vectors added to it

    def __call__(self, positions: NDArray[Any]) -> NDArray[Any]:
        """Take the next frames, (n_frames, n_atoms, 3) nm, and return them whole.

        The lowest atom of each molecule stays where it is in the very first frame.
        """
        whole = self._unwrapped(positions)
        self._checks.bonds(whole, self._n_done)
        self._n_done += len(positions)
        return whole

    def _unwrapped(self, positions: NDArray[Any]) -> NDArray[Any]:
        """Put the molecules together."""
        if self._box is None or not len(positions):
            return positions
        if self._is_unwrapped:
            return self._moved_along(positions, self._box)
        paths = _together(positions, self._levels, self._box)
        centres = centres_of_mass(paths, self._molecules)  # by count, not mass
        first = centres[:1] if self._centres is None else self._centres
        before = np.zeros_like(first) if self._jumps is None else self._jumps
        moves = np.diff(np.concatenate((first, centres)), axis=0)
        crossed = images(moves, self._box)
        self._checks.moves(moves + crossed @ self._box, self._n_done)
        jumps = before + np.cumsum(crossed, axis=0)
        self._centres, self._jumps = centres[-1:], jumps[-1:]
        paths += (jumps @ self._box)[:, self._molecules]
        return paths.astype(positions.dtype)

    def _moved_along(self, positions: NDArray[Any], box: Box) -> NDArray[Any]:
        """Shift atoms in all frames as in the first one."""
        if self._shift is None:
            first = positions[0].astype(np.float64)
            shift = _together(first, self._levels, box) - first
            is_moved = abs(shift).max(axis=1) > 0.25 * np.diag(box).min()
            self._shift = np.where(is_moved[:, None], shift, 0.0).astype(np.float32)
        return np.asarray(positions + self._shift)


def whole_paths(
    positions: NDArray[Any], graph: MolecularGraph, box: Box | None
) -> NDArray[Any]:
    """Undo periodic boundaries of all frames at once, see `Unwrapper`."""
    return Unwrapper(graph, box)(positions)


def whole_beads(
    mapping: Mapping, positions: NDArray[Any], box: Box | None
) -> NDArray[np.float64]:
    """Find the beads of frames as an engine holds them, perhaps cut by the boundary.

    Args:
        mapping: atoms -> beads.
        positions: (n_frames, n_atoms, 3) or (n_frames, n_beads, 3), nm; between
            frames a molecule's centre moves less than half the box.
        box: (3, 3), nm; None: open boundaries.

    Returns:
        (n_frames, n_beads, 3), nm, molecules whole, no jumps in time.
    """
    if positions.shape[1] == mapping.n_beads:
        beads = Unwrapper(mapping.bead_graph, box, are_carried=True)(positions)
        return np.array(beads, dtype=float)
    return mapping.positions(Unwrapper(mapping.graph, box, are_carried=True)(positions))


def _together(frames: NDArray[Any], levels: _Levels, box: Box) -> NDArray[np.float64]:
    """Follow the bonds outwards, (..., n, 3) nm, and move each end to its nearest."""
    whole = np.array(frames, dtype=np.float64)
    for child, parent in levels:
        bond = whole[..., child, :] - whole[..., parent, :]
        whole[..., child, :] += images(bond, box) @ box
    return whole
