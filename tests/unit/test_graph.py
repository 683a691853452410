from typing import Any

import mdtraj
import numpy as np
import pytest

from cgml.formats.topology import from_mdtraj
from cgml.molecules.graph import (
    MolecularGraph,
    bond_type_index,
    breadth_first_levels,
    components,
    type_index,
)


def random_bonds(rng: np.random.Generator, n: int, n_bonds: int) -> np.ndarray:
    pairs = rng.integers(n, size=(n_bonds, 2))
    return pairs[pairs[:, 0] != pairs[:, 1]]


def naive_components(n: int, bonds: np.ndarray) -> list[int]:
    label = list(range(n))
    for _ in range(n):
        for i, j in bonds:
            label[i] = label[j] = min(label[i], label[j])
    return [sorted(set(label)).index(x) for x in label]


def test_create_sorts_and_deduplicates() -> None:
    graph = MolecularGraph.create(
        "ABC", [1, 2, 3], [[2, 1], [0, 1], [1, 2]], ["b", "a", "b"]
    )
    assert graph.bonds.tolist() == [[0, 1], [1, 2]]
    assert graph.bond_types == ("a", "b")
    assert graph.types == ("A", "B", "C")
    assert graph.masses.dtype == np.float64


def test_bonds_without_types_are_bonds() -> None:
    assert MolecularGraph.create("AA", [1, 1], [[0, 1]]).bond_types == ("bond",)


def test_arrays_are_frozen_and_own() -> None:
    masses = np.ones(2)
    graph = MolecularGraph.create("AA", masses, [[0, 1]])
    masses[0] = 5.0
    assert graph.masses[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        graph.masses[0] = 2.0


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"masses": [1.0]}, r"one mass for each atom .* \(1,\) for 2 types"),
        ({"masses": [1.0, -1.0]}, r"masses must be positive, masses\[1\] = -1.0"),
        ({"masses": [1.0, np.nan]}, r"masses\[1\] = nan"),
        ({"masses": [0.0, 1.0]}, r"masses\[0\] = 0.0"),
        ({"bonds": [[0, 2]]}, r"join atoms 0 to 1, bonds\[0\] = \[0, 2\]"),
        ({"bonds": [[0, 1], [-1, 0]]}, r"bonds\[1\] = \[-1, 0\]"),
        ({"bonds": [[1, 1]]}, r"bonded to itself, bonds\[0\] = \[1, 1\]"),
        ({"bonds": [0, 1]}, r"shape \(n_bonds, 2\), got int64 of shape \(2,\)"),
        ({"bonds": [[0.0, 1.0]]}, "must be integers"),
        ({"bond_types": ["a", "b"]}, "got 2 types for 1 bonds"),
        (
            {"bonds": [[0, 1], [1, 0]], "bond_types": ["a", "b"]},
            "bond 0-1 is given with two types, 'a' and 'b'",
        ),
    ],
)
def test_wrong_input(kwargs: dict[str, Any], match: str) -> None:
    right: dict[str, Any] = {"types": "AA", "masses": [1.0, 1.0], "bonds": [[0, 1]]}
    with pytest.raises(ValueError, match=match):
        MolecularGraph.create(**{**right, **kwargs})


@pytest.mark.parametrize("seed", range(5))
def test_molecules_are_connected_components(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bonds = random_bonds(rng, 40, 30)
    graph = MolecularGraph.create(["A"] * 40, np.ones(40), bonds)
    expected = naive_components(40, bonds)
    assert graph.molecule_index.tolist() == expected
    assert graph.n_molecules == max(expected) + 1
    for k, atoms in enumerate(graph.molecules):
        assert atoms.tolist() == [i for i in range(40) if expected[i] == k]
    total = sum(len(bonds) for bonds in graph.molecule_bonds)
    assert total == len(graph.bonds)
    for atoms, local in zip(graph.molecules, graph.molecule_bonds, strict=True):
        assert graph.select(atoms).bonds.tolist() == local.tolist()


def test_no_atoms() -> None:
    graph = MolecularGraph.create([], [], [])
    assert (graph.n_atoms, graph.n_molecules, graph.molecules) == (0, 0, ())


def test_select_renumbers() -> None:
    graph = MolecularGraph.create(
        "ABCD", [1, 2, 3, 4], [[0, 1], [1, 2], [2, 3]], ["a", "b", "c"]
    )
    part = graph.select([3, 2, 0])
    assert part.types == ("D", "C", "A")
    assert part.masses.tolist() == [4.0, 3.0, 1.0]
    assert part.bonds.tolist() == [[0, 1]]
    assert part.bond_types == ("c",)


def test_hash_knows_every_part() -> None:
    args: list[Any] = ["AB", [1.0, 2.0], [[0, 1]], ["x"]]
    changes: list[Any] = ["AC", [1.0, 2.5], [], ["y"]]
    first = MolecularGraph.create(*args)
    assert first.hash() == MolecularGraph.create(*args).hash()
    hashes = {first.hash()}
    for place, change in enumerate(changes):
        new = [*args]
        new[place] = change
        if place == 2:
            new[3] = []
        hashes.add(MolecularGraph.create(*new).hash())
    assert len(hashes) == 5


@pytest.mark.parametrize("seed", range(5))
def test_levels_are_distances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bonds = random_bonds(rng, 30, 35)
    distance = np.full(30, -1)
    distance[np.unique(components(30, bonds), return_index=True)[1]] = 0
    pairs = {(int(i), int(j)) for i, j in bonds} | {(int(j), int(i)) for i, j in bonds}
    for level, (nodes, nearer) in enumerate(breadth_first_levels(30, bonds), start=1):
        assert (distance[nodes] == -1).all()
        assert (distance[nearer] == level - 1).all()
        assert set(zip(nearer.tolist(), nodes.tolist(), strict=True)) <= pairs
        distance[nodes] = level
    assert (distance >= 0).all()
    assert all(abs(distance[i] - distance[j]) <= 1 for i, j in bonds)


def ethanol() -> mdtraj.Topology:
    topology = mdtraj.Topology()
    residue = topology.add_residue("EOH", topology.add_chain())
    c1, c2, o = (
        topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
        for name in ("C1", "C2", "O1")
    )
    topology.add_bond(o, c2)
    topology.add_bond(c1, c2)
    return topology


def test_from_mdtraj_takes_elements() -> None:
    graph = from_mdtraj(ethanol())
    assert graph.types == ("C", "C", "O")
    assert graph.masses == pytest.approx([12.011, 12.011, 15.999], abs=1e-3)
    assert graph.bonds.tolist() == [[0, 1], [1, 2]]


def test_from_mdtraj_names_particles_without_element() -> None:
    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    topology.add_atom("A", mdtraj.element.virtual, residue)
    topology.add_atom("C", mdtraj.element.carbon, residue)
    graph = from_mdtraj(topology, {"A": 2.0, "C": 3.0})
    assert graph.types == ("A", "C")
    assert graph.masses.tolist() == [2.0, 3.0]
    with pytest.raises(
        ValueError, match=r"required of X:A in the topology, .*--mass A="
    ):
        from_mdtraj(topology, {"Q": 1.0})


def test_lookup() -> None:
    graph = MolecularGraph.create("ABA", [1, 1, 1], [[0, 1], [1, 2]], ["s", "d"])
    assert type_index(graph, ["B", "A"]).tolist() == [1, 0, 1]
    assert bond_type_index(graph, ["d", "s"]).tolist() == [1, 0]
    with pytest.raises(
        ValueError, match=r"unknown particle type 'B' \(atom 1\): the model knows A, C"
    ):
        type_index(graph, ["A", "C"])
    with pytest.raises(ValueError, match=r"unknown bond type 's' \(bond 0\).* none"):
        bond_type_index(graph, [])


@pytest.mark.parametrize("known", [["CH2", "O"], ["CH2"]])
def test_water_that_a_model_does_not_know_is_called_water(known) -> None:
    graph = MolecularGraph.create(
        ["CH2", "CH2", *"OHH"], [14, 14, 16, 1, 1], [[0, 1], [2, 3], [2, 4]]
    )
    match = r"unknown particle type '[OH]' .*molecule 1 \(atom 2 \(O\)\) is water"
    with pytest.raises(ValueError, match=match):
        type_index(graph, known)
    with pytest.raises(ValueError, match=r"knows O, H$"):
        type_index(graph, ["O", "H"])  # it knows water
