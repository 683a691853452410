"""What decides the last bits of a run is kept when it goes on, or it is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cgml import machine
from cgml.formats.trajectory import read_reference
from cgml.models.file import load_model
from cgml.runs import campaign, conditions, simulation
from cgml.runs.plan import RunOptions, claim, describe

KIND = machine.kind()


def options(**changes) -> RunOptions:
    return RunOptions(**{"n_steps": 8, "n_part": 2, "guard": "record"} | changes)


@pytest.fixture
def run(tiny_model, chains, tmp_path):
    """A run that was interrupted: model, systems, folder, options."""

    def stop(n_frames: int) -> None:
        if n_frames >= 8:  # of two chains
            raise KeyboardInterrupt

    run = (tiny_model, read_reference(chains), tmp_path / "out", options())
    with pytest.raises(KeyboardInterrupt):
        simulation.run(*run, stop)
    return run


@pytest.mark.parametrize("fact", ["torch", "processor", "cgml"])
def test_another_machine_is_refused(run, monkeypatch, fact):
    """Unless the run is finished: then nothing is computed."""
    other = KIND | {fact: "another"}
    campaign.write_starts(simulation.open_job(*run)[0])
    with monkeypatch.context() as patch:
        patch.setattr(machine, "kind", lambda device: other)
        text = f"started with machine.{fact} .*, asked for is another; its bits"
        with pytest.raises(ValueError, match=text):
            simulation.run(*run)
        with pytest.raises(ValueError, match=text):  # as a worker of another kind is
            campaign.open_here(run[0], run[2], run[3])
    simulation.run(*run)
    monkeypatch.setattr(machine, "kind", lambda device: other)
    assert len(simulation.run(*run).trajectories) == 2


def test_a_switch_of_instructions_is_another_machine(run, monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    text = "started with machine.processor .*, asked for is .* MKL_CBWR=COMPATIBLE; "
    with pytest.raises(ValueError, match=text):
        simulation.run(*run)


def test_threads_are_those_of_the_start(run, caplog):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        simulation.run(*run)
        assert torch.get_num_threads() == before
        assert f"goes on with {before} CPU threads" in caplog.text
    finally:
        torch.set_num_threads(before)


def test_networks_compiled_meanwhile_are_not_used(run, monkeypatch, caplog):
    monkeypatch.setattr(conditions, "compiled_parts", lambda *_: object())
    job, _ = simulation.open_job(*run)
    assert not job.settled.execution.compiled
    assert "goes on without compiled networks" in caplog.text
    assert job.plan["execution"]["compiled"]  # may be, if there are any


def test_compiled_networks_that_are_gone_are_missed(run, monkeypatch, tmp_path):
    model, systems, _, chosen = run
    with monkeypatch.context() as patch:
        patch.setattr(conditions, "compiled_parts", lambda *_: object())
        job, _ = simulation.open_job(model, systems, tmp_path / "compiled", chosen)
        assert job.settled.execution.compiled
    text = "started with compiled True, asked for is False; .*cgml compile MODEL"
    with pytest.raises(ValueError, match=text):
        simulation.open_job(model, systems, tmp_path / "compiled", chosen)


def test_all_that_differs_is_named(run):
    model, systems, folder, _ = run
    other = options(n_steps=6, seed=3, n_replicas=2)
    with pytest.raises(ValueError, match="holds a run with") as caught:
        simulation.run(model, systems, folder, other)
    text = str(caught.value)
    for part in ("n_steps 8, asked for is 6", "n_replicas 1, asked for is 2", "seed 0"):
        assert part in text
    assert "\n" not in text


def test_another_box_is_another_run(tiny_model, chains, tmp_path):
    """Its positions may be the same; older versions did not note it."""
    model, path = load_model(tiny_model), tmp_path / "run.json"

    def claimed(edge: float) -> None:
        systems = [replace(s, box=edge * np.eye(3)) for s in read_reference(chains)]
        plan = describe(model, systems, options())
        claim(tmp_path, plan, [range(2)], tiny_model)

    claimed(9.0)
    claimed(9.0)
    text = r"boxes\[0\]\[0\]\[0\] 9.0, asked for is 9.1; .* boxes\[1\]"
    with pytest.raises(ValueError, match=text):
        claimed(9.1)
    content = json.loads(path.read_text())
    del content["plan"]["boxes"]
    path.write_text(json.dumps(content))
    claimed(9.1)


def test_another_guard_is_told(run, caplog):
    model, systems, folder, _ = run
    simulation.run(model, systems, folder, options(guard="redraw"))
    text = "began with guard 'record' and goes on with guard 'redraw'"
    assert [text in line for line in caplog.messages] == [True]
    caplog.clear()
    simulation.run(model, systems, folder, options(guard="redraw"))
    assert not caplog.messages
    simulation.run(model, systems, folder, options(guard="stop"))
    assert "began with guard 'redraw' and is finished" in caplog.text


def test_a_run_of_an_older_version(run, caplog):
    """It goes on; what it was computed with is not known, and that is said."""
    path: Path = run[2] / "run.json"
    content = json.loads(path.read_text())
    del content["plan"]["conditions"]
    path.write_text(json.dumps(content))
    assert len(simulation.run(*run).trajectories) == 2
    assert "is of a version that did not note machine" in caplog.text


@pytest.mark.parametrize("text", ["", "[1]", '{"plan": []}', "{", "\x00"])
def test_a_damaged_plan_is_named(run, text):
    path: Path = run[2] / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^{path} is damaged"):
        simulation.run(*run)
