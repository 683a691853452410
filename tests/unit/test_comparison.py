"""Comparison of runs: identical, scaled, slowed and broken ones."""

import numpy as np
import pytest

from cgml.evaluation import comparison
from cgml.evaluation.measures import bonds, handedness, relaxation
from cgml.evaluation.results import Comparison, common_strides
from cgml.evaluation.subject import Run, Subject
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping

BONDS = np.array([[0, 1], [1, 2], [2, 3]])


def walk(seed: int, n_frames: int = 800, time_step: float = 5.0) -> Run:
    """Two runs of a chain of four beads in a harmonic well, correlated in time."""
    generator = np.random.default_rng(seed)
    frames = np.empty((2, n_frames, 4, 3))
    frames[:, 0] = generator.normal(size=(2, 4, 3))
    for k in range(1, n_frames):
        kick = generator.normal(size=(2, 4, 3))
        frames[:, k] = 0.8 * frames[:, k - 1] + 0.6 * kick
    return make_run(frames, time_step)


def make_run(frames: np.ndarray, time_step: float) -> Run:
    rg2 = squared_radius_of_gyration(frames, np.ones(4))
    return Run(frames, time_step, rg2)


@pytest.fixture
def molecule() -> Subject:
    graph = MolecularGraph.create("AAAA", np.ones(4), BONDS)
    mapping = Mapping.from_labels(graph, np.arange(4))
    return Subject("chain", mapping, {"A4": np.arange(4)})


@pytest.fixture(scope="module")
def reference() -> Run:
    return walk(1)


def test_a_run_equals_itself(molecule, reference):
    figures = comparison.compare(molecule, reference, reference).figures
    for name in ("rg2_relative_error", "rg2_emd", "tau_log10_error", "surface_jsd"):
        assert figures[name].value == pytest.approx(0.0, abs=1e-12)
    assert figures["contact_error"].value == 0.0
    assert figures["angle_emd"].value == 0.0
    assert figures["bond_start_error"].value < 0.2


def test_a_mirrored_run_is_measured(molecule):
    """Handedness has the other sign, the angles stand elsewhere, all else is equal."""
    turns = np.radians([0.0, 60.0, 120.0, 180.0])
    screw = np.stack((np.cos(turns), np.sin(turns), 0.3 * turns), axis=1)
    noise = 0.05 * walk(2, 400).positions
    right, left = (make_run((screw + noise) * mirror, 5.0) for mirror in (1.0, -1.0))
    same = comparison.compare(molecule, right, right).figures
    other = comparison.compare(molecule, right, left).figures
    assert same["handedness_error"].value == 0.0
    assert same["dihedral_deviation"].value == 0.0
    chi = other["handedness_reference"]
    assert chi.value > 5.0 * chi.error > 0.0
    assert other["handedness_learned"] == pytest.approx((-chi.value, chi.error))
    assert other["handedness_error"].value == pytest.approx(-2.0 * chi.value)
    assert other["dihedral_deviation"].value > 0.9
    assert other["dihedral_sampling"].value < 0.1
    assert other["rg2_relative_error"].value == pytest.approx(0.0, abs=1e-12)


def test_the_two_hands_of_a_racemate_do_not_cancel(molecule):
    """Molecules that are mirror images count as one, where their hands are known."""
    graph, stream = molecule.mapping.graph, np.random.default_rng(0)
    one = np.cumsum(stream.normal(size=(1, 60, 4, 3)), axis=2)
    bonds = np.concatenate((graph.bonds, graph.bonds + 4))
    both = MolecularGraph.create("AAAA" * 2, np.ones(8), bonds)
    hands = np.array([0, 1, 0, 0, 0, -1, 0, 0], dtype=np.int8)
    mapping = Mapping(both, np.arange(8), hands=hands)
    subject = Subject("both", mapping, {"A4": np.arange(8)})
    found = handedness.look(subject, Run(np.concatenate((one, -one), axis=2), 5.0))
    alone = handedness.look(molecule, Run(one, 5.0))
    np.testing.assert_allclose(found.volumes, alone.volumes)
    np.testing.assert_allclose(found.density, alone.density)


def test_hands_that_outlive_the_run_have_the_error_of_the_molecules():
    """Frozen conformations of achiral molecules: the mean is zero within its error."""
    off = []
    for seed in range(40):
        stream = np.random.default_rng(seed)
        graph = MolecularGraph.create(
            "AAAA" * 12,
            np.ones(48),
            np.concatenate([BONDS + 4 * k for k in range(12)]),
        )
        mapping = Mapping.from_labels(graph, np.arange(48))
        subject = Subject("melt", mapping, {"A4": np.arange(48)})
        frozen = stream.normal(size=(1, 1, 48, 3))
        noise = 0.01 * stream.normal(size=(1, 30, 48, 3))
        side = handedness.look(subject, Run(frozen + noise, 5.0))
        off.append(side.mean.value / side.mean.error)
        assert side.memory == pytest.approx(15.0, rel=0.01)  # all frames are as one
    assert 0.5 < np.std(off) < 1.6
    assert max(np.abs(off)) < 5.0
    new = stream.normal(size=(1, 200, 48, 3))
    assert 0.2 < handedness.look(subject, Run(new, 5.0)).memory < 1.5


def test_a_swollen_run_is_measured(molecule, reference):
    swollen = make_run(1.1 * reference.positions, 5.0)
    figures = comparison.compare(molecule, reference, swollen).figures
    assert figures["rg2_relative_error"].value == pytest.approx(0.21)
    shift = 0.21 * reference.rg2.mean() / reference.rg2.std()
    assert figures["rg2_emd"].value == pytest.approx(shift)
    assert figures["tau_log10_error"].value == pytest.approx(0.0, abs=1e-12)
    ends = figures["end_to_end_learned"].value / figures["end_to_end_reference"].value
    assert ends == pytest.approx(1.1)


def test_drift_of_the_bonds_is_seen(molecule, reference):
    growth = np.linspace(1.0, 1.5, 800)[None, :, None, None]
    drift = comparison.compare(
        molecule, reference, make_run(growth * reference.positions, 5.0)
    ).once(bonds.drift)
    assert drift.shape == (10, 3)
    # of the same frames, without growth: what sampling alone makes of the pieces
    flat = comparison.compare(molecule, reference, reference).once(bonds.drift)
    part = (np.arange(10) + 0.5) / 10
    np.testing.assert_allclose(drift[:, 1] / flat[:, 1], 1.0 + 0.5 * part, atol=0.02)


def test_a_slowed_run_is_measured(molecule, reference):
    slow = make_run(reference.positions, 20.0)  # the same frames, four times slower
    figures = comparison.compare(molecule, reference.every(1), slow).figures
    own = figures["tau_learned_own_spacing"].value
    assert own == pytest.approx(4.0 * figures["tau_reference_own_spacing"].value)
    assert figures["tau_log10_error"].value > 0.3


def test_kinetics_use_the_common_spacing(molecule, reference):
    """A run looked at less often is the same run."""
    thin = reference.every(4)
    result = comparison.compare(molecule, reference, thin)
    assert result.figures["tau_log10_error"].value == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(np.diff(result.once(relaxation.correlation).lags), 20.0)
    own = result.figures["tau_reference_own_spacing"].value
    assert own != result.figures["tau_reference"].value


@pytest.mark.parametrize(
    ("steps", "strides"),
    [((5.0, 20.0), (4, 1)), ((20.0, 5.0), (1, 4)), ((2.0, 3.0), (3, 2))],
)
def test_common_strides(steps, strides):
    assert common_strides(*steps) == strides


def test_halves(reference):
    first, second = reference.pieces(2)
    both = np.concatenate((first.positions, second.positions), axis=1)
    np.testing.assert_array_equal(both, reference.positions)


def several(molecule: Subject) -> list[Comparison]:
    scales = (1.0, 1.5, 2.0, 2.5)
    pairs = []
    for k, scale in enumerate(scales):
        right = make_run(scale * walk(k).positions, 5.0)
        learned = make_run(scale * walk(k + 10).positions, 5.0)
        pairs.append(comparison.compare(molecule, right, learned))
    return pairs


def test_summary_is_made_of_the_molecules(molecule):
    pairs = several(molecule)
    summary = comparison.summarise(pairs, 0)
    errors = [abs(item.figures["rg2_relative_error"].value) for item in pairs]
    assert summary["rg2_relative_error"].value == pytest.approx(np.mean(errors))
    assert 0.0 < summary["rg2_relative_error"].error < np.ptp(errors)
    assert summary["rg2_r2"].value > 0.9
    assert summary["rg2_sampling_error"].value == pytest.approx(
        np.sqrt(2 / np.pi)
        * np.mean([item.figures["rg2_relative_error"].error for item in pairs])
    )
    drift = np.mean([item.once(bonds.drift)[-1] for item in pairs], axis=0)
    assert summary["bond_end_error"].value == pytest.approx(abs(drift - 1).max())


def test_errors_of_same_statistics_are_covered(molecule):
    """Independent runs of one system differ by what the errors say."""
    pairs = several(molecule)
    for item in pairs:
        estimate = item.figures["rg2_relative_error"]
        assert abs(estimate.value) < 4.0 * estimate.error


def test_one_molecule_has_no_correlation(molecule, reference):
    one = [comparison.compare(molecule, reference, walk(2))]
    summary = comparison.summarise(one, 0)
    assert np.isnan(summary["rg2_r2"].value)
    assert np.isnan(summary["tau_spearman"].value)
    assert np.isfinite(summary["rg2_relative_error"].value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Run(np.zeros((1, 5, 4, 3)), 1.0, np.zeros((1, 4))), r"\(1, 4\)"),
        (lambda: Run(np.zeros((5, 4, 3)), 1.0, np.zeros(5)), "n_runs"),
        (lambda: Run(np.zeros((1, 5, 4, 3)), 1.0, np.full((1, 5), np.nan)), "NaN"),
        (lambda: common_strides(1.0, np.pi), "1 ps and 3.14159 ps"),
        (lambda: common_strides(1.0, 500.0), "at most 100 times.*500 ps"),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
