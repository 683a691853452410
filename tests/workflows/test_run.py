"""`cgml run`: what it writes, and what is left after a kill or on a full disk."""

import csv
import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest
from core_systems import idle_model
from workflow_tools import command, environment

from cgml.dynamics.guards import GuardError
from cgml.dynamics.propagator import Propagator
from cgml.formats.trajectory import read_beads, read_reference
from cgml.models.file import load_model, save_model
from cgml.runs import simulation
from cgml.runs.parts import find_parts
from cgml.runs.plan import RunOptions

STEP = 20.0  # ps, of the tiny model
GROUP = Path("parts", "0000")  # of a run in one process


def options(**changes) -> RunOptions:
    """Return a short run whose untrained model may leave the training data."""
    return RunOptions(
        **{"n_steps": 10, "n_part": 3, "guard": "record", "file_format": "h5md"}
        | changes
    )


def paths_of(outcome: simulation.Outcome) -> list[np.ndarray]:
    return [read_beads(path).positions for path in outcome.trajectories]


def test_frames_are_those_of_the_propagator(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    outcome = simulation.run(
        tiny_model, systems, tmp_path, options(n_replicas=2, stride=2, seed=5)
    )
    mappings = [system.mapping for system in systems for _ in range(2)]
    propagator = Propagator(load_model(tiny_model), mappings, seed=5, guard="record")
    state = propagator.start(
        np.concatenate([system.positions[0] for system in systems for _ in range(2)])
    )
    expected = []
    for step in range(10):
        state = propagator.step(state)
        if step % 2:
            expected.append(state.positions.numpy().astype(np.float32))
    for path, beads in zip(outcome.trajectories, propagator.slices, strict=True):
        found = read_beads(path)
        np.testing.assert_array_equal(found.positions, np.array(expected)[:, beads])
        np.testing.assert_allclose(found.times, 2 * STEP * np.arange(1, 6))
    assert outcome.guard_counts == {
        k: n for k, n in propagator.guard_counts.items() if n
    }
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("file_format", ["dcd", "xtc"])
def test_files_open_elsewhere(cgml, tiny_model, chains, tmp_path, file_format):
    result = cgml(
        *("run", tiny_model, chains, "--time", 5 * STEP, "--output", tmp_path),
        *("--guard", "record", "--format", file_format),
    )
    assert result.exit_code == 0, result.output
    path, topology = tmp_path / f"pair_001_r0.{file_format}", tmp_path / "pair_001.pdb"
    loaded = mdtraj.load(path, top=topology)
    assert (loaded.n_frames, loaded.n_atoms, loaded.topology.n_bonds) == (5, 4, 3)
    universe = MDAnalysis.coordinates.core.reader(str(path))
    times = [frame.time for frame in universe]
    np.testing.assert_allclose(times, STEP * np.arange(1, 6), rtol=1e-5)
    radii = np.loadtxt(tmp_path / "radius_of_gyration.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(radii[:, 0], STEP * np.arange(1, 6))
    assert radii.shape == (5, 3)
    assert (radii[:, 1:] > 0.0).all()


def test_kill_costs_one_part_at_most_and_no_bit(tiny_model, chains, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    n_steps, n_part = 400, 20
    arguments = (
        *("run", tiny_model, chains, "--time", n_steps * STEP, "--part", n_part),
        *("--guard", "record", "--format", "h5md", "--output", broken),
    )
    process = subprocess.Popen(
        command(*arguments), env=environment(), stderr=subprocess.DEVNULL
    )
    parts = broken / GROUP
    give_up = time.monotonic() + 120.0
    while len(find_parts(parts)) < 3 and time.monotonic() < give_up:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()

    kept = find_parts(parts)
    assert 3 <= len(kept) < n_steps // n_part, "killed too late to test anything"
    assert not list(broken.glob("*.h5md"))
    (parts / ".000000060.part.npz").write_bytes(b"half")  # what a kill can leave

    systems = read_reference(chains)
    run = options(n_steps=n_steps, n_part=n_part)
    seen: list[int] = []
    resumed = simulation.run(tiny_model, systems, broken, run, seen.append)
    assert seen[0] == 2 * n_part * len(kept)  # two chains
    straight = simulation.run(tiny_model, systems, whole, run)
    for found, expected in zip(paths_of(resumed), paths_of(straight), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert resumed.guard_counts == straight.guard_counts
    assert {p.name for p in broken.iterdir()} == {p.name for p in whole.iterdir()}


def test_a_finished_run_is_not_repeated(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    first = simulation.run(tiny_model, systems, tmp_path, options())
    before = [path.stat().st_mtime_ns for path in first.trajectories]
    seen: list[int] = []
    again = simulation.run(tiny_model, systems, tmp_path, options(), seen.append)
    assert again == first
    assert [path.stat().st_mtime_ns for path in again.trajectories] == before
    assert not seen


def test_a_run_of_a_version_with_two_networks_goes_on(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    first = simulation.run(tiny_model, systems, tmp_path, options())
    plan = json.loads((tmp_path / "run.json").read_text())
    plan["plan"]["execution"]["plain"] = False
    (tmp_path / "run.json").write_text(json.dumps(plan))
    assert simulation.run(tiny_model, systems, tmp_path, options()) == first
    plan["plan"]["execution"]["plain"] = True
    (tmp_path / "run.json").write_text(json.dumps(plan))
    with pytest.raises(ValueError, match="holds a run with execution"):
        simulation.run(tiny_model, systems, tmp_path, options())


def test_a_run_goes_on_with_the_same_model_in_another_file(
    tiny_model, chains, tmp_path
):
    """A plan knows what a model says, not the bytes of a file; older plans did."""
    systems, output = read_reference(chains), tmp_path / "run"
    first = simulation.run(tiny_model, systems, output, options())
    model = load_model(tiny_model)
    again = model.spec.model_copy(update={"provenance": {"saved": "again"}})
    save_model(tmp_path / "again.pt", again, model.module)
    assert (tmp_path / "again.pt").read_bytes() != Path(tiny_model).read_bytes()
    assert simulation.run(tmp_path / "again.pt", systems, output, options()) == first
    plan = json.loads((output / "run.json").read_text())
    plan["plan"]["model"] = hashlib.sha256(Path(tiny_model).read_bytes()).hexdigest()
    (output / "run.json").write_text(json.dumps(plan))
    assert simulation.run(tiny_model, systems, output, options()) == first
    weights = model.module.denoiser.edge_encoder.weight
    weights[0, 0] += 1.0
    save_model(tmp_path / "other.pt", model.spec, model.module)
    with pytest.raises(ValueError, match="holds a run with model"):
        simulation.run(tmp_path / "other.pt", systems, output, options())


@pytest.fixture
def nervous_model(tiny_model, tmp_path):
    """A model whose guards stop about every tenth step of a chain."""
    spec = load_model(tiny_model).spec
    limits = spec.statistics.model_copy(update={"bond_length_range": (0.3, 3.3)})
    spec = spec.model_copy(update={"statistics": limits})
    save_model(tmp_path / "nervous.pt", spec, idle_model(spec))
    return tmp_path / "nervous.pt"


def test_a_guard_leaves_what_came_before_readable(nervous_model, chains, tmp_path):
    systems = read_reference(chains)
    straight = simulation.run(
        nervous_model, systems, tmp_path / "straight", options(n_steps=60)
    )
    assert straight.guard_counts
    stopped = tmp_path / "stopped"
    with pytest.raises(GuardError, match="stopped replica") as caught:
        simulation.run(
            nervous_model, systems, stopped, options(n_steps=60, guard="raise")
        )
    n_good = caught.value.trip.step - 1
    assert n_good > 0
    found = read_beads(stopped / "pair_000_r0.h5md").positions
    np.testing.assert_array_equal(found, paths_of(straight)[0][:n_good])
    resumed = simulation.run(nervous_model, systems, stopped, options(n_steps=60))
    np.testing.assert_array_equal(paths_of(resumed)[1], paths_of(straight)[1])


@pytest.mark.parametrize("stride", [1, 4])
def test_a_stopped_path_keeps_its_frames_and_the_others_go_on(
    cgml, nervous_model, chains, tmp_path, stride
):
    """Exit code 3, a line for each; repeated, the command says the same."""
    command = (
        *("run", nervous_model, chains, "--time", 240 * STEP, "--part", 7),
        *("--replicas", 3, "--stride", stride, "--format", "h5md"),
    )
    free = cgml(*command, "--output", tmp_path / "free", "--guard", "record")
    assert free.exit_code == 0, free.output
    result = cgml(*command, "--output", tmp_path / "out")
    assert result.exit_code == 3, result.output
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    stopped = [row for row in rows if row["status"] == "stopped"]
    assert stopped
    assert {row["status"] for row in rows} <= {"stopped", "finished"}
    radii = np.genfromtxt(tmp_path / "out/radius_of_gyration.csv", delimiter=",")[1:]
    for number, row in enumerate(rows):
        name, n = f"{row['system']}_r{row['replica']}", int(row["frames"])
        assert n == 240 // stride or "guard 'bond' stopped replica" in row["reason"]
        assert (f"stopped: {name} ended after {n} of" in result.output) == (
            row["status"] == "stopped"
        )
        assert np.isfinite(radii[:, 1 + number]).sum() == n
        if n:
            found = read_beads(tmp_path / "out" / f"{name}.h5md")
            assert len(found.positions) == n
        else:
            assert not (tmp_path / "out" / f"{name}.h5md").exists()
    again = cgml(*command, "--output", tmp_path / "out")
    assert again.exit_code == 3
    assert again.output.splitlines()[-4:] == result.output.splitlines()[-4:]


def test_a_path_stops_where_it_would_alone(nervous_model, chains, tmp_path):
    """And with a kill in between: no bit differs."""
    systems = read_reference(chains)
    run = options(n_steps=60, guard="stop", n_replicas=2)
    whole = simulation.run(nervous_model, systems, tmp_path / "whole", run)
    assert whole.stopped

    def stop(n_frames: int) -> None:
        if n_frames > 5 * 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulation.run(nervous_model, systems, tmp_path / "broken", run, stop)
    resumed = simulation.run(nervous_model, systems, tmp_path / "broken", run)
    assert resumed.stopped == whole.stopped
    assert (tmp_path / "broken/results.csv").read_text() == (
        tmp_path / "whole/results.csv"
    ).read_text()
    for one, other in zip(paths_of(resumed), paths_of(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    alone = options(n_steps=60, guard="stop", n_replicas=1)
    first = simulation.run(nervous_model, systems[:1], tmp_path / "alone", alone)
    np.testing.assert_array_equal(paths_of(first)[0], paths_of(whole)[0])


def test_a_path_that_becomes_nan_costs_the_others_nothing(
    tiny_model, chains, tmp_path, monkeypatch
):
    systems = read_reference(chains)
    straight = simulation.run(tiny_model, systems, tmp_path / "straight", options())
    propose = Propagator._propose

    def broken(self, state, attempt):
        after = propose(self, state, attempt)
        if int(state.step[0]) == 4:
            after.positions[self.slices[0]] = np.nan
        return after

    monkeypatch.setattr(Propagator, "_propose", broken)
    outcome = simulation.run(tiny_model, systems, tmp_path / "nan", options())
    assert len(outcome.stopped) == 1
    assert "ended after 4 of 10 frames: guard 'finite'" in outcome.stopped[0]
    found, expected = paths_of(outcome), paths_of(straight)
    np.testing.assert_array_equal(found[0], expected[0][:4])
    np.testing.assert_array_equal(found[1], expected[1])


def test_full_disk(cgml, tiny_model, chains, tmp_path, monkeypatch):
    arguments = (
        *("run", tiny_model, chains, "--time", 10 * STEP, "--part", 3),
        *("--guard", "record", "--output", tmp_path),
    )
    flush, calls = os.fsync, []

    def full_after_four(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_four)
    result = cgml(*arguments)
    assert result.exit_code == 1
    assert "no space left" in result.output
    assert len(find_parts(tmp_path / GROUP)) == 2  # after run.json and owner
    assert not list((tmp_path / GROUP).glob(".*"))
    monkeypatch.undo()
    assert cgml(*arguments).exit_code == 0
    assert not (tmp_path / "parts").exists()


def test_a_file_that_may_not_grow(tiny_model, chains, tmp_path):
    """The operating system refuses the bytes, as it does on a full disk."""
    process = subprocess.run(
        command(
            *("run", tiny_model, chains, "--time", 2000 * STEP, "--part", 1000),
            *("--guard", "record", "--output", tmp_path),
        ),
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "error:" in process.stderr
    assert "Traceback" not in process.stderr
    assert not find_parts(tmp_path / GROUP)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (("--seed", 1), "holds a run with seed 0, asked for is 1"),
        (("--replicas", 2), "n_replicas 1, asked for is 2"),
        (("--time", 40 * STEP), "n_steps 2, asked for is 40"),
    ],
)
def test_another_run_in_the_folder(cgml, tiny_model, chains, tmp_path, changed, text):
    same = ("run", tiny_model, chains, "--output", tmp_path, "--guard", "record")
    assert cgml(*same, "--time", 2 * STEP).exit_code == 0
    result = cgml(*same, "--time", 2 * STEP, *changed)
    assert result.exit_code == 1
    assert text in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (("--time", 30.0), "multiple of the model's step of 20 ps, got 30 ps"),
        (("--time", 0.0), "the time must be positive, got 0 ps"),
        (("--time=-20",), "the time must be positive, got -20 ps"),
        (("--time", "nan"), "the time must be positive and finite, got nan ps"),
        (("--time", "inf"), "the time must be positive and finite, got inf ps"),
        (("--time", "1e400"), "the time must be positive and finite, got inf ps"),
        (("--time", 60.0, "--seed", 2**64), "the seed must be an integer of 64 bits"),
        (("--time", 60.0, "--stride", 2), "multiple of the 2 steps"),
        (("--time", 60.0, "--replicas", 0), "n_replicas must be 1 or more, got 0"),
        (("--time", 60.0, "--part", 0), "n_part must be 1 or more, got 0"),
    ],
)
def test_lengths_that_do_not_fit(cgml, tiny_model, chains, tmp_path, changed, text):
    result = cgml("run", tiny_model, chains, "--output", tmp_path, *changed)
    assert result.exit_code == 1
    assert text in " ".join(result.output.split())


def test_unknown_inputs(cgml, tiny_model, chains, tmp_path):
    tail = ("--time", 20.0, "--output", tmp_path)
    missing = cgml("run", "no-such-model", chains, *tail)
    assert "no bundled model of that name" in " ".join(missing.output.split())
    start = cgml("run", tiny_model, tmp_path / "none.h5md", *tail)
    assert "none.h5md" in start.output
    twice = cgml("run", tiny_model, chains, chains, *tail)
    assert "'pair_000' occurs twice" in " ".join(twice.output.split())
    assert {missing.exit_code, start.exit_code, twice.exit_code} == {1}


def test_the_plan_is_on_disk(tiny_model, chains, tmp_path):
    simulation.run(tiny_model, read_reference(chains), tmp_path, options())
    content = json.loads(Path(tmp_path / "run.json").read_text())
    assert content["plan"]["n_steps"] == 10
    assert content["plan"]["systems"][0][0] == "pair_000"


def test_threads_are_those_asked_for():
    """Torch reads them when it is imported (and takes no more than there are cores)."""
    code = "from cgml.cli.app import main; main(3); import os, sys; print('torch' in "
    code += "sys.modules, os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "3", "PASSIVE"]
