"""Randomness as a pure function of (seed, replica, step)."""

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from cgml import units
from cgml.spec import BaseSpec


class Noise(NamedTuple):
    """Standard normals of one step."""

    draws: torch.Tensor  # (n_draws, n_beads, 3) float32, for the sampler
    kicks: torch.Tensor  # (n_molecules, 3) float64, for the centres of mass


class Source:
    """Draws the noise of some replicas: for each what it would draw alone.

    Args:
        seed: seed of the run.
        replica_ids: number of each replica.
        sizes: beads of each replica.
        n_molecules: molecules of each replica.
        device: where the numbers go.

    Raises:
        ValueError: The seed is no integer of 64 bits.
    """

    def __init__(
        self,
        seed: int,
        replica_ids: Sequence[int],
        sizes: Sequence[int],
        n_molecules: Sequence[int],
        device: torch.device,
    ) -> None:
        self.seed, self._device = checked_seed(seed), device
        self._replicas = list(zip(replica_ids, sizes, n_molecules, strict=True))

    def draw(self, n_draws: int, steps: torch.Tensor, attempts: Sequence[int]) -> Noise:
        """Noise of one step of all replicas, one after the other.

        Args:
            n_draws: normals for each coordinate of a bead.
            steps: (n_replicas,) number of the step.
            attempts: number of the redraw of each replica.
        """
        draws, kicks = [], []
        for (replica, n_beads, n_molecules), step, attempt in zip(
            self._replicas, steps.tolist(), attempts, strict=True
        ):
            stream = generator(self.seed, replica, step, attempt)
            draws.append(torch.randn((n_draws, n_beads, 3), generator=stream))
            kicks.append(
                torch.randn((n_molecules, 3), generator=stream, dtype=torch.float64)
            )
        return Noise(
            torch.cat(draws, dim=1).to(self._device), torch.cat(kicks).to(self._device)
        )


def kick_deviation(spec: BaseSpec, masses: torch.Tensor) -> torch.Tensor:
    """Step of each molecule's centre of mass per coordinate, (n_molecules, 1) nm.

    Einstein: variance 2 kT t / (M friction); zero where the network moves it.

    Args:
        spec: of the model.
        masses: (n_molecules, 1) Da.
    """
    if spec.friction is None:
        return torch.zeros_like(masses)
    energy = units.thermal_energy(spec.temperature)
    return (2.0 * energy * spec.time_step / (masses * spec.friction)).sqrt()


def checked_seed(seed: object) -> int:
    """Return a seed that is one.

    Raises:
        ValueError: It is no integer of 64 bits.
    """
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        number = int(seed)
        if -(2**63) <= number < 2**63:
            return number
    raise ValueError(f"the seed must be an integer of 64 bits, got {seed!r}")


def generator(seed: int, replica: int, step: int, attempt: int = 0) -> torch.Generator:
    """A fresh stream that depends on its arguments alone.

    No state is carried from step to step: a restart needs no generator state, a
    replica alone draws what it draws inside a batch, and the global stream of torch
    is not touched.

    Args:
        seed: seed of the run.
        replica: number of the replica.
        step: number of the model step.
        attempt: number of the redraw within the step.

    Returns:
        A CPU generator (noise is drawn on the CPU, so that devices agree).

    Raises:
        ValueError: The seed is no integer of 64 bits.
    """
    key = struct.pack("<4q", checked_seed(seed), replica, step, attempt)
    digest = hashlib.blake2b(key, digest_size=8).digest()
    stream = torch.Generator(device="cpu")
    stream.manual_seed(int.from_bytes(digest, "little") & (2**63 - 1))
    return stream
