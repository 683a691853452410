"""The networks bound to systems: one displacement, one score."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch

from cgml.molecules.systems import Systems
from cgml.network.bound import BoundNetworks, Neighbourhood
from cgml.network.capture import CapturedStep
from cgml.network.compiled import compiled_parts
from cgml.network.gaussian import Prediction, whiten
from cgml.network.inputs import Beads, build_system, join_beads, to_device
from cgml.network.kinds import apply_kernels
from cgml.network.pairs import Pairs, PairSearch
from cgml.network.predictor import History
from cgml.network.sampler import n_draws
from cgml.spec import Execution, ModelSpec, Refinement

View = tuple[torch.Tensor, Pairs]
"""Positions near the origin, (n_beads, 3) float64 nm, and pairs in these images."""
Next = Callable[[Pairs, History, torch.Tensor], torch.Tensor]
"""Next positions from pairs, history and noise; see BoundNetworks.next_positions."""


class Stepper(Protocol):
    """What a propagator asks of a model: a pure function of state and noise.

    Attributes:
        n_draws: standard normals that a step takes for each coordinate.
    """

    n_draws: int

    def displacement(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        n_known: torch.Tensor,
        draws: torch.Tensor,
    ) -> torch.Tensor:
        """Displacement of one step, (n_beads, 3) float64 nm.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped.
            displacements: (n_history, n_beads, 3) float64 nm, newest first.
            n_known: (n_replicas,) number of true displacements.
            draws: (n_draws, n_beads, 3) standard normals.
        """

    def radius_of_gyration(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        n_known: torch.Tensor,
    ) -> torch.Tensor:
        """Radius of gyration of each molecule from the property head, (n,) nm."""

    def mean_score(
        self,
        positions: torch.Tensor,
        pairs: Iterable[torch.Tensor],
        noise_scale: float,
    ) -> torch.Tensor:
        """Score of the equilibrium distribution, (n_beads, 3) float64, 1/nm.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped.
            pairs: standard normals of some steps, each (n_draws, n_beads, 3), drawn
                when they are asked for.
            noise_scale: noise level of the score network, as a multiple of the
                smallest one that the model samples at.
        """

    def view(self, positions: torch.Tensor) -> View | None:
        """Positions and pairs that guards look at; None: nothing to look at."""


class LearnedStepper:
    """Predictor and refiner of a model, bound to the systems that they move.

    Args:
        module: networks; the embedding is taken here, once.
        spec: of the model.
        systems: all replicas; a repeated mapping is built and embedded once.
        refinement: how the score network is sampled.
        execution: how the networks are evaluated.

    Raises:
        ValueError: see `check_execution`.
    """

    def __init__(
        self,
        module: Any,
        spec: ModelSpec,
        systems: Systems,
        refinement: Refinement,
        execution: Execution,
    ) -> None:
        check_execution(execution, systems.device)
        self._module = module.to(systems.device)
        self._spec, self._systems, self._refinement = spec, systems, refinement
        self._holds_centre = spec.friction is not None
        self.n_draws = n_draws(refinement)
        unique = {id(item): item for item in systems.mappings}
        graphs = {key: build_system(item, spec) for key, item in unique.items()}
        order = [id(item) for item in systems.mappings]
        beads = join_beads([graphs[key].beads for key in order])
        self._beads = to_device(beads, systems.device)
        self._last: tuple[torch.Tensor, View] | None = None
        with torch.inference_mode():  # one by one: the bits depend on nothing else
            rows = {
                key: module.embedding(to_device(graph.atoms, systems.device))
                for key, graph in graphs.items()
            }
            embedding = torch.cat([rows[key] for key in order])
            self._networks = _bind_networks(
                self._module, self._beads, embedding, systems, spec, execution
            )
            self._next: Next = self._step
            if execution.capture:
                self._next = CapturedStep(
                    self._module,
                    self._beads,
                    embedding,
                    self._networks.search,
                    refinement,
                )

    def _step(
        self, pairs: Pairs, history: History, draws: torch.Tensor
    ) -> torch.Tensor:
        near = self._networks.lay_out(pairs)
        return self._networks.next_positions(near, history, draws, self._refinement)

    def view(self, positions: torch.Tensor) -> View:
        """Positions as the networks see them, and the pairs that exchange messages.

        Asked again for the same tensor, it gives the same answer without a search.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped; not to be changed in place.
        """
        if self._last is None or self._last[0] is not positions:
            near = self._systems.near_origin(positions)
            self._last = positions, (near, self._networks.search(near))
        return self._last[1]

    def displacement(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        n_known: torch.Tensor,
        draws: torch.Tensor,
    ) -> torch.Tensor:
        """Displacement of one step; see `Stepper`.

        Centres of mass that the model holds out stay where they are.
        """
        with torch.inference_mode():
            near, pairs = self.view(positions)
            history = self._history(near, displacements, n_known)
            moved = self._next(pairs, history, draws).double()
            displacement = moved - history.positions.double()
            if self._holds_centre:
                centre = self._systems.molecule_centre(displacement)
                displacement = displacement - centre
        return displacement

    def radius_of_gyration(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        n_known: torch.Tensor,
    ) -> torch.Tensor:
        """Radius of gyration of each molecule; see `Stepper`."""
        with torch.inference_mode():
            history, _, prediction = self._predict(positions, displacements, n_known)
            radius: torch.Tensor = self._module.radius_head(
                self._beads, history.positions, prediction.nodes
            )
        return radius

    def score(
        self, positions: torch.Tensor, candidate: torch.Tensor, sigma: float
    ) -> torch.Tensor:
        """Gradient of log p(candidate | positions) at one noise level.

        Args:
            positions: (n_beads, 3) float64 nm, without earlier displacements.
            candidate: (n_beads, 3) float64 nm, one step later.
            sigma: noise level, in units of the predictor's spread.

        Returns:
            (n_beads, 3) float64, 1/nm; without the centres that the model holds out.
        """
        n_history = self._spec.n_history
        moves = positions.new_zeros(n_history, *positions.shape)
        known = torch.zeros(len(self._systems.sizes), dtype=torch.int64)
        with torch.inference_mode():
            history, near, prediction = self._predict(positions, moves, known)
            target = history.positions.double() + (candidate - positions)
            mean, spread = prediction.mean, prediction.spread
            white = whiten(target.float(), mean, spread, self._beads)
            denoise = self._networks.denoiser(near, history.positions, prediction)
            slope = (denoise(white, sigma) - white) / sigma**2 / spread
            kinds = self._beads.kinds
            inverse = [kernel.transpose(1, 2) for kernel in kinds.inverse]
            return apply_kernels(inverse, kinds, slope.double())

    def mean_score(
        self,
        positions: torch.Tensor,
        pairs: Iterable[torch.Tensor],
        noise_scale: float,
    ) -> torch.Tensor:
        """Score of the equilibrium distribution by Fisher's identity; see `Stepper`.

        The mean of grad' log p(x' | x) over x drawn from one step back from x', with
        each noise and its opposite: what is linear in the noise cancels.
        """
        level = noise_scale * self._refinement.sigma_min
        moves = positions.new_zeros(self._spec.n_history, *positions.shape)
        known = torch.zeros(len(self._systems.sizes), dtype=torch.int64)
        total, count = torch.zeros_like(positions), 0
        for draws in pairs:
            for sign in (1.0, -1.0):
                move = self.displacement(positions, moves, known, sign * draws)
                total += self.score(positions + move, positions, level)
                count += 1
        return total / count

    def _predict(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        n_known: torch.Tensor,
    ) -> tuple[History, Neighbourhood, Prediction]:
        near, pairs = self.view(positions)
        history = self._history(near, displacements, n_known)
        laid = self._networks.lay_out(pairs)
        return history, laid, self._networks.predict(laid, history)

    def _history(
        self, near: torch.Tensor, moves: torch.Tensor, n_known: torch.Tensor
    ) -> History:
        systems = self._systems
        if self._holds_centre:
            centres = [systems.molecule_centre(move) for move in moves]
            moves = moves - torch.stack(centres) if centres else moves
        known = systems.known(n_known, len(moves))
        return History(
            positions=near.float(),
            displacements=moves.float() * known,
            known=known,
        )


def _bind_networks(
    module: Any,
    beads: Beads,
    embedding: torch.Tensor,
    systems: Systems,
    spec: ModelSpec,
    execution: Execution,
) -> BoundNetworks:
    """Bind the networks as the execution says."""
    boxes = None if systems.boxes is None else list(systems.boxes.cpu())
    search = PairSearch(beads, systems.sizes, spec.cutoff, boxes)
    if execution.precision == "bfloat16":
        return BoundNetworks(module, beads, embedding, search, torch.bfloat16)
    is_compiled = execution.compiled and systems.device.type == "cpu"
    parts = compiled_parts(spec, module) if is_compiled else None
    return BoundNetworks(module, beads, embedding, search, None, parts)


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
