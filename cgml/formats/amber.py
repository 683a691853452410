"""Trajectories (NetCDF) and restart files (NetCDF or text) of AMBER."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mdtraj.formats import AmberRestartFile
from mdtraj.utils import lengths_and_angles_to_box_vectors
from numpy.typing import NDArray
from scipy.io import netcdf_file  # mdtraj's reader warns that it wants another one

from cgml.formats.format import Frames, LammpsOptions, foreign, real_boxes
from cgml.units import ANGSTROM

_N_BOXES = 1000  # at a time


def pieces(path: Path, n_frames: int, options: LammpsOptions) -> Iterator[Frames]:
    """Read a NetCDF file, n_frames at a time; a restart file is one frame."""
    del options
    with foreign(path, "a NetCDF file of AMBER"), netcdf_file(path) as file:
        times = _array(file, "time").reshape(-1)
        for first in range(0, len(times), n_frames):
            part = slice(first, first + n_frames)
            positions = _array(file, "coordinates", part) * ANGSTROM
            yield Frames(positions.astype("f4"), times[part], _boxes(file, part))


def boxes(path: Path, options: LammpsOptions) -> Iterator[NDArray[np.float64]]:
    """Read the boxes alone, (n, 3, 3) nm at a time; none where the file has none."""
    del options
    with foreign(path, "a NetCDF file of AMBER"), netcdf_file(path) as file:
        for first in range(0, _array(file, "time").size, _N_BOXES):
            found = _boxes(file, slice(first, first + _N_BOXES))
            if found is not None:
                yield found


def restart_pieces(
    path: Path, n_frames: int, options: LammpsOptions
) -> Iterator[Frames]:
    """Read the one frame of a restart file."""
    with path.open("rb") as stream:
        head = stream.read(1 << 12)
    if is_netcdf(head):
        yield from pieces(path, n_frames, options)
        return
    with foreign(path, "a restart file of AMBER"), AmberRestartFile(str(path)) as file:
        positions, times, lengths, angles = file.read()
        box = None if lengths is None else _vectors(lengths, angles)
        yield Frames((positions * ANGSTROM).astype("f4"), times.astype("f8"), box)


def is_netcdf(head: bytes) -> bool:
    """Tell a NetCDF file of AMBER by its first bytes."""
    return head.startswith(b"CDF") and b"AMBER" in head


def _array(
    file: netcdf_file, name: str, part: slice = slice(None)
) -> NDArray[np.float64]:
    """Copy frames of a variable: no file is closed while others look at its bytes."""
    variable = file.variables[name]
    frames = variable.data[part] if variable.isrec else np.asarray(variable.data)[None]
    return np.array(frames, dtype=np.float64)


def _boxes(file: netcdf_file, part: slice) -> NDArray[np.float64] | None:
    if "cell_lengths" not in file.variables:
        return None
    return _vectors(
        _array(file, "cell_lengths", part), _array(file, "cell_angles", part)
    )


def _vectors(
    lengths: NDArray[np.float64], angles: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Turn lengths and angles, (n, 3), Angstrom and degrees, into vectors, nm."""
    if not lengths.all():
        return None
    vectors = lengths_and_angles_to_box_vectors(*(lengths * ANGSTROM).T, *angles.T)
    return real_boxes(np.stack(vectors, axis=1))
