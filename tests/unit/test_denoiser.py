import numpy as np
import pytest
import torch
from core_systems import (
    as_double,
    chain,
    coil,
    double_system,
    laid_out,
    learned,
    mixture,
    rouse_only,
    small_spec,
)
from reference_network import whole

from cgml.molecules.mapping import Mapping
from cgml.network.denoiser import denoising_loss
from cgml.network.gaussian import project, unwhiten
from cgml.network.inputs import Beads, build_system, join_beads
from cgml.network.model import LearnedModel
from cgml.network.predictor import History
from cgml.network.sampler import n_draws, noise_levels, sample
from cgml.spec import Refinement

SAMPLERS = ["multistep", "heun", "ancestral"]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape))


def many_beads(n: int, friction: float | None) -> Beads:
    part = build_system(mixture(), small_spec(friction=friction)).beads
    return as_double(join_beads([part] * n))


class Evaluations:
    """Denoiser of the standard normal that counts its calls."""

    def __init__(self) -> None:
        self.levels: list[float] = []

    def __call__(self, white: torch.Tensor, sigma: float) -> torch.Tensor:
        self.levels.append(sigma)
        return white / (1.0 + sigma**2)


def denoiser_of(model: LearnedModel, mapping: Mapping):
    """Return the condition and (white, sigma) -> denoised, in double precision."""
    atoms, beads = double_system(build_system(mapping, model.spec))
    n = mapping.n_beads
    layout = laid_out(beads, [n])
    module = model.module.double()
    n_history = model.spec.n_history
    history = History(
        torch.tensor(coil(mapping)),
        normal(0, n_history, n, 3),
        torch.ones(n_history, n, 1, dtype=torch.float64),
    )
    with torch.no_grad():
        embedding = module.embedding(atoms)
        prediction = module.predictor(beads, layout, embedding, history)
        condition = module.conditioner(layout, history.positions, prediction)

    def denoise(white: torch.Tensor, sigma: float) -> torch.Tensor:
        level = torch.full((n, 1), sigma, dtype=torch.float64)
        with torch.no_grad():
            return module.denoiser(beads, layout, condition, white, level)

    return condition, denoise


@pytest.mark.parametrize("n_levels", [1, 2, 10])
def test_noise_levels(n_levels):
    refinement = Refinement(n_levels=n_levels, sigma_max=3.0, sigma_min=0.02, rho=5.0)
    levels = noise_levels(refinement)
    assert len(levels) == n_levels
    np.testing.assert_allclose(levels[0], 3.0)
    if n_levels > 1:
        np.testing.assert_allclose(levels[-1], 0.02)
        roots = np.arctan(levels) ** 0.2
        whole = np.arctan(0.02) ** 0.2 - np.arctan(3.0) ** 0.2
        np.testing.assert_allclose(np.diff(roots), whole / (n_levels - 1))


@pytest.mark.parametrize("n_levels", [1, 2, 5, 11])
def test_the_multistep_solver_keeps_a_gaussian_to_the_last_bit_but_one(n_levels):
    """Where the target is the predictor's own Gaussian, no level adds an error."""
    noise = normal(0, 1, 50, 3)
    refinement = Refinement(n_levels=n_levels, sigma_min=1e-6)
    found = sample(lambda white, sigma: white / (1.0 + sigma**2), noise, refinement)
    factor = 1.0 if n_levels > 1 else 0.1**0.5  # one level: its denoised point
    np.testing.assert_allclose(found, factor * noise[0], atol=1e-5)


def test_the_multistep_solver_is_of_second_order():
    """Target of variance 1/4: four times less error for twice the levels."""
    variance = 0.25
    errors = []
    for n_levels in (10, 20, 40):
        refinement = Refinement(n_levels=n_levels, sigma_min=1e-4, rho=1.0)
        found = sample(
            lambda white, sigma: white * variance / (variance + sigma**2),
            normal(0, 1, 1, 1),
            refinement,
        )
        start = refinement.sigma_max
        exact = variance**0.5 * ((1 + start**2) / (variance + start**2)) ** 0.5
        errors.append(abs(float(found / normal(0, 1, 1, 1)) - exact))
    assert 3.0 < errors[0] / errors[1] < 5.5
    assert 3.0 < errors[1] / errors[2] < 5.5


@pytest.mark.parametrize(
    ("sampler", "evaluations", "draws"),
    [("multistep", 7, 1), ("heun", 13, 1), ("ancestral", 7, 7), ("none", 0, 1)],
)
def test_evaluations_and_draws(sampler, evaluations, draws):
    refinement = Refinement(sampler=sampler, n_levels=7)
    assert n_draws(refinement) == draws
    denoise = Evaluations()
    found = sample(denoise, normal(0, draws, 4, 3), refinement)
    assert found.shape == (4, 3)
    assert len(denoise.levels) == evaluations
    known = np.array(noise_levels(refinement))
    for level in denoise.levels:
        assert np.isclose(level, known).any()


def test_without_fresh_noise_the_diffusion_is_the_flow():
    """Above the last level there is none: two samplers, one answer."""
    noise = normal(0, 7, 4, 3)
    diffusion = Refinement(sampler="ancestral", n_levels=7, noise_min=10.0)
    flow = Refinement(sampler="multistep", n_levels=7)
    found, expected = (
        sample(lambda white, sigma: white * 0.2 / (0.2 + sigma**2), noise, refinement)
        for refinement in (diffusion, flow)
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sharp_target_is_hit(sampler):
    """If the answer is certain, every sampler gives it."""
    answer = normal(1, 4, 3)
    refinement = Refinement(sampler=sampler, n_levels=3)
    noise = normal(0, n_draws(refinement), 4, 3)
    found = sample(lambda white, sigma: answer.clone(), noise, refinement)
    np.testing.assert_allclose(found, answer)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_level_is_one_evaluation(sampler):
    refinement = Refinement(sampler=sampler, n_levels=1)
    denoise = Evaluations()
    noise = normal(0, 1, 4, 3)
    found = sample(denoise, noise, refinement)
    assert denoise.levels == pytest.approx([3.0])
    np.testing.assert_allclose(found, noise[0] * 10.0**0.5 / 10.0)


def test_no_sampler_is_the_gaussian_of_the_predictor():
    noise = normal(0, 1, 4, 3)
    assert torch.equal(
        sample(Evaluations(), noise, Refinement(sampler="none")), noise[0]
    )


@pytest.mark.parametrize("friction", [None, 0.5])
def test_loss_against_numpy(friction):
    beads = many_beads(2, friction)
    n = len(beads.masses)
    denoised, target = normal(1, n, 3), normal(2, n, 3)
    spread, sigma = 0.5 + normal(3, n, 1).abs(), 0.1 + normal(4, n, 1).abs()
    error = project(denoised - target, spread, beads).numpy()
    weight = (1.0 + sigma.numpy() ** 2) / sigma.numpy() ** 2
    moved = whole(beads, beads.kinds.root) @ (spread.numpy() * error)
    white, space = denoising_loss(denoised, target, spread, sigma, beads)
    np.testing.assert_allclose(white, np.mean(weight * error**2))
    np.testing.assert_allclose(space, np.mean(weight * moved**2))


@pytest.mark.parametrize("metric", [0, 1], ids=["white", "space"])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_loss_is_least_for_the_exact_denoiser(sigma, metric):
    """Of all linear ones: factor v / (v + sigma^2), within 4 standard errors.

    In space modes count unequally, so the error is taken from independent parts.
    """
    beads = many_beads(20, None)
    n, variance, factors = len(beads.masses), 0.4, np.array([0.0, 0.5, 1.0])
    level, spread = torch.full((n, 1), sigma).double(), torch.ones(n, 1).double()
    best = []
    for seed in range(16):
        target = variance**0.5 * normal(seed, n, 3)
        noisy = target + sigma * normal(100 + seed, n, 3)
        losses = [
            float(denoising_loss(factor * noisy, target, spread, level, beads)[metric])
            for factor in factors
        ]
        parabola = np.polynomial.Polynomial.fit(factors, losses, 2)
        assert parabola.deriv(2)(0.0) > 0.0
        best.append(parabola.deriv().roots()[0])
    error = np.std(best, ddof=1) / 4.0
    assert error < 0.02
    assert abs(np.mean(best) - variance / (variance + sigma**2)) < 4.0 * error


def test_loss_ignores_what_moves_nothing():
    beads = many_beads(2, 0.5)
    n = len(beads.masses)
    spread, sigma = 0.5 + normal(3, n, 1).abs(), torch.ones(n, 1).double()
    denoised, target = normal(1, n, 3), normal(2, n, 3)
    shift = beads.rest / spread * normal(5, 1, 3)
    one, _ = denoising_loss(denoised, target, spread, sigma, beads)
    other, _ = denoising_loss(denoised + shift, target, spread, sigma, beads)
    np.testing.assert_allclose(one, other)


@pytest.mark.parametrize("sigma", [0.02, 0.5, 3.0])
def test_idle_networks_denoise_the_standard_normal(sigma):
    mapping = mixture()
    _, denoise = denoiser_of(rouse_only(small_spec()), mapping)
    white = normal(1, 7, 3)
    np.testing.assert_allclose(denoise(white, sigma), white / (1.0 + sigma**2))


def test_without_noise_there_is_nothing_to_remove():
    """The answer tends to the question, whatever the weights."""
    _, denoise = denoiser_of(learned(small_spec()), mixture())
    white = normal(1, 7, 3)
    far, near = (
        np.abs((denoise(white, sigma) - white).numpy()).max() for sigma in (0.1, 1e-4)
    )
    assert far > 1e-3
    assert near < 2e-3 * far + 1e-7


def test_the_candidate_counts():
    """What the network adds depends on where the other beads are, not only on one."""
    _, denoise = denoiser_of(learned(small_spec()), chain())
    white = normal(1, 5, 3)
    other = white.clone()
    other[4] += 1.0
    change = (denoise(other, 1.0) - denoise(white, 1.0))[:4]
    assert change.abs().min() > 1e-8


def test_the_condition():
    spec = small_spec()
    mapping = chain()
    condition, _ = denoiser_of(rouse_only(spec), mapping)
    start = coil(mapping)
    beads = double_system(build_system(mapping, spec)).beads
    layout = laid_out(beads, [5])
    for along, points in zip(
        condition.along, (start, condition.mean.numpy()), strict=True
    ):
        gap = points[layout.receiver] - points[layout.sender]
        unit = gap[:10] / np.linalg.norm(gap[:10], axis=1, keepdims=True)
        np.testing.assert_allclose(along[:, :10].T, unit, atol=1e-6)
    drift = (condition.mean.numpy() - start) / spec.statistics.displacement_scale
    np.testing.assert_allclose(condition.drift, drift)
    zero = torch.zeros(5, 3, dtype=torch.float64)
    assert torch.equal(
        unwhiten(zero, condition.mean, condition.spread, beads), condition.mean
    )
