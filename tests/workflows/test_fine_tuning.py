"""`cgml train --from`: a model goes on learning from other data."""

import csv
import re
from pathlib import Path

import pytest
import torch
from test_train import weights, write_config
from workflow_tools import write_chains

from cgml.models.file import load_model
from cgml.network.model import LearnedModel
from cgml.training.config import TrainingConfig
from cgml.training.fit import fit
from cgml.training.tuning import READOUTS


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    """A model of chains of 20 atoms."""
    folder = tmp_path_factory.mktemp("origin")
    return fit(TrainingConfig.from_toml(write_config(folder, 3, 3)))


def edit(config: Path, *changes: tuple[str, str]) -> TrainingConfig:
    text = config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    return TrainingConfig.from_toml(config)


@pytest.fixture
def other(tmp_path) -> Path:
    """Data of longer chains, and a file that says so."""
    config = write_config(tmp_path, 3, 3)
    write_chains(tmp_path / "train.npz", n_chains=3, n_frames=30, seed=5, n_atoms=30)
    return config


def test_weights_begin_where_the_model_is_and_frozen_ones_stay(origin, other):
    config = edit(
        other,
        ('name = "small"', 'name = "longer"'),
        ("[optimiser]", '[optimiser]\nfrozen = ["embedding", "predictor"]'),
    )
    before = load_model(origin)
    after = load_model(fit(config, origin=before))
    for name, values in before.module.state_dict().items():
        found = after.module.state_dict()[name]
        is_frozen = name.partition(".")[0] in {"embedding", "predictor"}
        if is_frozen:
            torch.testing.assert_close(found, values, rtol=1e-6, atol=0.0, msg=name)
        else:
            torch.testing.assert_close(found, values, rtol=0.1, atol=0.02, msg=name)
    changed = after.module.denoiser.state_dict()
    assert any(
        not torch.equal(values, changed[name])
        for name, values in before.module.denoiser.state_dict().items()
    )
    assert after.spec.name == "longer"
    assert before.spec.seen.molecule_beads == (4, 4)
    assert after.spec.seen.molecule_beads == (4, 6)
    assert after.spec.statistics == before.spec.statistics
    assert after.spec.provenance["goes on from"].startswith("small (")


def test_a_repeat_goes_on_and_one_without_the_model_is_refused(
    cgml, origin, other, tmp_path
):
    assert cgml("train", other, "--from", origin).exit_code == 0
    first = weights(tmp_path / "run" / "model.pt")
    assert cgml("train", other, "--from", origin).exit_code == 0
    again = weights(tmp_path / "run" / "model.pt")
    assert all(torch.equal(values, again[name]) for name, values in first.items())
    result = cgml("train", other)
    assert result.exit_code == 1
    assert "from" in result.stderr


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ([("n_node = 8", "n_node = 16")], r"network\.n_node = 16 .* it has 8"),
        ([("time_step = 20.0", "time_step = 40.0")], "time_step = 40 .* has 20"),
        ([("n_levels = 3", "n_levels = 4")], r"refinement\.n_levels = 4 .* has 3"),
        ([("\n[data]", "\natoms_per_bead = 10\n[data]")], "atoms_per_bead"),
    ],
)
def test_other_networks_are_refused_by_key(origin, other, changes, text):
    config = edit(other, *changes)
    with pytest.raises(ValueError, match=text):
        fit(config, origin=load_model(origin))


def test_other_types_are_refused(origin, other):
    known = load_model(origin)
    masses = {name: mass + 1.0 for name, mass in known.spec.particle_types.items()}
    heavier = known.spec.model_copy(update={"particle_types": masses})
    with pytest.raises(ValueError, match=re.escape("particle types and masses (Da)")):
        fit(edit(other), origin=LearnedModel(heavier, known.module))


def test_last_layers_learn_what_is_stationary(origin, other, tmp_path):
    config = edit(
        other,
        (
            "[optimiser]",
            "[stationarity]\nweight = 0.3\n\n[optimiser]\nreadouts_only = true",
        ),
    )
    before = load_model(origin)
    after = load_model(fit(config, origin=before)).module.state_dict()
    for name, values in before.module.state_dict().items():
        is_last = name.startswith(READOUTS)
        is_same = torch.allclose(after[name], values, rtol=1e-6, atol=0.0)
        if not is_last:
            assert is_same, name
    last = [name for name in after if name.startswith(READOUTS)]
    moved = [
        name
        for name in last
        if not torch.equal(after[name], before.module.state_dict()[name])
    ]
    assert {name.rpartition(".")[0] for name in moved} >= {
        "predictor.shift.edge",
        "denoiser.readout.edge",
    }
    (log,) = (tmp_path / "run" / "logs").glob("*/metrics.csv")
    with log.open() as file:
        terms = [row["validation/stationarity"] for row in csv.DictReader(file)]
    assert any(float(each) != 0.0 for each in terms if each)


@pytest.mark.parametrize("key", ['frozen = ["denoiser"]', "readouts_only = true"])
def test_nothing_is_frozen_without_a_model(other, key):
    config = edit(other, ("[optimiser]", f"[optimiser]\n{key}"))
    with pytest.raises(ValueError, match=f"{key.split()[0]} is about a model that"):
        fit(config)
