"""Baselines on made-up molecules and boxes whose answer is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from electrolyte_systems import electrolyte, walk

from cgml.evaluation import baselines, comparison, predictions, regression
from cgml.evaluation.baselines import Case, Labelled
from cgml.evaluation.measure import Target
from cgml.evaluation.measures import size
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.regression import GraphNetwork, NetworkOptions, SequenceNetwork
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, describe
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.observables import statistics
from cgml.observables.statistics import Estimate

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
    targets = np.column_stack((values, 0.1 * values))
    return Labelled(graphs, targets, np.array([True, False]))


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


def case(item: BeadTrajectory) -> Case:
    (subject,) = describe([item])
    return subject, Run.of(item)


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


def test_without_charges_every_square_is_fitted():
    """As boxes whose log10 D is quadratic in the share of one monomer."""

    def law(graph: MolecularGraph) -> float:
        return -2.0 + fraction(graph, "A") ** 2

    train, test = (labelled(molecules(8, seed, "AD"), law) for seed in (0, 1))
    fit = baselines.fit_composition
    exact = fit(train, train, test.graphs, charges={})
    np.testing.assert_allclose(exact, test.targets, rtol=1e-6)
    assert abs(fit(train, train, test.graphs) - test.targets).max() > 0.001


def test_networks_see_logarithms_of_sizes():
    train = labelled(molecules(6, 0), linear)
    options = NetworkOptions(width=4, n_rounds=1, n_members=1, n_epochs=2)
    logs = np.column_stack((np.log10(train.targets[:, 0]), train.targets[:, 1]))
    data = (train.graphs, logs)
    expected = regression.fit(GraphNetwork, data, data, train.graphs, options)
    expected[:, 0] = 10.0 ** expected[:, 0]
    result = baselines.fit_network(GraphNetwork, options, train, train, train.graphs)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("kind", [GraphNetwork, SequenceNetwork])
def test_networks_learn_a_law(kind):
    """Half the spread of the targets or less is left on molecules never seen."""
    train, stop, test = (
        labelled(molecules(n, seed, "AD"), linear)
        for n, seed in ((40, 0), (8, 1), (20, 2))
    )
    data = [(some.graphs, some.targets) for some in (train, stop)]
    result = regression.fit(kind, *data, test.graphs, SMALL)
    left = (result - test.targets).std(axis=0)
    assert (left < 0.5 * test.targets.std(axis=0)).all()


def test_networks_are_reproducible_and_leave_the_global_stream_alone():
    import torch

    train = labelled(molecules(8, 0), linear)
    data = (train.graphs, train.targets)
    before = torch.random.get_rng_state()
    quick = NetworkOptions(width=4, n_rounds=1, n_members=1, n_epochs=2)
    one, other = (
        regression.fit(GraphNetwork, data, data, train.graphs, quick) for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_chain_and_its_reverse_are_one_molecule():
    train = labelled(molecules(8, 0), linear)
    data = (train.graphs, train.targets)
    quick = NetworkOptions(width=4, n_members=1, n_epochs=2)
    types = "AABCDDDABC"
    result = regression.fit(
        SequenceNetwork, data, data, [chain(types), chain(types[::-1])], quick
    )
    np.testing.assert_allclose(result[0], result[1], rtol=1e-5)


def test_chain_order_follows_the_bonds():
    graph = MolecularGraph.create("ABCD", np.ones(4), [[0, 2], [2, 1], [1, 3]])
    assert regression.chain_order(graph).tolist() == [0, 2, 1, 3]
    assert regression.chain_order(chain("A")).tolist() == [0]


def labels(item: BeadTrajectory) -> np.ndarray:
    """What is to be predicted of a molecule: size and log10 of its time."""
    wanted = baselines.quantities([case(item)[0]])
    assert [q.name for q in wanted] == ["rg2", "log10_tau"]
    return baselines.label([case(item)], wanted, 40.0).targets[0]


def test_labels_are_mean_and_time():
    """Of white noise, half of a step of 2 ps."""
    item = trajectory(0, 4000)
    targets = labels(item)
    assert targets[0] == pytest.approx(item.observables["rg2"].mean())
    time = statistics.integrated_time(item.observables["rg2"])
    assert 10 ** targets[1] == pytest.approx(2.0 * time.value)
    assert abs(time.value - 0.5) < 4.0 * time.error


def test_labels_come_from_the_beads_where_there_is_nothing_else():
    item = trajectory(0)
    bare = BeadTrajectory(item.mapping, item.positions, item.times)
    square = ((item.positions[:, 1] - item.positions[:, 0]) ** 2).sum(axis=1) / 4
    found = size.squared_radius(*case(bare))
    np.testing.assert_allclose(found[0], square, rtol=1e-5)


def test_short_runs_are_pieces_of_the_reference():
    item = trajectory(0)
    wanted = baselines.quantities([case(item)[0]])
    result = baselines.short_runs([case(item)], wanted, 40.0)
    series = item.observables["rg2"]
    assert result.values["rg2"].shape == (5, 1)
    assert result.values["rg2"][0, 0] == pytest.approx(series[:20].mean())
    assert result.values["rg2"][4, 0] == pytest.approx(series[80:].mean())


def test_short_runs_of_boxes_are_pieces_too():
    """Lags of a tenth to three tenths of a piece; free ions diffuse at 0.01."""
    subject, run = electrolyte(), walk(3)
    wanted = baselines.quantities([subject])
    item = baselines.short_runs([(subject, run)], wanted, 74.0)
    piece = Run(run.positions[:, 74:111], 2.0)
    for quantity in wanted:
        assert item.values[quantity.name].shape == (4, 1)
        expected = quantity.read((subject, piece), 74.0)
        assert item.values[quantity.name][2, 0] == expected
    draws = np.concatenate(
        [item.values[f"log10_d_{name}"] for name in ("cation", "anion")]
    ).ravel()
    spread = draws.std(ddof=1) / np.sqrt(len(draws))
    assert abs(draws.mean() + 2.0) < 4.0 * spread


def test_scores_average_over_draws():
    prediction = Prediction(
        "p",
        ["a", "b"],
        {
            "rg2": np.array([[11.0, 20.0], [10.0, 14.0]]),
            "log10_tau": np.ones((2, 2)),
        },
    )
    figures = {
        "rg2_reference": (10.0, 20.0),
        "tau_reference_own_spacing": (10.0, 100.0),
    }
    pairs = []
    for k in range(2):
        subject, run = case(trajectory(k))
        item = Comparison(subject, run, run)
        item.figures.update(
            {name: Estimate(both[k], 0.0) for name, both in figures.items()}
        )
        pairs.append(item)
    scores = comparison.scores(pairs, prediction)
    assert scores["rg2_relative_error"].value == pytest.approx((0.05 + 0.15) / 2)
    assert scores["rg2_relative_error"].error == pytest.approx(0.05)
    assert scores["tau_log10_error"].value == pytest.approx(0.5)
    assert "rg2_correlation" not in scores


def test_shift_by_others_leaves_the_subject_itself_out():
    item = Prediction(
        "some",
        ["a", "b"],
        {"d": np.array([[1.0, 2.0], [1.2, 2.0]]), "size": np.array([[1.0, 4.0]])},
    )
    targets = {
        "d": Target("d", "d_reference", lambda *of: 0.0),
        "size": Target("size", "size_reference", lambda *of: 0.0, is_positive=True),
    }
    right = {"d": np.array([2.1, 5.0]), "size": np.array([2.0, 2.0])}
    moved = baselines.shift_by_others(item, right, targets)
    np.testing.assert_allclose(moved.values["d"][0], [4.0, 3.0])  # what the other lacks
    np.testing.assert_allclose(moved.values["size"], [[0.5, 8.0]])  # by its factor
    assert moved.name == "some, shifted"


def test_measure_gives_every_baseline_and_files_keep_them(tmp_path):
    train, stop = ([trajectory(k, 20) for k in ks] for ks in (range(4), range(4, 6)))
    test = [trajectory(9, 60, "x"), trajectory(10, 60, "y")]
    seen: list[str] = []
    quick = NetworkOptions(width=4, n_rounds=1, n_members=1, n_epochs=2)
    result = baselines.measure(
        train, stop, test, options=quick, on_baseline=seen.append
    )
    assert [item.name for item in result[:-2]] == seen[:-1]
    assert "sequence network (LSTM)" in seen
    assert result[-2].name == "short MD, 40 ps"
    assert result[-1].name == "short MD, 40 ps, shifted"
    assert result[-2].values["rg2"].shape == (3, 2)
    predictions.save(tmp_path / "b.json", result)
    again = predictions.load(tmp_path / "b.json")
    for one, other in zip(result, again, strict=True):
        assert one.name == other.name
        assert one.subjects == other.subjects == ["x", "y"]
        for name in ("rg2", "log10_tau"):
            np.testing.assert_array_equal(one.values[name], other.values[name])


def test_branched_molecules_have_no_sequence_network():
    star = MolecularGraph.create("ABAA", np.ones(4), [[0, 1], [0, 2], [0, 3]])
    mapping = Mapping.from_partition(star, 5.0)
    some = [
        replace(
            trajectory(k, 20, f"star {k}"),
            mapping=mapping,
            positions=np.zeros((20, 1, 3), dtype=np.float32),
        )
        for k in range(4)
    ]
    quick = NetworkOptions(width=4, n_rounds=1, n_members=1, n_epochs=2)
    result = baselines.measure(some[:2], some[2:3], some[3:], options=quick)
    names = [item.name for item in result]
    assert names[3:] == ["graph network", "short MD, 40 ps"]


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (
            {
                "baselines": [
                    {
                        "name": "a",
                        "molecules": ["x", "y"],
                        "rg2": [[1, 2]],
                        "tau": [[10, 100]],
                    }
                ]
            },
            {"rg2": [[1.0, 2.0]], "log10_tau": [[1.0, 2.0]]},
        ),
        (
            {
                "diffusivities": [
                    {
                        "name": "a",
                        "boxes": ["x", "y"],
                        "species": ["C", "D"],
                        "log10_d": [[[-1, -2], [-3, -4]]],
                    }
                ]
            },
            {"log10_d_C": [[-1.0, -3.0]], "log10_d_D": [[-2.0, -4.0]]},
        ),
    ],
)
def test_files_of_version_0_1_are_read(tmp_path, content, values):
    (tmp_path / "b.json").write_text(json.dumps(content))
    (item,) = predictions.load(tmp_path / "b.json")
    assert (item.name, item.subjects) == ("a", ["x", "y"])
    assert {name: draws.tolist() for name, draws in item.values.items()} == values


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "[" * 100_000,
        '{"baselines": [{"name": "a"}]}',
        '{"baselines": [{"name": ["a"], "subjects": ["x"], "values": {"d": [[1]]}}]}',
        '{"baselines": [{"name": "a", "subjects": [1], "values": {"d": [[1]]}}]}',
        '{"baselines": [{"name": "a", "subjects": ["x"], "values": {"d": [[1'
        + "0" * 400
        + "]]}}]}",
        '{"baselines": [{"name": "a", "subjects": ["x"], "values": {"d": [1]}}]}',
        '{"baselines": [{"name": "a", "subjects": ["x"], "values": {"d": [[1, 2]]}}]}',
    ],
)
def test_foreign_files_are_refused(tmp_path, text):
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"written by `cgml baseline`.*b\.json"):
        predictions.load(path)


@pytest.mark.parametrize(
    ("item", "duration"),
    [
        (case(trajectory(0)), 10.0),
        (case(trajectory(0)), 400.0),
        ((electrolyte("m"), walk(1, 40)), 900.0),
    ],
)
def test_short_runs_of_no_use_are_refused(item, duration):
    wanted = baselines.quantities([item[0]])
    with pytest.raises(ValueError, match=f"required .* {duration:g} ps of 'm' are"):
        baselines.short_runs([item], wanted, duration)


def test_a_single_subject_cannot_be_shifted_by_others():
    alone = Prediction("one", ["a"], {"d": np.zeros((1, 1))})
    with pytest.raises(ValueError, match=r"two subjects or more.*got 1"):
        baselines.shift_by_others(alone, {"d": np.zeros(1)}, {})


def test_a_branched_molecule_is_no_sequence():
    star = MolecularGraph.create("AAAA", np.ones(4), [[0, 1], [0, 2], [0, 3]])
    with pytest.raises(ValueError, match=r"unbranched chain.*at most 3 bonds"):
        regression.chain_order(star)
    ring = MolecularGraph.create("AAA", np.ones(3), [[0, 1], [1, 2], [0, 2]])
    with pytest.raises(ValueError, match=r"unbranched chain.*3 bonds"):
        regression.chain_order(ring)
