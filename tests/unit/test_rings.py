"""Rings and what goes through them."""

import numpy as np
import pytest

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.rings import small_rings, threaded

SIX = [[i, (i + 1) % 6] for i in range(6)]
ANGLES = np.pi / 3 * np.arange(6)
HEXAGON = 0.14 * np.stack((np.cos(ANGLES), np.sin(ANGLES), 0 * ANGLES), axis=1)


def graph(bonds: list[list[int]]) -> MolecularGraph:
    n = 1 + max(map(max, bonds))
    return MolecularGraph.create("C" * n, np.ones(n), bonds)


def test_rings_are_found_once():
    assert sorted(map(sorted, small_rings(graph(SIX)))) == [[0, 1, 2, 3, 4, 5]]
    fused = [*SIX, [0, 6], [6, 7], [7, 8], [8, 1]]
    found = sorted(map(sorted, small_rings(graph(fused))))
    assert found == [[0, 1, 2, 3, 4, 5], [0, 1, 6, 7, 8]]
    ring = small_rings(graph(SIX))[0]
    assert {
        frozenset(pair) for pair in zip(ring, ring[1:] + ring[:1], strict=True)
    } == {frozenset(pair) for pair in SIX}
    assert small_rings(graph([[i, (i + 1) % 9] for i in range(9)])) == []
    assert small_rings(graph([[0, 1], [1, 2]])) == []


@pytest.mark.parametrize(
    ("place", "is_through"),
    [((0.0, 0.0), True), ((0.1, 0.03), True), ((0.2, 0.0), False), ((0, 0.16), False)],
)
def test_a_bond_through_a_ring_is_found(place, is_through):
    whole = graph([*SIX, [6, 7]])
    bond = np.array([[*place, -0.07], [*place, 0.08]])
    atoms = np.concatenate((HEXAGON, bond))
    rings = small_rings(whole)
    assert bool(threaded(rings, whole.bonds, atoms, None)) == is_through
    box = np.diag([1.0, 1.1, 1.2])
    away = atoms + 0.0
    away[6:] += [2.0, -1.1, 1.2]
    assert bool(threaded(rings, whole.bonds, away, box)) == is_through
    assert not threaded(rings, whole.bonds, away, None)


def test_a_bond_that_ends_before_the_ring_is_not_through():
    whole = graph([*SIX, [6, 7]])
    atoms = np.concatenate((HEXAGON, [[0, 0, 0.01], [0, 0, 0.15]]))
    assert not threaded(small_rings(whole), whole.bonds, atoms, None)
