"""Verdicts: two means by their errors, distances by the halves of the reference."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cgml.evaluation.comparison import Line
from cgml.evaluation.drawing import log_ticks
from cgml.evaluation.measure import LARGEST_ERROR, Entry, Measure
from cgml.evaluation.provenance import File, Provenance, of_command
from cgml.evaluation.verdict import (
    EDGE,
    NOT_JUDGED,
    OUTSIDE,
    WITHIN,
    apart,
    judge,
    of_distance,
    of_pairs,
)
from cgml.models.file import find_model
from cgml.observables.statistics import Estimate

NAN = float("nan")


@pytest.mark.parametrize(
    ("deviations", "word", "reason"),
    [
        ([0.5], WITHIN, "0.5 errors apart"),
        ([-2.5], EDGE, "2.5 errors apart"),
        ([4.0], OUTSIDE, "4.0 errors apart"),
        ([1.0, -1.0, 0.3, NAN], WITHIN, "0 of 3 differ"),
        ([5.0, 0.1, 0.1], OUTSIDE, "1 of 3 differ"),
        ([1.9] * 10, OUTSIDE, "more than 3 errors, but all together by more than"),
        ([2.2, 2.2], EDGE, "0 of 2 differ by more than 3 errors, but all together"),
        ([0.1, 0.1], WITHIN, "0 of 2 differ by more than 3 errors"),
        ([NAN], NOT_JUDGED, "no errors"),
        ([], NOT_JUDGED, "no errors"),
    ],
)
def test_pairs(deviations, word, reason):
    found = of_pairs(np.array(deviations))
    assert found.word == word
    assert reason in found.reason


def test_normal_deviations_are_within_as_often_as_they_should():
    """95 % of sound sets are within, 0.3 % outside: four standard errors."""
    stream = np.random.default_rng(0)
    words = [of_pairs(stream.normal(size=6)).word for _ in range(2000)]
    share = words.count(WITHIN) / 2000
    assert abs(share - 0.9545) < 4.0 * np.sqrt(0.9545 * 0.0455 / 2000)
    assert words.count(OUTSIDE) / 2000 < 0.0027 + 4.0 * np.sqrt(0.0027 / 2000)


@pytest.mark.parametrize(
    ("learned", "halves", "is_score", "word"),
    [
        ((1.0, 0.1), (2.0, 0.1), False, WITHIN),
        ((2.2, 0.1), (2.0, 0.1), False, WITHIN),
        ((2.35, 0.1), (2.0, 0.1), False, EDGE),
        ((3.0, 0.1), (2.0, 0.1), False, OUTSIDE),
        ((3.0, NAN), (2.0, 0.1), False, NOT_JUDGED),
        ((1.0, NAN), (2.0, NAN), False, WITHIN),
        ((-3.0, 0.1), (2.0, 0.1), False, OUTSIDE),  # of what has a sign, the size
        ((1.0, 0.1), (-2.0, 0.1), False, WITHIN),
        ((3.0, 0.1), (NAN, NAN), False, NOT_JUDGED),
        ((0.9, 0.1), (0.8, 0.1), True, WITHIN),
        ((-0.5, 0.1), (0.8, 0.1), True, OUTSIDE),
        ((0.1, 0.1), (0.9, 0.1), True, OUTSIDE),
    ],
)
def test_distances(learned, halves, is_score, word):
    found = of_distance(Estimate(*learned), Estimate(*halves), is_score=is_score)
    assert found.word == word


def subjects(**figures):
    return [SimpleNamespace(figures={k: Estimate(*v) for k, v in figures.items()})]


def test_apart():
    found = apart(subjects(a_reference=(1.0, 0.3), a_learned=(2.0, 0.4)), "a")
    assert found == pytest.approx([2.0])
    exact = subjects(a_reference=(1.0, 0.0), a_learned=(2.0, 0.0))
    assert np.isnan(apart(exact, "a")).all()


def evaluation(learned, halves, items):
    return SimpleNamespace(
        summary={"a": Estimate(*learned)},
        floor={"a": Estimate(*halves)},
        comparisons=items,
    )


def line(**options) -> Line:
    measure = Measure("m", 1, lambda _: ("",), lambda _: {})
    return Line(measure, Entry("a", "a", **options), "")


def test_what_says_nothing_is_not_shown_and_not_judged():
    entry = line(largest_error=LARGEST_ERROR, is_score=True)
    loose = evaluation((0.9, 3.1), (0.5, 0.1), [])
    assert judge(loose, entry).word == NOT_JUDGED
    assert entry.entry.show(Estimate(0.9, 3.1)) == "not shown, error 3.1"
    assert entry.entry.show(Estimate(0.9, NAN)) == "not shown, no error"
    assert entry.entry.show(Estimate(0.9, 0.1)) == "0.900 ± 0.100"
    assert line().entry.show(Estimate(-1e-9, NAN)) == "0.000"
    assert judge(loose, line(is_judged=False)) == ("", "")
    few = judge(evaluation((0.9, NAN), (0.5, NAN), []), entry)
    assert few == (NOT_JUDGED, "too few subjects for an error")
    assert judge(evaluation((NAN, NAN), (1, 1), []), line()).reason == "no value"


@pytest.mark.parametrize(
    ("times", "pair", "word", "reason"),
    [
        ([105.0], "a", NOT_JUDGED, "run too short: 3.8 relaxation times"),
        ([105.0], "", NOT_JUDGED, "run too short: 3.8 relaxation times"),
        ([20.0], "a", OUTSIDE, "4.0 errors apart"),
        ([20.0, 105.0], "a", OUTSIDE, "4.0 errors apart"),  # the other is left out
        ([20.0, 105.0], "", NOT_JUDGED, "run too short: 3.8 relaxation times"),
        ([20.0, 20.0, 105.0], "", WITHIN, "no farther"),
        ([NAN], "a", NOT_JUDGED, "no relaxation time is known"),
    ],
)
def test_runs_shorter_than_what_they_relax_in_are_not_judged(times, pair, word, reason):
    items = [
        SimpleNamespace(
            runs=(SimpleNamespace(duration=4020.0), SimpleNamespace(duration=400.0)),
            figures={
                "tau_reference": Estimate(tau, 1.0),
                "a_reference": Estimate(1.0, 0.3),
                "a_learned": Estimate(3.0, 0.4),
            },
        )
        for tau in times
    ]
    entry = line(pair=pair, memory="tau_reference")
    found = judge(evaluation((1.0, 0.1), (2.0, 0.1), items), entry)
    assert found.word == word
    assert reason in found.reason


def test_the_page_explains_what_is_not_judged():
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text("utf-8")
    lack = [(NAN, 1.0), (9.0, 9.0), (9.0, NAN)]
    strict = line(largest_error=LARGEST_ERROR)
    found = [judge(evaluation(one, (1.0, 0.1), []), strict) for one in lack]
    found += [of_pairs(np.array([NAN]))]
    found += [of_distance(Estimate(1.0, 0.1), Estimate(NAN, NAN), is_score=False)]
    short = line(pair="a", memory="tau_reference")
    for tau in (NAN, 105.0):
        (item,) = subjects(tau_reference=(tau, 1.0))
        item.runs = (SimpleNamespace(duration=400.0),) * 2
        items = [item]
        found += [judge(evaluation((1.0, 0.1), (2.0, 0.1), items), short)]
    assert {verdict.word for verdict in found} == {NOT_JUDGED}
    for verdict in found:
        assert verdict.reason.partition(":")[0] in page
    assert all(word in page for word in (WITHIN, EDGE, OUTSIDE))


def test_few_subjects_have_the_errors_of_their_figures():
    items = subjects(a=(3.0, 0.1)) + subjects(a=(3.2, 0.1))
    found = judge(evaluation((3.1, NAN), (2.0, NAN), items), line())
    assert found.word == OUTSIDE  # 1.1 over 0.07 and 0.1
    assert found.reason.startswith("9.0 errors")
    paired = subjects(a_reference=(1.0, 0.1), a_learned=(1.1, 0.1))
    assert judge(evaluation((9.0, 0.1), (0.1, 0.1), paired), line(pair="a")).word == (
        WITHIN
    )


def test_provenance(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    path.write_bytes(b"frames")
    monkeypatch.setattr("sys.argv", ["cgml", "evaluate", "my model"])
    made = of_command(reference=[path], topology=[None])
    digest = hashlib.sha256(b"frames").hexdigest()
    assert made.files == [File("reference", str(path), 6, digest)]
    assert made.command == "cgml evaluate 'my model'"
    assert {"cgml", "torch", "processor"} <= set(made.versions)
    assert json.loads(json.dumps(made.as_json()))["files"][0]["sha256"] == digest
    assert Provenance().date.endswith("UTC")
    (bundled,) = of_command(model=[find_model("copolymer-chain")]).files
    assert bundled.path == "copolymer-chain, bundled with cgml"  # no path of a machine


@pytest.mark.parametrize(
    "limits", [(80.0, 210.0), (0.5, 2e3), (1e-6, 1e9), (99.0, 130.0), (1.1, 1.9)]
)
def test_logarithmic_axes_have_three_numbers_at_least(limits):
    found = log_ticks(*limits)
    assert 3 <= len(found) <= 7
    assert found == sorted(found)
    assert limits[0] <= found[0] <= found[-1] <= limits[1]
