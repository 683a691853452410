"""Drawings of molecules: atoms, bonds, and which bead each atom belongs to.

Small molecules are laid out so that distances on paper are those along the bonds;
long ones are written in lines, like text: their longest path runs to and fro, and what
hangs on it stands beside it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from cgml.files import replacing
from cgml.molecules.graph import neighbours
from cgml.molecules.mapping import Mapping
from cgml.molecules.summary import Kind
from cgml.texts import counted

MOST_PANELS = 6
MOST_ATOMS = 1500
"""Atoms of a molecule that are drawn; of a larger one the first along its path."""

_SMALL = 60  # atoms of a molecule that is laid out by distances
_PER_LINE = 36  # atoms of the longest path
_WIDTH = 1100  # pixels
_HEIGHTS = (90, 2640)  # of a panel, pixels
_TITLE = 34  # pixels above a panel
_FINE = 2  # drawn so many times larger, against jagged edges
_GREY = (154, 154, 154)
_COLOURS = np.array(
    [
        *(
            (31, 119, 180),
            (255, 127, 14),
            (44, 160, 44),
            (214, 39, 40),
            (148, 103, 189),
        ),
        *((140, 86, 75), (227, 119, 194), (127, 127, 127), (188, 189, 34)),
        (23, 190, 207),
    ]
)
_PALE = (0.35 * _COLOURS + 0.65 * 255).astype(int)

Floats = NDArray[np.float64]
Neighbours = list[list[int]]


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
    panels = [_panel(picture) for picture in pictures[:MOST_PANELS]]
    whole = Image.new("RGB", (_WIDTH, sum(item.height for item in panels)), "white")
    top = 0
    for panel in panels:
        whole.paste(panel, (0, top))
        top += panel.height
    with replacing(path) as temporary:
        whole.save(temporary, format="PNG")


def _panel(picture: Picture) -> Image.Image:
    """Draw one molecule, its atoms numbered from 0."""
    graph, kind = picture.mapping.graph, picture.kind
    atoms, bonds = graph.molecules[kind.example], graph.molecule_bonds[kind.example]
    sizes = f"{counted(kind.n_atoms, 'atom')}, {counted(kind.n_beads, 'bead')}"
    title = f"{kind.count} x {kind.formula}: {sizes}"
    if len(atoms) > MOST_ATOMS:
        title += f", the first {MOST_ATOMS} atoms"
        near = neighbours(len(atoms), bonds)
        first = sorted(list(_outwards(near, longest_path(near)[:1]))[:MOST_ATOMS])
        kept = graph.select(atoms[first])
        atoms, bonds = atoms[first], kept.bonds
    beads = picture.mapping.bead_index[atoms]
    places = layout(len(atoms), bonds)
    names = [graph.types[atom] for atom in atoms]
    return _drawn(places, bonds, names, (beads - beads.min()) % len(_COLOURS), title)


def _drawn(
    places: Floats,
    bonds: NDArray[np.int64],
    names: Sequence[str],
    colours: NDArray[np.int64],
    title: str,
) -> Image.Image:
    """Draw bonds, and atoms in the colours of their beads."""
    span = np.ptp(places, axis=0) + 2.0
    unit = _WIDTH / max(span[0], 14.0)  # pixels
    height = int(np.clip(span[1] * unit, *_HEIGHTS)) + _TITLE
    unit = min(unit, (height - _TITLE) / span[1])
    image = Image.new("RGB", (_FINE * _WIDTH, _FINE * height), "white")
    pen = ImageDraw.Draw(image)
    points = (places - places.min(axis=0) + 1.0) * [1, -1] * unit
    points = _FINE * (points + np.array([0, height]))  # upwards is up
    is_small = len(places) <= _SMALL
    size, radius = (24, 17) if is_small else (18, 13)
    for i, j in bonds.tolist():
        if colours[i] == colours[j]:
            line = [tuple(points[i]), tuple(points[j])]
            pen.line(line, tuple(_PALE[colours[i]]), 2 * radius)
    for i, j in bonds.tolist():
        if colours[i] == colours[j]:
            pen.line([tuple(points[i]), tuple(points[j])], _GREY, 3)
        else:
            n_dots = max(2, int(np.linalg.norm(points[i] - points[j]) / 10))
            for x, y in np.linspace(points[i], points[j], n_dots):
                pen.ellipse((x - 2, y - 2, x + 2, y + 2), _GREY)
    font = ImageFont.load_default(size)
    for (x, y), name, colour in zip(points, names, colours, strict=True):
        disc = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(disc, "white", tuple(_COLOURS[colour]), 5)
        pen.text((x, y), name, "black", font, "mm")
    pen.text((20, 14), title, "black", ImageFont.load_default(28))
    return image.reduce(_FINE)


def layout(n_atoms: int, bonds: NDArray[np.int64]) -> Floats:
    """Place the atoms of a molecule, (n_atoms, 2), neighbours about 1 apart."""
    if n_atoms <= _SMALL:
        return _by_distance(n_atoms, bonds)
    near = neighbours(n_atoms, bonds)
    return _lines(near, longest_path(near))


def longest_path(near: Neighbours) -> list[int]:
    """Find a path between atoms that are far apart: of a tree, the longest one."""
    end, path = 0, list[int]()
    for _ in range(2):
        before = _outwards(near, [end])
        node: int | None = list(before)[-1]
        path = []
        while node is not None:
            path.append(node)
            node = before[node]
        end = path[0]
    return path


def _outwards(near: Neighbours, starts: Sequence[int]) -> dict[int, int | None]:
    """Walk breadth first; returns the atom before each, in order of distance."""
    before: dict[int, int | None] = dict.fromkeys(starts)
    order = list(starts)
    for atom in order:
        for other in near[atom]:
            if other not in before:
                before[other] = atom
                order.append(other)
    return before


def _by_distance(n: int, bonds: NDArray[np.int64]) -> Floats:
    """Lay out a small molecule: distances on paper as those along bonds (SMACOF)."""
    if n == 1:
        return np.zeros((1, 2))
    ends = (np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1]))
    hops = shortest_path(coo_array(ends, shape=(n, n)), directed=False)
    weights = 1.0 / (hops + np.eye(n)) ** 2 - np.eye(n)
    inverse = np.linalg.pinv(np.diag(weights.sum(axis=1)) - weights)
    centred = hops**2 - (hops**2).mean(axis=0)
    _, axes = np.linalg.eigh(centred.mean(axis=1)[:, None] - centred)
    angles = 2.4 * np.arange(n)  # alike atoms do not start in one place
    places = np.sqrt(n) * axes[:, -2:] + 0.3 * np.stack(
        [np.cos(angles), np.sin(angles)], axis=1
    )
    for _ in range(200):
        apart = np.linalg.norm(places[:, None] - places, axis=2) + np.eye(n)
        pulls = weights * hops / np.maximum(apart, 1e-3)
        places = inverse @ (np.diag(pulls.sum(axis=1)) - pulls) @ places
    places -= places.mean(axis=0)
    places = places @ np.linalg.svd(places, full_matrices=False)[2].T  # long side: x
    lengths = np.linalg.norm(places[bonds[:, 0]] - places[bonds[:, 1]], axis=1)
    return np.asarray(1.3 * places / lengths.mean())


def _lines(near: Neighbours, path: Sequence[int]) -> Floats:
    """Lay the path to and fro in lines, and what hangs on it above and below."""
    before = _outwards(near, path)
    depth: dict[int, int] = {}
    root: dict[int, int] = {}
    for node, parent in before.items():
        depth[node] = 0 if parent is None else depth[parent] + 1
        root[node] = node if parent is None else root[parent]
    apart = 2.0 * max(depth.values()) + 2.0
    places = np.zeros((len(near), 2))
    for i, node in enumerate(path):
        line, column = divmod(i, _PER_LINE)
        x = column if line % 2 == 0 else _PER_LINE - 1 - column
        places[node] = 1.3 * x, -apart * line + 0.3 * (-1) ** i
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
