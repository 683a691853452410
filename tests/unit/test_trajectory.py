from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from cgml.formats import trajectory as public
from cgml.formats.topology import from_mdtraj
from cgml.formats.trajectory import read, read_topology
from cgml.molecules.box import wrap
from cgml.molecules.graph import MolecularGraph

BOX = np.array([[3.0, 0, 0], [1.4, 2.5, 0], [-1.3, 1.1, 2.0]])


def topology() -> mdtraj.Topology:
    """Two chains of three particles without element."""
    top = mdtraj.Topology()
    for _ in range(2):
        chain = top.add_chain()
        atoms = [
            top.add_atom(name, mdtraj.element.virtual, top.add_residue("X", chain))
            for name in ("A1", "A2", "A1")
        ]
        top.add_bond(atoms[0], atoms[1])
        top.add_bond(atoms[1], atoms[2])
    return top


HDF5 = Path(__file__).parents[1] / "data" / "mdtraj.h5"
MASSES = {"A1": 1.0, "A2": 2.0}
GRAPH = from_mdtraj(topology(), MASSES)


def path_of_molecules(n_frames: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    bonds = rng.uniform(-0.3, 0.3, size=(n_frames, 2, 3, 3))
    drift = np.cumsum(rng.uniform(-0.1, 0.4, size=(n_frames, 2, 1, 3)), axis=0)
    atoms = np.cumsum(bonds, axis=2)
    atoms += drift - atoms.mean(axis=2, keepdims=True)
    return np.asarray(atoms.reshape(n_frames, 6, 3))


def stored(periodic: bool) -> tuple[mdtraj.Trajectory, np.ndarray]:
    true = path_of_molecules()
    positions = wrap(true, BOX) if periodic else true
    frames = mdtraj.Trajectory(
        positions.astype(np.float32), topology(), time=35.0 + 5.0 * np.arange(12)
    )
    if periodic:
        frames.unitcell_vectors = np.stack([BOX] * 12).astype(np.float32)
    return frames, true


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".trr", ".pdb"])
def test_every_format_comes_unwrapped(
    tmp_path: Path, suffix: str, periodic: bool
) -> None:
    frames, true = stored(periodic)
    path = tmp_path / f"a{suffix}"
    frames.save(str(path))
    step = 5.0 if suffix in {".dcd", ".pdb"} else None
    found = read(path, GRAPH, time_step=step)
    first = 0.0 if step else 35.0
    assert found.times.tolist() == (first + 5.0 * np.arange(12)).tolist()
    assert found.name == "a"
    assert found.positions.dtype == np.float32
    for atoms in GRAPH.molecules:
        shift = found.positions[0, atoms[0]] - true[0, atoms[0]]
        expected = true[:, atoms] + shift
        np.testing.assert_allclose(found.positions[:, atoms], expected, atol=2e-3)
    if periodic:
        assert found.box is not None
        np.testing.assert_allclose(found.box, BOX, atol=2e-4)
    else:
        assert found.box is None


def test_hdf5_of_mdtraj() -> None:
    """The file was written by mdtraj 1.11 from the periodic frames above."""
    found = read(HDF5, HDF5, masses=MASSES)
    assert found.graph.hash() == GRAPH.hash()
    assert found.times.tolist() == (35.0 + 5.0 * np.arange(12)).tolist()
    np.testing.assert_allclose(found.box, BOX, atol=1e-5)
    true = path_of_molecules()
    for atoms in GRAPH.molecules:
        shift = found.positions[0, atoms[0]] - true[0, atoms[0]]
        expected = true[:, atoms] + shift
        np.testing.assert_allclose(found.positions[:, atoms], expected, atol=1e-5)


def test_topology_from_a_pdb_file(tmp_path: Path) -> None:
    frames, _ = stored(periodic=False)
    frames[0].save_pdb(str(tmp_path / "a.pdb"))
    graph = read_topology(tmp_path / "a.pdb", masses=MASSES)
    assert graph.hash() == GRAPH.hash()


def test_single_frame_of_a_pdb_file_is_time_zero(tmp_path: Path) -> None:
    frames, _ = stored(periodic=False)
    frames[0].save_pdb(str(tmp_path / "a.pdb"))
    assert read(tmp_path / "a.pdb", GRAPH).times.tolist() == [0.0]


def test_time_step_replaces_the_times_of_the_file(tmp_path: Path) -> None:
    stored(periodic=False)[0].save_xtc(str(tmp_path / "a.xtc"))
    found = read(tmp_path / "a.xtc", GRAPH, time_step=0.5)
    assert found.times.tolist() == (0.5 * np.arange(12)).tolist()


@pytest.mark.parametrize("suffix", [".dcd", ".pdb"])
def test_unknown_times(tmp_path: Path, suffix: str) -> None:
    stored(periodic=False)[0].save(str(tmp_path / f"a{suffix}"))
    with pytest.raises(ValueError, match=r"does not tell the times .* pass time_step"):
        read(tmp_path / f"a{suffix}", GRAPH)


@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".trr", ".pdb"])
def test_atom_count_differs(tmp_path: Path, suffix: str) -> None:
    frames, _ = stored(periodic=False)
    frames.save(str(tmp_path / f"a{suffix}"))
    graph = MolecularGraph.create("AA", [1, 1], [[0, 1]])
    match = rf"atom count differs: .*a\{suffix} has 6 atoms, its topology has 2"
    with pytest.raises(ValueError, match=match):
        read(tmp_path / f"a{suffix}", graph, time_step=1.0)


def test_changing_box(tmp_path: Path) -> None:
    frames, _ = stored(periodic=True)
    frames.unitcell_vectors = frames.unitcell_vectors * np.linspace(1, 1.1, 12)[
        :, None, None
    ].astype(np.float32)
    frames.save_xtc(str(tmp_path / "a.xtc"))
    match = r"by at most 0\.05 are required, .*a\.xtc in frame 0, .* by 0\.05.*start"
    with pytest.raises(ValueError, match=match):
        read(tmp_path / "a.xtc", GRAPH)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _text(path: Path) -> None:
    path.write_text("hello world " * 100)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".trr", ".h5"])
@pytest.mark.parametrize("damage", [_cut, _text, _empty])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damaged_files(tmp_path: Path, suffix: str, damage: Any) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".h5":
        path.write_bytes(HDF5.read_bytes())
    else:
        stored(periodic=False)[0].save(str(path))
    damage(path)
    with pytest.raises(ValueError, match=rf"a\{suffix} (is|holds no)"):
        read(path, GRAPH)


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.dcd"):
        read(tmp_path / "a.dcd", GRAPH)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.pdb"):
        read(tmp_path / "a.dcd", tmp_path / "a.pdb")
    (tmp_path / "a.foo").write_text("hello world")
    with pytest.raises(ValueError, match=r"read from \.dcd, \.xtc.*, got 'a\.foo'"):
        read(tmp_path / "a.foo", GRAPH)


def test_no_bonds(tmp_path: Path) -> None:
    line = "ATOM  {0:5d}  C1  LIG A   1      {0:6.3f}   0.000   0.000  1.00  0.00"
    text = "\n".join([line.format(i) + " " * 11 + "C" for i in (1, 2)] + ["END\n"])
    (tmp_path / "a.pdb").write_text(text)
    match = r"no bonds: .*a\.pdb names 2 atoms .*CONECT"
    with pytest.raises(ValueError, match=match):
        read_topology(tmp_path / "a.pdb")


def test_names_without_end(tmp_path: Path) -> None:
    bonds = "@<TRIPOS>BOND\n1 1 2 1\n"
    rows = f"1 C1 0.5 0.0 0.0 C.3 1 {'A' * 5000} 0.0\n2 C2 1.5 0.0 0.0 C.3 1 A 0.0\n"
    head = "@<TRIPOS>MOLECULE\na\n2 1 1\nSMALL\nNO_CHARGES\n\n@<TRIPOS>ATOM\n"
    (tmp_path / "a.mol2").write_text(head + rows + bonds)
    with pytest.raises(ValueError, match=r"at most 200 letters are read, .*a\.mol2"):
        read_topology(tmp_path / "a.mol2")


def test_no_topology(tmp_path: Path) -> None:
    (tmp_path / "a.psf").write_text("hello")
    with pytest.raises(ValueError, match=r"a\.psf cannot be read as a topology"):
        read_topology(tmp_path / "a.psf")


def test_all_names_are_here() -> None:
    for name in public.__all__:
        assert name in vars(public)
