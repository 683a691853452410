import numpy as np
import pytest

from cgml.molecules.ideal_chain import (
    gained_variance,
    kernels,
    laplacian_modes,
    retention,
)
from cgml.molecules.pieces import pieces
from cgml.spec import RousePrior

PRIOR = RousePrior(rate=0.7, variance=1.3)
NO_BONDS = np.empty((0, 2), dtype=np.int64)


def path(n: int) -> np.ndarray:
    return np.stack((np.arange(n - 1), np.arange(1, n)), axis=1)


def star(n: int) -> np.ndarray:
    return np.stack((np.zeros(n - 1, dtype=np.int64), np.arange(1, n)), axis=1)


def unequal(n: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(1.0, 5.0, n)


SHAPES = [
    (np.ones(1), NO_BONDS),
    (np.array([1.0, 3.0]), path(2)),
    (unequal(7), path(7)),
    (np.full(6, 12.0), star(6)),  # degenerate modes
    (unequal(5), np.array([[0, 1], [1, 2], [2, 3], [3, 4], [0, 4]])),  # a ring
]


@pytest.mark.parametrize("n", [2, 3, 10])
def test_modes_of_an_equal_chain(n):
    """lambda_p = 4 sin^2(p pi / 2 n), the Rouse spectrum."""
    values, vectors = laplacian_modes(np.full(n, 5.0), path(n))
    expected = 4.0 * np.sin(np.arange(n) * np.pi / (2.0 * n)) ** 2
    np.testing.assert_allclose(values, expected, atol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-12)


def test_modes_of_a_star():
    """0, 1 (n - 2 times) and n."""
    values, _ = laplacian_modes(np.ones(6), star(6))
    np.testing.assert_allclose(values, [0.0, 1.0, 1.0, 1.0, 1.0, 6.0], atol=1e-12)


def test_only_ratios_of_masses_count():
    masses = unequal(7)
    one, other = (laplacian_modes(factor * masses, path(7)) for factor in (1.0, 9.0))
    np.testing.assert_allclose(one[0], other[0], atol=1e-12)


def test_eigenvalues_are_not_negative():
    for n in range(2, 40):
        assert laplacian_modes(unequal(n), path(n))[0].min() >= 0.0


def test_two_beads():
    """The bond vector is one Ornstein-Uhlenbeck process of stationary variance c."""
    masses = np.array([1.0, 3.0])
    eigenvalue = 2.0 * (1.0 / 1.0 + 1.0 / 3.0)  # mean mass over reduced mass
    kept = np.exp(-PRIOR.rate * eigenvalue)
    found = kernels(masses, path(2), PRIOR, hold_centre=True)
    bond = np.array([-1.0, 1.0])
    np.testing.assert_allclose(bond @ found.mean, kept * bond, atol=1e-12)
    gained = bond @ found.root @ found.root.T @ bond
    np.testing.assert_allclose(gained, PRIOR.variance * (1.0 - kept**2))


@pytest.mark.parametrize("rate", [1e-12, 1e-6, 0.7, 50.0])
def test_a_free_particle_diffuses(rate):
    """Variance 2 D t with D t = b c; no drift."""
    prior = RousePrior(rate=rate, variance=1.3)
    found = kernels(np.array([4.0]), NO_BONDS, prior, hold_centre=False)
    np.testing.assert_allclose(found.mean, [[1.0]])
    np.testing.assert_allclose(found.root**2, [[2.0 * rate * 1.3]], rtol=1e-12)


def test_the_centre_of_a_chain_diffuses_as_one_particle():
    """Friction proportional to mass: D of n equal beads is 1/n of the free one."""
    found = kernels(np.ones(8), path(8), PRIOR, hold_centre=False)
    centre = np.full(8, 1.0 / 8.0)
    variance = centre @ found.root @ found.root.T @ centre
    np.testing.assert_allclose(variance, 2.0 * PRIOR.rate * PRIOR.variance / 8.0)


def test_gained_variance_is_smooth_at_zero():
    eigenvalues = np.concatenate(([0.0], np.logspace(-14, 3, 100)))
    gained = gained_variance(eigenvalues, PRIOR)
    assert (np.diff(gained) <= 0.0).all()
    np.testing.assert_allclose(gained[0], 2.0 * PRIOR.rate * PRIOR.variance)
    argument = np.exp(-2.0 * PRIOR.rate * eigenvalues[40:])
    naive = PRIOR.variance * (1.0 - argument) / eigenvalues[40:]
    np.testing.assert_allclose(gained[40:], naive, rtol=1e-7)
    np.testing.assert_allclose(
        retention(eigenvalues, PRIOR), np.exp(-0.7 * eigenvalues)
    )


@pytest.mark.parametrize("hold_centre", [True, False])
@pytest.mark.parametrize(("masses", "bonds"), SHAPES)
def test_two_steps_are_one_of_twice_the_time(masses, bonds, hold_centre):
    """Chapman and Kolmogorov: H(2b) = H H and C(2b) = C + H C H^T."""
    once = kernels(masses, bonds, PRIOR, hold_centre=hold_centre)
    double = PRIOR.model_copy(update={"rate": 2.0 * PRIOR.rate})
    twice = kernels(masses, bonds, double, hold_centre=hold_centre)
    cover = once.root @ once.root.T
    np.testing.assert_allclose(once.mean @ once.mean, twice.mean, atol=1e-12)
    np.testing.assert_allclose(
        cover + once.mean @ cover @ once.mean.T, twice.root @ twice.root.T, atol=1e-12
    )


@pytest.mark.parametrize(("masses", "bonds"), SHAPES)
def test_the_centre_of_mass_is_held(masses, bonds):
    found = kernels(masses, bonds, PRIOR, hold_centre=True)
    share = masses / masses.sum()
    np.testing.assert_allclose(share @ found.root, 0.0, atol=1e-12)
    np.testing.assert_allclose(share @ found.mean, share, atol=1e-12)
    np.testing.assert_allclose(found.mean.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(found.root @ found.rest, 0.0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found.rest), 1.0)


@pytest.mark.parametrize("hold_centre", [True, False])
@pytest.mark.parametrize(("masses", "bonds"), SHAPES)
def test_the_inverse_is_the_pseudo_inverse(masses, bonds, hold_centre):
    """Penrose's conditions; lengths are those of sqrt(mass) x."""
    found = kernels(masses, bonds, PRIOR, hold_centre=hold_centre)
    root, inverse = found.root, found.inverse
    np.testing.assert_allclose(root @ inverse @ root, root, atol=1e-12)
    np.testing.assert_allclose(inverse @ root @ inverse, inverse, atol=1e-12)
    inside = inverse @ root
    expected = np.eye(len(masses)) - np.outer(found.rest, found.rest)
    np.testing.assert_allclose(inside, expected, atol=1e-12)
    weight = np.sqrt(masses)
    outside = (root @ inverse) * weight[:, None] / weight
    np.testing.assert_allclose(outside, outside.T, atol=1e-12)
    if not hold_centre:
        np.testing.assert_allclose(found.rest, 0.0)
        np.testing.assert_allclose(root @ inverse, np.eye(len(masses)), atol=1e-12)


def test_beads_may_be_renumbered():
    masses, bonds = SHAPES[3]
    masses = masses * np.array([1.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    order = np.array([3, 5, 0, 1, 4, 2])
    one = kernels(masses, bonds, PRIOR, hold_centre=True)
    other = kernels(masses[order], np.argsort(order)[bonds], PRIOR, hold_centre=True)
    for name in ("mean", "root", "inverse"):
        block = getattr(one, name)[np.ix_(order, order)]
        np.testing.assert_allclose(getattr(other, name), block, atol=1e-12)


def test_pieces_are_those_of_a_loop():
    """Beads of pieces mixed; bonds between two pieces are left out."""
    labels = np.array([1, 0, 1, 1, 2, 0, 1])
    bonds = np.array([[0, 2], [1, 5], [0, 1], [3, 6], [2, 3], [4, 6]])
    found = pieces(labels, bonds)
    assert [part.members.tolist() for part in found] == [[1, 5], [0, 2, 3, 6], [4]]
    local = [part.bonds.tolist() for part in found]
    assert local == [[[0, 1]], [[0, 1], [2, 3], [1, 2]], []]
