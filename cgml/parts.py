"""Intervals of a long run on disk: frames, and the state after the last of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from cgml.files import replacing
from cgml.propagator import State


@dataclass(frozen=True)
class Part:
    """One interval; its arrays are read when asked for.

    Attributes:
        first: number of its first frame.
        path: its file.
    """

    first: int
    path: Path

    def frames(self, replica: int) -> NDArray[np.float32]:
        """Positions of one replica, (n_frames, n_beads, 3), nm."""
        frames: NDArray[np.float32] = self._read(f"frames_{replica}")
        return frames

    def radii(self) -> NDArray[np.float64]:
        """Radius of gyration of every molecule, (n_frames, n_molecules), nm."""
        radii: NDArray[np.float64] = self._read("radii")
        return radii

    def state(self) -> State:
        """State after the last frame."""
        return State(
            positions=torch.from_numpy(self._read("positions")),
            displacements=torch.from_numpy(self._read("displacements")),
            n_known=torch.from_numpy(self._read("n_known")),
            step=torch.from_numpy(self._read("step")),
        )

    def guard_counts(self) -> dict[str, int]:
        """How often each guard tripped since the start of the run."""
        counts: dict[str, int] = json.loads(str(self._read("guards")))
        return counts

    def _read(self, key: str) -> NDArray[Any]:
        try:
            with (
                self.path.open("rb") as stream,
                np.load(stream, allow_pickle=False) as arrays,
            ):
                array: NDArray[Any] = arrays[key]
        except (BadZipFile, ValueError, EOFError, KeyError) as error:
            raise ValueError(
                f"{self.path} is damaged ({error}): delete it and the parts after it, "
                "then run the same command again"
            ) from error
        return array


def find_parts(folder: Path) -> list[Part]:
    """Parts in a folder, in order."""
    return [Part(int(path.stem), path) for path in sorted(folder.glob("[0-9]*.npz"))]


def write_part(
    folder: Path,
    first: int,
    states: Sequence[State],
    slices: Sequence[slice],
    *,
    radii: NDArray[np.float64] | None,
    guard_counts: dict[str, int],
) -> None:
    """Write an interval, whole or not at all.

    Args:
        folder: of the parts.
        first: number of the first frame.
        states: after each frame, at least one.
        slices: beads of each replica.
        radii: radius of gyration, (n_frames, n_molecules), nm; None: not known.
        guard_counts: since the start of the run.
    """
    last = states[-1]
    arrays: dict[str, NDArray[Any]] = {
        "positions": last.positions.numpy(force=True),
        "displacements": last.displacements.numpy(force=True),
        "n_known": last.n_known.numpy(force=True),
        "step": last.step.numpy(force=True),
        "guards": np.array(json.dumps(guard_counts)),
    }
    if radii is not None:
        arrays["radii"] = radii
    frames = np.stack([state.positions.numpy(force=True) for state in states])
    for number, beads in enumerate(slices):
        arrays[f"frames_{number}"] = frames[:, beads].astype(np.float32)
    with replacing(folder / f"{first:09d}.npz") as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
