"""Checkpoints of a training run: written whole, read without running them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from cgml.archive import ArchiveError, read_archive
from cgml.files import replacing
from cgml.unpickling import load_pickle

WEIGHTS = "state_dict"  # the averaged ones
BEST, SPEC, PLAN = "best", "spec", "plan"  # see keeper.py
FINITE = (WEIGHTS, "current_model_state", "optimizer_states", BEST)
"""Parts of a checkpoint whose tensors are to compute with; scores may be infinite."""


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint of a training run: plain containers and tensors on the CPU.

    Args:
        path: of the `.ckpt` file.

    Raises:
        ArchiveError: Cut, changed, foreign, or with weights that are not finite; one
            line that names the file.
        FileNotFoundError: No such file.
    """
    try:
        content = load_pickle(path, read_archive(path), permits=lambda _: False)
        if not isinstance(content, dict) or type(content.get(WEIGHTS)) is not dict:
            raise ArchiveError(f"{path} is not a checkpoint of a training run")
        for part in FINITE:
            for name, values in _tensors(content.get(part), part):
                if not bool(torch.isfinite(values).all()):
                    raise ArchiveError(f"{path} holds numbers not finite in {name}")
    except ArchiveError as error:
        raise ArchiveError(
            f"{error}; delete it to train from the beginning, or export another one"
        ) from error
    return content


def _tensors(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors in some containers, with their place, each container once."""
    todo, seen = [(name, value)], set()
    for place, item in todo:  # grows as it goes
        if isinstance(item, torch.Tensor):
            yield place, item
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            pairs = item.items() if isinstance(item, dict) else enumerate(item)
            todo += [(f"{place[:200]}.{key}", below) for key, below in pairs]


class WholeFileCheckpoints(TorchCheckpointIO):
    """Checkpoints are written beside and renamed, and read by `read_checkpoint`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write whole or not at all."""
        del storage_options
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: Any = None
    ) -> dict[str, Any]:
        """Read to the CPU; whoever asks moves it from there."""
        del map_location, weights_only
        return read_checkpoint(path)
