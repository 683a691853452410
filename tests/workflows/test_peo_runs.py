"""Example 8: a kill costs a segment at most, and frames and state fit together."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from workflow_tools import ROOT, environment

from openmm_cgml.testsystems.peo_archive import resume, write_beads
from openmm_cgml.testsystems.peo_beads import bead_positions
from openmm_cgml.testsystems.peo_runs import PeoBox, PeoRun, PeoTimes

SCRIPT = ROOT / "examples" / "8_simulate_peo_litfsi.py"
BOX = PeoBox("tiny", 20, 4, 16, 0.004, 0)  # the default of the script
TIMES = PeoTimes(segment=1.0, interval=0.2, pressing=3.0, ageing=1.0, kept=4.0)
N_FRAMES, N_SEGMENTS, N_KEPT = 5, 8, 4  # in a segment; in all; of production


def command(output: Path, *options: object) -> list[str]:
    """Return the command line of the example."""
    rest = [str(option) for option in options]
    return [sys.executable, str(SCRIPT), "--output", str(output), *rest]


def call(output: Path, *options: object) -> str:
    """Run the example to its end; return what it printed."""
    done = subprocess.run(
        command(output, *options),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read positions (n_frames, n, 3), times (n_frames,) and boxes of an XTC file."""
    with mdtraj.formats.XTCTrajectoryFile(str(path)) as stream:
        positions, times, _, boxes = stream.read()
    return positions, times, boxes


def state_of(folder: Path) -> dict:
    return json.loads((folder / "state.json").read_text())


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, dict, str]:
    """A run stopped in production, killed, and gone on with.

    Returns:
        Its folder; the state at the kill; the bytes of the segments the state knows;
        what another process said while the run had the box.
    """
    output = tmp_path_factory.mktemp("peo")
    folder = output / BOX.name
    with subprocess.Popen(
        command(output), env=environment(), stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 200.0
        while not (folder / "production" / "0000.xtc").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGSTOP)
        other = call(output)
        process.kill()
    state = state_of(folder)
    known = [f"{i:04d}.xtc" for i in range(state["n_done"] - 4)]
    segments = {name: (folder / "production" / name).read_bytes() for name in known}
    # as if the kill had come after a segment and before its state
    (folder / "production" / f"{len(known):04d}.xtc").write_bytes(b"cut short")
    call(output)
    return folder, state, segments, other


def test_a_box_is_simulated_by_one_process_at_a_time(killed):
    *_, other = killed
    assert other.endswith(f"{BOX.name}: another process has it\n")
    assert other.count("\n") == 1


def test_a_kill_loses_what_the_state_does_not_know_and_nothing_else(killed):
    folder, before, segments, _ = killed
    after = state_of(folder)
    assert 4 <= before["n_done"] < after["n_done"] == N_SEGMENTS
    assert len(after["history"]) == N_SEGMENTS
    assert after["history"][: before["n_done"]] == before["history"]
    assert after["edge"] == before["edge"]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("claim", "production", "state.json", "topology.pdb")
    ]
    names = sorted(path.name for path in (folder / "production").iterdir())
    assert names == [f"{i:04d}.xtc" for i in range(N_KEPT)]
    for name, content in segments.items():
        assert (folder / "production" / name).read_bytes() == content


def test_frames_go_on_across_the_kill(killed):
    folder, *_ = killed
    parts = [read(path) for path in sorted(folder.glob("production/*.xtc"))]
    positions, times, boxes = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    np.testing.assert_allclose(times, 0.2 * np.arange(1, 21), rtol=1e-6)
    state = state_of(folder)
    np.testing.assert_allclose(boxes, np.tile(state["edge"] * np.eye(3), (20, 1, 1)))
    # the last frame is the state; nothing jumps: 0.2 ps are 0.12 nm of an oxygen
    np.testing.assert_allclose(positions[-1], state["positions"], atol=6e-4)
    assert abs(np.diff(positions, axis=0)).max() < 0.4
    edges = np.array(state["pressed_edges"])
    assert edges.shape == (3 * N_FRAMES,)
    assert state["edge"] == pytest.approx(edges[7:].mean())


def test_a_finished_box_is_left_as_it_is(killed):
    folder, *_ = killed
    written = (folder / "state.json").stat().st_mtime_ns
    lines = call(folder.parent).splitlines()
    assert len(lines) == 2
    assert lines[-1].endswith("finished")
    assert (folder / "state.json").stat().st_mtime_ns == written
    run = PeoRun(BOX, TIMES, folder)
    assert run.is_finished
    assert run.edge == state_of(folder)["edge"]


@pytest.mark.parametrize("stride", [1, 2])
def test_beads_are_those_of_the_atoms(killed, tmp_path, stride):
    folder, *_ = killed
    said = call(folder.parent, "--beads", tmp_path, "--stride", stride)
    assert f"{BOX.name}.xtc: 0.0" in said
    positions, times, boxes = read(tmp_path / f"{BOX.name}.xtc")
    np.testing.assert_allclose(times, 0.2 * np.arange(stride, 21, stride), rtol=1e-6)
    atoms = np.concatenate(
        [read(path)[0] for path in sorted(folder.glob("production/*.xtc"))]
    )[stride - 1 :: stride]
    expected = bead_positions(BOX.build(), atoms)
    np.testing.assert_allclose(positions, expected, atol=6e-4)
    with np.load(tmp_path / f"{BOX.name}.npz") as content:
        np.testing.assert_allclose(boxes[0], content["box"], atol=1e-6)
        np.testing.assert_array_equal(content["first_atoms"], atoms[0])
        assert content["interval"] == pytest.approx(stride * 0.2)
        n_beads = len(content["bead_types"])
        assert n_beads == len(content["bead_masses"]) == len(content["bead_chains"])
        assert n_beads == positions.shape[1] == 80 + 5 + 5
        assert content["bead_index"].max() == n_beads - 1
        meta = json.loads(str(content["meta"]))
    assert meta["box"]["seed"] == 0
    assert meta["temperature"] == 423.0
    assert len(meta["history"]) == N_SEGMENTS


def test_a_finished_box_goes_on_for_a_longer_production(killed, tmp_path):
    folder = shutil.copytree(killed[0], tmp_path / BOX.name)
    box = PeoBox("tiny", 20, 4, 16, 0.005, 0)
    run = PeoRun(box, PeoTimes(1.0, 0.2, 3.0, 1.0, 5.0), folder)
    assert run.n_done == N_SEGMENTS
    assert not run.is_finished
    assert run.advance() == "production"
    assert run.is_finished
    assert state_of(folder)["box"]["kept"] == 0.005
    before, after = (read(folder / "production" / f"{i:04d}.xtc") for i in (3, 4))
    np.testing.assert_allclose(after[1], 4.0 + 0.2 * np.arange(1, 6), rtol=1e-6)
    assert abs(after[0][0] - before[0][-1]).max() < 0.4  # goes on where it was


def test_a_box_goes_on_from_frames_of_beads_as_from_its_state(killed, tmp_path):
    folder = shutil.copytree(killed[0], tmp_path / "own" / BOX.name)
    longer = replace(BOX, kept=0.005), replace(TIMES, kept=5.0)
    trunk = write_beads(folder, tmp_path / "data")
    other = tmp_path / "other" / BOX.name
    resume(trunk, other)
    with pytest.raises(ValueError, match=r"stride must be 1, as of .*, got 2"):
        write_beads(other, tmp_path, stride=2)
    for place in (folder, other):
        PeoRun(*longer, place).advance()
    before = (other / "state.json").read_bytes()
    resume(trunk, other)  # the same command again, after a kill
    assert (other / "state.json").read_bytes() == before
    one, two = (write_beads(place, place.parent) for place in (folder, other))
    beads, times, _ = read(two)
    np.testing.assert_allclose(times, 0.2 * np.arange(1, 26), rtol=1e-6)
    # the last bits of OpenMM's sums differ from run to run
    np.testing.assert_allclose(beads, read(one)[0], atol=5e-3)
    np.testing.assert_array_equal(beads[:20], read(trunk)[0])
    with (
        np.load(one.with_suffix(".npz")) as first,
        np.load(two.with_suffix(".npz")) as second,
    ):
        assert set(first.files) == set(second.files)
        np.testing.assert_array_equal(first["first_atoms"], second["first_atoms"])
        first_history, history = (
            json.loads(str(file["meta"]))["history"] for file in (first, second)
        )
    assert history[:-1] == first_history[:-1]
    assert len(history) == N_SEGMENTS + 1


def test_frames_of_another_state_are_refused(killed, tmp_path):
    trunk = write_beads(killed[0], tmp_path)
    positions, times, boxes = read(trunk)
    with mdtraj.formats.XTCTrajectoryFile(str(trunk), "w") as stream:
        stream.write(positions[:-1], times[:-1], box=boxes[:-1])
    with pytest.raises(ValueError, match=r"must have the 20 frames of .*, got 19"):
        resume(trunk, tmp_path / "box")
    assert not (tmp_path / "box").exists()


def test_frames_without_a_state_cannot_be_gone_on_from(tmp_path):
    trunk = ROOT / "data" / "peo_litfsi" / "train_8x16_10_2.xtc"
    with pytest.raises(ValueError, match=r"10_2\.npz must have the state .* anew"):
        resume(trunk, tmp_path / "box")
    assert not (tmp_path / "box").exists()


def test_a_box_from_before_there_were_two_force_fields_goes_on(killed, tmp_path):
    folder = shutil.copytree(killed[0], tmp_path / BOX.name)
    state = state_of(folder)
    del state["box"]["force_field"]
    (folder / "state.json").write_text(json.dumps(state))
    assert PeoRun(BOX, TIMES, folder).n_done == N_SEGMENTS
    atoms = replace(BOX, force_field="all-atom")
    with pytest.raises(ValueError, match=r"'united'.* not .*'all-atom'.* another fold"):
        PeoRun(atoms, TIMES, folder)


def test_a_box_of_all_atoms_has_their_force_field():
    system = replace(BOX, force_field="all-atom").build()
    assert system.types.count("HC") == 20 * (2 * 3 + 2 * 6)  # two CH3 and six CH2


def test_other_boxes_and_frames_are_refused(killed, tmp_path):
    folder, *_ = killed
    with pytest.raises(ValueError, match=r"its box is .* take another folder"):
        PeoRun(PeoBox("tiny", 20, 4, 16, 0.004, 1), TIMES, folder)
    with pytest.raises(ValueError, match=r"its times is .*'kept': 4\.0.* not .*2\.0"):
        PeoRun(BOX, PeoTimes(1.0, 0.2, 3.0, 1.0, 2.0), folder)  # shorter
    with pytest.raises(ValueError, match=r"its times is .*'interval': 0\.2, .* not "):
        PeoRun(BOX, PeoTimes(1.0, 0.1, 3.0, 1.0, 4.0), folder)
    with pytest.raises(ValueError, match="stride must be 1 or more, got 0"):
        write_beads(folder, tmp_path, stride=0)
    state = state_of(folder)
    (tmp_path / "production").mkdir()
    for n_done, error, match in (
        (4, ValueError, "no frames yet: 4 of 8 segments are done, .* begins after 4"),
        (5, FileNotFoundError, "segment 0 of 1 is missing"),
    ):
        text = json.dumps(state | {"n_done": n_done})
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(error, match=match):
            write_beads(tmp_path, tmp_path / "beads")
    other = folder / "production" / "0001.xtc"
    (tmp_path / "production" / "0000.xtc").write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match=r"0\.2 ps apart .* begin with \[1\.2"):
        write_beads(tmp_path, tmp_path / "beads")


@pytest.mark.parametrize(
    ("times", "match"),
    [
        ((50.0, 2.0, 500.0, 1500.0, 20.0), "kept must be a multiple of segment, 50 ps"),
        ((50.0, 2.0, 510.0, 1500.0, 50.0), "pressing must .* segment, 50 ps, got 510"),
        ((50.0, 3.0, 500.0, 1500.0, 50.0), "segment must be .* interval, 3 ps, got 50"),
        ((50.0, 2.0, 500.0, 0.0, 50.0), "ageing must .* got 0 ps"),
    ],
)
def test_times_are_whole_segments(times, match):
    with pytest.raises(ValueError, match=match):
        PeoTimes(*times)


def test_stages_follow_one_another():
    times = PeoTimes.of(PeoBox("train", 16, 8, 20, 2.0, 1))
    stages = [times.stage(i) for i in range(times.n_segments)]
    assert stages == ["pressing"] * 10 + ["ageing"] * 30 + ["production"] * 40
    assert times.n_unkept == 40
    atoms = PeoTimes.of(PeoBox("atoms", 8, 16, 10, 3.0, 11, "all-atom"))
    assert (atoms.n_unkept, atoms.n_segments) == (30, 90)  # dear: 1.5 ns thrown away
