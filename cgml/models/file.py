"""Model files: TorchScript with spec.json inside, written here, read without running.

A TorchScript archive is a program: `torch.jit.load` may write any file that a file's
`__setstate__` names, read others, or never end. So a file is read as the data that it
is. Checksums, sizes and structure are checked (archive.py), objects become inert
records (unpickling.py), and weights are compared by name, shape and number with what
the spec's networks need before such networks are built. They go into the networks of
this version: an old file gains from every improvement. The program is for others.
"""

import io
import warnings
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cgml.archive import Entries, read_archive
from cgml.contract.device import checked_device
from cgml.contract.plan import planning
from cgml.files import replacing
from cgml.forks import one_thread_after_fork
from cgml.models.members import networks_of, program_of
from cgml.models.metadata import (
    LARGEST_FILE,
    SPEC_FILE,
    ModelFileError,
    bundled_models,
    find_model,
    read_spec,
    reading,
    spec_of,
)
from cgml.network.model import LearnedModel
from cgml.spec import BaseSpec
from cgml.texts import short
from cgml.unpickling import Record, load_pickle

__all__ = [  # known to all as parts of the file
    "ModelFileError",
    "bundled_models",
    "find_model",
    "read_spec",
]

LARGEST_WEIGHT = 1e9  # trained ones are near 1; sums of squares stay finite
MAX_NAMES = 1 << 15  # of weights, and of the objects that hold them
MAX_VALUES = 1 << 18  # of these objects together, each time that one is met
MAX_NAME = 1000  # characters: what holds itself has no end


def save_model(path: Path, spec: BaseSpec, model: nn.Module) -> None:
    """Write one self-describing model file, whole or not at all.

    Args:
        path: target, usually `.pt`.
        spec: what the model says of itself.
        model: eager networks as the spec says: a Model, a PublishedModel, or an
            Ensemble of several.
    """
    program, content = script(spec, model), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # torch would have it gone
        torch.jit.save(
            program, content, _extra_files={SPEC_FILE: spec.model_dump_json(indent=1)}
        )
    with replacing(path) as temporary:
        _copy_without_places(content, temporary)


def _copy_without_places(content: io.BytesIO, path: Path) -> None:
    """Write an archive without where its sources lay: folders of this machine."""
    with zipfile.ZipFile(content) as archive, zipfile.ZipFile(path, "w") as copy:
        for info in archive.infolist():
            if not info.filename.endswith(".debug_pkl"):
                entry = zipfile.ZipInfo(info.filename)
                copy.writestr(entry, archive.read(info), info.compress_type)


def script(spec: BaseSpec, model: nn.Module) -> Any:
    """Compile the program of a file (program.py) with TorchScript."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # torch would have it gone
        return torch.jit.script(program_of(spec, model).eval())


def load_model(model: str | Path, device: str = "cpu") -> LearnedModel:
    """Read a model file; nothing in it is run.

    Args:
        model: path of a model file, or the name of a bundled model.
        device: torch device on which the networks run.

    Raises:
        ModelFileError: No such file, not a model file, truncated or changed, of a
            newer format, or with weights that are not numbers or not those of the
            spec's networks; one line that says what to do.
        ValueError: This torch has no such device.
    """
    one_thread_after_fork()
    place = checked_device(device)
    path = find_model(model)
    with reading(path):
        entries = read_archive(path, largest=LARGEST_FILE)
        spec = spec_of(path, entries)
        content = load_pickle(path, entries, permits=partial(_is_known, entries))
        networks = _filled(path, spec, _weights(content))
    networks.to(place)
    return LearnedModel(spec, networks)


def _is_known(entries: Entries, name: str) -> bool:
    """Whether TorchScript stores objects of a class: its code is in the file."""
    module = name.rpartition(".")[0]
    is_own = f"code/{module.replace('.', '/')}.py" in entries
    return module == "torch.jit._pickle" or (name.startswith("__torch__.") and is_own)


def _weights(content: Any) -> dict[str, torch.Tensor]:
    """Tensors of a tree of records, under the names of a state dict."""
    found: dict[str, torch.Tensor] = {}
    todo, n_values = [("", content)], 0
    for prefix, record in todo:  # grows as it goes
        state: Any = record.state if isinstance(record, Record) else None
        if not isinstance(state, dict):
            raise ValueError("its networks cannot be read")
        n_values += len(state)
        if n_values > MAX_VALUES:
            raise ValueError("its networks have no end")
        for key, value in state.items():
            name = f"{prefix}{key}"
            if isinstance(value, torch.Tensor):
                found[name] = value
            elif isinstance(value, Record) and value.state is not None:
                todo.append((f"{name}.", value))
            if len(found) + len(todo) > MAX_NAMES or len(name) > MAX_NAME:
                raise ValueError("its networks have no end")
    return found


def _filled(path: Path, spec: BaseSpec, weights: dict[str, torch.Tensor]) -> nn.Module:
    """Networks of a spec with the weights of a file, compared before they are built."""
    with planning():
        networks = networks_of(spec)
    needed = networks.state_dict()
    reasons = [f"no {name}" for name in needed if name not in weights]
    spare = [name for name in weights if name not in needed]
    reasons += [f"{short(name)} too many" for name in spare]
    for name, like in needed.items():
        values = weights.get(name, like)
        if values.shape != like.shape or values.dtype != like.dtype:
            reasons.append(
                f"{name} of {tuple(values.shape)} {values.dtype}, not "
                f"{tuple(like.shape)} {like.dtype}"
            )
    if reasons:
        more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        raise ModelFileError(
            f"{path} holds other networks than its {SPEC_FILE} says "
            f"({'; '.join(reasons[:3])}{more}): export it anew"
        )
    for name, values in weights.items():
        largest = float(values.abs().max()) if values.numel() else 0.0
        if not largest <= LARGEST_WEIGHT:
            raise ModelFileError(
                f"{path} must have weights below {LARGEST_WEIGHT:g}, got {largest:g} "
                f"in {name}: train or export it anew"
            )
    own = {name: values.clone().contiguous() for name, values in weights.items()}
    networks.load_state_dict(own, assign=True)
    return networks.requires_grad_(requires_grad=False).eval()
