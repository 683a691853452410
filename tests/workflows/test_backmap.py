"""cgml backmap: from atoms to beads and back, through files."""

import csv
import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
from backmap_systems import TEMPERATURE, chain, md
from core_systems import idle_model
from workflow_tools import ROOT, command, environment

from cgml.formats import table
from cgml.formats.trajectory import read_topology
from cgml.models.file import read_spec, save_model
from cgml.molecules.fragments import Fragments
from cgml.molecules.mapping import Mapping
from cgml.training.coarsening import Coarsening
from openmm_cgml import backmap, backmap_run, backmapper

N_UNITS = 8
QUICK = ("--relaxation-time", 0.1, "--relaxation-step", 0.001)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Atoms, their System, beads by hand, a model that knows the atoms."""
    path = tmp_path_factory.mktemp("files")
    mapping, system, start = chain(N_UNITS)
    _write_pdb(path / "a.pdb", mapping, start)
    (path / "beads.toml").write_text(
        '[[bead]]\nname = "B"\nresidue = "CHF"\natoms = ["*"]\n'
    )
    (path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    frames = md(N_UNITS, n_frames=8)
    with mdtraj.formats.XTCTrajectoryFile(str(path / "md.xtc"), "w") as file:
        file.write(frames.positions, time=(20 * np.arange(8)).astype(np.float32))
    graph = read_topology(path / "a.pdb", system=path / "system.xml")
    masses = dict(zip(graph.types, graph.masses.tolist(), strict=True))
    spec = read_spec(tiny_model).model_copy(
        update={"particle_types": masses, "temperature": TEMPERATURE}
    )
    save_model(path / "model.pt", spec, idle_model(spec))
    return path


def _write_pdb(path: Path, mapping: Mapping, places: np.ndarray) -> None:
    rows = []
    for i, (name, xyz) in enumerate(
        zip(mapping.graph.types, 10.0 * places, strict=True), 1
    ):
        x, y, z = xyz
        bead = int(mapping.bead_index[i - 1])
        rows.append(
            f"HETATM{i:5d} {name + str(i):<4s} CHF A{bead + 1:4d}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {name.upper():>2s}\n"
        )
    rows += [f"CONECT{i + 1:5d}{j + 1:5d}\n" for i, j in mapping.graph.bonds.tolist()]
    path.write_text("".join(rows))


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Path:
    """Bead frames and fragments of the same MD."""
    from cgml.training.preparation import prepare

    coarsening = Coarsening(mapping=folder / "beads.toml", system=folder / "system.xml")
    prepare([folder / "md.xtc"], folder / "a.pdb", folder / "beads", coarsening)
    return folder / "beads"


def words(folder: Path, prepared: Path, output: Path) -> list[object]:
    options = {
        "--model": folder / "model.pt",
        "--fragments": prepared / "fragments.npz",
        "--topology": folder / "a.pdb",
        "--system": folder / "system.xml",
        "--mapping": folder / "beads.toml",
        "--output": output,
    }
    flat = [item for pair in options.items() for item in pair]
    return ["backmap", prepared / "md.h5md", *flat, *QUICK]


def atoms_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with mdtraj.formats.XTCTrajectoryFile(str(path)) as file:
        positions, times, *_ = file.read()
    return positions, times


def test_prepare_writes_fragments(prepared):
    fragments = Fragments.load(prepared / "fragments.npz")
    assert len(fragments.conformers) == 2
    assert {kind.n_atoms for kind in fragments.conformers} == {6, 7}


def test_atoms_come_back(cgml, folder, prepared, tmp_path):
    result = cgml(*words(folder, prepared, tmp_path / "atoms.xtc"), "--stride", 2)
    assert result.exit_code == 0, result.output
    assert "4 frames in" in result.output
    assert "centres of beads are 0.0" in result.output
    positions, times = atoms_of(tmp_path / "atoms.xtc")
    assert times.tolist() == [0.0, 40.0, 80.0, 120.0]
    mapping, _, _ = chain(N_UNITS)
    beads = mapping.positions(md(N_UNITS, n_frames=8).positions[::2].astype(float))
    gaps = mapping.positions(positions.astype(float)) - beads
    assert np.sqrt((gaps**2).sum(axis=2).mean(axis=1)).max() < 0.03
    with (tmp_path / "atoms.backmap" / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3"]
    assert {row["changed_hands"] for row in rows} == {"0"}
    assert all(float(row["deviation/nm"]) < 0.03 for row in rows)
    assert all(float(row["farthest/nm"]) < 0.0705 for row in rows)
    assert {row["moved/nm"] for row in rows} == {""}
    assert not (tmp_path / "atoms.backmap" / "parts").exists()
    again = cgml(*words(folder, prepared, tmp_path / "atoms.xtc"), "--stride", 2)
    assert again.exit_code == 0
    other = cgml(
        *words(folder, prepared, tmp_path / "atoms.xtc"), *("--stride", 2, "--seed", 1)
    )
    assert other.exit_code == 1
    assert "is of a back-mapping with seed 0, asked for is 1" in other.output


def test_what_fails_is_left_out_and_named(
    cgml, folder, prepared, tmp_path, monkeypatch
):
    whole = backmapper.Backmapper._judged

    def fail(self, relaxed, box, number, tries):
        report = whole(self, relaxed, box, number, tries)
        return report._replace(problem="it is bad") if number == 1 else report

    monkeypatch.setattr(backmapper.Backmapper, "_judged", fail)
    result = cgml(*words(folder, prepared, tmp_path / "atoms.xtc"), "--stop", 3)
    assert result.exit_code == 3, result.output
    assert "left out: frame 1 at 20 ps: it is bad" in result.output
    assert atoms_of(tmp_path / "atoms.xtc")[1].tolist() == [0.0, 40.0]


def test_how_far_centres_may_be_is_the_users(cgml, folder, prepared, tmp_path):
    command = words(folder, prepared, tmp_path / "atoms.xtc")
    result = cgml(*command, "--stop", 1, "--tolerance", 1e-6)
    assert result.exit_code == 3, result.output
    assert "the centres of the beads are" in " ".join(result.output.split())


def test_a_kill_costs_a_part(cgml, folder, prepared, tmp_path):
    """Killed after some parts, then repeated: the bits of a run without a kill."""
    line = words(folder, prepared, tmp_path / "killed.xtc")
    process = subprocess.Popen(
        command(*line, "--part", 1), env=environment(), stderr=subprocess.DEVNULL
    )
    parts = tmp_path / "killed.backmap" / "parts"
    stop = time.monotonic() + 120
    while not list(parts.glob("[0-9]*.npz")) and time.monotonic() < stop:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = sorted(parts.glob("[0-9]*.npz"))
    assert done
    assert not (tmp_path / "killed.xtc").exists()
    if len(done) > 1:  # what is damaged is computed anew
        done[0].write_bytes(done[0].read_bytes()[:100])
    assert cgml(*line, "--part", 1).exit_code == 0
    assert cgml(*words(folder, prepared, tmp_path / "whole.xtc")).exit_code == 0
    killed, whole = (tmp_path / f"{name}.xtc" for name in ("killed", "whole"))
    assert killed.read_bytes() == whole.read_bytes()


def test_a_file_of_others_is_not_overwritten(cgml, folder, prepared, tmp_path):
    """Neither before nor after; one of its own that is lost is written again."""
    output = tmp_path / "mine.xtc"
    line = [*words(folder, prepared, output), "--stop", 1]
    output.write_bytes(b"years of work")
    result = cgml(*line)
    assert result.exit_code == 1
    assert "this back-mapping has not written it" in " ".join(result.output.split())
    assert output.read_bytes() == b"years of work"
    output.unlink()
    assert cgml(*line).exit_code == 0
    own = output.read_bytes()
    assert cgml(*line).exit_code == 0
    output.write_bytes(own[:-4])
    assert cgml(*line).exit_code == 1
    output.unlink()
    assert cgml(*line).exit_code == 0
    assert output.read_bytes() == own
    result = cgml(*line[:-1], 2)
    text = " ".join(result.output.split())
    assert "is of a back-mapping with other frames (--start, --stop" in text
    assert not re.search("[0-9a-f]{20}", text)


def test_what_came_to_nothing_is_no_plan(tmp_path):
    """As of a command that failed before its first frame, and was corrected."""
    folder, output = tmp_path / "a.backmap", tmp_path / "a.xtc"
    (folder / "parts").mkdir(parents=True)
    assert not backmap_run._claim(folder, {"seed": 1}, output)
    assert not backmap_run._claim(folder, {"seed": 2}, output)
    (folder / "parts" / "000000000.npz").write_bytes(b"frames")
    with pytest.raises(ValueError, match="with seed 2, asked for is 1"):
        backmap_run._claim(folder, {"seed": 1}, output)


def test_boxes_that_differ_are_shown(capsys):
    box, path = 3.0 * np.eye(3), Path("system.xml")
    backmap._compare_boxes(box, {path: box + 1e-5, Path("a.pdb"): None})
    backmap._compare_boxes(None, {path: box})
    assert capsys.readouterr().err == ""
    backmap._compare_boxes(box, {path: 1.1 * box})
    text = " ".join(capsys.readouterr().err.split())
    assert "the box in system.xml is 3.300 x 3.300 x 3.300 nm, that of the fr" in text


def test_boxes_of_files(tmp_path, folder):
    system = openmm.XmlSerializer.deserialize((folder / "system.xml").read_text())
    assert backmap._box_of_system(openmm.XmlSerializer.serialize(system)) is None
    pairs = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    pairs.setNonbondedMethod(pairs.CutoffPeriodic)
    system.setDefaultPeriodicBoxVectors(*(2.5 * np.eye(3)))
    xml = openmm.XmlSerializer.serialize(system)
    np.testing.assert_allclose(backmap._box_of_system(xml), 2.5 * np.eye(3))
    assert backmap._box_of_file(folder / "a.pdb") is None
    sizes = "CRYST1   25.000   25.000   25.000  90.00  90.00  90.00 P 1           1\n"
    (tmp_path / "b.pdb").write_text(sizes + (folder / "a.pdb").read_text())
    found = backmap._box_of_file(tmp_path / "b.pdb")
    np.testing.assert_allclose(found, 2.5 * np.eye(3), atol=1e-6)


def test_processes_share_the_frames(cgml, folder, prepared, tmp_path):
    line = words(folder, prepared, tmp_path / "shared.xtc")
    assert cgml(*line, "--stop", 2, "--part", 1, "--workers", 2).exit_code == 0
    line = words(folder, prepared, tmp_path / "alone.xtc")
    assert cgml(*line, "--stop", 2).exit_code == 0
    shared, alone = (tmp_path / f"{name}.xtc" for name in ("shared", "alone"))
    assert shared.read_bytes() == alone.read_bytes()


def test_the_folder_of_a_run_is_enough(cgml, folder, prepared, tmp_path):
    """The run's own trajectory; it knows its model, with the fragments beside it."""
    model = folder / "model.pt"
    Fragments.load(prepared / "fragments.npz").save(folder / "model.fragments.npz")
    start = ("run", model, prepared / "md.h5md", "--output", tmp_path / "run")
    ran = cgml(*start, "--time", 40, "--guard", "record", "--allow-unseen")
    assert ran.exit_code == 0, ran.output
    line = words(folder, prepared, tmp_path / "atoms.h5md")
    line[1] = tmp_path / "run"
    for name in ("--model", "--fragments"):
        place = line.index(name)
        line[place : place + 2] = []
    result = cgml(*line, "--json")
    content = json.loads(result.stdout)
    assert [row["frame"] for row in content["frames"]] == [0, 1]
    (folder / "model.fragments.npz").unlink()
    gone = {"model": "of other bytes", "file": str(model)}
    with pytest.raises(ValueError, match=r"not where it was \(.*model.pt\) and not a"):
        backmap._model(None, gone)


def test_frames_of_a_run_do_not_jump(tmp_path):
    """The whole length of a move counts, though it is more than half the box."""
    mapping, box = chain(N_UNITS)[0], 3.0 * np.eye(3)
    one = mapping.positions(chain(N_UNITS)[2])
    frames = one + np.array([0.0, 2.0, 5.0])[:, None, None]
    each = Mapping.from_labels(mapping.bead_graph, np.arange(mapping.n_beads))
    sink = table.sink_opener(tmp_path / "a_r0.dcd")(
        tmp_path / "a_r0.dcd", each, box, "a"
    )
    sink.append(frames.astype(np.float32), np.array([0.0, 20.0, 40.0]))
    sink.close()
    found = backmap._frames(
        tmp_path / "a_r0.dcd", mapping, backmap._of_run(Coarsening())
    )
    np.testing.assert_allclose(found.positions, frames, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"--system": None}, r"\(--topology\) and the XML file .* \(--system\)"),
        ({"--model": None}, "name it with --model"),
        ({"--fragments": None}, r"no fragments beside .* \(--fragments\)"),
        ({"--output": "a.dcd"}, r"written as \.xtc or \.h5md"),
        ({"--relaxation-time": -1}, "time must be positive"),
        ({"--mapping": None}, "the beads of the atoms in the topology are required"),
    ],
)
def test_what_is_missing_is_named(cgml, folder, prepared, tmp_path, change, text):
    line = words(folder, prepared, tmp_path / "a.xtc")
    for name, value in change.items():
        place = line.index(name)
        line[place : place + 2] = [] if value is None else [name, value]
    result = cgml(*line)
    assert result.exit_code == 1
    assert result.output.strip().count("\n") == 0
    assert re.search(text, result.output), result.output


def test_the_example_needs_a_frame(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location(
        "example", ROOT / "examples" / "13_backmap.py"
    )
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(sys, "argv", ["13_backmap.py", "--steps", "3"])
    with pytest.raises(SystemExit):
        example.parse_options()
    assert "--steps is less than --stride" in capsys.readouterr().err


def test_the_example_draws_what_surrounds_lithium(tmp_path):
    words = ("--steps", 1, "--stride", 1, "--md", 0.05, "--relaxation", 0.05)
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "13_backmap.py", *map(str, words)],
        cwd=tmp_path,
        env=environment() | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "step 1: " in done.stdout
    assert "nm \n" in done.stdout  # no problem
    assert (tmp_path / "backmapped" / "li_o.png").exists()
