"""What checkpoints carry: the run's history in variables of a CustomIntegrator.

OpenMM writes the variables of a CustomIntegrator to checkpoints and state files, and
reads them back. Global variables hold seed, step and a fingerprint; per-DOF variables
hold positions and displacements, each in three parts that single precision holds
exactly, so that every platform keeps every bit; among them, where atoms are carried,
their start. Reading them is slow (0.4 ms for 900
particles): a cache, valid while the fingerprint matches, stands before it.

A checkpoint of another integrator fills the same variables with whatever it has: they
count only under a seal, a number that follows from all the global ones.
"""

import hashlib
import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from cgml.dynamics.noise import checked_seed
from cgml.dynamics.passengers import Passengers, complete
from cgml.dynamics.propagator import State

UNMOVED = 1e-6
"""Part of the largest coordinate: particles closer than this to where the model left
them count as not moved by the user (single-precision platforms round there)."""

ARMED = "cgml_armed"
"""Global variable: C++ steps that Python has prepared."""

_SEED, _STEP, _KNOWN, _KEY = "cgml_seed", "cgml_step", "cgml_known", "cgml_key"
_SEALED, _SEAL = (_SEED, _STEP, _KNOWN, _KEY), "cgml_seal"
_LARGEST_SEED = 2**53 - 1  # a global variable is a double
_N_PARTS = 3  # single-precision numbers that hold a double


@dataclass(frozen=True)
class Run:
    """Where a run stands.

    Attributes:
        state: of the propagator, one replica.
        particles: positions, (n_particles, 3), nm.
        reference: of the start, see `Passengers.reference`, (n_atoms, 3), nm, or
            (0, 3) where the particles are the beads.
    """

    state: State
    particles: NDArray[np.float64]
    reference: NDArray[np.float64]

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

    def key(self, fingerprint: bytes, box: NDArray[np.float64] | None) -> int:
        """Return a fingerprint of the run below 2^52, not zero.

        Args:
            fingerprint: of model, weights and mapping.
            box: row vectors, (3, 3), nm; None for open boundaries.
        """
        digest = hashlib.blake2b(fingerprint, digest_size=8)
        if box is not None:
            digest.update(f"{(box.round(6) + 0.0).tolist()}".encode())
        arrays = (self.particles, self.beads, self.displacements, self.reference)
        for values in arrays:
            digest.update((values + 0.0).tobytes())  # -0.0 is 0.0
        digest.update(f"{self.n_known} {self.step}".encode())
        return (int.from_bytes(digest.digest(), "big") >> 12) or 1


class History:
    """The variables of one integrator.

    Args:
        integrator: gets the variables and a C++ step that makes all positions NaN
            unless it was armed.
        n_history: displacements the model uses.
        seed: of all noise, until a file or the user gives another.

    Attributes:
        n_rows: particles of the System, set before the first run.

    Raises:
        ValueError: the seed is out of range.
    """

    def __init__(
        self, integrator: openmm.CustomIntegrator, n_history: int, seed: int
    ) -> None:
        self._integrator: Any = integrator
        self._moves = [f"move{age}" for age in range(n_history)]
        self._cached: tuple[int, Run] | None = None  # with its key
        self.n_rows = 0  # particles of the System
        for name in (ARMED, *_SEALED, _SEAL):
            integrator.addGlobalVariable(name, 0.0)
        for name in ("particles", "beads", "start", *self._moves):
            for part in _part_names(name):
                integrator.addPerDofVariable(part, 0.0)
        integrator.beginIfBlock(f"{ARMED} < 1")
        # NaN; from the constant 0/0 OpenMM's parser would never return
        integrator.addComputePerDof("x", f"x + sqrt({ARMED} - 1)")
        integrator.endBlock()
        integrator.addComputeGlobal(ARMED, f"{ARMED} - 1")
        self._own_seed = _checked_seed(seed)
        self._write_counts(self._own_seed, 0, 0, 0)

    @property
    def seed(self) -> int:
        """Seed of all noise."""
        return self._counts()[0]

    @seed.setter
    def seed(self, seed: int) -> None:
        _, *others = self._counts()
        self._own_seed = _checked_seed(seed)
        self._write_counts(self._own_seed, *others)

    @property
    def step(self) -> int:
        """Steps done, which select the random numbers."""
        return self._counts()[1]

    def arm(self, n_steps: int) -> None:
        """Let the next C++ steps pass."""
        self._integrator.setGlobalVariableByName(ARMED, n_steps)

    def forget(self) -> None:
        """Drop the cache; the variables stay."""
        self._cached = None

    def end(self) -> None:
        """Let the next run start from its positions alone; seed and step stay."""
        seed, step, *_ = self._counts()
        self._write_counts(seed, step, 0, 0)
        self.forget()

    def check_loaded(
        self, particles: NDArray[np.float64], passengers: Callable[[], Passengers]
    ) -> None:
        """Refuse variables of ours, from a file, that do not fit each other.

        Args:
            particles: positions in the Context, (n_particles, 3), nm.
            passengers: returns those that they belong to.

        Raises:
            ValueError: the file is damaged.
        """
        values, is_sealed = self._read_sealed()
        places = self._read("particles")[: len(particles)]
        if is_sealed:
            is_run = values[-1] != 0
            is_damaged = is_run and not passengers().are_at(particles, places, UNMOVED)
        else:  # of another integrator, unless its variables are where ours would be
            same = np.isclose(particles, places, rtol=UNMOVED, atol=0.0)
            is_damaged = bool((same & (places != 0.0)).any())
        if is_damaged:
            raise ValueError(
                "the file that was loaded is damaged: its positions and the history "
                "of its run do not fit each other; load another one, or call "
                "setHistory([]) to start from these positions without history (also "
                "where they were set by hand before it was saved)"
            )

    def load(
        self, particles: NDArray[np.float64], passengers: Passengers
    ) -> Run | None:
        """Find the run that left the particles where they are.

        Args:
            particles: positions in the Context, (n_particles, 3), nm.
            passengers: that made the run.

        Returns:
            The run; None if there is none, as before the first step and after the
            user has moved the particles.

        Raises:
            ValueError: the variables were written for another model or mapping, or
                were damaged.
        """
        *_, key = self._counts()
        if key == 0:
            return None
        is_loaded = self._cached is None or self._cached[0] != key
        if self._cached is None or is_loaded:
            self._cached = (key, self._restore(key, passengers))
        run = self._cached[1]
        if passengers.are_at(particles, run.particles, UNMOVED):
            return run
        if is_loaded:
            warnings.warn(
                "the positions in the Context are not those that the run in its "
                f"variables had after step {run.step}: set by hand, or the file is "
                "damaged; the run starts from them without history",
                stacklevel=3,
            )
        return None

    def store(self, run: Run, passengers: Passengers) -> None:
        """Write the variables and the cache."""
        self._write("particles", run.particles)
        if not passengers.is_of_beads:
            self._write("beads", run.beads)
            self._write("start", run.reference)
        for name, values in zip(self._moves, run.displacements, strict=True):
            self._write(name, values)
        key = run.key(passengers.fingerprint, passengers.box)
        self._write_counts(self.seed, run.step, run.n_known, key)
        self._cached = (key, run)

    def _restore(self, key: int, passengers: Passengers) -> Run:
        """Read the run from the variables."""
        _, step, n_known, _ = self._counts()
        n_beads = passengers.mapping.n_beads
        particles = self._read("particles")[: passengers.n_particles]
        beads = particles if passengers.is_of_beads else self._read("beads")[:n_beads]
        moves = [self._read(name)[:n_beads] for name in self._moves]
        state = passengers.propagator.start(
            beads,
            displacements=np.array(moves).reshape(len(moves), n_beads, 3),
            n_known=n_known,
            step=step,
        )
        n_atoms = 0 if passengers.is_of_beads else len(particles)
        run = Run(state, particles, self._read("start")[:n_atoms])
        boxes = (passengers.box, None)  # None: of a version that left it out
        if key not in {run.key(passengers.fingerprint, box) for box in boxes}:
            raise ValueError(
                "the history in the Context was written for another model or mapping "
                f"than {passengers.propagator.spec.name!r} with these weights, this "
                "topology and box, or its file is damaged: load a checkpoint of this "
                "one, or call setHistory([]) to start anew"
            )
        return run

    def _read(self, name: str) -> NDArray[np.float64]:
        """Read an array from its parts, (n_particles, 3)."""
        parts = [
            self._integrator.getPerDofVariableByName(part) for part in _part_names(name)
        ]
        return np.asarray(np.array(parts, dtype=np.float64).sum(axis=0))

    def _write(self, name: str, values: NDArray[np.float64]) -> None:
        """Write an array, at most (n_rows, 3), in parts of single precision."""
        rest = np.zeros((self.n_rows, 3))
        rest[: len(values)] = values
        for part in _part_names(name):
            rounded = rest.astype(np.float32).astype(np.float64)
            self._integrator.setPerDofVariableByName(part, rounded)
            rest -= rounded

    def _counts(self) -> tuple[int, int, int, int]:
        """Read seed, step, n_known and key; where the seal is broken, start anew."""
        values, is_sealed = self._read_sealed()
        if not is_sealed:
            warnings.warn(
                "the Context's integrator variables are not those of a "
                "LearnedCGIntegrator of this version: they come from another "
                f"integrator, or a damaged file; the seed {self._own_seed} stays in "
                "force, and the run starts from the positions without history",
                stacklevel=4,
            )
            values = [self._own_seed, 0, 0, 0]
            self._write_counts(*values)
            self._cached = None
        seed, step, n_known, key = map(int, values)
        return seed, step, n_known, key

    def _read_sealed(self) -> tuple[list[Any], bool]:
        """Read seed, step, n_known and key, and whether the seal is theirs."""
        read = self._integrator.getGlobalVariableByName
        values = [read(name) for name in _SEALED]
        return values, read(_SEAL) == _seal(values)

    def _write_counts(self, *values: int) -> None:
        """Write seed, step, n_known and key under a seal."""
        pairs = [*zip(_SEALED, values, strict=True), (_SEAL, _seal(values))]

        def write() -> None:
            for name, value in pairs:
                self._integrator.setGlobalVariableByName(name, value)

        complete(write)


def _seal(values: Sequence[float]) -> float:
    """Number below 2^52 that follows from all global variables."""
    content = struct.pack(f"<{len(values)}d", *values)
    digest = hashlib.blake2b(content, digest_size=8, person=b"cgml run")
    return float((int.from_bytes(digest.digest(), "big") >> 12) or 1)


def _checked_seed(seed: int) -> int:
    """Refuse a seed that a global variable, a double, cannot hold."""
    if not 0 <= checked_seed(seed) <= _LARGEST_SEED:
        raise ValueError(f"seed must be 0 to {_LARGEST_SEED}, got {seed}")
    return seed


def _part_names(name: str) -> list[str]:
    """Name the variables that together hold an array."""
    return [f"cgml_{name}_{part}" for part in range(_N_PARTS)]
