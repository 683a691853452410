"""What holds for every command: names, paths, output, errors."""

import io
import os
import re
import signal
import subprocess
import sys
from contextvars import ContextVar
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner
from workflow_tools import command, environment, in_process

import cgml as package
from cgml.cli import console
from cgml.cli.app import COMMANDS, app
from cgml.interrupts import Interrupted, Terminated
from cgml.models import metadata

HEAVY = {"torch", "numpy", "scipy", "pydantic", "lightning", "matplotlib", "mdtraj"}


def test_version(cgml):
    assert cgml("--version").output == f"cgml {package.__version__}\n"
    assert in_process("--version").stdout == f"cgml {package.__version__}\n"


def printed_and_imported(*words: str) -> tuple[str, set[str]]:
    """Return what a command prints, and the modules that were imported for it."""
    code = (
        "import sys; from cgml.cli.app import app; app(standalone_mode=False); "
        "print('imported', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment() | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    text, _, modules = done.stdout.partition("imported")
    return text, set(modules.split())


def test_help_names_every_command_and_imports_nothing_heavy():
    text, modules = printed_and_imported("--help")
    assert not HEAVY & modules
    assert "cgml.cli.models" in modules
    for name in COMMANDS:
        assert f" {name} " in text


def test_models_are_listed_without_torch():
    text, modules = printed_and_imported("models")
    assert HEAVY & modules == {"pydantic"}
    assert "copolymer-chain" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_and_few_run_without_input(cgml, name):
    text = " ".join(cgml(name, "--help").output.split())
    assert f"cgml {name} " in text.partition("For example")[2]
    if name not in ("models", "examples"):
        assert "Usage:" in cgml(name).output


def test_arguments_are_named_as_the_text_names_them(cgml):
    for words in (("--help",), ("--time", 1, "-o", "x")):
        usage, *rest = cgml("run", *words).output.splitlines()
        assert usage.endswith("run [OPTIONS] MODEL STARTS...")
        assert re.search(r"MODEL( <|')", "".join(rest))


FIT = ("train-potential", "m.pt", "a.npz", "-o", "x.pt")
WITHOUT_QUOTES = [
    ("--validation", *FIT, "--validation", "v1.npz", "v2.npz"),
    ("--validation", "join", "a.pt", "--validation", "v1.npz", "v2.npz", "-o", "x"),
    ("--reference", "evaluate", "m.pt", "--reference", "v1.npz", "v2.npz"),
    ("--train", "baseline", "--train", "v1.npz", "v2.npz", "-o", "x"),
]


@pytest.mark.parametrize(("option", "words"), [(o, w) for o, *w in WITHOUT_QUOTES])
def test_patterns_that_the_shell_replaced_are_refused(cgml, option, words):
    """Else the second file would be an argument: frames to fit, not to validate."""
    result = cgml(*words)
    assert result.exit_code == 2
    text = " ".join(result.output.replace("│", " ").split())
    assert f"{option}'" in text
    assert "one file or a pattern in quotes is required, v2.npz follows" in text


def test_lines_that_would_be_refused_are_completed():
    command = typer.main.get_command(app).commands["evaluate"]
    words = ["m.pt", "--reference", "v1.npz", "v2.npz"]
    context = command.make_context("evaluate", words, resilient_parsing=True)
    assert context.params["model"] == "m.pt"


@pytest.mark.parametrize(
    "words",
    [
        (*FIT, "--validation", "v1.npz", "--validation", "v2.npz"),
        ("train-potential", "--validation", "v1.npz", *FIT[1:]),
        (*FIT, "--validation=v1.npz"),
    ],
)
def test_each_file_with_its_option_and_options_first_are_taken(cgml, words):
    assert cgml(*words).exit_code == 1  # there are no such files


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "\x1b[2J", "\x9b2J"])
def test_names_cannot_move_the_cursor(cgml, chains, tmp_path, name):
    result = cgml("prepare", chains, "--output", tmp_path / name)
    missing = cgml("prepare", tmp_path / name / "a.npz", "--output", tmp_path)
    assert missing.output.count("\n") == 1
    for output in (result.output, missing.output):
        assert name not in output
    assert ascii(name)[1:-1] in result.output


@pytest.mark.parametrize(
    "name", ["beads [test]", "run[1]", "[bold]x[/bold]", ":smile:"]
)
def test_names_are_printed_as_they_are(cgml, chains, tmp_path, name):
    result = cgml("prepare", chains, "--output", tmp_path / name)
    assert f"2 systems written to {tmp_path / name}\n" in result.output
    missing = cgml("prepare", tmp_path / name / "a.npz", "--output", tmp_path)
    assert missing.exit_code == 1
    assert f"{tmp_path / name / 'a.npz'}" in missing.output


def test_a_project_folder_may_look_like_a_pattern(tmp_path):
    """Only what the user wrote in the file is a pattern, not where it lies."""
    from cgml.training.config import TrainingConfig
    from cgml.training.data import load_frames

    folder = tmp_path / "run[1]"
    (folder / "more[2]").mkdir(parents=True)
    (folder / "polymer.toml").write_text(
        'name = "a"\noutput = "~/out"\ntime_step = 1.0\ntemperature = 300.0\n'
        '[data]\ntrain = ["*.h5md"]\nvalidation = ["more[2]/a[3].h5md"]\n'
    )
    for name in ("a.h5md", "more[2]/a[3].h5md"):
        (folder / name).write_text("no HDF5")
    config = TrainingConfig.from_toml(folder / "polymer.toml")
    assert config.output == Path.home() / "out"
    for patterns in (config.data.train, config.data.validation):
        with pytest.raises((ValueError, OSError)) as error:
            load_frames(patterns)
        assert "no bead frames match" not in str(error.value)


def test_home_is_expanded(chains, tmp_path):
    home = environment() | {"HOME": str(tmp_path)}
    (tmp_path / "chains.npz").write_bytes(chains.read_bytes())
    done = subprocess.run(
        command("prepare", "~/chains.npz", "--output=~/beads"),
        env=home,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "beads").glob("*.h5md"))) == 2
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [("", "a path must not be empty"), ("{file}", "is a file, the output is a folder")],
)
def test_outputs_that_cannot_be_folders(cgml, chains, tmp_path, output, message):
    taken = tmp_path / "taken"
    taken.touch()
    result = cgml("prepare", chains, "--output", output.format(file=taken))
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "must be positive, got -1 minutes"),
        ("inf", "must be positive and finite, got inf minutes"),
        (1e30, "must be 1e-09 to 1e+09 minutes, got 1e+30 minutes"),
    ],
)
def test_limits_of_time_are_in_minutes(
    cgml, chains, tiny_model, tmp_path, value, message
):
    toml = 'name = "a"\noutput = "b"\ntime_step = 1\ntemperature = 1\n[data]\n'
    (tmp_path / "a.toml").write_text(toml + 'train = ["a"]\nvalidation = ["b"]')
    output = ("-o", tmp_path / "a.pt")
    for words in (
        ("train", tmp_path / "a.toml"),
        ("train-potential", tiny_model, chains, *output),
    ):
        result = cgml(*words, "--time-limit", value)
        assert result.exit_code == 1
        assert f"--time-limit {message}" in " ".join(result.output.split())


def test_a_card_can_be_printed_to_ascii():
    done = subprocess.run(
        command("models", "copolymer-chain"),
        env=environment() | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert " +- " in done.stdout.decode("ascii")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", "3 +- 1 A, Rg2 ~ sigma ? ??"),
        ("latin-1", "3 ± 1 Å, Rg² ~ sigma ? ??"),
        ("utf-8", "3 ± 1 Å, Rg² ~ σ 中 ⟨⟩"),
    ],
)
def test_any_encoding_can_be_printed(monkeypatch, encoding, expected):
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, name, stream)
    console.print_anywhere()
    for write, stream in ((console.say, sys.stdout), (console.tell, sys.stderr)):
        write("3 ± 1 Å, Rg² ~ σ 中 ⟨⟩")
        stream.flush()
        assert stream.buffer.getvalue().decode(encoding) == f"{expected}\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("a must be b"), 1, "error: a must be b"),
        (
            ValueError("x.toml:\n  a: one\n\n  b: two\n"),
            1,
            "error: x.toml: a: one; b: two",
        ),
        (KeyError("a"), 1, "error: KeyError: 'a' (cgml --debug COMMAND shows where)"),
        (
            RecursionError("deep"),
            1,
            "error: RecursionError: deep (cgml --debug COMMAND ",
        ),
        (MemoryError(), 1, "error: MemoryError: no more is known (cgml --debug "),
        (FileNotFoundError(2, "No such file", "a.b"), 1, "error: a.b: no such file"),
        (OSError(28, "No space left"), 1, "error: No space left"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
        (Interrupted("saved in last.ckpt", 15), 143, "saved in last.ckpt"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_error_is_one_line(cgml, monkeypatch, error, code, message):
    def fail() -> None:
        raise error

    monkeypatch.setattr(metadata, "bundled_models", fail)
    result = cgml("models")
    assert result.exit_code == code
    assert result.output.startswith(message)
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", ["before", "in", "ignored"])
def test_a_signal_anywhere_prints_one_line_at_most(number, place):
    """Also while the command line is read, before the command has begun."""
    send = f"os.kill(os.getpid(), {int(number)})"
    code = "import os, signal; from cgml.cli import app; from cgml import examples\n"
    if place == "before":
        code += f"app.app = lambda: {send}\n"
    else:
        code += f"examples.copy = lambda _: {send} or []\n"
    if place == "ignored":
        code += f"signal.signal({int(number)}, signal.SIG_IGN)\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "app.start()", "examples", "there"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    text = "interrupted" if number == signal.SIGINT else "terminated"
    ends = {"before": -number, "in": 128 + number, "ignored": 0}
    assert done.returncode == ends[place], done.stderr
    assert done.stderr == (f"{text}\n" if place == "in" else "")


@pytest.mark.parametrize("is_asked", [False, True])
def test_what_objects_say_at_their_end(capsys, monkeypatch, is_asked):
    """Half made ones after an interrupt, those of HDF5 on a full disk."""
    monkeypatch.setattr(sys, "unraisablehook", None)
    monkeypatch.setattr(sys, "excepthook", None)
    monkeypatch.setattr(console, "show_traceback", ContextVar("a", default=is_asked))
    console.say_no_more_of_ends()
    for text in ("Can't decrement id ref count (file write failed)", "another"):
        sys.excepthook(RuntimeError, RuntimeError(text), None)
    said = capsys.readouterr().err
    assert "another" in said
    assert ("decrement" in said) == is_asked

    class Half:
        def __del__(self) -> None:
            raise AttributeError("half made")

    Half()
    assert ("half made" in capsys.readouterr().err) == is_asked


@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_traceback_for_who_asks(monkeypatch, way):
    def fail() -> None:
        raise KeyError("a")

    monkeypatch.setattr(metadata, "bundled_models", fail)
    first = ["--debug"] if way == "option" else []
    variables = {"CGML_DEBUG": "1"} if way == "environment" else {}
    result = CliRunner().invoke(app, [*first, "models"], env=variables)
    assert isinstance(result.exception, KeyError)


@pytest.mark.skipif(os.name == "nt", reason="needs a pipe that is closed")
def test_a_reader_that_leaves_is_no_error():
    """`cgml models NAME | head -1` says nothing of broken pipes."""
    line = " ".join(f"'{item}'" for item in command("models", "copolymer-chain"))
    done = subprocess.run(
        ["sh", "-c", f"{line} | true"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "error" not in done.stderr
