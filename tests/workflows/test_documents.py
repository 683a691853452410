"""README and examples: what a reader copies runs as it stands."""

import importlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import mdtraj
import numpy as np
import pytest
import typer
from core_systems import chain, coil, energetic
from workflow_tools import ROOT, environment, in_process

from cgml.cli.app import app
from cgml.formats.trajectory import write_beads
from cgml.models.file import bundled_models, save_model
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import Labels, MolecularGraph
from cgml.molecules.hand import read_mapping
from cgml.molecules.recipe import Recipe
from cgml.training.config import TrainingConfig
from openmm_cgml.testsystems.peo_beads import read_beads

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*_*.py"))
LONG = (
    "9_train_peo_litfsi",
    "10_peo_litfsi",
    "13_backmap",
    *("14_peptide_model", "15_peptide_md", "16_peptide_learned"),
    "17_correct_peo_litfsi",
)  # each has a test of its own
DATA = sorted((ROOT / "examples" / "data").iterdir())
MODEL = "copolymer-chain"


def blocks(language: str, page: str = "README.md") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def execute(folder: Path, *command: object, site: Path = ROOT) -> str:
    """Run Python in a folder, with the packages in site; return what it printed."""
    done = subprocess.run(
        [sys.executable, *(str(item) for item in command)],
        cwd=folder,
        env=environment() | {"MPLBACKEND": "Agg", "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def script(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run an example from the folder as `python examples/NAME.py ARGUMENTS` would.

    In this process: that packages are found as installed is tested by the README.
    """
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OPENMM_CPU_THREADS", "1")
    matplotlib.use("Agg")

    def run(name: str, *arguments: object) -> None:
        path = str(folder / "examples" / name)
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            runpy.run_path(path, run_name="__main__")

    return run


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel puts into site-packages, and nothing else of the repository."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    site = tmp_path_factory.mktemp("site")
    skip = shutil.ignore_patterns("__pycache__")
    for name in wheel["packages"]:
        shutil.copytree(ROOT / name, site / name, ignore=skip)
    for source, target in wheel["force-include"].items():
        shutil.copytree(ROOT / source, site / target, ignore=skip)
    return site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder from which the examples can be seen."""
    os.symlink(ROOT / "examples", tmp_path / "examples")
    return tmp_path


@pytest.fixture
def model(tiny_model: Path) -> str:
    """The bundled model; in a checkout without it, an untrained one."""
    return MODEL if MODEL in bundled_models() else str(tiny_model)


TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
CODE = [
    pytest.param(block, id=f"{page.stem}-{k}")
    for page in (ROOT / "README.md", *TUTORIALS)
    for k, block in enumerate(blocks("python", str(page)))
]


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("block", CODE)
def test_code_of_readme_and_tutorials(tmp_path, monkeypatch, model, block):
    """In an empty folder, in this process: packages are known to be importable."""
    monkeypatch.chdir(tmp_path)
    code = block.replace(f'"{MODEL}"', repr(model))
    exec(compile(code, "script.py", "exec"), {"__name__": "__main__"})


@pytest.mark.skipif(MODEL not in bundled_models(), reason="needs the bundled model")
def test_command_lines_of_the_readme_run_in_an_empty_folder(tmp_path, installed):
    section = README.partition("## On the command line")[2].partition("\n`run`")[0]
    lines = [
        line.partition("#")[0].split()[1:] for line in section.splitlines() if line
    ]
    assert [line[0] for line in lines] == ["models", "examples", "run", "evaluate"]
    for line in lines:
        execute(tmp_path, "-m", "cgml", *line, site=installed)
    assert len(list((tmp_path / "long").glob("chains*.dcd"))) == 8
    assert list((tmp_path / "judged").glob("*.html"))


def test_examples_are_copied_out_and_overwrite_nothing(tmp_path, installed):
    execute(tmp_path, "-m", "cgml", "examples", "there", site=installed)
    copied = {
        path.relative_to(tmp_path / "there")
        for path in (tmp_path / "there").rglob("*.*")
    }
    expected = {path.relative_to(ROOT / "examples") for path in EXAMPLES}
    data = {path.relative_to(ROOT / "examples") for path in DATA}
    assert copied == expected | data | {Path("demo.py")}
    execute(tmp_path, "-m", "cgml", "examples", "there", site=installed)
    (tmp_path / "there" / "demo.py").write_text("mine")
    with pytest.raises(AssertionError, match=r"demo\.py is there already and differs"):
        execute(tmp_path, "-m", "cgml", "examples", "there", site=installed)
    assert (tmp_path / "there" / "demo.py").read_text() == "mine"
    code = "from cgml import examples; print(examples.path('chains.npz'))"
    assert str(installed) in execute(tmp_path, "-c", code, site=installed)
    code = "from cgml import examples; examples.path('x')"
    with pytest.raises(AssertionError, match=r"no sample file is named 'x', there are"):
        execute(tmp_path, "-c", code, site=installed)


@pytest.mark.parametrize("name", ["first_run", "judge"])
def test_notebooks(tmp_path, monkeypatch, model, name):
    """All cells in order, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    path = ROOT / "docs" / "notebooks" / f"{name}.ipynb"
    space = {"__name__": "__main__"}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            code = "".join(cell["source"]).replace(f'"{MODEL}"', repr(model))
            exec(compile(code, path.name, "exec"), space)
    assert list(tmp_path.rglob("*.html"))


OWN = "docs/tutorials/own-trajectories.md"


@pytest.mark.parametrize("page", [OWN, "docs/training.md"])
def test_configurations_of_the_pages(tmp_path, page):
    block, *_ = blocks("toml", page)
    path = tmp_path / "polymer.toml"
    path.write_text(block)
    config = TrainingConfig.from_toml(path)
    assert config.name == tomllib.loads(block)["name"]
    assert config.output == tmp_path / "runs" / "polymer"


def test_beads_by_hand(tmp_path):
    _, block = blocks("toml", OWN)
    (tmp_path / "beads.toml").write_text(block)
    labels = Labels.create(["C1", "O1", "C2"], ["residue PEO 1"] * 3)
    masses, bonds = [12.011, 15.999, 12.011], [[0, 1], [1, 2]]
    graph = MolecularGraph.create("COC", masses, bonds, None, labels)
    assert read_mapping(tmp_path / "beads.toml", graph).n_beads == 1


PAGES = [
    path
    for folder in (
        ".",
        "data",
        "docs",
        "docs/reference",
        "docs/tutorials",
        "cgml/models",
    )
    for path in (ROOT / folder).glob("*.md")
]


def anchors(page: Path) -> set[str]:
    """Return what links of a repository may name in a page: its headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", head.strip().lower()) for head in heads)
    return {head.replace(" ", "-") for head in plain}


@pytest.mark.parametrize("page", PAGES, ids=[path.name for path in PAGES])
def test_links_lead_somewhere(page):
    """In the repository, that is: a page made for the site is not there."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_to_be_found():
    """From the first page of the documentation, or from one that it names."""
    first = ROOT / "docs" / "README.md"
    found, new = {first}, {first}
    while new:
        text = "".join(page.read_text(encoding="utf-8") for page in new)
        names = re.findall(r"\]\(([^)#\s]+\.md)", text)
        folders = {page.parent for page in new}
        linked = {(folder / name).resolve() for folder in folders for name in names}
        new = {page for page in linked if page.exists()} - found
        found |= new
    made = ROOT / "docs" / "reference" / "api.md"  # read on the site alone
    assert {page for page in PAGES if "docs" in page.parts} - found <= {made}


def test_the_tree_is_the_one_described():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(cgml/\w+)/`", page, flags=re.MULTILINE)
    packages = {
        f"cgml/{path.parent.name}" for path in (ROOT / "cgml").glob("*/__init__.py")
    }
    assert set(rows) == packages
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = (
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    order = [name for layer in layers for name in layer.split(" | ")]
    named = [row.removeprefix("cgml/") for row in rows]
    assert named == [name for name in order if name in named]
    modules = {path.stem for path in (ROOT / "cgml").glob("[a-z]*.py")}
    assert set(re.findall(r"`cgml/(\w+)\.py`", page)) == modules


TODAY = [path for path in PAGES if path.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", TODAY, ids=[path.name for path in TODAY])
def test_commands_of_the_pages(page):
    """Lines that are commands, and those in the text; the program has their options."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^    (cgml .*)|`(cgml [^`]*)`", text, flags=re.MULTILINE)
    group = typer.main.get_command(app)
    for line in filter(None, (word for pair in lines for word in pair)):
        words = [w for w in line.partition("#")[0].split()[1:] if w != "-q"]
        of_all = words[0] == "COMMAND" or words[0].startswith("--")
        command = group if of_all else group.commands[words[0]]
        known = {
            name
            for item in command.params
            for name in [*item.opts, *item.secondary_opts]
        }
        asked = {word for word in words if re.match("--?[a-z]", word)}
        assert asked <= known | {"--help"}, line
        is_bare = re.search(r"--(reference|train|validation) [^'\"\s]*\*", line)
        assert not is_bare, line  # the shell would make arguments of it


@pytest.mark.parametrize("page", TODAY, ids=[path.name for path in TODAY])
def test_modules_named_are_there(page):
    """In code of a page, a path or a dotted name of ours is one that exists."""
    text = page.read_text(encoding="utf-8")
    paths = re.findall(
        r"`((?:cgml|openmm_cgml|ase_cgml|tests|examples)/[\w/.]+)`", text
    )
    assert not [
        path for path in paths if "NAME" not in path and not (ROOT / path).exists()
    ]
    for name in re.findall(r"`((?:cgml|openmm_cgml|ase_cgml)\.[\w.]+)`", text):
        module, _, attribute = name.rpartition(".")
        base = ROOT / name.replace(".", "/")
        if not base.is_dir() and not base.with_suffix(".py").exists():
            assert hasattr(importlib.import_module(module), attribute), name


def test_files_named_in_passing_are_there():
    """Pages and docstrings send the reader to modules that exist."""
    folders = ("cgml", "openmm_cgml", "ase_cgml", "tests", "examples", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    known = {path.name for path in files}
    ours = [path for path in files if path.relative_to(ROOT).parts[0] != "tests"]
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (*TODAY, *ours)
        for name in re.findall(r"\b[a-z_\d]+\.py\b", path.read_text(encoding="utf-8"))
        if name not in known
    }
    assert not missing


SHORT = [path for path in EXAMPLES if path.stem not in LONG]


@pytest.mark.parametrize("path", SHORT, ids=[path.stem for path in SHORT])
def test_example(script, model, path):
    """At its default size; those that run a model take it as an argument."""
    takes_model = "MODEL" in path.read_text().split('"""')[1].partition("\n\n")[2]
    script(path.name, *([model, 20] if takes_model else []))


@pytest.mark.parametrize(
    "names",
    [
        ("11_all_atom_md.py", "12_all_atom_learned.py"),
        ("15_peptide_md.py", "16_peptide_learned.py"),
    ],
)
def test_all_atom_scripts_differ_in_one_line(names):
    """Before and after: the integrator."""
    texts = [
        (ROOT / "examples" / name).read_text(encoding="utf-8").splitlines()
        for name in names
    ]
    changed = [pair for pair in zip(*texts, strict=True) if pair[0] != pair[1]]
    ((before, after),) = changed
    assert before.strip().startswith("integrator = openmm.LangevinMiddleIntegrator(")
    assert after.strip().startswith("integrator = openmm_cgml.LearnedCGIntegrator(")


def test_a_peptide_from_its_md_to_carried_atoms(folder):
    """As examples 14 to 16 do it, for a moment; an untrained model keeps hands, too."""
    sizes = ["--time", 80, "--steps", 2]
    out = execute(folder, "examples/14_peptide_model.py", *sizes)
    assert "6 stereocentres in 6 beads: 6 S" in out
    text = (ROOT / "examples/16_peptide_learned.py").read_text(encoding="utf-8")
    free = text.replace(
        "topology=topology)\n", 'topology=topology, guard="record")\n', 1
    )
    assert free != text
    (folder / "free.py").write_text(free, encoding="utf-8")  # untrained, it may leave
    for name, steps in (("examples/15_peptide_md.py", 3), ("free.py", 1)):
        out = execute(folder, name, steps)
        assert f"100% of the alanines in {steps} frames are L" in out


TINY = """
name = "tiny"
output = "tiny"
time_step = 40.0
atoms_per_bead = 6
single_bead_limit = 15
cutoff = 0.6
temperature = 423.0

[data]
train = ["train/*.h5md"]
validation = ["validation/*.h5md"]

[network]
n_node = 8
n_edge = 8
radial = "data"

[optimiser]
n_steps = 2
validate_every = 2
rollout_steps = 2
n_molecules = 1
n_windows = 1
"""


def test_training_of_peo(folder, script, capsys):
    """As example 9 does it, with a tiny network and two boxes."""
    boxes = folder / "boxes"
    boxes.mkdir()
    for path in (ROOT / "data" / "peo_litfsi").glob("*_16x8_*"):
        if "_10_5" not in path.stem:
            (boxes / path.name).write_bytes(path.read_bytes())
    (folder / "tiny.toml").write_text(TINY)
    options = ["--config", "tiny.toml", "--data", boxes, "--output", "out"]
    script("9_train_peo_litfsi.py", *options)
    assert capsys.readouterr().out.splitlines()[-1].endswith("out/tiny/model.pt")


@pytest.mark.skipif("peo-litfsi" not in bundled_models(), reason="needs the model")
@pytest.mark.parametrize("engine", [[], ["--ase"]])
def test_an_electrolyte_in_an_engine(folder, script, capsys, engine):
    """As example 10 does it, in a small box and for a moment."""
    times = ["--time", 0.06, "--ageing", 0.04]
    sizes = ["--chains", 4, "--salt", 6, "--output", "out"]
    script("10_peo_litfsi.py", *times, *sizes, *engine)
    assert "0.1 ns in" in capsys.readouterr().out
    assert (folder / "out" / "displacements.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.skipif("peo-litfsi" not in bundled_models(), reason="needs the model")
def test_md_where_a_model_has_led(folder, script, capsys):
    """As example 17 does it, from a frame of one box and for a moment."""
    boxes = folder / "boxes"
    boxes.mkdir()
    name = "train_16x8_20_1"
    for path in (ROOT / "data" / "peo_litfsi").glob(f"{name}.*"):
        (boxes / path.name).write_bytes(path.read_bytes())
    config = ROOT / "cgml" / "models" / "peo-litfsi.toml"
    wanted = ["--config", config, "--frames-only", "--output", "peo"]
    script("9_train_peo_litfsi.py", "--data", boxes, *wanted)
    run = ["run", "peo-litfsi", f"peo/train/{name}.h5md", "--time", 60, "--stride", 1]
    assert in_process(*run, "--output", "peo/own", folder=folder).returncode == 0
    options = ["--run", "peo/own", "--data", boxes, "--output", boxes]
    for _ in range(2):
        script("17_correct_peo_litfsi.py", *options, "--frames", 2, "--length", 4)
    stem = "correction_16x8_20_1_r0_f2"
    assert capsys.readouterr().out.count(f"{stem}: 4 ps in") == 1
    after = read_beads(boxes / f"{stem}.xtc", Recipe(6, "runs", 15))
    before = mdtraj.formats.DCDTrajectoryFile(f"peo/own/{name}_r0.dcd").read()[0]
    assert after.times.tolist() == [2.0, 4.0]
    gaps = np.linalg.norm(after.positions[0] - 0.1 * before[2], axis=1)
    assert 0.01 < gaps.mean() < 0.3  # it began there, and moved
    assert after.first_atoms is None


def test_demo(folder, script, capsys, model):
    script("demo.py", "--model", model, "--steps", 30, "--output", "out")
    assert "100.0%" in capsys.readouterr().out
    assert (folder / "out" / "copolymer.dcd").stat().st_size > 30 * 100 * 3 * 4
    assert (folder / "out" / "chain.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_old_python_is_refused_with_a_reason(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit\nexit 1\n'
    )
    old.chmod(0o755)
    for tool in ("sh", "make", "sed"):
        os.symlink(shutil.which(tool), old.parent / tool)
    done = subprocess.run(
        ["make", "demo"],
        cwd=tmp_path,
        env={"PATH": str(old.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13, found: Python 3.9.2" in done.stderr


@pytest.mark.parametrize("is_periodic", [False, True])
def test_code_of_the_potential(tmp_path, monkeypatch, is_periodic):
    """One block after the other, from a file of frames; few steps."""
    monkeypatch.chdir(tmp_path)
    model, mapping = energetic(is_periodic=is_periodic), chain()
    save_model(tmp_path / "with-potential.pt", model.spec, model.module)
    (tmp_path / "beads").mkdir()
    frames = np.stack([coil(mapping, k) for k in range(8)]).astype(np.float32)
    box = 12.0 * np.eye(3) if is_periodic else None
    beads = BeadTrajectory(mapping, frames, np.arange(8.0), box, "chain")
    write_beads(tmp_path / "beads" / "chain.h5md", beads)
    space: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks("python", "docs/potential.md"):
        short = block.replace("steps=500", "steps=2").replace("step(100)", "step(2)")
        exec(compile(short, "potential.py", "exec"), space)
    assert space["found"].energy.shape == (8,)
    assert space["found"].virial.shape == (8, 3, 3)
