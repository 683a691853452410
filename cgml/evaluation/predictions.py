"""What baselines say of molecules and boxes, and the file that keeps it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.files import read_text, replacing

Floats = NDArray[np.float64]

_BROKEN = (AttributeError, LookupError, TypeError, ArithmeticError, RecursionError)
"""What other contents make the reader raise."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one baseline says of the subjects.

    Attributes:
        name: of the baseline.
        subjects: their names, (n_subjects,).
        values: name of a target -> (n_draws, n_subjects), in the unit of the target;
            more than one draw where the baseline is a matter of chance (short runs).
    """

    name: str
    subjects: list[str]
    values: dict[str, Floats]

    def take(self, names: list[str]) -> "Prediction":
        """Keep some subjects, in this order.

        Raises:
            ValueError: a subject that the baseline does not know.
        """
        place = {name: k for k, name in enumerate(self.subjects)}
        missing = [name for name in names if name not in place]
        if missing:
            raise ValueError(
                f"baseline {self.name!r} must know every molecule or box, it lacks "
                f"{', '.join(missing)}: run `cgml baseline` with the same files"
            )
        index = [place[name] for name in names]
        values = {target: draws[:, index] for target, draws in self.values.items()}
        return Prediction(self.name, list(names), values)


def save(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions as JSON, for `cgml evaluate --baselines`."""
    content = [
        {
            "name": item.name,
            "subjects": item.subjects,
            "values": {name: draws.tolist() for name, draws in item.values.items()},
        }
        for item in predictions
    ]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"baselines": content}), encoding="utf-8")


def load(path: Path) -> list[Prediction]:
    """Read what `save` wrote, or an earlier version of it.

    Raises:
        ValueError: the file is something else.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
        found = content.get("diffusivities") or content["baselines"]
        return [_read(item) for item in found]
    except (*_BROKEN, ValueError) as error:
        raise ValueError(
            f"a file written by `cgml baseline` is required, {path} is not: {error}"
        ) from error


def _read(item: dict[str, Any]) -> Prediction:
    """Read one prediction; those of version 0.1 had names of their own."""
    if "molecules" in item:
        subjects, tables = item["molecules"], {"rg2": item["rg2"]}
        tables["log10_tau"] = np.log10(np.array(item["tau"], dtype=np.float64))
    elif "boxes" in item:
        draws = np.array(item["log10_d"], dtype=np.float64)  # (draw, box, species)
        subjects = item["boxes"]
        tables = {f"log10_d_{s}": draws[..., k] for k, s in enumerate(item["species"])}
    else:
        subjects, tables = item["subjects"], item["values"]
    if not all(type(name) is str for name in (item["name"], *subjects)):
        raise ValueError("names of baselines and subjects must be texts")
    values = {name: np.array(some, dtype=np.float64) for name, some in tables.items()}
    for name, draws in values.items():
        if draws.ndim != 2 or draws.shape[1] != len(subjects) or not draws.size:
            raise ValueError(f"{name!r} has not one value for each subject")
    return Prediction(item["name"], list(subjects), values)
