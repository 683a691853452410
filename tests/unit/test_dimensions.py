"""Sizes of chains in a box, and how long their ends remember, against closed forms."""

import numpy as np
import pytest
from electrolyte_systems import BOX, electrolyte, walk

from cgml.evaluation import comparison
from cgml.evaluation.measures import dimensions
from cgml.evaluation.results import ComparisonOptions
from cgml.evaluation.subject import Run, Subject
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.observables import chains

N_CHAINS, N_FRAMES, STEP = 40, 400, 2.0
SPREAD = 4.0 / np.sqrt(2.0 * 11.0)  # four standard errors of that of 12 runs
TIME, VARIANCE = 20.0, 0.04  # ps, nm^2 of each component


def dumbbells(name="melt") -> Subject:
    """Forty molecules of two beads of one mass."""
    bonds = np.arange(2 * N_CHAINS).reshape(-1, 2)
    n = 2 * N_CHAINS
    graph = MolecularGraph.create("A" * n, np.ones(n), bonds.tolist())
    mapping = Mapping.from_labels(graph, np.arange(n))
    return Subject(name, mapping, {"dumbbell": np.arange(n)}, BOX)


def turning(seed: int, time: float = TIME, scale: float = 1.0) -> Run:
    """Let ends be Ornstein-Uhlenbeck processes of this time, centres at rest."""
    stream = np.random.default_rng(seed)
    kept = np.exp(-STEP / time)
    ways = stream.normal(size=(N_FRAMES, N_CHAINS, 3))
    for k in range(1, N_FRAMES):
        ways[k] = kept * ways[k - 1] + np.sqrt(1.0 - kept**2) * ways[k]
    ways *= scale * np.sqrt(VARIANCE)
    centres = stream.random((1, N_CHAINS, 3)) @ BOX
    beads = np.stack((centres - 0.5 * ways, centres + 0.5 * ways), axis=2)
    return Run(beads.reshape(1, N_FRAMES, 2 * N_CHAINS, 3), STEP)


OPTIONS = ComparisonOptions(shortest=2.0, longest=60.0, quantile=0.02)


@pytest.fixture(scope="module")
def figures():
    """Of runs of which the second turns twice as fast, and is a tenth larger."""
    sides = turning(1), turning(2, 0.5 * TIME, 1.1)
    return comparison.compare(dumbbells(), *sides, options=OPTIONS).figures


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("rg2_dumbbell_reference", 3.0 * VARIANCE / 4.0),
        ("rg2_dumbbell_learned", 3.0 * VARIANCE / 4.0 * 1.21),
        ("rg2_dumbbell_relative_error", 0.21),
        ("end2_dumbbell_reference", 3.0 * VARIANCE),
        ("end2_dumbbell_relative_error", 0.21),
        ("end_time_dumbbell_reference", TIME),
        ("end_time_dumbbell_learned", 0.5 * TIME),
        ("end_time_dumbbell_log10_error", np.log10(0.5)),
    ],
)
def test_figures_are_those_of_the_process(figures, name, right):
    found = figures[name]
    assert 0.0 < found.error < 0.1 * max(abs(right), 1.0)
    assert abs(found.value - right) < 4.0 * found.error


def test_errors_are_how_much_runs_differ():
    """Of many runs, the spread is what one run says of itself."""
    found = [
        dimensions.memory(
            dimensions.end_vectors(dumbbells(), turning(seed), "dumbbell"), STEP
        )
        for seed in range(12)
    ]
    times = [one.time.value for one in found]
    said = np.mean([one.time.error for one in found])
    assert np.std(times, ddof=1) == pytest.approx(said, rel=SPREAD)
    at = np.array([one.values[10] for one in found])
    said = np.mean([one.errors[10] for one in found])
    assert at.std(ddof=1) == pytest.approx(said, rel=SPREAD)


def test_rigid_chains_that_only_move_remember_for_ever():
    same = comparison.compare(electrolyte(), walk(1), walk(1), options=OPTIONS)
    assert dimensions.parts(same.subject) == ["polymer"]
    assert np.isnan(same.figures["end_time_polymer_reference"].value)
    assert same.figures["end2_polymer_relative_error"].value == pytest.approx(0.0)


def test_rings_and_branches_have_no_ends():
    star, ring = [[0, 1], [0, 2], [0, 3]], [[4, 5], [5, 6], [6, 4]]
    assert chains.ends([*star, *ring, [8, 7], [8, 9]]).tolist() == [[7, 9]]
    assert chains.ends(np.zeros((0, 2), int)).shape == (0, 2)
