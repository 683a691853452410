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
from cgml.contract.plan import planning
from cgml.fields import faults
from cgml.published.model import PublishedModel
from cgml.published.spec import HyperParameters
from cgml.unpickling import Record, kind, load_pickle

LARGEST_FILE = 1 << 28  # bytes, packed and unpacked
MAX_DEPTH, MAX_VALUES = 4, 1000  # of a hyper parameter
LARGEST_WEIGHT = 1e9  # trained ones are near 1; sums of squares stay finite
_NODES = ("Any", "String", "Integer", "Float", "Boolean")
_HOLDERS = {  # class of omegaconf -> where its state has the value
    "omegaconf.dictconfig.DictConfig": "_content",
    "omegaconf.listconfig.ListConfig": "_content",
    **{f"omegaconf.nodes.{name}Node": "_val" for name in _NODES},
}
_MARKS = {  # stand in the metadata of omegaconf containers, not looked at
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "typing.Any",
    *(f"builtins.{name}" for name in ("dict", "list", "str", "int", "float", "bool")),
}
_TRAINING_STATE = ("pytorch_lightning.", "lightning.", "lightning_fabric.")


class CheckpointError(ValueError):
    """A checkpoint is foreign, damaged, unsafe, or of another layout."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds that is of use here.

    Attributes:
        parameters: hyper parameters.
        weights: float32 tensors under their names in the file.
        n_embedding: width of the beads' embedding.
    """

    parameters: HyperParameters
    weights: dict[str, torch.Tensor]
    n_embedding: int


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a published checkpoint; no code in it is run.

    Args:
        path: of the `.ckpt` file.

    Raises:
        CheckpointError: Not such a file, damaged, too large, of another layout, with
            a class in it that is on no list of this module, which is named, or with
            weights other than the hyper parameters say.
        FileNotFoundError: No such file.
    """
    try:
        found = load_pickle(
            path, read_archive(path, largest=LARGEST_FILE), permits=_permits
        )
        with refusing(path):
            return _checkpoint(found)
    except ArchiveError as error:
        raise CheckpointError(str(error)) from error


def _permits(name: str) -> bool:
    return name in _MARKS or name in _HOLDERS or name.startswith(_TRAINING_STATE)


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
        raise ArchiveError(
            f"has hyper parameters that cannot be used: {faults(error)}"
        ) from error
    weights = _weights(found["state_dict"])
    return Checkpoint(parameters, weights, _embedding_width(parameters, weights))


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
    key = _HOLDERS.get(value.name) if isinstance(value, Record) else None
    is_held = key is not None and type(value.state) is dict and key in value.state
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
        if value.dtype not in (torch.float32, torch.float64):  # others would grow
            raise ArchiveError(
                f"must have weights of 4 or 8 bytes, got {value.dtype} in {name:.80}"
            )
        weights[name] = value.to(torch.float32).contiguous()
        if not bool((weights[name].abs() <= LARGEST_WEIGHT).all()):  # NaN is not
            raise ArchiveError(
                f"holds numbers not finite in {name}, or above {LARGEST_WEIGHT:g}"
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


def _embedding_width(
    parameters: HyperParameters, weights: dict[str, torch.Tensor]
) -> int:
    """Compare weights with what the hyper parameters ask for, before it is built."""
    last = f"embedding_gn._decode.{2 * parameters.embedding_gn_hparams.layers}.weight"
    if last not in weights or weights[last].dim() != 2:
        raise ArchiveError(f"lacks the weights {last}")
    width = weights[last].size(0)
    with planning():
        planned = PublishedModel(parameters, width, 1.0)
    shapes = {
        _file_name(name): tuple(tensor.shape)
        for name, tensor in planned.named_parameters()
    }
    missing = sorted(set(shapes) - set(weights))
    spare = sorted(set(weights) - set(shapes))
    if planned.score is None:
        spare = [name for name in spare if not name.startswith("score_gn.")]
    if missing or spare:
        raise ArchiveError(
            "has weights that do not fit its hyper parameters: missing "
            f"{', '.join(missing[:8]) or 'none'}; left over "
            f"{', '.join(spare[:8]) or 'none'}"
        )
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise ArchiveError(
                f"must have weights {name} of shape {shape} by its hyper parameters, "
                f"got {tuple(weights[name].shape)}"
            )
    return width


def build_model(checkpoint: Checkpoint, length_unit: float) -> PublishedModel:
    """Make the networks of a checkpoint.

    Args:
        checkpoint: from `read_checkpoint`.
        length_unit: unit of length of the model, nm: `units.ANGSTROM`, or what the
            unit of a chain model shall be.
    """
    model = PublishedModel(checkpoint.parameters, checkpoint.n_embedding, length_unit)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(checkpoint.weights[_file_name(name)])
    return model.eval().requires_grad_(requires_grad=False)


def _file_name(name: str) -> str:
    for ours, theirs in _FILE_NAMES:
        name = re.sub(ours, theirs, name)
    return re.sub(r"\.rest\.(\d+)\.", lambda place: f".{int(place[1]) + 1}.", name)
