"""Advice that works: what an error text recommends, the command takes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import typer
from workflow_tools import ROOT, write_chains

from cgml.cli.app import COMMANDS, app
from cgml.molecules.recipe import Recipe

READERS = ("inspect", "prepare", "run", "evaluate")
PRINTED_BY = {  # module or package -> commands that can print its texts
    "formats": READERS,
    "molecules": READERS,
    "molecules/fragments.py": ("backmap",),
    "molecules/recipe.py": ("prepare",),
    "molecules/seen.py": ("run", "evaluate"),
    "training/inspection.py": ("inspect",),
    "training/preparation.py": READERS,
    "training/sources.py": READERS,
    "training/plan.py": ("train",),
    "training/potential.py": ("train-potential",),
    "training/potential_likelihood.py": ("train-potential",),
    "training/tuning.py": ("train",),
    "training/members.py": ("train",),
    "training": ("train", "export"),
    "runs": ("run",),
    "dynamics": ("run",),
    "evaluation/evaluation.py": ("evaluate",),
    "evaluation/simulation.py": ("evaluate",),
    "evaluation": ("evaluate", "baseline"),
    "models/conversion.py": ("import",),
    "models/joining.py": ("join", "train"),
    "models": ("run", "evaluate", "export"),
    "network": ("run", "evaluate"),
    "published": ("import",),
    "spec.py": ("run", "evaluate"),
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def options_of(command: str) -> set[str]:
    """Return the options of a command, as its parser has them."""
    group = typer.main.get_command(app)
    return {
        name
        for item in group.commands[command].params
        for name in [*item.opts, *item.secondary_opts]
    } | {"--help"}


def unknown(text: str, command: str) -> set[str]:
    """Return the options in a text that no command it speaks of has."""
    wrong = set()
    names = "|".join(COMMANDS)
    parts = re.split(rf"cgml ({names})\b", text)  # text, command, its text, ...
    for name, part in zip([command, *parts[1::2]], parts[::2], strict=True):
        wrong |= set(OPTION.findall(part)) - options_of(name)
    return wrong


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of all strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            silent |= {id(item) for item in ast.walk(node.value)}
        if isinstance(node, ast.JoinedStr) and id(node) not in silent:
            pieces = [item for item in node.values if isinstance(item, ast.Constant)]
            silent |= {id(item) for item in pieces}
            yield node.lineno, "".join(str(item.value) for item in pieces)
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in silent:
            yield node.lineno, node.value


def test_options_in_texts_are_those_of_the_commands_that_print_them():
    """Every option named in the core, for all commands that can come to that text."""
    package, n_found = ROOT / "cgml", 0
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).as_posix()
        if place.startswith("cli/"):
            continue
        for line, text in texts(path):
            if not OPTION.search(text):
                continue
            n_found += 1
            owners = [key for key in PRINTED_BY if place.startswith(key)]
            assert owners, f"which commands print the texts of {place}? say so above"
            owner = max(owners, key=len)
            for command in PRINTED_BY[owner]:
                assert not unknown(text, command), f"{place}:{line}: {command}: {text}"
    assert n_found > 8


def test_options_in_help_are_those_of_the_command():
    for name, command in COMMANDS.items():
        shared = {"--threads", "--debug"}  # of cgml itself
        assert not unknown(command.__doc__ or "", name) - shared, name


N = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a chain of sulfur: right ones, and such as users have."""
    path = tmp_path_factory.mktemp("files")
    line = np.cumsum(np.full((N, 3), [0.12, 0.05, 0.0]), axis=0)
    noise = 0.001 * np.random.default_rng(0).normal(size=(30, N, 3))
    frames = (line + noise).astype(np.float32)
    with (path / "a.pdb").open("w") as file:
        for i, place in enumerate(10.0 * line, 1):
            x, y, z = place
            file.write(f"HETATM{i:5d}  S{i:<2d} PSF A   1    ")
            file.write(f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           S\n")
        for i in range(1, N):
            file.write(f"CONECT{i:5d}{i + 1:5d}\n")
    times = np.arange(30, dtype=np.float32)
    cell = np.repeat(9.0 * np.eye(3, dtype=np.float32)[None], 30, axis=0)
    for name, when, box in (
        ("good", 20.0 * times, None),
        ("again", 0.0 * times, None),
        ("box", 20.0 * times, cell),
    ):
        with mdtraj.formats.XTCTrajectoryFile(str(path / f"{name}.xtc"), "w") as xtc:
            xtc.write(frames, time=when, box=box)
    with mdtraj.formats.DCDTrajectoryFile(str(path / "c.dcd"), "w") as dcd:
        dcd.write(10.0 * frames)
    with (path / "d.lammpstrj").open("w") as file:
        for step, frame in enumerate(10.0 * frames):
            file.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{N}\n")
            file.write("ITEM: BOX BOUNDS ff ff ff\n" + "0 90\n" * 3)
            file.write("ITEM: ATOMS id x y z\n")
            for atom, (x, y, z) in enumerate(frame, 1):
                file.write(f"{atom} {x} {y} {z}\n")
    (path / "train.toml").write_text(
        'name = "a"\noutput = "out"\ntime_step = 20.0\ntemperature = 300.0\n'
        '[data]\ntrain = ["good.xtc"]\nvalidation = ["box.xtc"]\n'
    )
    return path


ADVICE = {  # files -> what the text advises
    ("good.xtc",): ("--topology", "{}/a.pdb"),
    ("again.xtc", "--topology", "{}/a.pdb"): ("--time-step", "20"),
    ("c.dcd", "--topology", "{}/a.pdb"): ("--time-step", "20"),
    ("d.lammpstrj", "--topology", "{}/a.pdb"): ("--md-step", "20"),
}


def in_folder(folder: Path, words: tuple[str, ...]) -> list[str]:
    """Put the folder into words."""
    return [str(folder / words[0]), *(word.format(folder) for word in words[1:])]


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("files", ADVICE)
def test_a_reader_takes_what_it_advises(
    cgml, tiny_model, folder, tmp_path, command, files
):
    """The refusal names the option, the command has it, and it helps."""
    model = [tiny_model] if command in {"run", "evaluate"} else []
    first = ["--reference"] if command == "evaluate" else []
    tail = ["--time", 400.0] if command in {"run", "evaluate"} else []
    tail += ["--output", tmp_path] if command != "inspect" else []
    words = [command, *model, *first, *in_folder(folder, files)]
    refused = cgml(*words, *tail)
    if command == "run" and "--topology" in files:
        return  # of starts the first frame counts: times are no matter
    option, value = ADVICE[files]
    assert refused.exit_code == 1
    assert option in refused.output
    assert option in options_of(command)
    assert not unknown(refused.output, command)
    after = cgml(*words, option, value.format(folder), *tail)
    assert refused.output.splitlines()[-1] != after.output.splitlines()[-1]
    if command in {"inspect", "prepare"}:
        assert after.exit_code == 0, after.output


@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_a_box_can_be_left(cgml, tiny_model, folder, tmp_path, command):
    """An open model refuses the box of a file, and says what takes it away."""
    first = ["--reference"] if command == "evaluate" else []
    files = in_folder(folder, ("box.xtc", "--topology", "{}/a.pdb"))
    tail = ("--time", 400.0, "--output", tmp_path)
    refused = cgml(command, tiny_model, *first, *files, *tail)
    assert "was trained in open boundaries" in refused.output
    assert "--no-box" in refused.output
    after = cgml(command, tiny_model, *first, *files, "--no-box", *tail)
    assert "was trained in open boundaries" not in after.output


@pytest.mark.parametrize(
    "words",
    [
        ("train", "{}/train.toml"),
        (
            *("baseline", "--train={0}/good.xtc", "--validation={0}/good.xtc"),
            *("--reference={0}/good.xtc", "--output={0}/b.json"),
        ),
    ],
)
def test_commands_of_beads_say_how_to_make_them(cgml, folder, tmp_path, words):
    result = cgml(*(word.format(folder) for word in words))
    assert result.exit_code == 1
    assert "with cgml prepare good.xtc --topology FILE --output FOLDER" in result.output
    assert not unknown(result.output, words[0])
    advised = ("prepare", folder / "good.xtc", "--topology", folder / "a.pdb")
    assert cgml(*advised, "--output", tmp_path).exit_code == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--time", "inf"),
        ("--time", "1e400"),
        ("--time", "nan"),
        ("--time", "-20"),
        ("--time", "0"),
        ("--replicas", "0"),
        ("--replicas", "-1"),
        ("--replicas", "1000000000"),
        ("--stride", "0"),
        ("--part", "-3"),
        ("--seed", str(2**63)),
        ("--device", "mps"),
        ("--device", "cuda:77"),
        ("--device", "banana"),
        ("--format", "txt"),
    ],
)
def test_values_that_make_no_sense(cgml, tiny_model, chains, tmp_path, option, value):
    """One line each, before anything is written."""
    words = {"--time": "40", "--output": str(tmp_path / "out")} | {option: value}
    options = [f"{name}={word}" for name, word in words.items()]
    result = cgml("run", tiny_model, chains, *options)
    assert result.exit_code == 1
    (line,) = [row for row in result.output.splitlines() if row.startswith("error")]
    assert value.removeprefix("1e400") in line or "inf" in line
    assert "--debug" not in line
    assert not list((tmp_path / "out").glob("*.dcd"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--atoms-per-bead", "inf"),
        ("--atoms-per-bead", "nan"),
        ("--atoms-per-bead", "0"),
        ("--single-bead-limit", "-1"),
        ("--time-step", "nan"),
        ("--time-step", "inf"),
        ("--time-step", "-1"),
        ("--time-step", "0"),
        ("--md-step", "nan"),
        ("--mass", "C=nan"),
        ("--mass", "C=inf"),
        ("--mass", "C=0"),
    ],
)
def test_numbers_of_prepare_that_make_no_sense(cgml, folder, tmp_path, option, value):
    words = ("prepare", folder / "good.xtc", "--topology", folder / "a.pdb")
    result = cgml(*words, f"{option}={value}", "--output", tmp_path / "out")
    assert result.exit_code == 1, result.output
    (line,) = [row for row in result.output.splitlines() if row.startswith("error")]
    assert value.split("=")[-1] in line
    assert "--debug" not in line
    assert not list((tmp_path / "out").glob("*.h5md"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--time", "inf"),
        ("--time", "nan"),
        ("--time", "-1"),
        ("--replicas", "0"),
        ("--replicas", "1000000000"),
        ("--md-cost", "nan"),
        ("--md-cost", "0"),
        ("--seed", str(2**64)),
        ("--charge", "A=nan"),
        ("--charge", "A=inf"),
    ],
)
def test_numbers_of_evaluate_that_make_no_sense(
    cgml, tiny_model, tmp_path, option, value
):
    chains = write_chains(tmp_path / "long.npz", n_chains=1, n_frames=60, seed=0)
    words = ("evaluate", tiny_model, "--reference", chains, "--time", 400)
    result = cgml(*words, f"{option}={value}", "--output", tmp_path / "out")
    assert result.exit_code == 1, result.output
    (line,) = [row for row in result.output.splitlines() if row.startswith("error")]
    assert value.split("=")[-1] in line
    assert "--debug" not in line


def test_a_recipe_in_options():
    recipe = Recipe(6.0, "runs", 15, keep_groups=True)
    text = "--atoms-per-bead 6 --method runs --single-bead-limit 15"
    assert recipe.options == f"{text} --no-keep-hydrogens --keep-groups"
    assert not unknown(recipe.options, "prepare")
