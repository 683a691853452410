"""Move beads by one model step: state -> state.

propagator = Propagator(load_model("copolymer-chain"), [mapping] * 10, seed=1)
state = propagator.start(positions)
for _ in range(1000):
    state = propagator.step(state)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cgml import units
from cgml.dynamics import noise
from cgml.dynamics.guards import GUARDS, GuardError, Guards
from cgml.models.kinds import bind
from cgml.molecules.mapping import Mapping
from cgml.molecules.systems import Systems
from cgml.network.model import LearnedModel
from cgml.published.spec import PublishedSpec
from cgml.spec import FAST, Execution, ModelSpec, Refinement

GuardPolicy = Literal["raise", "redraw", "record"]
MAX_REDRAWS = 10


@dataclass(frozen=True)
class State:
    """Everything a run needs to go on.

    Attributes:
        positions: (n_beads, 3) float64 nm, unwrapped; all replicas one after the
            other.
        displacements: (n_history, n_beads, 3) float64 nm, newest first; zero where
            not known.
        n_known: (n_replicas,) int64 number of true displacements.
        step: (n_replicas,) int64 steps done; selects the random numbers.
    """

    positions: torch.Tensor
    displacements: torch.Tensor
    n_known: torch.Tensor
    step: torch.Tensor


class Propagator:
    """A model bound to the systems that it moves.

    Args:
        model: from `cgml.load_model`.
        mappings: one per replica; the same one may repeat.
        seed: seed of all noise.
        replica_ids: number of each replica in the random stream; by default 0, 1, ...
        box: row vectors, nm, (3, 3) for all replicas or (n_replicas, 3, 3); None for
            open boundaries.
        guard: what happens when a step leaves the range of the training data:
            "raise" a GuardError, "redraw" the step's noise (up to 10 times, then
            raise), or only "record" it in `guard_counts`. A published model does not
            say what its data looked like: there, positions need only be finite.
        refinement: sampler other than the model's own; not for published models.
        execution: how the networks are evaluated; by default the fast, exact way.
        device: torch device.

    Raises:
        ValueError: A particle type is unknown, the boundaries are not the model's, or
            a published model shall have another sampler.
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
        execution: Execution = FAST,
        device: str = "cpu",
    ) -> None:
        self.spec = model.spec
        self.spec.check_boundaries(is_periodic=box is not None)
        self.mappings = [mappings] if isinstance(mappings, Mapping) else list(mappings)
        if not self.mappings:
            raise ValueError("at least one mapping is required, got none")
        if guard not in ("raise", "redraw", "record"):
            raise ValueError(
                f"guard must be 'raise', 'redraw' or 'record', got {guard!r}"
            )
        noise.generator(seed, 0, 0)  # refuses a seed out of range
        self.seed = seed
        self.replica_ids = list(
            range(len(self.mappings)) if replica_ids is None else replica_ids
        )
        if len(self.replica_ids) != len(self.mappings):
            raise ValueError(
                f"one replica id per mapping is required, got {len(self.replica_ids)} "
                f"for {len(self.mappings)}"
            )
        self.guard: GuardPolicy = guard
        self.guard_trips = [dict.fromkeys(GUARDS, 0) for _ in self.mappings]
        self._device = torch.device(device)
        self._systems = Systems(self.mappings, self._device, box)
        self._stepper = bind(model, self._systems, refinement, execution)
        self._kick_deviation = self._kicks_of(self.spec.friction)
        self.slices = self._systems.slices
        self.n_beads = self.slices[-1].stop
        statistics = self.spec.statistics if isinstance(self.spec, ModelSpec) else None
        self._guards = Guards(statistics, self._systems.replica, self.replica_ids)

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
        n_replicas, n_history = len(self.mappings), self.spec.n_history
        known = 0 if displacements is None else n_history
        if displacements is None:
            displacements = np.zeros((n_history, self.n_beads, 3))
        return State(
            positions=self._checked(positions, (self.n_beads, 3), "positions"),
            displacements=self._checked(
                displacements, (n_history, self.n_beads, 3), "displacements"
            ),
            n_known=_counts(
                known if n_known is None else n_known, n_replicas, "n_known", n_history
            ),
            step=_counts(step, n_replicas, "step", 2**62),
        )

    def step(self, state: State) -> State:
        """Move all replicas by one model step.

        Args:
            state: not changed.

        Raises:
            GuardError: The step left the range of the training data.
        """
        attempt = [0] * len(self.mappings)
        following = self._propose(state, attempt)
        while trips := self._check(state, following):
            for place, trip in trips.items():
                self.guard_trips[place][trip.guard] += 1
                attempt[place] += 1
            if self.guard == "record":
                break
            if self.guard == "raise" or max(attempt) > MAX_REDRAWS:
                raise next(iter(trips.values()))
            following = self._propose(state, attempt)
        return following

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
        radius = self._stepper.radius_of_gyration(
            state.positions, state.displacements, state.n_known
        )
        return np.asarray(radius.double().cpu().numpy())

    def mean_forces(
        self,
        positions: ArrayLike | torch.Tensor,
        *,
        n_pairs: int = 2,
        sigma: float | None = None,
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
            sigma: noise level of the score, in units of the predictor's spread, or in
                nm for published models; None: the smallest of the model.

        Returns:
            (n_beads, 3) kJ/mol/nm. The centre of mass feels none where the model
            holds it out.

        Raises:
            ValueError: A published model without a score network.
        """
        here = self._checked(positions, (self.n_beads, 3), "positions")
        level = self._stepper.sigma_min if sigma is None else sigma
        if isinstance(self.spec, PublishedSpec):
            slope = self._stepper.score(here, here, level)
        else:
            slope = self._mean_score(here, n_pairs, level)
        energy = units.thermal_energy(self.spec.temperature)
        return np.asarray((energy * slope).cpu().numpy())

    def _mean_score(
        self, here: torch.Tensor, n_pairs: int, level: float
    ) -> torch.Tensor:
        """Score of the equilibrium at (n_beads, 3) nm, (n_beads, 3) 1/nm."""
        state = self.start(here)
        total = torch.zeros_like(here)
        for pair in range(n_pairs):
            draws, _ = self._noise(state, [pair] * len(self.mappings))
            for sign in (1.0, -1.0):
                move = self._stepper.displacement(
                    here, state.displacements, state.n_known, sign * draws
                )
                total += self._stepper.score(here + move, here, level)
        return total / (2 * n_pairs)

    def _propose(self, state: State, attempt: Sequence[int]) -> State:
        systems, n_history = self._systems, self.spec.n_history
        draws, kicks = self._noise(state, attempt)
        displacement = self._stepper.displacement(
            state.positions, state.displacements, state.n_known, draws
        )
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

    def _noise(
        self, state: State, attempt: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Standard normals: (n_draws, n_beads, 3) float32, (n_molecules, 3) float64."""
        count = self._stepper.n_draws
        draws, kicks = [], []
        for place, number in enumerate(self.replica_ids):
            stream = noise.generator(
                self.seed, number, int(state.step[place]), attempt[place]
            )
            n_beads = self.mappings[place].n_beads
            n_molecules = self._systems.n_molecules[place]
            draws.append(torch.randn((count, n_beads, 3), generator=stream))
            kicks.append(
                torch.randn((n_molecules, 3), generator=stream, dtype=torch.float64)
            )
        return torch.cat(draws, dim=1).to(self._device), torch.cat(kicks).to(
            self._device
        )

    def _kicks_of(self, friction: float | None) -> torch.Tensor:
        """Step of each molecule's centre of mass per coordinate, (n_molecules, 1) nm.

        Einstein: variance 2 kT t / (M friction); zero where the network moves it.
        """
        masses = self._systems.molecule_masses
        if friction is None:
            return torch.zeros_like(masses)
        energy = units.thermal_energy(self.spec.temperature)
        return (2.0 * energy * self.spec.time_step / (masses * friction)).sqrt()

    def _check(self, before: State, after: State) -> dict[int, GuardError]:
        move = (after.positions - before.positions).norm(dim=1)
        if not bool(torch.isfinite(move).all()):
            return self._guards.check(move, None, before.step)
        view = self._stepper.view(after.positions)
        return self._guards.check(move, view, before.step)

    def _checked(
        self, values: ArrayLike | torch.Tensor, shape: tuple[int, ...], name: str
    ) -> torch.Tensor:
        array = np.array(_on_cpu(values), dtype=np.float64)
        if array.shape != shape:
            raise ValueError(
                f"{name} must have shape {shape} for {self.n_beads} beads in "
                f"{len(self.mappings)} replicas, got {array.shape}"
            )
        finite = np.isfinite(array)
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise ValueError(
                f"{name} must be finite, {name}{list(where)} = {array[where]}"
            )
        return torch.from_numpy(array).to(self._device)


def _counts(
    values: ArrayLike | torch.Tensor, n: int, name: str, largest: int
) -> torch.Tensor:
    """Whole numbers from 0 to `largest`, (n,) int64."""
    numbers = np.broadcast_to(_on_cpu(values), (n,))
    counts = numbers.astype(np.int64)
    if ((counts != numbers) | (counts < 0) | (counts > largest)).any():
        raise ValueError(
            f"{name} must be whole numbers from 0 to {largest}, got {numbers.tolist()}"
        )
    return torch.from_numpy(counts)


def _on_cpu(values: ArrayLike | torch.Tensor) -> ArrayLike:
    """Take arrays of numpy and torch alike."""
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else values
