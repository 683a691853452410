"""Which kinds of models there are, and what binds each to the systems it moves."""

from cgml.molecules.systems import Systems
from cgml.network.model import LearnedModel
from cgml.network.stepper import LearnedStepper, Stepper
from cgml.published.adapter import PublishedAdapter
from cgml.published.spec import PublishedSpec
from cgml.spec import Execution, ModelSpec, Refinement


def bind(
    model: LearnedModel,
    systems: Systems,
    refinement: Refinement | None,
    execution: Execution,
) -> Stepper:
    """Bind a model to systems.

    Args:
        model: from `cgml.load_model`.
        systems: all replicas.
        refinement: sampler other than the model's own.
        execution: how the networks are evaluated.

    Raises:
        ValueError: a sampler for a published model, which has its own.
    """
    spec = model.spec
    if isinstance(spec, ModelSpec):
        sampler = spec.refinement if refinement is None else refinement
        return LearnedStepper(model.module, spec, systems, sampler, execution)
    if not isinstance(spec, PublishedSpec):
        raise TypeError(f"a spec of networks is required, got {type(spec).__name__}")
    if refinement is not None:
        raise ValueError(
            f"the sampler of the published model {spec.name!r} is fixed: leave "
            "refinement out"
        )
    if execution.capture:
        raise ValueError(
            f"capture is for models trained by cgml, {spec.name!r} is a published one: "
            "leave it out"
        )
    return PublishedAdapter(model.module, spec, systems, execution)
