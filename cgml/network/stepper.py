"""The networks bound to systems: one displacement, one score."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from cgml.contract.atoms import build_all
from cgml.contract.device import to_device
from cgml.contract.state import State
from cgml.contract.stepper import Forecast, Pairs, View
from cgml.molecules.systems import Systems
from cgml.network.bound import KINDS, BoundNetworks, Neighbourhood
from cgml.network.capture import CapturedStep
from cgml.network.compiled import compiled_parts
from cgml.network.gaussian import Prediction, whiten
from cgml.network.inputs import build_system, join_beads
from cgml.network.kinds import apply_kernels
from cgml.network.pairs import PairSearch, divide
from cgml.network.predictor import History
from cgml.network.sampler import n_draws
from cgml.spec import Execution, ModelSpec, Refinement

Next = Callable[[Pairs, Pairs | None, History, torch.Tensor], torch.Tensor]
"""Next positions from pairs, those that may arrive, history and noise."""


class LearnedStepper:
    """Predictor and refiner of a model, bound to the systems that they move.

    Args:
        module: networks; the embedding is taken here, once.
        spec: of the model.
        systems: all replicas; a repeated mapping is built and embedded once.
        refinement: how the score network is sampled; None: as the model says.
        execution: how the networks are evaluated.

    Raises:
        ValueError: see `check_execution`.
    """

    def __init__(
        self,
        module: Any,
        spec: ModelSpec,
        systems: Systems,
        refinement: Refinement | None,
        execution: Execution,
    ) -> None:
        check_execution(execution, systems.device)
        self._module = module.to(systems.device)
        self._spec, self._systems = spec, systems
        self._refinement = spec.refinement if refinement is None else refinement
        self._holds_centre = spec.friction is not None
        self.n_draws = n_draws(self._refinement)
        graphs, embedding = build_all(
            systems, partial(build_system, spec=spec), module.embedding
        )
        beads = join_beads([graph.beads for graph in graphs])
        self._beads = to_device(beads, systems.device)
        self._last: tuple[torch.Tensor, View, Pairs | None] | None = None
        with torch.inference_mode():
            self._networks = self._bind(embedding, execution)
            self._next: Next = self._step
            if execution.capture:
                self._next = CapturedStep(
                    self._module,
                    self._beads,
                    embedding,
                    self._networks.search,
                    self._refinement,
                )

    def _bind(self, embedding: torch.Tensor, execution: Execution) -> BoundNetworks:
        """Bind the networks as the execution says."""
        systems, spec = self._systems, self._spec
        boxes = None if systems.boxes is None else list(systems.boxes.cpu())
        search = PairSearch(self._beads, systems.sizes, spec.farthest, boxes)
        bound = (self._module, self._beads, embedding, search)
        parts, precision = None, execution.precision
        if execution.compiled and systems.device.type == "cpu":
            parts = compiled_parts(spec, self._module, precision)
        return BoundNetworks(*bound, KINDS[precision], parts)

    def _step(
        self, pairs: Pairs, far: Pairs | None, history: History, draws: torch.Tensor
    ) -> torch.Tensor:
        near = self._networks.lay_out(pairs, far)
        return self._networks.next_positions(near, history, draws, self._refinement)

    def view(self, positions: torch.Tensor) -> View:
        """Positions as the networks see them, and the pairs that exchange messages.

        Asked again for the same tensor, it gives the same answer without a search.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped; not to be changed in place.
        """
        if self._last is None or self._last[0] is not positions:
            near = self._systems.near_origin(positions)
            pairs, far = divide(self._networks.search(near), near, self._spec)
            self._last = positions, (near, pairs), far
        return self._last[1]

    def _far(self, positions: torch.Tensor) -> Pairs | None:
        """Pairs that may arrive, where the model looks at them; see `view`."""
        self.view(positions)
        return None if self._last is None else self._last[2]

    def displacement(self, state: State, draws: torch.Tensor) -> torch.Tensor:
        """Displacement of one step; see `Stepper`.

        Centres of mass that the model holds out stay where they are.
        """
        with torch.inference_mode():
            history, pairs = self._look(state)
            far = self._far(state.positions)
            moved = self._next(pairs, far, history, draws).double()
            displacement = moved - history.positions.double()
            if self._holds_centre:
                centre = self._systems.molecule_centre(displacement)
                displacement = displacement - centre
        return displacement

    def radius_of_gyration(self, state: State) -> torch.Tensor:
        """Radius of gyration of each molecule; see `Stepper`."""
        with torch.inference_mode():
            history, _, prediction = self._predict(state)
            radius: torch.Tensor = self._module.radius_head(
                self._beads, history.positions, prediction.nodes
            )
        return radius

    def forecasts(self, state: State) -> list[Forecast]:
        """What the predictor says; see `Stepper`."""
        with torch.inference_mode():
            history, _, prediction = self._predict(state)
            kinds, moved = self._beads.kinds, prediction.mean - history.positions
            force = apply_kernels(kinds.inverse, kinds, moved)
            return [Forecast(force, prediction.spread.log(), prediction.nodes)]

    def score(
        self, state: State, candidate: torch.Tensor, sigma: float
    ) -> torch.Tensor:
        """Gradient of log p(candidate | state) at one noise level.

        Args:
            state: before the step.
            candidate: (n_beads, 3) float64 nm, one step later.
            sigma: noise level, in units of the predictor's spread.

        Returns:
            (n_beads, 3) float64, 1/nm; without the centres that the model holds out.
        """
        with torch.inference_mode():
            history, near, prediction = self._predict(state)
            target = history.positions.double() + (candidate - state.positions)
            mean, spread = prediction.mean, prediction.spread
            white = whiten(target.float(), mean, spread, self._beads)
            denoise = self._networks.denoiser(near, history.positions, prediction)
            slope = (denoise(white, sigma) - white) / sigma**2 / spread
            kinds = self._beads.kinds
            inverse = [kernel.transpose(1, 2) for kernel in kinds.inverse]
            return apply_kernels(inverse, kinds, slope.double())

    def mean_score(
        self, state: State, pairs: Iterable[torch.Tensor], noise_scale: float
    ) -> torch.Tensor:
        """Score of the equilibrium distribution by Fisher's identity; see `Stepper`.

        The mean of grad' log p(x' | x) over x drawn from one step back from x', with
        each noise and its opposite: what is linear in the noise cancels.
        """
        level, here = noise_scale * self._refinement.sigma_min, state.positions
        total, count = torch.zeros_like(here), 0
        for draws in pairs:
            for sign in (1.0, -1.0):
                back = here + self.displacement(state, sign * draws)
                total += self.score(replace(state, positions=back), here, level)
                count += 1
        return total / count

    def _predict(self, state: State) -> tuple[History, Neighbourhood, Prediction]:
        history, pairs = self._look(state)
        near = self._networks.lay_out(pairs, self._far(state.positions))
        return history, near, self._networks.predict(near, history)

    def _look(self, state: State) -> tuple[History, Pairs]:
        (near, pairs), systems = self.view(state.positions), self._systems
        moves = state.displacements
        if self._holds_centre:
            centres = [systems.molecule_centre(move) for move in moves]
            moves = moves - torch.stack(centres) if centres else moves
        known = systems.known(state.n_known, len(moves))
        return History(near.float(), moves.float() * known, known), pairs


def check_execution(execution: Execution, device: torch.device) -> None:
    """Refuse what a device cannot do.

    Raises:
        ValueError: bfloat16 on another device than the CPU, a CUDA graph on another
            than a GPU.
    """
    if execution.precision != "float32" and device.type != "cpu":
        raise ValueError(
            f"precision {execution.precision!r} is for the CPU, got {device.type!r}: "
            "leave the precision out"
        )
    if execution.capture and device.type != "cuda":
        raise ValueError(
            f"capture is for CUDA graphs, got a model on {device.type!r}: use "
            "device='cuda', or leave it out"
        )
