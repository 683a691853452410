"""What was read, in numbers; and the drawing of it."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from cgml.formats.h5md import read_summary, write_beads
from cgml.molecules import sketch
from cgml.molecules.frames import BeadTrajectory, Trajectory, coarsen
from cgml.molecules.graph import MolecularGraph, neighbours
from cgml.molecules.mapping import Mapping
from cgml.molecules.summary import MOST_ROWS, describe, follow, of_frames

WATER = ("OHH", [(0, 1), (0, 2)])
ETHER = ("CCOCC", [(0, 1), (1, 2), (2, 3), (3, 4)])
TURNED = ("OCCCC", [(0, 1), (0, 3), (1, 2), (3, 4)])  # the same molecule, other order
MASSES = {"O": 16.0, "H": 1.0, "C": 12.0, "Li": 7.0}


def system(*molecules: tuple) -> MolecularGraph:
    types, bonds = [], []
    for names, pairs in molecules:
        bonds += [(i + len(types), j + len(types)) for i, j in pairs]
        types += names
    return MolecularGraph.create(types, [MASSES[name] for name in types], bonds)


def frames() -> BeadTrajectory:
    """Three waters, two ethers, an ion; all bonds of water 0.1 nm, others 0.2 nm."""
    graph = system(WATER, ETHER, WATER, TURNED, WATER, (["Li"], []))
    mapping = Mapping.from_labels(
        graph, [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7]
    )
    positions = np.zeros((4, graph.n_atoms, 3), dtype=np.float32)
    for i, j in graph.bonds.tolist():
        step = 0.1 if "H" in (graph.types[i], graph.types[j]) else 0.2
        positions[:, j] = positions[:, i] + [0, step, 0]
    times = np.array([0.0, 5.0, 10.0, 15.0])
    atoms = Trajectory(graph, positions, times, 2.0 * np.eye(3), "melt")
    return coarsen(atoms, mapping)


def test_everything_is_counted() -> None:
    found = of_frames(frames())
    assert (found.n_atoms, found.n_molecules, found.n_beads) == (20, 6, 8)
    water, ether, lithium = found.kinds
    assert (water.formula, water.count, water.structures) == ("H2O", 3, 1)
    assert (water.n_atoms, water.mass, water.beads) == (3, 18.0, {"H2O": 1})
    assert (ether.formula, ether.count, ether.structures) == ("C4O", 2, 2)
    assert (ether.n_beads, ether.beads) == (2, {"C2": 1, "C2O": 1})
    assert (lithium.formula, lithium.beads) == ("Li", {"Li": 1})
    assert {name: row.count for name, row in found.types.items()} == {
        "C": 8,
        "H": 6,
        "Li": 1,
        "O": 5,
    }
    assert found.types["C"].masses == (12.0, 12.0)
    assert {pair: row.count for pair, row in found.bonds.items()} == {
        "C-C": 4,
        "C-O": 4,
        "H-O": 6,
    }
    assert found.bonds["H-O"].lengths == pytest.approx((0.1, 0.1, 0.1))
    assert found.bonds["C-C"].lengths == pytest.approx((0.2, 0.2, 0.2))
    assert (found.n_frames, found.times, found.spacing) == (4, (0.0, 15.0), (5.0, 5.0))
    dalton = 1.66053907e-24  # g
    grams = dalton * (3 * 18.0 + 2 * 64.0 + 7.0)
    assert found.density == pytest.approx(grams / (8.0 * 1e-21), rel=1e-6)  # 8 nm^3
    assert found.recipe == ""
    assert found.bead_atoms == (1, 20 / 8, 3)


def test_pieces_are_the_whole() -> None:
    whole = frames()
    parts = [
        BeadTrajectory(
            whole.mapping,
            whole.positions[part],
            whole.times[part],
            whole.box,
            whole.name,
            first_atoms=whole.first_atoms,
        )
        for part in (slice(1), slice(1, 4))
    ]
    mapping, found = follow(parts)
    assert mapping is whole.mapping
    assert found == of_frames(whole)


def test_it_is_written_beside_the_frames(tmp_path: Path) -> None:
    write_beads(tmp_path / "a.h5md", frames())
    with h5py.File(tmp_path / "a.h5md") as file:
        text = file["cgml/summary"].asstr()[()]
    known = of_frames(frames())
    assert json.loads(text) == json.loads(json.dumps(known.as_json()))
    mapping, found = read_summary(tmp_path / "a.h5md")
    assert found == known
    assert mapping.hash() == frames().mapping.hash()


def test_nothing_but_a_topology() -> None:
    found = describe(frames().mapping, "melt")
    assert (found.n_frames, found.times, found.spacing) == (0, None, None)
    assert (found.box, found.density, found.bonds["H-O"].lengths) == (None, None, None)


def test_a_summary_is_bounded() -> None:
    names = [f"T{i}" for i in range(3 * MOST_ROWS)]
    graph = MolecularGraph.create(names, np.ones(len(names)), [])
    found = describe(Mapping.from_labels(graph, np.arange(len(names))))
    assert len(found.kinds) == len(found.types) == MOST_ROWS
    assert found.n_left_out == 2 * 2 * MOST_ROWS


def test_longest_path_of_a_tree() -> None:
    bonds = [*((i, i + 1) for i in range(6)), (3, 7), (7, 8), (2, 9)]
    path = sketch.longest_path(neighbours(10, np.array(bonds)))
    assert sorted(path) == list(range(7))
    assert abs(np.diff(path)).tolist() == [1] * 6


@pytest.mark.parametrize("n_units", [1, 8, 60])
def test_atoms_are_drawn_apart(n_units: int) -> None:
    """Units of a carbon with two hydrogens, as one chain."""
    bonds = [(3 * k, 3 * k + m) for k in range(n_units) for m in (1, 2)]
    bonds += [(3 * k - 3, 3 * k) for k in range(1, n_units)]
    places = sketch.layout(3 * n_units, np.array(bonds))
    gaps = np.linalg.norm(places[:, None] - places, axis=2)
    assert len(places) == 3 * n_units
    assert gaps[np.triu_indices(len(places), 1)].min() > 0.4


def test_a_drawing_of_each_kind(tmp_path: Path) -> None:
    found = frames()
    rings = (list("C" * 80), [(i, (i + 1) % 80) for i in range(80)])
    ring = Mapping.from_partition(system(rings), 8)
    pictures = [
        sketch.Picture(mapping, kind)
        for mapping in (found.mapping, ring)
        for kind in describe(mapping).kinds
    ]
    sketch.draw(pictures, tmp_path / "a.png")
    image = imread(tmp_path / "a.png")
    colours = {tuple(c) for c in np.round(255 * image[..., :3]).reshape(-1, 3).tolist()}
    assert image.shape[1] == 1100
    assert {(31, 119, 180), (255, 127, 14)} <= colours  # two beads of an ether
