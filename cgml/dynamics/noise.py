"""Randomness as a pure function of (seed, replica, step)."""

import hashlib
import struct

import torch


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
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"the seed must be an integer of 64 bits, got {seed}")
    key = struct.pack("<4q", seed, replica, step, attempt)
    digest = hashlib.blake2b(key, digest_size=8).digest()
    stream = torch.Generator(device="cpu")
    stream.manual_seed(int.from_bytes(digest, "little") & (2**63 - 1))
    return stream
