"""From boxes of several species to figures and a page."""

import json

import numpy as np
import pytest
from core_systems import idle_model, small_spec

from cgml.evaluation import box_baselines as electrolyte_baselines
from cgml.evaluation import box_evaluation as electrolyte_evaluation
from cgml.evaluation import report
from cgml.evaluation.box_evaluation import (
    ABLATED,
    describe,
    evaluate,
    measure_baselines,
)
from cgml.evaluation.evaluation import EvaluationOptions
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel

CHARGES = {"C": 1.0, "D": -1.0}
EDGE = 6.0


def melt(letters: str = "AABB", n_chains: int = 4, n_ions: int = 5) -> Mapping:
    """Return chains of two beads, cations C and anions D."""
    n = len(letters)
    bonds = [
        (n * chain + i, n * chain + i + 1)
        for chain in range(n_chains)
        for i in range(n - 1)
    ]
    types = letters * n_chains + "C" * n_ions + "D" * n_ions
    masses = [{"A": 1.0, "B": 2.0, "C": 1.5, "D": 3.0}[name] for name in types]
    graph = MolecularGraph.create(list(types), masses, bonds)
    return Mapping.from_partition(graph, 2.0)


def box(seed: int, letters: str = "AABB", n_frames: int = 60) -> BeadTrajectory:
    """Return a random walk of beads, those of a chain together."""
    stream = np.random.default_rng(seed)
    mapping = melt(letters)
    start = stream.uniform(0.0, EDGE, size=(mapping.n_beads, 3))
    for first, second in mapping.bead_bonds:
        start[second] = start[first] + 0.5
    moves = 0.4 * stream.normal(size=(n_frames, mapping.n_beads, 3))
    first, second = mapping.bead_bonds.T
    moves[:, second] = moves[:, first]
    return BeadTrajectory(
        mapping,
        (start + np.cumsum(moves, axis=0)).astype(np.float32),
        20.0 * np.arange(n_frames),
        EDGE * np.eye(3),
        f"box_{seed}",
    )


@pytest.fixture(scope="module")
def model() -> LearnedModel:
    spec = small_spec(
        periodic=True,
        cutoff=2.0,
        friction=None,
        has_property=False,
        prior={"rate": 0.5, "variance": 0.3},
    )
    return LearnedModel(spec, idle_model(spec).eval())


def test_species_get_their_names():
    found = describe(box(0), CHARGES, 300.0)
    assert list(found.groups) == ["cation", "anion", "polymer"]
    assert [len(beads) for beads in found.groups.values()] == [5, 5, 8]
    assert found.chains == ("polymer",)
    assert ("cation", "anion") in found.pairs
    assert ("polymer", "polymer") not in found.pairs
    assert found.charges is not None
    assert found.charges[found.groups["anion"]].tolist() == [-1.0] * 5
    assert found.temperature == 300.0


def test_without_charges_species_are_named_by_type():
    found = describe(box(0), {})
    assert set(found.groups) == {"C", "D", "polymer"}
    assert found.charges is None


def test_open_boundaries_are_no_box():
    item = box(0)
    free = BeadTrajectory(item.mapping, item.positions, item.times, None, "free")
    with pytest.raises(ValueError, match="periodic box is required, 'free' has open"):
        describe(free, CHARGES)


def test_a_page_of_boxes(model, tmp_path):
    boxes = [box(0), box(1, "ABAB")]
    test = electrolyte_evaluation.label(boxes, CHARGES, (100.0, 300.0))
    mean = electrolyte_baselines.fit_mean(test, test)
    found = evaluate(
        model, boxes, EvaluationOptions(seed=3), CHARGES, predictions=[mean]
    )
    assert [item.electrolyte.name for item in found.comparisons] == ["box_0", "box_1"]
    scores = found.baseline_scores()
    assert list(scores) == ["mean", ABLATED]
    assert set(scores["mean"]) <= set(found.summary)
    # the walks have D = 0.4^2 / (2 * 20 ps) for single beads
    right = [c.figures["log10_d_cation_reference"].value for c in found.comparisons]
    np.testing.assert_allclose(10.0 ** np.array(right), 0.004, rtol=0.5)
    page = report.write(found, tmp_path / "judged")
    text = page.read_text(encoding="utf-8")
    assert "All boxes" in text
    assert "box_1" in text
    assert "Property predictors" in text
    assert 'src="http' not in text
    figures = json.loads((tmp_path / "judged" / report.JSON).read_text())
    assert set(figures["boxes"]) == {"box_0", "box_1"}
    assert "collisions_ratio" in figures["summary"]


def test_the_ablation_can_be_left_out(model, tmp_path):
    found = evaluate(model, [box(0)], EvaluationOptions(seed=3), CHARGES, ablate=False)
    assert found.ablation == []
    assert found.baseline_scores() == {}
    report.write(found, tmp_path)
    assert not (tmp_path / "collisions_ablation.png").exists()


def test_baselines_of_other_boxes_are_refused(model):
    test = electrolyte_evaluation.label([box(5)], CHARGES, (100.0, 300.0))
    other = electrolyte_baselines.fit_mean(test, test)
    with pytest.raises(ValueError, match="must know every box and species, it lacks"):
        evaluate(model, [box(0)], EvaluationOptions(), CHARGES, predictions=[other])


def test_beads_of_another_size_are_refused(model):
    item = box(0)
    graph = item.mapping.graph
    coarse = Mapping.from_partition(graph, 4.0)
    frames = np.zeros((60, coarse.n_beads, 3), dtype=np.float32)
    wrong = BeadTrajectory(coarse, frames, item.times, item.box, "coarse")
    with pytest.raises(ValueError, match="has 2 atoms in a bead, 18 beads for"):
        evaluate(model, [wrong], EvaluationOptions(), CHARGES)


def test_baselines_in_order(monkeypatch):
    """The network itself has tests of its own."""
    monkeypatch.setattr(
        electrolyte_evaluation,
        "fit_graph_network",
        lambda train, validation, test: electrolyte_baselines.fit_mean(train, test),
    )
    train = [box(k, letters) for k, letters in enumerate(("AABB", "ABBB", "AAAB"))]
    heard: list[str] = []
    found = measure_baselines(
        train, [box(7)], [box(8), box(9)], charges=CHARGES, on_baseline=heard.append
    )
    assert heard == ["short MD", "mean", "composition", "graph network"]
    names = [item.name for item in found]
    assert names[0].startswith("short MD, 1200 ps")
    assert names[1].endswith("shifted")
    assert names[2:4] == ["mean", "composition, quadratic"]
    assert all(item.boxes == ["box_8", "box_9"] for item in found)
