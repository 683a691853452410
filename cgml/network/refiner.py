"""The score network: noisy candidate -> denoised candidate, and its samplers.

All of it happens in white coordinates w, in which the predictor's Gaussian is the
standard normal (predictor.whiten). There the noise-free target has unit variance on
every mode, and the best linear denoiser is w / (1 + sigma^2); the network learns the
rest. Preconditioning follows Karras et al. with sigma_data = 1. Solvers step in the
angle theta = arctan sigma, in which F below is the network's output alone (the "v" of
Salimans and Ho).

References:
    T. Karras, M. Aittala, T. Aila, S. Laine, NeurIPS 2022: eq. 7, table 1.
    T. Salimans, J. Ho, ICLR 2022, arXiv 2202.00512: the angle and v.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn

from cgml.molecules.rouse import apply_blocks
from cgml.network.blocks import (
    MLP,
    Interaction,
    RadialBasis,
    VectorReadout,
    directions,
    edge_differences,
    from_lanes,
    length_and_direction,
    to_lanes,
)
from cgml.network.edges import Edges, edge_vectors
from cgml.network.inputs import Beads
from cgml.network.predictor import Prediction, centre_offsets, project, unwhiten
from cgml.spec import NetworkConfig, Refinement


class Condition(NamedTuple):
    """What the score network keeps over all evaluations of one step.

    Attributes:
        mean: (n_beads, 3) predicted positions, nm.
        spread: (n_beads, 1) predicted spread.
        nodes: (n_beads, n_node) latent of the predictor.
        edges: (n_edges, n_edge) first-layer term of all constant edge inputs.
        pairs: (n_edges, n_edge) see Prediction.
        along_now: (n_edges, 3) unit vectors at the present positions.
        along_mean: (n_edges, 3) unit vectors at the predicted positions.
        drift: (n_beads, 3) predicted displacement in units of the displacement scale.
    """

    mean: torch.Tensor
    spread: torch.Tensor
    nodes: torch.Tensor
    edges: torch.Tensor
    pairs: torch.Tensor
    along_now: torch.Tensor
    along_mean: torch.Tensor
    drift: torch.Tensor


class Conditioner(nn.Module):
    """Prepare a Condition from a Prediction: once per step.

    Args:
        n_edge: width of edge features.
        radial: functions of the distance.
    """

    length_scale: torch.Tensor
    displacement_scale: torch.Tensor

    def __init__(self, n_edge: int, radial: RadialBasis) -> None:
        super().__init__()
        self.register_buffer("length_scale", torch.tensor(1.0))
        self.register_buffer("displacement_scale", torch.tensor(1.0))
        self.radial = radial
        self.encoder = MLP(n_edge + radial.n_functions + 1, n_edge, n_edge)

    def forward(
        self, edges: Edges, positions: torch.Tensor, prediction: Prediction
    ) -> Condition:
        """Combine present positions (n_beads, 3) and prediction."""
        _, along_now = length_and_direction(edge_vectors(positions, edges))
        length, along_mean = length_and_direction(edge_vectors(prediction.mean, edges))
        features = torch.cat(
            (
                prediction.edges,
                self.radial(length / self.length_scale),
                (along_now * along_mean).sum(dim=1, keepdim=True),
            ),
            dim=1,
        )
        return Condition(
            mean=prediction.mean,
            spread=prediction.spread,
            nodes=prediction.nodes,
            edges=self.encoder(features),
            pairs=prediction.pairs,
            along_now=along_now,
            along_mean=along_mean,
            drift=(prediction.mean - positions) / self.displacement_scale,
        )


class Denoiser(nn.Module):
    """Expected noise-free white coordinates, given noisy ones.

    Args:
        sizes: widths and rounds of messages.
        n_centres: particle types whose centres in a bead are seen; 0: none.
        radial: functions of the distance.
    """

    length_scale: torch.Tensor
    mean_degree: torch.Tensor
    frequencies: torch.Tensor

    def __init__(
        self, sizes: NetworkConfig, n_centres: int, radial: RadialBasis
    ) -> None:
        super().__init__()
        self.register_buffer("length_scale", torch.tensor(1.0))
        self.register_buffer("mean_degree", torch.tensor(1.0))
        self.register_buffer("frequencies", torch.tensor([0.5, 1.0, 2.0, 4.0]))
        self.radial = radial
        n_node, n_edge, n_radial = sizes.n_node, sizes.n_edge, radial.n_functions
        n_layers, n_given = sizes.n_refiner_layers, 3 + n_centres
        self.node_encoder = MLP(n_node + 9, n_node, n_node, normalise=True)
        self.edge_encoder = nn.Linear(n_radial + 5, n_edge)
        self.filter = nn.Linear(n_radial, n_edge, bias=False)
        self.layers = nn.ModuleList(
            [Interaction(n_node, n_edge) for _ in range(n_layers)]
        )
        self.directions = directions(n_layers, n_node, n_edge, sizes.n_vectors, n_given)
        self.readout = VectorReadout(n_node, n_edge, 3, n_given)

    def forward(
        self,
        beads: Beads,
        edges: Edges,
        condition: Condition,
        white: torch.Tensor,
        sigma: torch.Tensor,
    ) -> torch.Tensor:
        """Denoise.

        Args:
            beads: static description.
            edges: pairs that exchange messages.
            condition: of this step.
            white: (n_beads, 3) noisy white coordinates.
            sigma: (n_beads, 1) noise level.

        Returns:
            (n_beads, 3) expected noise-free white coordinates.
        """
        total = torch.sqrt(1.0 + sigma * sigma)
        unit = white / total
        candidate = unwhiten(unit, condition.mean, condition.spread, beads)
        length, along = length_and_direction(edge_vectors(candidate, edges))
        relative = edge_differences(unit, edges.sender, edges.receiver)
        radial = self.radial(length / self.length_scale)
        features = torch.cat(
            (
                radial,
                (along * condition.along_now).sum(dim=1, keepdim=True),
                (along * condition.along_mean).sum(dim=1, keepdim=True),
                (relative * along).sum(dim=1, keepdim=True),
                (relative * condition.along_now).sum(dim=1, keepdim=True),
                (relative * condition.along_mean).sum(dim=1, keepdim=True),
            ),
            dim=1,
        )
        latent = condition.edges + self.edge_encoder(features)
        latent += self.filter(radial) * condition.pairs
        logs = from_lanes(torch.log(to_lanes(sigma)), sigma)
        phase = logs * self.frequencies  # (n_beads, 4)
        lanes = to_lanes(phase)
        nodes = self.node_encoder(
            torch.cat(
                (
                    condition.nodes,
                    from_lanes(torch.sin(lanes), phase),
                    from_lanes(torch.cos(lanes), phase),
                    length_and_direction(unit)[0],
                ),
                dim=1,
            )
        )
        moves = (unit, condition.drift, candidate - condition.mean)
        centres = centre_offsets(beads, candidate) / self.length_scale
        given = torch.cat((torch.stack(moves, dim=1), centres), dim=1)
        sender, receiver, degree = edges.sender, edges.receiver, self.mean_degree
        for turn, layer in zip(self.directions, self.layers):  # noqa: B905 (TorchScript)
            nodes, latent = turn(nodes, latent, along, given, sender, receiver, degree)
            nodes, latent = layer(nodes, latent, sender, receiver, degree)
        correction: torch.Tensor = self.readout(
            nodes,
            latent,
            torch.stack((along, condition.along_now, condition.along_mean), dim=1),
            given,
            edges.receiver,
            self.mean_degree,
        )
        return (white / total + sigma * correction) / total


def denoising_loss(
    denoised: torch.Tensor,
    target: torch.Tensor,
    spread: torch.Tensor,
    sigma: torch.Tensor,
    beads: Beads,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Preconditioned denoising score matching in two metrics with one optimum.

    Args:
        denoised: (n_beads, 3) output of the network.
        target: (n_beads, 3) noise-free white coordinates.
        spread: (n_beads, 1) spread of the prediction.
        sigma: (n_beads, 1) noise level.
        beads: static description.

    Returns:
        The loss in white coordinates, (), where every mode counts the same, and in
        space, (), nm^2, where the slow modes count most: they are few, and the
        stationary distribution sums their errors over many steps.
    """
    error = project(denoised - target, spread, beads)
    moved = apply_blocks(beads.root_kernel, beads.slots, spread * error)
    weight = 1.0 + 1.0 / sigma.square()
    return (weight * error.square()).mean(), (weight * moved.square()).mean()


def noise_levels(refinement: Refinement) -> list[float]:
    """Descending noise levels tan(theta), n_levels of them, even in theta^(1/rho)."""
    n, power = refinement.n_levels, 1.0 / refinement.rho
    first = math.atan(refinement.sigma_max) ** power
    last = math.atan(refinement.sigma_min) ** power
    return [
        math.tan((first + index / max(n - 1, 1) * (last - first)) ** refinement.rho)
        for index in range(n)
    ]


Denoise = Callable[[torch.Tensor, float], torch.Tensor]


def n_draws(refinement: Refinement) -> int:
    """Independent standard normal fields that one sample needs."""
    if refinement.sampler == "ancestral":
        return refinement.n_levels
    if refinement.sampler == "langevin":
        return 1 + refinement.n_levels * refinement.n_repeats
    return 1


def sample(
    denoise: Denoise, noise: torch.Tensor, refinement: Refinement
) -> torch.Tensor:
    """Draw from the conditional distribution of the next white coordinates.

    The start is a normal of variance 1 + sigma_max^2: the predictor's own spread and
    the first noise level together.

    Args:
        denoise: (white, sigma) -> expected noise-free white coordinates.
        noise: (n_draws, n_beads, 3) standard normal.
        refinement: sampler and levels.

    Returns:
        (n_beads, 3) white coordinates.
    """
    if refinement.sampler == "none":
        return noise[0]
    levels = noise_levels(refinement)
    if refinement.sampler == "langevin":
        return _langevin(denoise, levels, noise, refinement)
    start = noise[0] * (1.0 + levels[0] ** 2) ** 0.5
    if refinement.sampler == "heun":
        return _heun(denoise, start, levels)
    return _multistep(denoise, start, levels, _mixing(levels, refinement), noise)


def _multistep(
    denoise: Denoise,
    white: torch.Tensor,
    levels: list[float],
    mixing: list[float],
    noise: torch.Tensor,
) -> torch.Tensor:
    """Second-order Adams-Bashforth steps in the angle theta = arctan sigma.

    With u = w cos(theta), which has unit variance at every level, the probability
    flow is du / dtheta = -F, where F = (D - u cos(theta)) / sin(theta) and D is the
    denoised point. F vanishes where the target is the predictor's Gaussian: that part
    is exact for any number of levels (for a flow in sigma, ten levels widen it by
    3 %), and only what the network adds is integrated.

    Between two levels a time s of Langevin dynamics at a fixed level,
    du = (-u + F / tan(theta)) ds + sqrt(2) dW, may be mixed in, with the same F; of
    it, too, the Gaussian part is exact. It forgets what earlier evaluations got wrong.

    Args:
        denoise: see `sample`.
        white: (n_beads, 3) start.
        levels: descending.
        mixing: s after each level.
        noise: (n_draws, n_beads, 3); the first is in the start.
    """
    angles = [math.atan(level) for level in levels]
    unit = white * math.cos(angles[0])
    slope, before = unit, 0.0
    for index, (angle, lower) in enumerate(pairwise(angles)):
        earlier, slope = slope, _slope(denoise, unit, angle)
        step, time = angle - lower, mixing[index]
        estimate = slope
        if before > 0.0:
            estimate = slope + 0.5 * step / before * (slope - earlier)
        share = -math.expm1(-time) / math.tan(0.5 * (angle + lower))
        unit, before = math.exp(-time) * unit + (step + share) * estimate, step
        if time > 0.0:
            unit = unit + math.sqrt(-math.expm1(-2.0 * time)) * noise[1 + index]
    return denoise(unit / math.cos(angles[-1]), levels[-1])


def _mixing(levels: list[float], refinement: Refinement) -> list[float]:
    """Langevin time of the reverse diffusion, the integral of tan(theta) dtheta.

    The reverse diffusion (Y. Song et al., ICLR 2021, eq. 6) is the probability flow
    with Langevin dynamics that adds as much drift again. The flow has none.
    """
    floor = refinement.noise_min if refinement.sampler == "ancestral" else math.inf
    cosines = [math.cos(math.atan(level)) for level in levels]
    return [
        math.log(cosines[index + 1] / cosines[index]) if lower >= floor else 0.0
        for index, lower in enumerate(levels[1:])
    ]


def _slope(denoise: Denoise, unit: torch.Tensor, angle: float) -> torch.Tensor:
    """F = -du / dtheta at one angle."""
    cosine = math.cos(angle)
    clean = denoise(unit / cosine, math.tan(angle))
    return (clean - unit * cosine) / math.sin(angle)


def _heun(denoise: Denoise, white: torch.Tensor, levels: list[float]) -> torch.Tensor:
    """Heun's rule in the angle, two evaluations a step."""
    angles = [math.atan(level) for level in levels]
    unit = white * math.cos(angles[0])
    for angle, lower in pairwise(angles):
        first = _slope(denoise, unit, angle)
        second = _slope(denoise, unit + (angle - lower) * first, lower)
        unit = unit + (angle - lower) * 0.5 * (first + second)
    return denoise(unit / math.cos(angles[-1]), levels[-1])


def _langevin(
    denoise: Denoise, levels: list[float], noise: torch.Tensor, refinement: Refinement
) -> torch.Tensor:
    """Annealed Langevin dynamics with one step size at all levels (Fu et al. 2023).

    It starts from a draw of the predictor and moves it little.
    """
    white, size = noise[0], refinement.step_size
    draws = iter(noise[1:])
    for sigma in levels:
        for _ in range(refinement.n_repeats):
            score = (denoise(white, sigma) - white) / sigma**2
            white = white + size * score + (2.0 * size) ** 0.5 * next(draws)
    return white
