"""What a cut must not part: hydrogens, groups, rings."""

import numpy as np
import pytest

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.groups import is_hydrogen, units
from cgml.molecules.mapping import Mapping
from cgml.molecules.partition import partition
from cgml.molecules.recipe import Recipe

MASSES = {"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "S": 32.06}
MASSES |= {"CH2": 14.027, "CH3": 15.035, "hc": 1.008, "ct": 12.011, "P": 1.0}


def molecule(types: str | list[str], bonds: list, **masses: float) -> MolecularGraph:
    table = MASSES | masses
    return MolecularGraph.create(list(types), [table[name] for name in types], bonds)


def with_hydrogens(heavy: str, bonds: list, counts: list[int]) -> MolecularGraph:
    """Attach hydrogens behind all heavy atoms."""
    types, pairs = list(heavy), list(bonds)
    for atom, n in enumerate(counts):
        for _ in range(n):
            pairs.append((atom, len(types)))
            types.append("H")
    return molecule(types, pairs)


def peo(n: int) -> MolecularGraph:
    """H3C-(O-CH2-CH2)n-O-CH3, hydrogens explicit."""
    heavy = "C" + "OCC" * n + "OC"
    counts = [3] + [0, 2, 2] * n + [0, 3]
    return with_hydrogens(heavy, [(i, i + 1) for i in range(len(heavy) - 1)], counts)


def tfsi() -> MolecularGraph:
    """F3C-SO2-N-SO2-CF3."""
    bonds = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (0, 6), (0, 7), (4, 8), (4, 9)]
    bonds += [(4, 10), (1, 11), (1, 12), (3, 13), (3, 14)]
    return molecule("CSNSC" + "FFF" * 2 + "OOOO", bonds)


def beads(graph: MolecularGraph, size: float, *, hydrogens=True, groups=False) -> list:
    recipe = Recipe(size, keep_hydrogens=hydrogens, keep_groups=groups)
    labels = partition(graph, recipe)
    Mapping.from_labels(graph, labels)  # connected, none empty
    return [
        sorted(graph.types[i] for i in np.flatnonzero(labels == bead))
        for bead in range(labels.max() + 1)
    ]


def test_no_hydrogen_is_alone():
    graph = peo(10)
    loose = beads(graph, 2, hydrogens=False)
    assert any(bead == ["H"] for bead in loose)
    kept = beads(graph, 2)
    assert not any(set(bead) == {"H"} for bead in kept)
    labels = partition(graph, Recipe(2, keep_hydrogens=True))
    first, second = graph.bonds[is_hydrogen(graph)[graph.bonds].any(axis=1)].T
    assert (labels[first] == labels[second]).all()
    heavy = 33
    assert len(kept) == min(round(graph.n_atoms / 2), heavy)


@pytest.mark.parametrize("size", [3.0, 5.0, 7.0])
@pytest.mark.parametrize("seed", range(4))
def test_random_trees_with_hydrogens(seed: int, size: float):
    """Units stay whole, the number is the recipe's, sizes are balanced."""
    rng = np.random.default_rng(seed)
    n = 40
    bonds = [(int(rng.integers(max(0, i - 3), i)), i) for i in range(1, n)]
    graph = with_hydrogens("C" * n, bonds, rng.integers(0, 3, n).tolist())
    labels = partition(graph, Recipe(size, keep_hydrogens=True))
    first, second = graph.bonds[is_hydrogen(graph)[graph.bonds].any(axis=1)].T
    assert (labels[first] == labels[second]).all()
    sizes = np.bincount(labels)
    assert len(sizes) == min(n, round(graph.n_atoms / size))
    assert sizes.max() <= 2.5 * size
    Mapping.from_labels(graph, labels)


def test_a_chain_of_heavy_atoms_is_cut_into_runs():
    """CH3 CH2 CH2 CH3 weighs 4 3 3 4: two beads of seven atoms."""
    graph = with_hydrogens("CCCC", [(0, 1), (1, 2), (2, 3)], [3, 2, 2, 3])
    labels = partition(graph, Recipe(7, keep_hydrogens=True))
    assert labels[:4].tolist() == [0, 0, 1, 1]
    assert np.bincount(labels).tolist() == [7, 7]
    # a heavy end alone, and no bead empty
    uneven = with_hydrogens("COO", [(0, 1), (1, 2)], [3, 0, 0])
    assert partition(uneven, Recipe(2, keep_hydrogens=True))[:3].tolist() == [0, 1, 2]


def test_groups_stay_whole():
    groups = beads(tfsi(), 3, groups=True)
    assert sorted(groups) == sorted(
        [
            ["C", "F", "F", "F"],
            ["O", "O", "S"],
            ["N"],
            ["O", "O", "S"],
            ["C", "F", "F", "F"],
        ]
    )
    assert ["C", "F", "F", "F"] not in beads(tfsi(), 2)


def test_rings_stay_whole():
    """Toluene: the ring with its hydrogens is one, the methyl group another."""
    ring = [(i, (i + 1) % 6) for i in range(6)]
    graph = with_hydrogens("CCCCCCC", [*ring, (0, 6)], [0, 1, 1, 1, 1, 1, 3])
    unit = units(graph, keep_hydrogens=True, keep_groups=True)
    assert set(unit.tolist()) == {0, 6}
    assert (unit[:6] == 0).all()
    large = molecule("C" * 20, [(i, (i + 1) % 20) for i in range(20)])
    unit = units(large, keep_hydrogens=True, keep_groups=True)
    assert len(set(unit.tolist())) == 20


@pytest.mark.parametrize(
    ("types", "bonds", "masses"),
    [
        (["CH3", "CH2", "CH2", "CH3"], [(0, 1), (1, 2), (2, 3)], {}),
        (list("HPPH"), [(0, 1), (1, 2), (2, 3)], {"H": 1.0}),  # a lattice model
        (list("HH"), [(0, 1)], {}),  # molecular hydrogen
        (list("CHC"), [(0, 1), (1, 2)], {}),  # two bonds: none that ends a molecule
    ],
)
def test_what_is_no_hydrogen(types, bonds, masses):
    graph = molecule(types, bonds, **masses)
    assert not is_hydrogen(graph).any()
    assert units(graph, keep_hydrogens=True, keep_groups=False).tolist() == list(
        range(len(types))
    )


def test_hydrogen_by_mass_and_by_name():
    by_mass = molecule(["ct", "hc", "hc", "hc", "hc"], [(0, i) for i in range(1, 5)])
    assert is_hydrogen(by_mass).tolist() == [False, True, True, True, True]
    heavy = molecule("OHH", [(0, 1), (0, 2)], H=4.032)  # repartitioned masses
    assert is_hydrogen(heavy).tolist() == [False, True, True]


def test_what_says_nothing_means_off():
    assert not Recipe(2).keep_hydrogens
    graph = peo(3)
    text = Mapping.from_recipe(graph, Recipe(2)).to_json()
    old = text.replace(', "keep_hydrogens": false, "keep_groups": false', "")
    assert old != text
    assert Mapping.from_json(old).recipe == Recipe(2)
    assert Mapping.from_partition(graph, 2).recipe == Recipe(2, keep_hydrogens=True)
