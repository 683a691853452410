import numpy as np
import pytest
import torch
from core_systems import (
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
from cgml.network.gaussian import (
    Prediction,
    gaussian_loss,
    project,
    unwhiten,
    whiten,
)
from cgml.network.inputs import Beads, build_system
from cgml.network.model import LearnedModel
from cgml.network.predictor import History
from cgml.spec import ModelSpec

HELD = pytest.mark.parametrize("friction", [None, 0.5], ids=["free", "held"])


def beads_of(mapping: Mapping, spec: ModelSpec) -> Beads:
    return double_system(build_system(mapping, spec)).beads


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape))


def spreads(n: int, seed: int = 5) -> torch.Tensor:
    return 0.5 + torch.tensor(np.random.default_rng(seed).random((n, 1)))


def predict(
    model: LearnedModel, mapping: Mapping, positions: np.ndarray, moves: torch.Tensor
) -> Prediction:
    """Run the predictor in double precision, all displacements known."""
    atoms, beads = double_system(build_system(mapping, model.spec))
    layout = laid_out(beads, [mapping.n_beads])
    module = model.module.double()
    known = torch.ones(*moves.shape[:2], 1, dtype=torch.float64)
    with torch.no_grad():
        history = History(torch.tensor(positions), moves, known)
        return module.predictor(beads, layout, module.embedding(atoms), history)


@HELD
def test_unwhiten_undoes_whiten(friction):
    """For positions that the Gaussian can reach: any, or those of the same centre."""
    mapping = mixture()
    beads = beads_of(mapping, small_spec(friction=friction))
    mean, spread = torch.tensor(coil(mapping)), spreads(7)
    moved = mean + unwhiten(normal(1, 7, 3), torch.zeros(7, 3), spread, beads)
    white = whiten(moved, mean, spread, beads)
    np.testing.assert_allclose(unwhiten(white, mean, spread, beads), moved, atol=1e-6)


@HELD
def test_whiten_undoes_unwhiten(friction):
    mapping = mixture()
    beads = beads_of(mapping, small_spec(friction=friction))
    mean, spread = torch.tensor(coil(mapping)), spreads(7)
    white = project(normal(1, 7, 3), spread, beads)
    found = whiten(unwhiten(white, mean, spread, beads), mean, spread, beads)
    np.testing.assert_allclose(found, white, atol=1e-5)


def test_without_a_held_centre_any_position_can_be_whitened():
    mapping = mixture()
    beads = beads_of(mapping, small_spec(friction=None))
    spread, anywhere = spreads(7), normal(2, 7, 3)
    white = whiten(anywhere, torch.zeros(7, 3), spread, beads)
    found = unwhiten(white, torch.zeros(7, 3), spread, beads)
    np.testing.assert_allclose(found, anywhere, atol=1e-5)


def test_projection_removes_what_moves_nothing():
    mapping = mixture()
    beads = beads_of(mapping, small_spec(friction=0.5))
    spread, white = spreads(7), normal(3, 7, 3)
    held = project(white, spread, beads)
    zero = torch.zeros(7, 3, dtype=torch.float64)
    np.testing.assert_allclose(
        unwhiten(held, zero, spread, beads),
        unwhiten(white, zero, spread, beads),
        atol=1e-6,
    )
    np.testing.assert_allclose(project(held, spread, beads), held, atol=1e-12)
    for molecule in range(3):
        member = beads.molecules == molecule
        removed = ((beads.rest / spread) * held)[member].sum(dim=0)
        np.testing.assert_allclose(removed, 0.0, atol=1e-12)
    assert held.square().sum() < white.square().sum()


def test_projection_does_nothing_where_all_directions_move():
    beads = beads_of(mixture(), small_spec(friction=None))
    white = normal(3, 7, 3)
    assert torch.equal(project(white, spreads(7), beads), white)


def test_unwhitened_noise_keeps_centres_of_mass():
    mapping = mixture()
    beads = beads_of(mapping, small_spec(friction=0.5))
    zero = torch.zeros(7, 3, dtype=torch.float64)
    moved = unwhiten(normal(4, 7, 3), zero, spreads(7), beads)
    for molecule in range(3):
        member = mapping.molecule_index == molecule
        momentum = mapping.bead_masses[member] @ moved.numpy()[member]
        np.testing.assert_allclose(momentum, 0.0, atol=1e-6)


def exact_loss(
    mean: torch.Tensor, spread: torch.Tensor, target: torch.Tensor, beads: Beads
) -> float:
    """Negative log-density of N(mean, L S^2 L^T) per coordinate, without constants.

    Where the centre is held, the density is that on the positions of this centre.
    """
    root = whole(beads, beads.kinds.root)
    deviation = root * spread.numpy()[:, 0]
    basis, sizes, _ = np.linalg.svd(root)
    basis = basis[:, sizes > 1e-5 * sizes.max()]
    cover = basis.T @ deviation @ deviation.T @ basis
    error = basis.T @ (target - mean).numpy()  # (rank, 3)
    total = 0.5 * np.sum(error * np.linalg.solve(cover, error))
    return (total + 1.5 * np.linalg.slogdet(cover).logabsdet) / target.numel()


@HELD
@pytest.mark.parametrize("mapping", [chain(), mixture()], ids=["chain", "mixture"])
def test_loss_is_the_likelihood(mapping, friction):
    """Equal but for a constant, so differences between cases are compared."""
    beads = beads_of(mapping, small_spec(friction=friction))
    n, start = mapping.n_beads, torch.tensor(coil(mapping))
    zero = torch.zeros(n, 3, dtype=torch.float64)
    unused = [torch.empty(0)] * (len(Prediction._fields) - 2)
    found, expected = [], []
    for seed in range(4):
        spread = (1.0 + 0.5 * seed) * spreads(n, seed)
        mean = start + unwhiten(normal(seed + 10, n, 3), zero, spread, beads)
        target = start + unwhiten(normal(seed + 20, n, 3), zero, spread, beads)
        prediction = Prediction(mean, spread, *unused)
        found.append(float(gaussian_loss(prediction, target, beads)))
        expected.append(exact_loss(mean, spread, target, beads))
    np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=1e-5)


def test_idle_networks_predict_the_rouse_chain():
    spec = small_spec()
    mapping = chain()
    found = predict(
        rouse_only(spec), mapping, coil(mapping), torch.zeros(2, 5, 3).double()
    )
    beads = beads_of(mapping, spec)
    expected = whole(beads, beads.kinds.mean) @ coil(mapping)
    np.testing.assert_allclose(found.mean, expected, atol=1e-6)
    np.testing.assert_allclose(found.spread, 1.0, rtol=1e-6)


def test_the_spread_is_bounded_from_below():
    """However small the network makes it: no division by zero in the loss."""
    model = rouse_only(small_spec())
    with torch.no_grad():
        model.module.predictor.spread.second.bias.fill_(-1.0e3)
    mapping = chain()
    found = predict(model, mapping, coil(mapping), torch.zeros(2, 5, 3).double())
    np.testing.assert_allclose(found.spread, 0.1)


def test_the_mean_keeps_centres_of_mass():
    mapping = mixture()
    start = coil(mapping)
    moves = normal(6, 2, 7, 3)
    found = predict(learned(small_spec()), mapping, start, moves).mean.numpy() - start
    assert np.abs(found).max() > 0.1
    for molecule in range(3):
        member = mapping.molecule_index == molecule
        momentum = mapping.bead_masses[member] @ found[member]
        np.testing.assert_allclose(momentum, 0.0, atol=1e-5)


def test_history_counts():
    mapping, model = chain(), learned(small_spec())
    start, moves = coil(mapping), normal(6, 2, 5, 3)
    found = predict(model, mapping, start, moves).mean
    for age in range(2):
        other = moves.clone()
        other[age, 0] += 1.0
        changed = predict(model, mapping, start, other).mean
        assert (changed - found).abs().max() > 1e-4


@pytest.mark.parametrize("n_history", [0, 1, 3])
def test_any_length_of_history(n_history):
    mapping, model = chain(), learned(small_spec(n_history=n_history))
    found = predict(model, mapping, coil(mapping), normal(6, n_history, 5, 3))
    assert found.mean.shape == (5, 3)
    assert found.spread.shape == (5, 1)
    assert found.nodes.shape == (5, 32)
    assert found.edges.shape == (64, 32)  # ten pairs both ways, padded
