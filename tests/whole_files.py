"""Frames of whole files, as the readers of the formats give them."""

from pathlib import Path

import numpy as np

from cgml.formats.format import Frames, LammpsOptions, Pieces


def whole(
    pieces: Pieces, path: Path, options: LammpsOptions | None = None, n_frames: int = 3
) -> Frames:
    """Read a file n_frames at a time and put the pieces together."""
    parts = list(pieces(path, n_frames, options or LammpsOptions()))
    columns = zip(*(part[:3] for part in parts), strict=True)
    found = [None if c[0] is None else np.concatenate(c) for c in columns]
    return Frames(*found, parts[0].is_unwrapped)
