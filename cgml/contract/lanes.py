"""Numbers in whole vector registers: bits that do not depend on a batch."""

import torch
from torch import nn

LANES = 32  # numbers or rows of a whole register, whatever the processor


def to_lanes(values: torch.Tensor, lanes: int = LANES) -> torch.Tensor:
    """Flatten and pad to whole vector registers.

    Torch takes exp, log and their like for whole registers from one library and for
    the rest of an array from another: the last bit of a number would depend on where
    it lies in the batch. Padded, a replica alone gives the bits it gives in a batch.
    Not needed where rows are multiples of 32 wide.
    """
    flat = values.reshape(-1)
    return nn.functional.pad(flat, (0, (lanes - flat.size(0) % lanes) % lanes))


def from_lanes(lanes: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Undo `to_lanes`: the first numbers, in the shape of `like`."""
    return lanes[: like.numel()].view(like.shape)
