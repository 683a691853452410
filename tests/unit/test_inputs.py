import numpy as np
import pytest
import torch
from core_systems import (
    MASSES,
    chain,
    coil,
    mixture,
    small_spec,
)
from reference_network import Edges, both_ways, whole

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.ideal_chain import kernels
from cgml.molecules.mapping import Mapping
from cgml.network.inputs import (
    Beads,
    build_system,
    join_atoms,
    join_beads,
)
from cgml.network.kinds import apply_kernels
from cgml.network.pairs import N_STATIC, PairSearch

MEAN_MASS = np.mean(list(MASSES.values()))


def beads_of(*mappings: Mapping) -> Beads:
    return join_beads([build_system(item, small_spec()).beads for item in mappings])


def find_edges(
    beads: Beads,
    sizes: list[int],
    positions: torch.Tensor | None = None,
    cutoff: float | None = None,
) -> Edges:
    """Both edges of all pairs, ordered by receiver and sender."""
    places = torch.zeros(sum(sizes), 3) if positions is None else positions
    edges = both_ways(PairSearch(beads, sizes, cutoff, None)(places))
    order = torch.argsort(edges.receiver * sum(sizes) + edges.sender)
    return Edges(*(part[order] for part in edges))


def pairs_of(edges: Edges) -> list[tuple[int, int]]:
    return list(zip(edges.receiver.tolist(), edges.sender.tolist(), strict=True))


def separations(mapping: Mapping) -> np.ndarray:
    """Bonds between two beads by Floyd and Warshall's rule."""
    n = mapping.n_beads
    apart = np.full((n, n), np.inf)
    np.fill_diagonal(apart, 0.0)
    for i, j in mapping.bead_bonds:
        apart[i, j] = apart[j, i] = 1.0
    for k in range(n):
        apart = np.minimum(apart, apart[:, k, None] + apart[None, k])
    return apart


def test_atoms_of_a_system():
    mapping = mixture()
    atoms = build_system(mapping, small_spec()).atoms
    graph = mapping.graph
    names = list(MASSES)
    assert [names[i] for i in atoms.types] == list(graph.types)
    np.testing.assert_allclose(atoms.masses[:, 0], graph.masses / MEAN_MASS, rtol=1e-6)
    both_ways = {(i, j) for i, j in graph.bonds.tolist()}
    both_ways |= {(j, i) for i, j in both_ways}
    directed = list(zip(atoms.sender.tolist(), atoms.receiver.tolist(), strict=True))
    assert len(directed) == len(both_ways)
    assert set(directed) == both_ways
    kinds = dict(zip(directed, atoms.bond_types.tolist(), strict=True))
    assert kinds[1, 2] == kinds[2, 1] == 1
    assert kinds[0, 1] == kinds[1, 0] == 0
    assert atoms.beads.tolist() == mapping.bead_index.tolist()
    assert atoms.bead_sizes[:, 0].tolist() == [2, 1, 1, 2, 2, 1, 1]


def test_beads_of_a_system():
    mapping, spec = mixture(), small_spec()
    beads = build_system(mapping, spec).beads
    scale = spec.atoms_per_bead * MEAN_MASS
    np.testing.assert_allclose(
        beads.masses[:, 0], mapping.bead_masses / scale, rtol=1e-6
    )
    assert beads.molecules.tolist() == [0, 0, 0, 0, 1, 1, 2]
    sums = [mapping.bead_masses[part].sum() for part in ([0, 1, 2, 3], [4, 5], [6])]
    np.testing.assert_allclose(
        beads.molecule_masses[:, 0], np.array(sums) / scale, rtol=1e-6
    )


@pytest.mark.parametrize("friction", [None, 0.5])
def test_kernels_of_each_molecule(friction):
    mapping = mixture()
    spec = small_spec(friction=friction)
    beads = build_system(mapping, spec).beads
    apart = separations(mapping)
    for first, n in ((0, 4), (4, 2), (6, 1)):
        part = slice(first, first + n)
        local = mapping.bead_bonds - first
        inside = local[(local >= 0).all(axis=1) & (local < n).all(axis=1)]
        expected = kernels(
            mapping.bead_masses[part],
            inside,
            spec.prior,
            hold_centre=friction is not None,
        )
        for found, block in (
            (beads.kinds.mean, expected.mean),
            (beads.kinds.root, expected.root),
            (beads.kinds.inverse, expected.inverse),
        ):
            np.testing.assert_allclose(
                whole(beads, found)[part, part], block, atol=1e-6
            )
        np.testing.assert_allclose(beads.rest[part, 0], expected.rest, atol=1e-6)
        np.testing.assert_array_equal(
            whole(beads, beads.kinds.separation)[part, part], apart[part, part]
        )


@pytest.mark.parametrize(
    ("types", "kinds", "message"),
    [
        ("AXB", None, r"unknown particle type 'X' \(atom 1\): .*A, B, C, D"),
        ("ABB", ["bond", "triple"], r"unknown bond type 'triple'"),
    ],
)
def test_what_is_not_in_the_vocabulary_is_refused(types, kinds, message):
    masses = [MASSES.get(name, 1.0) for name in types]
    graph = MolecularGraph.create(types, masses, [[0, 1], [1, 2]], kinds)
    mapping = Mapping.from_labels(graph, [0, 0, 1])
    with pytest.raises(ValueError, match=message):
        build_system(mapping, small_spec())


def test_a_mass_that_is_not_the_models_is_refused():
    graph = MolecularGraph.create("ABB", [1.0, 2.0, 2.5], [[0, 1], [1, 2]])
    mapping = Mapping.from_labels(graph, [0, 0, 1])
    with pytest.raises(
        ValueError, match=r"'B' must have mass 2 Da .* atom 2 has 2.5 Da"
    ):
        build_system(mapping, small_spec())


def test_all_pairs_of_each_molecule():
    """Molecules whose beads are not in order, too."""
    mixed = Mapping.from_labels(mixture().graph, [4, 4, 1, 2, 0, 0, 3, 3, 5, 6])
    mappings = [chain(), mixed, chain("AB"), chain()]
    sizes = [item.n_beads for item in mappings]
    edges = find_edges(beads_of(*mappings), sizes, None, None)
    owner, start = np.empty(sum(sizes), dtype=int), 0
    for number, mapping in enumerate(mappings):
        stop = start + mapping.n_beads
        owner[start:stop] = 10 * number + mapping.molecule_index
        start = stop
    expected = [
        (i, j)
        for i in range(len(owner))
        for j in range(len(owner))
        if i != j and owner[i] == owner[j]
    ]
    assert pairs_of(edges) == expected


@pytest.mark.parametrize("cutoff", [0.5, 2.0, 4.0, 40.0])
def test_edges_within_a_cutoff(cutoff):
    """Bonds always, at any length; pairs within the cutoff; nothing else; in order."""
    mappings = [mixture(), chain(), mixture()]
    sizes = [item.n_beads for item in mappings]
    places = [coil(item, seed) for seed, item in enumerate(mappings)]
    edges = find_edges(
        beads_of(*mappings), sizes, torch.tensor(np.concatenate(places)), cutoff
    )
    expected, start = [], 0
    for mapping, place in zip(mappings, places, strict=True):
        bonds = {tuple(pair) for pair in mapping.bead_bonds.tolist()}
        for i in range(mapping.n_beads):
            for j in range(mapping.n_beads):
                near = np.linalg.norm(place[i] - place[j]) <= cutoff
                if i != j and (near or (min(i, j), max(i, j)) in bonds):
                    expected.append((start + i, start + j))
        start += mapping.n_beads
    assert pairs_of(edges) == expected


def test_a_cutoff_beyond_the_molecule_is_no_cutoff():
    mapping = chain()
    beads = beads_of(mapping)
    wide = find_edges(beads, [5], torch.tensor(coil(mapping)), 60.0)
    every = find_edges(beads, [5], None, None)
    for one, other in zip(wide, every, strict=True):
        assert torch.equal(one, other)


def test_a_lonely_bead_has_no_edges():
    mapping = chain("AB")
    for cutoff in (None, 2.0):
        edges = find_edges(beads_of(mapping), [1], torch.zeros(1, 3), cutoff)
        assert edges.sender.shape == edges.receiver.shape == (0,)
        assert edges.static.shape == (0, N_STATIC)


def test_edge_features_of_the_bond_graph():
    """Pairs of two molecules, which only a cutoff gives, share no bonds."""
    mappings = [chain(), mixture()]
    places = torch.tensor(np.concatenate([coil(item) for item in mappings]))
    edges = find_edges(beads_of(*mappings), [5, 7], places, 60.0)
    apart = np.full((12, 12), np.inf)
    apart[:5, :5], apart[5:, 5:] = (separations(item) for item in mappings)
    assert edges.static.shape == (5 * 4 + 7 * 6, N_STATIC)
    assert edges.static.dtype == torch.float32
    for (i, j), features in zip(pairs_of(edges), edges.static.tolist(), strict=True):
        s = apart[i, j]
        decays = [np.exp(-s / reach) for reach in (1.5, 4.0, 12.0, 40.0)]
        expected = [float(s == 1.0), float(np.isfinite(s)), *decays]
        np.testing.assert_allclose(features, expected, atol=1e-6)


def test_joined_atoms_stay_apart():
    systems = [build_system(item, small_spec()).atoms for item in (mixture(), chain())]
    joined = join_atoms(systems)
    n = len(systems[0].types)
    n_bonds = len(systems[0].sender)
    assert torch.equal(joined.types, torch.cat([part.types for part in systems]))
    assert torch.equal(joined.masses, torch.cat([part.masses for part in systems]))
    assert torch.equal(joined.sender[:n_bonds], systems[0].sender)
    assert torch.equal(joined.sender[n_bonds:], systems[1].sender + n)
    assert torch.equal(joined.receiver[n_bonds:], systems[1].receiver + n)
    assert torch.equal(joined.bond_types[n_bonds:], systems[1].bond_types)
    assert torch.equal(joined.beads[n:], systems[1].beads + 7)
    assert len(joined.bead_sizes) == 12


def test_joined_beads_are_those_of_each():
    """Matrices too, whatever they are grouped with."""
    mappings = [chain("AABB"), mixture(), chain()]
    parts = [build_system(item, small_spec()).beads for item in mappings]
    joined = join_beads(parts)
    assert joined.molecules.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 3, *[4] * 5]
    start = 0
    for mapping, own in zip(mappings, parts, strict=True):
        stop = start + mapping.n_beads
        for name in ("mean", "root", "inverse", "separation"):
            full = whole(joined, getattr(joined.kinds, name))
            expected = whole(own, getattr(own.kinds, name))
            np.testing.assert_array_equal(full[start:stop, start:stop], expected)
        assert torch.equal(joined.masses[start:stop], own.masses)
        assert torch.equal(joined.rest[start:stop], own.rest)
        start = stop
    masses = torch.cat([part.molecule_masses for part in parts])
    assert torch.equal(joined.molecule_masses, masses)


# --- kinds of molecules


def many(n_chains: int, n_ions: int) -> Mapping:
    """Return equal chains of four beads and then ions, all in one system."""
    n = 4 * n_chains
    bonds = [[i, i + 1] for i in range(n) if i % 4 != 3]
    types = "A" * n + "B" * n_ions
    masses = [MASSES[name] for name in types]
    graph = MolecularGraph.create(types, masses, np.array(bonds))
    return Mapping.from_labels(graph, np.arange(n + n_ions))


def test_equal_molecules_share_their_matrices():
    """Joined systems as well; molecules that are there once are put together."""
    kinds = beads_of(
        many(20, 500), chain("ABCDABCD"), chain("AABBCCDD"), many(1, 3)
    ).kinds
    shapes = [tuple(matrices.shape) for matrices in kinds.mean]
    assert shapes == [(1, 4, 4), (1, 1, 1), (2, 4, 4)]
    assert [tuple(rows.shape) for rows in kinds.members] == [(21, 4), (503, 1), (2, 4)]
    assert [part.shape for part in kinds.root] == [part.shape for part in kinds.mean]


@pytest.mark.parametrize(
    "mappings",
    [
        [many(3, 4)],  # in order, nothing to be gathered
        [mixture(), chain(), mixture(), chain("AABBCDDCAB"), chain("AB")],
        [Mapping.from_labels(mixture().graph, [4, 4, 1, 2, 0, 0, 3, 3, 5, 6])],
    ],
    ids=["in order", "mixed", "beads out of order"],
)
def test_kernels_of_all_molecules_against_one_matrix(mappings):
    beads = beads_of(*mappings)
    n = len(beads.masses)
    values = np.random.default_rng(0).normal(size=(n, 3))
    found = apply_kernels(beads.kinds.root, beads.kinds, torch.tensor(values))
    expected = whole(beads, beads.kinds.root) @ values
    np.testing.assert_allclose(found, expected, atol=1e-12)
    short = apply_kernels(beads.kinds.root, beads.kinds, torch.tensor(values).float())
    assert short.dtype == torch.float32


def test_bits_do_not_depend_on_what_else_is_there():
    """One product for each molecule, also where equal ones share a matrix."""
    systems = [chain(), chain("AABBCCDD" * 4), chain(), mixture(), chain("AB" * 20)]
    beads = beads_of(*systems)
    values = torch.randn(len(beads.masses), 3, dtype=torch.float64)
    together = apply_kernels(beads.kinds.root, beads.kinds, values)
    begin = 0
    for item in systems:
        part = slice(begin, begin + item.n_beads)
        own = beads_of(item).kinds
        alone = apply_kernels(own.root, own, values[part])
        assert torch.equal(alone, together[part])
        begin += item.n_beads
