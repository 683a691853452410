"""`cgml run --workers`: the files of one process, whoever does the work."""

import csv
import json
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch
from core_systems import idle_model

from cgml.dynamics.guards import GuardError, Trip
from cgml.dynamics.propagator import Propagator
from cgml.formats.trajectory import read_reference
from cgml.models.file import load_model, save_model
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.molecules.frames import BeadTrajectory
from cgml.runs import campaign, simulation
from cgml.runs.plan import RunOptions, divide

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")


def options(**changes) -> RunOptions:
    """Return a short run whose untrained model may leave the training data."""
    return RunOptions(
        **{"n_steps": 300, "n_part": 20, "n_replicas": 2, "guard": "record"} | changes
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return all that a run leaves but run.json, which knows who shared the work."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name != "run.json"
    }


def read_frames(path: Path) -> np.ndarray:
    """Return (n_frames, n_beads, 3), nm."""
    topology = path.with_name(path.name.rpartition("_r")[0] + ".pdb")
    return mdtraj.load(path, top=topology).xyz


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory) -> Path:
    """A model whose guards trip about every tenth step of a chain."""
    spec = load_model(tiny_model).spec
    limits = spec.statistics.model_copy(update={"bond_length_range": (0.3, 3.3)})
    spec = spec.model_copy(update={"statistics": limits})
    path = tmp_path_factory.mktemp("model") / "nervous.pt"
    save_model(path, spec, idle_model(spec))
    return path


@pytest.fixture(scope="module")
def systems(chains) -> list[BeadTrajectory]:
    return read_reference(chains)


@pytest.fixture(scope="module")
def alone(model, systems, tmp_path_factory) -> Path:
    """The run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    simulation.run(model, systems, folder, options())
    return folder


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a cluster with two workers: threads, for they start at once."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        dashboard_address=":0",
        silence_logs=50,
    ) as cluster:
        yield cluster.scheduler_address


def test_a_worker_is_killed(alone, model, systems, tmp_path):
    """Its work is done again from its last part, and no bit tells."""
    killed, seen = [], []

    def kill_one(n_frames: int) -> None:
        seen.append(n_frames)
        if n_frames > 0 and not killed:
            killed.append(multiprocessing.active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    campaign.run(model, systems, tmp_path, options(), kill_one, n_workers=2)
    assert killed
    assert seen[-1] == 4 * 300
    assert not multiprocessing.active_children()
    assert contents(tmp_path) == contents(alone)


def test_a_cluster_that_was_there(alone, model, systems, scheduler, tmp_path):
    outcome = campaign.run(model, systems, tmp_path, options(), scheduler=scheduler)
    assert contents(tmp_path) == contents(alone)
    assert [path.name for path in outcome.trajectories] == [
        f"{name}_r{copy}.dcd" for name in ("pair_000", "pair_001") for copy in (0, 1)
    ]
    before = contents(tmp_path)
    again = campaign.run(model, systems, tmp_path, options(), n_workers=2)
    assert again == outcome
    assert contents(tmp_path) == before


def test_another_number_of_workers_goes_on(alone, model, systems, scheduler, tmp_path):
    """The division of the paths stays that of the start."""

    def stop(n_frames: int) -> None:
        if n_frames >= 160:  # some group has written a part
            raise KeyboardInterrupt

    run = (model, systems, tmp_path, options())
    with pytest.raises(KeyboardInterrupt):
        campaign.run(*run, stop, n_workers=3, scheduler=scheduler)
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["groups"] == [[0, 1], [1, 3], [3, 4]]
    seen: list[int] = []
    campaign.run(*run, seen.append)
    assert 0 < seen[0] < seen[-1] == 4 * 300
    assert contents(tmp_path) == contents(alone)


def test_the_table(alone, model, systems):
    radii = np.loadtxt(alone / "radius_of_gyration.csv", delimiter=",", skiprows=1)
    with (alone / "results.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4
    for number, row in enumerate(rows):
        system, copy = systems[number // 2], number % 2
        name = f"{system.name}_r{copy}"
        assert (row["system"], row["replica"]) == (system.name, str(copy))
        assert (row["file"], row["frames"]) == (f"{name}.dcd", "300")
        path = read_frames(alone / row["file"])
        square = squared_radius_of_gyration(path, system.mapping.bead_masses).mean()
        assert float(row["mean_rg2_of_beads/nm^2"]) == pytest.approx(square, rel=1e-5)
        bond = np.linalg.norm(path[:, 1:] - path[:, :-1], axis=-1).mean()
        assert float(row["mean_bond/nm"]) == pytest.approx(bond, rel=1e-5)
        square = np.square(radii[:, 1 + number]).mean()
        assert float(row["mean_rg2_of_atoms/nm^2"]) == pytest.approx(square, rel=1e-5)
    propagator = Propagator(
        load_model(model), systems[1].mapping, replica_ids=[3], guard="record"
    )
    state = propagator.start(systems[1].positions[0])
    for _ in range(300):
        state = propagator.step(state)
    trips = {key: int(rows[3][f"trips_{key}"]) for key in propagator.guard_counts}
    assert trips == propagator.guard_counts
    assert trips["bond"] > 0


# --- what goes wrong


def test_a_guard_in_a_worker_is_one_line(
    alone, cgml, model, chains, scheduler, tmp_path
):
    """And the run goes on from there in one process, as if it had been there always."""
    common = (
        *("run", model, chains, "--time", 300 * 20.0, "--part", 20),
        *("--replicas", 2, "--output", tmp_path),
    )
    stopped = cgml(*common, "--scheduler", scheduler, "--guard", "raise")
    assert stopped.exit_code == 1
    (line,) = stopped.output.strip().splitlines()[-1:]
    assert line.startswith("error: guard 'bond' stopped replica")
    assert (tmp_path / "results.csv").exists()
    resumed = cgml(*common, "--guard", "record")
    assert resumed.exit_code == 0, resumed.output
    assert contents(tmp_path) == contents(alone)


def test_a_stopped_path_costs_no_other_one(cgml, model, chains, scheduler, tmp_path):
    """Shared by workers as in one process: exit code 3, and all files alike."""
    common = ("run", model, chains, "--time", 60 * 20.0, "--part", 7, "--replicas", 3)
    ends = []
    for name, shared in (("alone", ()), ("shared", ("--scheduler", scheduler))):
        out = tmp_path / name
        result = cgml(*common, *shared, "--output", out)
        assert result.exit_code == 3, result.output
        ends.append(result.output.splitlines()[-4:])
        again = cgml(*common, *shared, "--output", out)  # and the same when repeated
        assert (again.exit_code, again.output.splitlines()[-3:]) == (3, ends[-1][-3:])
    assert ends[0][-3:] == ends[1][-3:]
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")
    with (tmp_path / "shared" / "results.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["status"] for row in rows} == {"stopped", "finished"}
    finished = [row for row in rows if row["status"] == "finished"]
    assert {row["frames"] for row in finished} == {"60"}


def test_guard_errors_travel():
    trip = Trip("bond", 1, 3, 60.0, 4.0, 3.3, "beads 0 and 1", "bonds up to 2.5 nm")
    error = GuardError(trip)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.trip == trip


def test_workers_that_see_other_files(model, systems, tmp_path):
    run = (model, systems, tmp_path, options())
    with pytest.raises(KeyboardInterrupt):
        simulation.run(*run, on_frame=interrupt)
    nowhere = tmp_path / "nowhere"
    with pytest.raises(ValueError, match=r"there is no .*nowhere/run.json on"):
        campaign.open_here(model, nowhere, options())
    assert not nowhere.exists()
    job, _ = simulation.open_job(*run)
    campaign.write_starts(job)
    assert campaign.open_here(model, tmp_path, options()).plan == job.plan
    other = tmp_path / "other.pt"
    spec = load_model(model).spec
    save_model(other, spec.model_copy(update={"name": "other"}), idle_model(spec))
    with pytest.raises(ValueError, match="holds a run with model"):
        campaign.open_here(other, tmp_path, options())


def interrupt(n_frames: int) -> None:
    if n_frames:
        raise KeyboardInterrupt


def test_a_process_thought_dead_writes_no_more(model, systems, tmp_path):
    """The later writer of a group stops the earlier one, as after a lost worker."""
    job, _ = simulation.open_job(model, systems, tmp_path, options())
    learned = load_model(model)

    def overtake(n_frames: int) -> None:
        if n_frames == 30 and not done:
            done.append(n_frames)
            job.propagate(learned, 0, done.append)

    done: list[int] = []
    with pytest.raises(RuntimeError, match="another process has taken over"):
        job.propagate(learned, 0, overtake)
    assert done[-1] == 300


def test_a_second_run_in_the_folder_is_refused(alone, model, systems, tmp_path):
    """And costs the first nothing."""
    run = (model, systems, tmp_path, options())

    def again(n_frames: int) -> None:
        if n_frames == 4 * 30:
            with pytest.raises(RuntimeError, match="is in use by process") as caught:
                simulation.run(*run)
            assert "\n" not in str(caught.value)
            seen.append(n_frames)

    seen: list[int] = []
    simulation.run(*run, on_frame=again)
    assert seen
    assert contents(tmp_path) == contents(alone)


def test_no_scheduler_there(cgml, model, chains, tmp_path, monkeypatch):
    """Said soon, and before anything is made."""
    monkeypatch.setattr(campaign, "REACH_TIME", 0.5)
    for address in ("tcp://127.0.0.1:1", "banana://x", ""):
        result = cgml(
            *("run", model, chains, "--time", 40.0, "--output", tmp_path / "out"),
            *("--scheduler", address, "--workers", 2),
        )
        assert result.exit_code == 1
        (line,) = [row for row in result.output.splitlines() if row.startswith("error")]
        assert f"no dask scheduler was found at {address!r} within 0.5 s" in line
        assert not (tmp_path / "out").exists()


def test_too_many_workers(cgml, model, chains, tmp_path):
    tail = ("--replicas", 10**6, "--workers", 10**6, "--output", tmp_path / "out")
    result = cgml("run", model, chains, "--time", 40.0, *tail)
    assert result.exit_code == 1
    assert "1000000 workers need about 2.5e+05 GiB of memory" in result.output
    assert not (tmp_path / "out").exists()


def test_without_dask(cgml, model, chains, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = cgml(
        *("run", model, chains, "--time", 40.0, "--output", tmp_path, "--workers", 2)
    )
    assert result.exit_code == 1
    assert "pip install 'cgml[dask]'" in " ".join(result.output.split())


def test_threads_of_a_worker(model, systems, scheduler, tmp_path):
    """Are those of the process that asks."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run = (model, systems, tmp_path, options(n_steps=2))
        campaign.run(*run, n_workers=2, scheduler=scheduler)
        with distributed.Client(scheduler, set_as_default=False) as client:
            assert set(client.run(torch.get_num_threads).values()) == {2}
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("sizes", "n_groups", "expected"),
    [
        ([5] * 6, 3, [range(2), range(2, 4), range(4, 6)]),
        ([5] * 3, 8, [range(1), range(1, 2), range(2, 3)]),
        ([1, 1, 1, 1, 8], 2, [range(4), range(4, 5)]),
        ([8, 1, 1, 1, 1], 2, [range(1), range(1, 5)]),
        ([7], 4, [range(1)]),
    ],
)
def test_groups_are_even(sizes, n_groups, expected):
    assert divide(sizes, n_groups) == expected
