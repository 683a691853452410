"""Predictor and refiner as they are run: same equations, less traffic to memory.

The modules of predictor.py and refiner.py say what is computed. Here it is computed
pair by pair (pairs.py) with the blocks of products.py, and what does not change is
kept: terms of the embedding and of the bond graph as long as the pairs are the same,
terms of the prediction over all evaluations of a step, terms of the noise level for
good. The weights are those at the time of binding.
"""

from typing import Any, NamedTuple

import torch

from cgml.network.fast_predictor import FastPredictor
from cgml.network.fast_refiner import FastRefiner
from cgml.network.inputs import Beads
from cgml.network.pairs import Layout, Pairs, PairSearch, lay_out
from cgml.network.predictor import History, Prediction, project
from cgml.network.products import LEAST_ROWS, Part
from cgml.network.refiner import Denoise


class Parts(NamedTuple):
    """The parts of the networks that take most of the time.

    Attributes:
        predict: once per step.
        evaluate: once per evaluation of the score network.
    """

    predict: Part
    evaluate: Part


class FastNetworks:
    """The networks of a model, bound to beads on the CPU; see plain.Networks.

    Edges of its predictions stand in the rows of a Layout, pairs in its halves.

    Args:
        module: a Model.
        beads: of all systems.
        embedding: (n_beads, n_embedding).
        search: of the pairs of these beads.
        kind: of the numbers that are multiplied at the edges.
        compiled: what takes the place of the functions of `parts`; none of them
            without.
    """

    def __init__(
        self,
        module: Any,
        beads: Beads,
        embedding: torch.Tensor,
        search: PairSearch,
        kind: torch.dtype,
        compiled: Parts | None = None,
    ) -> None:
        self.neighbours = search
        self._beads = beads
        self._last: tuple[Pairs, Layout] | None = None
        self._predictor = FastPredictor(module.predictor, beads, embedding, kind)
        self._refiner = FastRefiner(module, beads, kind)
        self.parts = Parts(self._predictor.predict, self._refiner.evaluate)
        if compiled is not None and len(beads.masses) >= LEAST_ROWS:
            self._predictor.run, self._refiner.run = compiled

    def predict(self, neighbours: Pairs, history: History) -> Prediction:
        """Predict the next positions; see plain.Networks."""
        if self._last is None or self._last[0] is not neighbours:
            layout = lay_out(
                neighbours,
                len(self._beads.molecules),
                is_periodic=self.neighbours.is_periodic,
            )
            self._predictor.bind(neighbours, layout)
            self._last = neighbours, layout
        return self._predictor(history, self._last[1])

    def denoiser(
        self, neighbours: Pairs, positions: torch.Tensor, prediction: Prediction
    ) -> Denoise:
        """Prepare the evaluations of one step; see plain.Networks.

        Raises:
            ValueError: The prediction is not that of the same neighbours.
        """
        if self._last is None or self._last[0] is not neighbours:
            raise ValueError("a prediction for the same neighbours is required first")
        refiner, beads, spread = self._refiner, self._beads, prediction.spread
        step = refiner.prepare(positions, prediction, self._last[1])

        def denoise(white: torch.Tensor, sigma: float) -> torch.Tensor:
            return project(refiner(step, white, sigma), spread, beads)

        return denoise
