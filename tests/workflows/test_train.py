"""`cgml train`: a model file at the end, also after a kill; no misspelt option."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from workflow_tools import command, environment, in_process, write_chains

from cgml.formats.trajectory import read_beads
from cgml.models.file import load_model
from cgml.molecules.mapping import Mapping
from cgml.training.config import TrainingConfig
from cgml.training.fit import fit

CONFIG = """
name = "small"
output = "run"
time_step = 20.0
temperature = 120.272
friction = 0.5

[data]
train = ["train.npz"]
validation = ["validation.npz"]

[network]
n_embedding = 4
n_embedding_steps = 1
n_node = 8
n_edge = 8
n_predictor_layers = 1
n_refiner_layers = 1

[refinement]
n_levels = 3

[optimiser]
n_steps = {n_steps}
n_molecules = 2
n_windows = 2
validate_every = {interval}
rollout_steps = 2
"""


def write_config(folder, n_steps: int = 20, interval: int = 10):
    folder.mkdir(exist_ok=True)
    write_chains(folder / "train.npz", n_chains=3, n_frames=30, seed=1)
    write_chains(folder / "validation.npz", n_chains=2, n_frames=30, seed=2)
    path = folder / "train.toml"
    path.write_text(CONFIG.format(n_steps=n_steps, interval=interval))
    return path


def weights(path) -> dict[str, torch.Tensor]:
    return load_model(path).module.state_dict()


def test_kill_and_resume(tmp_path):
    """What comes out after a kill is what comes out without one."""
    broken = write_config(tmp_path / "broken", n_steps=50, interval=10)
    process = subprocess.Popen(
        command("train", broken),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    last = tmp_path / "broken" / "run" / "checkpoints" / "last.ckpt"
    give_up = time.monotonic() + 120.0
    while not last.exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    model = tmp_path / "broken" / "run" / "model.pt"
    assert last.exists()
    assert not model.exists()
    reached = torch.load(last, weights_only=True)["global_step"]
    assert 0 < reached < 50

    straight = write_config(tmp_path / "straight", n_steps=50, interval=10)
    for path in (broken, straight):
        fit(TrainingConfig.from_toml(path))
    expected = weights(tmp_path / "straight" / "run" / "model.pt")
    found = weights(model)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_the_model_cuts_as_the_frames_were_cut(cgml, tmp_path):
    """13 atoms at 5 a bead are 3 beads of 4.33 on average; 100 are 20, and not 23."""
    config = write_config(tmp_path, n_steps=2, interval=2)
    for name, seed in (("train", 1), ("validation", 2)):
        atoms = write_chains(tmp_path / f"{name}.npz", 3, 30, seed, n_atoms=13)
        done = cgml("prepare", atoms, "--output", tmp_path / name)
        assert done.exit_code == 0, done.output
    frames = config.read_text().replace(".npz", "/*.h5md")
    config.write_text(frames.replace("[data]", "atoms_per_bead = 4\n[data]"))
    refused = cgml("train", config)
    assert refused.exit_code == 1
    text = " ".join(refused.output.split())
    assert "atoms_per_bead = 4 is asked for" in text
    assert "were cut with atoms_per_bead = 5:" in text
    config.write_text(frames)
    assert cgml("train", config).exit_code == 0
    spec = load_model(tmp_path / "run" / "model.pt").spec
    assert spec.atoms_per_bead == 5.0
    for path in (tmp_path / "train").glob("*.h5md"):
        stored = read_beads(path).mapping
        again = Mapping.from_spec(stored.graph, spec)
        np.testing.assert_array_equal(again.bead_index, stored.bead_index)


def test_corrections_are_part_of_a_run(cgml, tmp_path):
    config = write_config(tmp_path, n_steps=2, interval=2)
    text = config.read_text()
    write_chains(tmp_path / "after.npz", n_chains=2, n_frames=12, seed=3)
    config.write_text(text.replace("[data]", '[data]\ncorrections = ["after.npz"]'))
    assert cgml("train", config).exit_code == 0
    assert (
        "2 runs of MD from frames of a model" in (tmp_path / "run/model.md").read_text()
    )
    plan = json.loads((tmp_path / "run" / "train.json").read_text())["plan"]
    assert plan["data"]["corrections"][0].startswith("after.npz ")
    write_chains(tmp_path / "after.npz", n_chains=2, n_frames=12, seed=4)
    refused = cgml("train", config)
    assert refused.exit_code == 1
    assert "corrections" in refused.output
    write_chains(tmp_path / "after.npz", n_chains=2, n_frames=30, seed=2)
    config.write_text(config.read_text().replace('"run"', '"other"'))
    refused = cgml("train", config)  # those of validation
    assert refused.exit_code == 1
    assert "is training molecule" in refused.output


def test_a_file_that_two_patterns_match_is_refused(cgml, tmp_path):
    """Else it would run backwards, and be validated by what it was fitted to."""
    config = write_config(tmp_path, n_steps=2, interval=2)
    text = config.read_text().replace("[data]", '[data]\nsplit = "time"')
    every = text.replace('["train.npz"]', '["*.npz"]')
    more = text.replace("[data]", '[data]\ncorrections = ["tr*.npz"]')
    for content, key in ((every, "validation"), (more, "corrections")):
        config.write_text(content)
        refused = cgml("train", config)
        assert refused.exit_code == 1
        said = " ".join(refused.output.split())
        assert f"found under train and under {key} of [data]: narrow one" in said


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path):
    """Two processes share every batch over gloo; the files are written once."""
    changes = "[optimiser]\naverage_decay = 0.0\n"
    models = []
    for n_devices in (1, 2):
        config = write_config(tmp_path / f"on_{n_devices}", n_steps=6, interval=3)
        devices = f'{changes}accelerator = "cpu"\nn_devices = {n_devices}'
        config.write_text(config.read_text().replace("[optimiser]", devices))
        script = config.with_name("command.py")  # further processes start it again
        script.write_text("from cgml.cli.app import app\n\napp()\n")
        done = subprocess.run(
            [sys.executable, str(script), "train", str(config)],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("model written to") == 1
        run = config.parent / "run"
        assert len(list(run.rglob("metrics.csv"))) == 1
        assert len(list(run.rglob("events.out.tfevents*"))) == 1
        assert not list(run.rglob("*.part*"))
        models.append(weights(run / "model.pt"))
    alone, shared = models
    for name, value in alone.items():  # a step moves a weight by up to 1e-3
        np.testing.assert_allclose(
            shared[name], value, rtol=0.0, atol=1e-5, err_msg=name
        )


def test_train_export_and_run(cgml, tmp_path):
    config = write_config(tmp_path)
    trained = in_process("train", config)
    assert trained.returncode == 0, trained.stderr
    run = tmp_path / "run"
    spec = load_model(run / "model.pt").spec
    assert (spec.name, spec.time_step, spec.n_history) == ("small", 20.0, 1)
    assert sorted(spec.particle_types) == ["A", "B", "C", "D"]
    assert list(run.rglob("metrics.csv"))
    assert list(run.rglob("events.out.tfevents*"))
    (run / "model.pt").unlink()
    exported = cgml("export", config)
    assert exported.exit_code == 0, exported.output
    moved = cgml(
        *("run", run / "model.pt", tmp_path / "validation.npz", "--time", 40.0),
        *("--guard", "record", "--output", tmp_path / "moved"),
    )
    assert moved.exit_code == 0, moved.output
    assert (tmp_path / "moved" / "validation_001_r0.dcd").exists()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("friction =", "fricton =", "fricton: unknown key; did you mean friction?"),
        ("n_node = 8", "n_nodes = 8", "network.n_nodes: unknown key"),
        ("time_step = 20.0", "time_step = -1.0", "time_step: Input should be greater"),
        ("temperature = 120.272", "", "temperature: Field required"),
        ("[data]", "[data", "is not valid TOML"),
    ],
)
def test_a_bad_toml_file(cgml, tmp_path, old, new, text):
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace(old, new))
    result = cgml("train", config)
    assert result.exit_code == 1
    assert text in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()


def test_missing_files(cgml, tmp_path):
    config = write_config(tmp_path)
    assert "none.toml" in cgml("train", tmp_path / "none.toml").output
    (tmp_path / "train.npz").unlink()
    result = cgml("train", config)
    assert result.exit_code == 1
    assert "no bead frames match" in " ".join(result.output.split())


def test_a_molecule_in_both_splits(cgml, tmp_path):
    config = write_config(tmp_path)
    (tmp_path / "validation.npz").write_bytes((tmp_path / "train.npz").read_bytes())
    result = cgml("train", config)
    assert result.exit_code == 1
    assert "split by molecule, never by frame" in " ".join(result.output.split())


def test_one_kind_of_molecules_is_split_in_time(cgml, tmp_path):
    config = write_config(tmp_path, n_steps=4, interval=2)
    write_chains(tmp_path / "train.npz", n_chains=1, n_frames=60, seed=1)
    text = config.read_text().replace('validation = ["validation.npz"]\n', "")
    config.write_text(text)
    refused = cgml("train", config)
    assert refused.exit_code == 1
    assert 'or write split = "time"' in " ".join(refused.output.split())
    config.write_text(text.replace("[data]", '[data]\nsplit = "time"\ngap = 40.0'))
    done = cgml("train", config)
    assert done.exit_code == 0, done.output
    claim = "same molecules: interpolates, no claim of transfer"
    assert claim in " ".join(done.stderr.split())
    assert claim in load_model(tmp_path / "run" / "model.pt").spec.provenance["split"]
    assert claim in (tmp_path / "run" / "model.md").read_text()


def test_a_run_shorter_than_the_time_to_its_validation(cgml, tmp_path):
    """It is validated at its end, and so leaves a model."""
    done = cgml("train", write_config(tmp_path, n_steps=4, interval=1000))
    assert done.exit_code == 0, done.output
    model = load_model(tmp_path / "run" / "model.pt")
    assert model.spec.provenance["steps"] == "4"
