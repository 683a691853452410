import json
import re
import tomllib
from pathlib import Path

import pytest
from core_systems import SPEC, small_spec
from pydantic import ValidationError

from cgml.fields import faults
from cgml.spec import ModelSpec, Refinement, RousePrior
from cgml.training.config import TrainingConfig
from cgml.training.keys import keys

TOML = """
name = "chain"
output = "runs/chain"
time_step = 20.0
temperature = 120.272
friction = 0.5

[data]
train = ["data/train_*.h5md", "/elsewhere/more.npz"]
validation = ["data/validation.npz"]

[network]
n_node = 32

[augmentation]
exchange = [["C", "D"]]

[optimiser]
seed = 3
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "train.toml"
    path.write_text(text)
    return path


def test_a_toml_file_and_its_defaults(tmp_path):
    config = TrainingConfig.from_toml(write(tmp_path, TOML))
    assert (config.name, config.time_step, config.friction) == ("chain", 20.0, 0.5)
    assert config.network.n_node == 32
    assert config.network.n_edge == 64
    assert config.augmentation.exchange == [("C", "D")]
    assert config.augmentation.reverse_time
    assert (config.optimiser.seed, config.optimiser.n_windows) == (3, 4)
    assert config.cutoff is None
    assert config.n_history == 1


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    write(tmp_path / "here", TOML)
    config = TrainingConfig.from_toml(Path("../here/train.toml"))
    folder = tmp_path / "here"
    assert config.output == folder / "runs/chain"
    assert config.data.train == [
        str(folder / "data/train_*.h5md"),
        "/elsewhere/more.npz",
    ]
    assert config.data.validation == [str(folder / "data/validation.npz")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "friction =",
            "fricton =",
            r"fricton: .* did you mean friction\? known are name",
        ),
        (
            "n_node =",
            "n_nodes =",
            r"network\.n_nodes: .* did you mean n_node\? known",
        ),
        (
            "seed = 3",
            "sed = 3",
            r"optimiser\.sed: .* mean seed\? known are n_steps",
        ),
        (
            "exchange =",
            "swap =",
            r"augmentation\.swap: unknown key; known are rev",
        ),
        (
            "[optimiser]",
            "[optimizer]",
            r"optimizer: .*; did you mean optimiser\?",
        ),
        ("train = [", "learn = [", r"data\.train: Field required"),
        ("temperature = 120.272", "", r"temperature: Field required"),
        ("= 20.0", "= 0.0", r"time_step: Input should be greater than 0"),
        ("= 20.0", "= nan", r"time_step: Input should be"),
        ("= 20.0", "= true", r"time_step: must be a number, got True"),
        ("= 20.0", "= inf", r"time_step: Input should be a finite number"),
        ("= 20.0", '= "20 ps"', r"time_step: Input should be a valid number"),
        ("n_node = 32", "n_node = 0", r"network\.n_node: Input should be greater"),
        ("n_node = 32", "n_node = 1.5", r"network\.n_node: Input should be a valid"),
        ('["C", "D"]', '["C"]', r"augmentation\.exchange\.0\.1: Field required"),
    ],
)
def test_what_is_wrong_in_a_toml_file_is_named(tmp_path, old, new, message):
    assert old in TOML
    path = write(tmp_path, TOML.replace(old, new))
    with pytest.raises(ValueError, match=message) as caught:
        TrainingConfig.from_toml(path)
    assert str(caught.value).startswith(f"{path} cannot be used:")


@pytest.mark.parametrize(
    ("file", "more", "message"),
    [
        ("data/validation.npz", "", "validation.npz stands under corrections and else"),
        ("a.h5md", "[stationarity]\nweight = 1.0", "weight looks at equilibrium"),
        ("a.h5md", "n_molecules = 1", "n_molecules of 2 or more is required, got 1"),
    ],
)
def test_corrections_that_make_no_sense(tmp_path, file, more, message):
    text = TOML.replace("[data]", f'[data]\ncorrections = ["{file}"]')
    path = write(tmp_path, f"{text}\n{more}\n")
    with pytest.raises(ValueError, match=message):
        TrainingConfig.from_toml(path)


@pytest.mark.parametrize("key", [key for key in keys() if "number" in key.kind])
def test_true_is_no_number(key):
    """Python takes it for 1."""
    content = tomllib.loads(TOML)
    (content.setdefault(key.table, {}) if key.table else content)[key.name] = True
    with pytest.raises(ValidationError) as caught:
        TrainingConfig.model_validate(content)
    place = f"{key.table}.{key.name}".lstrip(".")
    assert faults(caught.value) == f"{place} must be a number, got True"


def test_all_mistakes_are_told_at_once(tmp_path):
    text = TOML.replace("friction =", "fricton =").replace("n_node", "n_nodes")
    with pytest.raises(ValueError, match=r"(?s)n_nodes.*fricton|fricton.*n_nodes"):
        TrainingConfig.from_toml(write(tmp_path, text))


@pytest.mark.parametrize("text", ["[data", "name = ", "name = 1\nname = 2"])
def test_a_file_that_is_not_toml(tmp_path, text):
    path = write(tmp_path, text)
    message = f"^{re.escape(str(path))} is not valid TOML: "
    with pytest.raises(ValueError, match=message):
        TrainingConfig.from_toml(path)


def test_a_byte_order_mark_is_no_letter(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(TOML, encoding="utf-8-sig")
    assert TrainingConfig.from_toml(path).name == "chain"
    path.write_text(TOML, encoding="utf-16")
    with pytest.raises(ValueError, match=r"UTF-8 is required, .*train\.toml has"):
        TrainingConfig.from_toml(path)


def test_a_spec_survives_json():
    spec = small_spec(cutoff=2.5, friction=None)
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_spec_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        small_spec().time_step = 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_stepp": 1.0}, "time_stepp\n.*Extra inputs"),
        ({"format": 2}, "format\n.*Input should be 1"),
        ({"particle_types": {"A": 0.0}}, "particle_types.A\n.*greater than 0"),
        ({"n_history": -1}, "n_history\n.*greater than or equal to 0"),
        ({"partition": "metis"}, "partition\n.*'recursive', 'kway', 'runs' or 'given'"),
        ({"cutoff": 0.0}, "cutoff\n.*greater than 0"),
    ],
)
def test_a_bad_spec_is_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        ModelSpec.model_validate_json(json.dumps(SPEC | change))


@pytest.mark.parametrize("constants", [(0.0, 1.0), (1.0, -1.0), (float("inf"), 1.0)])
def test_a_prior_has_positive_constants(constants):
    with pytest.raises(ValidationError):
        RousePrior(rate=constants[0], variance=constants[1])


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0)])
def test_noise_levels_descend(low, high):
    message = f"sigma_min must be below sigma_max, got {low} and {high}"
    with pytest.raises(ValidationError, match=message):
        Refinement(sigma_min=low, sigma_max=high)


def test_an_unknown_sampler_is_named():
    with pytest.raises(ValidationError, match=r"sampler\n.*input_value='euler'"):
        Refinement.model_validate({"sampler": "euler"})


def test_the_time_step_is_the_models():
    spec = small_spec(time_step=20.0)
    spec.check_time_step(20.0)
    spec.check_time_step(20.0 * (1.0 + 1e-9))
    message = r"time step of model 'small' is 20 ps and cannot be changed, got 5 ps"
    with pytest.raises(ValueError, match=message):
        spec.check_time_step(5.0)


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        (False, r"open boundaries, the system has periodic boxes: remove the box"),
        (True, r"periodic boxes, the system has open boundaries: give .* its box"),
    ],
)
def test_boundaries_are_the_models(trained, message):
    spec = small_spec(periodic=trained)
    spec.check_boundaries(is_periodic=trained)
    with pytest.raises(ValueError, match=message):
        spec.check_boundaries(is_periodic=not trained)
