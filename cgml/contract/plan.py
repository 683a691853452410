"""Networks as planned: names and shapes of their weights, and no memory for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class _Undrawn(TorchFunctionMode):
    """Networks made in it draw no first weights, which takes 3 s on meta tensors."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Do what is asked, but that."""
        return None if func is nn.init.normal_ else func(*args, **(kwargs or {}))


@contextmanager
def planning() -> Iterator[None]:
    """Networks made in it are plans, to compare the weights of a file with."""
    with torch.device("meta"), _Undrawn():
        yield
