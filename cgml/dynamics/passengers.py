"""An engine's particles: beads that a propagator moves, or atoms carried with them.

What an adapter needs besides its conversions: the beads of frames as an engine holds
them, a history from earlier frames, and every particle's move in a step.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgml.dynamics.propagator import Propagator, State
from cgml.molecules.box import images
from cgml.molecules.checks import check_topology
from cgml.molecules.graph import MolecularGraph, type_index
from cgml.molecules.mapping import Mapping
from cgml.molecules.whole import whole_beads
from cgml.spec import BaseSpec

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

    Attributes:
        propagator: as given.
        mapping: atoms -> beads.
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
    ) -> None:
        self.propagator = propagator
        self.mapping: Mapping = propagator.mappings[0]
        n_atoms, n_beads = self.mapping.graph.n_atoms, self.mapping.n_beads
        if n_particles not in (n_atoms, n_beads):
            raise ValueError(
                f"{n_atoms} atoms or {n_beads} beads are required by the topology, got "
                f"{n_particles} particles"
            )
        self.is_of_beads = n_particles == n_beads
        self._n_particles = n_particles
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
            ValueError: another shape, or a position that is not finite.
        """
        now = np.asarray(particles, dtype=np.float64)
        shape = (self._n_particles, 3)
        before = np.asarray([] if earlier is None else earlier, dtype=np.float64)
        if before.size == 0:
            before = before.reshape(0, *shape)
        if before.ndim != 3 or before.shape[1:] != shape:
            raise ValueError(
                f"earlier frames of shape (n_frames, {shape[0]}, 3) are required, got "
                f"{before.shape}"
            )
        frames = np.concatenate((before, now[None]))
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

    def advance(
        self, particles: NDArray[Any], state: State, nm: float = 1.0
    ) -> tuple[State, NDArray[Any], NDArray[np.float64]]:
        """Do one model step.

        Args:
            particles: (n_particles, 3), in the engine's unit of length.
            state: that the particles are in.
            nm: one nanometre in that unit.

        Returns:
            The state after the step, and in the engine's unit the positions and the
            moves of the particles, each (n_particles, 3).

        Raises:
            GuardError: the step left the range of the training data.
        """
        after = self.propagator.step(state)
        moves = (after.positions - state.positions).cpu().numpy() * nm
        if self.is_of_beads:
            return after, after.positions.cpu().numpy() * nm, moves
        moved = self.mapping.carry(particles, moves)
        return after, moved, moves[self.mapping.bead_index]


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
    type_index(graph, list(spec.particle_types))  # before METIS: fail early
    return atoms if isinstance(atoms, Mapping) else Mapping.from_spec(graph, spec)
