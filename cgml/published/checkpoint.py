"""Checkpoints of the paper's authors read safely, and made into networks.

The file is an archive of torch around a pickle; `cgml.unpickling` builds tensors and
plain containers of it. The omegaconf containers around some settings become inert
records, so omegaconf is not needed and nothing in a file runs. Callbacks of the
training framework are passed over in the same way; any other class is refused by its
name, wherever it stands.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from cgml.archive import ArchiveError, read_archive, refusing
from cgml.published.model import PublishedModel
from cgml.published.spec import HyperParameters
from cgml.unpickling import Record, kind, load_pickle

MAX_DEPTH, MAX_VALUES = 4, 1000  # of a hyper parameter
MAX_WEIGHT = 1e6  # trained ones are some units in size
_CONTAINERS = {"omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"}
_NODES = {
    f"omegaconf.nodes.{name}Node"
    for name in ("Any", "String", "Integer", "Float", "Boolean")
}
_MARKS = {  # stand in the metadata of omegaconf containers, not looked at
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "typing.Any",
    *(f"builtins.{name}" for name in ("dict", "list", "str", "int", "float", "bool")),
}
_KNOWN = _CONTAINERS | _NODES | _MARKS
_TRAINING_STATE = ("pytorch_lightning.", "lightning.", "lightning_fabric.")


class CheckpointError(ValueError):
    """A checkpoint is foreign, damaged, unsafe, or of another layout."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds that is of use here.

    Attributes:
        parameters: hyper parameters.
        weights: float32 tensors under their names in the file.
    """

    parameters: HyperParameters
    weights: dict[str, torch.Tensor]


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a published checkpoint; no code in it is run.

    Args:
        path: of the `.ckpt` file.

    Raises:
        CheckpointError: Not such a file, damaged, too large, of another layout, or
            with a class in it that is on no list of this module, which is named.
        FileNotFoundError: No such file.
    """
    try:
        found = load_pickle(path, read_archive(path), permits=_permits)
        with refusing(path):
            return _checkpoint(found)
    except ArchiveError as error:
        raise CheckpointError(str(error)) from error


def _permits(name: str) -> bool:
    return name in _KNOWN or name.startswith(_TRAINING_STATE)


def _checkpoint(found: Any) -> Checkpoint:
    if type(found) is not dict:
        raise ArchiveError(f"must hold a dictionary, got {kind(found)}")
    lacking = [key for key in ("state_dict", "hyper_parameters") if key not in found]
    if lacking:
        raise ArchiveError(f"is not a graphwm checkpoint: no {' and '.join(lacking)}")
    entries = _content(found["hyper_parameters"])
    if type(entries) is not dict:
        raise ArchiveError(
            f"must hold hyper_parameters as a dictionary, got {kind(entries)}"
        )
    values = {
        key: _plain(entries[key], key, 0, [MAX_VALUES])
        for key in HyperParameters.model_fields
        if key in entries
    }
    try:
        parameters = HyperParameters.model_validate(values)
    except ValidationError as error:
        texts = [
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}, got "
            f"{item['input']!r:.80}"
            for item in error.errors()
        ]
        raise ArchiveError(
            f"has hyper parameters that cannot be used: {'; '.join(texts)}"
        ) from error
    return Checkpoint(parameters, _weights(found["state_dict"]))


def _plain(value: Any, where: str, depth: int, left: list[int]) -> Any:
    """Replace omegaconf containers by plain ones; `left`: values that may follow."""
    left[0] -= 1
    if depth > MAX_DEPTH or left[0] < 0:
        raise ArchiveError(
            f"holds hyper parameter {where} more than {MAX_DEPTH} levels deep, or of "
            f"more than {MAX_VALUES} values"
        )
    value = _content(value)
    if type(value) in (dict, list, tuple):
        below = value.items() if type(value) is dict else enumerate(value)
        pairs = [
            (key, _plain(item, f"{where}.{key}", depth + 1, left))
            for key, item in below
        ]
        return dict(pairs) if type(value) is dict else [item for _, item in pairs]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ArchiveError(
        f"is refused: hyper parameter {where} must be plain numbers, texts and "
        f"containers, got {kind(value)}"
    )


def _content(value: Any) -> Any:
    """What an omegaconf container or node holds; anything else as it is."""
    if not isinstance(value, Record) or value.name not in _CONTAINERS | _NODES:
        return value
    key = "_content" if value.name in _CONTAINERS else "_val"
    is_held = type(value.state) is dict and key in value.state
    return value.state[key] if is_held else value


def _weights(stored: Any) -> dict[str, torch.Tensor]:
    if type(stored) is not dict:
        raise ArchiveError(f"must hold state_dict, got {kind(stored)}")
    weights = {}
    for name, value in stored.items():
        if type(name) is not str or not isinstance(value, torch.Tensor):
            raise ArchiveError(
                f"is refused: state_dict[{str(name)[:80]!r}] must be a tensor, got "
                f"{kind(value)}"
            )
        weights[name] = value.to(torch.float32).contiguous()
        if not bool((weights[name].abs() <= MAX_WEIGHT).all()):  # NaN is not
            raise ArchiveError(
                f"holds numbers not finite in {name}, or above {MAX_WEIGHT:g}"
            )
    return weights


_FILE_NAMES = (  # ours, in the file
    (r"^embedding\.types\.", "type_embedding."),
    (r"^embedding\.bond_types\.", "bond_type_embedding."),
    (r"^(dynamics|score)\.kinds\.", "edge_type_embedding."),
    (r"^property_head\.network\.", "property_head."),
    (r"^(\w+)\.network\.", r"\1_gn."),
    (r"\.encode_(node|edge)s\.", r"._encode._\1_mlp."),
    (r"\.steps\.(\d+)\.(node|edge)_update\.", r"._interaction.\1._\2_block._\2_mlp."),
    (r"\.decode\.", "._decode."),
    (r"\.first\.", ".0."),
)


def build_model(checkpoint: Checkpoint, length_unit: float) -> PublishedModel:
    """Make the networks of a checkpoint.

    Args:
        checkpoint: from `read_checkpoint`.
        length_unit: unit of length of the model, nm: `units.ANGSTROM`, or what the
            unit of a chain model shall be.

    Raises:
        CheckpointError: Weights are missing, left over, or of another shape than the
            hyper parameters say.
    """
    weights, parameters = checkpoint.weights, checkpoint.parameters
    last = f"embedding_gn._decode.{2 * parameters.embedding_gn_hparams.layers}.weight"
    if last not in weights or weights[last].dim() != 2:
        raise CheckpointError(f"the checkpoint lacks the weights {last}")
    n_embedding = weights[last].size(0)
    with torch.device("meta"):  # what it would be: no memory is taken
        planned = PublishedModel(parameters, n_embedding, length_unit)
    _check_weights(planned, weights)
    model = PublishedModel(parameters, n_embedding, length_unit)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(weights[_file_name(name)])
    return model.eval().requires_grad_(requires_grad=False)


def _check_weights(planned: PublishedModel, weights: dict[str, torch.Tensor]) -> None:
    """Compare names and shapes with those that the hyper parameters ask for."""
    shapes = {
        _file_name(name): tuple(tensor.shape)
        for name, tensor in planned.named_parameters()
    }
    missing = sorted(set(shapes) - set(weights))
    spare = sorted(set(weights) - set(shapes))
    if planned.score is None:
        spare = [name for name in spare if not name.startswith("score_gn.")]
    if missing or spare:
        raise CheckpointError(
            "the weights do not fit the hyper parameters: missing "
            f"{', '.join(missing[:8]) or 'none'}; left over "
            f"{', '.join(spare[:8]) or 'none'}"
        )
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise CheckpointError(
                f"the weights {name} must have shape {shape} by the hyper parameters, "
                f"got {tuple(weights[name].shape)}"
            )


def _file_name(name: str) -> str:
    for ours, theirs in _FILE_NAMES:
        name = re.sub(ours, theirs, name)
    return re.sub(r"\.rest\.(\d+)\.", lambda place: f".{int(place[1]) + 1}.", name)
