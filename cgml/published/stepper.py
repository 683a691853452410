"""Steps of the published models: the Gaussian move, annealed Langevin.

Plain Python around the networks of graphwm_model.py, their evaluation (graphwm_fast.py)
and their edges (graphwm_neighbours.py). Positions and boxes come in nm
and leave in nm; the model's own unit lives between these lines only.

Method: Fu et al., TMLR 2023, arXiv 2204.10348; sampler: Song & Ermon, NeurIPS 2019,
algorithm 1, with a constant step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from cgml.network.inputs import Atoms
from cgml.published.fast import evaluator
from cgml.published.model import PublishedSystem
from cgml.published.neighbours import NeighbourList
from cgml.published.networks import Acceleration, PublishedEdges
from cgml.published.spec import HyperParameters
from cgml.spec import FAST, Execution

SKIN = 0.15  # of the cutoff; with 0.1 to 0.25 a step takes the same time


class PublishedStepper:
    """A published model bound to the systems that it moves.

    A pure function of its arguments: noise comes in as numbers.

    Args:
        module: a PublishedModel, or the same in TorchScript.
        parameters: of the file.
        systems: one per replica; the same one may repeat.
        execution: how networks are evaluated and edges found.
        device: torch device.

    Attributes:
        n_history: displacements that the model sees.
        n_draws: standard normals that a step takes for each coordinate.
        sizes: beads of each replica.
    """

    def __init__(
        self,
        module: Any,
        parameters: HyperParameters,
        systems: Sequence[PublishedSystem],
        *,
        execution: Execution = FAST,
        device: str = "cpu",
    ) -> None:
        if not systems:
            raise ValueError("at least one system is required, got none")
        self._module = module.to(device)
        self._device = torch.device(device)
        self._dynamics = evaluator(self._module.dynamics, execution)
        self._score = None
        if self._module.score is not None:
            self._score = evaluator(self._module.score, execution)
        self._levels = noise_levels(parameters)
        self._step_size = parameters.step_size or 0.0
        self.n_history = parameters.seq_len - 1
        self.n_draws = 1 + len(self._levels)
        self.sizes = [len(system.masses) for system in systems]
        self._neighbours = NeighbourList(
            [system.bonds for system in systems],
            self.sizes,
            parameters.radius,
            0.0 if execution.plain else SKIN * parameters.radius,
            self._device,
        )
        self._masses = torch.cat([system.masses for system in systems]).to(device)
        self._unit = float(module.length_unit)
        unique = {id(system): system for system in systems}
        with torch.inference_mode():  # one by one: the bits depend on nothing else
            rows = {
                key: module.embedding(_to(system.atoms, self._device))
                for key, system in unique.items()
            }
            self._embedding = torch.cat([rows[id(system)] for system in systems])

    def step(
        self,
        history: torch.Tensor,
        boxes: Sequence[torch.Tensor] | None,
        noise: torch.Tensor,
    ) -> torch.Tensor:
        """Next positions from the frames so far.

        Args:
            history: (n_frames, n_beads, 3) float64 nm, unwrapped, oldest first, one
                model step apart. Of more than seq_len frames the last ones are used;
                for those that are missing the first frame stands, as if the beads had
                been at rest (the published code cannot start without them).
            boxes: (3, 3) nm of each replica, or None for open boundaries.
            noise: (n_draws, n_beads, 3) standard normals; zeros follow the mean.

        Returns:
            (n_beads, 3) float64 nm, unwrapped.
        """
        moves = torch.diff(history[-self.n_history - 1 :], dim=0).flip(0)
        missing = history.new_zeros(self.n_history - len(moves), *history.shape[1:])
        moves = torch.cat((moves, missing))
        return history[-1] + self.move(history[-1], moves, boxes, noise)

    def move(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        boxes: Sequence[torch.Tensor] | None,
        noise: torch.Tensor,
    ) -> torch.Tensor:
        """Next displacement.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped.
            displacements: (n_history, n_beads, 3) float64 nm, newest first; zero where
                not known.
            boxes: (3, 3) nm of each replica, or None for open boundaries.
            noise: (n_draws, n_beads, 3) standard normals.

        Returns:
            (n_beads, 3) float64 nm.

        Raises:
            ValueError: A shape does not match.
        """
        n_beads = sum(self.sizes)
        _check("displacements", displacements, (self.n_history, n_beads, 3))
        _check("noise", noise, (self.n_draws, n_beads, 3))
        draws = noise.to(self._device, torch.float32)
        with torch.inference_mode():
            ahead = self.predict(positions, displacements, boxes)
            kick = ahead.mean + ahead.deviation * draws[0]
            move = displacements[0] / self._unit + kick.double()
            if self._score is not None:
                start = positions / self._unit
                move = self.refine(start + move, ahead, boxes, draws[1:]) - start
        return move * self._unit

    def predict(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        boxes: Sequence[torch.Tensor] | None,
    ) -> Acceleration:
        """Gaussian over the next second difference, in the unit of the model.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped.
            displacements: (n_history, n_beads, 3) float64 nm, newest first.
            boxes: (3, 3) nm of each replica, or None for open boundaries.
        """
        _check("positions", positions, (sum(self.sizes), 3))
        dynamics = self._module.dynamics
        inputs = dynamics.node_inputs(
            (displacements / self._unit).flip(0).float(), self._embedding, self._masses
        )
        edges = self.edges(positions / self._unit, boxes)
        ahead = self._dynamics.evaluate(self._dynamics.encode(inputs), edges)
        return Acceleration(*dynamics.gaussian(*ahead))

    def refine(
        self,
        candidate: torch.Tensor,
        ahead: Acceleration,
        boxes: Sequence[torch.Tensor] | None,
        draws: torch.Tensor,
    ) -> torch.Tensor:
        """Anneal candidate positions, in the unit of the model.

        Where they run away to numbers that are not finite, it ends there and then.

        Args:
            candidate: (n_beads, 3) float64.
            ahead: from `predict`.
            boxes: (3, 3) nm of each replica, or None for open boundaries.
            draws: (n_draws - 1, n_beads, 3) standard normals.

        Returns:
            (n_beads, 3) float64.
        """
        score = self.score_given(ahead, boxes)
        kick = (2.0 * self._step_size) ** 0.5
        for sigma, draw in zip(self._levels, draws, strict=True):
            if not bool(torch.isfinite(candidate).all()):
                break  # no neighbours to be found: a guard will see it
            slope = score(candidate) / sigma
            candidate = candidate + (self._step_size * slope + kick * draw).double()
        return candidate

    def score_given(
        self, ahead: Acceleration, boxes: Sequence[torch.Tensor] | None
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Score times sigma as a function of candidate positions.

        Args:
            ahead: from `predict`.
            boxes: (3, 3) nm of each replica, or None for open boundaries.

        Returns:
            (n_beads, 3) float64 in the unit of the model -> (n_beads, 3).

        Raises:
            ValueError: The model has no score network.
        """
        network = self._score
        if network is None:
            raise ValueError("a model named 'pnr' is required for a score, got 'gns'")
        nodes = network.encode(
            self._module.score.node_inputs(ahead.nodes, self._masses)
        )

        def score(candidate: torch.Tensor) -> torch.Tensor:
            return network.evaluate(nodes, self.edges(candidate, boxes))[1]

        return score

    def property(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        boxes: Sequence[torch.Tensor] | None,
    ) -> torch.Tensor:
        """Property of each replica (radius of gyration), (n_replicas, out_dim) nm.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped.
            displacements: (n_history, n_beads, 3) float64 nm, newest first.
            boxes: (3, 3) nm of each replica, or None for open boundaries.

        Raises:
            ValueError: The model has no property head.
        """
        if self._module.property_head is None:
            raise ValueError(
                "this published model has no property head: compute the radius of "
                "gyration from the beads"
            )
        with torch.inference_mode():
            ahead = self.predict(positions, displacements, boxes)
            centred = [
                part - part.mean(dim=0) for part in torch.split(positions, self.sizes)
            ]
            lengths = (torch.cat(centred) / self._unit).float()
            columns = (
                torch.split(part, self.sizes) for part in (ahead.nodes, self._masses)
            )
            rows = [
                self._module.property_head(*parts)
                for parts in zip(
                    torch.split(lengths, self.sizes), *columns, strict=True
                )
            ]
        return torch.stack(rows).double() * self._unit

    def edges(
        self, positions: torch.Tensor, boxes: Sequence[torch.Tensor] | None
    ) -> PublishedEdges:
        """Edges of all replicas.

        Args:
            positions: (n_beads, 3) float64, in the unit of the model.
            boxes: (3, 3) nm of each replica, or None for open boundaries.
        """
        cells = None if boxes is None else torch.stack(list(boxes)).double().cpu()
        return self._neighbours.edges(
            positions, None if cells is None else cells / self._unit
        )


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


def _to(parts: Atoms, device: torch.device) -> Atoms:
    return Atoms(*(part.to(device) for part in parts))
