"""Parts of a run on disk: each whole, each the one that follows the one before it."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.dynamics.guards import Trip
from cgml.npz import read_arrays

LOGGER = logging.getLogger(__name__)

DIGEST, BEFORE = "digest", "before"
Arrays = dict[str, NDArray[Any]]

_BROKEN = (
    *(ValueError, LookupError, TypeError, ArithmeticError),
    *(RecursionError, AttributeError),
)
"""What damaged contents make the checks raise."""


@dataclass(frozen=True)
class Layout:
    """What the parts of a folder are like.

    Attributes:
        slices: beads of each replica.
        n_history: displacements that a state holds.
        n_radii: molecules whose radius is known; 0: of none.
        stride: model steps between frames.
        origin: tells this run and these paths from others.
    """

    slices: Sequence[slice]
    n_history: int
    n_radii: int
    stride: int
    origin: str

    def shapes(self, n: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> type and shape of the numbers of a part of n frames."""
        n_replicas, n_beads = len(self.slices), self.slices[-1].stop
        counts = ("<i8", (n_replicas,))
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            "positions": ("<f8", (n_beads, 3)),
            "displacements": ("<f8", (self.n_history, n_beads, 3)),
            "n_known": counts,
            "step": counts,
        }
        for number, own in enumerate(self.slices):
            shapes[f"frames_{number}"] = ("<f4", (n, own.stop - own.start, 3))
        if self.n_radii:
            shapes["radii"] = ("<f8", (n, self.n_radii))
        return shapes


def digest_of(arrays: Arrays) -> str:
    """Checksum (sha256) of all arrays but the one that holds it."""
    digest = hashlib.sha256()
    for name in sorted(arrays.keys() - {DIGEST}):
        values = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def stops_of(arrays: Arrays) -> list[Trip | None]:
    """Why replicas are stopped, one entry per replica; None: it goes on."""
    found = json.loads(str(arrays["stops"]))
    return [None if item is None else Trip(**item) for item in found]


def keep_sound(paths: Sequence[Path], layout: Layout) -> tuple[list[Path], str]:
    """Find the parts that are whole and follow one another; delete all others.

    What is deleted is computed again, to the same bits.

    Args:
        paths: of the parts, in order.
        layout: what they must be like.

    Returns:
        The sound parts, and the checksum of the last of them.
    """
    first, before, is_old = 0, layout.origin, True
    for place, path in enumerate(paths):
        try:
            arrays = read_arrays(path)
            is_old = is_old and DIGEST not in arrays  # of a version without checksums
            if int(path.stem) != first:
                raise ValueError(f"it begins at frame {path.stem}, not at {first}")
            n = _check(arrays, layout, first, None if is_old else before)
        except _BROKEN as error:
            LOGGER.warning(
                "%s does not go on where the part before it ended (%s): the run goes "
                "back to its frame %d and computes the rest again, to the same bits",
                *(path, " ".join(str(error).split())[:200], first),
            )
            for other in paths[place:]:
                other.unlink()
            return list(paths[:place]), before
        first, before = first + n, digest_of(arrays)
    return list(paths), before


def _check(arrays: Arrays, layout: Layout, first: int, before: str | None) -> int:
    """Refuse a part that does not follow; return its number of frames."""
    if before is not None:
        if str(arrays[DIGEST]) != digest_of(arrays):
            raise ValueError("its checksum is another")
        if str(arrays[BEFORE]) != before:
            raise ValueError("it followed another part or belongs to another run")
    n = len(arrays["frames_0"])
    for name, (kind, shape) in layout.shapes(n).items():
        found = arrays[name]
        if (found.dtype.str, found.shape) != (kind, shape) or not n:
            raise ValueError(
                f"{name} must be {kind} of shape {shape}, got {found.dtype.str} of "
                f"{found.shape}"
            )
        if name != "radii" and not np.isfinite(found).all():
            raise ValueError(f"{name} must be finite")
    _check_end(arrays, layout, layout.stride * (first + n))
    return n


def _check_end(arrays: Arrays, layout: Layout, last: int) -> None:
    """Refuse a state that is not that after the last frame, at a step."""
    stops, trips = stops_of(arrays), json.loads(str(arrays["guards"]))
    if len(stops) != len(layout.slices) or len(trips) != len(layout.slices):
        raise ValueError("what guards did is not said of each replica")
    counts = [n for own in trips for n in own.values()]
    if not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError("it counts what guards did in no whole numbers")
    known = arrays["n_known"]
    if not ((known >= 0) & (known <= layout.n_history)).all():
        raise ValueError(f"its states know {known.tolist()} displacements")
    steps = [last if stop is None else stop.step - 1 for stop in stops]
    if arrays["step"].tolist() != steps or max(steps) > last:
        raise ValueError(f"its steps are {arrays['step'].tolist()}, not {steps}")
    for number, own in enumerate(layout.slices):
        ended = arrays["positions"][own].astype(np.float32)
        if not np.array_equal(arrays[f"frames_{number}"][-1], ended):
            raise ValueError("its state is not that after its last frame")
