"""The table of formats, and files read piece by piece."""

import os
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from cgml.formats import table
from cgml.formats.format import Format, Frames, LammpsOptions
from cgml.formats.h5md import read_beads
from cgml.formats.pdb import write_topology
from cgml.formats.selection import FrameOptions
from cgml.formats.topology import from_mdtraj
from cgml.formats.trajectory import read, read_pieces, read_topology
from cgml.formats.writer import TrajectoryWriter
from cgml.molecules.box import wrap
from cgml.molecules.frames import coarsen, join
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.training import preparation
from cgml.training.coarsening import Coarsening

pytestmark = pytest.mark.filterwarnings("ignore:.*netCDF4")  # to write, it warns

BOX = np.array([[3.0, 0, 0], [1.4, 2.5, 0], [-1.3, 1.1, 2.0]])
HDF5 = Path(__file__).parents[1] / "data" / "mdtraj.h5"
CUBE = 4.0 * np.eye(3)
N_CHAINS, LENGTH = 4, 15


def topology() -> mdtraj.Topology:
    top = mdtraj.Topology()
    for _ in range(N_CHAINS):
        place = top.add_residue("POL", top.add_chain())
        atoms = [
            top.add_atom(f"C{i}", mdtraj.element.sulfur, place) for i in range(LENGTH)
        ]
        for one, other in pairwise(atoms):
            top.add_bond(one, other)
    return top


GRAPH = from_mdtraj(topology())


def wrapped(n_frames: int, box: np.ndarray = BOX) -> np.ndarray:
    """Chains that wander through the faces of the box, (n_frames, n_atoms, 3)."""
    stream = np.random.default_rng(1)
    shape = (n_frames, N_CHAINS, LENGTH, 3)
    bonds = stream.uniform(-0.3, 0.3, shape)
    drift = np.cumsum(stream.uniform(-0.1, 0.3, (n_frames, N_CHAINS, 1, 3)), axis=0)
    chains = np.cumsum(bonds, axis=2)
    chains += drift - chains.mean(axis=2, keepdims=True)
    return wrap(chains.reshape(n_frames, -1, 3), box)


def save(path: Path, n_frames: int = 23, *, has_box: bool = True) -> Path:
    frames = mdtraj.Trajectory(
        wrapped(n_frames).astype("f4"), topology(), time=5.0 * np.arange(n_frames)
    )
    if has_box:
        frames.unitcell_vectors = np.stack([BOX] * n_frames).astype("f4")
    frames.save(str(path))
    return path


def save_dump(path: Path, n_frames: int = 23) -> Path:
    head = f"ITEM: NUMBER OF ATOMS\n{GRAPH.n_atoms}\nITEM: BOX BOUNDS pp pp pp\n"
    head += 3 * "0 40\n" + "ITEM: ATOMS id x y z\n"
    with path.open("w") as stream:
        for step, frame in enumerate(10.0 * wrapped(n_frames, CUBE)):
            rows = [f"{i + 1} {x} {y} {z}\n" for i, (x, y, z) in enumerate(frame)]
            stream.write(f"ITEM: TIMESTEP\n{step}\n{head}{''.join(rows)}")
    return path


# --- pieces


@pytest.mark.parametrize("n_frames", [1, 4, 22, 23, 99])
@pytest.mark.parametrize("suffix", [".xtc", ".dcd", ".trr", ".nc", ".lammpstrj"])
def test_pieces_are_the_whole(tmp_path: Path, suffix: str, n_frames: int) -> None:
    """Bit by bit, molecules whole over the seams; and so are the beads."""
    path = tmp_path / f"a{suffix}"
    (save_dump if suffix == ".lammpstrj" else save)(path)
    step = 5.0 if suffix in {".dcd", ".lammpstrj"} else None
    whole = read(path, GRAPH, time_step=step)
    pieces = list(read_pieces(path, GRAPH, n_frames=n_frames, time_step=step))
    assert {len(piece.times) for piece in pieces[:-1]} <= {n_frames}
    joined = join(pieces)
    assert whole.positions.tobytes() == joined.positions.tobytes()
    assert whole.times.tobytes() == joined.times.tobytes()
    assert whole.box is not None
    assert joined.name == "a"
    bonds = (
        whole.positions[:, GRAPH.bonds[:, 0]] - whole.positions[:, GRAPH.bonds[:, 1]]
    )
    assert abs(bonds).max() < 0.31  # as they were made: no molecule is cut
    assert abs(np.diff(whole.positions, axis=0)).max() < 3.0  # and none jumps
    mapping = Mapping.from_partition(GRAPH, 5)
    beads = join(coarsen(piece, mapping) for piece in pieces)
    expected = coarsen(whole, mapping)
    assert beads.positions.tobytes() == expected.positions.tobytes()
    assert beads.first_atoms.tobytes() == expected.first_atoms.tobytes()


@pytest.mark.parametrize("n_frames", [1, 5, 12, 13])
def test_pieces_of_hdf5(n_frames: int) -> None:
    masses = {"A1": 1.0, "A2": 2.0}
    pieces = read_pieces(HDF5, HDF5, n_frames=n_frames, masses=masses)
    whole = read(HDF5, HDF5, masses=masses)
    assert join(pieces).positions.tobytes() == whole.positions.tobytes()


def test_the_observable_goes_on_over_pieces(tmp_path: Path) -> None:
    """One molecule: its radius of gyration, the same bits whatever the pieces."""
    path = save(tmp_path / "a.xtc", has_box=False)
    bonds = np.stack([np.arange(59), np.arange(1, 60)], axis=1)
    graph = MolecularGraph.create(["C"] * 60, [12.0] * 60, bonds)
    mapping = Mapping.from_partition(graph, 5)
    expected = coarsen(read(path, graph), mapping).observables["rg2"]
    pieces = read_pieces(path, graph, n_frames=4)
    found = join(coarsen(piece, mapping) for piece in pieces).observables["rg2"]
    np.testing.assert_array_equal(found, expected)


def peak_of_prepare(folder: Path, n_frames: int) -> tuple[int, Path]:
    """Most memory that Python held while preparing, bytes."""
    folder.mkdir()
    path = save(folder / "a.dcd", n_frames)
    save(folder / "a.pdb", 1)
    coarsening = Coarsening(Recipe(5), time_step=5.0)
    tracemalloc.start()
    (written,) = preparation.prepare([path], folder / "a.pdb", folder, coarsening)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, written


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight times the frames take no more memory, but for a few numbers a frame.

    Of both, 94 frames are kept for fragments: every eighth, every 64th.
    """
    monkeypatch.setattr("cgml.formats.trajectory.PIECE", 60 * 50)  # 50 frames
    peak_of_prepare(tmp_path / "first", 100)  # what is imported once
    short, _ = peak_of_prepare(tmp_path / "short", 750)
    long, written = peak_of_prepare(tmp_path / "long", 6000)
    size = (tmp_path / "long" / "a.dcd").stat().st_size
    assert size > 4_000_000
    assert long < short + 0.1 * size
    whole = coarsen(
        read(tmp_path / "long" / "a.dcd", GRAPH, time_step=5.0),
        Mapping.from_partition(GRAPH, 5),
    )
    beads = read_beads(written)
    assert beads.positions.tobytes() == whole.positions.tobytes()
    assert beads.times.tobytes() == whole.times.tobytes()


def test_a_start_reads_the_first_frame_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the file may be missing."""
    path = save(tmp_path / "a.xtc", 40)
    whole = read(path, GRAPH)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not an XTC trajectory, or it is cut"):
        read(path, GRAPH)
    save(tmp_path / "a.pdb", 1)
    (first,) = preparation.read_systems(
        [path], tmp_path / "a.pdb", Coarsening(Recipe(5)), n_frames=1
    )
    assert first.times.tolist() == [0.0]
    expected = coarsen(whole, first.mapping).positions[:1]
    np.testing.assert_array_equal(first.positions, expected)


def test_first_frames_of_beads(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xtc")
    save(tmp_path / "a.pdb", 1)
    (beads,) = preparation.prepare([path], tmp_path / "a.pdb", tmp_path, Coarsening())
    (first,) = preparation.read_systems([beads], None, Coarsening(), n_frames=2)
    whole = read_beads(beads)
    assert first.times.tolist() == [0.0, 5.0]
    assert first.positions.tobytes() == whole.positions[:2].tobytes()
    free = FrameOptions(is_open=True).of_beads(whole, beads)
    boxed = FrameOptions(box=CUBE).of_beads(free, beads)
    assert free.box is None
    assert np.array_equal(boxed.box, CUBE)
    with pytest.raises(ValueError, match="boxes given for files of atoms"):
        FrameOptions(box=CUBE).of_beads(whole, beads)


@pytest.mark.parametrize(
    ("times", "match"),
    [
        ([0, 1, 2, 2, 3, 4], r"a\.xtc has 2 ps in frame 3 after 2 ps: pass time_step"),
        ([0, 1, 2, 3, 1, 4], r"a\.xtc has 1 ps in frame 4 after 3 ps"),
    ],
)
@pytest.mark.parametrize("n_frames", [1, 2, 3, 9])
def test_times_go_on(
    tmp_path: Path, times: list[float], match: str, n_frames: int
) -> None:
    frames = mdtraj.Trajectory(wrapped(6).astype("f4"), topology(), time=times)
    frames.unitcell_vectors = np.stack([BOX] * 6)
    frames.save(str(tmp_path / "a.xtc"))
    with pytest.raises(ValueError, match=match):
        list(read_pieces(tmp_path / "a.xtc", GRAPH, n_frames=n_frames))
    found = read(tmp_path / "a.xtc", GRAPH, time_step=2.0)
    assert found.times.tolist() == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("n_frames", [1, 4, 99])
def test_a_box_that_changes_is_found_in_any_piece(
    tmp_path: Path, n_frames: int
) -> None:
    frames = mdtraj.Trajectory(wrapped(9).astype("f4"), topology(), time=np.arange(9.0))
    boxes = np.stack([BOX] * 9).astype("f4")
    boxes[7] *= 1.1
    frames.unitcell_vectors = boxes
    frames.save(str(tmp_path / "a.xtc"))
    with pytest.raises(ValueError, match=r"in frame 7, .* differ from the mean box"):
        list(read_pieces(tmp_path / "a.xtc", GRAPH, n_frames=n_frames))


# --- the table


@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd", ".nc", ".lammpstrj"])
def test_a_format_is_known_by_its_content(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    (save_dump if suffix == ".lammpstrj" else save)(path)
    expected = read(path, GRAPH, time_step=5.0)
    path.rename(tmp_path / "a.part2")
    found = read(tmp_path / "a.part2", GRAPH, time_step=5.0)
    assert found.positions.tobytes() == expected.positions.tobytes()


@pytest.mark.parametrize("suffix", [".gro", ".rst7", ".ncrst", ".cif"])
def test_a_start_of_gromacs_amber_or_openmm(tmp_path: Path, suffix: str) -> None:
    frame = mdtraj.Trajectory(wrapped(1).astype("f4"), topology())
    frame.unitcell_vectors = BOX[None].astype("f4")
    frame.save(str(tmp_path / f"a{suffix}"))
    found = read(tmp_path / f"a{suffix}", GRAPH)
    expected = read(save(tmp_path / "a.xtc", 1), GRAPH)
    assert found.positions == pytest.approx(expected.positions, abs=2e-3)
    assert found.box == pytest.approx(BOX, abs=1e-3)
    (tmp_path / f"b{suffix}").write_bytes(b"CDF\1 AMBER")
    with pytest.raises(ValueError, match=rf"b\{suffix} is not a .*cut short"):
        read(tmp_path / f"b{suffix}", GRAPH)


def test_a_lammps_data_file_of_another_name(tmp_path: Path) -> None:
    text = (
        "title\n\n2 atoms\n1 bonds\n1 atom types\n0 9 xlo xhi\n0 9 ylo yhi\n"
        "0 9 zlo zhi\n\nMasses\n\n1 12.011\n\nAtoms # bond\n\n1 1 1 0 0 0\n"
        "2 1 1 1 0 0\n\nBonds\n\n1 1 1 2\n"
    )
    (tmp_path / "data.chain").write_text(text)
    graph = read_topology(tmp_path / "data.chain")
    assert (graph.types, graph.bonds.tolist()) == (("C", "C"), [[0, 1]])


def test_only_regular_files(tmp_path: Path) -> None:
    """A pipe would block for ever."""
    for suffix in (".xtc", ".h5md", ".npz", ".data", ".pdb"):
        path = tmp_path / f"pipe{suffix}"
        os.mkfifo(path)
        with pytest.raises(ValueError, match=rf"{suffix} must be a regular file"):
            list(preparation.read_systems([path], path, Coarsening()))


@pytest.mark.parametrize(
    ("suffix", "tells"),
    [
        *((suffix, {"times", "box"}) for suffix in (".xtc", ".trr", ".dcd", ".nc")),
        (".gro", {"bonds", "times", "box"}),
        (".pdb", {"bonds", "box"}),
        (".lammpstrj", {"steps", "box"}),  # of MD, in place of times
    ],
)
def test_what_files_tell(tmp_path: Path, suffix: str, tells: set[str]) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".dcd":  # mdtraj writes no times there
        beads = Mapping.from_partition(GRAPH, 1)
        with TrajectoryWriter(path, beads, box=CUBE) as writer:
            writer.append(wrapped(3), 5.0 * np.arange(3))
    else:
        (save_dump if suffix == ".lammpstrj" else save)(path, 3)
    row = table.of_frames(path)
    assert row.pieces is not None
    frames = next(row.pieces(path, 3, LammpsOptions()))
    assert (frames.times is not None) == ("times" in tells)
    assert (frames.boxes is not None) == ("box" in tells)
    assert (row.topology is not None) == ("bonds" in tells)
    numbered = next(row.pieces(path, 3, LammpsOptions(md_step=1.0)))
    has_times = not {"times", "steps"}.isdisjoint(tells)
    assert (numbered.times is not None) == has_times


def test_beads_are_no_atoms(tmp_path: Path) -> None:
    save(tmp_path / "a.pdb", 1)
    path = save(tmp_path / "a.xtc", 2)
    (beads,) = preparation.prepare([path], tmp_path / "a.pdb", tmp_path, Coarsening())
    with pytest.raises(ValueError, match=r"of atoms is .*\(H5MD\) holds beads"):
        read(beads, GRAPH)


def toy_pieces(path: Path, n_frames: int, options: LammpsOptions) -> Iterator[Frames]:
    del options
    rows = np.loadtxt(path, dtype=np.float32, ndmin=2)
    frames = rows.reshape(len(rows), -1, 3)
    for start in range(0, len(frames), n_frames):
        part = frames[start : start + n_frames]
        yield Frames(part, 2.0 * np.arange(start, start + len(part)), None)


class ToySink:
    """Writes a line a frame."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("w")

    def append(self, positions: np.ndarray, times: np.ndarray) -> None:
        np.savetxt(self._stream, positions.reshape(len(times), -1))

    def close(self) -> None:
        self._stream.close()


def test_a_new_format_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One module (above), one row (here): read, prepared and written."""
    row = Format(
        name="toy",
        suffixes=(".toy",),
        pieces=toy_pieces,
        sink=lambda path, *_: ToySink(path),
    )
    monkeypatch.setattr(table, "FORMATS", [*table.FORMATS, row])
    mapping = Mapping.from_partition(GRAPH, 1)
    frames = wrapped(7)
    with TrajectoryWriter(tmp_path / "a.toy", mapping) as writer:
        writer.append(frames, 2.0 * np.arange(7))
    save(tmp_path / "a.pdb", 1, has_box=False)
    write_topology(tmp_path / "beads.pdb", mapping, frames[0])
    (path,) = preparation.prepare(
        [tmp_path / "a.toy"], tmp_path / "a.pdb", tmp_path / "out", Coarsening()
    )
    beads = read_beads(path)
    assert beads.times.tolist() == [0, 2, 4, 6, 8, 10, 12]
    expected = Mapping.from_partition(GRAPH, 5).positions(frames.astype("f4"))
    np.testing.assert_allclose(beads.positions, expected, atol=1e-6)
