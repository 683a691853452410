"""Structure of boxes against naive loops and lattices."""

import numpy as np
import pytest

from cgml.molecules.box import minimum_image
from cgml.observables import peaks, structure
from cgml.observables.structure import RadialDistribution

BOX = np.array([[4.0, 0, 0], [1.5, 4.0, 0], [-1.0, 1.0, 4.0]])


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(3).random((6, 40, 3)) @ BOX + 9.0


def distance_table(frame: np.ndarray) -> np.ndarray:
    """All minimum-image distances, infinite on the diagonal."""
    table = np.linalg.norm(minimum_image(frame[:, None] - frame[None], BOX), axis=-1)
    np.fill_diagonal(table, np.inf)
    return table


def test_radial_distribution_is_the_naive_one(frames):
    first, second = np.arange(25), np.arange(15, 40)  # they share ten beads
    molecules = np.arange(40) // 4
    edges = np.linspace(0.0, 1.6, 9)
    other = (molecules[:, None] != molecules[None])[np.ix_(first, second)]
    counts = [
        np.histogram(distance_table(frame)[np.ix_(first, second)][other], edges)[0]
        for frame in frames
    ]
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    expected = np.array(counts) * 64.0 / (shells * other.sum())
    result = structure.radial_distribution(
        frames,
        BOX,
        cutoff=1.6,
        pair=(first, second),
        molecules=molecules,
        n_bins=8,
        n_blocks=3,
    )
    np.testing.assert_allclose(result.distances, (edges[1:] + edges[:-1]) / 2)
    np.testing.assert_allclose(result.values, expected.mean(axis=0), rtol=1e-9)
    blocks = expected.reshape(3, 2, 8).mean(axis=1)
    errors = blocks.std(axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(result.errors, errors, rtol=1e-9, atol=1e-12)


def test_agrees_with_freud(frames):
    import freud

    cell = freud.box.Box.from_matrix(BOX.T)
    peer = freud.density.RDF(20, 1.5, normalization_mode="finite_size")
    for frame in frames:
        peer.compute((cell, cell.wrap(frame)), reset=False)
    result = structure.radial_distribution(frames, BOX, cutoff=1.5, n_bins=20)
    np.testing.assert_allclose(result.values, peer.rdf, rtol=1e-3, atol=1e-6)


def test_runs_are_pooled(frames):
    runs = frames.reshape(2, 3, 40, 3)
    one = structure.radial_distribution(frames, BOX, cutoff=1.5, n_blocks=2)
    both = structure.radial_distribution(runs, BOX, cutoff=1.5, n_blocks=1)
    np.testing.assert_allclose(one.values, both.values)
    np.testing.assert_allclose(one.errors, both.errors)


def test_one_block_has_no_error(frames):
    result = structure.radial_distribution(frames, BOX, cutoff=1.5, n_blocks=1)
    assert np.isnan(result.errors).all()


def test_highest_peak_lies_between_bins():
    r = 0.02 * np.arange(1, 40)
    g = 7.0 - 400.0 * (r - 0.313) ** 2
    rdf = structure.RadialDistribution(r, g, np.full(39, 0.1))
    peak = peaks.highest_peak(rdf)
    assert peak.distance == pytest.approx(0.313)
    assert peak.height == pytest.approx((7.0, 0.1))
    edge = structure.RadialDistribution(r, -r, np.full(39, 0.1))
    assert peaks.highest_peak(edge).distance == r[0]


def test_first_minimum():
    r = np.linspace(0.01, 2.0, 200)
    g = np.where(r < 0.5, 0.0, 1.0 + 2.0 * np.cos(2 * np.pi * (r - 0.6)) * np.exp(-r))
    rdf = RadialDistribution(r, g, np.zeros_like(r))
    exact = 1.1 - np.arctan(1.0 / (2.0 * np.pi)) / (2.0 * np.pi)  # dg/dr = 0
    assert peaks.first_minimum(rdf) == pytest.approx(exact, abs=r[1] - r[0])


R = 0.0233 * (np.arange(50) + 0.5)
SHELL = 1.0 / (1.0 + np.exp(-(R - 0.3) / 0.02))  # rises to 1 and stays


@pytest.mark.parametrize(
    ("g", "right"),
    [
        (SHELL, np.nan),  # no peak
        (SHELL * np.exp(-R), np.nan),  # falls all the way
        (SHELL * (0.2 + R), np.nan),  # rises all the way
        (0.9 * SHELL + 0.5 * np.exp(-(((R - 0.35) / 0.02) ** 2)), np.nan),  # no rise
        (
            SHELL * (0.7 + 0.4 * R) + 0.6 * np.exp(-(((R - 0.35) / 0.03) ** 2)),
            0.43,  # a peak lower than what is far away
        ),
    ],
    ids=["step", "falling", "rising", "one peak", "sharp peak"],
)
def test_first_minimum_is_one_or_none(g, right):
    noise = np.random.default_rng(0).normal(scale=0.005, size=50)
    rdf = RadialDistribution(R, np.maximum(g + noise, 0.0), np.full(50, 0.005))
    found = peaks.first_minimum(rdf)
    assert found == pytest.approx(right, abs=0.05, nan_ok=True)


def test_nearest_distances_leave_bonds_out(frames):
    bonds = np.array([[k, k + 1] for k in range(0, 40, 2)])
    result = structure.nearest_distances(frames, BOX, cutoff=1.78, bonds=bonds)
    for frame, row in zip(frames, result, strict=True):
        table = distance_table(frame)
        table[bonds[:, 0], bonds[:, 1]] = table[bonds[:, 1], bonds[:, 0]] = np.inf
        np.testing.assert_allclose(row, table.min(axis=1), rtol=1e-5)


def test_collisions_are_the_naive_count(frames):
    bonds = [[0, 1], [5, 9]]
    result = structure.collisions(frames, BOX, 0.7, bonds=bonds)
    for frame, count in zip(frames, result, strict=True):
        table = distance_table(frame)
        close = [
            (i, j) for i in range(40) for j in range(i + 1, 40) if table[i, j] < 0.7
        ]
        expected = len([pair for pair in close if list(pair) not in bonds])
        assert count == pytest.approx(expected / 40)


def test_reference_collides_as_often_as_the_quantile_says(frames):
    nearest = structure.nearest_distances(frames, BOX)
    distance = structure.collision_distance(nearest, 0.05)
    assert np.mean(nearest <= distance) == pytest.approx(0.05, abs=2 / 240)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda x: structure.radial_distribution(x[0], BOX, cutoff=1.0),
            r"\(n_runs, n_frames, n, 3\) are required, got \(40, 3\)",
        ),
        (
            lambda x: structure.radial_distribution(x, BOX, cutoff=2.5),
            "2 x cutoff = 5 nm wide",
        ),
        (
            lambda x: structure.radial_distribution(x, BOX, cutoff=1.0, n_blocks=7),
            "each of the 6 frames are required, got 7",
        ),
        (
            lambda x: structure.radial_distribution(
                x, BOX, cutoff=1.0, molecules=np.zeros(40)
            ),
            "different molecules",
        ),
        (
            lambda x: structure.radial_distribution(
                x, BOX, cutoff=1.0, molecules=np.full(40, -1)
            ),
            "smallest of -1",
        ),
        (
            lambda x: structure.radial_distribution(
                x, BOX, cutoff=1.0, pair=([0], [40])
            ),
            r"beads 0 to 39 are required, got \[40\]",
        ),
        (lambda x: structure.collisions(x, BOX, 0.0), "positive cutoff.*got 0.0 nm"),
        (lambda x: structure.collisions(x * np.nan, BOX, 1.0), "finite frames"),
        (
            lambda x: structure.collision_distance(np.full(10, np.inf)),
            "search farther",
        ),
    ],
)
def test_wrong_input(frames, call, words):
    with pytest.raises(ValueError, match=words):
        call(frames)
