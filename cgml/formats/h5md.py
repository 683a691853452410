"""Bead frames in the H5MD 1.1 layout, with the mapping inside.

| place in the file | content |
|---|---|
| /particles/beads/position, box, mass | frames, nm and ps; box vectors by frame |
| /connectivity/bonds | bead indices, (n_bead_bonds, 2) |
| /observables/NAME | one value per frame |
| /cgml | name, mapping, summary, rotation times (JSON), atoms of the first frame |

References:
    de Buyl, Colberg and Höfling, Comput. Phys. Commun. 185, 1546 (2014).
"""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cgml.files import existing, replacing
from cgml.formats.format import check_finite, reading
from cgml.formats.hdf5 import dataset, opened
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.molecules.summary import Summary, describe, with_rest
from cgml.spec import Rotation

VERSION = 1
"""Version of the group /cgml."""

_CHUNK = 1 << 18  # bytes of a chunk on disk, about


class Writer:
    """Writes an H5MD file frame by frame."""

    def __init__(
        self,
        path: Path,
        mapping: Mapping,
        box: NDArray[np.float64] | None,
        name: str = "",
    ) -> None:
        """Open the file; box: row vectors, (3, 3) nm; None for open boundaries."""
        self._file = h5py.File(path, "w")
        self._mapping, self._box = mapping, box
        _write_head(self._file, mapping, name)
        beads = self._file.create_group("particles/beads")
        beads["mass"] = mapping.bead_masses
        beads["mass"].attrs["unit"] = "Da"
        edges = beads.create_group("box")
        edges.attrs["dimension"] = 3
        edges.attrs["boundary"] = ["none" if box is None else "periodic"] * 3
        self._position = _element(beads, "position", (mapping.n_beads, 3), "f4", "nm")
        if box is not None:
            self._edges = _element(edges, "edges", (3, 3), "f8", "nm", self._position)
        bonds = self._file.create_dataset(
            "connectivity/bonds", data=mapping.bead_bonds.reshape(-1, 2)
        )
        bonds.attrs["particles_group"] = beads.ref

    def append(self, positions: NDArray[Any], times: NDArray[np.float64]) -> None:
        """Write frames, (n_frames, n_beads, 3) nm, at times, (n_frames,) ps."""
        start = self._position["value"].shape[0]
        stop = start + len(positions)
        columns = {"value": positions, "time": times, "step": np.arange(start, stop)}
        for key, values in columns.items():
            self._position[key].resize(stop, axis=0)
            self._position[key][start:] = values
        if self._box is not None:
            self._edges["value"].resize(stop, axis=0)
            self._edges["value"][start:] = self._box

    def finish(
        self,
        mapping: Mapping,
        observables: dict[str, NDArray[Any]],
        first_atoms: NDArray[np.float32] | None,
        scaling: float = 0.0,
        rotation: Sequence[Rotation] = (),
    ) -> None:
        """Write what stands beside the frames of a `BeadTrajectory`, and a summary."""
        for name, values in observables.items():
            group = self._file.create_group(f"observables/{name}")
            group["value"] = values
            group["step"], group["time"] = (
                self._position["step"],
                self._position["time"],
            )
        extra = self._file["cgml"]
        if first_atoms is not None:
            extra["first_atoms"] = first_atoms
        times, name = self._position["time"][:], str(extra.attrs["name"])
        found = describe(mapping, name, times, self._box, first_atoms)
        if mapping is not self._mapping:
            del extra["mapping"]
            extra["mapping"] = mapping.to_json()
        extra.attrs["box_scaling"] = scaling
        if rotation:
            extra["rotation"] = json.dumps([row.model_dump() for row in rotation])
        found = with_rest(found, scaling, rotation)
        extra["summary"] = json.dumps(found.as_json())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_beads(path: Path | str, trajectory: BeadTrajectory) -> None:
    """Write bead frames to an H5MD file, whole or not at all."""
    write_pieces(path, iter([trajectory]))


def write_pieces(path: Path | str, pieces: Iterator[BeadTrajectory]) -> Mapping:
    """Write bead frames as they come, at least one piece, as `write_beads`.

    Box, name and first atoms are those of the first piece; the mapping, which is
    returned, and rotation times are those of the last: they know all frames.
    """
    last = first = next(pieces)
    observables: dict[str, list[NDArray[Any]]] = {
        name: [] for name in first.observables
    }
    with replacing(path) as temporary:
        writer = Writer(temporary, first.mapping, first.box, first.name)
        try:
            for piece in chain([first], pieces):
                writer.append(piece.positions, piece.times)
                last = piece
                for name, values in observables.items():
                    values.append(piece.observables[name])
            joined = {name: np.concatenate(own) for name, own in observables.items()}
            rest = first.first_atoms, first.scaling, last.rotation
            writer.finish(last.mapping, joined, *rest)
        finally:
            writer.close()
    return last.mapping


def read_frames(
    path: Path, recipe: Recipe | None, n_frames: int | None
) -> Iterator[BeadTrajectory]:
    """Read the one system of a file; its beads are there already."""
    del recipe
    yield read_beads(path, n_frames=n_frames)


def read_beads(path: Path | str, *, n_frames: int | None = None) -> BeadTrajectory:
    """Read bead frames that `write_beads` or a run wrote, all or the first n_frames.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a file, a truncated one, or one of a newer version.
    """
    path = existing(path)
    with reading(path), opened(path) as file:
        return _read(file, path, slice(n_frames))


def read_summary(path: Path) -> tuple[Mapping, Summary]:
    """Return mapping and summary of the system in a file; frames are not read."""
    first = read_beads(path, n_frames=1)
    with reading(path), opened(path) as file:
        times = dataset(file, "particles/beads/position/time", "iuf")[:]
        check_finite(path, 0, times=times)
    found = describe(first.mapping, first.name, times, first.box, first.first_atoms)
    return first.mapping, with_rest(found, first.scaling, first.rotation)


def _read(file: h5py.File, path: Path, part: slice) -> BeadTrajectory:
    """Read an open file."""
    if "cgml" not in file or "particles/beads/position" not in file:
        raise ValueError(
            f"{path} is not a file of bead frames: its groups are {sorted(file)}, "
            "required are cgml and particles/beads; make one with `cgml prepare`"
        )
    version = int(file["cgml"].attrs["version"])
    if version > VERSION:
        raise ValueError(
            f"bead frames of version {VERSION} are required, {path} has version "
            f"{version}: update cgml"
        )
    position, extra = "particles/beads/position", file["cgml"]
    box = None
    if "edges" in file["particles/beads/box"]:
        box = dataset(file, "particles/beads/box/edges/value", "f")[0]
    observables = file.get("observables", {})
    content: dict[str, Any] = {
        "mapping": Mapping.from_json(
            dataset(extra, "mapping", "O").asstr()[()], str(path)
        ),
        "positions": dataset(file, f"{position}/value", "f")[part],
        "times": dataset(file, f"{position}/time", "iuf")[part],
        "box": box,
        "name": str(extra.attrs["name"]),
        "observables": {
            name: dataset(observables, f"{name}/value", "biuf")[part]
            for name in observables
        },
        "first_atoms": None,
        "rotation": _rotation(extra),
        "scaling": float(extra.attrs.get("box_scaling", 0.0)),  # none in older files
    }
    if "first_atoms" in extra:
        content["first_atoms"] = dataset(extra, "first_atoms", "f")[()]
        check_finite(path, 0, content["first_atoms"][None])
    if not len(content["times"]):
        raise ValueError(f"{path} holds no frames: one or more are required")
    try:
        check_finite(path, 0, content["positions"], content["times"])
        check_finite(path, 0, boxes=None if box is None else box[None])
        for name, values in content["observables"].items():
            check_finite(f"{name} of {path}", 0, values)
        return BeadTrajectory(**content)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _rotation(extra: h5py.Group) -> tuple[Rotation, ...]:
    """Read rotation times; older files have none."""
    if "rotation" not in extra:
        return ()
    rows = json.loads(dataset(extra, "rotation", "O").asstr()[()])
    return tuple(Rotation.model_validate(row) for row in rows)


def _write_head(file: h5py.File, mapping: Mapping, name: str) -> None:
    """Say what the file is, and how its beads came about."""
    head = file.create_group("h5md")
    head.attrs["version"] = [1, 1]
    head.create_group("author").attrs["name"] = "cgml"
    creator = head.create_group("creator")
    creator.attrs["name"], creator.attrs["version"] = "cgml", str(VERSION)
    extra = file.create_group("cgml")
    extra.attrs["version"], extra.attrs["name"] = VERSION, name
    extra["mapping"] = mapping.to_json()


def _element(
    parent: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    unit: str,
    clock: h5py.Group | None = None,
) -> h5py.Group:
    """Create a time-dependent H5MD element, with times of its own or shared ones."""
    group = parent.create_group(name)
    frames = max(1, _CHUNK // (int(np.prod(shape)) * np.dtype(dtype).itemsize))
    value = group.create_dataset(
        "value", (0, *shape), dtype, maxshape=(None, *shape), chunks=(frames, *shape)
    )
    value.attrs["unit"] = unit
    if clock is not None:
        group["step"], group["time"] = clock["step"], clock["time"]
        return group
    group.create_dataset("step", (0,), "i8", maxshape=(None,), chunks=(1024,))
    times = group.create_dataset("time", (0,), "f8", maxshape=(None,), chunks=(1024,))
    times.attrs["unit"] = "ps"
    return group
