"""Transport and residence of processes with a closed form; errors that mean it."""

import numpy as np
import pytest

from cgml.observables import conductivity, residence, structure, transport
from cgml.observables.conductivity import Carrier, Conditions
from cgml.observables.residence import Contacts
from cgml.observables.transport import Diffusivity

D = 0.02  # nm^2/ps
STEP = 2.0  # ps
CONDITIONS = Conditions(volume=50.0, temperature=300.0)


def walkers(generator, shape: tuple[int, ...], diffusivity: float = D) -> np.ndarray:
    """Free walks (n_frames, n, 3), frames 2 ps apart."""
    kicks = generator.normal(size=(*shape, 3))
    return np.sqrt(2.0 * diffusivity * STEP) * kicks.cumsum(axis=-3)


def assert_calibrated(scores: np.ndarray, freedom: int) -> None:
    """Require z-scores like Student's t: mean 0, and the spread that it has."""
    n, width = len(scores), np.sqrt(freedom / (freedom - 2.0))
    assert abs(scores.mean()) < 4.0 * width / np.sqrt(n)
    assert abs(scores.std(ddof=1) - width) < 4.0 * width / np.sqrt(2.0 * n)


@pytest.mark.parametrize(("n", "n_blocks", "freedom"), [(24, 1, 23), (3, 8, 23)])
def test_errors_of_the_diffusivity_are_its_spread(n, n_blocks, freedom):
    generator = np.random.default_rng(7)
    scores = []
    for _ in range(200):
        curve = transport.mean_squared_displacement(
            walkers(generator, (400, n)), STEP, longest=40.0, n_blocks=n_blocks
        )
        result = transport.diffusivity(curve, window=(10.0, 40.0))
        scores.append((result.value - D) / result.error)
    assert_calibrated(np.array(scores), freedom)


def test_errors_of_the_displacement_are_its_spread():
    generator = np.random.default_rng(17)
    scores = []
    for _ in range(200):
        curve = transport.mean_squared_displacement(
            walkers(generator, (200, 24)), STEP, longest=100.0
        )
        scores.append((curve.values - 6.0 * D * curve.lags) / curve.errors)
    for column in (0, 9, 49):
        assert_calibrated(np.array(scores)[:, column], 23)


def test_the_window_found_is_as_good_as_any():
    generator = np.random.default_rng(5)
    found = []
    for _ in range(100):
        curve = transport.mean_squared_displacement(
            walkers(generator, (400, 24)), STEP, longest=80.0
        )
        found.append(transport.diffusivity(curve))
    values = np.array([item.value for item in found])
    assert abs(values.mean() - D) < 4.0 * values.std() / 10.0
    assert np.mean([item.is_diffusive for item in found]) > 0.9
    assert_calibrated((values - D) / np.array([item.error for item in found]), 23)


def test_logarithms_are_as_far_off_as_they_say():
    generator = np.random.default_rng(6)
    scores = []
    for _ in range(150):
        curve = transport.mean_squared_displacement(
            walkers(generator, (400, 24)), STEP, longest=40.0
        )
        estimate = transport.diffusivity(curve, window=(10.0, 40.0)).log10
        scores.append((estimate.value - np.log10(D)) / estimate.error)
    assert_calibrated(np.array(scores), 23)


def test_a_trapped_particle_reaches_its_plateau():
    r"""6 s^2 (1 - exp(-k t)) of Ornstein and Uhlenbeck."""
    generator, decay, spread = np.random.default_rng(3), 0.8, 0.3
    path = np.empty((4000, 30, 3))
    path[0] = spread * generator.normal(size=(30, 3))
    for k in range(1, 4000):
        kick = spread * np.sqrt(1.0 - decay**2) * generator.normal(size=(30, 3))
        path[k] = decay * path[k - 1] + kick
    curve = transport.mean_squared_displacement(path, 1.0, longest=60.0)
    exact = 6.0 * spread**2 * (1.0 - decay**curve.lags)
    assert (abs(curve.values - exact) < 4.5 * curve.errors).all()
    assert curve.errors.max() < 0.02 * exact[-1]
    late = transport.diffusivity(curve, window=(30.0, 60.0))
    assert abs(late.value) < 4.0 * late.error
    assert not late.is_diffusive


def test_drift_of_the_whole_is_no_diffusion():
    path = walkers(np.random.default_rng(9), (300, 400))
    wind = np.arange(300)[:, None, None] * np.array([0.5, 0.0, -0.2])
    still, windy = (
        transport.mean_squared_displacement(
            transport.remove_drift(frames), STEP, longest=20.0
        )
        for frames in (path, path + wind)
    )
    np.testing.assert_allclose(windy.values, still.values, rtol=1e-9)


def ions(generator, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Independent cations and anions, the latter three times faster."""
    cations = walkers(generator, (1000, n))
    anions = walkers(generator, (1000, n), 3.0 * D)
    return np.concatenate((cations, anions), axis=1), np.repeat([1.0, -1.0], n)


def free_conductivity(n: int = 12) -> float:
    return CONDITIONS.siemens * n * (D + 3.0 * D)


def test_uncorrelated_ions_conduct_as_nernst_and_einstein_say():
    generator, scores, others = np.random.default_rng(2), [], []
    for _ in range(60):
        positions, charges = ions(generator)
        dipole = conductivity.charge_dipole(positions, charges)
        moved = conductivity.dipole_displacement(
            dipole, STEP, longest=20.0, n_blocks=20
        )
        whole = conductivity.collective_conductivity(
            moved, CONDITIONS, window=(2.0, 20.0)
        )
        scores.append((whole.value - free_conductivity()) / whole.error)
        carriers = [
            Carrier(charge, 12, _diffusivity(positions[:, charges == charge])[:2])
            for charge in (1.0, -1.0)
        ]
        alone = conductivity.nernst_einstein(carriers, CONDITIONS)
        others.append((alone.value - free_conductivity()) / alone.error)
    assert_calibrated(np.array(scores), 19)
    assert_calibrated(np.array(others), 15)


def test_transference_of_uncorrelated_ions():
    generator, scores = np.random.default_rng(4), []
    for _ in range(60):
        positions, charges = ions(generator)
        carriers = [
            Carrier(q, 12, _diffusivity(positions[:, charges == q])[:2])
            for q in (1.0, -1.0)
        ]
        alone = conductivity.self_transference(carriers, 0)
        scores.append((alone.value - 0.25) / alone.error)
    assert_calibrated(np.array(scores), 15)


def test_paired_ions_do_not_conduct():
    generator = np.random.default_rng(1)
    pairs = walkers(generator, (1000, 12))
    rattling = 0.05 * generator.normal(size=(2, 1000, 12, 3))
    positions = np.concatenate(pairs + rattling, axis=1)
    charges = np.repeat([1.0, -1.0], 12)
    dipole = conductivity.charge_dipole(positions, charges)
    moved = conductivity.dipole_displacement(dipole, STEP, longest=40.0)
    whole = conductivity.collective_conductivity(moved, CONDITIONS, window=(4.0, 40.0))
    carriers = [Carrier(q, 12, _diffusivity(pairs)[:2]) for q in (1.0, -1.0)]
    alone = conductivity.nernst_einstein(carriers, CONDITIONS)
    assert abs(whole.value) < 4.0 * whole.error
    assert abs(whole.value) < 0.01 * alone.value


def _diffusivity(positions: np.ndarray) -> Diffusivity:
    curve = transport.mean_squared_displacement(positions, STEP, longest=20.0)
    return transport.diffusivity(curve, window=(2.0, 20.0))


def two_state(generator, shape: tuple[int, int], join: float, leave: float):
    """Markov contacts (n_pairs, n_frames), in equilibrium from the first frame."""
    is_close = np.empty(shape, dtype=bool)
    is_close[:, 0] = generator.random(shape[0]) < join / (join + leave)
    for k in range(1, shape[1]):
        draw = generator.random(shape[0])
        is_close[:, k] = np.where(is_close[:, k - 1], draw >= leave, draw < join)
    return is_close


def test_lifetimes_of_a_two_state_process():
    generator, join, leave = np.random.default_rng(12), 0.02, 0.1
    results = []
    for _ in range(200):
        is_close = two_state(generator, (100, 400), join, leave)
        contacts = Contacts(np.arange(100) // 5, is_close, 20, 100)
        results.append(residence.intermittent(contacts, STEP))
    rate = join + leave  # 1/2 + sum of (1 - rate)^k by the trapezium rule
    exact = STEP * (1.0 / rate - 0.5)
    values = np.array([item.lifetime.value for item in results])
    errors = np.array([item.lifetime.error for item in results])
    # the integral stops after 5 lifetimes: exp(-5) is missing
    assert abs(values.mean() - exact) < 0.01 * exact + 4.0 * values.std() / 200**0.5
    spread = values.std(ddof=1)
    error = np.hypot(spread / np.sqrt(2 * 199), errors.std(ddof=1) / np.sqrt(200))
    assert abs(errors.mean() - spread) < 4.0 * error
    lags = results[0].lags / STEP
    values = np.array([item.values for item in results])[:, :30]
    chance = join / rate
    expected = chance + (1.0 - chance) * (1.0 - rate) ** lags[:30]
    error = values.std(axis=0, ddof=1) / 200**0.5
    assert error.max() < 0.005
    assert (abs(values.mean(axis=0) - expected) <= 4.0 * error).all()


def test_ideal_gas_is_uniform_within_its_errors():
    box = np.array([[4.0, 0, 0], [1.0, 4.0, 0], [0.5, -0.7, 4.0]])
    frames = np.random.default_rng(6).random((200, 60, 3)) @ box + 11.0
    groups = np.arange(20), np.arange(20, 60)
    for pair in (None, groups, (groups[0], groups[0])):
        rdf = structure.radial_distribution(
            frames, box, cutoff=1.5, pair=pair, n_bins=15, n_blocks=20
        )
        scores = ((rdf.values - 1.0) / rdf.errors)[3:]
        assert (abs(scores) < 5.0).all()
        assert 0.5 < scores.std() < 1.7
