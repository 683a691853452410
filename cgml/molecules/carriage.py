"""Atoms carried with their beads: where they are, from a start and the beads now.

A bead's atoms turn with the beads around it (rotation.py). Then they give way, as
little as they can with the centres of the beads where they are: bonds, angles and the
handedness of atoms are those of the start again (strain.py), between beads, too. Last,
constraints are met (constraints.py); where that turns a stereocentre over, they are met
again from its mirror image (corners.py). A molecule of one bead is rigid; how it has
turned its bead does not tell.

All of it is a function of the start, of the beads now and of how molecules of one bead
have turned: nothing adds up on the way, and a restart, or any frame of a path, gives
the same atoms.
"""

import logging

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array

from cgml.molecules.constraints import TOLERANCE, Distances, Projection
from cgml.molecules.corners import Corners
from cgml.molecules.mapping import Mapping
from cgml.molecules.rotation import Frames
from cgml.molecules.strain import Strain

LOGGER = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_SHAPE = 0.003  # weight of a bead's shape, beside a bond's length: 1
_MOST_ITERATIONS = 60
_CORRECTIONS = 5  # that the minimiser remembers
_MOST_TURNS = 20  # back, of stereocentres in a frame
_SCALE = 1.0e4  # strain is nm^2: makes what is left of the slope no small number


class Carriage:
    """The atoms of one system on their beads.

    Args:
        mapping: atoms -> beads.
        start: molecules whole, (n_atoms, 3), nm: bonds, angles, handedness and
            orientations to keep.
        constraints: distances to be met. Those inside a bead always are; those that
            join two beads where they can be, as the centres of the beads stay.

    Attributes:
        n_unmet: the most constraints between beads that could not be met in a frame.
        n_turned: the most stereocentres of the other hand than at the start in a frame.

    Raises:
        ValueError: the start has another shape, or is not finite.
    """

    def __init__(
        self, mapping: Mapping, start: Floats, constraints: Distances | None = None
    ) -> None:
        graph, index = mapping.graph, mapping.bead_index
        distances = Distances() if constraints is None else constraints
        ends = index[distances.pairs]
        is_inside = ends[:, 0] == ends[:, 1]
        start = np.asarray(start, dtype=np.float64)
        mapping.positions(start)  # refuses what is no start
        start = Projection(mapping, distances.take(is_inside))(start)
        self._mapping = mapping
        self._beads = mapping.positions(start)
        self._offsets = start - self._beads[index]
        self._frames = Frames(mapping.bead_graph)
        is_free = (np.bincount(mapping.molecule_index) > 1)[graph.molecule_index]
        self._free = np.flatnonzero(is_free)
        atoms = graph.select(self._free)
        beads, labels = np.unique(index[self._free], return_inverse=True)
        self._soft = Mapping.from_labels(atoms, labels)
        self._strain = Strain(atoms.bonds, start[self._free])
        self._corners = Corners(atoms, start[self._free])
        number = np.cumsum(is_free) - 1
        chosen = is_free[distances.pairs].all(axis=1)
        self._are_joined = not is_inside[chosen].all()  # beads, by constraints
        self._distances = Distances(
            number[distances.pairs[chosen]], distances.lengths[chosen]
        )
        self._own = Projection(self._soft, self._distances.take(is_inside[chosen]))
        self._all = Projection(self._soft, self._distances)
        n = len(self._free)
        places = (labels, np.arange(n))
        self._sums = csr_array((np.ones(n), places), shape=(len(beads), n))
        self._shares = (atoms.masses / self._soft.bead_masses[labels])[:, None]
        self.n_unmet = self.n_turned = 0

    def place(
        self, beads: Floats, rotations: Floats | None = None, name: str = "a frame"
    ) -> Floats:
        """Return where the atoms are, (n_atoms, 3), nm; their centres are the beads.

        Args:
            beads: now, molecules whole, (n_beads, 3), nm.
            rotations: of molecules of one bead since the start, (n_beads, 3, 3), and
                the identity for other beads; None: they keep their orientation.
            name: of the frame, for the log.
        """
        index = self._mapping.bead_index
        turned = self._frames.rotations(self._beads, beads)
        if rotations is not None:
            turned = turned @ rotations
        shapes = np.einsum("ixy,iy->ix", turned[index], self._offsets)
        atoms = beads[index] + shapes
        if len(self._free):
            centres = beads[index[self._free]]
            eased = centres + self._ease(centres, shapes[self._free])
            atoms[self._free] = self._handed(self._constrained(eased), centres)
            self._say(atoms[self._free], name)
        return np.asarray(atoms)

    def _centred(self, offsets: Floats) -> Floats:
        """Put the centre of each bead at zero."""
        labels = self._soft.bead_index
        return np.asarray(offsets - (self._sums @ (self._shares * offsets))[labels])

    def _ease(self, centres: Floats, shapes: Floats) -> Floats:
        """Let the atoms of chains give way; offsets from their centres, nm."""
        labels = self._soft.bead_index

        def strain(flat: Floats) -> tuple[float, Floats]:
            offsets = self._centred(flat.reshape(-1, 3))
            value, slope = self._strain(centres + offsets)
            gaps = offsets - shapes
            value += _SHAPE * float(np.vdot(gaps, gaps))
            slope += 2.0 * _SHAPE * gaps
            slope -= self._shares * (self._sums @ slope)[labels]
            return _SCALE * value, _SCALE * slope.ravel()

        found = minimize(
            *(strain, shapes.ravel()),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": _MOST_ITERATIONS,
                "maxcor": _CORRECTIONS,
                "ftol": 1.0e-7,
                "gtol": 1.0e-5,
            },
        )
        return self._centred(found.x.reshape(-1, 3))

    def _constrained(self, atoms: Floats) -> Floats:
        """Meet the constraints; where a molecule cannot, those inside its beads."""
        met = self._all(atoms)
        is_off = ~(abs(self._distances.errors(met)) <= TOLERANCE)
        if not is_off.any():
            return met
        molecules = self._soft.graph.molecule_index
        lost = np.unique(molecules[self._distances.pairs[is_off, 0]])
        own = self._own(atoms)
        return np.asarray(np.where(np.isin(molecules, lost)[:, None], own, met))

    def _handed(self, atoms: Floats, centres: Floats) -> Floats:
        """Turn stereocentres back where as many constraints are met as before."""
        molecules = self._soft.graph.molecule_index
        for _ in range(_MOST_TURNS):
            turned = self._corners.turned(atoms)
            if not len(turned):
                break
            mirrored = self._corners.mirrored(atoms) - centres
            after = self._constrained(centres + self._centred(mirrored))
            gains = self._n_off(atoms) - self._n_off(after)
            chosen = np.unique(molecules[self._corners.rows[turned, 0]])
            chosen = chosen[gains[chosen] >= 0]
            atoms = np.where(np.isin(molecules, chosen)[:, None], after, atoms)
        return np.asarray(atoms)

    def _n_off(self, atoms: Floats) -> NDArray[np.int64]:
        """Count the constraints of each molecule that are not met, (n_molecules,)."""
        graph = self._soft.graph
        is_off = ~(abs(self._distances.errors(atoms)) <= TOLERANCE)
        ends = graph.molecule_index[self._distances.pairs[is_off, 0]]
        return np.bincount(ends, minlength=graph.n_molecules)

    def _say(self, atoms: Floats, name: str) -> None:
        """Log what a frame lacks, when it is more than in frames before."""
        n_unmet = int(self._n_off(atoms).sum())
        if n_unmet > self.n_unmet:
            self.n_unmet = n_unmet
            LOGGER.warning(
                "%d of %d constraints are not met in %s: they join beads that are too "
                "far apart or too close for them, and a model moves beads; constraints "
                "of the bonds of hydrogens alone (HBonds) join none",
                *(n_unmet, len(self._distances.pairs), name),
            )
        centres = self._corners.rows[:, 0]
        turned = np.unique(centres[self._corners.turned(atoms)])
        if len(turned) > self.n_turned:
            self.n_turned = len(turned)
            graph, atom = self._mapping.graph, int(self._free[turned[0]])
            LOGGER.warning(
                "%d of %d stereocentres of carried atoms are turned over in %s, the "
                "first is %s (molecule %d): the beads around are too far from where "
                "bonds have them; leave such frames out where hands matter%s",
                *(len(turned), len(np.unique(centres)), name, graph.name(atom)),
                graph.molecule_index[atom],
                ", and constrain no bonds but those of hydrogens (HBonds)"
                * self._are_joined,
            )
