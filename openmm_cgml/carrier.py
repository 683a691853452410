"""A propagator that moves a System's particles, be they beads or atoms."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgml.dynamics.propagator import Propagator, State
from cgml.molecules.mapping import Mapping
from cgml.molecules.whole import whole_beads


@dataclass(frozen=True)
class Run:
    """Where a run stands.

    Attributes:
        state: of the propagator, one replica.
        particles: positions, (n_particles, 3), nm.
        velocities: last displacement / time step, (n_particles, 3), nm/ps.
    """

    state: State
    particles: NDArray[np.float64]
    velocities: NDArray[np.float64]

    @property
    def step(self) -> int:
        """Steps done, which select the random numbers."""
        return int(self.state.step)

    @property
    def n_known(self) -> int:
        """Number of true displacements in the history."""
        return int(self.state.n_known)

    @property
    def beads(self) -> NDArray[np.float64]:
        """Positions of the beads, (n_beads, 3), nm."""
        return self.state.positions.cpu().numpy()

    @property
    def displacements(self) -> NDArray[np.float64]:
        """History of the beads, newest first, (n_history, n_beads, 3), nm."""
        return self.state.displacements.cpu().numpy()


class Carrier:
    """Moves beads by a propagator, and each atom along with its bead.

    Args:
        propagator: of one replica.
        n_particles: number of atoms of its mapping, or of beads.
        box: of the propagator, row vectors, (3, 3), nm; None: open boundaries.

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
        self._box = box
        self.mapping: Mapping = propagator.mappings[0]
        n_atoms, n_beads = self.mapping.graph.n_atoms, self.mapping.n_beads
        if n_particles not in (n_atoms, n_beads):
            raise ValueError(
                f"a System of {n_atoms} atoms or of {n_beads} beads is required by the "
                f"topology, got {n_particles} particles"
            )
        self.is_of_beads = n_particles == n_beads
        text = f"{propagator.spec.model_dump_json()} {self.mapping.hash()}"
        self._fingerprint = hashlib.sha256(text.encode()).digest()

    def start(
        self,
        particles: NDArray[np.float64],
        step: int,
        earlier: NDArray[np.float64] | None = None,
    ) -> Run:
        """Begin from one frame, or from several.

        Args:
            particles: (n_particles, 3), nm; molecules may be cut by the boundary.
            step: steps done.
            earlier: frames before, one model step apart, oldest first,
                (n_frames, n_particles, 3), nm.

        Raises:
            ValueError: a position is not finite.
        """
        frames = particles[None]
        if earlier is not None:
            frames = np.concatenate((earlier, frames))
        beads = whole_beads(self.mapping, frames, self._box)
        n_history = self.propagator.spec.n_history
        known = np.diff(beads, axis=0)[::-1][:n_history]  # newest first
        displacements = np.zeros((n_history, *beads.shape[1:]))
        displacements[: len(known)] = known
        return self.restore(particles, beads[-1], displacements, len(known), step)

    def restore(
        self,
        particles: NDArray[np.float64],
        beads: NDArray[np.float64],
        displacements: NDArray[np.float64],
        n_known: int,
        step: int,
    ) -> Run:
        """Put together what `Run` gave out; the velocities are not needed."""
        state = self.propagator.start(
            beads, displacements=displacements, n_known=n_known, step=step
        )
        return Run(state, particles, np.zeros_like(particles))

    def advance(self, run: Run) -> Run:
        """Do one model step.

        Raises:
            GuardError: the step left the range of the training data.
        """
        state = self.propagator.step(run.state)
        moves = (state.positions - run.state.positions).cpu().numpy()
        if self.is_of_beads:
            particles = state.positions.cpu().numpy()
        else:
            particles = self.mapping.carry(run.particles, moves)
            moves = moves[self.mapping.bead_index]
        return Run(state, particles, moves / self.propagator.spec.time_step)

    def key(self, run: Run) -> int:
        """Return a fingerprint of model, mapping and state below 2^52, not zero."""
        digest = hashlib.blake2b(self._fingerprint, digest_size=8)
        for values in (run.particles, run.beads, run.displacements):
            digest.update((values + 0.0).tobytes())  # -0.0 is 0.0
        digest.update(f"{run.n_known} {run.step}".encode())
        return (int.from_bytes(digest.digest(), "big") >> 12) or 1
