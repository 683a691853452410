"""docs/own-melt.md as it stands, with a tiny network: from an OpenMM run and back."""

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ase.io import Trajectory
from workflow_tools import ROOT, environment, in_process

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

[optimiser]
n_steps = 60
average_decay = 0.9
rollout_steps = 2
"""
STEPS = 3  # of a model in an engine, in place of those of the document
STOPPED = 3  # exit code when a guard stopped a replica: so small a network may

pytestmark = pytest.mark.slow


def blocks() -> list[tuple[str, str]]:
    """Return the code of the document in order: language ("" of commands) and text."""
    text = (ROOT / "docs" / "own-melt.md").read_text(encoding="utf-8")
    pattern = re.compile(r"^```(\w+)\n([\s\S]*?)^```|^ {4}(cgml [^\n]*)$", re.MULTILINE)
    return [
        ("", found[3]) if found[3] else (found[1], found[2])
        for found in pattern.finditer(text)
    ]


def call_script(text: str, folder: Path) -> None:
    """Run a script of the document, with fewer steps and a guard that only counts."""
    few = re.sub(r"(step|run)\(100\)", rf"\1({STEPS})", text)
    few = few.replace("seed=1)", 'seed=1, guard="record")')
    done = subprocess.run(
        [sys.executable, "-c", few],
        cwd=folder,
        env=environment() | {"OPENMM_CPU_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def call_command(text: str, folder: Path) -> str:
    """Run a command of the document; return what it said."""
    name, *arguments = shlex.split(text)[1:]
    done = in_process(name, *arguments, folder=folder)
    codes = (0, STOPPED) if name == "run" else (0,)
    assert done.returncode in codes, done.stderr[-3000:]
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """All of the document, done in an empty folder.

    Returns:
        The folder, and what each command said.
    """
    folder = tmp_path_factory.mktemp("melt")
    said: dict[str, str] = {}
    for language, text in blocks():
        if language == "python":
            call_script(text, folder)
        elif language == "toml":
            (folder / "melt.toml").write_text(text + TINY, encoding="utf-8")
        else:
            said[text.split()[1]] = call_command(text, folder)
    return folder, said


def test_all_commands_are_there(walked):
    assert list(walked[1]) == ["inspect", "prepare", "train", "run", "evaluate"]


def test_chemistry_is_that_of_the_system(walked):
    """Types and masses come from the System, not from the PDB file's elements."""
    folder, said = walked
    for text in (said["inspect"], said["prepare"], said["run"], said["evaluate"]):
        assert "CH2 14.026 Da (108), CH3 15.034 Da (36), O 15.999 Da (72)" in text
        assert "18 x CH2(6)CH3(2)O4: 12 atoms" in text
    assert (folder / "beads" / "molecules.png").stat().st_size > 0


def test_elements_alone_are_doubted(walked):
    """Without the System, the first look says that united atoms have other masses."""
    folder, said = walked
    start = ("melt.pdb", "--topology", "melt.pdb")
    table = in_process("inspect", *start, folder=folder).stdout
    assert "united atoms (CH2, CH3)" in " ".join(table.replace("│", " ").split())
    assert "united atoms" not in said["inspect"].replace("│", " ")


def test_constant_pressure_is_shown(walked):
    """Frames of other boxes are put into one, and by how much is said."""
    found = re.search(r"scaled by up to ([\d.]+)%", walked[1]["prepare"])
    assert found is not None
    assert 0.0 < float(found[1]) < 10.0


def test_model_claims_no_transfer(walked):
    folder, said = walked
    claim = "same molecules: interpolates, no claim of transfer"
    assert claim in said["train"]
    assert claim in (folder / "runs" / "melt" / "model.md").read_text()
    assert claim in (folder / "judged" / "report.html").read_text()


def test_run_and_judgement_are_there(walked):
    folder, said = walked
    assert "1, number -1" in said["run"]  # the frame that it starts from
    with (folder / "long" / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1
    assert json.loads((folder / "judged" / "figures.json").read_text())


def test_engines_moved_the_melt(walked):
    """Density in OpenMM is that of the box of the positions."""
    folder, _ = walked
    with (folder / "openmm.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    assert [float(row[0]) for row in rows] == [1.0, 2.0, 3.0]
    assert 0.75 < float(rows[-1][1]) < 1.0  # g/cm3
    with Trajectory(folder / "ase.traj") as frames:
        assert len(frames) == STEPS + 1
        assert abs(frames[-1].positions - frames[0].positions).max() > 0.1  # Å


def test_refusal_names_the_way_on(walked):
    """Atoms without their System are refused with the option that helps."""
    folder, _ = walked
    start = ("melt.xtc", "--topology", "melt.pdb", "--time", 2, "--output", "other")
    done = in_process("run", "runs/melt/model.pt", *start, folder=folder)
    text = " ".join(done.stderr.split())
    assert done.returncode == 1
    assert "united atoms are told by their masses" in text
    assert "--system" in text
    assert "--allow-unseen" not in text  # it would not help: no weights for the type
