"""Files whose contents are no numbers, or nothing at all, are refused by name."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from core_systems import chain

from cgml.formats.arrays import read_reference
from cgml.formats.h5md import read_beads, write_beads
from cgml.formats.trajectory import read, read_pieces
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.ranges import at_least, positive

N, N_FRAMES = 4, 6
GRAPH = MolecularGraph.create("CCCC", [12.011] * N, [[0, 1], [1, 2], [2, 3]])


def frames() -> np.ndarray:
    """Return a straight chain that does not move, nm."""
    line = 0.15 * np.arange(N)[:, None] * [1.0, 0.0, 0.0]
    return np.repeat(line[None], N_FRAMES, axis=0).astype(np.float32)


def write_dump(path: Path, positions: np.ndarray, edge: float = 3.0) -> None:
    """Write a LAMMPS dump."""
    with path.open("w") as file:
        for step, frame in enumerate(positions):
            file.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{N}\n")
            file.write("ITEM: BOX BOUNDS ff ff ff\n" + f"0 {10 * edge}\n" * 3)
            file.write("ITEM: ATOMS id x y z\n")
            for atom, (x, y, z) in enumerate(10.0 * frame, 1):
                file.write(f"{atom} {x} {y} {z}\n")


def write_xtc(path: Path, positions: np.ndarray, times=None) -> None:
    """Write an XTC file."""
    from mdtraj.formats import XTCTrajectoryFile

    times = np.arange(len(positions)) if times is None else np.asarray(times)
    with XTCTrajectoryFile(str(path), "w") as file:
        file.write(positions, time=times.astype(np.float32))


def write_dcd(path: Path, positions: np.ndarray) -> None:
    """Write a DCD file."""
    from mdtraj.formats import DCDTrajectoryFile

    with DCDTrajectoryFile(str(path), "w") as file:
        file.write(10.0 * positions)


def write_trr(path: Path, positions: np.ndarray) -> None:
    """Write a TRR file."""
    from mdtraj.formats import TRRTrajectoryFile

    with TRRTrajectoryFile(str(path), "w") as file:
        file.write(positions, time=np.arange(len(positions), dtype=np.float32))


WRITERS = {".lammpstrj": write_dump, ".dcd": write_dcd, ".trr": write_trr}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n_frames", [None, 2])
def test_positions_that_are_no_numbers(tmp_path, suffix, value, n_frames):
    """File, frame and atom are named, also behind the first pieces."""
    positions = frames()
    positions[3, 2, 1] = value
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, positions)
    with pytest.raises(ValueError, match="must be finite") as caught:
        list(read_pieces(path, GRAPH, n_frames=n_frames, time_step=1.0))
    assert path.name in str(caught.value)
    places = "atom 3 at step 3", "frame 3 of atom or bead 2"
    assert any(place in str(caught.value) for place in places)


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ([0, 1, 2, 2, 3, 4], r"a.xtc has 2 ps in frame 3 after 2 ps"),
        ([5, 5, 5, 5, 5, 5], r"a.xtc has 5 ps in frame 1 after 5 ps"),
        ([0, 1, np.nan, 3, 4, 5], r"a.xtc has nan in frame 2"),
        ([0, 1, 2, 3, 4, np.inf], r"a.xtc has inf in frame 5"),
    ],
)
@pytest.mark.parametrize("n_frames", [None, 3])
def test_times_that_do_not_go_on(tmp_path, times, text, n_frames):
    path = tmp_path / "a.xtc"
    write_xtc(path, frames(), times)
    with pytest.raises(ValueError, match=text):
        list(read_pieces(path, GRAPH, n_frames=n_frames))
    assert len(read(path, GRAPH, time_step=2.0).times) == N_FRAMES  # the way out


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_boxes_that_are_no_numbers(tmp_path, value):
    from mdtraj.formats import XTCTrajectoryFile

    boxes = np.repeat(3.0 * np.eye(3, dtype=np.float32)[None], N_FRAMES, axis=0)
    boxes[4, 1, 1] = value
    with XTCTrajectoryFile(str(tmp_path / "a.xtc"), "w") as file:
        file.write(frames(), time=np.arange(N_FRAMES, dtype=np.float32), box=boxes)
    with pytest.raises(ValueError, match=rf"a\.xtc has {value} in frame 4"):
        read(tmp_path / "a.xtc", GRAPH)


@pytest.mark.parametrize("time_step", [np.nan, np.inf, 0.0, -1.0])
def test_time_steps_that_are_none(tmp_path, time_step):
    write_xtc(tmp_path / "a.xtc", frames())
    with pytest.raises(ValueError, match="time_step must be positive"):
        read(tmp_path / "a.xtc", GRAPH, time_step=time_step)


def test_no_frames(tmp_path):
    (tmp_path / "a.lammpstrj").write_text("")
    write_xtc(tmp_path / "a.xtc", frames())
    (tmp_path / "b.xtc").write_bytes(b"")
    for name in ("a.lammpstrj", "b.xtc"):
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name, GRAPH, time_step=1.0)


ARRAYS = {
    "x": np.zeros((2, 5, 4, 3), dtype=np.float32),
    "types": np.zeros((2, 8), dtype=int),
    "rg2": np.ones((2, 5)),
    "x0": np.zeros((2, 8, 3)),
    "meta": np.array('{"frame": 10.0, "group": 2}'),
}


def spoilt(name: str, value: float) -> np.ndarray:
    """Return one of the arrays with a number that is none."""
    array = ARRAYS[name].copy()
    array.reshape(-1)[-1] = value
    return array


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"x": spoilt("x", np.nan)}, r"chain 1, has nan in frame 4 of atom or bead 3"),
        ({"x": spoilt("x", -np.inf)}, "chain 1, has -inf in frame 4"),
        ({"rg2": spoilt("rg2", np.nan)}, "rg2 must be finite"),
        ({"x0": spoilt("x0", np.inf)}, "x0 must be finite"),
        ({"x": ARRAYS["x"][:0]}, r"x of shape .* one frame or more is required"),
        ({"x": ARRAYS["x"][:, :0]}, r"x of shape .* one frame or more is required"),
        ({"x": ARRAYS["x"][0]}, r"x of shape \(n_chains, n_frames, n, 3\)"),
        ({"types": ARRAYS["types"][:1]}, "types of shape"),
        ({"types": ARRAYS["types"][0]}, "types of shape"),
        ({"rg2": ARRAYS["rg2"][:, :2]}, r"rg2 of shape \(2, 5\)"),
        ({"x0": ARRAYS["x0"][:, :2]}, r"x0 of shape \(2, 8, 3\)"),
        ({"meta": np.array('{"frame": NaN, "group": 2}')}, "frame must be positive"),
        ({"meta": np.array('{"frame": 1e999, "group": 2}')}, "frame must be positive"),
        ({"meta": np.array('{"frame": -1, "group": 2}')}, "frame must be positive"),
        ({"meta": np.array('{"frame": true, "group": 2}')}, "frame must be a number"),
        ({"meta": np.array('{"frame": 1, "group": true}')}, "group must be a number"),
        ({"meta": np.array('{"frame": 1, "group": 0}')}, "group must be 1 or more"),
        ({"meta": np.array('{"frame": 1, "group": Infinity}')}, "its meta is no JSON"),
    ],
)
def test_arrays_that_make_no_sense(tmp_path, changes, text):
    path = tmp_path / "a.npz"
    np.savez(path, **ARRAYS | changes)
    with pytest.raises(ValueError, match=text) as caught:
        read_reference(path)
    assert "a.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("position/value", np.nan, "positions must be finite, .* in frame 5"),
        ("position/time", np.nan, "times must be finite, .* in frame 5"),
        ("position/time", np.inf, "times must be finite, .* in frame 5"),
        ("position/time", -1.0, "increasing times are required, frame 5 has -1 ps"),
    ],
)
def test_bead_frames_that_are_no_numbers(tmp_path, name, value, text):
    path, mapping = tmp_path / "a.h5md", chain("ABCDABCD")
    times = np.arange(N_FRAMES, dtype=np.float64)
    write_beads(path, BeadTrajectory(mapping, frames(), times, name="a"))
    with h5py.File(path, "r+") as file:
        file[f"particles/beads/{name}"][-1] = value
    with pytest.raises(ValueError, match=text) as caught:
        read_beads(path)
    assert "a.h5md" in str(caught.value)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, -np.inf, 1e400])
def test_numbers_that_are_not_positive(value):
    with pytest.raises(ValueError, match=r"length must be positive.*, got .* nm"):
        positive(value, "length", "nm")


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_true_is_no_number(value):
    """Python takes it for 1."""
    with pytest.raises(ValueError, match=f"length must be a number, got {value}"):
        positive(value, "length", "nm")


@pytest.mark.parametrize("value", [1, -1, 2.5, "3", None, True, np.nan])
def test_numbers_that_are_no_count(value):
    with pytest.raises(ValueError, match="n must be"):
        at_least(value, 2, "n")


def test_numbers_that_are_good():
    assert positive(0.5, "length") == 0.5
    assert at_least(2, 2, "n") == 2
    assert at_least(np.int64(3), 2, "n") == 3
