"""docs/own-melt.md as it stands, with a tiny network: from an OpenMM run and back."""

import csv
import json
import re
import shlex
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from ase.io import Trajectory
from core_systems import idle_model, small_spec
from openmm import System, XmlSerializer, unit
from openmm.app import PDBFile, Topology
from typer.testing import CliRunner, Result
from workflow_tools import ROOT

from cgml.cli.app import app
from cgml.formats.trajectory import read_beads
from cgml.models.file import save_model

TINY = """
[network]
n_embedding = 4
n_embedding_steps = 1
n_node = 8
n_edge = 8
n_predictor_layers = 1
n_refiner_layers = 1

[refinement]
n_levels = 3
"""
FEWER = {  # of the document -> here
    "step(2_000)": "step(400)",
    "step(40_000)": "step(4_000)",
    "step(100)": "step(3)",
    "run(100)": "run(3)",
    'guard="redraw"\n': 'guard="record"\n',
    "--stop 500": "--stop 36",
    "--start 600": "--start 38",
    "time_step = 1.0 ": "time_step = 0.5 ",
    "gap = 25.0": "gap = 1.0",
    "n_steps = 500": "average_decay = 0.9\nrollout_steps = 2\nn_steps = 20",
    "--time 50": "--time 12",
    "--guard redraw": "--guard record",
}
BEADS = "## Bead-spring melts"
STOPPED = 3  # exit code when a guard stopped a replica: so small a network may


def blocks(*, of_beads: bool = False) -> list[tuple[str, str]]:
    """Return the code of the document in order: language ("" of commands) and text.

    Fewer steps, and guards that only count; that of bead-spring melts by itself.
    """
    text = (ROOT / "docs" / "own-melt.md").read_text(encoding="utf-8")
    for long, short in FEWER.items():
        assert long in text, long
        text = text.replace(long, short)
    text = text.partition(BEADS)[2 if of_beads else 0]
    pattern = re.compile(r"^```(\w+)\n([\s\S]*?)^```|^ {4}(cgml [^\n]*)$", re.MULTILINE)
    return [
        ("", found[3]) if found[3] else (found[1], found[2])
        for found in pattern.finditer(text)
    ]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


@pytest.fixture(scope="module")
def walked(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, dict[str, str]]]:
    """All of the document, done in an empty folder, in this process.

    Yields:
        The folder, and what each command said.
    """
    folder = tmp_path_factory.mktemp("melt")
    said: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("default")
        patch.chdir(folder)
        patch.setenv("OPENMM_CPU_THREADS", "1")
        for language, text in blocks():
            if language == "python":
                with redirect_stdout(StringIO()) as printed:
                    exec(compile(text, "own-melt.md", "exec"), {})
                if text.startswith("from pathlib"):
                    said["diffusivity"] = printed.getvalue()
            elif language == "toml":
                Path("melt.toml").write_text(text + TINY, encoding="utf-8")
            else:
                name, *arguments = shlex.split(text)[1:]
                done = call(name, *arguments)
                codes = (0, STOPPED) if name == "run" else (0,)
                assert done.exit_code in codes, done.output[-3000:]
                name += "".join(arguments[-1:]) if name == "prepare" else ""
                said[name] = " ".join(done.output.replace("│", " ").split())
        yield folder, said


def test_all_commands_are_there(walked):
    commands = [name for name in walked[1] if name != "diffusivity"]
    prepared = ["preparebeads", "preparetest"]
    assert commands == ["inspect", *prepared, "train", "run", "evaluate"]


def test_no_frame_is_both_learned_and_judged(walked):
    """The frames of the judgement are later than those to learn from."""
    folder, _ = walked
    learned, judged = (
        read_beads(folder / name / "melt.h5md").times for name in ("beads", "test")
    )
    assert learned[-1] < judged[0]


def test_chemistry_is_that_of_the_system(walked):
    """Types and masses come from the System, not from the PDB file's elements."""
    folder, said = walked
    for text in (said["inspect"], said["preparebeads"], said["run"], said["evaluate"]):
        assert "CH2 14.026 Da (108), CH3 15.034 Da (36), O 15.999 Da (72)" in text
        assert "18 x CH2(6)CH3(2)O4: 12 atoms" in text
    assert (folder / "beads" / "molecules.png").stat().st_size > 0


def test_elements_alone_are_doubted(walked, caplog):
    """Without the System, the first look says what is missing."""
    seen = call("inspect", "melt.pdb")
    assert seen.exit_code == 0
    assert "C 12.011 Da (144)" in seen.output
    assert "too few bonds" in caplog.text
    assert "--system" in caplog.text


def test_constant_pressure_is_shown(walked):
    """Frames of other boxes are put into one, and by how much is said."""
    found = re.search(r"scaled by up to ([\d.]+)%", walked[1]["preparebeads"])
    assert found is not None
    assert 0.0 < float(found[1]) < 10.0


def test_model_claims_no_transfer(walked):
    folder, said = walked
    claim = "same molecules: interpolates, no claim of transfer"
    assert claim in said["train"]
    card = (folder / "runs" / "melt" / "model.md").read_text()
    assert claim in card
    assert "| systems | 1 |\n| molecules | 18 |" in card
    assert claim in (folder / "judged" / "report.html").read_text()


def test_run_and_judgement_are_there(walked):
    folder, said = walked
    assert "1, number 0" in said["run"]  # the frame that it starts from
    with (folder / "long" / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    assert json.loads((folder / "judged" / "figures.json").read_text())


def test_the_diffusivity_has_an_error(walked):
    """That of MD is the report's number, but for the lags that it takes."""
    folder, said = walked
    lines = said["diffusivity"].splitlines()
    assert [line.partition(":")[0] for line in lines] == ["MD", "model"]
    for line in lines:
        value, error = map(float, re.findall(r"= (\S+) ± (\S+) nm", line)[0])
        assert 0.0 < error < 3.0 * value
    figures = json.loads((folder / "judged" / "figures.json").read_text())
    (box,) = figures["boxes"].values()
    (known,) = [v for k, v in box.items() if re.fullmatch("log10_d_.*_reference", k)]
    ours = float(re.findall(r"= (\S+) ±", lines[0])[0])
    assert abs(np.log10(ours) - known["value"]) < 0.5


def test_engines_moved_the_melt(walked):
    """Density in OpenMM is that of the box of the positions."""
    folder, _ = walked
    with (folder / "openmm.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    assert [float(row[0]) for row in rows] == [0.5, 1.0, 1.5]
    assert 0.75 < float(rows[-1][1]) < 1.0  # g/cm3
    with Trajectory(folder / "ase.traj") as frames:
        assert len(frames) == 4
        assert abs(frames[-1].positions - frames[0].positions).max() > 0.1  # Å


def test_refusal_names_the_way_on(walked):
    """Atoms without their System are refused with the option that helps."""
    start = ("melt.xtc", "--topology", "melt.pdb", "--time", "2", "--output", "other")
    done = call("run", "runs/melt/model.pt", *start)
    assert done.exit_code == 1
    assert "--system" in done.output
    assert "--allow-unseen" not in done.output  # it would not help: no weights


def bead_spring(folder: Path, *, is_split: bool) -> None:
    """Write a melt whose particles are beads, as OpenMM writes it, and a model.

    Args:
        folder: where to.
        is_split: whether each particle is a residue of its own.
    """
    topology, system = Topology(), System()
    for _ in range(9):
        chain = topology.addChain()
        residue = topology.addResidue("POL", chain)
        last = None
        for name in "XEEX":
            if is_split and last is not None:
                residue = topology.addResidue("POL", chain)
            atom = topology.addAtom(name, None, residue)
            system.addParticle(50.0)
            if last is not None:
                topology.addBond(last, atom)
            last = atom
    topology.setPeriodicBoxVectors(2.0 * np.eye(3) * unit.nanometer)
    cells = np.indices((3, 3, 4)).reshape(3, -1).T * [0.6, 0.6, 0.4]
    noise = np.random.default_rng(0).normal(scale=0.01, size=(3, *cells.shape))
    frames = (cells + noise).astype(np.float32)
    box = np.repeat(2.0 * np.eye(3, dtype=np.float32)[None], 3, axis=0)
    with mdtraj.formats.XTCTrajectoryFile(str(folder / "melt.xtc"), "w") as file:
        file.write(frames, time=np.arange(3, dtype=np.float32), box=box)
    with (folder / "melt.pdb").open("w") as file:
        PDBFile.writeFile(topology, frames[0], file)
    (folder / "system.xml").write_text(XmlSerializer.serialize(system))
    spec = small_spec(
        particle_types={"E": 50.0, "X": 50.0},
        bond_types=["bond"],
        atoms_per_bead=1.0,
        cutoff=0.9,
        periodic=True,
        friction=None,
        has_property=False,
        remove_drift=True,
    )
    (folder / "runs" / "melt").mkdir(parents=True)
    save_model(folder / "runs" / "melt" / "model.pt", spec, idle_model(spec))


@pytest.mark.parametrize("is_split", [True, False])
def test_bead_spring_melts(tmp_path, monkeypatch, is_split):
    """Particles that are beads, from OpenMM's files to both engines."""
    monkeypatch.chdir(tmp_path)
    bead_spring(tmp_path, is_split=is_split)
    for language, text in blocks(of_beads=True):
        if language:
            exec(compile(text, "own-melt.md", "exec"), {})
        else:
            done = call(*shlex.split(text)[1:])
            assert done.exit_code == 0, done.output
            words = " ".join(done.output.replace("│", " ").split())
            assert "9 x E2X2: 4 atoms, 200 Da, 4 beads (2 E, 2 X)" in words
    with Trajectory(tmp_path / "ase.traj") as moved:
        assert len(moved) == 4
