import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping


def branched() -> Mapping:
    """Two molecules, atoms of beads not in order; masses all differ."""
    bonds = [[0, 3], [3, 1], [1, 4], [4, 6], [1, 5], [2, 7]]
    graph = MolecularGraph.create("ABCABCAB", 1.0 + np.arange(8) ** 1.5, bonds)
    return Mapping.from_labels(graph, [1, 0, 2, 1, 0, 0, 3, 2])


def naive_positions(mapping: Mapping, atoms: np.ndarray) -> np.ndarray:
    beads = np.zeros((mapping.n_beads, 3))
    for bead in range(mapping.n_beads):
        total = 0.0
        for i, label in enumerate(mapping.bead_index):
            if label == bead:
                beads[bead] += mapping.graph.masses[i] * atoms[i]
                total += mapping.graph.masses[i]
        beads[bead] /= total
    return beads


@pytest.mark.parametrize("lead", [(), (1,), (4,), (2, 3)])
def test_positions_are_centres_of_mass(lead: tuple[int, ...]) -> None:
    mapping = branched()
    atoms = np.random.default_rng(0).normal(size=(*lead, 8, 3))
    beads = mapping.positions(atoms)
    assert beads.shape == (*lead, 4, 3)
    for index in np.ndindex(*lead):
        expected = naive_positions(mapping, atoms[index])
        np.testing.assert_allclose(beads[index], expected, rtol=1e-14)


def test_positions_keep_the_precision_given() -> None:
    mapping = branched()
    atoms = np.random.default_rng(0).normal(size=(5, 8, 3))
    assert mapping.positions(atoms).dtype == np.float64
    single = mapping.positions(atoms.astype(np.float32))
    assert single.dtype == np.float32
    exact = mapping.positions(atoms.astype(np.float32).astype(np.float64))
    assert (single == exact.astype(np.float32)).all()  # summed in double precision


def test_far_from_the_origin_single_precision_is_rounded_once() -> None:
    graph = MolecularGraph.create(["A"] * 1000, np.ones(1000), _chain(1000))
    mapping = Mapping.from_labels(graph, np.zeros(1000, dtype=int))
    atoms = np.full((1000, 3), 1234.567, dtype=np.float32)
    assert (mapping.positions(atoms) == atoms[0]).all()


@pytest.mark.parametrize(
    ("positions", "match"),
    [
        (np.zeros((7, 3)), r"\(..., 8, 3\) are required for the 8 atoms .* \(7, 3\)"),
        (np.zeros((8, 2)), r"got \(8, 2\)"),
        (np.zeros(24), r"got \(24,\)"),
        (np.full((8, 3), np.nan), r"must be finite, positions\[0, 0\] = nan"),
        (np.pad(np.full((1, 1), np.inf), ((3, 4), (2, 0))), r"\[3, 2\] = inf"),
    ],
)
def test_wrong_positions(positions: np.ndarray, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        branched().positions(positions)


def test_bead_properties() -> None:
    mapping = branched()
    assert mapping.n_beads == 4
    assert mapping.bead_bonds.tolist() == [[0, 1], [0, 3]]
    assert mapping.molecule_index.tolist() == [0, 0, 1, 0]
    assert mapping.bead_masses.sum() == pytest.approx(mapping.graph.masses.sum())
    assert mapping.bead_masses[3] == mapping.graph.masses[6]


def _chain(n: int) -> np.ndarray:
    return np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([0, 0, 1], r"each of the 4 atoms is required, got shape \(3,\)"),
        ([0, 0, 1.0, 1], "must be integers, got float64"),
        ([0, 0, -1, 1], "must be 0 to 3, got -1 to 1"),
        ([0, 0, 2 * 10**9, 1], "must be 0 to 3, got 0 to 2000000000"),
        ([0, 0, 2, 2], "bead from 0 to 2 must hold atoms, bead 1 is empty"),
        (
            [0, 1, 0, 1],
            r"bead 0 holds atom 0 \(A\) and atom 2 \(A\) of separate pieces",
        ),
        (
            [0, 0, 0, 0],
            r"bead 0 holds atom 0 \(A\) and atom 3 \(.\) of molecules 0 and 1",
        ),
    ],
)
def test_wrong_labels(labels: list[Any], match: str) -> None:
    graph = MolecularGraph.create("AAAA", np.ones(4), [[0, 1], [1, 2]])
    with pytest.raises(ValueError, match=match):
        Mapping.from_labels(graph, labels)


def test_constructor_checks_too() -> None:
    graph = MolecularGraph.create("AA", np.ones(2), [[0, 1]])
    with pytest.raises(ValueError, match="bead 0 is empty"):
        Mapping(graph, np.array([1, 1]))


def test_from_partition() -> None:
    graph = MolecularGraph.create(["A"] * 20, np.ones(20), _chain(20))
    mapping = Mapping.from_partition(graph, 5)
    assert mapping.bead_masses.tolist() == [5.0] * 4
    assert mapping.bead_bonds.tolist() == _chain(4).tolist()


def test_hash_depends_on_labels_and_atoms() -> None:
    graph = MolecularGraph.create("AAAA", np.ones(4), _chain(4))
    other = MolecularGraph.create("AAAB", np.ones(4), _chain(4))
    hashes = {
        Mapping.from_labels(graph, [0, 0, 1, 1]).hash(),
        Mapping.from_labels(graph, [0, 1, 1, 1]).hash(),
        Mapping.from_labels(other, [0, 0, 1, 1]).hash(),
    }
    assert len(hashes) == 3


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    mapping = branched()
    mapping.save(tmp_path / "m.json")
    loaded = Mapping.load(tmp_path / "m.json")
    assert loaded.hash() == mapping.hash()
    assert (loaded.graph.masses == mapping.graph.masses).all()


def test_no_bonds_survive_a_file(tmp_path: Path) -> None:
    graph = MolecularGraph.create(["Li"], [6.94], [])
    Mapping.from_partition(graph, 1).save(tmp_path / "m.json")
    assert Mapping.load(tmp_path / "m.json").bead_bonds.shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("", "m.json is not JSON"),
        ("[]", "m.json is JSON of another kind"),
        ('{"format": "x"}', "a mapping of cgml is required"),
        ({"version": 2}, "version 1 is required, .*m.json has version 2: update"),
        ({"bead_index": [0]}, "got shape"),
        ("[" * 100_000, "m.json is not JSON"),
        ({"masses": None}, "m.json is damaged: masses "),
        ({"masses": ["1"] * 12}, "m.json is damaged: masses.0 "),
        ({"types": [1] * 12}, "m.json is damaged: types.0 "),
        ({"bond_types": "b" * 11}, "m.json is damaged: bond_types "),
        ({"bead_index": [0.5] * 12}, "m.json is damaged: bead_index.0 "),
        ({"bead_index": [10**400]}, "m.json is damaged: bead_index.0 "),
        ({"bonds": [[0]]}, "m.json is damaged"),
        ({"recipe": [1]}, "m.json is damaged: recipe "),
        ("missing", "m.json is damaged: types Field required"),
    ],
)
def test_wrong_files(tmp_path: Path, change: Any, match: str) -> None:
    content = json.loads(branched().to_json())
    text = change if isinstance(change, str) else json.dumps({**content, **change})
    if change == "missing":
        del content["types"]
        text = json.dumps(content)
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ValueError, match=match):
        Mapping.load(tmp_path / "m.json")


def test_binary_file(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match=r"UTF-8 is required, .*m\.json"):
        Mapping.load(tmp_path / "m.json")


def test_small_molecules_as_one_bead() -> None:
    bonds = [*_chain(8), *(np.array(_chain(4)) + 8).tolist()]
    graph = MolecularGraph.create(["A"] * 13, np.ones(13), bonds)  # 8 + 4 + 1 atoms
    assert np.bincount(Mapping.from_partition(graph, 2).bead_index).tolist() == [
        *[2] * 6,
        1,
    ]
    mapping = Mapping.from_partition(graph, 2, single_bead_limit=4)
    assert mapping.bead_masses.tolist() == [2, 2, 2, 2, 4, 1]
    assert mapping.molecule_index.tolist() == [0, 0, 0, 0, 1, 2]
