"""Displacements and diffusivities against naive loops."""

import numpy as np
import pytest

from cgml.molecules.centres import centres_of_mass
from cgml.observables import transport
from cgml.observables.transport import Displacement


@pytest.fixture(scope="module")
def paths() -> np.ndarray:
    """Two runs of 40 frames of 5 walkers, far from the origin."""
    steps = np.random.default_rng(1).normal(size=(2, 40, 5, 3))
    return steps.cumsum(axis=1) + 50.0


def power_law(exponent: float, n_lags: int = 200) -> Displacement:
    lags = 2.0 * np.arange(1, n_lags + 1)
    values = 0.3 * lags**exponent
    return Displacement(lags, values, np.stack((0.9 * values, 1.1 * values)))


@pytest.mark.parametrize("n_lags", [1, 10, 39])
def test_displacement_is_the_naive_one(paths, n_lags):
    result = transport.mean_squared_displacement(paths, 2.0, longest=2.0 * n_lags)
    expected = np.array(
        [
            ((paths[:, k:] - paths[:, :-k]) ** 2).sum(axis=-1).mean(axis=1).ravel()
            for k in range(1, n_lags + 1)
        ]
    )
    np.testing.assert_allclose(result.lags, 2.0 * np.arange(1, n_lags + 1))
    np.testing.assert_allclose(result.units, expected.T, rtol=1e-9)
    np.testing.assert_allclose(result.values, expected.mean(axis=1), rtol=1e-9)
    spread = expected.std(axis=1, ddof=1) / np.sqrt(10)
    np.testing.assert_allclose(result.errors, spread, rtol=1e-9)


def test_agrees_with_mdanalysis(paths):
    import MDAnalysis
    from MDAnalysis.analysis import msd

    universe = MDAnalysis.Universe.empty(5, trajectory=True)
    universe.load_new(paths[0].astype(np.float32))
    peer = msd.EinsteinMSD(universe, fft=False).run()
    result = transport.mean_squared_displacement(
        paths[0].astype(np.float32), 1.0, longest=20.0
    )
    np.testing.assert_allclose(result.values, peer.results.timeseries[1:21], rtol=1e-5)


def test_agrees_with_freud(paths):
    import freud

    near = paths[0] - 50.0  # freud counts in single precision
    peer = freud.msd.MSD(mode="window").compute(near)
    result = transport.mean_squared_displacement(paths[0], 1.0, longest=39.0)
    np.testing.assert_allclose(result.values, peer.msd[1:], rtol=1e-4)


def test_blocks_are_units(paths):
    result = transport.mean_squared_displacement(paths, 1.0, longest=5.0, n_blocks=3)
    assert result.units.shape == (30, 5)
    one = transport.mean_squared_displacement(paths[1, 13:26], 1.0, longest=5.0)
    np.testing.assert_allclose(result.units[16::3][:5][0], one.units[0])
    whole = transport.mean_squared_displacement(paths, 1.0, longest=5.0)
    np.testing.assert_allclose(result.values, whole.values)


def test_a_path_that_stands_still_does_not_move():
    result = transport.mean_squared_displacement(np.full((9, 2, 3), 1e3), 1.0)
    np.testing.assert_allclose(result.values, 0.0, atol=1e-9)


def test_drift_goes(paths):
    masses = np.arange(1.0, 6.0)
    drifting = paths[0] + np.arange(40)[:, None, None] * [1.0, 2.0, -3.0]
    result = transport.remove_drift(drifting, masses)
    np.testing.assert_allclose(masses @ result.transpose(2, 1, 0), 0.0, atol=1e-9)
    np.testing.assert_allclose(result, transport.remove_drift(paths[0], masses))


def test_centres_are_weighted(paths):
    masses = [1.0, 3.0, 1.0, 1.0, 2.0]
    result = centres_of_mass(paths, [7, 7, 2, 2, 2], masses)
    assert result.shape == (2, 40, 2, 3)
    first = (paths[..., 2, :] + paths[..., 3, :] + 2 * paths[..., 4, :]) / 4
    second = (paths[..., 0, :] + 3 * paths[..., 1, :]) / 4
    np.testing.assert_allclose(result[..., 0, :], first)
    np.testing.assert_allclose(result[..., 1, :], second)


def test_power_laws_are_interpolated_exactly():
    curve = power_law(0.7)
    lags = np.array([2.0, 3.3, 77.7, 400.0])
    result = curve.at(lags)
    np.testing.assert_allclose(result.values, 0.3 * lags**0.7)
    np.testing.assert_allclose(result.units.mean(axis=0), result.values)
    np.testing.assert_allclose(result.errors, 0.1 * result.values)
    known = curve.at(curve.lags)
    np.testing.assert_allclose(known.units, curve.units)


def test_a_straight_line_has_its_slope():
    lags = np.arange(1.0, 101.0)
    values = 6.0 * 0.25 * lags + 3.0  # a cage on top
    curve = Displacement(lags, values, np.stack((0.9 * values, 1.1 * values)))
    result = transport.diffusivity(curve, window=(20.0, 90.0))
    assert result.value == pytest.approx(0.25)
    assert result.error == pytest.approx(0.025)
    assert result.window == (20.0, 90.0)
    assert result.is_diffusive
    assert result.log10.value == pytest.approx(np.log10(0.25))
    assert result.log10.error == pytest.approx(0.1 / np.log(10))


def test_window_starts_where_diffusion_does():
    lags = np.arange(1.0, 1001.0)
    values = np.where(lags < 100.0, 60.0 * (lags / 100.0) ** 0.5, 0.6 * lags)
    curve = Displacement(lags, values, values[None])
    window, slope = transport.diffusive_window(curve)
    assert 75.0 < window[0] <= 126.0
    assert window[1] == 1000.0
    assert slope == pytest.approx(1.0, abs=0.02)


def test_without_diffusion_the_best_window_is_flagged():
    lags = np.arange(1.0, 1001.0)
    values = 1.0 + 0.1 * lags**0.8  # slope rises towards 0.8
    result = transport.diffusivity(Displacement(lags, values, values[None]))
    assert not result.is_diffusive
    assert result.window == (500.0, 1000.0)
    assert 0.7 < result.slope < 0.8
    assert np.isnan(result.error)


def test_logarithm_of_nothing_is_nan():
    lags = np.arange(1.0, 11.0)
    falling = Displacement(lags, 20.0 - lags, (20.0 - lags)[None])
    assert np.isnan(transport.diffusivity(falling, window=(1.0, 10.0)).log10.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda x: transport.mean_squared_displacement(x, 1.0, longest=40.0),
            "between 1 and 39 lags.*1 blocks of 40 frames 1 ps apart, got 40",
        ),
        (
            lambda x: transport.mean_squared_displacement(x, 1.0, n_blocks=0),
            "0 blocks",
        ),
        (lambda x: transport.mean_squared_displacement(x[0, 0], 1.0), r"\(5, 3\)"),
        (lambda x: transport.remove_drift(x, np.ones(4)), "each of the 5 positions"),
        (lambda x: power_law(1.0).at([1.0]), "2 to 400 ps are known.*1 to 1 ps"),
        (
            lambda x: transport.diffusivity(power_law(1.0), window=(3.0, 5.0)),
            "window of 3 to 5 ps, 200 lags up to 400 ps have 1 there",
        ),
        (
            lambda x: transport.diffusive_window(power_law(1.0, 2)),
            "factor of 2 are required to find a window, got 2",
        ),
        (
            lambda x: Displacement(x[0, :3, 0, 0], np.zeros(3), np.zeros((1, 3))).at(
                [x[0, 0, 0, 0]]
            ),
            "positive displacements",
        ),
    ],
)
def test_wrong_input(paths, call, words):
    with pytest.raises(ValueError, match=words):
        call(paths)
