"""Residence of pairs against naive loops."""

import numpy as np
import pytest

from cgml.molecules.box import minimum_image
from cgml.observables import residence
from cgml.observables.residence import Contacts

BOX = 3.0 * np.eye(3)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    steps = np.random.default_rng(2).normal(scale=0.3, size=(2, 30, 9, 3))
    return steps.cumsum(axis=1)


def naive(frames: np.ndarray, pair: tuple, cutoff: float) -> np.ndarray:
    """Contacts of all pairs, (n_runs * n_first * n_second, n_frames)."""
    first, second = pair
    vectors = frames[:, :, first, None] - frames[:, :, None, second]
    close = np.linalg.norm(minimum_image(vectors, BOX), axis=-1) < cutoff
    return close.transpose(0, 2, 3, 1).reshape(-1, frames.shape[1])


PAIR = ([0, 1, 2, 3], [4, 5, 6, 7, 8])


def test_intermittent_is_the_naive_correlation(frames):
    h = naive(frames, PAIR, 1.1).astype(float)
    assert 0.05 < h.mean() < 0.5
    found = residence.find_contacts(frames, BOX, cutoff=1.1, pair=PAIR)
    result = residence.intermittent(found, 2.0)
    expected = [np.mean(h[:, : 30 - k] * h[:, k:]) / h.mean() for k in range(30)]
    np.testing.assert_allclose(result.values, expected, atol=1e-12)
    np.testing.assert_allclose(result.lags, 2.0 * np.arange(30))
    assert result.chance == pytest.approx(h.mean())


def test_pairs_of_one_group_are_counted_as_they_are(frames):
    group = [0, 1, 2, 3, 4]
    found = residence.find_contacts(frames, BOX, cutoff=1.1, pair=(group, group))
    assert found.n_possible == 2 * 20
    h = naive(frames, (group, group), 1.1)
    own = np.tile(np.eye(5, dtype=bool).ravel(), 2)
    assert residence.intermittent(found, 1.0).chance == pytest.approx(h[~own].mean())


def test_pairs_within_a_molecule_do_not_count(frames):
    """Of five beads in molecules of two, two and one, 16 ordered pairs are left."""
    group, molecules = np.arange(5), np.array([0, 0, 1, 1, 2, 3, 3, 3, 3])
    found = residence.find_contacts(
        frames, BOX, cutoff=1.1, pair=(group, group), molecules=molecules
    )
    assert found.n_possible == 2 * 16
    h = naive(frames, (group, group), 1.1).reshape(2, 5, 5, 30)
    other = molecules[:5, None] != molecules[None, :5]
    assert residence.intermittent(found, 1.0).chance == pytest.approx(
        h[:, other].mean()
    )
    numbers = (h & other[..., None]).sum(axis=2).reshape(10, 30)
    np.testing.assert_array_equal(found.numbers, numbers)


def test_error_is_the_jackknife_over_first_beads():
    generator = np.random.default_rng(8)
    is_close = generator.random((12, 40)) < 0.4
    units = np.repeat(np.arange(4), 3)
    whole = Contacts(units, is_close, 4, 12)
    left = [
        residence.intermittent(
            Contacts(
                units[units != k] - (units[units != k] > k), is_close[units != k], 3, 9
            ),
            1.0,
        ).lifetime.value
        for k in range(4)
    ]
    expected = np.sqrt(3 / 4 * np.sum((left - np.mean(left)) ** 2))
    result = residence.intermittent(whole, 1.0)
    assert result.lifetime.error == pytest.approx(expected)


def test_one_unit_has_no_error():
    is_close = np.array([[True, True, False, False]])
    result = residence.intermittent(Contacts(np.array([0]), is_close, 1, 1), 1.0)
    assert np.isnan(result.lifetime.error)
    assert np.isfinite(result.lifetime.value)


def test_bonds_that_never_break_have_no_intermittent_lifetime():
    contacts = Contacts(np.array([0]), np.ones((1, 5), dtype=bool), 1, 1)
    assert np.isnan(residence.intermittent(contacts, 1.0).lifetime.value)


def test_coordination_of_rock_salt():
    sites = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    even = np.flatnonzero(sites.sum(axis=1) % 2 == 0)
    odd = np.flatnonzero(sites.sum(axis=1) % 2 == 1)
    crystal, box = np.tile(sites.astype(float), (2, 3, 1, 1)), 4.0 * np.eye(3)
    for pair, number in (((even, odd), 6), ((even, even), 12)):
        found = residence.find_contacts(crystal, box, cutoff=1.5, pair=pair)
        assert found.numbers.shape == (64, 3)
        assert (found.numbers == number).all()


def test_no_contact_has_no_lifetime(frames):
    found = residence.find_contacts(frames, BOX, cutoff=1e-6, pair=PAIR)
    assert not found.numbers.any()
    with pytest.raises(ValueError, match="none of the 40 is ever within"):
        residence.intermittent(found, 1.0)


def test_hosts_are_molecules_of_which_any_bead_is_near(frames):
    """Beads of 4 to 8 in two molecules: a host counts once, however many touch."""
    molecules = np.array([0, 1, 2, 3, 9, 9, 9, 7, 7])
    found = residence.find_contacts(
        frames, BOX, cutoff=1.1, pair=PAIR, molecules=molecules, hosts=True
    )
    h = naive(frames, PAIR, 1.1).reshape(2, 4, 5, 30)
    hosts = np.stack([h[:, :, :3].any(axis=2), h[:, :, 3:].any(axis=2)], axis=2)
    assert found.n_possible == 2 * 4 * 2
    assert residence.intermittent(found, 1.0).chance == pytest.approx(hosts.mean())
    np.testing.assert_array_equal(found.numbers, hosts.sum(axis=2).reshape(8, 30))


def test_hosts_need_molecules(frames):
    with pytest.raises(ValueError, match="molecules are required"):
        residence.find_contacts(frames, BOX, cutoff=1.1, pair=PAIR, hosts=True)


def test_departures_count_what_leaves_for_good():
    """A short absence is none, a short visit ends nothing, and two beads share."""
    series = ["1110111000000", "0000100000111", "1111111110000"]
    is_close = np.array([[c == "1" for c in line] for line in series])
    contacts = Contacts(np.array([0, 0, 1]), is_close, 2, 6)
    rate, error = residence.departures(contacts, 5.0, 10.0)
    assert rate == pytest.approx(1.0 / (12 * 5.0))  # one each
    assert error == pytest.approx(1.0 / (2 * 12 * 5.0))  # one of one bead
    rate, _ = residence.departures(contacts, 5.0, 5.0)
    assert rate == pytest.approx(2.0 / (12 * 5.0))  # and the absence, and the visit


@pytest.mark.parametrize("n_beads", [1, 10])
def test_no_departure_has_the_error_of_one(n_beads):
    """Of no event in the time seen, one is still likely."""
    is_close = np.ones((n_beads, 61), dtype=bool)
    contacts = Contacts(np.arange(n_beads), is_close, n_beads, n_beads)
    rate, error = residence.departures(contacts, 20.0, 100.0)
    assert rate == 0.0
    assert error == pytest.approx(1.0 / (n_beads * 1200.0))


def test_scatter_is_that_of_the_group_that_differs_less():
    """Four ions with two neighbours each, of beads of which most have none."""
    closeness = np.ones((8, 5), dtype=bool)
    ions, beads = np.arange(8) // 2, np.array([0, 0, 0, 0, 1, 1, 2, 3])
    assert Contacts(ions, closeness, 4, 80, beads, 20).scatter == 0.0
    counts = np.bincount(beads, minlength=20)
    right = counts.std(ddof=1) / np.sqrt(20) / counts.mean()
    assert Contacts(beads, closeness, 20, 80).scatter == pytest.approx(right)
    assert Contacts(beads, 0 * closeness > 0, 20, 80).scatter == 0.0
