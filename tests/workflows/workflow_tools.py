"""Small inputs of whole workflows, and the command line as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
N_ATOMS, SPACING = 20, 10.0


def write_chains(
    path: Path, n_chains: int, n_frames: int, seed: int, n_atoms: int = N_ATOMS
) -> Path:
    """Write Gaussian chains with a memory, in the reference layout."""
    stream = np.random.default_rng(seed)
    bonds = 0.6 * stream.normal(size=(n_chains, n_atoms, 3))
    frames = np.empty((n_chains, n_frames, n_atoms, 3), dtype=np.float32)
    for frame in range(n_frames):
        fresh = 0.6 * stream.normal(size=bonds.shape)
        bonds = 0.9 * bonds + np.sqrt(1.0 - 0.9**2) * fresh
        frames[:, frame] = np.cumsum(bonds, axis=1)
    frames -= frames.mean(axis=2, keepdims=True)
    np.savez(
        path,
        x=frames,
        types=stream.integers(0, 4, (n_chains, n_atoms)),
        rg2=(frames**2).sum(axis=-1).mean(axis=-1),
        x0=frames[:, 0],
        meta=np.array(json.dumps({"frame": SPACING, "group": 1})),
    )
    return path


def command(*arguments: object) -> list[str]:
    """Return the command line for a process of its own."""
    return [sys.executable, "-m", "cgml", *(str(item) for item in arguments)]


def environment() -> dict[str, str]:
    """Return the environment of such a process."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def in_process(
    *arguments: object, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, in a folder or in this one."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
