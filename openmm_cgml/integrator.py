"""A learned propagator in the place of an OpenMM integrator."""

import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from cgml.dynamics.passengers import Passengers, complete
from cgml.dynamics.propagator import EnsembleWay, GuardPolicy, Propagator
from cgml.models.file import load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.seen import Unseen
from cgml.network.model import LearnedModel
from cgml.spec import FAST, Execution
from cgml.units import thermal_energy
from openmm_cgml import checks, convert
from openmm_cgml.boarding import Boarding
from openmm_cgml.contexts import watch_contexts
from openmm_cgml.history import History, Run
from openmm_cgml.systems import degrees_of_freedom, outline


class LearnedCGIntegrator(openmm.CustomIntegrator):  # type: ignore[misc]
    """Moves a System's particles by a learned propagator instead of its forces.

    Use it as any integrator. The particles are the atoms, carried with their beads, or
    the beads themselves; their number decides. The forces of the System do not act;
    the energies that reporters print are theirs, and of carried atoms they mean
    nothing. Forces that bias, and barostats, would be lost: they are refused.

    - One step is one step of the model (`getStepSize`), thousands of MD steps long.
    - A periodic box is fixed after the first step. Positions stay unwrapped; ask for
      `enforcePeriodicBox` to have them wrapped.
    - `context.setPositions` is a new start: the history of displacements is forgotten;
      `setHistory` gives a true one. To set the positions that are already there
      (within `UNMOVED`, and whole box vectors aside) changes nothing. Random numbers go
      on where they were.
    - Checkpoints and state files hold history, seed and step: a restart continues bit
      by bit, in a new process too, with the seed of the file. Those of another
      integrator are a start without history; a warning says so, the seed stays.
    - Velocities are displacement of the bead / time step; those set are not used.
      `computeSystemTemperature` is the model's temperature, not a measured one, and
      kinetic energies are those of it, kT/2 for each degree of freedom.
    - Atoms turn with the beads around theirs; bonds, angles and handedness of chains
      are those of the positions that were set, between beads, too. A molecule of one
      bead (rigid water) is moved as it is and turns at random, as fast as the model
      states of its kind; where it states nothing, not at all.
    - Constraints are met in every frame. One that joins two beads gives way where
      these are too far apart or too close for it; the log says how many.
    - Virtual sites are computed. Other particles without mass and element stay where
      they are.
    - A copy through XML is no longer this class. It refuses a Context where this
      package is in use, and turns all positions to NaN where it is not.

    Args:
        model: path of a model file, name of a bundled model, or a loaded model.
        topology: atoms and bonds (openmm.app.Topology or MolecularGraph), or the
            Mapping itself; None: read from the System's bonded forces and masses,
            where they determine the particle types. United atoms of a Topology, which
            are carbon by their element, have the System's masses. Hands that a chiral
            model needs are those of the first positions, unless a Mapping has them.
        seed: seed of all noise, 0 to 2^53 - 1.
        device: torch device of the model.
        guard: when a step leaves the range of the training data: "raise" (the Context
            stays at the last good step; "stop" is the same here), "redraw" or
            "record".
        time_step: only checked: Quantity, or ps.
        ensemble: of a model with members: "mixture" or "average" (see Propagator).
        execution: how the networks are evaluated; by default the fast, exact way.
        unseen: "refuse" kinds of beads that the model has not seen, only "warn", or
            "allow" all (see Propagator).
        ignore: classes or names of forces of the System that may be lost although they
            bias or keep a pressure, as ["MonteCarloBarostat"]; the log says so.

    Raises:
        ValueError: the time step is not the model's, a particle type is unknown, there
            are no bonds, or the seed is out of range.
    """

    def __init__(  # noqa: PLR0913 (every option has a name and a default)
        self,
        model: str | Path | LearnedModel,
        *,
        topology: app.Topology | MolecularGraph | Mapping | None = None,
        seed: int = 0,
        device: str = "cpu",
        guard: GuardPolicy = "raise",
        time_step: Any = None,
        ensemble: EnsembleWay = "mixture",
        execution: Execution = FAST,
        unseen: Unseen = "refuse",
        ignore: Sequence[str] = (),
    ) -> None:
        if not isinstance(model, LearnedModel):
            model = load_model(model, device)
        if time_step is not None:
            model.spec.check_time_step(convert.in_picoseconds(time_step))
        super().__init__(model.spec.time_step)
        self._model = model
        ways: Any = {"ensemble": ensemble, "execution": execution, "unseen": unseen}
        policy: Any = "raise" if guard == "stop" else guard
        bind: Any = partial(Propagator, model, guard=policy, device=device, **ways)
        self._boarding = Boarding(model.spec, topology, ignore, bind)
        self._context: weakref.ref[openmm.Context] | None = None
        self._passengers: Passengers | None = None
        self._made_for = ""  # outline of their System and box
        self._box: NDArray[np.float64] | None = None  # theirs
        self._moved_in: NDArray[np.float64] | None = None  # box of the steps done
        self._history = History(self, model.spec.n_history, seed)
        watch_contexts(LearnedCGIntegrator)

    def step(self, steps: int) -> None:
        """Advance the simulation.

        Args:
            steps: number of model steps.

        Raises:
            RuntimeError: there is no Context.
            GuardError: a step left the range of the training data; what was done
                before it stays.
            ValueError: positions are not set or not finite, the System was changed to
                one that cannot be moved, or a checkpoint of another model was loaded.
        """
        context = self._require_context()
        passengers = self._ready(context)
        particles = convert.positions_of(context)[self._boarding.atoms]
        run = self._history.load(particles, passengers)
        if run is None:
            checks.check_start(particles)
            state = passengers.start(particles, step=self._history.step)
            start = passengers.reference(particles, self._history.step)
            run = Run(state, particles, start)
        state = before = run.state
        try:
            for _ in range(steps):
                state, before = passengers.propagator.step(state), state
        finally:
            n_done = int(state.step) - run.step
            if n_done > 0:
                places = passengers.place(state, run.reference)
                run = Run(state, places, run.reference)
                moves = passengers.moves(before, state)
                last = context.getStepCount() + n_done
                complete(lambda: self._leave(context, run, moves, last))

    def _leave(
        self,
        context: openmm.Context,
        run: Run,
        moves: NDArray[np.float64],
        last: int,
    ) -> None:
        """Leave the Context where a run stands, after `last` steps of its count."""
        passengers = self._ready(context)
        every = convert.positions_of(context)  # with what has no mass
        every[self._boarding.atoms] = run.particles
        context.setPositions(every)
        context.computeVirtualSites()
        every = np.zeros_like(every)
        every[self._boarding.atoms] = moves / self._model.spec.time_step
        context.setVelocities(every)
        self._history.store(run, passengers)
        self._moved_in = self._box
        n_left = last - context.getStepCount()
        self._history.arm(n_left)
        super().step(n_left)

    def setHistory(self, earlier: Any) -> None:  # noqa: N802
        """Give true earlier frames, so that a run need not start from one alone.

        Call it after `context.setPositions`. Empty: forget the history.

        Args:
            earlier: positions of the particles before the present ones, one model
                step apart, oldest first, unwrapped: (n_frames, n_particles, 3),
                Quantity or nm. More than the model uses are fine.

        Raises:
            RuntimeError: there is no Context.
            ValueError: another shape, or a position that is not finite.
        """
        context = self._require_context()
        passengers = self._ready(context)
        particles = convert.positions_of(context)
        frames = convert.in_nanometers(earlier)
        if frames.ndim == 3 and frames.shape[1] == len(particles):
            frames = frames[:, self._boarding.atoms]
        particles = particles[self._boarding.atoms]
        state = passengers.start(particles, step=self._history.step, earlier=frames)
        start = passengers.reference(particles, self._history.step)
        run = Run(state, particles, start)
        complete(lambda: self._history.store(run, passengers))

    def computeSystemTemperature(self) -> unit.Quantity:  # noqa: N802
        """Return the model's temperature; a model step has no measurable one."""
        return self._model.spec.temperature * unit.kelvin

    def getTemperature(self) -> unit.Quantity:  # noqa: N802
        """Return the model's temperature."""
        return self.computeSystemTemperature()

    def setTemperature(self, temperature: Any) -> None:  # noqa: N802
        """Refuse any temperature, Quantity or K, but the model's."""
        convert.check_temperature(self._model.spec, temperature)

    def getMapping(self) -> Mapping:  # noqa: N802
        """Return which bead each atom belongs to.

        Raises:
            RuntimeError: it is to be read from the System, and there is no Context.
        """
        known = self._boarding
        if known.mapping is not None and not known.lacks_hands:
            return known.mapping
        passengers = self._ready(self._require_context())
        return passengers.mapping if known.mapping is None else known.mapping

    def getGuardCounts(self) -> dict[str, int]:  # noqa: N802
        """Return how often each guard tripped since the Context was made."""
        context = self._require_context()
        return dict(self._ready(context).propagator.guard_counts)

    def getRandomNumberSeed(self) -> int:  # noqa: N802
        """Return the seed; after a restart, that of the file."""
        return self._history.seed

    def setRandomNumberSeed(self, seed: int) -> None:  # noqa: N802
        """Set the seed. Zero is a seed like any other.

        Raises:
            ValueError: the seed is out of range.
        """
        self._history.seed = seed

    def setStepSize(self, size: Any) -> None:  # noqa: N802
        """Refuse any time step but the model's.

        Args:
            size: Quantity, or ps.

        Raises:
            ValueError: the time step is not the model's.
        """
        self._model.spec.check_time_step(convert.in_picoseconds(size))

    def __copy__(self) -> NoReturn:
        raise TypeError(
            "a LearnedCGIntegrator cannot be copied or pickled: build another with the "
            "same arguments"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        self.__copy__()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self.__copy__()

    def _prepare(self, system: openmm.System) -> None:
        """Check the System of a Context that is about to be made."""
        if self._context is not None:
            raise ValueError(
                "this LearnedCGIntegrator already belongs to a Context: build another "
                "integrator for the second"
            )
        self._check(system)

    def _renew(self, system: openmm.System, *, is_kept: bool) -> None:
        """Check a System anew, whatever it was; a refused one cannot be moved."""
        self._made_for = ""
        self._check(system)
        if not is_kept:
            self._history.end()

    def _check(self, system: openmm.System) -> None:
        """Check a System, and take over its degrees of freedom."""
        self._build(system, convert.default_box(system), np.zeros(0))
        share = degrees_of_freedom(system) / (3 * len(self._boarding.atoms))
        energy = 0.5 * thermal_energy(self._model.spec.temperature) * share
        self.setKineticEnergyExpression(f"{energy!r}")  # of a coordinate of a particle

    def _bind(self, context: openmm.Context) -> None:
        """Remember the Context that was made."""
        self._context = weakref.ref(context)

    def _reload(self) -> None:
        """Read all variables anew: they were filled from a file."""
        self._history.forget()

    def _check_loaded(self) -> None:
        """Refuse a file that was damaged."""
        context = self._require_context()
        positions = convert.positions_of(context)[self._boarding.atoms]
        self._history.check_loaded(positions, lambda: self._ready(context))

    def _require_context(self) -> openmm.Context:
        """Return the Context, or say that there is none."""
        context = None if self._context is None else self._context()
        if context is None:
            raise RuntimeError(
                "this LearnedCGIntegrator drives no Context: make a Simulation or a "
                "Context with it first, not a CompoundIntegrator or a copy"
            )
        return context

    def _ready(self, context: openmm.Context) -> Passengers:
        """Return the particles for the System, box and seed as they are now."""
        system = context.getSystem()
        boarding, passengers = self._boarding, self._passengers
        vectors = convert.periodic_box(context)
        box = vectors if boarding.is_periodic else None
        if self._moved_in is not None and box is not None:
            checks.check_box(self._moved_in, box)
        places = convert.positions_of(context) if boarding.lacks_hands else np.zeros(0)
        is_other = places.any() or self._made_for != outline(system, box)
        if passengers is None or is_other:
            passengers = self._build(system, vectors, places)
        passengers.propagator.seed = self._history.seed
        return passengers

    def _build(
        self,
        system: openmm.System,
        box: NDArray[np.float64],
        places: NDArray[np.float64],
    ) -> Passengers:
        """Check a System and take its particles on board, see `Boarding`."""
        passengers = self._boarding.board(system, box, places, self._history.seed)
        self._history.n_rows = system.getNumParticles()
        self._history.forget()
        self._passengers, self._box = passengers, passengers.box
        self._made_for = outline(system, passengers.box)
        return passengers
