"""Which kinds of models there are: the one table that tells them apart."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from cgml.forks import one_thread_after_fork
from cgml.models.own_program import OwnProgram
from cgml.models.published_program import PublishedProgram
from cgml.molecules.systems import Systems
from cgml.network.model import LearnedModel, Model
from cgml.network.stepper import LearnedStepper, Stepper
from cgml.published.model import PublishedModel
from cgml.published.spec import PublishedSpec
from cgml.published.stepper import PublishedStepper
from cgml.spec import BaseSpec, Execution, ModelSpec, Refinement


class Kind(NamedTuple):
    """What a kind of model brings; `Any` is the spec of that kind.

    Attributes:
        spec: what its file says.
        networks: spec -> networks, to be filled with the weights of a file.
        program: spec, networks -> what a file holds besides, see program.py.
        bind: networks, spec, systems, sampler or None, execution -> Stepper.
    """

    spec: type[BaseSpec]
    networks: Callable[[Any], nn.Module]
    program: Callable[[Any, Any], nn.Module]
    bind: Callable[[Any, Any, Systems, Refinement | None, Execution], Stepper]


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
    one_thread_after_fork()
    kind = KINDS[model.spec.kind]
    return kind.bind(model.module, model.spec, systems, refinement, execution)


def _bind_own(
    module: Any,
    spec: ModelSpec,
    systems: Systems,
    refinement: Refinement | None,
    execution: Execution,
) -> Stepper:
    sampler = spec.refinement if refinement is None else refinement
    return LearnedStepper(module, spec, systems, sampler, execution)


def _published(spec: PublishedSpec) -> PublishedModel:
    return PublishedModel(spec.parameters, spec.n_embedding, spec.length_unit)


def _bind_published(
    module: Any,
    spec: PublishedSpec,
    systems: Systems,
    refinement: Refinement | None,
    execution: Execution,
) -> Stepper:
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
    return PublishedStepper(module, spec, systems, execution)


OWN = "cgml"
"""Kind of the files that do not name one: models trained here."""
KINDS = {
    OWN: Kind(ModelSpec, Model, OwnProgram, _bind_own),
    "graphwm": Kind(PublishedSpec, _published, PublishedProgram, _bind_published),
}
"""Name of a kind, as its spec and its files have it -> what it brings."""
