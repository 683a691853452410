"""Where atoms are expected in their beads: ideal chains done by hand, and what for."""

import numpy as np
import pytest
import torch
from core_systems import learned, small_spec
from scipy.optimize import minimize

from cgml.dynamics.propagator import Propagator
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.ideal_chain import depths, type_centres
from cgml.molecules.mapping import Mapping
from cgml.network.inputs import build_system, centre_offsets, join_beads

RNG = np.random.default_rng(5)


def line(types: str, beads: list[int], masses: np.ndarray | None = None) -> Mapping:
    """Return one unbranched molecule."""
    n = len(types)
    bonds = [[i, i + 1] for i in range(n - 1)]
    weights = np.ones(n) if masses is None else masses
    return Mapping.from_labels(MolecularGraph.create(types, weights, bonds), beads)


def type_index(mapping: Mapping) -> np.ndarray:
    return np.array(["AB".index(name) for name in mapping.graph.types])


def centres(mapping: Mapping, positions: np.ndarray) -> np.ndarray:
    """Return offsets of type centres, (n_beads, 2, 3)."""
    pairs, weights = type_centres(mapping, type_index(mapping), 2)
    offsets = np.zeros((mapping.n_beads, 2, 3))
    gaps = positions[pairs[:, 1]] - positions[pairs[:, 0]]
    np.add.at(offsets, pairs[:, 0], weights[:, :, None] * gaps[:, None])
    return offsets


def test_depths_of_a_run_of_three_are_those_of_the_ideal_chain():
    """Gaussian trimer: <s^2> of ends and middle 5/9 and 2/9 of a square bond."""
    values = depths(line("AAAB", [0, 0, 0, 1]))
    np.testing.assert_allclose(values, [0.25, -0.5, 0.25, 0.0], atol=1e-12)


def test_depths_are_those_of_sampled_springs():
    """Ideal star with unequal masses: Gaussian bonds, centre of mass taken off."""
    masses = np.array([1.0, 2.0, 5.0, 1.0, 3.0])
    bonds = [[0, 1], [1, 2], [1, 3], [3, 4]]
    graph = MolecularGraph.create("AAAAA", masses, bonds)
    steps = RNG.normal(size=(4, 200_000))
    x = np.zeros((5, 200_000))
    for (i, j), step in zip(bonds, steps, strict=True):
        x[j] = x[i] + step
    x -= (masses[:, None] * x).sum(axis=0) / masses.sum()
    square = np.square(x).mean(axis=1)
    expected = square / square.mean() - 1.0
    found = depths(Mapping.from_labels(graph, np.zeros(5, dtype=int)))
    error = np.square(x).std(axis=1) / 200_000**0.5 / square.mean()
    assert (np.abs(found - expected) < 4.0 * error).all()


def test_two_pairs_by_hand():
    """Four atoms in two beads: springs of equal length put them on a line.

    Centres at 0 and 1 nm; atoms at -a, a, 1 - a, 1 + a stretch the springs least where
    d/da [2 (2a)^2 + (1 - 2a)^2] = 0: a = 1/6.
    """
    found = centres(line("ABBA", [0, 0, 1, 1]), np.array([[0.0, 0, 0], [1.0, 0, 0]]))
    np.testing.assert_allclose(found[:, :, 0], [[-1 / 6, 1 / 6], [1 / 6, -1 / 6]])
    np.testing.assert_array_equal(found[:, :, 1:], 0.0)


def test_centres_are_where_the_springs_are_stretched_least():
    """A ring with a tail, unequal masses, against a minimiser without matrices."""
    masses = np.array([1.0, 2, 1, 3, 1, 1, 2, 1])
    bonds = [[i, i + 1] for i in range(7)] + [[0, 5]]
    graph = MolecularGraph.create("ABBABABA", masses, bonds)
    mapping = Mapping.from_labels(graph, [0, 0, 1, 1, 2, 2, 3, 3])
    beads = RNG.normal(size=(4, 3))

    def atoms_of(free: np.ndarray) -> np.ndarray:
        atoms = free.reshape(8, 3)
        return atoms + (beads - mapping.positions(atoms))[mapping.bead_index]

    def energy(free: np.ndarray) -> float:
        atoms = atoms_of(free)
        first, second = graph.bonds.T
        return float(np.square(atoms[first] - atoms[second]).sum())

    best = minimize(energy, np.zeros(24), method="BFGS", options={"gtol": 1e-9}).x
    atoms, types = atoms_of(best), type_index(mapping)
    found = centres(mapping, beads)
    for bead in range(4):
        for kind in range(2):
            inside = (mapping.bead_index == bead) & (types == kind)
            expected = atoms[inside].mean(axis=0) - beads[bead] if inside.any() else 0.0
            np.testing.assert_allclose(found[bead, kind], expected, atol=1e-7)


def test_lone_atoms_and_lone_beads_have_no_places():
    graph = MolecularGraph.create("ABAA", np.ones(4), [[0, 1]])
    mapping = Mapping.from_labels(graph, [0, 0, 1, 2])
    np.testing.assert_array_equal(depths(mapping)[2:], 0.0)
    pairs, weights = type_centres(mapping, type_index(mapping), 2)
    assert pairs.shape == (0, 2)
    assert weights.shape == (0, 2)


def test_joined_systems_have_the_centres_of_each_alone():
    spec = small_spec(network={"atom_places": True})
    mappings = [
        line("AABBAB", [0, 0, 1, 1, 2, 2], np.array([1.0, 1, 2, 2, 1, 2])),
        line("ABBA", [0, 0, 1, 1], np.array([1.0, 2, 2, 1])),
    ]
    parts = [build_system(item, spec).beads for item in mappings]
    places = [torch.tensor(RNG.normal(size=(n, 3))) for n in (3, 2)]
    both = centre_offsets(join_beads(parts), torch.cat(places))
    alone = [centre_offsets(p, x) for p, x in zip(parts, places, strict=True)]
    assert torch.equal(both, torch.cat(alone))
    assert both.abs().max() > 0.05


@pytest.mark.parametrize(
    ("one", "other"),
    [("BAABAA", "ABAABA"), ("BAAAAB", "AABBAA")],
    ids=["inside", "end"],
)
@pytest.mark.parametrize("sees", [True, False])
def test_the_order_inside_a_bead_counts_where_asked_for(one, other, sees):
    """Same atoms in another order: seen with places, otherwise the same bits."""
    network = {"atom_places": sees, "n_embedding_steps": 0}
    model = learned(small_spec(network=network, atoms_per_bead=3.0))
    ends = []
    for types in (one, other):
        masses = np.array([{"A": 1.0, "B": 2.0}[name] for name in types])
        equal = line(types, [0, 0, 0, 1, 1, 1], masses)
        propagator = Propagator(model, [equal], seed=3, guard="record")
        state = propagator.start(np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]]))
        ends.append(propagator.step(state).positions)
    assert torch.equal(ends[0], ends[1]) != sees
