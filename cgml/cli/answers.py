"""What --json prints: one option for all commands, and the fields that each has."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from cgml.cli import console, options

_SYSTEMS = (
    "of each: name; n_atoms, n_molecules, n_beads, n_frames; kinds of molecules; types "
    "with masses (Da) and bonds with lengths (nm: least, mean, largest) by name; "
    "recipe; bead_atoms (least, mean, most); times (ps: first, last) and spacing (ps: "
    "least, most); box (nm, row vectors), density (g/cm^3), scaling; hands; rotation "
    "(ps)"
)
_SPEC = "what the model says of itself: time_step (ps), particle_types (Da)..."
_MODEL = {"model": "file written", "spec": _SPEC}

FIELDS: dict[str, dict[str, str]] = {
    "inspect": {"[]": _SYSTEMS},
    "prepare": {
        "systems": _SYSTEMS,
        "files": "bead frames written",
        "drawing": "of the molecules",
    },
    "train": _MODEL,
    "train-potential": _MODEL,
    "export": _MODEL,
    "import": _MODEL,
    "join": _MODEL,
    "run": {
        "systems": _SYSTEMS,
        "trajectories": "files of frames, one of each path",
        "results": "CSV file, a line for each path",
        "guard_trips": "guard -> draws that it refused",
        "stopped": "a line for each path that a guard stopped",
    },
    "view": {"page": "HTML file written", "paths": "names of the paths in it"},
    "evaluate": {
        "report": "HTML file written; the rest is in figures.json beside it, too",
        "format": "of these fields, 1",
        "provenance": "date, command, versions, files with SHA-256",
        "model": _SPEC,
        "run": "length (ps), replicas, seed: how the model was run",
        "summary": "figure -> value and error over all molecules or boxes",
        "reference_halves": "the same, of the reference's halves beside each other",
        "verdicts": "figure -> word and reason",
        "baselines": "name -> figure -> value and error",
        "guard_trips": "guard -> draws that it would have refused",
        "failed": "names of those whose positions did not stay finite",
        "cost": "length (ps), paths, CPU threads, seconds_per_ps, speedup",
        "molecules": "or boxes: name -> figure -> value and error",
    },
    "baseline": {
        "predictions": "JSON file written",
        "baselines": "their names",
    },
    "compile": {"folder": "of the compiled networks"},
    "models": {"NAME": "of each bundled model, or of the one named alone: " + _SPEC},
    "examples": {"files": "copied"},
    "backmap": {
        "trajectory": "file of atoms",
        "report": "CSV file, a line for each frame",
        "frames": "the same lines: energy in kJ/mol, forces in kJ/mol/nm, distances "
        "in nm; problem is empty where the frame is good",
    },
}
"""Of each command: field -> meaning. null: not known; errors are standard errors."""


def answering(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --json; `console.emit` prints what it answers."""
    own = inspect.signature(command)
    option = inspect.Parameter(
        "as_json",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=options.AsJson,
    )

    @wraps(command)
    def call(*, as_json: bool, **values: Any) -> None:
        del as_json  # its callback has taken it
        command(**values)

    signature = own.replace(parameters=[*own.parameters.values(), option])
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = command.__annotations__ | {"as_json": options.AsJson}
    return call


def explained(name: str) -> str:
    """Say in the help of a command what its JSON has."""
    fields = (f"{field} ({meaning})" for field, meaning in FIELDS[name].items())
    return "Fields of --json: " + "; ".join(fields) + "."


def model_written(path: Path, more: str = "") -> None:
    """Answer that a model file is there."""
    from cgml.models.file import read_spec

    console.say(f"model written to {path}{more}")
    spec = read_spec(path).model_dump(mode="json")
    console.emit({"model": str(path), "spec": spec})
