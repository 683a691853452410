"""Files whose numbers are well formed, and none of a simulation."""

import gzip
import itertools
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from workflow_tools import write_chains

from cgml.formats import gromacs
from cgml.formats.format import LammpsOptions
from cgml.formats.trajectory import (
    read,
    read_beads,
    read_reference,
    read_topology,
    write_beads,
)
from cgml.molecules.graph import MolecularGraph

BONDS = list(itertools.pairwise(range(12)))
GRAPH = MolecularGraph.create(["C"] * 12, [12.0] * 12, BONDS)
FRAMES = np.cumsum(np.full((2, 12, 3), 0.1, np.float32), axis=1)
POSITIONS = "particles/beads/position/value"
MDTRAJ = Path(__file__).parents[1] / "data/mdtraj.h5"


def written(path, frames=FRAMES, box=None):
    writer = gromacs.Writer(path, box)
    writer.append(frames, np.arange(len(frames), dtype=float))
    writer.close()
    return path


def test_positions_far_out(tmp_path):
    path = written(tmp_path / "a.xtc", FRAMES + 1.5e6)
    with pytest.raises(
        ValueError, match=r"positions must be within 1e\+06 nm, .*a\.xtc"
    ):
        read(path, GRAPH)


@pytest.mark.parametrize("edge", [1e-5, 1e7])
def test_boxes_that_are_none(tmp_path, edge):
    path = written(tmp_path / "a.xtc", box=edge * np.eye(3))
    with pytest.raises(ValueError, match=r"a\.xtc"):
        read(path, GRAPH)


@pytest.mark.parametrize(
    ("place", "value"), [(4, 2**31 - 1), (4, -12), (0, 7), (88, -400), (88, 10**9)]
)
def test_heads_of_xtc_frames(tmp_path, place, value):
    """Number of atoms, magic number, size of the packed positions."""
    path = written(tmp_path / "a.xtc")
    content = bytearray(path.read_bytes())
    content[place : place + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"a\.xtc is not an XTC trajectory"):
        read(path, GRAPH)
    with pytest.raises(ValueError, match="the head of a frame is no such head"):
        list(gromacs.xtc_boxes(path, LammpsOptions()))


@pytest.fixture
def beads(tmp_path):
    chains = write_chains(tmp_path / "a.npz", 1, 3, 0)
    write_beads(tmp_path / "a.h5md", read_reference(chains)[0])
    return tmp_path / "a.h5md"


@pytest.mark.parametrize(
    "place", ["cgml", "particles", "particles/beads/box", "observables", POSITIONS]
)
def test_links_to_other_files(beads, tmp_path, place):
    """Such a file may be a pipe, which is waited for: none is opened."""
    shutil.copy(beads, tmp_path / "secret.h5")
    with h5py.File(beads, "r+") as file:
        del file[place]
        file[place] = h5py.ExternalLink(str(tmp_path / "secret.h5"), place)
    with pytest.raises(ValueError, match=r"a\.h5md .*must stand in this file"):
        read_beads(beads)


@pytest.mark.parametrize("place", ["coordinates", "time", "cell_lengths", "topology"])
def test_links_in_files_of_mdtraj(tmp_path, place):
    path = shutil.copy(MDTRAJ, tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file[place]
        file[place] = h5py.ExternalLink(str(MDTRAJ), place)
    graph = MolecularGraph.create(["C"] * 6, [12.0] * 6, BONDS[:5])
    reader = read_topology if place == "topology" else lambda path: read(path, graph)
    with pytest.raises(ValueError, match=r"a\.h5 .*must stand in this file"):
        reader(path)


def test_more_frames_than_a_file_of_mdtraj_holds(tmp_path):
    path = shutil.copy(MDTRAJ, tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["coordinates"]
        file.create_dataset("coordinates", (10**10, 6, 3), "f4", chunks=(1, 6, 3))
    graph = MolecularGraph.create(["C"] * 6, [12.0] * 6, BONDS[:5])
    with pytest.raises(ValueError, match=r"a\.h5 .*declares"):
        read(path, graph)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"shape": (10**11, 4, 3), "dtype": "f4", "chunks": (1, 4, 3)}, "declares"),
        ({"data": np.full((3, 4, 3), 1e9, "f4")}, "must be within"),
        ({"data": np.full((3, 4, 3), np.nan, "f4")}, "must be finite"),
        ({"data": np.zeros((3, 5, 3), "f4")}, "a.h5md"),
        ({"data": np.zeros((3, 4, 3), "c8")}, "not of the kind"),
        ({"data": "text"}, "not of the kind"),
    ],
)
def test_frames_of_beads(beads, values, match):
    with h5py.File(beads, "r+") as file:
        del file[POSITIONS]
        file.create_dataset(POSITIONS, **values)
    with pytest.raises(ValueError, match=match) as caught:
        read_beads(beads)
    assert "a.h5md" in str(caught.value)


def test_more_molecules_than_fit(tmp_path):
    text = "[ moleculetype ]\nA 3\n[ atoms ]\n1 c 1 A C 1 0 12\n[ molecules ]\n"
    (tmp_path / "a.top").write_text(text + "A 9999999999\n")
    with pytest.raises(ValueError, match=r"atoms are required, .*a\.top has 99999999"):
        read_topology(tmp_path / "a.top")


def test_words_nested_without_end(tmp_path):
    chains = write_chains(tmp_path / "a.npz", 1, 3, 0)
    with np.load(chains) as file:
        arrays = dict(file)
    np.savez(chains, **(arrays | {"meta": np.array("[" * 100_000)}))
    with pytest.raises(ValueError, match=r"a\.npz"):
        read_reference(chains)


@pytest.mark.parametrize("name", ["a.dump.gz", "a.data.gz", "a.pdb.gz"])
def test_files_packed_too_well(tmp_path, monkeypatch, name):
    monkeypatch.setattr("cgml.formats.format._SMALL", 1 << 10)
    (tmp_path / name).write_bytes(gzip.compress(b"ITEM: TIMESTEP\n" + b"0" * (1 << 21)))
    reader = read_topology if ".dump" not in name else (lambda path: read(path, GRAPH))
    with pytest.raises(ValueError, match=rf"{name}.* packed too well to be data"):
        reader(tmp_path / name)
