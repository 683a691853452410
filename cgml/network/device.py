"""The device that networks and states are on."""

import torch


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
