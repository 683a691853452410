"""Safe reading of torch archives that hold containers of omegaconf.

Torch's weights-only loader builds tensors and plain containers; the omegaconf
containers around some settings are replaced by inert stand-ins, so omegaconf is not
needed and nothing in a file runs. Callbacks of the training framework are passed over
in the same way; any other class is refused by its name, wherever it stands.
"""

import pickle
import pickletools
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, Self

import torch

MAX_DEPTH = 4  # of containers in a hyper parameter
CONTAINERS = {"omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"}
NODES = {
    f"omegaconf.nodes.{name}Node"
    for name in ("Any", "String", "Integer", "Float", "Boolean")
}
MARKS = {  # stand in the metadata of omegaconf containers, not looked at
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "typing.Any",
    *(f"builtins.{name}" for name in ("dict", "list", "str", "int", "float", "bool")),
}
TRAINING_STATE = ("pytorch_lightning.", "lightning.", "lightning_fabric.")
_NUMBERS = (
    "Float",
    "Double",
    "Half",
    "BFloat16",
    "Long",
    "Int",
    "Short",
    "Byte",
    "Bool",
)
TENSORS = {  # built by torch's weights-only loader itself
    "collections.OrderedDict",
    "collections.Counter",
    "torch.Size",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor_v2",
    *(f"torch.{name}Storage" for name in _NUMBERS),
    *(f"torch.cuda.{name}Storage" for name in _NUMBERS),
}


class CheckpointError(ValueError):
    """A checkpoint is foreign, damaged, unsafe, or of another layout."""


class _StandIn:
    """Takes the place of a class: keeps the state it is given, does nothing.

    Attributes:
        path: module and name of the class.
        state: what the file says of the object.
    """

    path = ""
    state: Any = None

    def __new__(cls, *_: Any) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _empty(*_: Any) -> dict[Any, Any]:
    """Take the place of collections.defaultdict, with no factory."""
    return {}


def load_archive(path: Path | str) -> Any:
    """Read what was given to torch.save; no code in the file is run.

    Args:
        path: of the file.

    Returns:
        Tensors and plain containers, with stand-ins in them; see `plain`.

    Raises:
        CheckpointError: No such archive, truncated, or with a class in it that is
            on no list of this module, which is named.
        FileNotFoundError: No such file.
    """
    names = _classes(path)
    known = CONTAINERS | NODES | MARKS
    stand_ins: list[Any] = [(_empty, "collections.defaultdict")]
    for name in sorted(names - TENSORS - {"collections.defaultdict"}):
        if name not in known and not name.startswith(TRAINING_STATE):
            raise CheckpointError(
                f"{path} is refused: it names {name}, which a checkpoint of this kind "
                "does not need; nothing was run"
            )
        stand_ins.append((type("_Named", (_StandIn,), {"path": name}), name))
    try:
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken pickle makes the loader say
        first_line = str(error).strip().split("\n")[0]
        raise CheckpointError(
            f"{path} cannot be read as weights and plain containers: {first_line}"
        ) from error


def _classes(path: Path | str) -> set[str]:
    """Module and name of every class and function that the pickle mentions."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.namelist() if m.endswith("data.pkl")]
            if len(members) != 1:
                raise CheckpointError(
                    f"{path} is not a checkpoint of torch: expected one data.pkl in "
                    f"it, got {len(members)}"
                )
            stream = archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        raise CheckpointError(
            f"{path} is truncated or not a checkpoint: it is no zip file as torch has "
            "written since version 1.6; fetch it anew"
        ) from error
    names, texts = set(), ["?", "?"]
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if "UNICODE" in opcode.name:
                texts.append(str(argument))
            elif opcode.name in ("GLOBAL", "INST"):
                names.add(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                names.add(".".join(texts[-2:]))
    except (ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    return {name.replace("__builtin__.", "builtins.") for name in names}


def plain(path: Path | str, value: Any, where: str, depth: int = 0) -> Any:
    """Replace omegaconf containers by plain ones.

    Args:
        path: of the file, for the error text.
        value: from `load_archive`.
        where: what it is, for the error text.
        depth: levels above.

    Raises:
        CheckpointError: Something in it is neither a number, a text nor a container.
    """
    if depth > MAX_DEPTH:
        raise CheckpointError(
            f"{path} holds hyper parameter {where} more than {MAX_DEPTH} levels deep"
        )
    value = content(value)
    if type(value) in (dict, list, tuple):
        below = value.items() if isinstance(value, dict) else enumerate(value)
        pairs = [
            (key, plain(path, item, f"{where}.{key}", depth + 1)) for key, item in below
        ]
        return dict(pairs) if isinstance(value, dict) else [item for _, item in pairs]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise CheckpointError(
        f"{path} is refused: hyper parameter {where} must be plain numbers, texts and "
        f"containers, got {kind(value)}"
    )


def content(value: Any) -> Any:
    """What an omegaconf container or node holds; anything else as it is."""
    if not isinstance(value, _StandIn):
        return value
    state = value.state
    key = "_content" if value.path in CONTAINERS else "_val"
    if value.path in CONTAINERS | NODES and type(state) is dict and key in state:
        return state[key]
    return value


def kind(value: Any) -> str:
    """Name of the class of a value, or of the class it stands for."""
    if isinstance(value, _StandIn) or (
        isinstance(value, type) and issubclass(value, _StandIn)
    ):
        return value.path
    return type(value).__name__
