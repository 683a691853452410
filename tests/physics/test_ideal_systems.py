"""Observables of systems with a closed form."""

import numpy as np
import pytest

from cgml.molecules.centres import squared_radius_of_gyration
from cgml.observables import chains as observables
from cgml.observables import statistics
from cgml.observables.chains import Surface


@pytest.fixture(scope="module")
def ideal_chains() -> np.ndarray:
    """Freely jointed Gaussian chains of 20 beads, bond variance 1 nm^2 in all."""
    steps = np.random.default_rng(4).normal(scale=3**-0.5, size=(4000, 20, 3))
    return steps.cumsum(axis=1)


def test_radius_of_gyration_of_an_ideal_chain(ideal_chains):
    values = squared_radius_of_gyration(ideal_chains, np.ones(20))
    exact = (20**2 - 1) / (6 * 20)  # b^2 (N^2 - 1) / 6 N
    assert abs(values.mean() - exact) < 4.0 * values.std() / np.sqrt(len(values))


def test_ends_of_an_ideal_chain(ideal_chains):
    squares = observables.end_to_end_distance(ideal_chains) ** 2
    assert abs(squares.mean() - 19.0) < 4.0 * squares.std() / np.sqrt(len(squares))


def test_angles_of_an_ideal_chain_are_isotropic(ideal_chains):
    triplets = observables.angle_triplets([[k, k + 1] for k in range(19)])
    cosines = np.cos(observables.angles(ideal_chains[:2000], triplets)).mean(axis=1)
    assert abs(cosines.mean()) < 4.0 * cosines.std() / np.sqrt(len(cosines))


def test_contacts_of_neighbours(ideal_chains):
    """P(r < a) of a Gaussian bond is the Maxwell distribution's."""
    from scipy.stats import maxwell

    exact = maxwell.cdf(1.0, scale=3**-0.5)
    contacts = np.diag(observables.contact_map(ideal_chains, 1.0), k=1)
    error = np.sqrt(exact * (1.0 - exact) / contacts.size / len(ideal_chains))
    assert abs(contacts.mean() - exact) < 4.0 * error


def test_halves_of_one_ensemble_share_their_surface(ideal_chains):
    surface = Surface.fit(ideal_chains[:2000])
    same, other = (surface.histogram(part) for part in np.split(ideal_chains, 2))
    swollen = surface.histogram(1.2 * ideal_chains[2000:])
    divergence = statistics.jensen_shannon_divergence
    n_free = np.count_nonzero(same + other) - 1
    expected = n_free / (4 * 2000)  # chi-squared law of two equal samples
    assert abs(divergence(same, other) - expected) < 4 * expected * (2 / n_free) ** 0.5
    assert divergence(same, swollen) > 5 * expected
