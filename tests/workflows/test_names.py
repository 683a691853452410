"""No name in a file leads out of the folder; no pipe is waited for."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fuzzing import pdb
from test_train import write_config

from cgml.formats.trajectory import read_reference, write_beads
from cgml.locks import NAME, exclusive
from cgml.training.config import TrainingConfig

NAMES = ["../../escaped", "{}/escaped", "a/b", "", "..", ".hidden", "a\nb"]


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", ["run", "prepare"])
def test_names_of_systems(cgml, tiny_model, chains, tmp_path, command, name):
    system = replace(read_reference(chains)[0], name=name.format(tmp_path))
    work = tmp_path / "far" / "work"
    work.mkdir(parents=True)
    write_beads(work / "in.h5md", system)
    before = everything(tmp_path)
    first = (tiny_model,) if command == "run" else ()
    tail = ("--time", 40.0) if command == "run" else ()
    result = cgml(command, *first, work / "in.h5md", *tail, "--output", work / "out")
    assert result.exit_code == 1
    (line,) = [row for row in result.output.splitlines() if row.startswith("error")]
    assert "the name of a system becomes the name of a file" in line
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["../x", "/x", "", "a\\\\b"])
def test_names_of_models(tmp_path, name):
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace('"small"', f'"{name}"'))
    with pytest.raises(ValueError, match=r"name: .* the name of a model becomes"):
        TrainingConfig.from_toml(config)


def test_the_output_of_a_training_run(tmp_path, monkeypatch):
    config = write_config(tmp_path)
    text = config.read_text()
    config.write_text(text.replace('output = "run"', 'output = ""'))
    with pytest.raises(ValueError, match=r"output: .* must not be empty"):
        TrainingConfig.from_toml(config)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config.write_text(text.replace('output = "run"', 'output = "~/run"'))
    assert TrainingConfig.from_toml(config).output == tmp_path / "home" / "run"


@pytest.mark.parametrize("output", ["", " ", "a\0b"])
def test_outputs_that_are_none(cgml, tiny_model, chains, output):
    for words in (
        ("run", tiny_model, chains, "--time", 40.0),
        ("prepare", chains),
        ("evaluate", tiny_model, "--reference", chains),
        ("baseline", f"--train={chains}", f"--validation={chains}", "--reference", "a"),
    ):
        result = cgml(*words, "--output", output)
        assert result.exit_code == 2
        assert "a path must not" in " ".join(result.output.split())


def test_outputs_whose_names_are_too_long(cgml, tiny_model, chains, tmp_path):
    tail = ("--time", 40.0, "--output", tmp_path / ("a" * 5000))
    result = cgml("run", tiny_model, chains, *tail)
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].endswith("a: file name too long")


def test_outputs_are_checked_first(cgml, tiny_model, chains, tmp_path, monkeypatch):
    """Before a model is loaded or anything is read."""
    monkeypatch.setattr("cgml.models.file.load_model", None)
    monkeypatch.setattr("cgml.training.preparation.read_prepared", None)
    (tmp_path / "file").write_text("")
    frames = ("--train", chains, "--validation", chains, "--reference", chains)
    for words, text in (
        (("evaluate", tiny_model, "--reference", chains), "is a file"),
        (("baseline", *frames), "there is no folder"),
    ):
        result = cgml(*words, "--output", tmp_path / "file" / "x")
        assert result.exit_code == 1
        assert text in result.output
        assert "--debug" not in result.output


def test_a_pipe_is_not_waited_for(cgml, tiny_model, tmp_path):
    """Wherever a file may be named."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    os.mkfifo(tmp_path / "pipe.h5md")
    os.mkfifo(tmp_path / NAME)
    pdb(tmp_path / "a.pdb")
    tail = ("--time", 40.0, "--output", tmp_path / "out")
    for words in (
        ("train", pipe),
        ("export", pipe),
        ("inspect", tmp_path / "a.pdb", "--mapping", pipe),
        ("run", pipe, pipe, *tail),
        ("run", tiny_model, tmp_path / "pipe.h5md", *tail),
        ("evaluate", tiny_model, "--reference", tmp_path / "pipe.h5md", *tail),
        ("import", "graphwm", pipe, "-o", tmp_path / "x.pt"),
    ):
        result = cgml(*words)
        assert result.exit_code == 1
        assert "pipe" in result.output
        assert "--debug" not in result.output
    with (
        pytest.raises(ValueError, match="must be a regular file, it is a pipe"),
        exclusive(tmp_path, "run"),
    ):
        pass
