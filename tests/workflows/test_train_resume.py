"""A training run that goes on is the run that was not interrupted, or is refused."""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import weights, write_config
from workflow_tools import command, environment, write_chains

from cgml.archive import ArchiveError
from cgml.interrupts import Interrupted
from cgml.locks import exclusive
from cgml.models.file import read_spec
from cgml.training import keeper
from cgml.training.checkpoint import read_checkpoint
from cgml.training.config import TrainingConfig
from cgml.training.fit import export_checkpoint, fit
from cgml.training.learner import Learner

N_STEPS, INTERVAL = 12, 5  # validated after 5, 10 and 12 steps


def train(config: Path, **options) -> list[str]:
    """Train in this process; return what was noted."""
    notes: list[str] = []
    fit(TrainingConfig.from_toml(config), on_note=notes.append, **options)
    return notes


def edit(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def assert_same(found: Path, expected: Path) -> None:
    before, after = (weights(path / "run" / "model.pt") for path in (expected, found))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("straight")
    train(write_config(folder, N_STEPS, INTERVAL))
    return folder


def test_a_run_tells_how_it_goes_and_draws_it(tmp_path):
    config, said = write_config(tmp_path, N_STEPS, INTERVAL), []
    train(config, on_status=said.append)
    steps = [item.step for item in said]
    assert steps == sorted(steps)
    assert {1, 5, 10, 12} <= set(steps)
    last = said[-1]
    assert (last.n_steps, last.seconds_left) == (N_STEPS, 0.0)
    assert last.memory > 2**25
    assert np.isfinite([last.loss, last.trend, last.best]).all()
    assert last.best_step in {5, 10, 12}
    line = r"step 12 of 12: loss \S+ \(\S+ since step 11\), validation \S+ at best, "
    assert re.match(line + r"step \d+, \S+ steps/s, 0 s left, \d+\.\d GiB$", str(last))
    page = (tmp_path / "run" / "progress.html").read_text()
    assert str(last).partition(",")[0] in page
    assert page.count("<svg") == 3  # losses, two validation molecules
    assert "nan%" not in page


def test_a_limit_of_time_saves_and_the_same_run_goes_on(straight, tmp_path):
    config = write_config(tmp_path, N_STEPS, INTERVAL)
    with pytest.raises(Interrupted, match=f"stopped after step 1 of {N_STEPS}") as info:
        train(config, time_limit=1e-6)
    assert info.value.number == 14
    train(config)
    assert_same(tmp_path, straight)
    last = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    (curves,) = [item for item in last["callbacks"].values() if "losses" in item]
    assert [step for step, _ in curves["losses"]] == list(range(1, N_STEPS + 1))
    with pytest.raises(ValueError, match="time limit"):
        train(config, time_limit=float("inf"))


@pytest.fixture
def copy(straight, tmp_path) -> Path:
    """The same run, finished, to do something to."""
    return shutil.copytree(straight, tmp_path / "copy")


@pytest.fixture
def stop_at(monkeypatch) -> Callable[[int, int], None]:
    """Have a signal come in the middle of a training step."""
    take = Learner.training_step

    def at(step: int, number: int = signal.SIGTERM) -> None:
        def training_step(self, batch, batch_idx):
            if self.global_step == step:
                signal.raise_signal(number)
            return take(self, batch, batch_idx)

        monkeypatch.setattr(Learner, "training_step", training_step)

    return at


@pytest.mark.parametrize(
    ("step", "number"), [(0, signal.SIGTERM), (4, signal.SIGTERM), (7, signal.SIGINT)]
)
def test_a_signal_saves_and_the_rest_is_the_same(
    straight, tmp_path, stop_at, step, number
):
    """At the first step, between validations, and right before one."""
    config = write_config(tmp_path / "broken", N_STEPS, INTERVAL)
    before = signal.getsignal(number)
    stop_at(step, number)
    with pytest.raises(Interrupted, match=f"after step {step + 1} of 12, saved in "):
        train(config)
    assert signal.getsignal(number) is before
    assert not (config.parent / "run" / "model.pt").exists()
    stop_at(-1)
    notes = train(config)
    assert any(f"goes on from step {step + 1}, " in line for line in notes)
    assert_same(config.parent, straight)


def test_checkpoints_every_few_minutes(straight, tmp_path, monkeypatch):
    """Here at every step: what is lost is what came after the last one."""
    config = write_config(tmp_path / "broken", N_STEPS, INTERVAL)
    edit(config, "[optimiser]", "[optimiser]\nsave_minutes = 1e-9")

    def die(*arguments: object) -> None:
        raise MemoryError  # like a kill: nobody saves

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "validation_step", die)
        with pytest.raises(MemoryError):
            train(config)
    folder = config.parent / "run" / "checkpoints"
    assert read_checkpoint(folder / "last.ckpt")["global_step"] == 4
    assert read_checkpoint(folder / "previous.ckpt")["global_step"] == 3
    edit(config, "save_minutes = 1e-9", "save_minutes = 7.0")
    notes = train(config)
    assert "save_minutes was 1e-09, is 7.0 from here on" in notes
    assert_same(config.parent, straight)


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_costs_what_came_after_the_one_before(
    straight, copy, damage
):
    folder = copy / "run" / "checkpoints"
    last = folder / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 4
    if damage == "gone":
        last.unlink()
    else:
        last.write_bytes(content[: 1000 if damage == "cut" else None])
    (copy / "run" / "model.pt").unlink()
    notes = train(copy / "train.toml")
    assert any("last.ckpt" in line for line in notes) == (damage != "gone")
    assert any("goes on from step 10, in " in line for line in notes)
    assert_same(copy, straight)
    assert (folder / "damaged.ckpt").exists() == (damage != "gone")
    for name in ("last.ckpt", "previous.ckpt"):
        (folder / name).write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"both checkpoints in \S+ are damaged"):
        train(copy / "train.toml")


def test_a_finished_run_is_not_repeated(straight, copy, monkeypatch):
    monkeypatch.setattr(Learner, "training_step", None)
    (copy / "run" / "model.pt").unlink()
    train(copy / "train.toml")
    assert_same(copy, straight)


def test_more_steps(copy):
    """The learning rate follows the longer schedule; no fewer steps than before."""
    edit(copy / "train.toml", "n_steps = 12", "n_steps = 18")
    edit(copy / "train.toml", f"validate_every = {INTERVAL}", "validate_every = 4")
    notes = train(copy / "train.toml")
    assert "n_steps was 12, is 18 from here on" in notes
    assert "validate_every was 5, is 4 from here on" in notes
    last = read_checkpoint(copy / "run" / "checkpoints" / "last.ckpt")
    assert last["global_step"] == 18
    (schedule,) = last["lr_schedulers"]
    assert schedule["total_steps"] == 19
    assert schedule["last_epoch"] == 18
    spec = read_spec(copy / "run" / "model.pt")
    assert spec.provenance["steps"] == "18"
    edit(copy / "train.toml", "n_steps = 18", "n_steps = 17")
    with pytest.raises(ValueError, match=r"n_steps \(fewer\) 18, asked for is 17"):
        train(copy / "train.toml")


def test_patience_takes_effect(copy, monkeypatch):
    """A run that stopped early is finished, until it may go on for longer."""
    edit(copy / "train.toml", "n_steps = 12", "n_steps = 30\npatience = 1")
    losses = Learner.losses

    def worse(self, batch, stream):
        return {k: v + self.global_step for k, v in losses(self, batch, stream).items()}

    monkeypatch.setattr(Learner, "losses", worse)
    train(copy / "train.toml")
    folder = copy / "run" / "checkpoints"
    assert read_checkpoint(folder / "last.ckpt")["global_step"] == 15
    train(copy / "train.toml")
    assert read_checkpoint(folder / "last.ckpt")["global_step"] == 15
    edit(copy / "train.toml", "patience = 1", "patience = 2")
    train(copy / "train.toml")
    assert read_checkpoint(folder / "last.ckpt")["global_step"] == 20


CHANGES = {
    "time_step": ("time_step = 20.0", "time_step = 10.0", "time_step 20.0, .* 10.0"),
    "temperature": ("= 120.272", "= 500.0", "temperature 120.272, asked for is 500.0"),
    "friction": ("friction = 0.5", "friction = 0.1", "friction 0.5, asked for is 0.1"),
    "name": ('"small"', '"other"', "name small, asked for is other"),
    "n_node": ("n_node = 8", "n_node = 16", r"network.n_node 8, asked for is 16"),
    "learning_rate": (
        "[optimiser]",
        "[optimiser]\nlearning_rate = 0.1",
        r"optimiser.learning_rate 0.001, asked for is 0.1",
    ),
    "seed": ("[optimiser]", "[optimiser]\nseed = 7", r"optimiser.seed 0, asked .* 7"),
    "levels": ("n_levels = 3", "n_levels = 4", "refinement.n_levels 3, asked .* 4"),
    "augmentation": (
        "[optimiser]",
        "[augmentation]\nreverse_time = false\n[optimiser]",
        "augmentation.reverse_time True, asked for is False",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_value_is_refused(straight, copy, change):
    """By `train`, finished or not, and by `export`; nothing is written."""
    old, new, text = CHANGES[change]
    edit(copy / "train.toml", old, new)
    before = (copy / "run" / "model.pt").stat().st_mtime_ns
    config = TrainingConfig.from_toml(copy / "train.toml")
    for call in (fit, export_checkpoint):
        with pytest.raises(ValueError, match=f"training run with {text}"):
            call(config)
    assert (copy / "run" / "model.pt").stat().st_mtime_ns == before


def test_all_changes_are_named_with_both_values(copy):
    edit(copy / "train.toml", "friction = 0.5", "friction = 0.25")
    edit(copy / "train.toml", "n_edge = 8", "n_edge = 16")
    with pytest.raises(ValueError, match="restore these to go on") as caught:
        train(copy / "train.toml")
    text = str(caught.value)
    assert "\n" not in text
    assert "friction 0.5, asked for is 0.25; network.n_edge 8, asked for is 16" in text


@pytest.mark.parametrize("name", ["train", "validation"])
def test_other_data_behind_the_same_name(copy, name):
    write_chains(copy / f"{name}.npz", n_chains=3, n_frames=30, seed=9)
    with pytest.raises(ValueError, match=rf"data.{name}\[0\] {name}.npz \w+, asked"):
        train(copy / "train.toml")


def test_an_export_has_the_numbers_that_were_trained_with(straight, copy):
    """Also if the data are others by now, or gone."""
    (copy / "train.npz").unlink()
    (copy / "run" / "model.pt").unlink()
    export_checkpoint(TrainingConfig.from_toml(copy / "train.toml"))
    assert_same(copy, straight)
    spec, expected = (read_spec(path / "run" / "model.pt") for path in (copy, straight))
    assert spec == expected


def test_the_plan_stands_in_the_folder(straight):
    plan = json.loads((straight / "run" / "train.json").read_text())["plan"]
    assert plan["time_step"] == 20.0
    assert re.fullmatch(r"train.npz [0-9a-f]{32}", plan["data"]["train"][0])
    assert plan["machine"]["torch"] == torch.__version__


def test_a_second_process_is_refused(copy):
    with (
        exclusive(copy / "run", "train"),
        pytest.raises(RuntimeError, match=r"run is in use by .* .cgml train.: wait"),
    ):
        train(copy / "train.toml")


def test_no_resume_starts_anew(straight, copy):
    edit(copy / "train.toml", "friction = 0.5", "friction = 0.25")
    notes = train(copy / "train.toml", resume=False)
    assert not any("goes on" in line for line in notes)
    assert read_spec(copy / "run" / "model.pt").friction == 0.25


def test_a_checkpoint_of_an_older_version(copy):
    path = copy / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    torch.save({k: v for k, v in content.items() if k != keeper.PLAN}, path)
    for call in (train, lambda config: export_checkpoint_of(config, path)):
        with pytest.raises(ValueError, match=r"last.ckpt is of a version of cgml "):
            call(copy / "train.toml")


@pytest.mark.parametrize(
    "change",
    [
        {keeper.PLAN: 1},
        {keeper.PLAN: "[]"},
        {keeper.PLAN: '{"optimiser": 1}'},
        {keeper.SPEC: "{}"},
        {keeper.BEST: 1},
        {keeper.BEST: {"score": "low"}},
        {"global_step": "many"},
    ],
)
def test_a_checkpoint_that_says_other_things_is_refused(copy, change):
    path = copy / "run" / "checkpoints" / "last.ckpt"
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(ValueError, match=r"last.ckpt ") as caught:
        train(copy / "train.toml")
    assert type(caught.value) is ArchiveError


def export_checkpoint_of(config: Path, checkpoint: Path) -> Path:
    return export_checkpoint(TrainingConfig.from_toml(config), checkpoint)


def test_the_exit_code_of_a_signal(tmp_path):
    """A process of its own says what is saved, and leaves with the usual code."""
    config = write_config(tmp_path / "broken", n_steps=5000, interval=5)
    process = subprocess.Popen(
        command("train", config),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    last = tmp_path / "broken" / "run" / "checkpoints" / "last.ckpt"
    give_up = time.monotonic() + 120.0
    while not last.exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    process.terminate()
    _, text = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, text
    (line,) = [row for row in text.splitlines() if row.startswith("stopped")]
    assert re.match(r"stopped after step \d+ of 5000, saved in \S+last.ckpt: run", line)
    assert "Traceback" not in text
