from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pytest

from cgml.molecules import partition as module
from cgml.molecules.graph import MolecularGraph, components
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe

Edges = list[tuple[int, int]]
METHODS: list[Literal["recursive", "kway"]] = ["recursive", "kway"]


def partition(
    graph: MolecularGraph,
    atoms_per_bead: float,
    method: Literal["recursive", "kway", "runs"] = "recursive",
    single_bead_limit: int = 0,
) -> module.Labels:
    recipe = Recipe(atoms_per_bead, method, single_bead_limit)
    return module.partition(graph, recipe)


def molecule(edges: Iterable[tuple[int, int]]) -> MolecularGraph:
    bonds = np.array(list(edges))
    n = int(bonds.max()) + 1
    return MolecularGraph.create(["A"] * n, np.ones(n), bonds)


def chain(n: int) -> Edges:
    return [(i, i + 1) for i in range(n - 1)]


def ring(n: int) -> Edges:
    return [*chain(n), (n - 1, 0)]


def star(n: int) -> Edges:
    return [(0, i) for i in range(1, n)]


def grid(n: int, m: int) -> Edges:
    across = [(m * i + j, m * i + j + 1) for i in range(n) for j in range(m - 1)]
    return across + [(m * i + j, m * i + m + j) for i in range(n - 1) for j in range(m)]


def dendrimer(branching: int, n: int) -> Edges:
    return [((i - 1) // branching, i) for i in range(1, n)]


def spider(n_arms: int, length: int) -> Edges:
    edges = [(0, 1 + length * arm) for arm in range(n_arms)]
    for arm in range(n_arms):
        start = 1 + length * arm
        edges += [(start + i, start + i + 1) for i in range(length - 1)]
    return edges


def polyethylene(n: int) -> Edges:
    hydrogens = [(i, n + 2 * i + k) for i in range(n) for k in range(2)]
    return chain(n) + hydrogens


def random_tree(n: int, seed: int) -> Edges:
    rng = np.random.default_rng(seed)
    return [(int(rng.integers(i)), i) for i in range(1, n)]


GRAPHS: dict[str, Edges] = {
    "chain": chain(103),
    "ring": ring(30),
    "grid": grid(9, 11),
    "dendrimer2": dendrimer(2, 127),
    "dendrimer3": dendrimer(3, 121),
    "spider": spider(5, 16),
    "polyethylene": polyethylene(117),
    "rope": [*grid(2, 40), *((i, i + 41) for i in range(39))],
}
STRANGE: dict[str, Edges] = {
    "star": star(21),
    "clique": [(i, j) for i in range(12) for j in range(i)],
    "lollipop": [*((i, j) for i in range(10) for j in range(i)), *chain(39)[9:]],
    "tree1": random_tree(200, 1),
    "tree2": random_tree(57, 2),
    "two stars": [*star(20), (1, 20), *((20, i) for i in range(21, 40))],
}


def sizes_of(graph: MolecularGraph, labels: Any) -> np.ndarray:
    Mapping.from_labels(graph, labels)  # no bead empty or in two pieces
    return np.bincount(labels)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("per_bead", [1, 2, 3.3, 5, 7, 20, 1000])
@pytest.mark.parametrize("name", [*GRAPHS, *STRANGE])
def test_parts_are_connected_and_as_many_as_asked(
    name: str, per_bead: float, method: Literal["recursive", "kway"]
) -> None:
    graph = molecule({**GRAPHS, **STRANGE}[name])
    sizes = sizes_of(graph, partition(graph, per_bead, method=method))
    assert len(sizes) == max(1, round(graph.n_atoms / per_bead))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("per_bead", [5, 7, 9, 12])
@pytest.mark.parametrize("name", GRAPHS)
def test_parts_are_balanced(
    name: str, per_bead: float, method: Literal["recursive", "kway"]
) -> None:
    graph = molecule(GRAPHS[name])
    sizes = sizes_of(graph, partition(graph, per_bead, method=method))
    assert sizes.max() <= 2 * sizes.mean()
    assert sizes.min() >= 0.3 * sizes.mean()


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 80))
    extra = [tuple(pair) for pair in rng.integers(n, size=(n // 4, 2)).tolist()]
    graph = molecule([*random_tree(n, seed), *(p for p in extra if p[0] != p[1])])
    n_parts = int(rng.integers(1, n))
    labels = partition(graph, n / n_parts)
    assert len(sizes_of(graph, labels)) == max(1, round(n / (n / n_parts)))
    assert (partition(graph, n / n_parts) == labels).all()


def pieces(graph: MolecularGraph, labels: np.ndarray) -> int:
    inside = labels[graph.bonds[:, 0]] == labels[graph.bonds[:, 1]]
    return int(components(graph.n_atoms, graph.bonds[inside]).max()) + 1


@pytest.mark.parametrize("name", ["star", "two stars", "tree1"])
def test_metis_alone_would_not_do(name: str) -> None:
    """The repair is needed: METIS leaves parts of these in several pieces."""
    graph = molecule(STRANGE[name])
    near: list[list[int]] = [[] for _ in range(graph.n_atoms)]
    for i, j in graph.bonds.tolist():
        near[i].append(j)
        near[j].append(i)
    n_parts = graph.n_atoms // 5
    raw = module._metis(near, np.ones(graph.n_atoms, int), n_parts, "recursive")
    assert pieces(graph, raw) > n_parts
    assert pieces(graph, partition(graph, 5)) == n_parts


@pytest.mark.parametrize(
    "edges", [ring(20), grid(4, 5), [(i, j) for i in range(20) for j in range(i)]]
)
def test_bisection_of_rings_sheets_and_cliques_is_equal(edges: Edges) -> None:
    near: list[list[int]] = [[] for _ in range(20)]
    for i, j in edges:
        near[i].append(j)
        near[j].append(i)
    half = module._bisect(near, np.ones(20, dtype=int), np.arange(20))
    labels = np.isin(np.arange(20), half).astype(int)
    assert abs(len(half) - 10) <= 1
    assert pieces(molecule(edges), labels) == 2


@pytest.mark.parametrize("n", [1, 2, 7, 10, 99, 100, 101])
@pytest.mark.parametrize("per_bead", [1, 2, 3, 5, 7.5])
def test_chain_is_cut_into_equal_runs(n: int, per_bead: float) -> None:
    order = np.random.default_rng(n).permutation(n)
    bonds = order[np.array(chain(n), dtype=int).reshape(-1, 2)]
    graph = MolecularGraph.create(["A"] * n, np.ones(n), bonds)
    along = partition(graph, per_bead)[order]
    if along[0] > along[-1]:
        along = along[::-1]
    assert set(np.diff(along).tolist()) <= {0, 1}
    sizes = np.bincount(along)
    assert sizes.max() - sizes.min() <= 1


def test_chain_read_backwards_is_cut_alike() -> None:
    for n, per_bead in [(7, 2.3), (23, 5), (100, 5), (101, 7)]:
        labels = partition(molecule(chain(n)), per_bead)
        sizes = np.bincount(labels)
        if n % 2 == 1 and len(sizes) % 2 == 0:
            continue  # no cut is its own mirror image
        assert sizes.tolist() == sizes[::-1].tolist()


def test_runs_of_five() -> None:
    assert partition(molecule(chain(100)), 5).tolist() == (np.arange(100) // 5).tolist()


@pytest.mark.parametrize(
    ("n", "expected"),
    [(2, [2]), (6, [6]), (8, [8]), (9, [6, 3]), (36, [6] * 6), (39, [6] * 6 + [3])],
)
def test_runs_are_of_one_length_whatever_the_chain(n: int, expected: list[int]) -> None:
    labels = partition(molecule(chain(n)), 6, "runs", single_bead_limit=15)
    assert np.bincount(labels).tolist() == expected
    assert (np.diff(labels) >= 0).all()


def test_runs_begin_at_the_end_that_comes_first() -> None:
    """Atom 0 is inside: the run of six begins at atom 1, the rest is at atom 8."""
    order = np.array([1, 5, 0, 3, 2, 4, 7, 6, 8])
    graph = MolecularGraph.create(["A"] * 9, np.ones(9), order[np.array(chain(9))])
    labels = partition(graph, 6, "runs")
    assert labels[order].tolist() == [0] * 6 + [1] * 3


def test_runs_leave_branched_molecules_to_metis() -> None:
    star = molecule(dendrimer(2, 31))
    assert partition(star, 5, "runs").tolist() == partition(star, 5).tolist()
    assert set(partition(star, 5, "runs", single_bead_limit=31)) == {0}
    assert partition(MolecularGraph.create("A", np.ones(1), []), 5, "runs") == [0]


def test_identical_molecules_are_cut_alike_and_in_order() -> None:
    one = np.array(dendrimer(2, 31))
    bonds = np.concatenate([one, one + 31, [[62, 63]], one + 64])
    graph = MolecularGraph.create(["A"] * 96, np.ones(96), bonds)  # atom 95 is alone
    labels = partition(graph, 5)
    n = int(labels[:31].max()) + 1
    assert n == 6
    assert (labels[31:62] == labels[:31] + n).all()
    assert labels[62:64].tolist() == [2 * n, 2 * n]
    assert (labels[64:95] == labels[:31] + 2 * n + 1).all()
    assert labels[95] == 3 * n + 1


def test_labels_follow_interleaved_molecules() -> None:
    bonds = [(0, 2), (2, 4), (4, 6), (1, 3), (3, 5), (5, 7)]
    graph = MolecularGraph.create(["A"] * 8, np.ones(8), bonds)
    assert partition(graph, 2).tolist() == [0, 2, 0, 2, 1, 3, 1, 3]


def test_ions_are_beads() -> None:
    graph = MolecularGraph.create(["Li"] * 4, np.ones(4), [])
    assert partition(graph, 7).tolist() == [0, 1, 2, 3]


def electrolyte() -> MolecularGraph:
    """Three branched chains of 31 atoms, four stars of 15, five ions, mixed."""
    kinds = [dendrimer(2, 31), star(15), []]
    sequence = [0, 2, 1, 2, 1, 0, 2, 1, 2, 1, 0, 2]
    bonds: Edges = []
    start = 0
    for kind in sequence:
        bonds += [(i + start, j + start) for i, j in kinds[kind]]
        start += (31, 15, 1)[kind]
    return MolecularGraph.create(["A"] * start, np.ones(start), bonds)


@pytest.mark.parametrize(
    ("limit", "anion"), [(0, [5, 10]), (1, [5, 10]), (14, [5, 10]), (15, [15])]
)
def test_small_molecules_as_one_bead(limit: int, anion: list[int]) -> None:
    graph = electrolyte()
    sizes = sizes_of(graph, partition(graph, 7, single_bead_limit=limit))
    labels = partition(graph, 7, single_bead_limit=limit)
    for atoms in graph.molecules:
        beads, counts = np.unique(labels[atoms], return_counts=True)
        if len(atoms) == 1:
            assert counts.tolist() == [1]
        elif len(atoms) == 15:
            assert len(beads) == len(anion)
            assert counts.sum() == 15
        else:
            assert len(beads) == round(31 / 7)
    assert len(sizes) == 3 * 4 + 4 * len(anion) + 5


def test_each_kind_of_molecule_is_divided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    divided = []
    divide = module._divide

    def counted(weights: Any, *rest: Any) -> Any:
        divided.append(len(weights))
        return divide(weights, *rest)

    monkeypatch.setattr(module, "_divide", counted)
    graph = electrolyte()
    labels = partition(graph, 7)
    assert sorted(divided) == [1, 15, 31]
    chains = [labels[atoms] for atoms in graph.molecules if len(atoms) == 31]
    for chain in chains:
        assert (chain - chain.min() == chains[0] - chains[0].min()).all()


def test_negative_limit() -> None:
    match = "single_bead_limit must be 0 or more, got -1"
    with pytest.raises(ValueError, match=match):
        partition(molecule(chain(4)), 2, single_bead_limit=-1)


def test_beads_are_numbered_along_the_molecule() -> None:
    graph = molecule(polyethylene(120))
    mapping = Mapping.from_partition(graph, 6)
    neighbours = np.abs(np.diff(mapping.bead_bonds, axis=1))
    assert mapping.n_beads == 60
    assert (neighbours <= 2).all()


def test_types_and_masses_do_not_matter() -> None:
    bonds = dendrimer(3, 40)
    first = MolecularGraph.create(["A"] * 40, np.ones(40), bonds)
    other = MolecularGraph.create(["B"] * 40, np.arange(1, 41), bonds)
    assert (partition(first, 4) == partition(other, 4)).all()


@pytest.mark.parametrize(
    ("per_bead", "method", "match"),
    [
        (0.5, "recursive", "atoms_per_bead must be 1 or more, got 0.5"),
        (float("nan"), "recursive", "got nan"),
        (float("inf"), "recursive", "got inf"),
        (5, "best", "'recursive', 'kway' or 'runs', got 'best'"),
    ],
)
def test_wrong_input(per_bead: float, method: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        partition(molecule(chain(4)), per_bead, method=method)
