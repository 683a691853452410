"""Intervals of a long run on disk: frames, and the state after the last of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray

from cgml.dynamics.guards import Trip
from cgml.dynamics.propagator import State
from cgml.files import replacing
from cgml.npz import read_arrays
from cgml.runs.soundness import BEFORE, DIGEST, Layout, digest_of, keep_sound, stops_of

OWNER = "owner"


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

    def guard_trips(self) -> list[dict[str, int]]:
        """How often each guard tripped since the start, one entry per replica."""
        trips: list[dict[str, int]] = json.loads(str(self._read("guards")))
        return trips

    def stops(self) -> list[Trip | None]:
        """Why replicas are stopped, one entry per replica; None: it goes on."""
        return stops_of({"stops": self._read("stops")})

    def _read(self, key: str) -> NDArray[Any]:
        found = read_arrays(self.path, {key})
        if key not in found:
            raise ValueError(f"{self.path} holds no {key}: run the same command again")
        return found[key]


def find_parts(folder: Path) -> list[Part]:
    """Parts in a folder, in order."""
    paths = sorted(folder.glob("[0-9]*.npz"))
    return [Part(int(path.stem), path) for path in paths if path.stem.isdecimal()]


def count_frames(folder: Path) -> int:
    """Frames of each replica in the parts of a folder, as the last one says."""
    parts = find_parts(folder)
    if not parts:
        return 0
    try:
        return parts[-1].first + len(parts[-1].frames(0))
    except ValueError:  # it is damaged, and will be computed again
        return parts[-1].first


class PartWriter:
    """Writes the parts of a folder; a later writer of the same folder stops this one.

    A process that was thought dead, and one that took its work over, thus never mix
    their parts.

    Args:
        folder: of the parts, made if need be.
        layout: what they are like.

    Attributes:
        parts: those that are sound, in order; others are deleted.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder = folder
        self._layout = layout
        self._token = uuid4().hex
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / OWNER) as temporary:
            temporary.write_text(self._token, encoding="utf-8")
        found = [part.path for part in find_parts(folder)]
        kept, self._before = keep_sound(found, layout)
        self.parts = [Part(int(path.stem), path) for path in kept]

    def write(
        self,
        first: int,
        states: Sequence[State],
        *,
        radii: NDArray[np.float64] | None,
        guard_trips: Sequence[dict[str, int]],
        stops: Sequence[Trip | None],
    ) -> None:
        """Write an interval, whole or not at all.

        Args:
            first: number of the first frame.
            states: after each frame, at least one.
            radii: radius of gyration, (n_frames, n_molecules), nm; None: not known.
            guard_trips: since the start of the run, one entry per replica.
            stops: why replicas are stopped; None: it goes on.

        Raises:
            RuntimeError: the folder has another writer by now, or was released.
        """
        self._check_owner()
        last = states[-1]
        arrays: dict[str, NDArray[Any]] = {
            "positions": last.positions.numpy(force=True),
            "displacements": last.displacements.numpy(force=True),
            "n_known": last.n_known.numpy(force=True),
            "step": last.step.numpy(force=True),
            "guards": np.array(json.dumps(guard_trips)),
            "stops": np.array(json.dumps([stop and asdict(stop) for stop in stops])),
        }
        if radii is not None:
            arrays["radii"] = radii
        frames = np.stack([state.positions.numpy(force=True) for state in states])
        for number, beads in enumerate(self._layout.slices):
            arrays[f"frames_{number}"] = frames[:, beads].astype(np.float32)
        arrays[BEFORE] = np.array(self._before)
        digest = digest_of(arrays)
        arrays[DIGEST] = np.array(digest)
        with replacing(self._folder / f"{first:09d}.npz") as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
        self._before = digest

    def _check_owner(self) -> None:
        path = self._folder / OWNER
        if not path.is_file() or path.read_text(encoding="utf-8") != self._token:
            raise RuntimeError(
                f"another process has taken over the work in {self._folder}, or it was "
                "stopped: nothing more is written here"
            )


def release(folder: Path) -> None:
    """Stop the writer of a folder, wherever it runs, before its next part."""
    (folder / OWNER).unlink(missing_ok=True)
