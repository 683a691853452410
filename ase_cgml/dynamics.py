"""The learned propagator as an ASE molecular dynamics object.

The state of a run lives in the Atoms, in `atoms.info["cgml"]` (record.py): to continue
from a .traj file is the same as to continue in memory, to the last bit. Other formats
lose it: of extended XYZ, which keeps the places of atoms, that is said; of .json and
databases it cannot be known. Positions that are not those of the
state, whole box vectors aside, were set by hand: a new start, with no history, under
the same seed and step count; so is another cell, in a new dynamics (this one has a
fixed cell). To start from step 0, delete `atoms.info["cgml"]`.
"""

# mypy: allow-untyped-calls

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics
from numpy.typing import ArrayLike, NDArray

from ase_cgml import record
from ase_cgml.beads import check_beads
from ase_cgml.convert import INDEX, NM, PS, box_from_atoms
from cgml.dynamics.passengers import Passengers, complete
from cgml.dynamics.propagator import Propagator, State
from cgml.molecules.mapping import Mapping

LOGGER = logging.getLogger(__name__)


class LearnedCGMD(MolecularDynamics):
    """Molecular dynamics whose step is one call of a learned propagator.

    Usually made by `CGMLDynamics.dynamics`. After each step, atoms.positions are the
    new positions (unwrapped) and the velocities are displacement / time step: the
    drift of the beads over one long step, not thermal velocities, so kinetic energy
    and temperature from them mean nothing (todict() has the model's temperature).
    Units are those of ASE: positions Å, times and velocities in its own (ase.units.fs).

    Args:
        atoms: the beads of the propagator's mapping, or its atoms, which are then
            carried with their beads.
        propagator: for one replica.
        mapping: atoms -> beads, where the model knows united atoms and these are all
            (see `known_mapping`); None: that of the propagator.
        timestep: ASE time; only to be checked against the model's.
        trajectory: .traj file, or an open Trajectory.
        logfile: path (appended to), open file, or "-" for standard output.
        loginterval: steps between frames and between log lines.
        append_trajectory: continue the .traj file; else, as in ASE, it is replaced.

    Raises:
        ValueError: the time step is not the model's; the atoms have constraints,
            a count that matches neither atoms nor beads, positions that are not
            finite, or a state that belongs to something else.
    """

    def __init__(  # noqa: PLR0913 (every option has a name and a default)
        self,
        atoms: Atoms,
        propagator: Propagator,
        *,
        mapping: Mapping | None = None,
        timestep: float | None = None,
        trajectory: Any = None,
        logfile: IO[str] | str | Path | None = None,
        loginterval: int = 1,
        append_trajectory: bool = False,
    ) -> None:
        self.propagator = propagator
        self.mapping = propagator.mappings[0] if mapping is None else mapping
        spec = propagator.spec
        if timestep is not None:
            spec.check_time_step(timestep / PS)
        self._box = box_from_atoms(atoms, spec)
        self._passengers = Passengers(
            propagator, len(atoms), self._box, mapping=self.mapping
        )
        if self._passengers.is_of_beads:
            check_beads(atoms, self.mapping)
        self.atoms = atoms
        state, *_ = self._now()
        super().__init__(
            atoms,
            spec.time_step * PS,
            trajectory=trajectory,
            loginterval=loginterval,
            append_trajectory=append_trajectory,
        )
        self.nsteps = int(state.step[0])
        if logfile is not None:
            self.attach(_Log(self, logfile), loginterval)

    def todict(self) -> dict[str, Any]:
        """Describe the run, for the header of a .traj file."""
        spec = self.propagator.spec
        return {
            **super().todict(),
            "model": spec.name,
            "time_step_ps": spec.time_step,
            "temperature_K": spec.temperature,
            "seed": self.propagator.seed,
        }

    def irun(self, steps: int = 50) -> Iterator[bool]:
        """Run as a generator, step by step.

        Args:
            steps: number of steps; observers are also called before the very
                first step of a run.

        Yields:
            Whether all steps are done.

        Raises:
            GuardError: a step left what the training data allow; the atoms still
                are in the state before it.
        """
        self.nsteps = int(self._now()[0].step[0])
        self.max_steps = self.nsteps + steps
        if self.nsteps == 0:
            self.call_observers()
        yield self.nsteps == self.max_steps
        while self.nsteps < self.max_steps:
            self.step()
            self.call_observers()
            yield self.nsteps == self.max_steps

    def step(self) -> None:
        """Move the atoms by one step of the model."""
        passengers = self._passengers
        before, _, reference = self._now()
        state = self.propagator.step(before)
        particles = passengers.place(state, reference) * NM
        moves = passengers.moves(before, state) * NM
        left = record.make(particles, passengers, state, reference)

        def leave() -> None:
            self.atoms.positions = particles
            self.atoms.set_velocities(moves / self.dt)
            record.write(self.atoms, left)
            self.nsteps = left["step"]

        complete(leave)

    def set_history(self, frames: ArrayLike) -> None:
        """Give true earlier frames, so that a run need not start from one alone.

        Args:
            frames: positions before the present ones, (n_frames, n_atoms, 3), Å,
                unwrapped, one model step apart, oldest first; of atoms or of beads
                as in atoms. What the model cannot use (more than its n_history) is
                left out.

        Raises:
            ValueError: the shape does not match, or positions are not finite.
        """
        state, particles, _ = self._now()
        earlier = np.asarray(frames, dtype=np.float64) / NM
        state = self._passengers.start(
            particles / NM, step=int(state.step[0]), earlier=earlier
        )
        reference = self._passengers.reference(particles / NM, int(state.step[0]))
        left = record.make(particles, self._passengers, state, reference)

        def leave() -> None:
            self.atoms.positions = particles
            record.write(self.atoms, left)

        complete(leave)

    def _now(self) -> tuple[State, NDArray[np.float64], NDArray[np.float64]]:
        """Read the state off the atoms; positions or a cell set by hand: a new start.

        Returns:
            The state, the positions that belong to it, unwrapped, (n_particles, 3),
            Å, and the reference of the start.
        """
        self._check_fixed()
        atoms, passengers = self.atoms, self._passengers
        kept, step = record.read(atoms, passengers), 0
        if kept is not None:
            is_unmoved = record.is_unmoved(atoms, kept, passengers)
            change = record.change_of_box(kept, passengers)
            if is_unmoved and not change:
                places, reference = (
                    np.array(kept[key]) for key in ("particles", "reference")
                )
                return record.state_of(kept, passengers), places, reference
            step = kept["step"]
            if change:
                LOGGER.warning(
                    "the cell was changed after the run in atoms.info[%r], %s: new "
                    "start without history at step %d",
                    *(record.KEY, change, step),
                )
            else:
                LOGGER.info(
                    "positions were set by hand: new start without history at step %d",
                    step,
                )
        elif INDEX in atoms.arrays and atoms.get_momenta().any():
            LOGGER.warning(
                "atoms that were moved have no atoms.info[%r], which .traj files keep "
                "and extended XYZ does not: new start without history at step 0",
                record.KEY,
            )
        state = passengers.start(atoms.positions / NM, step=step)
        reference = passengers.reference(atoms.positions / NM, step)
        left = record.make(atoms.positions, passengers, state, reference)
        complete(lambda: record.write(atoms, left))
        return state, atoms.positions.copy(), reference

    def _check_fixed(self) -> None:
        """Refuse constraints and a box that is not that of the propagator."""
        if self.atoms.constraints:
            raise ValueError(
                "a learned step cannot obey constraints, got "
                f"{self.atoms.constraints[0]!r}: remove them with "
                "atoms.set_constraint()"
            )
        box = box_from_atoms(self.atoms, self.propagator.spec)
        if box is None or self._box is None or np.array_equal(box, self._box):
            return
        raise ValueError(
            f"a fixed cell is required, it was {self._box.tolist()} nm and is "
            f"{box.tolist()} nm: make a new dynamics for the new cell"
        )


class _Log:
    """One line each loginterval: time, step, mean move of an atom, guards, speed."""

    HEADER = f"{'Time[ps]':>12} {'Step':>10} {'Move[Å]':>9} {'Guards':>7} {'ns/day':>9}"

    def __init__(self, dynamics: LearnedCGMD, target: IO[str] | str | Path) -> None:
        self._dynamics = dynamics
        self._target = sys.stdout if target == "-" else target
        self._start = (dynamics.nsteps, time.perf_counter())
        self._write(self.HEADER)

    def __call__(self) -> None:
        """Write the line of the present step."""
        run = self._dynamics
        first, begun = self._start
        seconds = time.perf_counter() - begun
        picoseconds = (run.nsteps - first) * run.propagator.spec.time_step
        speed = picoseconds / 1000.0 / seconds * 86_400.0
        moves = run.atoms.get_velocities() * run.dt  # (n_atoms, 3), Å
        move = float(np.sqrt((moves**2).sum(axis=1).mean()))
        trips = sum(run.propagator.guard_counts.values())
        self._write(
            f"{run.get_time() / PS:12.3f} {run.nsteps:10d} {move:9.4f} {trips:7d} "
            f"{speed:9.3g}"
        )

    def _write(self, line: str) -> None:
        """Append a line; a file is closed again, so that a kill loses nothing."""
        if isinstance(self._target, str | Path):
            with Path(self._target).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        else:
            self._target.write(line + "\n")
