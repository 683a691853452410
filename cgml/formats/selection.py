"""Which frames and atoms of a file are read, and into which box they go."""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import mdtraj
import numpy as np
from numpy.typing import NDArray

from cgml.formats.format import Frames
from cgml.molecules.atoms import AtomTable
from cgml.molecules.box import Box
from cgml.molecules.frames import BeadTrajectory, cut

LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

MAX_SCALING = 0.05
"""Largest relative change of a box that is taken for a fluctuation."""


class Selection(NamedTuple):
    """Atoms of a topology that are kept: indices, ascending, of how many."""

    atoms: NDArray[np.int64]
    n_atoms: int


@dataclass(frozen=True, eq=False)
class FrameOptions:
    """What of a file is read.

    Attributes:
        start: first frame, from 0; negative: from the end, -1 is the last.
        stop: frame before which to stop, negative likewise; None: at the end.
        stride: take every stride-th frame of these.
        select: atoms in mdtraj's language, whole molecules; None: all.
        selection: these atoms, where they are found already.
        box: row vectors, (3, 3), nm, or edges, (3,), to put the frames into; None: the
            box of the file, the mean one where it changes.
        is_open: whether molecules are taken out of the box that the file has.
        max_scaling: largest relative change of the box vectors of a frame.
        is_unwrapped: whether positions are unwrapped in time where the format does not
            say so (XTC, DCD and TRR files of "nojump" frames).

    Raises:
        ValueError: a stride or scaling that is not positive, a box without volume, or
            a box for open boundaries.
    """

    start: int = 0
    stop: int | None = None
    stride: int = 1
    select: str | None = None
    selection: Selection | None = None
    box: Box | None = None
    is_open: bool = False
    max_scaling: float = MAX_SCALING
    is_unwrapped: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.stride >= 1:
            raise ValueError(f"stride must be 1 or more, got {self.stride}")
        if not 0.0 < self.max_scaling < 1.0:
            raise ValueError(
                f"max_scaling must be between 0 and 1, got {self.max_scaling:g}"
            )
        if self.box is None:
            return
        if self.is_open:
            raise ValueError("either a box is given or none is kept, got both")
        box = np.asarray(self.box, dtype=np.float64)
        box = np.diag(box) if box.shape == (3,) else box
        is_box = box.shape == (3, 3) and np.isfinite(box).all()
        if not is_box or not np.linalg.det(box) > 0.0:
            raise ValueError(
                f"a box of positive edges, nm, is required, got {self.box.tolist()}"
            )
        object.__setattr__(self, "box", box)

    @property
    def counts_from_end(self) -> bool:
        """Whether the number of frames must be known."""
        return self.start < 0 or (self.stop is not None and self.stop < 0)

    @property
    def n_first(self) -> int | None:
        """How many frames from the first on hold those asked for; None: all."""
        return None if self.counts_from_end else self.stop

    def of_beads(self, system: BeadTrajectory, path: Path) -> BeadTrajectory:
        """Choose frames of beads; molecules are whole there, and atoms are no more."""
        if self.select is not None or not (self.box is None or system.box is None):
            raise ValueError(
                f"atoms are selected and boxes given for files of atoms, {path} holds "
                "beads: prepare it again from the atoms, or leave select and box out"
            )
        if self.is_open or self.box is not None:
            system = replace(system, box=self.box)
        if (self.start, self.stop, self.stride) == (0, None, 1):
            return system
        start, stop = self.bounds(len(system.times), path)
        return cut(system, slice(start, stop, self.stride))

    def bounds(self, n_frames: int | None, path: Path) -> tuple[int, int | None]:
        """Return start and stop, both counted from the first frame.

        Args:
            n_frames: in the file; None: not known, where nothing counts from the end.
            path: the file, for the error text.
        """
        start, stop = self.start, self.stop
        if n_frames is not None:
            start = start + n_frames if start < 0 else start
            stop = stop + n_frames if stop is not None and stop < 0 else stop
        too_far = n_frames is not None and start >= n_frames
        if start < 0 or too_far or (stop is not None and stop <= start):
            last = "" if self.stop is None else f" and before frame {self.stop}"
            count = "" if n_frames is None else f", which has {n_frames}"
            raise ValueError(
                f"no frame from {self.start} on{last} is in {path}{count}: "
                "correct start and stop, or the number of the frame"
            )
        return start, stop


def parse_box(text: str) -> NDArray[np.float64]:
    """Read a box given as X or X,Y,Z, in nm: row vectors, (3, 3).

    Example:
        >>> parse_box("2,3,4").diagonal().tolist()
        [2.0, 3.0, 4.0]
    """
    try:
        edges = [float(word) for word in text.split(",")]
    except ValueError:
        edges = []
    if len(edges) == 1:
        edges *= 3
    if len(edges) != 3 or not all(0.0 < edge < np.inf for edge in edges):
        raise ValueError(
            f"a box is given as X or X,Y,Z, positive edges in nm, got {text!r}"
        )
    return np.diag(edges)


def within(
    pieces: Iterator[T],
    start: int,
    stop: int | None,
    size: Callable[[T], int],
    part: Callable[[T, slice], T],
) -> Iterator[tuple[int, T]]:
    """Leave out frames before the start and from the stop on.

    Args:
        pieces: frames, or boxes, one after the other.
        start: first frame.
        stop: frame before which to stop; None: at the end.
        size: number of frames in a piece.
        part: takes some of them.

    Yields:
        Number of the first frame of each piece, and the piece; none is empty.
    """
    first = 0
    for piece in pieces:
        n, low = size(piece), max(start - first, 0)
        high = n if stop is None else min(stop - first, n)
        if low < high:
            yield first + low, part(piece, slice(low, high))
        first += n
        if stop is not None and first >= stop:
            return


def part_of(frames: Frames, part: slice) -> Frames:
    """Take some frames of a piece."""
    arrays = (frames.times, frames.boxes, frames.corners)
    times, boxes, corners = (None if x is None else x[part] for x in arrays)
    return frames._replace(
        positions=frames.positions[part], times=times, boxes=boxes, corners=corners
    )


def select_atoms(atoms: AtomTable, selection: str) -> Selection:
    """Find the atoms that a selection in mdtraj's language names, as "not water".

    Raises:
        ValueError: no such language, no atom, or a bond with one end outside.
    """
    if "chain" in selection and not atoms.chains:
        raise ValueError(
            f"select = {selection!r} names chains, {atoms.source} has none: select "
            "residues (resname, resid), or give a PDB or mmCIF file as the topology"
        )
    topology = _topology(atoms)
    try:
        found = np.sort(np.asarray(topology.select(selection), dtype=np.int64))
    except Exception as error:  # its parser raises anything, with its whole grammar
        why = " ".join(str(error).split()).rpartition(", found ")[2][:80]
        raise ValueError(
            f"select = {selection!r} is not in mdtraj's selection language, as 'not "
            f"water' or 'resname PEO' is: unexpected {why}"
        ) from error
    names = ", ".join(
        sorted({residue.name for residue in topology.residues} - {""})[:9]
    )
    if not len(found) or (len(found) == atoms.n_atoms and not names):
        raise ValueError(
            f"select = {selection!r} {'leaves out' if len(found) else 'names'} no atom "
            f"of {atoms.source}, whose residues are {names or 'not named'}"
        )
    if len(found) == atoms.n_atoms:
        LOGGER.warning(
            "select = %r leaves out no atom of %s, whose residues are %s",
            *(selection, atoms.source, names),
        )
    is_inside = np.zeros(atoms.n_atoms, dtype=np.bool_)
    is_inside[found] = True
    bonds = atoms.bonds.reshape(-1, 2)
    if atoms.masses is not None:  # virtual sites may go
        bonds = bonds[(atoms.masses[bonds] != 0.0).all(axis=1)]
    parted = np.flatnonzero(is_inside[bonds].sum(axis=1) == 1)
    if len(parted):
        i, j = sorted(bonds[parted[0]].tolist(), key=lambda atom: not is_inside[atom])
        raise ValueError(
            f"select = {selection!r} takes atom {topology.atom(i)} ({i}) of "
            f"{atoms.source} and leaves {topology.atom(j)} ({j}), which is bonded to "
            "it: select whole molecules"
        )
    return Selection(found, atoms.n_atoms)


def selected(atoms: AtomTable, frames: FrameOptions) -> tuple[AtomTable, FrameOptions]:
    """Keep the atoms that are asked for, before anything is asked of the others.

    Returns:
        The atoms, and the options with the selection found.
    """
    if frames.select is None:
        return atoms, frames
    found = select_atoms(atoms, frames.select)
    return atoms.take(found.atoms), replace(frames, select=None, selection=found)


def _topology(atoms: AtomTable) -> mdtraj.Topology:
    """Name atoms as mdtraj does; types stand for names where a file has none."""
    topology = mdtraj.Topology()
    numbers = atoms.chains or [0] * atoms.n_atoms
    chains = [topology.add_chain() for _ in range(max(numbers, default=0) + 1)]
    names = atoms.names if any(atoms.names) else atoms.kinds or atoms.names
    residue, last = None, None
    for i, name in enumerate(names):
        group = atoms.groups[i] if atoms.groups else ""
        if residue is None or group != last:
            number = re.search(r"(\d+)( \(.*\))?$", group)
            title = atoms.residues[i] if atoms.residues else ""
            place = None if number is None else int(number[1])
            residue = topology.add_residue(title, chains[numbers[i]], place)
            last = group
        symbol = atoms.elements[i] if atoms.elements else ""
        element = mdtraj.element.virtual
        if symbol:
            element = mdtraj.element.get_by_symbol(symbol)
        topology.add_atom(name, element, residue)
    return topology
