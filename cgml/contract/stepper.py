"""What a propagator asks of a model bound to systems."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch

from cgml.contract.state import State


class Pairs(NamedTuple):
    """Pairs of beads that exchange messages, each once.

    Attributes:
        sender: (n_pairs,) bead with the higher number.
        receiver: (n_pairs,) bead with the lower number, or the same bead where the
            pair is one of a bead and its own image; ascending.
        static: (n_pairs, 6) bonded, same molecule, and four decays of the number of
            bonds between the two.
        shift: (n_pairs, 3) nm, to add to receiver minus sender: whole box vectors,
            zero with open boundaries.
    """

    sender: torch.Tensor
    receiver: torch.Tensor
    static: torch.Tensor
    shift: torch.Tensor


class Forecast(NamedTuple):
    """What networks say of the next step before any draw.

    Attributes:
        force: (n_beads, 3) float32, where the mean goes, in units of the noise of the
            analytic part of the model.
        log_spread: (n_beads, 1) logarithm of the predicted spread, in the same units.
        latent: (n_beads, n) what the networks have made of the bead.
    """

    force: torch.Tensor
    log_spread: torch.Tensor
    latent: torch.Tensor


View = tuple[torch.Tensor, Pairs]
"""Positions near the origin, (n_beads, 3) float64 nm, and pairs in these images."""


class Stepper(Protocol):
    """What a propagator asks of a model: a pure function of state and noise.

    Attributes:
        n_draws: standard normals that a step takes for each coordinate.
    """

    n_draws: int

    def displacement(self, state: State, draws: torch.Tensor) -> torch.Tensor:
        """Displacement of one step, (n_beads, 3) float64 nm.

        Args:
            state: before the step.
            draws: (n_draws, n_beads, 3) standard normals.
        """

    def radius_of_gyration(self, state: State) -> torch.Tensor:
        """Radius of gyration of each molecule from the property head, (n,) nm."""

    def mean_score(
        self, state: State, pairs: Iterable[torch.Tensor], noise_scale: float
    ) -> torch.Tensor:
        """Score of the equilibrium distribution, (n_beads, 3) float64, 1/nm.

        Args:
            state: positions, at rest.
            pairs: standard normals of some steps, each (n_draws, n_beads, 3), drawn
                when they are asked for.
            noise_scale: noise level of the score network, as a multiple of the
                smallest one that the model samples at.
        """

    def forecasts(self, state: State) -> list[Forecast]:
        """What each set of weights says; []: of this kind that cannot be told."""

    def view(self, positions: torch.Tensor) -> View | None:
        """Positions and pairs that guards look at; None: nothing to look at."""
