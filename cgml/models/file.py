"""Model files: TorchScript with spec.json inside. The only user of torch.jit.

A TorchScript archive is code for torch's own interpreter, which knows tensors and
nothing of files, processes or Python: reading one runs no foreign Python. Only the
weights are taken from it, into the networks of this version: an old file gains from
every improvement, and a foreign one cannot bring code of its own.
"""

import json
import warnings
import zipfile
from importlib.resources import files
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import nn

from cgml.files import replacing
from cgml.models.kinds import KINDS, OWN
from cgml.network.model import LearnedModel
from cgml.spec import BaseSpec

FORMAT = 1
SPEC_FILE = "spec.json"


class ModelFileError(ValueError):
    """A model file is missing, damaged, foreign, or too new."""


def save_model(path: Path, spec: BaseSpec, model: nn.Module) -> None:
    """Write one self-describing model file, whole or not at all.

    Args:
        path: target, usually `.pt`.
        spec: what the model says of itself.
        model: eager networks, a Model or a PublishedModel as the spec says.
    """
    scripted = script(model)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        contents = {SPEC_FILE: spec.model_dump_json(indent=1)}
        torch.jit.save(scripted, str(temporary), _extra_files=contents)


def script(model: nn.Module) -> nn.Module:
    """Compile the networks with TorchScript, in evaluation mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted: nn.Module = torch.jit.script(model.eval())
    return scripted


def load_model(model: str | Path, device: str = "cpu") -> LearnedModel:
    """Read a model file.

    Args:
        model: path of a model file, or the name of a bundled model.
        device: torch device on which the networks run.

    Raises:
        ModelFileError: No such file, not a model file, truncated, of a newer format,
            or written for other networks; the text says what to do.
    """
    path = find_model(model)
    spec = read_spec(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(  # type: ignore[no-untyped-call]
                str(path), map_location=device
            )
    except (RuntimeError, ValueError) as error:
        if "cuda" in str(error).lower():
            raise
        raise ModelFileError(
            f"{path} is damaged: its networks cannot be read; fetch or export it anew"
        ) from error
    networks = KINDS[spec.kind].networks(spec)
    try:
        networks.load_state_dict(module.state_dict())
    except RuntimeError as error:
        raise ModelFileError(
            f"{path} holds other networks than its {SPEC_FILE} says: export it anew "
            f"({error})"
        ) from error
    return LearnedModel(
        spec, networks.requires_grad_(requires_grad=False).eval().to(device)
    )


def read_spec(path: Path) -> BaseSpec:
    """Read what a model file says of itself, without loading the networks.

    Raises:
        ModelFileError: As in `load_model`.
    """
    advice = "expected a file written by `cgml train`, `cgml export` or `cgml import`"
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith(f"extra/{SPEC_FILE}")]
            if not names:
                raise ModelFileError(f"{path} is not a cgml model file: {advice}")
            text = archive.read(names[0]).decode()
    except zipfile.BadZipFile as error:
        raise ModelFileError(
            f"{path} is truncated or not a cgml model file: {advice}"
        ) from error
    try:
        raw = json.loads(text)
        number, kind = raw["format"], raw.get("kind", OWN)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"{path} has an unreadable {SPEC_FILE}: {advice}"
        ) from error
    if not isinstance(number, int) or number > FORMAT:
        raise ModelFileError(
            f"{path} has model format {number!r}, this version of cgml reads up to "
            f"{FORMAT}: install a newer cgml"
        )
    if kind not in KINDS:
        raise ModelFileError(
            f"{path} has a model of kind {kind!r}, this version of cgml knows "
            f"{', '.join(KINDS)}: install a newer cgml"
        )
    try:
        return KINDS[kind].spec.model_validate(raw)
    except ValidationError as error:
        raise ModelFileError(f"{path} has an invalid {SPEC_FILE}: {error}") from error


def bundled_models() -> dict[str, Path]:
    """Name -> path of the models that come with the package."""
    folder = Path(str(files("cgml"))) / "models"
    return {path.stem: path for path in sorted(folder.glob("*.pt"))}


def find_model(model: str | Path) -> Path:
    """File of a model, given by its path or by the name of a bundled model.

    Raises:
        ModelFileError: There is none.
    """
    path = Path(model)
    if path.is_file():
        return path
    bundled = bundled_models()
    if str(model) in bundled:
        return bundled[str(model)]
    known = ", ".join(bundled) or "none"
    raise ModelFileError(
        f"no model file at {str(model)!r} and no bundled model of that name "
        f"(bundled: {known}): check the path"
    )
