"""What a run needs to go on, and the checks of what users give for it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class State:
    """Everything a run needs to go on.

    Attributes:
        positions: (n_beads, 3) float64 nm, unwrapped; all replicas one after the
            other.
        displacements: (n_history, n_beads, 3) float64 nm, newest first; zero where
            not known.
        n_known: (n_replicas,) int64 number of true displacements.
        step: (n_replicas,) int64 steps done; selects the random numbers.
    """

    positions: torch.Tensor
    displacements: torch.Tensor
    n_known: torch.Tensor
    step: torch.Tensor


def at_rest(positions: torch.Tensor, n_history: int, n_replicas: int) -> State:
    """Positions (n_beads, 3) of which nothing earlier is known."""
    return State(
        positions=positions,
        displacements=positions.new_zeros(n_history, *positions.shape),
        n_known=torch.zeros(n_replicas, dtype=torch.int64),
        step=torch.zeros(n_replicas, dtype=torch.int64),
    )


def checked(
    values: ArrayLike | torch.Tensor, shape: tuple[int, ...], name: str, why: str
) -> torch.Tensor:
    """Finite numbers of the required shape, float64 on the CPU.

    Args:
        values: as given by a user.
        shape: required.
        name: of the values, for the error text.
        why: what asks for that shape, for the error text.

    Raises:
        ValueError: The shape is another one, or a number is not finite.
    """
    array = np.array(_on_cpu(values), dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape} {why}, got {array.shape}")
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(f"{name} must be finite, {name}{list(where)} = {array[where]}")
    return torch.from_numpy(array)


def counts(
    values: ArrayLike | torch.Tensor, n: int, name: str, largest: int
) -> torch.Tensor:
    """Whole numbers from 0 to `largest`, (n,) int64.

    Raises:
        ValueError: They are not; all are named.
    """
    numbers = np.broadcast_to(_on_cpu(values), (n,))
    whole = numbers.astype(np.int64)
    if ((whole != numbers) | (whole < 0) | (whole > largest)).any():
        raise ValueError(
            f"{name} must be whole numbers from 0 to {largest}, got {numbers.tolist()}"
        )
    return torch.from_numpy(whole)


def _on_cpu(values: ArrayLike | torch.Tensor) -> ArrayLike:
    """Take arrays of numpy and torch alike."""
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else values
