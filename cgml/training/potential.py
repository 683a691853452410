"""Fit a potential of mean force to the equilibrium frames that a model was trained on.

Denoising score matching (Vincent 2011): frames x are moved by Gaussian noise, s L z,
with L of the ideal chain (potential_batches.py), and the mean over frames of
|s L^T F(x + s L z) / kT + z|^2 is least where F / kT is the gradient of the logarithm
of their density, convolved with that noise. Noise comes in pairs of opposite sign, so
that z cancels but for what the force differs between the two. The likelihood may follow
(potential_likelihood.py).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import nn

from cgml.fields import Count, Integer, Positive, Section, Whole, Width
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.recipe import Recipe
from cgml.network.energies import build_energy, stored
from cgml.network.model import LearnedModel, Model
from cgml.spec import PotentialSpec
from cgml.training.agreement import shared_recipe
from cgml.training.potential_batches import Batch, Batches, white
from cgml.training.potential_likelihood import Energy, Walkers
from cgml.training.potential_prior import fit_prior
from cgml.training.radial import place_functions

AVERAGE = 0.998  # decay of the moving average of the weights
N_RADIAL = 24  # functions of the distance in boxes, placed where pairs are
REACH = 6.0  # length scales: cutoff of networks that need one, without boxes
N_VALIDATION = 12  # batches
LIKELY = 0.25  # learning rate of the likelihood, over that of the scores
CLIP = 5.0


class PotentialConfig(Section):
    """How a potential is fitted.

    Attributes:
        network: see spec.PotentialSpec.
        n_node: likewise.
        noise: largest noise on the frames, over the fluctuations of the ideal chain;
            the smallest is a third.
        n_steps: optimiser steps.
        n_likelihood: optimiser steps for the likelihood afterwards, see
            potential_likelihood.py.
        n_systems: frames per batch, of different systems where there are so many.
        learning_rate: at the start; it falls to zero (cosine).
        seed: of weights and batches.
        time_limit: s, by which the learning rate falls to zero where the steps take
            longer, the likelihood having half of it; none: all steps are done, and
            repeated the weights are the same.
    """

    network: Literal["messages", "tensornet"] = "messages"
    n_node: Width = 48
    noise: Annotated[Positive, Field(lt=1.0)] = 0.3
    n_steps: Count = 4000
    n_likelihood: Whole = 0
    n_systems: Count = 32
    learning_rate: Positive = 2e-3
    seed: Annotated[Integer, Field(ge=0)] = 0
    time_limit: Positive | None = None


def loss(energy: Energy, batch: Batch, *, is_training: bool = True) -> torch.Tensor:
    """Score matching loss, but for a constant; per coordinate.

    With the forces f+ and f- (in kT/nm) of the two signs of the noise s L z, their mean

        s^2 (|L^T f+|^2 + |L^T f-|^2) / 2 + s z L^T (f+ - f-)

    is what the denoising loss |s L^T f + z|^2 is without |z|^2.

    Args:
        energy: of beads.
        batch: frames.
        is_training: whether the loss shall be differentiated.
    """
    force = energy.forces(batch.embedding, batch.edges, is_training=is_training)
    plus, minus = (batch.sizes * white(half, batch.beads) for half in force.chunk(2))
    square = 0.5 * (plus.square() + minus.square())
    return (square + (plus - minus) * batch.noise).mean()


def fit_potential(
    model: LearnedModel,
    train: Sequence[BeadTrajectory],
    validation: Sequence[BeadTrajectory],
    config: PotentialConfig,
    *,
    on_status: Callable[[str], None] = lambda _: None,
    provenance: dict[str, str] | None = None,
) -> LearnedModel:
    """Fit a potential; the networks of the model are not changed.

    Args:
        model: trained by cgml.
        train: equilibrium frames at the model's temperature, cut by its recipe.
        validation: other frames, of other molecules or later times; may be empty.
        config: of the fit.
        on_status: told how it goes.
        provenance: of the frames.

    Returns:
        The model with the potential, to be saved.

    Raises:
        ValueError: the model is a published one, or frames are not of its kind.
    """
    _check_model(model)
    spec: Any = model.spec
    for item in (*train, *validation):
        spec.check_boundaries(is_periodic=item.box is not None)
    asked = asdict(Recipe.from_spec(spec))
    shared_recipe([*train, *validation], asked)
    prior = fit_prior(spec, train)
    needs_cutoff = spec.cutoff is None and config.network == "tensornet"
    scale = spec.statistics.length_scale
    centres: tuple[float, ...] = ()
    if config.network == "messages" and spec.periodic and not spec.radial_centres:
        centres = place_functions(train, N_RADIAL, scale, spec.cutoff)
    potential = PotentialSpec(
        network=config.network,
        n_node=config.n_node,
        radial_centres=centres,
        cutoff=REACH * scale if needs_cutoff else spec.cutoff,
        noise=config.noise * scale,
        **prior._asdict(),
    )
    network = build_energy(spec, potential)
    _randomise(network, torch.Generator().manual_seed(config.seed))
    batches, tests = (
        Batches(
            items,
            model,
            potential.cutoff,
            config.noise,
            config.n_systems,
            config.seed,
        )
        for items in (train, validation or train)
    )
    tested = [tests(10**9 + i) for i in range(N_VALIDATION if validation else 0)]
    energy, said = Energy(network, spec, potential), dict(provenance or {})

    def tell(what: str, text: str) -> None:
        end = f", validation {np.mean(_values(energy, tested)):.4f}" if tested else ""
        on_status(f"{what} {text}{end}")

    for name, stage in _stages(energy, batches, config).items():
        watch = partial(tell, name.removesuffix("s"))
        said[name] = str(_optimise(network, stage, watch))
    for name, own in (("prior", energy._replace(network=None)), ("validation", energy)):
        if scores := _values(own, tested):
            error = np.std(scores, ddof=1) / math.sqrt(len(scores))
            said[f"{name} loss"] = f"{np.mean(scores):.5f} +- {error:.5f}"
    potential = potential.model_copy(update={"provenance": said})
    return with_potential(model, potential, network)


def _check_model(model: LearnedModel) -> None:
    """Refuse models that a potential cannot stand beside."""
    spec = model.spec
    if not spec.is_compilable:
        raise ValueError(
            f"a potential is of models that were trained by cgml, {spec.name!r} "
            "was imported"
        )
    if spec.n_members > 1:
        raise ValueError(
            f"a potential is of one set of weights, {spec.name!r} has "
            f"{spec.n_members}: give one of the models that it was joined from"
        )


def with_potential(
    model: LearnedModel, potential: PotentialSpec, energy: nn.Module
) -> LearnedModel:
    """A model with its networks, and a potential."""
    spec: Any = model.spec
    potential, weights = stored(potential, energy)
    whole = spec.model_copy(update={"potential": potential})
    networks = Model(whole)
    own = {
        name: values
        for name, values in model.module.state_dict().items()
        if not name.startswith("potential.")
    }
    kept = {f"potential.{name}": values for name, values in weights.items()}
    networks.load_state_dict(own | kept)
    return LearnedModel(whole, networks.requires_grad_(requires_grad=False).eval())


class _Stage(NamedTuple):
    """What is minimised, in how many steps, from which rate on, in how many seconds."""

    loss: Callable[[int], torch.Tensor]  # of the number of the step
    n_steps: int
    learning_rate: float
    time_limit: float | None


def _stages(
    energy: Energy, batches: Batches, config: PotentialConfig
) -> dict[str, _Stage]:
    """Scores, and the likelihood where it is asked for."""
    rate, seconds, more = config.learning_rate, config.time_limit, config.n_likelihood
    if more and seconds is not None:
        seconds = 0.5 * seconds
    stages = {
        "steps": _Stage(
            lambda step: loss(energy, batches(step)), config.n_steps, rate, seconds
        )
    }
    if more:
        walkers = Walkers(batches, config.n_systems, config.seed)
        stages["likelihood steps"] = _Stage(
            lambda _: walkers.loss(energy), more, LIKELY * rate, seconds
        )
    return stages


def _optimise(network: nn.Module, stage: _Stage, tell: Callable[[str], None]) -> int:
    """Adam with clipped gradients; the network gets the moving average of its weights.

    Returns:
        The number of steps.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=stage.learning_rate)
    average = {name: own.clone() for name, own in network.state_dict().items()}
    recent: list[float] = []
    begin, is_done, step = time.monotonic(), False, 0
    while not is_done:
        done = step / stage.n_steps
        if stage.time_limit is not None:
            spent = (time.monotonic() - begin) / stage.time_limit
            done = min(max(done, spent), 1.0)
        rise, fall = min(1.0, (step + 1) / 100), 0.5 * (1.0 + math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = stage.learning_rate * rise * fall
        found = stage.loss(step)
        if not torch.isfinite(found):
            raise ValueError(
                f"the loss is {float(found)} at step {step}: choose a lower learning "
                "rate (--learning-rate), or larger noise (--noise)"
            )
        optimiser.zero_grad()
        torch.autograd.backward(found)
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimiser.step()
        keep = min(AVERAGE, (step + 1) / (step + 10))
        for name, own in network.state_dict().items():
            average[name].lerp_(own, 1.0 - keep)
        recent.append(float(found.detach()))
        step += 1
        is_done = step == stage.n_steps or done >= 0.995
        if step % 200 == 0 or is_done:
            tell(f"{step:,}: loss {np.mean(recent[-200:]):.4f}")
    network.load_state_dict(average)
    return step


def _values(energy: Energy, tested: list[Batch]) -> list[float]:
    return [float(loss(energy, one, is_training=False).detach()) for one in tested]


def _randomise(energy: nn.Module, generator: torch.Generator) -> None:
    """Draw the first weights; the seed decides them."""
    for parameter in energy.parameters():
        if parameter.dim() > 1:
            bound = 1.0 / math.sqrt(parameter.size(-1))
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        elif parameter.dim() == 1 and not bool((parameter == 1.0).all()):
            nn.init.zeros_(parameter)
