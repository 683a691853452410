"""An untrained model beside made-up references: the machinery, not the physics."""

import base64
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgml.dynamics.propagator import Propagator
from cgml.evaluation import comparison, measures, report
from cgml.evaluation.evaluation import evaluate
from cgml.evaluation.measures.size import both
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.results import Evaluation, EvaluationOptions
from cgml.evaluation.simulation import count_steps
from cgml.evaluation.subject import Run, describe
from cgml.models.file import load_model
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel

N_FRAMES = 120
OPTIONS = EvaluationOptions(length=600.0, n_replicas=2, seed=3, md_seconds_per_ps=9.0)


def reference(seed: int, **changes) -> BeadTrajectory:
    """A chain of 4 beads, correlated in time, a frame every 5 ps."""
    generator = np.random.default_rng(seed)
    types = "".join(generator.choice(list("ABCD"), 20))
    bonds = [[k, k + 1] for k in range(19)]
    mapping = Mapping.from_partition(
        MolecularGraph.create(types, np.ones(20), bonds), 5.0
    )
    steps = generator.normal(size=(N_FRAMES, 4, 3))
    for k in range(1, N_FRAMES):
        steps[k] = 0.8 * steps[k - 1] + 0.6 * steps[k]
    frames = (1.3 * steps).cumsum(axis=1).astype(np.float32)
    rg2 = squared_radius_of_gyration(frames, np.ones(4)) + 1.0
    item = BeadTrajectory(
        mapping,
        frames,
        5.0 * np.arange(N_FRAMES),
        name=f"chain_{seed}",
        observables={"rg2": rg2},
    )
    return replace(item, **changes)


REFERENCES = [reference(seed) for seed in range(3)]
NAMES = [item.name for item in REFERENCES]


def prediction(names: list[str]) -> Prediction:
    values = 10.0 + np.arange(len(names), dtype=np.float64)[None]
    return Prediction("guess", names, {"rg2": values, "log10_tau": np.log10(values)})


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LearnedModel:
    return load_model(tiny_model)


@pytest.fixture(scope="module")
def evaluation(model: LearnedModel) -> Evaluation:
    return evaluate(model, REFERENCES, OPTIONS, predictions=[prediction(NAMES[::-1])])


def test_the_model_runs_from_the_first_frames(model, evaluation):
    propagator = Propagator(
        model,
        [item.mapping for item in REFERENCES for _ in range(2)],
        seed=3,
        guard="record",
    )
    state = propagator.start(
        np.concatenate([item.positions[0] for item in REFERENCES for _ in range(2)])
    )
    state = propagator.step(state)
    frame = state.positions.numpy()[propagator.slices[3]]  # molecule 1, replica 1
    radius = propagator.radius_of_gyration(state)[3]
    learned = evaluation.comparisons[1].learned
    assert learned.positions.shape == (2, 30, 4, 3)
    np.testing.assert_allclose(learned.positions[1, 0], frame, rtol=1e-6)
    assert learned.rg2[1, 0] == pytest.approx(radius**2)
    assert learned.time_step == 20.0


def test_both_sides_use_all_atoms(evaluation):
    assert evaluation.rg2_source == "atoms"
    right = evaluation.comparisons[0].reference.rg2[0]
    np.testing.assert_array_equal(right, REFERENCES[0].observables["rg2"])


def test_both_sides_use_the_beads_where_atoms_are_not_known(model):
    bare = [reference(0, observables={}), *REFERENCES[1:]]
    result = evaluate(model, bare, OPTIONS)
    assert result.rg2_source == "beads"
    for item in result.comparisons:
        for run, rg2 in zip(item.runs, item.once(both), strict=True):
            expected = squared_radius_of_gyration(run.positions, np.ones(4))
            np.testing.assert_allclose(rg2, expected, rtol=1e-6)


def test_every_reference_sets_its_own_length(model):
    short = REFERENCES[0]
    long = reference(
        1,
        times=5.0 * np.arange(2 * N_FRAMES),
        positions=np.tile(REFERENCES[1].positions, (2, 1, 1)),
        observables={},
    )
    lengths = []
    result = evaluate(model, [short, long], EvaluationOptions(), on_step=lengths.append)
    frames = [item.learned.positions.shape[:2] for item in result.comparisons]
    assert frames == [(1, 30), (1, 60)]
    assert lengths == list(range(1, 61))


def test_baselines_are_put_into_the_order_of_the_references(evaluation):
    (found,) = evaluation.predictions
    assert found.subjects == NAMES
    np.testing.assert_array_equal(found.values["rg2"], [[12.0, 11.0, 10.0]])


def test_the_cost_is_counted(evaluation):
    cost = evaluation.cost
    assert cost.n_paths == 6
    assert cost.seconds_per_ps > 0.0
    assert cost.speedup == pytest.approx(9.0 / cost.seconds_per_ps)


def test_a_molecule_that_explodes_is_named_and_left_out(model, monkeypatch):
    plain = Propagator.step

    def explode(self, state):
        after = plain(self, state)
        after.positions[self.slices[:2][-1]] = np.nan
        return after

    monkeypatch.setattr(Propagator, "step", explode)
    options = EvaluationOptions(length=600.0)
    result = evaluate(model, REFERENCES, options, predictions=[prediction(NAMES)])
    assert result.failed == ["chain_1"]
    assert [item.subject.name for item in result.comparisons] == ["chain_0", "chain_2"]
    assert result.predictions[0].subjects == ["chain_0", "chain_2"]
    assert result.guard_counts["finite"] > 0
    with pytest.raises(ValueError, match=r"stays finite.*chain_1"):
        evaluate(model, REFERENCES[1:2], options)


def test_a_replica_that_explodes_is_named_and_the_others_count(model, monkeypatch):
    plain = Propagator._propose

    def explode(self, state, attempt):
        after = plain(self, state, attempt)
        after.positions[self.slices[3]] = np.nan
        return after

    monkeypatch.setattr(Propagator, "_propose", explode)
    options = EvaluationOptions(length=600.0, n_replicas=2)
    result = evaluate(model, REFERENCES, options)
    assert result.failed == ["chain_1 (replica 1)"]
    assert [item.subject.name for item in result.comparisons] == NAMES


@pytest.fixture(scope="module")
def folder(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `report.write` leaves."""
    return report.write(evaluation, tmp_path_factory.mktemp("out") / "new").parent


def test_json_holds_all_figures(evaluation, folder):
    content = json.loads((folder / "figures.json").read_text())
    assert content["summary"]["rg2_relative_error"]["value"] == pytest.approx(
        evaluation.summary["rg2_relative_error"].value
    )
    assert set(content["molecules"]) == set(NAMES)
    assert set(content["baselines"]) == {"guess"}
    assert content["reference_halves"].keys() == content["summary"].keys()
    assert content["run"]["rg2_source"] == "atoms"


def test_the_page_needs_no_other_file(evaluation, folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#|\w+\.pdf\")", page)
    images = re.findall(r"src=\"data:image/png;base64,([^\"]+)\"", page)
    pictures = [
        picture
        for item in report.applied(evaluation)
        for picture in item.pictures
        if picture.name != "error_over_grade"  # of calibrated models
    ]
    assert len(images) == len(pictures) == 8
    assert "extrapolation grade" not in page  # nor a row without a number
    for image, picture in zip(images, pictures, strict=True):
        data = base64.b64decode(image)
        assert data == (folder / f"{picture.name}.png").read_bytes()
        assert (folder / f"{picture.name}.pdf").read_bytes()[:5] == b"%PDF-"
        assert f'href="#{picture.name}"' in page
    for word in (*NAMES, "guess", "±", "reference MD"):
        assert word in page


def test_the_page_escapes_names(evaluation):
    nasty = Prediction("<script>", NAMES, {"rg2": np.ones((1, 3))})
    page = report.render(replace(evaluation, predictions=[nasty]), [])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_page_says_what_a_split_in_time_claims(evaluation):
    assert "Trained and validated" not in report.render(evaluation, [])
    note = {"split": "in time; same molecules: interpolates, no claim of transfer"}
    spec = evaluation.spec.model_copy(update={"provenance": note})
    page = report.render(replace(evaluation, spec=spec), [])
    assert f"Trained and validated {note['split']}." in page


def test_one_molecule_and_no_reference_cost(model, tmp_path):
    options = EvaluationOptions(length=600.0)
    result = evaluate(model, REFERENCES[:1], options)
    page = report.write(result, tmp_path).read_text()
    assert result.cost.speedup is None
    assert "reference MD" not in page
    assert json.loads((tmp_path / "figures.json").read_text())["summary"]["rg2_r2"] == {
        "value": None,
        "error": None,
    }


TOY = '''
"""Distance from the origin: no observable, an example of one file."""

from cgml.evaluation.measure import WHOLE, Entry, Measure, Picture, exact
from cgml.evaluation.drawing import panels


def compute(comparison):
    one, other = (abs(run.positions).mean() for run in comparison.runs)
    return {"toy_reference": exact(one), "toy_ratio": exact(other / one)}


def draw(evaluation):
    return panels(1, len(evaluation.comparisons), 1.0)[0]


MEASURE = Measure(
    name="toy",
    place=5,
    parts=lambda subject: WHOLE,
    compute=compute,
    rows=(
        Entry("toy_ratio", "distance <b>from</b> origin", "%", ".1f", 100.0),
    ),
    columns=(Entry("toy_reference", "far away", "nm"),),
    pictures=(Picture("toy_picture", "A toy.", draw),),
)
'''


def test_an_observable_is_one_file(evaluation, tmp_path, monkeypatch):
    """In JSON, on the page, in the console: by a file in the folder of measures."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(report, "DPI", 30)
    monkeypatch.setattr(measures, "__path__", [*measures.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "cgml.evaluation.measures.toy", raising=False)
    judged = [
        comparison.compare(item.subject, *item.runs) for item in evaluation.comparisons
    ]
    summary = comparison.summarise(judged, 0)
    found = replace(evaluation, comparisons=judged, summary=summary, floor=summary)
    page = report.write(found, tmp_path / "judged").read_text()
    ratios = [item.figures["toy_ratio"].value for item in judged]
    content = json.loads((tmp_path / "judged" / "figures.json").read_text())
    assert content["summary"]["toy_ratio"]["value"] == pytest.approx(np.mean(ratios))
    assert content["molecules"][NAMES[0]]["toy_ratio"]["value"] == ratios[0]
    assert (tmp_path / "judged" / "toy_picture.png").exists()
    assert "distance <b>from</b> origin / %" in page
    assert "far away / nm" in page
    assert report.table(found)[0][0] == "distance from origin / %"
    assert report.table(found)[0][1].startswith(f"{100 * np.mean(ratios):.1f} ± ")


def test_names_of_the_table_are_those_of_the_figures(evaluation):
    """What a measure lists, it computes, and nothing twice."""
    names = [line.name for line in comparison.lines(evaluation.comparisons)]
    assert len(set(names)) == len(names)
    assert list(evaluation.summary) == names
    for line in comparison.lines(evaluation.comparisons, listed=True):
        if line.measure.name != "extrapolation":  # of calibrated models
            assert line.name in evaluation.comparisons[0].figures
    places = [item.place for item in measures.table()]
    assert len(set(places)) == len(places)


def test_a_dimer_has_a_size_and_no_shape():
    """What does not apply to a molecule is left out, not an error."""
    graph = MolecularGraph.create("AB", np.ones(2), [[0, 1]])
    mapping = Mapping.from_labels(graph, [0, 1])
    frames = np.random.default_rng(0).normal(size=(2, 200, 2, 3))
    item = BeadTrajectory(
        mapping, frames[0].astype(np.float32), np.arange(200.0), name="dimer"
    )
    (subject,) = describe([item])
    found = comparison.compare(subject, Run.of(item), Run(frames[1:], 1.0))
    assert "rg2_relative_error" in found.figures
    assert "surface_jsd" not in found.figures
    assert "log10_d_AB_error" not in found.figures


def two_molecules() -> BeadTrajectory:
    graph = MolecularGraph.create("A" * 10, np.ones(10), [[k, k + 1] for k in range(4)])
    mapping = Mapping.from_partition(graph, 5.0)
    frames = np.zeros((N_FRAMES, mapping.n_beads, 3), dtype=np.float32)
    return BeadTrajectory(mapping, frames, 5.0 * np.arange(N_FRAMES), name="two")


def other_beads() -> BeadTrajectory:
    mapping = Mapping.from_partition(REFERENCES[0].mapping.graph, 10.0)
    frames = REFERENCES[0].positions[:, :2]
    return reference(0, mapping=mapping, positions=frames)


def short() -> BeadTrajectory:
    """Return a frame too few: one of four counts."""
    n = 4 * 18 + 1
    frames, times = REFERENCES[0].positions[:n], REFERENCES[0].times[:n]
    return reference(0, positions=frames, times=times, observables={})


@pytest.mark.parametrize(
    ("references", "words"),
    [
        ([], "at least one reference"),
        ([reference(0, box=30.0 * np.eye(3))], "remove the box"),
        ([two_molecules()], "one molecule is required, 'two' has 6"),
        ([other_beads()], "4 beads for 'chain_0', which has 2"),
        ([reference(0, times=np.sqrt(np.arange(N_FRAMES)))], "evenly spaced"),
        ([short()], "20 frames or more .* 'chain_0' has 18"),
        ([reference(0, times=0.003 * np.arange(N_FRAMES))], "at most 100 times"),
    ],
)
def test_wrong_references(model, references, words):
    with pytest.raises(ValueError, match=words):
        evaluate(model, references, OPTIONS)


def test_baselines_of_other_molecules_are_refused(model):
    with pytest.raises(ValueError, match=r"'guess'.*lacks chain_1, chain_2"):
        evaluate(model, REFERENCES, OPTIONS, predictions=[prediction(["chain_0"])])


def test_a_run_that_is_too_short_is_refused(model):
    with pytest.raises(ValueError, match=r"20 model steps.*100 ps.*are 5"):
        count_steps(REFERENCES[0], model.spec, EvaluationOptions(length=100.0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_replicas": 0}, "n_replicas must be 1 or more, got 0"),
        ({"length": -1.0}, "length must be positive, got -1"),
        ({"md_seconds_per_ps": float("nan")}, "md_seconds_per_ps.*got nan"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ValueError, match=words):
        EvaluationOptions(**options)
