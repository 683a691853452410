"""Ensembles from one command, and from model files: `cgml train`, `cgml join`."""

import json
from pathlib import Path

import pytest
import torch
from test_train import weights, write_config
from workflow_tools import write_chains

from cgml.interrupts import Interrupted
from cgml.models.file import load_model
from cgml.training.config import TrainingConfig
from cgml.training.fit import export_checkpoint, fit


def write_ensemble(folder: Path, n_members: int = 2) -> TrainingConfig:
    """Write data and the training file of an ensemble."""
    path = write_config(folder, 4, 2)
    write_chains(folder / "validation.npz", n_chains=10, n_frames=30, seed=2)
    text = path.read_text().replace("[data]", "[data]\nbootstrap = true")
    path.write_text(f"ensemble = {n_members}\n{text}")
    return TrainingConfig.from_toml(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("ensemble")
    fit(write_ensemble(place))
    return place


def config_of(folder: Path) -> TrainingConfig:
    return TrainingConfig.from_toml(folder / "train.toml")


def test_members_are_runs_of_their_own_seeds_in_one_file(folder):
    model = load_model(folder / "run" / "model.pt")
    assert model.spec.n_members == 2
    assert model.spec.provenance["seed"] == "0, 1"
    one, other = model.members
    assert one.digest != other.digest
    assert one.spec.statistics == other.spec.statistics  # of all, not of a resample
    assert model.spec.calibrated.n_molecules == 10
    for number, member in enumerate(model.members):
        path = folder / "run" / "members" / str(number)
        alone = load_model(path / "model.pt")
        assert alone.members[0].module is alone.module
        for name, values in member.module.state_dict().items():
            assert torch.equal(values, alone.module.state_dict()[name])
        assert alone.spec.calibrated is None  # one set of weights, see cgml join
        plan = json.loads((path / "train.json").read_text())["plan"]
        assert plan["optimiser"]["seed"] == number
        assert plan["data"]["bootstrap"]


def test_stopped_in_a_member_it_goes_on_there(folder, tmp_path, monkeypatch):
    """The weights are those of a run that was not stopped; what is done stays."""
    config = write_ensemble(tmp_path)
    notes: list[str] = []
    with pytest.raises(Interrupted, match="stopped after step"):
        fit(config, on_note=notes.append, time_limit=1e-6)
    assert not (tmp_path / "run" / "model.pt").exists()
    path = fit(config, on_note=notes.append)
    assert notes.count("member 1 of 2") == 2
    expected = weights(folder / "run" / "model.pt")
    for name, values in weights(path).items():
        assert torch.equal(values, expected[name]), name


def test_one_of_more_members_trains_only_those_that_are_missing(folder):
    said: list[str] = []
    before = weights(folder / "run" / "model.pt")
    path = fit(config_of(folder), on_note=said.append)
    assert sum("goes on from step 4" in text for text in said) == 2
    assert all(torch.equal(v, before[k]) for k, v in weights(path).items())
    assert export_checkpoint(config_of(folder)) == path
    with pytest.raises(ValueError, match="not one checkpoint: give none"):
        export_checkpoint(config_of(folder), path)


def test_ensembles_go_on_from_ensembles(folder, tmp_path):
    origin = load_model(folder / "run" / "model.pt")
    config = write_ensemble(tmp_path, 3)
    with pytest.raises(ValueError, match=r"has 2 members.* write ensemble = 2"):
        fit(config, origin=origin)
    shared = config.model_copy(
        update={"optimiser": config.optimiser.model_copy(update={"n_devices": 2})}
    )
    with pytest.raises(ValueError, match=r"trained on one device, .* n_devices = 2"):
        fit(shared)


def test_join_makes_the_same_model_of_the_files(folder, cgml, tmp_path):
    members = [folder / "run" / "members" / str(n) / "model.pt" for n in range(2)]
    path, held = tmp_path / "two.pt", folder / "validation.npz"
    found = cgml("join", *members, "--validation", held, "-o", path)
    assert found.exit_code == 0, found.output
    joined, trained = load_model(path), load_model(folder / "run" / "model.pt")
    assert joined.digest == trained.digest
    for arguments, text in (
        ((members[0], members[0]), "two of these 2 are the same model"),
        ((members[0],), "give them with --train"),
        ((*members, "--train", held), "is training molecule"),
    ):
        result = cgml("join", *arguments, "--validation", held, "-o", tmp_path / "b.pt")
        assert result.exit_code == 1
        assert text in result.output
    few = tmp_path / "few.npz"
    write_chains(few, n_chains=2, n_frames=30, seed=5)
    result = cgml("join", *members, "--validation", few, "-o", tmp_path / "b.pt")
    assert "10 validation molecules or more are required" in result.output
