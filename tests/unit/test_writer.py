import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import MDAnalysis
import mdtraj
import numpy as np
import pytest
from openmm import app, unit

from cgml.formats import gromacs
from cgml.formats.h5md import read_beads
from cgml.formats.pdb import write_data, write_structure, write_topology
from cgml.formats.trajectory import read
from cgml.formats.writer import TrajectoryWriter
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping

BOX = np.array([[3.0, 0, 0], [1.4, 2.5, 0], [-1.3, 1.1, 2.0]])
SUFFIXES = [".dcd", ".xtc", ".h5md"]
LAMMPS = "id resid type x y z"  # how MDAnalysis is told "Atoms # bond"
PRECISION = {".dcd": 1e-5, ".xtc": 6e-4, ".h5md": 1e-6}  # nm


def mapping(n_chains: int = 2) -> Mapping:
    """Chains of 12 atoms in 4 beads."""
    one = np.stack([np.arange(11), np.arange(1, 12)], axis=1)
    bonds = np.concatenate([one + 12 * k for k in range(n_chains)])
    n = 12 * n_chains
    graph = MolecularGraph.create(["A"] * n, np.ones(n), bonds)
    return Mapping.from_partition(graph, 3)


def frames(n_frames: int = 9, n_beads: int = 8) -> np.ndarray:
    steps = np.random.default_rng(0).normal(size=(n_frames, n_beads, 3))
    return np.cumsum(steps, axis=0)


def write(path: Path, times: np.ndarray, box: np.ndarray | None = None) -> np.ndarray:
    positions = frames(len(times))
    with TrajectoryWriter(path, mapping(), box=box, name="x") as writer:
        for part in np.array_split(np.arange(len(times)), 4):
            writer.append(positions[part], times[part])
    write_topology(path.with_suffix(".pdb"), mapping(), positions[0], box)
    write_structure(path.with_suffix(".psf"), mapping())
    return positions


def with_mdanalysis(path: Path, structure: Path, step: float) -> tuple[Any, ...]:
    """Positions (nm), times (ps), cells (nm) or None, bonds."""
    universe = MDAnalysis.Universe(structure, path)
    steps = [frame.copy() for frame in universe.trajectory]
    has_cell = steps[0].dimensions is not None
    if path.suffix != ".h5md":  # MDAnalysis takes 1 ps for every H5MD file
        assert universe.trajectory.dt == pytest.approx(step)
    return (
        np.array([frame.positions for frame in steps]) / 10.0,
        [frame.time for frame in steps],
        np.array([f.triclinic_dimensions for f in steps]) / 10.0 if has_cell else None,
        {tuple(bond) for bond in universe.bonds.indices.tolist()},
    )


def with_mdtraj(path: Path, structure: Path, step: float) -> tuple[Any, ...]:
    """The same; of a DCD file mdtraj reads no times but counts frames."""
    loaded = mdtraj.load(str(path), top=str(structure))
    assert loaded.topology.n_chains == 2
    if path.suffix == ".dcd":
        assert loaded.time.tolist() == list(range(9))
        loaded.time = 35.0 + step * loaded.time  # as docs/how-to.md says
    bonds = {(a.index, b.index) for a, b in loaded.topology.bonds}
    return loaded.xyz, loaded.time, loaded.unitcell_vectors, bonds


READERS = [
    pytest.param(reader, suffix, id=f"{reader.__name__}{suffix}")
    for reader, suffixes in (
        (with_mdanalysis, SUFFIXES),
        (with_mdtraj, (".dcd", ".xtc")),
    )
    for suffix in suffixes
]


@pytest.mark.parametrize("structure", [".pdb", ".psf"])
@pytest.mark.parametrize("box", [None, BOX], ids=["open", "box"])
@pytest.mark.parametrize("step", [5.0, 2.5])
@pytest.mark.parametrize(("reader", "suffix"), READERS)
@pytest.mark.filterwarnings("ignore")
def test_others_read_all_that_is_written(
    tmp_path: Path,
    reader: Callable[..., Any],
    suffix: str,
    step: float,
    box: np.ndarray | None,
    structure: str,
) -> None:
    """Positions, times, cell and bonds, whichever file the bonds come from."""
    path, times = tmp_path / f"a{suffix}", 35.0 + step * np.arange(9)
    expected = write(path, times, box)
    found, read_times, cells, bonds = reader(path, path.with_suffix(structure), step)
    np.testing.assert_allclose(found, expected, atol=PRECISION[suffix])
    np.testing.assert_allclose(read_times, times, rtol=1e-6)
    assert bonds == {(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7)}
    if box is None:
        assert cells is None or not np.any(cells)
    else:
        shape = (len(times), 3, 3)
        np.testing.assert_allclose(cells, np.broadcast_to(box, shape), atol=1e-5)


@pytest.mark.parametrize("suffix", [".dcd", ".xtc"])
@pytest.mark.filterwarnings("ignore")
def test_masses_are_right_or_unknown(tmp_path: Path, suffix: str) -> None:
    """A PDB file has none: centres of mass are nan then, not those of carbon."""
    path = tmp_path / f"a{suffix}"
    write(path, 5.0 * np.arange(9))
    write_data(path.with_suffix(".data"), mapping(), frames()[0])
    for structure in (".psf", ".data"):
        topology = path.with_suffix(structure)
        universe = MDAnalysis.Universe(topology, path, atom_style=LAMMPS)
        np.testing.assert_allclose(universe.atoms.masses, mapping().bead_masses)
    pdb = path.with_suffix(".pdb")
    assert np.isnan(MDAnalysis.Universe(pdb, path).atoms.center_of_mass()).all()
    loaded = mdtraj.load(str(path), top=str(pdb))
    assert np.isnan(mdtraj.compute_center_of_mass(loaded)).all()


@pytest.mark.parametrize("first", [0.0, 5.0])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.filterwarnings("ignore")
def test_times_that_begin_early(tmp_path: Path, suffix: str, first: float) -> None:
    path, times = tmp_path / f"a{suffix}", first + 5.0 * np.arange(9)
    write(path, times)
    _, found, *_ = with_mdanalysis(path, path.with_suffix(".pdb"), 5.0)
    np.testing.assert_allclose(found, times, rtol=1e-6)


def test_mdtraj_knows_no_h5md(tmp_path: Path) -> None:
    """As docs/how-to.md says; once it does, READERS has another row."""
    write(tmp_path / "a.h5md", 5.0 * np.arange(9))
    with pytest.raises(OSError, match="no loader"):
        mdtraj.load(str(tmp_path / "a.h5md"), top=str(tmp_path / "a.pdb"))


@pytest.mark.parametrize("suffix", [".dcd", ".xtc"])
def test_own_reader_gets_times_back(tmp_path: Path, suffix: str) -> None:
    path, times = tmp_path / f"a{suffix}", 35.0 + 5.0 * np.arange(9)
    expected = write(path, times)
    alone = np.zeros((0, 2), dtype=np.int64)  # beads that jump
    graph = MolecularGraph.create(["X"] * 8, np.ones(8), alone)
    trajectory = read(path, graph)
    assert trajectory.times.tolist() == times.tolist()
    np.testing.assert_allclose(trajectory.positions, expected, atol=PRECISION[suffix])


def test_h5md_is_read_as_beads(tmp_path: Path) -> None:
    expected = write(tmp_path / "a.h5md", 5.0 * np.arange(9), BOX)
    beads = read_beads(tmp_path / "a.h5md")
    assert (beads.positions == expected.astype(np.float32)).all()
    assert (beads.name, beads.time_step) == ("x", 5.0)
    assert beads.mapping.hash() == mapping().hash()
    assert beads.box is not None


def test_openmm_opens_the_topology(tmp_path: Path) -> None:
    write_topology(tmp_path / "a.pdb", mapping(), frames()[0])
    pdb = app.PDBFile(str(tmp_path / "a.pdb"))
    assert pdb.topology.getNumBonds() == 6
    assert {atom.element for atom in pdb.topology.atoms()} == {None}
    positions = pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    np.testing.assert_allclose(positions, frames()[0], atol=5.1e-5)


def test_topology_of_many_beads_keeps_its_columns(tmp_path: Path) -> None:
    n = 30
    big = mapping(3000)  # 12,000 beads: residue numbers start again
    positions = np.random.default_rng(0).uniform(-9, 9, (big.n_beads, 3))
    write_topology(tmp_path / "a.pdb", big, positions)
    lines = (tmp_path / "a.pdb").read_text().splitlines()
    atoms = [line for line in lines if line.startswith("ATOM")]
    assert {len(line) for line in atoms} == {78}
    assert len(lines) == big.n_beads + len(big.bead_bonds) + 1
    found = [[float(line[k : k + 8]) for k in (30, 38, 46)] for line in atoms[-n:]]
    np.testing.assert_allclose(found, 10 * positions[-n:], atol=5.1e-4)


def _append(path: Path, positions: np.ndarray, times: list[float]) -> None:
    with TrajectoryWriter(path, mapping()) as writer:
        writer.append(frames(2), np.array([0.0, 5.0]))
        writer.append(positions, np.array(times))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("positions", "times", "match"),
    [
        (frames(1), [11.0], "evenly spaced frames are required, .*spacings of 5 to 6"),
        (frames(1), [5.0], "evenly spaced frames"),
        (frames(2), [10.0], r"shape \(1, 8, 3\) are required, got \(2, 8, 3\)"),
        (frames(1, 7), [10.0], r"shape \(1, 8, 3\) are required, got \(1, 7, 3\)"),
        (frames(1) * np.nan, [10.0], "must be finite"),
    ],
)
def test_wrong_frames_leave_no_file(
    tmp_path: Path, suffix: str, positions: np.ndarray, times: list[float], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        _append(tmp_path / f"a{suffix}", positions, times)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_earlier_file_stays_until_the_new_one_is_whole(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("old")
    with TrajectoryWriter(path, mapping()) as writer:
        writer.append(frames(2), np.array([0.0, 5.0]))
        assert path.read_text() == "old"
    assert path.stat().st_size > 200
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_folder(tmp_path: Path, suffix: str) -> None:
    writer = TrajectoryWriter(tmp_path / "no" / f"a{suffix}", mapping())
    with pytest.raises(ValueError, match=f"there is no folder .*no to write a{suffix}"):
        writer.__enter__()


def test_xtc_with_a_lost_end_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library does not report what fails when it closes a file."""

    def lose_the_end(sink: Any) -> None:
        sink._file.close()
        os.truncate(tmp_path / ".a.part.xtc", 300)
        close(sink)

    close = gromacs.Writer.close
    monkeypatch.setattr(gromacs.Writer, "close", lose_the_end)
    path = tmp_path / "a.xtc"
    with pytest.raises(OSError, match="was not written whole"):
        write(path, np.arange(9.0))
    assert not path.exists()


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.dcd, \.xtc or \.h5md, got 'a\.trr'"):
        TrajectoryWriter(tmp_path / "a.trr", mapping())


@pytest.mark.parametrize(
    ("positions", "match"),
    [
        (frames()[0][:7], r"shape \(8, 3\) are required, got \(7, 3\)"),
        (frames()[0] + 100.0, r"within 99\.9 nm of the origin, got up to 10\d"),
        (np.full((8, 3), np.nan), "got up to nan nm"),
    ],
)
def test_wrong_topology(tmp_path: Path, positions: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        write_topology(tmp_path / "a.pdb", mapping(), positions)
