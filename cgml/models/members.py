"""Networks, programs and steppers of all kinds, of one set of weights or of several."""

from functools import partial
from typing import Any

from torch import nn

from cgml.contract.stepper import Stepper
from cgml.forks import one_thread_after_fork
from cgml.models.ensemble import Choice, Ensemble, EnsembleStepper
from cgml.models.kinds import KINDS
from cgml.models.program import EnsembleProgram
from cgml.molecules.systems import Systems
from cgml.network.model import LearnedModel
from cgml.spec import BaseSpec, Execution, Refinement


def networks_of(spec: BaseSpec) -> nn.Module:
    """Networks of a spec, to be filled with the weights of a file."""
    make = KINDS[spec.kind].networks
    if spec.n_members == 1:
        return make(spec)
    return Ensemble([make(spec) for _ in range(spec.n_members)])


def program_of(spec: BaseSpec, networks: Any) -> nn.Module:
    """Program that a file holds beside these networks."""
    make, members = KINDS[spec.kind].program, LearnedModel(spec, networks).members
    programs: list[Any] = [make(member.spec, member.module) for member in members]
    return programs[0] if spec.n_members == 1 else EnsembleProgram(programs)


def bind(
    model: LearnedModel,
    systems: Systems,
    refinement: Refinement | None,
    execution: Execution,
    choose: Choice | None = None,
) -> Stepper:
    """Bind a model to systems.

    Args:
        model: from `cgml.load_model`.
        systems: all replicas.
        refinement: sampler other than the model's own.
        execution: how the networks are evaluated.
        choose: which member of an ensemble moves which replica; None: all, averaged.

    Raises:
        ValueError: the model cannot do it so, or not with these systems.
    """
    one_thread_after_fork()
    make = KINDS[model.spec.kind].stepper

    def bound(member: LearnedModel, systems: Systems) -> Stepper:
        return make(member.module, member.spec, systems, refinement, execution)

    if model.spec.n_members == 1:
        return bound(model, systems)
    members = [partial(bound, member) for member in model.members]
    return EnsembleStepper(members, systems, choose)
