"""Baselines of diffusivities on made-up boxes whose answer is known."""

import numpy as np
import pytest
from electrolyte_systems import electrolyte, walk

from cgml.evaluation import box_baselines as baselines
from cgml.evaluation import regression
from cgml.evaluation.box_baselines import Labelled, Prediction
from cgml.evaluation.boxes import BoxRun
from cgml.evaluation.regression import NetworkOptions
from cgml.molecules.graph import MolecularGraph

SPECIES = ["cation", "anion"]
WINDOW = (4.0, 32.0)


def labelled(n: int, seed: int) -> Labelled:
    """Boxes whose log10 D is quadratic in the share of one monomer."""
    share = np.random.default_rng(seed).random(n)
    graphs = [
        MolecularGraph.create("E" * k + "X" * (10 - k), np.ones(10), [[0, 1]])
        for k in np.round(10 * share).astype(int)
    ]
    log10_d = np.column_stack((-2.0 + share**2, -1.5 - share))
    names = [f"box {k}" for k in range(n)]
    return Labelled(names, SPECIES, log10_d, share[:, None], graphs)


def prediction(values: list) -> Prediction:
    return Prediction("some", ["a", "b"], SPECIES, np.array(values, dtype=float))


def test_scores_average_over_draws():
    item = prediction([[[1.0, 2.0], [3.0, 4.0]], [[1.5, 2.0], [3.0, 4.5]]])
    scores = item.scores(np.array([[1.0, 2.5], [3.0, 4.0]]))
    assert scores["log10_d_cation_error"].value == pytest.approx(0.125)
    assert scores["log10_d_cation_error"].error == pytest.approx(0.125)
    assert scores["log10_d_anion_error"].value == pytest.approx((0.25 + 0.5) / 2)
    np.testing.assert_array_equal(item.of("anion"), [2.0, 4.0])


def test_short_runs_are_pieces_of_the_reference():
    run = walk(3)
    item = baselines.short_runs([(electrolyte(), run)], 74.0, WINDOW)
    assert item.log10_d.shape == (4, 1, 3)
    piece = BoxRun(run.positions[:, 74:111], 2.0)
    expected = baselines.log10_diffusivities(electrolyte(), piece, WINDOW)
    np.testing.assert_array_equal(item.log10_d[2, 0], expected)
    assert item.log10_d[:, :, :2].mean() == pytest.approx(-2.0, abs=0.15)


def test_shift_by_others_leaves_the_box_itself_out():
    item = prediction([[[1.0, 1.0], [2.0, 2.0]], [[1.2, 1.0], [2.0, 2.0]]])
    right = np.array([[2.1, 1.0], [5.0, 2.5]])
    moved = baselines.shift_by_others(item, right)
    expected = [[4.0, 1.5], [3.0, 2.0]]  # each moved by what the other lacks
    np.testing.assert_allclose(moved.log10_d[0], expected)
    assert moved.name == "some, shifted"


def test_mean():
    train, test = labelled(8, 0), labelled(3, 1)
    result = baselines.fit_mean(train, test)
    np.testing.assert_allclose(result.log10_d[0, 2], train.log10_d.mean(axis=0))


def test_quadratic_fit_is_exact_for_a_quadratic_law():
    train, test = labelled(8, 0), labelled(3, 1)
    result = baselines.fit_composition(train, test)
    np.testing.assert_allclose(result.log10_d[0], test.log10_d)
    assert result.name == "composition, quadratic"
    line = baselines.fit_composition(train, test, degree=1)
    assert abs(line.log10_d[0, :, 0] - test.log10_d[:, 0]).max() > 0.01
    np.testing.assert_allclose(line.log10_d[0, :, 1], test.log10_d[:, 1])


def test_fractions_that_add_up_to_one_do_no_harm():
    train, test = (
        Labelled(
            some.names,
            some.species,
            some.log10_d,
            np.column_stack((some.composition, 1.0 - some.composition)),
        )
        for some in (labelled(8, 0), labelled(3, 1))
    )
    result = baselines.fit_composition(train, test)
    np.testing.assert_allclose(result.log10_d[0], test.log10_d, rtol=1e-6)


def test_network_is_the_one_of_regression():
    options = NetworkOptions(width=4, n_rounds=1, n_members=1, n_epochs=2)
    train, stop, test = labelled(6, 0), labelled(3, 1), labelled(2, 2)
    result = baselines.fit_graph_network(train, stop, test, options)
    expected = regression.fit_graph_network(
        (train.graphs, train.log10_d),
        (stop.graphs, stop.log10_d),
        test.graphs,
        options,
    )
    assert result.log10_d.shape == (1, 2, 2)
    np.testing.assert_array_equal(result.log10_d[0], expected)


def test_predictions_survive_a_file(tmp_path):
    item = prediction([[[1.0, 2.0], [3.0, 4.0]]])
    baselines.save(tmp_path / "baselines.json", [item])
    (result,) = baselines.load(tmp_path / "baselines.json")
    assert (result.name, result.boxes, result.species) == ("some", ["a", "b"], SPECIES)
    np.testing.assert_array_equal(result.log10_d, item.log10_d)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "other.json").write_text('{"baselines": []}')
    with pytest.raises(ValueError, match="diffusivities that baselines predict"):
        baselines.load(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: baselines.short_runs([(electrolyte(), walk(1))], 60.0, WINDOW),
            "twice the last lag, 32 ps.*300 ps of 'box' are required, got 60 ps",
        ),
        (
            lambda: baselines.short_runs([(electrolyte(), walk(1))], 900.0, WINDOW),
            "got 900 ps",
        ),
        (
            lambda: baselines.shift_by_others(
                Prediction("one", ["a"], SPECIES, np.zeros((1, 1, 2))), np.zeros((1, 2))
            ),
            "two boxes or more.*got 1",
        ),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
