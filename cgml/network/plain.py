"""Networks bound to beads: what a stepper asks for, and the plain way to do it."""

from collections.abc import Callable
from typing import Any, Protocol

import torch

from cgml.network.edges import Edges, EdgeSearch
from cgml.network.inputs import Beads
from cgml.network.pairs import Neighbours
from cgml.network.predictor import History, Prediction, project, unwhiten
from cgml.network.refiner import Denoise, sample
from cgml.spec import Refinement


class Networks(Protocol):
    """Predictor and refiner of some beads."""

    @property
    def neighbours(self) -> Callable[[torch.Tensor], Neighbours]:
        """Finds who exchanges messages at (n_beads, 3) positions near the origin."""

    def predict(self, neighbours: Any, history: History) -> Prediction:
        """Predict the next positions; see predictor.Predictor."""

    def denoiser(
        self, neighbours: Any, positions: torch.Tensor, prediction: Prediction
    ) -> Denoise:
        """Prepare the evaluations of one step; what they give is projected.

        Args:
            neighbours: at the positions.
            positions: (n_beads, 3) float32 nm, before the step.
            prediction: of the same networks.
        """


class PlainNetworks:
    """The networks as the equations stand in their modules.

    Args:
        module: a Model, or whatever has its networks with their arguments.
        beads: of all systems, on the device.
        embedding: (n_beads, n_embedding).
        search: of the edges of these beads.
    """

    def __init__(
        self,
        module: Any,
        beads: Beads,
        embedding: torch.Tensor,
        search: EdgeSearch,
    ) -> None:
        self._module, self._beads, self._embedding = module, beads, embedding
        self.neighbours = search

    def predict(self, neighbours: Edges, history: History) -> Prediction:
        """Predict the next positions; see `Networks`."""
        prediction: Prediction = self._module.predictor(
            self._beads, neighbours, self._embedding, history
        )
        return prediction

    def denoiser(
        self, neighbours: Edges, positions: torch.Tensor, prediction: Prediction
    ) -> Denoise:
        """Prepare the evaluations of one step; see `Networks`."""
        beads, spread, module = self._beads, prediction.spread, self._module
        condition = module.conditioner(neighbours, positions, prediction)

        def denoise(white: torch.Tensor, sigma: float) -> torch.Tensor:
            level = torch.full_like(spread, sigma)
            clean = module.denoiser(beads, neighbours, condition, white, level)
            return project(clean, spread, beads)

        return denoise


def next_positions(
    networks: Networks,
    beads: Beads,
    refinement: Refinement,
    neighbours: Neighbours,
    history: History,
    draws: torch.Tensor,
) -> torch.Tensor:
    """Draw the next positions: predict, then refine.

    Args:
        networks: bound to the beads.
        beads: of all systems.
        refinement: how the score network is sampled.
        neighbours: at the present positions.
        history: present positions and earlier displacements.
        draws: (n_draws, n_beads, 3) standard normals.

    Returns:
        (n_beads, 3) float32 nm, relative to the same point as the history.
    """
    prediction = networks.predict(neighbours, history)
    spread = prediction.spread
    start = torch.stack([project(draw, spread, beads) for draw in draws])
    denoise = networks.denoiser(neighbours, history.positions, prediction)
    return unwhiten(sample(denoise, start, refinement), prediction.mean, spread, beads)
