"""Baselines on made-up molecules whose answer is known."""

import numpy as np
import pytest

from cgml.evaluation import baselines, regression
from cgml.evaluation.baselines import Labelled, Prediction
from cgml.evaluation.regression import NetworkOptions
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping

SMALL = NetworkOptions(width=8, n_rounds=2, n_members=1, n_epochs=20, patience=20)


def chain(types: str) -> MolecularGraph:
    bonds = [[k, k + 1] for k in range(len(types) - 1)]
    return MolecularGraph.create(types, np.ones(len(types)), bonds)


def molecules(n: int, seed: int, letters: str = "ABCD") -> list[MolecularGraph]:
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.ones(len(letters)), size=n)
    return [chain("".join(generator.choice(list(letters), 24, p=p))) for p in weights]


def fraction(graph: MolecularGraph, name: str) -> float:
    return graph.types.count(name) / graph.n_atoms


def labelled(graphs: list[MolecularGraph], law) -> Labelled:
    values = np.array([law(graph) for graph in graphs])
    return Labelled(graphs, np.column_stack((values, 0.1 * values)))


def linear(graph: MolecularGraph) -> float:
    return 5.0 + 3.0 * fraction(graph, "A") - 2.0 * fraction(graph, "D")


def quadratic(graph: MolecularGraph) -> float:
    net = fraction(graph, "C") - fraction(graph, "D")
    return linear(graph) + 7.0 * net**2 + 2.0 * fraction(graph, "B") ** 2


def trajectory(seed: int, n_frames: int = 100, name: str = "m") -> BeadTrajectory:
    mapping = Mapping.from_partition(chain("ABCDABCDAB"), 5.0)
    generator = np.random.default_rng(seed)
    frames = generator.normal(size=(n_frames, 2, 3)).astype(np.float32)
    rg2 = 10.0 + generator.normal(size=n_frames)
    times = 2.0 * np.arange(n_frames)
    return BeadTrajectory(mapping, frames, times, name=name, observables={"rg2": rg2})


def test_mean():
    train = labelled(molecules(6, 0), linear)
    result = baselines.fit_mean(train, train, molecules(3, 1))
    np.testing.assert_allclose(result, np.tile(train.targets.mean(axis=0), (3, 1)))


def test_linear_fit_is_exact_for_a_linear_law():
    train, test = (labelled(molecules(20, seed), linear) for seed in (0, 1))
    result = baselines.fit_composition(train, train, test.graphs)
    np.testing.assert_allclose(result, test.targets)


def test_only_the_quadratic_fit_knows_the_net_charge():
    train, test = (labelled(molecules(40, seed), quadratic) for seed in (0, 1))
    charges = {"C": 1.0, "D": -1.0}
    exact = baselines.fit_composition(train, train, test.graphs, charges=charges)
    np.testing.assert_allclose(exact, test.targets, rtol=1e-6)
    flat = baselines.fit_composition(train, train, test.graphs)
    assert abs(flat - test.targets).max() > 0.1


@pytest.mark.parametrize(
    "fit", [regression.fit_graph_network, regression.fit_sequence_network]
)
def test_networks_learn_a_law(fit):
    """Half the spread of the targets or less is left on molecules never seen."""
    train, stop, test = (
        labelled(molecules(n, seed, "AD"), linear)
        for n, seed in ((40, 0), (8, 1), (20, 2))
    )
    result = fit(
        (train.graphs, train.targets), (stop.graphs, stop.targets), test.graphs, SMALL
    )
    left = (result - test.targets).std(axis=0)
    assert (left < 0.5 * test.targets.std(axis=0)).all()


def test_networks_are_reproducible_and_leave_the_global_stream_alone():
    import torch

    train = labelled(molecules(8, 0), linear)
    data = (train.graphs, train.targets)
    before = torch.random.get_rng_state()
    quick = NetworkOptions(width=4, n_rounds=1, n_members=1, n_epochs=2)
    one, other = (
        regression.fit_graph_network(data, data, train.graphs, quick) for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_chain_and_its_reverse_are_one_molecule():
    train = labelled(molecules(8, 0), linear)
    data = (train.graphs, train.targets)
    quick = NetworkOptions(width=4, n_members=1, n_epochs=2)
    types = "AABCDDDABC"
    result = regression.fit_sequence_network(
        data, data, [chain(types), chain(types[::-1])], quick
    )
    np.testing.assert_allclose(result[0], result[1], rtol=1e-5)


def test_chain_order_follows_the_bonds():
    graph = MolecularGraph.create("ABCD", np.ones(4), [[0, 2], [2, 1], [1, 3]])
    assert regression.chain_order(graph).tolist() == [0, 2, 1, 3]
    assert regression.chain_order(chain("A")).tolist() == [0]


def test_labels_are_mean_and_time():
    item = trajectory(0)
    targets = baselines.label([item]).targets
    assert targets[0, 0] == pytest.approx(item.observables["rg2"].mean())
    assert 10 ** targets[0, 1] == pytest.approx(
        1.0, abs=0.5
    )  # white noise: half of 2 ps


def test_labels_come_from_the_beads_where_there_is_nothing_else():
    item = trajectory(0)
    bare = BeadTrajectory(item.mapping, item.positions, item.times)
    square = ((item.positions[:, 1] - item.positions[:, 0]) ** 2).sum(axis=1) / 4
    np.testing.assert_allclose(baselines.squared_radius(bare), square, rtol=1e-5)


def test_short_runs_are_pieces_of_the_reference():
    item = trajectory(0)
    result = baselines.short_runs([item], 40.0)
    series = item.observables["rg2"]
    assert result.rg2.shape == (5, 1)
    assert result.rg2[0, 0] == pytest.approx(series[:20].mean())
    assert result.rg2[4, 0] == pytest.approx(series[80:].mean())


def test_scores_average_over_draws():
    prediction = Prediction(
        "p", ["a", "b"], np.array([[11.0, 20.0], [10.0, 14.0]]), np.full((2, 2), 10.0)
    )
    scores = prediction.scores(np.array([10.0, 20.0]), np.array([10.0, 100.0]))
    assert scores["rg2_relative_error"].value == pytest.approx((0.05 + 0.15) / 2)
    assert scores["rg2_relative_error"].error == pytest.approx(0.05)
    assert scores["tau_log10_error"].value == pytest.approx(0.5)


def test_measure_gives_every_baseline_and_files_keep_them(tmp_path):
    train, stop = ([trajectory(k, 20) for k in ks] for ks in (range(4), range(4, 6)))
    test = [trajectory(9, 60, "x"), trajectory(10, 60, "y")]
    seen: list[str] = []
    quick = NetworkOptions(width=4, n_rounds=1, n_members=1, n_epochs=2)
    result = baselines.measure(
        train, stop, test, options=quick, on_baseline=seen.append
    )
    assert [item.name for item in result[:-1]] == seen
    assert result[-1].name == "short MD, 40 ps"
    assert result[-1].rg2.shape == (3, 2)
    baselines.save(tmp_path / "b.json", result)
    again = baselines.load(tmp_path / "b.json")
    for one, other in zip(result, again, strict=True):
        assert one.name == other.name
        assert one.molecules == other.molecules == ["x", "y"]
        np.testing.assert_array_equal(one.rg2, other.rg2)
        np.testing.assert_array_equal(one.tau, other.tau)


@pytest.mark.parametrize("text", ["", "[]", '{"baselines": [{"name": "a"}]}'])
def test_foreign_files_are_refused(tmp_path, text):
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"written by `cgml baseline`.*b\.json"):
        baselines.load(path)


@pytest.mark.parametrize("duration", [10.0, 400.0])
def test_short_runs_of_no_use_are_refused(duration):
    with pytest.raises(ValueError, match=f"'m', {duration:g} ps are"):
        baselines.short_runs([trajectory(0)], duration)


def test_a_branched_molecule_is_no_sequence():
    star = MolecularGraph.create("AAAA", np.ones(4), [[0, 1], [0, 2], [0, 3]])
    with pytest.raises(ValueError, match=r"unbranched chain.*at most 3 bonds"):
        regression.chain_order(star)
    ring = MolecularGraph.create("AAA", np.ones(3), [[0, 1], [1, 2], [0, 2]])
    with pytest.raises(ValueError, match=r"unbranched chain.*3 bonds"):
        regression.chain_order(ring)
