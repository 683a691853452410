import struct
from pathlib import Path
from typing import Any, Literal

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit
from whole_files import whole

from cgml.formats import dcd
from cgml.formats.format import LammpsOptions
from cgml.formats.trajectory import read
from cgml.molecules.box import reduce
from cgml.molecules.graph import MolecularGraph

BRICK = np.diag([2.0, 3.0, 5.0])
SKEW = np.array([[3.0, 0, 0], [1.4, 2.5, 0], [-1.3, 1.1, 2.0]])


def random_frames(n_frames: int = 7, n: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=30.0, size=(n_frames, n, 3))


def write(path: Path, times: np.ndarray, box: np.ndarray | None = None) -> np.ndarray:
    frames = random_frames(len(times))
    writer = dcd.Writer(path, 5, box)
    writer.append(frames[:2], times[:2])
    writer.append(frames[2:], times[2:])
    writer.close()
    return frames


@pytest.mark.parametrize("box", [None, BRICK, SKEW])
def test_read_is_what_was_written(tmp_path: Path, box: np.ndarray | None) -> None:
    path = tmp_path / "a.dcd"
    frames = write(path, 5.0 * np.arange(7), box)
    content = whole(dcd.pieces, path)
    assert content.positions.dtype == np.float32
    np.testing.assert_allclose(content.positions, frames, rtol=2e-7)
    assert content.times is not None
    assert content.times.tolist() == [0, 5, 10, 15, 20, 25, 30]
    if box is None:
        assert content.boxes is None
    else:
        assert content.boxes is not None
        np.testing.assert_allclose(content.boxes, np.stack([box] * 7), atol=1e-12)


@pytest.mark.parametrize("first", [0.0, 5.0, 2.5, 35.0, 7.0, -10.0, 1e6])
@pytest.mark.parametrize("step", [5.0, 0.002, 0.3, 1e4])
def test_any_clock(tmp_path: Path, first: float, step: float) -> None:
    times = first * step / 5.0 + step * np.arange(4)
    write(tmp_path / "a.dcd", times)
    content = whole(dcd.pieces, tmp_path / "a.dcd")
    np.testing.assert_allclose(content.times, times, rtol=1e-9, atol=1e-9 * step)


def test_one_frame_or_none(tmp_path: Path) -> None:
    write(tmp_path / "a.dcd", np.array([20.0]))
    assert whole(dcd.pieces, tmp_path / "a.dcd").times == pytest.approx([20.0])
    write(tmp_path / "a.dcd", np.zeros(0))
    assert whole(dcd.pieces, tmp_path / "a.dcd").positions.shape == (0, 5, 3)


@pytest.mark.parametrize("box", [None, BRICK, SKEW])
def test_mdtraj_reads_the_same(tmp_path: Path, box: np.ndarray | None) -> None:
    path = tmp_path / "a.dcd"
    frames = write(path, np.arange(7.0), box)
    with mdtraj.formats.DCDTrajectoryFile(str(path)) as file:
        positions, lengths, angles = file.read()
    np.testing.assert_allclose(positions, 10 * frames, rtol=2e-7)
    if box is not None:
        vectors = mdtraj.utils.lengths_and_angles_to_box_vectors(
            *(lengths[0] / 10), *angles[0]
        )
        np.testing.assert_allclose(np.array(vectors), box, atol=1e-5)


@pytest.mark.parametrize("box", [None, SKEW])
def test_files_of_mdtraj_are_read_but_tell_no_time(
    tmp_path: Path, box: np.ndarray | None
) -> None:
    path, frames = tmp_path / "a.dcd", random_frames()
    cell: list[Any] = []
    if box is not None:
        numbers = mdtraj.utils.box_vectors_to_lengths_and_angles(*(10 * box))
        cell = [np.tile(part, (7, 1)) for part in np.split(np.array(numbers), 2)]
    with mdtraj.formats.DCDTrajectoryFile(str(path), "w") as file:
        file.write((10 * frames).astype(np.float32), *[x.astype("f4") for x in cell])
    content = whole(dcd.pieces, path)
    assert content.times is None
    np.testing.assert_allclose(content.positions, frames, rtol=2e-7)
    if box is not None:
        assert content.boxes is not None
        np.testing.assert_allclose(content.boxes[3], box, atol=1e-4)


@pytest.mark.parametrize("box", [None, SKEW])
def test_files_of_openmm(tmp_path: Path, box: np.ndarray | None) -> None:
    topology = app.Topology()
    residue = topology.addResidue("X", topology.addChain())
    for _ in range(5):
        topology.addAtom("A", None, residue)
    if box is not None:
        topology.setPeriodicBoxVectors(box * unit.nanometer)
    frames, path = random_frames(), tmp_path / "a.dcd"
    with path.open("wb") as stream:
        file = app.DCDFile(stream, topology, 0.005 * unit.picosecond, 500, 250)
        for frame in frames:
            file.writeModel([openmm.Vec3(*x) for x in frame] * unit.nanometer)
    content = whole(dcd.pieces, path)
    np.testing.assert_allclose(content.positions, frames, rtol=2e-7)
    assert content.times == pytest.approx(2.5 + 1.25 * np.arange(7), rel=1e-12)
    if box is not None:
        assert content.boxes is not None
        np.testing.assert_allclose(reduce(content.boxes[0]), box, atol=1e-9)


def test_big_endian_and_angles_in_degrees(tmp_path: Path) -> None:
    path = tmp_path / "a.dcd"
    words = [2, 10, 10, 20, 0, 0, 0, 0, 0]
    head = struct.pack(">i4s9if10ii", 84, b"CORD", *words, 2.0, 1, *[0] * 8, 24, 84)
    head += struct.pack(">ii80si", 84, 1, b"title", 84) + struct.pack(">3i", 4, 2, 4)
    cell = struct.pack(">i6di", 48, 20.0, 90.0, 30.0, 90.0, 60.0, 40.0, 48)
    axes = b"".join(struct.pack(">i2fi", 8, 10.0 * k, 5.0, 8) for k in range(3))
    path.write_bytes(head + 2 * (cell + axes))
    content = whole(dcd.pieces, path)
    assert content.positions[1].tolist() == pytest.approx(
        np.array([[0, 1, 2], [0.5, 0.5, 0.5]])
    )
    assert content.times == pytest.approx(np.array([20, 40]) * 0.04888821)
    expected = [[2.0, 0, 0], [0, 3.0, 0], [0, 2.0, 2.0 * np.sqrt(3)]]
    assert content.boxes is not None
    np.testing.assert_allclose(content.boxes[1], expected, atol=1e-12)


def test_x_plor_keeps_the_time_in_double_precision(tmp_path: Path) -> None:
    path = tmp_path / "a.dcd"
    words = [1, 100, 100, 100, 0, 0, 0, 0, 0]
    head = struct.pack("<i4s9id9ii", 84, b"CORD", *words, 0.25, *[0] * 9, 84)
    head += struct.pack("<ii80si", 84, 1, b"title", 84) + struct.pack("<3i", 4, 1, 4)
    path.write_bytes(head + struct.pack("<ifi", 4, 1.0, 4) * 3)
    content = whole(dcd.pieces, path)
    assert content.times == pytest.approx([25 * 0.04888821])
    assert content.boxes is None


def _cut(content: bytes) -> bytes:
    return content[:-10]


def _cut_frame(content: bytes) -> bytes:
    return content[: -3 * (5 * 4 + 8)]


def _cut_head(content: bytes) -> bytes:
    return content[:150]


def _first_mark(content: bytes) -> bytes:
    return content[:276] + b"zzzz" + content[280:]


def _count(content: bytes) -> bytes:
    return content[:264] + b"zzzz" + content[268:]


def _fixed(content: bytes) -> bytes:
    return content[:40] + struct.pack("<i", 3) + content[44:]


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (_cut, r"a.dcd is cut short: .* promises 7 frames, it holds 6 and 74 bytes"),
        (_cut_frame, "promises 7 frames, it holds 6 and 0 bytes"),
        (_cut_head, "cut short inside its header"),
        (_first_mark, "a.dcd is damaged: the records of its frames"),
        (_count, "damaged: no atom count after its title"),
        (_fixed, "fixed atoms or a fourth dimension"),
        (lambda _: b"", "a.dcd is not a DCD file"),
        (lambda _: b"hello world" * 20, "not a DCD file .*hello wo"),
        (lambda content: content.replace(b"CORD", b"VELD"), "not a DCD file of pos"),
        (lambda content: struct.pack("<q", 84) + content[4:], "32-bit record marks"),
    ],
)
def test_damaged_files(tmp_path: Path, damage: Any, match: str) -> None:
    path = tmp_path / "a.dcd"
    write(path, np.arange(7.0))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=match):
        whole(dcd.pieces, path)


def test_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.dcd", np.arange(7.0), SKEW)
    write(tmp_path / "b.dcd", np.arange(7.0), SKEW)
    assert (tmp_path / "a.dcd").read_bytes() == (tmp_path / "b.dcd").read_bytes()


def written_by(path: Path, title: bytes, delta: float) -> Path:
    """A file of 7 frames, 1000 steps apart, with another title and delta."""
    write(path, np.arange(7.0))
    content = bytearray(path.read_bytes())
    struct.pack_into("<2i", content, 12, 0, 1000)
    struct.pack_into("<f", content, 44, delta)
    content[100:180] = title.ljust(80)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("title", "delta", "units", "spacing"),
    [
        (b"Written by LAMMPS", 2.0, None, 2.0),
        (b"REMARKS WRITTEN BY LAMMPS", 0.5, "real", 0.5),
        (b"Written by LAMMPS", 0.002, "metal", 2.0),
        (b"Written by LAMMPS", 0.005, None, None),  # reduced units, or metal
        (b"Created by HOOMD-blue 4", 0.005, None, None),
        (b"REMARKS CREATED BY NAMD", 2.0, None, 97.7764),
        (b"Created by OpenMM", 0.0409, None, 2.0),
    ],
)
def test_times_are_in_the_units_of_who_wrote_them(
    tmp_path: Path,
    title: bytes,
    delta: float,
    units: Literal["real", "metal"] | None,
    spacing: float | None,
) -> None:
    path = written_by(tmp_path / "a.dcd", title, delta)
    content = whole(dcd.pieces, path, LammpsOptions(units=units))
    if spacing is None:
        assert content.times is None
    else:
        assert content.times is not None
        np.testing.assert_allclose(content.times, spacing * np.arange(7), rtol=1e-3)


def test_what_would_tell_the_times(tmp_path: Path) -> None:
    path = written_by(tmp_path / "a.dcd", b"Written by LAMMPS", 0.005)
    graph = MolecularGraph.create("AAAAA", np.ones(5), np.zeros((0, 2), int))
    with pytest.raises(ValueError, match=r"--time-step\), or the units .*--units"):
        read(path, graph)
    assert read(path, graph, time_step=3.0).times[1] == 3.0
    metal = LammpsOptions(units="metal")
    assert read(path, graph, lammps=metal).times[1] == pytest.approx(5.0)
