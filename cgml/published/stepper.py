"""Steps of the published models: the Gaussian move, annealed Langevin.

Positions and boxes come in nm and leave in nm; the model's own unit lives between
these lines only.

Method: Fu et al., TMLR 2023, arXiv 2204.10348; sampler: Song & Ermon, NeurIPS 2019,
algorithm 1, with a constant step.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch

from cgml.contract.atoms import build_all
from cgml.contract.state import State
from cgml.contract.stepper import Forecast
from cgml.molecules.systems import Systems
from cgml.published.blocks import PublishedEdges, fit_to_machine
from cgml.published.model import build_published_system
from cgml.published.neighbours import NeighbourList
from cgml.published.networks import Acceleration
from cgml.published.spec import HyperParameters, PublishedSpec
from cgml.spec import FAST, Execution, Refinement

SKIN = 0.15  # of the cutoff; with 0.1 to 0.25 a step takes the same time


class PublishedStepper:
    """A published model bound to the systems that it moves.

    It is a `cgml.contract.stepper.Stepper`.

    Args:
        module: a PublishedModel, or the same in TorchScript (in float32 only).
        spec: of the model.
        systems: all replicas; a repeated mapping is built and embedded once.
        refinement: None: the sampler is the authors'.
        execution: how the networks are evaluated.

    Attributes:
        n_draws: standard normals that a step takes for each coordinate.

    Raises:
        ValueError: A particle type or bond type is unknown, a particle has not the
            mass of its type, or another sampler or a CUDA graph is asked for.
    """

    def __init__(
        self,
        module: Any,
        spec: PublishedSpec,
        systems: Systems,
        refinement: Refinement | None = None,
        execution: Execution = FAST,
    ) -> None:
        if refinement is not None:
            raise ValueError(
                f"the sampler of the published model {spec.name!r} is fixed: leave "
                "refinement out"
            )
        if execution.capture:
            raise ValueError(
                f"capture is for models trained by cgml, {spec.name!r} is a published "
                "one: leave it out"
            )
        parameters, device = spec.parameters, systems.device
        module = module.to(device)
        built, self._embedding = build_all(
            systems, partial(build_published_system, spec=spec), module.embedding
        )
        bonds = [system.bonds for system in built]
        self._spec, self._systems, self._unit = spec, systems, spec.length_unit
        self._cells = None  # in the unit of the model
        if systems.boxes is not None:
            self._cells = systems.boxes.cpu() / self._unit
        cutoff = parameters.radius
        self._neighbours = NeighbourList(
            bonds, systems.sizes, cutoff, SKIN * cutoff, device
        )
        self._dynamics = fit_to_machine(module.dynamics, execution.precision)
        self._score = module.score and fit_to_machine(module.score, execution.precision)
        self._head = module.property_head
        self._levels = noise_levels(parameters)
        self._step_size = parameters.step_size or 0.0
        self.n_draws = 1 + len(self._levels)
        self._masses = torch.cat([system.masses for system in built]).to(device)

    def displacement(self, state: State, draws: torch.Tensor) -> torch.Tensor:
        """Displacement of one step; see `cgml.contract.stepper.Stepper`.

        Earlier displacements that are not known count as zero, as if the beads had
        been at rest (the published code cannot start without them).

        Raises:
            ValueError: A shape does not match.
        """
        _check("draws", draws, (self.n_draws, len(state.positions), 3))
        with torch.inference_mode():
            ahead = self.predict(state)
            kick = ahead.mean + ahead.deviation * draws[0].to(ahead.mean)
            move = self._known(state)[0] / self._unit + kick.double()
            if self._score is not None:
                start = state.positions / self._unit
                move = self.refine(start + move, ahead, draws[1:]) - start
        return move * self._unit

    def radius_of_gyration(self, state: State) -> torch.Tensor:
        """Radius of gyration of each molecule; see `cgml.contract.stepper.Stepper`.

        Raises:
            ValueError: A replica has several molecules, or there is no such head.
        """
        largest = max(self._systems.n_molecules)
        if largest > 1:
            raise ValueError(
                f"the property head of model {self._spec.name!r} is one of single "
                f"molecules, got {largest} of them in a replica"
            )
        return self.property(state)[:, 0]

    def mean_score(
        self, state: State, pairs: Iterable[torch.Tensor], noise_scale: float
    ) -> torch.Tensor:
        """Score of the equilibrium; see `cgml.contract.stepper.Stepper`.

        It is the authors' score: that of the score network at these positions, told
        that the beads have been there at rest; noise is of no use.

        Raises:
            ValueError: The model has no score network.
        """
        del pairs
        if self._score is None:
            raise ValueError(
                f"a score network is required for forces, model {self._spec.name!r} "
                "has none: import one of the authors' models named 'pnr'"
            )
        with torch.inference_mode():
            score = self.score_given(self.predict(state))
            output = score(state.positions / self._unit).double()
        return output / (noise_scale * self._levels[-1] * self._unit)

    def forecasts(self, state: State) -> list[Forecast]:
        """Nothing: it was not measured what these would tell; see `Stepper`."""
        del state
        return []

    def view(self, positions: torch.Tensor) -> None:
        """Nothing: the file does not say what its training data looked like."""
        del positions

    def predict(self, state: State) -> Acceleration:
        """Gaussian over the next second difference, in the unit of the model.

        Raises:
            ValueError: A shape does not match.
        """
        n_beads = len(self._masses)
        _check("positions", state.positions, (n_beads, 3))
        moves = (self._spec.n_history, n_beads, 3)
        _check("displacements", state.displacements, moves)
        edges = self.edges(state.positions / self._unit)
        known = (self._known(state) / self._unit).flip(0).float()
        return Acceleration(
            *self._dynamics(edges, known, self._embedding, self._masses)
        )

    def refine(
        self, candidate: torch.Tensor, ahead: Acceleration, draws: torch.Tensor
    ) -> torch.Tensor:
        """Anneal candidate positions, in the unit of the model.

        Where they run away to numbers that are not finite, it ends there and then.

        Args:
            candidate: (n_beads, 3) float64.
            ahead: from `predict`.
            draws: (n_draws - 1, n_beads, 3) standard normals.

        Returns:
            (n_beads, 3) float64.
        """
        score = self.score_given(ahead)
        kick = (2.0 * self._step_size) ** 0.5
        for sigma, draw in zip(self._levels, draws.to(ahead.mean), strict=True):
            if not bool(torch.isfinite(candidate).all()):
                break  # no neighbours to be found: a guard will see it
            slope = score(candidate) / sigma
            candidate = candidate + (self._step_size * slope + kick * draw).double()
        return candidate

    def score_given(
        self, ahead: Acceleration
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Score times sigma as a function of candidate positions.

        Args:
            ahead: from `predict`.

        Returns:
            (n_beads, 3) float64 in the unit of the model -> (n_beads, 3).
        """
        nodes = self._score.encode(ahead.nodes, self._masses)

        def score(candidate: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self._score.evaluate(nodes, self.edges(candidate))
            return output

        return score

    def property(self, state: State) -> torch.Tensor:
        """What the property head says of each replica, (n_replicas, out_dim) nm.

        Raises:
            ValueError: The model has no property head.
        """
        if self._head is None:
            raise ValueError(
                "this published model has no property head: compute the radius of "
                "gyration from the beads"
            )
        with torch.inference_mode():
            ahead, positions = self.predict(state), state.positions
            centred = positions - self._systems.system_centre(positions)
            columns = ((centred / self._unit).float(), ahead.nodes, self._masses)
            rows = [
                self._head(*(column[part] for column in columns))
                for part in self._systems.slices
            ]
        return torch.stack(rows).double() * self._unit

    def edges(self, positions: torch.Tensor) -> PublishedEdges:
        """Edges of all replicas.

        Args:
            positions: (n_beads, 3) float64, in the unit of the model.
        """
        return self._neighbours.edges(positions, self._cells)

    def _known(self, state: State) -> torch.Tensor:
        moves = state.displacements
        return moves * self._systems.known(state.n_known, len(moves))


def noise_levels(parameters: HyperParameters) -> list[float]:
    """Level of every Langevin step, descending geometrically; none for "gns"."""
    begin, end = parameters.sigma_begin, parameters.sigma_end
    count, repeats = parameters.sigma_level, parameters.step_per_sigma
    if parameters.name == "gns" or not (begin and end and count and repeats):
        return []
    return np.repeat(np.geomspace(begin, end, count), repeats).tolist()


def _check(name: str, values: torch.Tensor, shape: tuple[int, ...]) -> None:
    if tuple(values.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(values.shape)}")
