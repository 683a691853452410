"""What holds for the options and the words of all commands."""

import inspect
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import typer
from rich.console import Console
from test_train import write_config
from workflow_tools import environment, write_chains

from cgml.cli import console
from cgml.cli.answers import FIELDS
from cgml.cli.app import COMMANDS, app
from cgml.cli.evaluate import _show
from cgml.cli.guards import WORDS
from cgml.dynamics.guards import GUARDS
from cgml.evaluation.verdict import WORDS as VERDICTS
from cgml.training.keys import keys

OWN = {  # options whose meaning depends on the command, in one sense
    "--output": "what is written",
    "--stride": "every n-th frame: of those read, or of the steps stored",
    "--time": "simulated time; evaluate knows a default",
    "--temperature": "of the training data",
    "--time-limit": "minutes: train goes on later, a potential gets fewer steps",
}


def options():
    """Yield command, option, help of all commands."""
    group = typer.main.get_command(app)
    for name in COMMANDS:
        for item in group.commands[name].params:
            if item.param_type_name == "option":
                yield name, item.opts[0], item.help, item.opts


def test_an_option_means_the_same_in_every_command():
    meanings = defaultdict(set)
    for _, option, text, _ in options():
        assert text, option
        meanings[option].add(text)
    differ = {option for option, texts in meanings.items() if len(texts) > 1}
    assert differ <= set(OWN)


def test_examples_in_the_help_are_lines_to_copy(cgml):
    """Each command begins a line, none is run into a paragraph."""
    for name, command in COMMANDS.items():
        _, _, examples = inspect.cleandoc(command.__doc__).partition("For example:")
        lines = [line.strip() for line in cgml(name, "--help").output.splitlines()]
        starts = [line.split()[:2] for line in examples.splitlines() if "cgml" in line]
        assert starts, name
        for first, second in starts:
            assert any(line.startswith(f"{first} {second} ") for line in lines) or (
                f"{first} {second}" in lines
            ), name
        assert not any(line.startswith("For example: ") for line in lines), name


def test_every_output_has_the_short_form():
    for name, option, _, forms in options():
        if option == "--output":
            assert "-o" in forms, name


@pytest.mark.parametrize(
    ("words", "place", "expected"),
    [
        ("cgml ru", 1, {"run"}),
        ("cgml run copo", 2, {"copolymer-chain"}),
        ("cgml models p", 2, {"polymer-electrolyte", "peo-litfsi"}),
        ("cgml prepare --atoms", 2, {"--atoms-per-bead"}),
    ],
)
def test_the_shell_completes(words, place, expected):
    """As bash asks for it, with the script that --install-completion writes."""
    code = "import sys; sys.argv = ['cgml']; from cgml.cli.app import start; start()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment()
        | {
            "_CGML_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(place),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected <= set(done.stdout.split()), done.stdout + done.stderr


def answer(cgml, name, *words):
    """Run a command with --json; the fields are those that its help names."""
    done = cgml(name, *words, "--json")
    assert done.exit_code in {0, 3}, done.output
    found = json.loads(done.stdout)
    assert set(found) == set(FIELDS[name])
    return found


def test_models_as_json(cgml):
    found = json.loads(cgml("models", "--json").stdout)
    assert found["copolymer-chain"]["time_step"] == 20.0
    one = json.loads(cgml("models", "copolymer-chain", "--json").stdout)
    assert one == found["copolymer-chain"]


def test_prepare_and_run_as_json(cgml, chains, tiny_model, tmp_path):
    """Nothing but JSON on standard output, the files are there."""
    found = answer(cgml, "prepare", chains, "-o", tmp_path / "beads")
    assert [item["n_atoms"] for item in found["systems"]] == [20, 20]
    words = ("run", tiny_model, *found["files"], "--time", 40)
    content = answer(cgml, *words, "-o", tmp_path / "run")
    assert len(content["trajectories"]) == 2
    assert set(content["guard_trips"]) <= set(GUARDS)
    assert content["results"].endswith("results.csv")


def test_evaluate_as_json(cgml, tiny_model, tmp_path):
    chains = write_chains(tmp_path / "long.npz", n_chains=1, n_frames=60, seed=0)
    words = ("evaluate", tiny_model, "--reference", chains, "--time", 400)
    found = answer(cgml, *words, "-o", tmp_path / "judged")
    assert found["report"].endswith("report.html")
    assert "rg2_relative_error" in found["summary"]


def test_infinity_is_no_json(capsys):
    console.for_machines.set(True)
    console.emit({"a": [float("nan"), 1.5], "b": (float("inf"),)})
    console.for_machines.set(False)
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5], "b": [None]}


def test_quiet_and_verbose(cgml, chains, tmp_path):
    quiet = cgml("-q", "prepare", chains, "-o", tmp_path / "quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert len(list((tmp_path / "quiet").glob("*.h5md"))) == 2
    verbose = cgml("--verbose", "prepare", chains, "-o", tmp_path / "verbose")
    assert "Python 3." in verbose.stderr
    assert "done in" in verbose.stderr
    normal = cgml("prepare", chains, "-o", tmp_path / "normal")
    assert normal.stderr == ""
    assert "error" in cgml("-q", "models", "nothing").output
    both = cgml("-q", "-v", "models")
    assert both.exit_code == 2
    assert "exclude each other" in both.output


def unwrapped(text: str) -> str:
    """Join the lines of a help text, which wrap at blanks and behind hyphens."""
    return " ".join(text.split()).replace("- ", "-")


def test_long_names_of_options_are_not_cut(cgml):
    for name in COMMANDS:
        assert "…" not in cgml(name, "--help").output


def test_exit_codes_stand_in_the_help(cgml):
    text = unwrapped(cgml("--help").output)
    for code, meaning in console.EXIT_CODES.items():
        assert f"{code} {meaning}" in text


def test_guards_have_words():
    assert set(WORDS) == set(GUARDS)


def test_every_key_of_a_training_file_is_explained(cgml):
    """Whole, however narrow the console is."""
    found = list(keys())
    for order in (("--keys", "--json"), ("--json", "--keys")):
        listed = json.loads(cgml("train", *order).stdout)
        assert listed == [key._asdict() for key in found]
    printed = cgml("train", "--keys").output
    text = " ".join(printed.split())
    for key in found:
        assert key.meaning, key.name
        assert f"{key.name}: {key.kind}; " in text
        assert key.meaning in text
        assert not re.search(r"ss\b|list of list\b", key.kind)
    assert "…" not in printed
    assert "optimiser.n_steps" in text
    assert ("", "time_step", "number", "required") in {key[:4] for key in found}
    assert ("data", "split", '"molecule" or "time"', '"molecule"') in {
        key[:4] for key in found
    }


def test_verdicts_are_whole_on_a_narrow_console(monkeypatch, capsys):
    """Words wrap, and no verdict is cut."""
    words = "mean squared displacement of chain (centres of mass, drift removed)"
    number = "not shown, error 0.31"
    monkeypatch.setattr(console, "out", Console(width=80, force_terminal=False))
    _show([(words, number, "-0.125 ± 0.012", word) for word in VERDICTS])
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed
    for word in VERDICTS:
        assert f" {word} " in printed


def test_fields_of_json_stand_in_the_help(cgml):
    assert set(FIELDS) == set(COMMANDS)
    for name, fields in FIELDS.items():
        text = unwrapped(cgml(name, "--help").output)
        assert "--json" in text, name
        for field, meaning in fields.items():
            assert meaning, (name, field)
            assert f"{field} (".replace("[]", "") in text, (name, field)


def test_a_trained_model_as_json(cgml, tmp_path):
    """Of train, export, train-potential, join: the file, and what it says of itself."""
    config = write_config(tmp_path)
    trained = answer(cgml, "train", config)
    assert trained["spec"]["name"] == "small"
    assert Path(trained["model"]).name == "model.pt"
    exported = answer(cgml, "export", config)
    assert exported == trained
    frames = tmp_path / "train.npz"
    words = (trained["model"], frames, "--steps", 2, "--width", 4, "--batch", 2)
    words = (*words, "--likelihood-steps", 3, "-o", tmp_path / "p.pt")
    fitted = answer(cgml, "train-potential", *words)["spec"]["potential"]
    assert fitted["n_node"] == 4
    assert fitted["provenance"]["steps"] == "2"
    assert fitted["provenance"]["likelihood steps"] == "3"


def test_files_as_json(cgml, chains, tiny_model, tmp_path):
    long = tmp_path / "run"
    done = answer(cgml, "run", tiny_model, chains, "--time", 40, "-o", long)
    shown = answer(cgml, "view", long)
    assert Path(shown["page"]).exists()
    assert len(shown["paths"]) == len(done["trajectories"])
    assert len(answer(cgml, "view", long, "--paths", 1)["paths"]) == 1
    assert "1 path, of 2 (--paths)" in cgml("view", long, "--paths", 1).output
    assert answer(cgml, "examples", tmp_path / "examples")["files"]
