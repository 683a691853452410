"""The learned propagator as an ASE molecular dynamics object.

The state of a run lives in the Atoms: `atoms.info["cgml"]` is a dictionary of

=============  ==============================================================
time_step      time of one step, ps
seed           seed of the random stream
step           steps done; with the seed it says which random numbers come next
n_known        how many of the displacements are true (0 at a start from one frame)
positions      beads, (n_beads, 3), nm, exact (Å and back may cost the last bit)
displacements  earlier displacements of the beads, (n_history, n_beads, 3), nm,
               newest first
mapping        atoms -> beads, with types, masses and bonds (see `unpack_mapping`)
system         Mapping.hash() of it
frame          sha256 of the atoms.positions that belong to all this
=============  ==============================================================

Each step reads it and writes it, and a .traj file keeps it, so to continue from a
file is the same as to continue in memory, to the last bit. Formats that round
positions (extended XYZ) cannot restart a run. Positions that are not those of
`frame` were set by hand: a new start, with no history, under the same seed and step
count. To start from step 0, delete `atoms.info["cgml"]`.
"""

# mypy: allow-untyped-calls

import base64
import hashlib
import logging
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics
from numpy.typing import ArrayLike, NDArray

from ase_cgml.convert import NM, PS, box_from_atoms
from cgml.dynamics.passengers import Passengers
from cgml.dynamics.propagator import Propagator, State
from cgml.molecules.mapping import Mapping

KEY = "cgml"
"""Key of the state in atoms.info."""

LOGGER = logging.getLogger(__name__)


class LearnedCGMD(MolecularDynamics):
    """Molecular dynamics whose step is one call of a learned propagator.

    Usually made by `CGMLDynamics.dynamics`. After each step, atoms.positions are the
    new positions (unwrapped) and the velocities are displacement / time step: the
    drift of the beads over one long step, not thermal velocities, so kinetic energy
    and temperature from them mean nothing (todict() has the model's temperature).

    Args:
        atoms: the beads of the propagator's mapping, or its atoms, each of which is
            then carried along with its bead.
        propagator: for one replica.
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

    def __init__(
        self,
        atoms: Atoms,
        propagator: Propagator,
        *,
        timestep: float | None = None,
        trajectory: Any = None,
        logfile: IO[str] | str | Path | None = None,
        loginterval: int = 1,
        append_trajectory: bool = False,
    ) -> None:
        self.propagator = propagator
        self.mapping = propagator.mappings[0]
        spec = propagator.spec
        if timestep is not None:
            spec.check_time_step(timestep / PS)
        self._system = {
            "mapping": pack_mapping(self.mapping),
            "system": self.mapping.hash(),
        }
        self._box = box_from_atoms(atoms, spec)
        self._passengers = Passengers(propagator, len(atoms), self._box)
        self.atoms = atoms
        state = self._state()
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
        self.nsteps = int(self._state().step[0])
        self.max_steps = self.nsteps + steps
        if self.nsteps == 0:
            self.call_observers()
        yield self.nsteps == self.max_steps
        while self.nsteps < self.max_steps:
            self.step()
            self.nsteps += 1
            self.call_observers()
            yield self.nsteps == self.max_steps

    def step(self) -> None:
        """Move the atoms by one step of the model."""
        state, self.atoms.positions, moves = self._passengers.advance(
            self.atoms.positions, self._state(), NM
        )
        self.atoms.set_velocities(moves / self.dt)
        self._keep(state)

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
        step = int(self._state().step[0])
        self._keep(self._start(step, np.asarray(frames, dtype=np.float64) / NM))

    def _start(self, step: int = 0, earlier: NDArray[Any] | None = None) -> State:
        """Begin at the present positions; earlier frames in nm."""
        here = self.atoms.positions / NM
        return self._passengers.start(here, step=step, earlier=earlier)

    def _state(self) -> State:
        """Read the state off the atoms; positions set by hand are a new start."""
        self._check_fixed()
        record = self.atoms.info.get(KEY)
        if record is None:
            state = self._start()
        else:
            self._check_record(record)
            if record["frame"] == fingerprint(self.atoms):
                return self.propagator.start(
                    record["positions"],
                    displacements=record["displacements"],
                    n_known=np.array([record["n_known"]]),
                    step=record["step"],
                )
            LOGGER.info(
                "positions were set by hand: new start without history at step %d",
                record["step"],
            )
            state = self._start(record["step"])
        self._keep(state)
        return state

    def _keep(self, state: State) -> None:
        """Write the state into the atoms."""
        self.atoms.info[KEY] = {
            "time_step": self.propagator.spec.time_step,
            "seed": self.propagator.seed,
            "step": int(state.step[0]),
            "n_known": int(state.n_known[0]),
            "positions": _array(state.positions),
            "displacements": _array(state.displacements),
            **self._system,
            "frame": fingerprint(self.atoms),
        }

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

    def _check_record(self, record: dict[str, Any]) -> None:
        """Refuse a state that another model or another system has left."""
        time_step = self.propagator.spec.time_step
        shape = (self.propagator.spec.n_history, self.mapping.n_beads, 3)
        found = np.shape(record["displacements"])
        if record["time_step"] != time_step or found != shape:
            raise ValueError(
                f"the model has a time step of {time_step:g} ps and a history of "
                f"shape {shape}, atoms.info[{KEY!r}] is a state with "
                f"{record['time_step']:g} ps and {found}: delete it for a new start"
            )
        if record["system"] != self._system["system"]:
            raise ValueError(
                f"atoms.info[{KEY!r}] is the state of a system with other types, "
                "bonds or beads: delete it for a new start, or use the same topology"
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


def fingerprint(atoms: Atoms) -> str:
    """Return the sha256 of the positions, every bit of them."""
    return hashlib.sha256(atoms.positions.tobytes()).hexdigest()


def pack_mapping(mapping: Mapping) -> str:
    """Write a mapping as short text (base64 of compressed JSON)."""
    return base64.b64encode(zlib.compress(mapping.to_json().encode())).decode()


def unpack_mapping(text: str) -> Mapping:
    """Read what `pack_mapping` wrote."""
    return Mapping.from_json(
        zlib.decompress(base64.b64decode(text)).decode(), f"atoms.info[{KEY!r}]"
    )


def _array(tensor: Any) -> NDArray[np.float64]:
    """Copy a tensor to the host."""
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float64)
