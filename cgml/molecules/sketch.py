"""Drawings of molecules: atoms, bonds, and which bead each atom belongs to.

Small molecules are laid out so that distances on paper are those along the bonds;
long ones are written in lines, like text: their longest path runs to and fro, and what
hangs on it stands beside it.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import networkx as nx
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cgml.files import replacing
from cgml.molecules.mapping import Mapping
from cgml.molecules.summary import Kind

MOST_PANELS = 6
MOST_ATOMS = 1500
"""Atoms of a molecule that are drawn; of a larger one the first along its path."""

_SMALL = 60  # atoms of a molecule that is laid out by distances
_PER_LINE = 36  # atoms of the longest path
_N_COLOURS = 10
_WIDTH = 10.0  # inch
_GREY = "#9a9a9a"

Floats = NDArray[np.float64]


class Picture(NamedTuple):
    """A kind of molecule, and a system that has it."""

    mapping: Mapping
    kind: Kind


def draw(pictures: Sequence[Picture], path: Path) -> None:
    """Draw a molecule of each kind, one below the other.

    Args:
        pictures: the kinds; the first `MOST_PANELS` are drawn.
        path: of the PNG file.
    """
    shown = [(picture, _Molecule(picture)) for picture in pictures[:MOST_PANELS]]
    heights = [molecule.height + 0.5 for _, molecule in shown]  # inch
    total = sum(heights)
    figure = Figure(figsize=(_WIDTH, total))
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        *(len(shown), 1),
        height_ratios=heights,
        hspace=0.5 * len(shown) / total,
        left=0.01,
        right=0.99,
        bottom=0.01,
        top=1.0 - 0.3 / total,
    )
    for row, (_, molecule) in enumerate(shown):
        molecule.draw(figure.add_subplot(grid[row]))
    with replacing(path) as temporary, temporary.open("wb") as stream:
        figure.savefig(stream, format="png", dpi=110)


class _Molecule:
    """One molecule, its atoms numbered from 0."""

    def __init__(self, picture: Picture) -> None:
        graph, kind = picture.mapping.graph, picture.kind
        atoms = graph.molecules[kind.example]
        bonds = graph.molecule_bonds[kind.example]
        self._graph = nx.Graph()
        self._graph.add_nodes_from(range(len(atoms)))
        self._graph.add_edges_from(bonds.tolist())
        self._is_small = len(atoms) <= _SMALL
        self._title = (
            f"{kind.count} x {kind.formula}: {kind.n_atoms} atoms, {kind.n_beads} "
            f"bead{'s' if kind.n_beads > 1 else ''}"
        )
        if len(atoms) > MOST_ATOMS:
            self._title += f", the first {MOST_ATOMS} atoms"
            end = longest_path(self._graph)[:1]
            order = list(_outwards(self._graph, end))[:MOST_ATOMS]
            self._graph = self._graph.subgraph(order).copy()
        places = layout(self._graph)
        self._nodes = sorted(self._graph)
        self._places = np.array([places[node] for node in self._nodes])
        self._types = [graph.types[atoms[node]] for node in self._nodes]
        self._beads = picture.mapping.bead_index[atoms[self._nodes]]
        self._beads = self._beads - self._beads.min()
        span = np.ptp(self._places, axis=0) + 2.0
        width = max(span[0], 14.0)
        self.height = float(np.clip(_WIDTH * span[1] / width, 0.8, 24.0))

    def draw(self, axes: Axes) -> None:
        """Draw bonds, and atoms in the colours of their beads."""
        colours = colormaps["tab10"](np.arange(_N_COLOURS))
        row = {node: i for i, node in enumerate(self._nodes)}
        ends = np.array(
            [[row[i], row[j]] for i, j in self._graph.edges], dtype=int
        ).reshape(-1, 2)
        own = self._beads[ends[:, 0]] == self._beads[ends[:, 1]]
        lines = self._places[ends]
        inside = colours[self._beads[ends[own, 0]] % _N_COLOURS]
        wide = LineCollection(lines[own], colors=inside, linewidths=13, alpha=0.35)
        wide.set_capstyle("round")
        axes.add_collection(wide)
        axes.add_collection(LineCollection(lines[~own], colors=_GREY, linestyles=":"))
        axes.add_collection(LineCollection(lines[own], colors=_GREY, linewidths=1.0))
        axes.scatter(
            self._places[:, 0],
            self._places[:, 1],
            s=130 if self._is_small else 75,
            facecolors="white",
            edgecolors=[tuple(colours[bead % _N_COLOURS]) for bead in self._beads],
            linewidths=1.6,
            zorder=3,
        )
        size = 8 if self._is_small else 6
        for (x, y), name in zip(self._places, self._types, strict=True):
            text = axes.text(x, y, name, ha="center", va="center", fontsize=size)
            text.set_parse_math(False)
        axes.set_title(self._title, fontsize=9, loc="left", parse_math=False)
        low, high = self._places.min(axis=0), self._places.max(axis=0)
        width = max(high[0] - low[0] + 2.0, 14.0)
        axes.set_xlim(low[0] - 1.0, low[0] - 1.0 + width)
        axes.set_ylim(low[1] - 1.0, high[1] + 1.0)
        axes.set_aspect("equal")
        axes.axis("off")


def layout(graph: "nx.Graph[int]") -> dict[int, Floats]:
    """Place the atoms of a molecule, (2,) each, neighbours about 1 apart."""
    if len(graph) <= _SMALL:
        return _by_distance(graph)
    return _lines(graph, longest_path(graph))


def longest_path(graph: "nx.Graph[int]") -> list[int]:
    """Find a path between atoms that are far apart: of a tree, the longest one."""
    end = min(graph)
    path: list[int] = []
    for _ in range(2):
        before = _outwards(graph, [end])
        node: int | None = list(before)[-1]
        path = []
        while node is not None:
            path.append(node)
            node = before[node]
        end = path[0]
    return path


def _outwards(graph: "nx.Graph[int]", starts: Sequence[int]) -> dict[int, int | None]:
    """Walk breadth first; returns the node before each, in order of distance."""
    before: dict[int, int | None] = dict.fromkeys(starts)
    queue = deque(starts)
    while queue:
        node = queue.popleft()
        for other in sorted(graph[node]):
            if other not in before:
                before[other] = node
                queue.append(other)
    return before


def _by_distance(graph: "nx.Graph[int]") -> dict[int, Floats]:
    """Lay out a small molecule, bonds of length 1 about."""
    if len(graph) == 1:
        return {node: np.zeros(2) for node in graph}
    raw = nx.kamada_kawai_layout(graph)
    places = np.array([raw[node] for node in graph])
    places -= places.mean(axis=0)
    _, _, axes = np.linalg.svd(places, full_matrices=False)
    places = places @ axes.T  # the longest side along x
    ends = np.array(
        [[list(graph).index(i), list(graph).index(j)] for i, j in graph.edges]
    )
    bonds = places[ends[:, 0]] - places[ends[:, 1]]
    places /= np.linalg.norm(bonds, axis=1).mean()
    return dict(zip(graph, 1.3 * places, strict=True))


def _lines(graph: "nx.Graph[int]", path: Sequence[int]) -> dict[int, Floats]:
    """Lay the path to and fro in lines, and what hangs on it above and below."""
    before = _outwards(graph, path)
    depth: dict[int, int] = {}
    root: dict[int, int] = {}
    for node, parent in before.items():
        is_on_path = parent is None
        depth[node] = 0 if parent is None else depth[parent] + 1
        root[node] = node if is_on_path or parent is None else root[parent]
    apart = 2.0 * max(depth.values()) + 2.0
    places: dict[int, Floats] = {}
    for i, node in enumerate(path):
        line, column = divmod(i, _PER_LINE)
        x = column if line % 2 == 0 else _PER_LINE - 1 - column
        places[node] = np.array([1.3 * x, -apart * line + 0.3 * (-1) ** i])
    side: dict[int, int] = {}
    taken: dict[tuple[int, int, int], int] = {}
    for node, parent in before.items():
        if parent is None:
            continue
        base = root[node]
        if base == parent:
            n = sum(1 for other in side if before[other] == base)
            first = 1 if places[base][1] % apart < 0.5 * apart else -1
            side[node] = first if n % 2 == 0 else -first
        else:
            side[node] = side[parent]
        level = (base, side[node], depth[node])
        shift = taken.get(level, 0)
        taken[level] = shift + 1
        step = 0.45 * ((shift + 1) // 2) * (-1) ** shift
        places[node] = places[base] + [step, side[node] * depth[node]]
    return places
