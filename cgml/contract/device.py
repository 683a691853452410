"""The device that networks and states are on."""

from typing import Any, TypeVar

import torch

Parts = TypeVar("Parts", bound=tuple[Any, ...])


def checked_device(name: str | torch.device) -> torch.device:
    """Return a device that this machine and this torch have.

    Args:
        name: "cpu", "cuda", "cuda:1", ...

    Raises:
        ValueError: there is no such device.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(
            f"the device {str(name)!r} cannot be used ({reason}): use 'cpu', or a "
            "torch that has it"
        ) from error
    return device


def to_device(parts: Parts, device: torch.device) -> Parts:
    """Tensors of a named tuple, also those in lists and named tuples, on a device."""
    return type(parts)(*(_moved(part, device) for part in parts))


def _moved(part: Any, device: torch.device) -> Any:
    if isinstance(part, torch.Tensor):
        return part.to(device)
    if isinstance(part, list):
        return [_moved(each, device) for each in part]
    return to_device(part, device)
