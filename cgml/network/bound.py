"""The networks bound to beads: what stays is kept, and parts may be compiled ones.

Packed weights and noise levels are kept for good, terms of the embedding and of the
bond graph as long as the pairs are the same, terms of the prediction over all
evaluations of a step. The weights are those at the time of binding. Training does
without: there, weights change at every step.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, get_type_hints

import torch

from cgml.contract.stepper import Pairs
from cgml.network.arrivals import (
    ArrivalInputs,
    ArrivalLevel,
    ArrivalWeights,
    Far,
)
from cgml.network.conditioner import ConditionerWeights
from cgml.network.denoiser import DenoiserInputs, DenoiserWeights, Level
from cgml.network.gaussian import Prediction, held_direction, unwhiten, without
from cgml.network.inputs import Beads
from cgml.network.leaves import LEAST_ROWS, multiply
from cgml.network.pairs import Layout, PairSearch, lay_out
from cgml.network.predictor import (
    History,
    PredictorInputs,
    PredictorOutputs,
    PredictorWeights,
    Terms,
)
from cgml.network.sampler import Denoise, sample
from cgml.spec import Precision, Refinement

Part = Callable[[list[torch.Tensor]], Sequence[torch.Tensor]]
"""Function of tensors alone, which may empty its list: what can be compiled."""


KINDS: dict[Precision, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
}
"""Of the numbers multiplied at the edges, None: as they are."""


class Parts(NamedTuple):
    """The parts of the networks that take most of the time."""

    predict: Part  # once per step
    evaluate: Part  # once per evaluation of the score network
    arrive: Part | None = None  # likewise, where the model looks at pairs that arrive


class Neighbourhood(NamedTuple):
    """Who exchanges messages, and what a predictor knows of it."""

    layout: Layout
    terms: Terms
    far: Pairs | None  # pairs that may arrive


class BoundNetworks:
    """Predictor and score network of a model, bound to beads.

    Args:
        module: a Model.
        beads: of all systems.
        embedding: (n_beads, n_embedding).
        search: of the pairs of these beads.
        kind: of the numbers that are multiplied at the edges; None: as they are.
        compiled: what takes the place of the functions of `parts`; none of them
            without.
    """

    def __init__(
        self,
        module: Any,
        beads: Beads,
        embedding: torch.Tensor,
        search: PairSearch,
        kind: torch.dtype | None = None,
        compiled: Parts | None = None,
    ) -> None:
        self.search = search
        self._module, self._beads, self._embedding = module, beads, embedding
        self._predictor: PredictorWeights = module.predictor.pack(kind)
        self._conditioner: ConditionerWeights = module.conditioner.pack(kind)
        self._denoiser: DenoiserWeights = module.denoiser.pack(kind)
        self._arrivals: ArrivalWeights | None = None
        if module.arrivals is not None:
            self._arrivals = module.arrivals.pack()
        self._is_held = bool(beads.rest.any())
        self._levels: dict[float, tuple[Level, ArrivalLevel | None]] = {}
        self._last: tuple[Pairs, Neighbourhood] | None = None
        self._compiled = compiled if len(beads.masses) >= LEAST_ROWS else None

    def lay_out(self, pairs: Pairs, far: Pairs | None = None) -> Neighbourhood:
        """Prepare what stays as long as the pairs do.

        Args:
            pairs: that exchange messages.
            far: of the same positions, beyond the cutoff, where the model looks at
                pairs that arrive.
        """
        if self._last is None or self._last[0] is not pairs:
            n, is_periodic = len(self._beads.masses), self.search.is_periodic
            layout = lay_out(pairs, n, is_periodic=is_periodic)
            self._last = pairs, self.neighbourhood(layout, far)
        return self._last[1]

    def neighbourhood(self, layout: Layout, far: Pairs | None) -> Neighbourhood:
        """Add to a layout what the networks know of it."""
        predictor = self._module.predictor
        terms = predictor.terms(self._predictor, self._beads, layout, self._embedding)
        return Neighbourhood(layout, terms, far)

    def next_positions(
        self,
        near: Neighbourhood,
        history: History,
        draws: torch.Tensor,
        refinement: Refinement,
    ) -> torch.Tensor:
        """Draw the next positions: predict, then refine.

        Args:
            near: at the present positions.
            history: present positions and earlier displacements.
            draws: (n_draws, n_beads, 3) standard normals.
            refinement: how the score network is sampled.

        Returns:
            (n_beads, 3) float32 nm, relative to the same point as the history.
        """
        prediction = self.predict(near, history)
        mean, spread, beads = prediction.mean, prediction.spread, self._beads
        if self._is_held:
            held = held_direction(spread, beads)
            draws = torch.stack([without(draw, held, beads) for draw in draws])
        denoise = self.denoiser(near, history.positions, prediction)
        return unwhiten(sample(denoise, draws, refinement), mean, spread, beads)

    def predict(self, near: Neighbourhood, history: History) -> Prediction:
        """Predict the next positions; see predictor.Predictor."""
        predictor = self._module.predictor
        inputs = predictor.look(self._beads, near.layout, near.terms, history)
        if self._compiled is None:
            outputs = predictor.evaluate(self._predictor, inputs)
        else:
            outputs = PredictorOutputs(*self._compiled.predict(flat(inputs)))
        prediction: Prediction = predictor.conclude(self._beads, inputs, outputs)
        return prediction

    def denoiser(
        self, near: Neighbourhood, positions: torch.Tensor, prediction: Prediction
    ) -> Denoise:
        """Prepare the evaluations of one step; what they give is projected.

        Args:
            near: at the positions.
            positions: (n_beads, 3) float32 nm, before the step.
            prediction: of the same neighbourhood.
        """
        module, beads, layout = self._module.denoiser, self._beads, near.layout
        condition = self._module.conditioner.run(
            self._conditioner, layout, positions, prediction
        )
        nodes = multiply(self._denoiser.known, condition.nodes)
        held = held_direction(condition.spread, beads)
        far: Far | None = None
        if self._arrivals is not None and near.far is not None:
            own = self._arrivals, near.far, self._embedding
            far = self._module.arrivals.far(*own, condition.mean)

        def denoise(white: torch.Tensor, sigma: float) -> torch.Tensor:
            level, arriving = self._level(sigma)
            inputs = module.look(beads, layout, condition, nodes, level, white)
            if self._compiled is None:
                clean = module.evaluate(self._denoiser, inputs)
            else:
                (clean,) = self._compiled.evaluate(flat(inputs))
            if far is not None:
                clean = clean + self._arrive(far, inputs, arriving)
            return without(clean, held, beads) if self._is_held else clean

        return denoise

    def _arrive(
        self, far: Far, given: DenoiserInputs, level: ArrivalLevel | None
    ) -> torch.Tensor:
        """What pairs that arrive add to the denoised point; see Arrivals.shift."""
        arrivals = self._module.arrivals
        ends, inputs = arrivals.look(far, given.unit, given.candidate, level)
        part = self._compiled and self._compiled.arrive
        if part is None or len(inputs.known) == 0:
            forces = arrivals.evaluate(self._arrivals, inputs)
        else:
            (forces,) = part(flat(inputs))
        own = self._beads, ends, given.condition, forces, level
        shift: torch.Tensor = arrivals.conclude(*own)
        return shift

    def parts(self) -> Parts:
        """Functions of tensors alone that give what the networks give."""
        module = self._module

        def predict(values: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
            inputs = filled(PredictorInputs, iter(values))
            outputs = module.predictor.evaluate(self._predictor, inputs)
            return tuple(outputs)

        def evaluate(values: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
            inputs = filled(DenoiserInputs, iter(values))
            return (module.denoiser.evaluate(self._denoiser, inputs),)

        def arrive(values: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
            inputs = filled(ArrivalInputs, iter(values))
            return (module.arrivals.evaluate(self._arrivals, inputs),)

        return Parts(predict, evaluate, None if self._arrivals is None else arrive)

    def _level(self, sigma: float) -> tuple[Level, ArrivalLevel | None]:
        """What evaluations at one noise level share; second: of pairs that arrive."""
        if sigma not in self._levels:
            level = self._embedding.new_full((1, 1), sigma, dtype=torch.float64)
            arriving = None
            if self._arrivals is not None:
                arriving = self._module.arrivals.level(self._arrivals, level)
            own = self._module.denoiser.level(self._denoiser, level)
            self._levels[sigma] = own, arriving
        return self._levels[sigma]


def flat(inputs: Any) -> list[torch.Tensor]:
    """All tensors of a named tuple of tensors and of such tuples, in order."""
    found: list[torch.Tensor] = []
    for part in inputs:
        if isinstance(part, torch.Tensor):
            found.append(part)
        else:
            found += flat(part)
    return found


def filled(kind: Any, values: Iterator[torch.Tensor]) -> Any:
    """Undo `flat`: a named tuple of this kind."""
    fields = get_type_hints(kind).values()
    return kind(
        *(
            next(values) if field is torch.Tensor else filled(field, values)
            for field in fields
        )
    )
