"""Bond graph -> bead label of each atom, molecule by molecule.

METIS divides; what it leaves disconnected or out of balance is repaired here.
The result depends on the bond graph and on what stays together (hydrogens with their
heavy atoms, groups), so molecules that are alike get the same beads. What stays
together is one node, which weighs as much as it has atoms.

References:
    Karypis and Kumar, SIAM J. Sci. Comput. 20, 359 (1998).
"""

from collections import deque
from typing import TypeAlias

import numpy as np
import pymetis
from numpy.typing import NDArray

from cgml.molecules.graph import MolecularGraph, components, neighbours
from cgml.molecules.groups import units
from cgml.molecules.recipe import GIVEN, RUNS, Recipe

Labels: TypeAlias = NDArray[np.int64]
Neighbours: TypeAlias = list[list[int]]

SEED = 1
"""Seed of METIS: any fixed number, so that a graph has one partition."""

TOLERANCE = 0.5
"""A part within (1 +- TOLERANCE) of the mean size is left as METIS made it."""


def partition(graph: MolecularGraph, recipe: Recipe) -> Labels:
    """Cut every molecule into connected beads of nearly equal size.

    A molecule of n atoms becomes max(1, round(n / atoms_per_bead)) beads, numbered
    along it from one end; fewer where atoms stay together and there are not so many
    units. An unbonded atom is a bead of its own. An unbranched chain (of units) is cut
    into consecutive runs, which is optimal in cut and balance; by "runs", after every
    atoms_per_bead atoms. Molecules with the same
    bonds, atoms numbered alike, are divided once.

    Returns:
        Bead of each atom, (n_atoms,), 0 to n_beads - 1, molecules in order.

    Raises:
        ValueError: the recipe is of beads that were assigned by hand.

    Example:
        >>> graph = MolecularGraph.create("AAAA", np.ones(4), [[0, 1], [1, 2], [2, 3]])
        >>> partition(graph, Recipe(2)).tolist()
        [0, 0, 1, 1]
    """
    if recipe.method == GIVEN:
        raise ValueError(
            "the beads of this model were assigned by hand, so atoms cannot be cut "
            "into them: give the Mapping, or bead frames (.h5md)"
        )
    labels = np.empty(graph.n_atoms, dtype=np.int64)
    unit = units(
        graph, keep_hydrogens=recipe.keep_hydrogens, keep_groups=recipe.keep_groups
    )
    place = np.empty(graph.n_atoms, dtype=np.int64)  # of an atom in its molecule
    for atoms in graph.molecules:
        place[atoms] = np.arange(len(atoms))
    unit = place[unit]
    known: dict[tuple[int, bytes, bytes], Labels] = {}
    n_beads = 0
    for atoms, bonds in zip(graph.molecules, graph.molecule_bonds, strict=True):
        key = (len(atoms), bonds.tobytes(), unit[atoms].tobytes())
        if key not in known:
            node = np.unique(unit[atoms], return_inverse=True)[1].astype(np.int64)
            weights = np.bincount(node)
            n_parts = min(recipe.n_beads(len(atoms)), len(weights))
            edges = np.sort(node[bonds], axis=1)
            edges = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0)
            known[key] = _divide(weights, edges, n_parts, recipe)[node]
        labels[atoms] = n_beads + known[key]
        n_beads += int(known[key].max()) + 1
    return labels


def _divide(
    weights: Labels, bonds: NDArray[np.int64], n_parts: int, recipe: Recipe
) -> Labels:
    """Divide one molecule, nodes of (n,) atoms each; labels (n,) in order along it."""
    n_atoms = len(weights)
    near = neighbours(n_atoms, bonds)
    is_cut_evenly = recipe.method == RUNS and n_atoms > 1 and _is_chain(near)
    if not is_cut_evenly and (n_parts == 1 or n_parts == n_atoms):
        labels = np.arange(n_atoms) % n_parts
    elif _is_chain(near):
        end = min(i for i in range(n_atoms) if len(near[i]) == 1)
        along = _breadth_first(near, end)
        labels = np.empty(n_atoms, dtype=np.int64)
        if is_cut_evenly:
            labels[along] = _every(weights[along], recipe.atoms_per_bead)
        else:
            labels[along] = _runs(weights[along], n_parts)
    else:
        labels = _metis(near, weights, n_parts, recipe.method)
        labels = _connect(near, weights, bonds, labels, n_parts)
        labels = _balance(near, weights, labels, n_parts)
    return _number_along(near, labels)


def _runs(weights: Labels, n_parts: int) -> Labels:
    """Cut a chain of nodes into runs of nearly equal weight, none empty."""
    ends = np.cumsum(weights)
    middle = 2 * ends - weights  # a chain read backwards is cut alike
    labels = middle * n_parts // (2 * ends[-1])
    starts = np.searchsorted(labels, np.arange(n_parts))
    for part in range(1, n_parts):
        starts[part] = max(starts[part], starts[part - 1] + 1)
    for part in range(n_parts - 1, 0, -1):
        starts[part] = min(starts[part], len(weights) - n_parts + part)
    return np.searchsorted(starts, np.arange(len(weights)), side="right") - 1


def _every(weights: Labels, size: float) -> Labels:
    """Cut a chain of nodes after every so many atoms; a rest of half a run is one."""
    ends = np.cumsum(weights)
    n_parts = max(1, int(ends[-1] / size + 0.5))
    labels = ((ends - 0.5 * weights) / size).astype(np.int64)
    return np.unique(np.minimum(labels, n_parts - 1), return_inverse=True)[1]


def _is_chain(near: Neighbours) -> bool:
    """Tell an unbranched open chain (the graph is connected)."""
    degrees = [len(others) for others in near]
    return max(degrees) <= 2 and sum(degrees) == 2 * (len(degrees) - 1)


def _breadth_first(near: Neighbours, start: int) -> list[int]:
    """Nodes in order of distance from the start, ties in order of discovery."""
    order, seen = [start], {start}
    for i in order:
        new = [j for j in near[i] if j not in seen]
        order.extend(new)
        seen.update(new)
    return order


def _metis(near: Neighbours, weights: Labels, n_parts: int, method: str) -> Labels:
    """Let METIS divide; parts may be empty, disconnected or out of balance."""
    _, labels = pymetis.part_graph(
        n_parts,
        adjacency=[np.array(others, dtype=np.int64) for others in near],
        vweights=None if weights.max() == 1 else weights.tolist(),
        recursive=method != "kway",
        options=pymetis.Options(seed=SEED),
    )
    return np.array(labels, dtype=np.int64)


def _connect(
    near: Neighbours,
    weights: Labels,
    bonds: NDArray[np.int64],
    labels: Labels,
    n_parts: int,
) -> Labels:
    """Make n_parts connected parts: keep the largest piece of each, share the rest."""
    labels = _keep_largest_pieces(weights, bonds, labels)
    homeless = deque(np.flatnonzero(labels < 0).tolist())
    while homeless:
        i = homeless.popleft()
        parts = {int(labels[j]) for j in near[i] if labels[j] >= 0}
        if parts:
            labels[i] = min(parts)
        else:
            homeless.append(i)
    for part in np.flatnonzero(np.bincount(labels, minlength=n_parts) == 0):
        sizes = _sizes(labels, weights, n_parts)
        sizes[np.bincount(labels, minlength=n_parts) < 2] = 0  # one node is not cut
        largest = int(np.argmax(sizes))
        labels[_bisect(near, weights, np.flatnonzero(labels == largest))] = part
    return labels


def _sizes(labels: Labels, weights: Labels, n_parts: int) -> Labels:
    """Atoms in each part, (n_parts,)."""
    sizes = np.zeros(n_parts, dtype=np.int64)
    np.add.at(sizes, labels, weights)
    return sizes


def _keep_largest_pieces(
    weights: Labels, bonds: NDArray[np.int64], labels: Labels
) -> Labels:
    """Label -1 all atoms outside the largest connected piece of their part."""
    inside = bonds[labels[bonds[:, 0]] == labels[bonds[:, 1]]]
    piece = components(len(labels), inside)
    part = labels[np.unique(piece, return_index=True)[1]]
    size = _sizes(piece, weights, len(part))
    order = np.lexsort((np.arange(len(size)), -size, part))  # largest piece first
    is_largest = np.zeros(len(size), dtype=np.bool_)
    is_largest[order[np.unique(part[order], return_index=True)[1]]] = True
    return np.where(is_largest[piece], labels, -1)


def _balance(near: Neighbours, weights: Labels, labels: Labels, n_parts: int) -> Labels:
    """Divide pairs of touching parts anew until sizes are within TOLERANCE.

    Each change brings two sizes closer, so it ends; around a hub (a star) it ends
    with no balance, because connected parts have none.
    """
    mean = weights.sum() / n_parts
    while True:
        sizes = _sizes(labels, weights, n_parts)
        if (abs(sizes - mean) <= TOLERANCE * mean).all():
            return labels
        for a, b in _unequal_pairs(near, labels, sizes):
            nodes = np.flatnonzero((labels == a) | (labels == b))
            half = _bisect(near, weights, nodes)
            gap = int(sizes[a] + sizes[b] - 2 * weights[half].sum())
            if abs(gap) < abs(int(sizes[a] - sizes[b])):
                labels[nodes] = a
                labels[half] = b
                break
        else:
            return labels


def _unequal_pairs(
    near: Neighbours, labels: Labels, sizes: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Touching parts whose sizes differ by 2 or more, the most unequal first."""
    pairs = {
        (int(min(labels[i], labels[j])), int(max(labels[i], labels[j])))
        for i, others in enumerate(near)
        for j in others
        if abs(sizes[labels[i]] - sizes[labels[j]]) >= 2
    }
    return sorted(pairs, key=lambda pair: (-abs(sizes[pair[0]] - sizes[pair[1]]), pair))


def _bisect(near: Neighbours, weights: Labels, nodes: NDArray[np.int64]) -> list[int]:
    """Cut one connected part in two connected ones, as equal as a tree edge allows.

    Two spanning trees are tried, the breadth-first (compact halves) and the
    depth-first (equal halves in rings and sheets). Returns the nodes of one half.
    """
    inside = set(nodes.tolist())
    trees = [
        _spanning_tree(near, inside, int(nodes[0]), depth_first=depth_first)
        for depth_first in (False, True)
    ]
    branches = [_best_branch(tree, weights) for tree in trees]
    total = int(weights[nodes].sum())
    return min(branches, key=lambda own: abs(total - 2 * int(weights[own].sum())))


def _spanning_tree(
    near: Neighbours, inside: set[int], root: int, *, depth_first: bool
) -> dict[int, int]:
    """Parent of each node in the order of their visit; the root is its own."""
    parent: dict[int, int] = {}
    waiting = deque([(root, root)])
    while waiting:
        node, origin = waiting.pop() if depth_first else waiting.popleft()
        if node not in parent:
            parent[node] = origin
            others = [j for j in near[node] if j in inside and j not in parent]
            waiting.extend((j, node) for j in others)
    return parent


def _best_branch(parent: dict[int, int], weights: Labels) -> list[int]:
    """Nodes of the branch of a rooted tree that is nearest to half of it."""
    nodes = list(parent)
    size = {node: int(weights[node]) for node in nodes}
    for node in reversed(nodes[1:]):
        size[parent[node]] += size[node]
    top = min(nodes[1:], key=lambda node: abs(size[nodes[0]] - 2 * size[node]))
    branch = {top}
    for node in nodes[1:]:  # parents come before children
        if parent[node] in branch:
            branch.add(node)
    return sorted(branch)


def _number_along(near: Neighbours, labels: Labels) -> Labels:
    """Number the parts in order of distance from one end of the molecule."""
    parts, first = np.unique(labels, return_index=True)
    touching: list[set[int]] = [set() for _ in parts]
    for i, others in enumerate(near):
        touching[labels[i]].update(int(labels[j]) for j in others)
    ways = [sorted(others, key=lambda part: first[part]) for others in touching]
    one = _breadth_first(ways, int(labels[0]))[-1]
    other = _breadth_first(ways, one)[-1]
    order = _breadth_first(ways, min(one, other, key=lambda part: first[part]))
    rank = np.empty(len(parts), dtype=np.int64)
    rank[order] = np.arange(len(parts))
    return rank[labels]
