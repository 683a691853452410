"""From boxes of several species to figures and a page."""

import io
import json

import numpy as np
import pytest
from core_systems import idle_model, small_spec
from graphwm_files import MELT, hyper_parameters, random_weights, write

from cgml.evaluation import baselines, report
from cgml.evaluation.evaluation import describe_references, evaluate
from cgml.evaluation.measures import collisions
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.regression import NetworkOptions
from cgml.evaluation.report import ABLATED
from cgml.evaluation.results import Evaluation, EvaluationOptions, column
from cgml.evaluation.subject import Subject
from cgml.models.conversion import Origin, import_checkpoint
from cgml.models.file import load_model
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel
from cgml.observables.statistics import Estimate

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


def subjects(model: LearnedModel, boxes: list[BeadTrajectory]) -> list[Subject]:
    """Say what the boxes are, chains of any kind under one name."""
    return describe_references(
        model.spec, boxes, charges=CHARGES, names={"A*B*": "polymer"}
    )


def judge(model: LearnedModel, boxes: list[BeadTrajectory], **options) -> Evaluation:
    return evaluate(
        model, boxes, EvaluationOptions(seed=3), subjects(model, boxes), **options
    )


def guess(names: list[str]) -> Prediction:
    values = {
        f"log10_d_{name}": np.full((1, len(names)), -2.4)
        for name in ("cation", "anion", "polymer")
    }
    return Prediction("mean", names, values)


def test_a_page_of_boxes(model, tmp_path):
    boxes = [box(0), box(1, "ABAB")]
    found = judge(model, boxes, predictions=[guess(["box_0", "box_1"])])
    assert [item.subject.name for item in found.comparisons] == ["box_0", "box_1"]
    scores = report.columns(found)
    assert list(scores) == ["mean", ABLATED]
    assert set(scores["mean"]) <= set(found.summary)
    # the walks have D = 0.4^2 / (2 * 20 ps) for single beads
    for name in ("cation", "anion"):
        right = column(found.comparisons, f"log10_d_{name}_reference")
        assert (abs(right[:, 0] - np.log10(0.004)) < 4.0 * right[:, 1]).all()
    page = report.write(found, tmp_path / "judged")
    text = page.read_text(encoding="utf-8")
    assert "All boxes" in text
    assert "box_1" in text
    assert "Property predictors" in text
    assert 'src="http' not in text
    figures = json.loads((tmp_path / "judged" / report.JSON).read_text())
    assert set(figures["boxes"]) == {"box_0", "box_1"}
    assert "collisions_ratio" in figures["summary"]


def test_the_shortest_run_has_figures(model):
    """Twenty steps are too few for one of them, the collective conductivity.

    The ablation can be left out: it has no column and no picture.
    """
    boxes = [box(0)]
    options = EvaluationOptions(length=400.0)
    found = evaluate(model, boxes, options, subjects(model, boxes), ablate=False)
    figures = found.comparisons[0].figures
    assert found.comparisons[0].learned.n_frames == 20
    assert np.isnan(figures["conductivity_collective_learned"].value)
    assert np.isfinite(figures["conductivity_self_learned"].value)
    assert np.isfinite(figures["conductivity_collective_reference"].value)
    assert found.ablation == []
    assert report.columns(found) == {}
    (ablated,) = (
        picture
        for picture in collisions.MEASURE.pictures
        if picture.name == "collisions_ablation"
    )
    assert ablated.draw(found) is None
    nothing = Estimate(np.nan, np.nan)
    for side in (found.summary, found.floor):
        side["collisions_ratio"] = nothing
    rows = [row for row in report.table(found) if row[1] == row[2] == "–"]
    assert rows == []  # what is known of neither side is no row


@pytest.mark.parametrize("n_frames", [20, 21, 29, 39, 40])
def test_the_shortest_references_have_figures(model, n_frames):
    """A tenth of a half of the reference may be a single frame."""
    boxes = [box(0, n_frames=n_frames)]
    found = evaluate(
        model, boxes, EvaluationOptions(), subjects(model, boxes), ablate=False
    )
    for side in (found.summary, found.floor):
        assert np.isfinite(side["collisions_ratio"].value)
        assert np.isfinite(side["collisions_end_ratio"].value)
    assert "verdict" in report.render(found, [])


@pytest.mark.parametrize("n_frames", [2, 19])
def test_shorter_references_are_refused(model, n_frames):
    with pytest.raises(ValueError, match=r"20 frames or more.*'box_0' has.*longer one"):
        judge(model, [box(0, n_frames=n_frames)])


def pure_melt() -> BeadTrajectory:
    """Chains of one kind, and nothing else."""
    item = box(4)
    graph = item.mapping.graph
    n_atoms, n_beads = 16, 8  # of the chains, which come first
    melted = Mapping.from_partition(graph.select(np.arange(n_atoms)), 2.0)
    return BeadTrajectory(
        melted, item.positions[:, :n_beads], item.times, item.box, "melt"
    )


def test_a_published_model_is_not_run_without_its_score_network(tmp_path):
    """Its sampler is fixed: not tried where nobody asks, else refused at once."""
    origin = Origin(frame_spacing=2.0, temperature=353.0, periodic=True)
    weights = {
        "state_dict": random_weights(MELT),
        "hyper_parameters": hyper_parameters(MELT),
    }
    source = write(tmp_path / "melt.ckpt", weights)
    import_checkpoint(source, tmp_path / "melt.pt", origin)
    mapping = Mapping.from_labels(
        MolecularGraph.create(["Li"] * 6, [6.94] * 6, np.empty((0, 2), dtype=int)),
        range(6),
    )
    stream = np.random.default_rng(0)
    moves = 0.05 * stream.normal(size=(40, 6, 3))
    walk = BeadTrajectory(
        mapping=mapping,
        positions=np.cumsum(moves, axis=0) + stream.uniform(0.0, 2.0, size=(6, 3)),
        times=2.0 * np.arange(40.0),
        box=2.0 * np.eye(3),
        name="ions",
    )
    published = load_model(tmp_path / "melt.pt")
    options = EvaluationOptions(seed=3)
    with pytest.raises(ValueError, match="it does not run without its score network"):
        evaluate(published, [walk], options, ablate=True)
    assert evaluate(published, [walk], options).ablation == []


def test_a_box_of_one_kind_of_molecules(model, tmp_path):
    """A melt: chains diffuse, chains stand around chains, the page is written."""
    found = evaluate(model, [pure_melt()], EvaluationOptions(seed=3))
    figures = found.comparisons[0].figures
    for name in ("log10_d_A2B2_error", "rdf_A2B2-A2B2_deviation", "bond_end_error"):
        assert np.isfinite(figures[name].value)
        assert name in found.summary
    assert not any(name.startswith("conductivity") for name in figures)
    page = report.write(found, tmp_path).read_text(encoding="utf-8")
    assert "g</i>(<i>r</i>) A2B2-A2B2" in page
    assert (tmp_path / "radial_distributions.png").exists()


def test_boxes_of_several_kinds(model):
    """Each species is averaged over the boxes that have it."""
    boxes = [box(0), box(1, "AABBBB"), box(2)]
    found = evaluate(model, boxes, EvaluationOptions(seed=3), ablate=False)
    names = [f"log10_d_{name}_error" for name in ("A2B2", "A2B4", "C", "D")]
    assert set(names) <= set(found.summary)
    table = column(found.comparisons, names[0])[:, 0]
    assert np.isnan(table[1])
    expected = np.mean(np.abs(table[[0, 2]]))
    assert found.summary[names[0]].value == pytest.approx(expected)
    text = report.render(found, [])
    assert "of A2B4, mean absolute error" in text


def test_names_of_species_are_no_markup(model):
    boxes = [pure_melt()]
    named = describe_references(model.spec, boxes, names={"A*": "<b>$x_$</b>"})
    found = evaluate(model, boxes, EvaluationOptions(seed=3), named, ablate=False)
    page = report.render(found, [])
    assert "&lt;b&gt;$x_$&lt;/b&gt;" in page
    assert "<b>" not in page
    for measure in report.applied(found):
        for picture in measure.pictures:
            if (figure := picture.draw(found)) is not None:
                figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_charges_of_types_unknown_are_refused(model):
    with pytest.raises(ValueError, match=r"types A, B, C, D are.*got one of Q"):
        describe_references(model.spec, [box(0)], charges={"Q": 1.0})


def test_boxes_of_one_name_are_refused(model):
    with pytest.raises(ValueError, match="several are called box_0"):
        evaluate(model, [box(0), box(0)], EvaluationOptions())


def test_baselines_of_other_boxes_are_refused(model):
    with pytest.raises(ValueError, match=r"must know every molecule or box.*box_0"):
        judge(model, [box(0)], predictions=[guess(["box_5"])])


def test_beads_of_another_size_are_refused(model):
    item = box(0)
    graph = item.mapping.graph
    coarse = Mapping.from_partition(graph, 4.0)
    frames = np.zeros((60, coarse.n_beads, 3), dtype=np.float32)
    wrong = BeadTrajectory(coarse, frames, item.times, item.box, "coarse")
    with pytest.raises(ValueError, match="has 2 atoms in a bead, 18 beads for"):
        evaluate(model, [wrong], EvaluationOptions())


def test_baselines_in_order():
    train = [box(k, letters) for k, letters in enumerate(("AABB", "ABBB", "AAAB"))]
    heard: list[str] = []
    found = baselines.measure(
        train,
        [box(7)],
        [box(8), box(9)],
        charges=CHARGES,
        names={"A*B*": "polymer"},
        options=NetworkOptions(width=4, n_rounds=1, n_members=1, n_epochs=2),
        on_baseline=heard.append,
    )
    assert heard == [
        "mean",
        "composition, linear",
        "composition, quadratic",
        "graph network",
        "short MD",
    ]
    names = [item.name for item in found]
    assert names[:4] == heard[:4]
    assert names[4].startswith("short MD, 1200 ps")
    assert names[5].endswith("shifted")
    assert all(item.subjects == ["box_8", "box_9"] for item in found)
    targets = {"log10_d_cation", "log10_d_anion", "log10_d_polymer"}
    assert all(set(item.values) == targets for item in found)


def test_baselines_need_species_of_the_same_names():
    boxes = [box(0), box(1, "ABBB")]
    with pytest.raises(ValueError, match=r"'box_1' has .*log10_d_AB3.*--species"):
        baselines.measure(boxes, [box(7)], [box(8)], charges=CHARGES)
