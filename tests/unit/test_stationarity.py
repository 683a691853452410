"""Slow functions and their drifts, beside the Rouse chain, which is known exactly."""

import numpy as np
import pytest
import torch
from core_systems import (
    chain,
    coil,
    frames_of,
    idle_model,
    laid_out,
    mixture,
    rouse_frames,
    rouse_only,
    small_spec,
)
from torch import nn

from cgml.formats.trajectory import BeadTrajectory
from cgml.molecules.ideal_chain import gained_variance, laplacian_modes, retention
from cgml.network.gaussian import Prediction, unwhiten
from cgml.network.inputs import build_system, join_beads
from cgml.spec import ModelSpec
from cgml.training.stationarity import (
    EDGE,
    N_MODES,
    SHELLS,
    drifts,
    neighbours,
    reach_of,
    slow_weights,
    squares,
    stationarity_loss,
)
from cgml.training.windows import Batch, WindowDataset

SPEC = small_spec(n_history=0)
CHAIN = chain()


def equilibrium(n_frames: int, seed: int = 0) -> BeadTrajectory:
    positions = rouse_frames(CHAIN, SPEC, n_frames, seed)
    return frames_of(CHAIN, positions, spacing=SPEC.time_step)


def batch_of(spec: ModelSpec, trajectories: list[BeadTrajectory], n: int) -> Batch:
    dataset = WindowDataset(
        trajectories,
        spec,
        None,
        n_molecules=len(trajectories),
        n_windows=n,
        n_batches=1,
        seed=0,
    )
    dataset.slow = slow_weights(trajectories, trajectories, spec)[0]
    return dataset[0]


def predict(model: nn.Module, batch: Batch) -> Prediction:
    embedding = model.embedding(batch.atoms).index_select(0, batch.embedding_rows)
    return model.predictor(batch.beads, batch.layout, embedding, batch.history)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(batch: Batch) -> torch.Tensor:
    return torch.randn((1, *batch.target.shape), generator=stream())


def modes_of(positions: np.ndarray) -> np.ndarray:
    """Squares of the slowest modes and mean of all, of frames of one chain."""
    masses = CHAIN.bead_masses
    vectors = laplacian_modes(masses, CHAIN.bead_bonds)[1]
    weights = np.sqrt(masses / masses.mean())
    modes = (vectors * weights[:, None]).T[1:] @ positions
    square = np.square(modes).sum(axis=-1)
    return np.concatenate(
        (square[..., :N_MODES], square.mean(axis=-1, keepdims=True)), axis=-1
    )


def test_squares_of_modes_and_their_mean_of_a_gaussian():
    beads = build_system(CHAIN, SPEC).beads
    two = join_beads([beads, beads])
    positions = torch.tensor(np.concatenate((coil(CHAIN, 0), coil(CHAIN, 1))))
    systems = torch.tensor([0] * 5 + [1] * 5)
    found = squares(two, systems, positions).numpy()
    for row, seed in zip(found, (0, 1), strict=True):
        np.testing.assert_allclose(row, modes_of(coil(CHAIN, seed)), rtol=1e-6)
    spread = torch.linspace(0.5, 2.0, 10)[:, None]
    expected = found.copy()
    for bead in range(10):
        noise = torch.zeros(10, 3)
        noise[bead, 0] = 1.0  # all coordinates are alike
        moved = unwhiten(noise.double(), torch.zeros(10, 3).double(), spread, two)
        expected += 3.0 * squares(two, systems, moved).numpy()
    told = squares(two, systems, positions, spread).numpy()
    np.testing.assert_allclose(told, expected, rtol=1e-6)


def test_molecules_of_one_bead_have_no_modes():
    mapping = mixture()
    beads = build_system(mapping, SPEC).beads
    systems = torch.zeros(mapping.n_beads, dtype=torch.int64)
    positions = torch.tensor(coil(mapping))
    found = squares(beads, systems, positions)[0]
    parts = []
    for molecule in np.unique(mapping.molecule_index):
        members = np.flatnonzero(mapping.molecule_index == molecule)
        if len(members) == 1:
            continue
        weights = mapping.bead_masses[members] / mapping.bead_masses[members].mean()
        places = positions.numpy()[members]
        offsets = places - np.average(places, axis=0, weights=weights)
        parts.append((weights[:, None] * offsets**2).sum() / (len(members) - 1))
    assert float(found[-1]) == pytest.approx(np.mean(parts))


def test_neighbours_of_open_and_periodic_systems():
    beads = build_system(CHAIN, SPEC).beads
    places = coil(CHAIN, 3)
    systems, reach = torch.zeros(5, dtype=torch.int64), 5.0
    box = 6.0 * np.eye(3)
    for cutoff, boxes in ((None, None), (2.9, [torch.tensor(box)])):
        layout = laid_out(beads, [5], places, cutoff, boxes)
        expected = np.zeros(len(SHELLS))
        for i in range(5):
            for j in range(i):
                gap = places[i] - places[j]
                if boxes is not None:
                    gap = gap - 6.0 * np.round(gap / 6.0)
                length = np.linalg.norm(gap)
                if i - j == 1 or (cutoff is not None and length > cutoff):
                    continue
                steps = (reach * np.array(SHELLS) - length) / (EDGE * reach)
                expected += 1.0 / (1.0 + np.exp(-steps)) / 5.0
        found = neighbours(layout, systems, torch.tensor(places).float(), reach)
        assert expected.max() > 0.05
        np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-3, atol=1e-5)


def test_drifts_of_the_rouse_chain_are_known_whatever_the_noise():
    """Its score network has nothing to add: no noise is left in the squares."""
    batch = batch_of(SPEC, [equilibrium(30)], 4)
    model = rouse_only(SPEC).module
    with torch.no_grad():
        prediction = predict(model, batch)
        found = drifts(model, batch, prediction, normal(batch), SPEC)[:, :N_MODES]
    values = laplacian_modes(CHAIN.bead_masses, CHAIN.bead_bonds)[0][1 : N_MODES + 1]
    kept, gained = retention(values, SPEC.prior), gained_variance(values, SPEC.prior)
    square = modes_of(batch.history.positions.view(-1, 5, 3).numpy())[:, :N_MODES]
    expected = (kept**2 - 1.0) * square + 3.0 * gained
    # the last evaluation, at a noise of 0.02, narrows the Gaussian by 0.0004
    np.testing.assert_allclose(found.numpy(), expected, atol=0.005)


def test_drifts_tell_how_far_the_stationary_means_are_off():
    """A Rouse chain whose noise is a fifth too large is larger by a fifth."""
    path = equilibrium(3000)
    wide = small_spec(
        n_history=0,
        prior={"variance": 1.2 * SPEC.prior.variance},
        refinement={"sampler": "none"},
    )
    model = rouse_only(wide).module
    batch = batch_of(wide, [path], 300)
    with torch.no_grad():
        prediction = predict(model, batch)
        found = drifts(model, batch, prediction, normal(batch), wide) * batch.slow
    square = modes_of(path.positions)
    ratio = np.sqrt((square**2).mean(axis=0)) / square.mean(axis=0)
    each = found.numpy()[:, : N_MODES + 1] * ratio
    error = each.std(axis=0) / np.sqrt(len(each))
    # rho is that of one function; of the mean of all modes, which mixes, a mean one
    assert np.all(np.abs(each.mean(axis=0) - 0.2)[:N_MODES] < 4.0 * error[:N_MODES])
    assert 0.1 < each.mean(axis=0)[N_MODES] < 0.4


def test_the_loss_is_the_mean_product_of_two_windows():
    batch = batch_of(SPEC, [equilibrium(30, 0), equilibrium(30, 1)], 3)
    model = idle_model(SPEC)
    with torch.no_grad():
        prediction = predict(model, batch)
        each = drifts(model, batch, prediction, normal(batch), SPEC) * batch.slow
        found = stationarity_loss(model, batch, prediction, SPEC, 3, stream())
    products = [
        (each[3 * slot + i] * each[3 * slot + j]).mean()
        for slot in range(2)
        for i in range(3)
        for j in range(3)
        if i != j
    ]
    assert float(found) == pytest.approx(float(torch.stack(products).mean()), rel=1e-5)


def test_networks_learn_what_is_stationary():
    """Frames twice as wide as the networks' chain: the noise and the mean follow."""
    path = equilibrium(200)
    path = frames_of(CHAIN, 1.3 * path.positions, spacing=SPEC.time_step)
    batch = batch_of(SPEC, [path], 32)
    model = idle_model(SPEC)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(12):
        optimiser.zero_grad()
        prediction = predict(model, batch)
        loss = stationarity_loss(model, batch, prediction, SPEC, 32, stream(step))
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert model.denoiser.readout.edge.weight.grad.abs().max() > 0.0
    assert losses[-1] < 0.3 * losses[0]


def test_windows_are_weighed_by_the_other_half_of_their_frames():
    """Where chance has made chains small drifts are upwards, and must not count more.

    By their own half, 16 frames of a model that is right would tell it to shrink.
    """
    path = equilibrium(17)
    weights = slow_weights([path], [path], SPEC)[0][0, :, : N_MODES + 1]
    square = modes_of(path.positions)
    sizes = [
        np.sqrt(np.square(np.concatenate((square[k : k + 8], square[k + 1 : k + 9]))))
        for k in (0, 8)
    ]
    rms = [np.sqrt(np.square(some).mean(axis=0)) for some in sizes]
    assert np.abs(rms[1] / rms[0] - 1.0).max() > 0.2
    np.testing.assert_allclose(weights[1] / weights[0], rms[1] / rms[0], rtol=1e-5)


def test_windows_of_a_molecule_are_of_one_half():
    paths = [equilibrium(17, seed) for seed in range(6)]
    batch = batch_of(SPEC, paths, 5)
    told = slow_weights(paths, paths, SPEC)[0]
    known = np.array([modes_of(path.positions) for path in paths])  # (6, 17, n)
    halves = set()
    for k, places in enumerate(batch.history.positions.view(6, 5, 5, 3).numpy()):
        gaps = np.abs(known[:, :, None] - modes_of(places)).max(axis=-1)
        path, frame, _ = (own.tolist() for own in np.nonzero(gaps < 1e-4))
        half = int(frame[0] >= 8)
        assert len(frame) == 5
        assert {number >= 8 for number in frame} == {half == 1}
        rows = batch.slow.view(6, 5, -1)[k]
        assert torch.equal(rows, told[path, half])
        halves.add(half)
    assert halves == {0, 1}


def test_functions_that_are_zero_weigh_nothing():
    far = frames_of(CHAIN, 100.0 * equilibrium(10).positions, spacing=SPEC.time_step)
    weights = slow_weights([far], [far], SPEC)[0]
    assert bool(torch.isfinite(weights).all())
    assert bool((weights[0, :, : N_MODES + 1] > 0.0).all())
    assert weights.shape == (1, 2, N_MODES + 1 + len(SHELLS))
    assert reach_of(SPEC) == pytest.approx(3.6)
