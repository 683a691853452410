"""An engine's particles: beads that a propagator moves, or atoms carried with them.

What an adapter needs besides its conversions: the beads of frames as an engine holds
them, a history from earlier frames, and where every particle is after a step.
"""

import hashlib
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgml.dynamics.propagator import Propagator, State
from cgml.dynamics.tumbling import Tumbling
from cgml.molecules.box import images
from cgml.molecules.carriage import Carriage
from cgml.molecules.checks import check_topology
from cgml.molecules.constraints import Distances
from cgml.molecules.graph import MolecularGraph, type_index
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.molecules.stereocentres import LETTERS
from cgml.molecules.united import as_known, cut, united
from cgml.molecules.whole import Unwrapper, whole_beads, whole_paths
from cgml.spec import BaseSpec

LOGGER = logging.getLogger(__name__)
_TRIES = 3


def complete(change: Callable[[], None]) -> None:
    """Make a change of an engine's state as a whole, though Ctrl-C comes meanwhile.

    What interrupts it is raised when the change is done.

    Args:
        change: gives the same when it is called again, wherever it was left.
    """
    caught: BaseException | None = None
    for _ in range(_TRIES):
        try:
            change()
            break
        except BaseException as error:  # noqa: BLE001 (raised below)
            caught = error
    if caught is not None:
        raise caught


class Passengers:
    """The particles of one replica, on board of a propagator.

    Args:
        propagator: of one replica.
        n_particles: number of atoms of its mapping, or of beads.
        box: of the propagator, row vectors, (3, 3), nm; None: open boundaries.
        mapping: atoms -> beads, where the propagator has the same beads of united
            atoms (see `known_mapping`); None: that of the propagator.
        constraints: distances between atoms, see `Carriage`.

    Attributes:
        propagator: as given.
        mapping: atoms -> beads.
        n_particles: as given.
        is_of_beads: whether the particles are the beads.
        box: as given.
        is_periodic: whether they are in a box.
        fingerprint: of model, weights and mapping.

    Raises:
        ValueError: n_particles is neither.
    """

    def __init__(
        self,
        propagator: Propagator,
        n_particles: int,
        box: NDArray[np.float64] | None = None,
        *,
        mapping: Mapping | None = None,
        constraints: Distances | None = None,
    ) -> None:
        self.propagator = propagator
        self.mapping = propagator.mappings[0] if mapping is None else mapping
        self._constraints = constraints
        self._carriage: tuple[NDArray[np.float64], Carriage] | None = None
        n_atoms, n_beads = self.mapping.graph.n_atoms, self.mapping.n_beads
        if n_particles not in (n_atoms, n_beads):
            raise ValueError(
                f"{n_atoms} atoms or {n_beads} beads are required by the topology, got "
                f"{n_particles} particles"
            )
        self.is_of_beads = n_particles == n_beads
        self._tumbling: Tumbling | None = None
        if not self.is_of_beads:
            known, replica = propagator.mappings[0], propagator.replica_ids[0]
            self._tumbling = Tumbling(propagator.spec, known, replica)
        self.n_particles = n_particles
        self.box, self.is_periodic = box, box is not None
        text = f"{propagator.model.digest} {self.mapping.hash()}"
        self.fingerprint = hashlib.sha256(text.encode()).digest()

    def start(
        self, particles: ArrayLike, *, step: int = 0, earlier: ArrayLike | None = None
    ) -> State:
        """Begin from one frame, or from several.

        Args:
            particles: (n_particles, 3), nm; molecules may be cut by the boundary.
            step: steps done.
            earlier: frames before, one model step apart, oldest first,
                (n_frames, n_particles, 3), nm; perhaps none. Those that the model
                cannot use (more than its n_history) are left out.

        Raises:
            ValueError: another shape, a position that is not finite, or, of a chiral
                model, an atom of the other hand than in the mapping.
        """
        now = np.asarray(particles, dtype=np.float64)
        shape = (self.n_particles, 3)
        before = np.asarray([] if earlier is None else earlier, dtype=np.float64)
        if before.size == 0:
            before = before.reshape(0, *shape)
        if before.ndim != 3 or before.shape[1:] != shape:
            raise ValueError(
                f"earlier frames of shape (n_frames, {shape[0]}, 3) are required, got "
                f"{before.shape}"
            )
        frames = np.concatenate((before, now[None]))
        if self.propagator.spec.is_chiral and not self.is_of_beads:
            check_hands(self.mapping, now, self.box)
        beads = whole_beads(self.mapping, frames, self.box)
        n_history = self.propagator.spec.n_history
        known = np.diff(beads, axis=0)[::-1][:n_history]  # newest first
        displacements = np.zeros((n_history, *beads.shape[1:]))
        displacements[: len(known)] = known
        return self.propagator.start(
            beads[-1], displacements=displacements, n_known=len(known), step=step
        )

    def are_at(
        self, particles: NDArray[Any], places: NDArray[Any], precision: float
    ) -> bool:
        """Tell whether particles are at their places, but for whole box vectors.

        Args:
            particles: (n_particles, 3), nm; each perhaps wrapped into the box.
            places: (n_particles, 3), nm.
            precision: what counts as the same, part of the largest coordinate.
        """
        if particles.shape != places.shape:
            return False
        gaps = particles - places
        if self.box is not None and np.isfinite(gaps).all():
            gaps = gaps + images(gaps, self.box) @ self.box
        largest = np.abs(places).max(initial=0.0)
        return bool(np.abs(gaps).max(initial=0.0) <= precision * largest)

    def reference(
        self, particles: NDArray[np.float64], step: int = 0
    ) -> NDArray[np.float64]:
        """Return what `place` needs of a start, (n_atoms, 3), nm; of beads: (0, 3).

        Its atoms with molecules whole, and those of one bead turned back to before all
        steps.

        Args:
            particles: (n_particles, 3), nm; molecules may be cut by the boundary.
            step: steps done.
        """
        if self._tumbling is None:
            return np.zeros((0, 3))
        whole = Unwrapper(self.mapping.graph, self.box, are_carried=True)
        atoms = np.array(whole(particles[None])[0], dtype=np.float64)
        return self._tumbling.undone(atoms, self.mapping, self.propagator.seed, step)

    def place(
        self, state: State, reference: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Say where the particles are in a state, (n_particles, 3), nm.

        Args:
            state: of the propagator.
            reference: of the start.
        """
        beads = np.array(state.positions.numpy(force=True), dtype=np.float64)
        if self._tumbling is None:
            return beads
        known = self._carriage
        if known is None or not np.array_equal(known[0], reference):
            carriage = Carriage(self.mapping, reference, self._constraints)
            known = self._carriage = (reference.copy(), carriage)
        seed, step = self.propagator.seed, int(state.step[0])
        rotations = self._tumbling.rotations(seed, step)
        return known[1].place(beads, rotations, f"step {step}")

    def moves(self, before: State, after: State) -> NDArray[np.float64]:
        """Return how far each particle's bead has come, (n_particles, 3), nm."""
        moves = (after.positions - before.positions).numpy(force=True)
        return moves if self.is_of_beads else moves[self.mapping.bead_index]


def with_hands(
    mapping: Mapping,
    atoms: NDArray[np.float64],
    box: NDArray[np.float64] | None,
) -> Mapping:
    """Take hands from positions, and say which.

    Args:
        mapping: of the atoms.
        atoms: (n_atoms, 3), nm; molecules may be cut by the boundary.
        box: row vectors, (3, 3), nm; None: open boundaries.
    """
    found = mapping.with_hands(whole_paths(atoms[None], mapping.graph, box))
    counts = ", ".join(f"{n} {name}" for name, n in found.hand_counts.items())
    LOGGER.info("hands of the stereocentres are those of the positions: %s", counts)
    return found


def lacks_hands(mapping: Mapping, spec: BaseSpec) -> bool:
    """Tell whether a model must know hands that a mapping does not."""
    n_centres = len(mapping.stereocentres.atoms) if spec.is_chiral else 0
    return mapping.hands is None and n_centres > 0


def check_hands(
    mapping: Mapping, atoms: NDArray[np.float64], box: NDArray[np.float64] | None
) -> None:
    """Refuse atoms that are not of the hands that a mapping says.

    Args:
        mapping: of the atoms.
        atoms: (n_atoms, 3), nm; molecules may be cut by the boundary.
        box: row vectors, (3, 3), nm; None: open boundaries.
    """
    found = mapping.with_hands(whole_paths(atoms[None], mapping.graph, box))
    if mapping.hands is None or found.hands is None or found is mapping:
        return
    wrong = np.flatnonzero(found.hands != mapping.hands)
    hand = LETTERS[int(mapping.hands[wrong[0]])]
    raise ValueError(
        f"{len(wrong)} stereocentres are of the other hand than in the mapping, the "
        f"first is {mapping.graph.name(int(wrong[0]))}, which must be {hand}: give the "
        "mapping of these molecules (Mapping.with_hands), or positions of those"
    )


def resolve_mapping(atoms: Mapping | MolecularGraph, spec: BaseSpec) -> Mapping:
    """Cut atoms into the beads of a model, unless they are cut already.

    Args:
        atoms: with their bonds; or the mapping itself.
        spec: of the model: particle types, and how atoms become beads.

    Raises:
        ValueError: a particle type that the model does not know, or bonds that make no
            sense (`checks.check_topology`).
    """
    graph = atoms.graph if isinstance(atoms, Mapping) else atoms
    check_topology(graph, "the topology")
    known, _ = united(graph, spec.particle_types)
    type_index(known, list(spec.particle_types))  # before METIS: fail early
    if isinstance(atoms, Mapping):
        return atoms
    return cut(graph, spec.particle_types, Recipe.from_spec(spec))


def known_mapping(mapping: Mapping, spec: BaseSpec) -> Mapping:
    """Return the same beads of the particles that a model knows.

    Warns:
        UserWarning: hydrogens are joined with their heavy atoms for the model.
    """
    known = as_known(mapping, spec.particle_types)
    if known is not mapping:
        n_joined = mapping.graph.n_atoms - known.graph.n_atoms
        warnings.warn(
            f"model {spec.name!r} knows united atoms: {n_joined} hydrogens are joined "
            "with their heavy atoms for it, and carried with their beads; the beads "
            "move as those of the united atoms that it was trained on",
            stacklevel=3,
        )
    return known
