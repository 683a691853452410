"""`cgml evaluate`, `baseline` and `models`: from files to a report."""

import json
import re

import numpy as np
import pytest
from workflow_tools import write_chains

from cgml.evaluation import baselines, predictions
from cgml.evaluation.predictions import Prediction
from cgml.models.file import bundled_models


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Three chains, 1,200 ps each."""
    path = tmp_path_factory.mktemp("references") / "test.npz"
    return write_chains(path, n_chains=3, n_frames=120, seed=4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_report(cgml, tiny_model, references, tmp_path, precision):
    result = cgml(
        *("evaluate", tiny_model, "--reference", references, "--precision", precision),
        *("--output", tmp_path / "judged", "--replicas", 2),
    )
    assert result.exit_code == 0, result.output
    page = next((tmp_path / "judged").glob("*.html")).read_text()
    assert "test_000" in page
    assert 'src="http' not in page
    assert ("bfloat16" in page) == (precision == "bfloat16")
    (path,) = (tmp_path / "judged").glob("*.json")
    figures = json.loads(path.read_text())
    assert sorted(figures["molecules"]) == ["test_000", "test_001", "test_002"]
    assert figures["run"]["n_replicas"] == 2
    assert figures["run"]["precision"] == precision
    output = " ".join(result.output.split())
    assert "contact map, mean" in output
    assert "the steps are done: computes figures" in output
    assert "guards tripped: " in output
    assert " ± " in output


def test_a_reference_too_short_for_any_run(cgml, tiny_model, tmp_path):
    """Not the length of the run is what is missing."""
    path = write_chains(tmp_path / "two.npz", n_chains=1, n_frames=2, seed=4)
    result = cgml(
        *("evaluate", tiny_model, "--reference", path),
        *("--output", tmp_path / "judged"),
    )
    assert result.exit_code == 1
    output = " ".join(result.output.split())
    assert "20 frames or more" in output
    assert "give a longer one" in output
    assert "--time" not in output


def test_a_reference_of_other_beads(cgml, tiny_model, references, tmp_path):
    beads = tmp_path / "beads"
    cgml("prepare", references, "--output", beads, "--atoms-per-bead", 10)
    result = cgml(
        *("evaluate", tiny_model, "--reference", beads / "test_000.h5md"),
        *("--output", tmp_path / "judged"),
    )
    assert result.exit_code == 1
    assert "has 5 atoms in a bead" in " ".join(result.output.split())


def test_baselines_are_written_and_read(cgml, references, tmp_path, monkeypatch):
    """The fits themselves have tests of their own; here only what goes in and out."""
    other = write_chains(tmp_path / "train.npz", n_chains=4, n_frames=60, seed=5)
    seen = {}

    def measure(train, validation, test, *, charges, names, on_baseline):
        seen.update(
            charges=charges,
            names=names,
            sizes=[len(train), len(validation), len(test)],
        )
        on_baseline("mean")
        values = {"rg2": np.full((1, 3), 9.0), "log10_tau": np.full((1, 3), 2.0)}
        return [Prediction("mean", [item.name for item in test], values)]

    monkeypatch.setattr(baselines, "measure", measure)
    path = tmp_path / "baselines.json"
    result = cgml(
        *("baseline", "--train", other, "--validation", other),
        *("--reference", references, "--output", path),
        *("--charge", "C=1", "--charge", "D=-1", "--species", "A*=chain"),
    )
    assert result.exit_code == 0, result.output
    assert seen == {
        "charges": {"C": 1.0, "D": -1.0},
        "names": {"A*": "chain"},
        "sizes": [4, 4, 3],
    }
    assert predictions.load(path)[0].subjects == ["test_000", "test_001", "test_002"]
    pattern = cgml(
        *("baseline", "--train", tmp_path / "tr*.npz", "--validation", other),
        *("--reference", references, "--output", path),
    )
    assert pattern.exit_code == 0, pattern.output
    assert seen["sizes"] == [4, 4, 3]
    bad = cgml(
        *("baseline", "--train", tmp_path / "tra*.npy", "--validation", other),
        *("--reference", references, "--output", path),
    )
    assert "there is no file" in " ".join(bad.output.split())
    mixed = cgml(
        *("baseline", "--train", other, "--validation", references),
        *("--reference", references, "--output", path),
    )
    assert "references must be others" in " ".join(mixed.output.split())
    bad = cgml(
        *("baseline", "--train", other, "--validation", other),
        *("--reference", references, "--output", path, "--charge", "C"),
    )
    assert bad.exit_code == 1
    assert "NAME=NUMBER" in " ".join(bad.output.split())


@pytest.mark.parametrize(
    ("species", "words"),
    [("polymer", "given as FORMULA=NAME"), ("Q*=solvent", "fits none of")],
)
def test_a_species_that_is_not_there(cgml, tiny_model, references, species, words):
    result = cgml(
        *("evaluate", tiny_model, "--reference", references),
        *("--output", "nowhere", "--species", species),
    )
    assert result.exit_code == 1
    assert words in " ".join(result.output.split())


def test_models_are_listed_with_their_cards(cgml):
    result = cgml("models")
    assert result.exit_code == 0
    for name in bundled_models():
        assert name in result.output
        assert cgml("models", name).exit_code == 0
    unknown = cgml("models", "no-such-model")
    assert unknown.exit_code == 1
    assert "no bundled model is named 'no-such-model'" in unknown.output


@pytest.mark.parametrize(
    "command",
    ["prepare", "train", "export", "run", "evaluate", "baseline", "models"],
)
def test_help_has_units_and_an_example(cgml, command):
    result = cgml(command, "--help")
    text = " ".join(result.output.split())
    assert result.exit_code == 0
    assert "For example:" in text
    assert f"cgml {command} " in text
    assert re.search(r"\b(nm|ps|Da)\b", text)
