"""Move beads by one model step: state -> state.

propagator = Propagator(load_model("copolymer-chain"), [mapping] * 10, seed=1)
state = propagator.start(positions)
for _ in range(1000):
    state = propagator.step(state)
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cgml import units
from cgml.calibration import Calibration
from cgml.contract.device import checked_device
from cgml.contract.state import State, at_rest, checked, counts
from cgml.contract.stepper import Forecast
from cgml.dynamics import extrapolation
from cgml.dynamics.guards import GUARDS, Guards
from cgml.dynamics.noise import Source, checked_seed, kick_deviation
from cgml.dynamics.watch import GuardPolicy, Watch
from cgml.models.ensemble import EnsembleWay, check_ensemble
from cgml.models.members import bind
from cgml.molecules.mapping import Mapping
from cgml.molecules.seen import Unseen, check_seen
from cgml.molecules.systems import Systems
from cgml.network.model import LearnedModel
from cgml.spec import FAST, Execution, Refinement

__all__ = ["EnsembleWay", "GuardPolicy", "Propagator", "State"]


class Propagator:
    """A model bound to the systems that it moves.

    Args:
        model: from `cgml.load_model`.
        mappings: one per replica; the same one may repeat.
        seed: seed of all noise.
        replica_ids: number of each replica in the random stream; by default 0, 1, ...
        box: row vectors, nm, (3, 3) for all replicas or (n_replicas, 3, 3); None for
            open boundaries.
        guard: what happens when a step of a replica leaves the range of the training
            data. "raise" a GuardError. "stop" the replica, which stays in its last
            good state (see `stopped`) while the others go on; what is rare, one draw
            and one more per 10,000 moves of its beads, is drawn anew. "redraw" the
            noise of each such step, up to 10 times, then stop the replica. "record"
            it in `guard_counts` and go on; only what is not finite stops the replica.
            A molecule whose `grades` say that the model extrapolates stops the replica
            before it moves, except under "record"; no draw can help. Where all
            replicas are stopped, a GuardError is raised. A published model does not
            say what its data looked like: there, positions need only be finite.
        refinement: sampler other than the model's own; not for published models.
        ensemble: how the members of a model that has several move the beads. "mixture":
            each replica is moved by one of them, number (seed + replica id) modulo
            their number. "average": all move each replica, by the mean of what they
            make of the same noise, at the cost of all.
        execution: how the networks are evaluated; by default the fast, exact way.
        unseen: "refuse" kinds of beads that the model has not seen, and warn of other
            sizes and densities; only "warn"; or "allow" all (molecules/seen.py).
        device: torch device.

    Attributes:
        systems: all replicas, side by side.
        guard_trips: of each replica: guard -> how many draws it refused.
        stopped: place of a stopped replica -> why; `start` forgets them.

    Raises:
        ValueError: A particle type or a kind of bead is unknown, the boundaries are
            not the model's, or a published model shall have another sampler.
    """

    def __init__(  # noqa: PLR0913 (every option has a name and a default)
        self,
        model: LearnedModel,
        mappings: Mapping | Sequence[Mapping],
        *,
        seed: int = 0,
        replica_ids: Sequence[int] | None = None,
        box: NDArray[np.float64] | None = None,
        guard: GuardPolicy = "raise",
        refinement: Refinement | None = None,
        ensemble: EnsembleWay = "mixture",
        execution: Execution = FAST,
        unseen: Unseen = "refuse",
        device: str = "cpu",
    ) -> None:
        self.model, self.spec = model, model.spec
        self.spec.check_boundaries(is_periodic=box is not None)
        self.mappings = [mappings] if isinstance(mappings, Mapping) else list(mappings)
        if not self.mappings:
            raise ValueError("at least one mapping is required, got none")
        self.replica_ids = list(
            range(len(self.mappings)) if replica_ids is None else replica_ids
        )
        if len(self.replica_ids) != len(self.mappings):
            raise ValueError(
                f"one replica id per mapping is required, got {len(self.replica_ids)} "
                f"for {len(self.mappings)}"
            )
        self._device = checked_device(device)
        self.systems = systems = Systems(self.mappings, self._device, box)
        self._noise = Source(
            seed, self.replica_ids, systems.sizes, systems.n_molecules, self._device
        )
        check_seen(self.spec, self.mappings, box, unseen)
        check_ensemble(ensemble)
        choose = self._members if ensemble == "mixture" else None
        self._stepper = bind(model, systems, refinement, execution, choose)
        self._kick_deviation = kick_deviation(self.spec, systems.molecule_masses)
        self.slices = systems.slices
        self.n_beads = self.slices[-1].stop
        guards = Guards(self.spec, systems, self.replica_ids)
        calibration = self.spec.calibrated
        grade = None if calibration is None else partial(self._grades, calibration)
        self._watch = Watch(guard, guards, systems, self._stepper.view, grade)
        self.guard_trips, self.stopped = self._watch.trips, self._watch.stopped

    @property
    def seed(self) -> int:
        """Seed of all noise; a restart may set that of its file."""
        return self._noise.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._noise.seed = checked_seed(seed)

    @property
    def guard_counts(self) -> dict[str, int]:
        """How often each guard tripped: `guard_trips` of all replicas."""
        return {name: sum(trips[name] for trips in self.guard_trips) for name in GUARDS}

    def start(
        self,
        positions: ArrayLike | torch.Tensor,
        *,
        displacements: ArrayLike | torch.Tensor | None = None,
        n_known: ArrayLike | torch.Tensor | None = None,
        step: ArrayLike | torch.Tensor = 0,
    ) -> State:
        """A state from one frame, or from true earlier displacements if there are.

        Args:
            positions: (n_beads, 3) nm, unwrapped; all replicas one after the other.
            displacements: (n_history, n_beads, 3) nm, newest first.
            n_known: (n_replicas,) number of true displacements; by default all of
                `displacements`, or 0.
            step: steps done, one number or (n_replicas,).

        Raises:
            ValueError: A shape does not match, or a number is not finite.
        """
        self.stopped.clear()
        n_replicas, n_history = len(self.mappings), self.spec.n_history
        known = 0 if displacements is None else n_history
        if displacements is None:
            displacements = np.zeros((n_history, self.n_beads, 3))
        return State(
            positions=self._checked(positions, (self.n_beads, 3), "positions"),
            displacements=self._checked(
                displacements, (n_history, self.n_beads, 3), "displacements"
            ),
            n_known=counts(
                known if n_known is None else n_known, n_replicas, "n_known", n_history
            ),
            step=counts(step, n_replicas, "step", 2**62),
        )

    def step(self, state: State) -> State:
        """Move all replicas by one model step, but those that are stopped.

        Args:
            state: not changed.

        Raises:
            GuardError: The step left the range of the training data; see `guard`.
        """
        return self._watch.step(state, partial(self._propose, state))

    def radius_of_gyration(self, state: State) -> NDArray[np.float64]:
        """Radius of gyration of all atoms, from the property head.

        Args:
            state: of any step.

        Returns:
            (n_molecules,) nm, replica after replica.

        Raises:
            ValueError: The model has no property head.
        """
        if not self.spec.has_property:
            raise ValueError(
                f"model {self.spec.name!r} has no property head: compute the radius "
                "of gyration from the beads"
            )
        radius = self._stepper.radius_of_gyration(state)
        return np.asarray(radius.double().cpu().numpy())

    def grades(self, positions: ArrayLike | torch.Tensor) -> NDArray[np.float64]:
        """Extrapolation grade of every molecule (dynamics/extrapolation.py).

        Molecules as in the training data have grades up to 1, the largest of the
        validation molecules of the training run.

        Args:
            positions: (n_beads, 3) nm, unwrapped; all replicas one after the other.

        Returns:
            (n_molecules,) without unit, replica after replica.

        Raises:
            ValueError: The model was not calibrated.
        """
        calibration = self.spec.calibrated
        if calibration is None:
            raise ValueError(
                f"model {self.spec.name!r} is not calibrated, it has no extrapolation "
                "grades: make one that is with cgml join"
            )
        here = self._checked(positions, (self.n_beads, 3), "positions")
        return np.asarray(self._grades(calibration, here).cpu().numpy())

    def forecasts(self, positions: torch.Tensor) -> list[Forecast]:
        """What each set of weights says of positions (n_beads, 3) nm at rest."""
        rest = at_rest(positions, self.spec.n_history, len(self.mappings))
        return self._stepper.forecasts(rest)

    def _grades(
        self, calibration: Calibration, positions: torch.Tensor
    ) -> torch.Tensor:
        found = self.forecasts(positions)
        return extrapolation.grades(calibration, found, self.systems)

    def mean_forces(
        self,
        positions: ArrayLike | torch.Tensor,
        *,
        n_pairs: int = 2,
        noise_scale: float = 1.0,
    ) -> NDArray[np.float64]:
        """Force of the equilibrium distribution of the beads, kT grad log p(x).

        The model knows transitions, p(x' | x). In equilibrium (Fisher's identity)

            grad log p(x') = < grad' log p(x' | x) > over x drawn from p(x | x'),

        and for a reversible dynamics p(x | x') is one step of the model from x'. The
        noise of these steps comes in pairs of opposite sign and depends on the seed
        alone: the forces are a function of the positions, and what is linear in the
        noise cancels.

        A published model gives the authors' score instead: that of its score network
        at these positions, told that the beads have been there at rest.

        Args:
            positions: (n_beads, 3) nm, unwrapped.
            n_pairs: pairs of steps to average over; of no use to published models.
            noise_scale: noise level of the score, as a multiple of the smallest one
                that the model samples at.

        Returns:
            (n_beads, 3) kJ/mol/nm. The centre of mass feels none where the model
            holds it out.

        Raises:
            ValueError: A number is out of range, or the model has no score network.
        """
        if n_pairs < 1:
            raise ValueError(f"n_pairs must be 1 or more, got {n_pairs}")
        if not 0.0 < noise_scale < float("inf"):
            raise ValueError(f"noise_scale must be positive, got {noise_scale:g}")
        here = self._checked(positions, (self.n_beads, 3), "positions")
        n_replicas = len(self.mappings)
        rest = at_rest(here, self.spec.n_history, n_replicas)
        pairs = (
            self._noise.draw(self._stepper.n_draws, rest.step, [n] * n_replicas).draws
            for n in range(n_pairs)
        )
        slope = self._stepper.mean_score(rest, pairs, noise_scale)
        energy = units.thermal_energy(self.spec.temperature)
        return np.asarray((energy * slope).cpu().numpy())

    def _members(self) -> list[int]:
        """Member of the model that moves each replica."""
        return [(self.seed + n) % self.spec.n_members for n in self.replica_ids]

    def _propose(self, state: State, attempt: Sequence[int]) -> State:
        systems, n_history = self.systems, self.spec.n_history
        draws, kicks = self._noise.draw(self._stepper.n_draws, state.step, attempt)
        displacement = self._stepper.displacement(state, draws)
        if self.spec.friction is not None:
            kick = (self._kick_deviation * kicks).index_select(0, systems.molecules)
            displacement = displacement + kick
        if self.spec.remove_drift:
            displacement = displacement - systems.system_drift(displacement)
        recent = torch.cat((displacement[None], state.displacements))[:n_history]
        return State(
            positions=state.positions + displacement,
            displacements=recent,
            n_known=(state.n_known + 1).clamp(max=n_history),
            step=state.step + 1,
        )

    def _checked(
        self, values: ArrayLike | torch.Tensor, shape: tuple[int, ...], name: str
    ) -> torch.Tensor:
        why = f"for {self.n_beads} beads in {len(self.mappings)} replicas"
        return checked(values, shape, name, why).to(self._device)
