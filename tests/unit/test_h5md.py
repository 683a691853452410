from pathlib import Path
from typing import Any

import h5py
import MDAnalysis
import numpy as np
import pytest

from cgml.formats.h5md import read_beads, read_summary, write_beads
from cgml.formats.pdb import write_topology
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.spec import Rotation

SKEW = np.array([[3.0, 0, 0], [1.4, 2.5, 0], [-1.3, 1.1, 2.0]])


def beads(box: np.ndarray | None = None) -> BeadTrajectory:
    bonds = [[i, i + 1] for i in range(11)]
    graph = MolecularGraph.create("ABCD" * 3, np.arange(1, 13), bonds)
    rng = np.random.default_rng(0)
    return BeadTrajectory(
        mapping=Mapping.from_partition(graph, 3),
        positions=rng.normal(size=(9, 4, 3)).astype(np.float32),
        times=35.0 + 5.0 * np.arange(9),
        box=box,
        name="chain 1",
        observables={"rg2": rng.random(9), "tensor": rng.random((9, 2, 2))},
        first_atoms=rng.normal(size=(12, 3)).astype(np.float32),
        rotation=(Rotation(atoms={"A": 2}, time=3.5),),
    )


@pytest.mark.parametrize("box", [None, SKEW])
def test_read_is_what_was_written(tmp_path: Path, box: np.ndarray | None) -> None:
    first = beads(box)
    write_beads(tmp_path / "a.h5md", first)
    again = read_beads(tmp_path / "a.h5md")
    assert again.mapping.hash() == first.mapping.hash()
    assert again.positions.dtype == np.float32
    assert (again.positions == first.positions).all()
    assert (again.times == first.times).all()
    assert again.name == "chain 1"
    assert (again.first_atoms == first.first_atoms).all()
    assert again.rotation == first.rotation
    assert read_summary(tmp_path / "a.h5md")[1].rotation == {"2 A": 3.5}
    assert sorted(again.observables) == ["rg2", "tensor"]
    for name, values in first.observables.items():
        assert (again.observables[name] == values).all()
    assert (again.box is None) == (box is None)
    if box is not None:
        assert (again.box == box).all()


def test_atoms_may_be_unknown(tmp_path: Path) -> None:
    first = beads()
    bare = BeadTrajectory(first.mapping, first.positions, first.times)
    write_beads(tmp_path / "a.h5md", bare)
    again = read_beads(tmp_path / "a.h5md")
    assert again.first_atoms is None
    assert again.observables == {}
    assert again.rotation == ()


@pytest.mark.parametrize("box", [None, SKEW])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_mdanalysis_reads_it(tmp_path: Path, box: np.ndarray | None) -> None:
    first = beads(box)
    write_beads(tmp_path / "a.h5md", first)
    write_topology(tmp_path / "a.pdb", first.mapping, first.positions[0])
    universe = MDAnalysis.Universe(tmp_path / "a.pdb", tmp_path / "a.h5md")
    assert [frame.time for frame in universe.trajectory] == first.times.tolist()
    for frame, expected in zip(universe.trajectory, first.positions, strict=True):
        np.testing.assert_allclose(frame.positions, 10 * expected, rtol=1e-6)
        assert frame.data["rg2"] == first.observables["rg2"][frame.frame]
    dimensions = universe.trajectory[3].dimensions
    if box is None:
        assert dimensions is None
    else:
        np.testing.assert_allclose(dimensions[:3], 10 * np.linalg.norm(box, axis=1))
        cosine = box[1] @ box[2] / np.linalg.norm(box[1]) / np.linalg.norm(box[2])
        assert np.cos(np.deg2rad(dimensions[3])) == pytest.approx(cosine, abs=1e-6)


def test_layout(tmp_path: Path) -> None:
    write_beads(tmp_path / "a.h5md", beads(SKEW))
    with h5py.File(tmp_path / "a.h5md") as file:
        assert file["h5md"].attrs["version"].tolist() == [1, 1]
        group = file["particles/beads"]
        assert group["position/value"].attrs["unit"] == "nm"
        assert group["position/time"].attrs["unit"] == "ps"
        assert group["box"].attrs["boundary"].tolist() == ["periodic"] * 3
        assert group["box/edges/step"][()].tolist() == list(range(9))
        bonds = file["connectivity/bonds"]
        assert bonds[()].tolist() == [[0, 1], [1, 2], [2, 3]]
        assert file[bonds.attrs["particles_group"]] == group
        assert file["observables/rg2/time"] == group["position/time"]


def _foreign(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["other"] = 1


def _newer(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["cgml"].attrs["version"] = 2


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def _text(path: Path) -> None:
    path.write_text("hello")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _without_times(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["particles/beads/position/time"]


def _with_half(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["particles/beads/position/time"].resize(4, axis=0)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (_foreign, r"a.h5md is not a file of bead frames: its groups are \['other'\]"),
        (_newer, "version 1 are required, .*a.h5md has version 2: update cgml"),
        (_cut, "a.h5md is not an HDF5 file, or it is cut short"),
        (_text, "not an HDF5 file"),
        (_empty, "not an HDF5 file"),
        (_without_times, "a.h5md is damaged: .*time"),
        (_with_half, "a.h5md is damaged: increasing times"),
    ],
)
def test_damaged_files(tmp_path: Path, damage: Any, match: str) -> None:
    path = tmp_path / "a.h5md"
    write_beads(path, beads())
    damage(path)
    with pytest.raises(ValueError, match=match):
        read_beads(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.h5md"):
        read_beads(tmp_path / "a.h5md")


def test_earlier_file_survives_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.h5md"
    write_beads(path, beads())
    wrong = beads()
    wrong.observables["rg2"] = np.array([object()])
    with pytest.raises(TypeError, match="Object dtype"):
        write_beads(path, wrong)
    assert read_beads(path).name == "chain 1"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.h5md"]
