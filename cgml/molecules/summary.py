"""What was read: molecules, types, bonds, beads, frames, to be looked at before use."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.box import Box
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.mapping import Mapping
from cgml.molecules.turning import kind_of, named
from cgml.spec import Rotation
from cgml.units import DENSITY

MOST_ROWS = 40
"""Kinds of molecules, compositions of beads, types and bonds that are kept, each."""


@dataclass(frozen=True)
class Kind:
    """Molecules of one formula that are cut alike.

    Attributes:
        formula: for example "C2H6O".
        count: how many there are.
        structures: how many differ in their bonds, or in the order of their atoms.
        n_atoms: of one of them.
        mass: of one of them, Da.
        n_beads: of one of them.
        beads: composition of a bead -> how many of them one molecule has.
        example: the first of them: its number among all molecules.
    """

    formula: str
    count: int
    structures: int
    n_atoms: int
    mass: float
    n_beads: int
    beads: dict[str, int]
    example: int


@dataclass(frozen=True)
class Type:
    """A particle type: how many atoms have it, and their least and largest mass, Da."""

    count: int
    masses: tuple[float, float]


@dataclass(frozen=True)
class Bonds:
    """Bonds between two types, and their least, mean and largest length.

    Attributes:
        count: how many there are.
        lengths: in the first frame, nm; None where its atoms are not known.
    """

    count: int
    lengths: tuple[float, float, float] | None


@dataclass(frozen=True)
class Summary:
    """What a file, or a system, holds.

    Attributes:
        name: of the system.
        n_atoms: in all.
        n_molecules: in all.
        n_beads: in all.
        kinds: of molecules, the most frequent first.
        types: particle type -> atoms and masses.
        bonds: for example "C-H" -> number and lengths.
        recipe: how molecules were cut into beads; "" where by hand.
        bead_atoms: least, mean and largest number of atoms in a bead.
        n_frames: 0 where there are none.
        times: of the first and the last frame, ps; None where there are none.
        spacing: least and largest time between frames, ps; None below two frames.
        box: row vectors, (3, 3), nm; None for open boundaries.
        density: g/cm^3; None for open boundaries.
        scaling: largest relative change of the box vectors of a frame that was put
            into this box (constant pressure); 0 for none.
        n_left_out: kinds, types and bonds beyond `MOST_ROWS` of each.
        hands: of the stereocentres, see `Mapping.hand_counts`, and how many "beads"
            they are in.
        rotation: of molecules of one bead: atoms -> rotation time, ps (turning.py).
    """

    name: str
    n_atoms: int
    n_molecules: int
    n_beads: int
    kinds: list[Kind]
    types: dict[str, Type]
    bonds: dict[str, Bonds]
    recipe: str
    bead_atoms: tuple[int, float, int]
    n_frames: int
    times: tuple[float, float] | None
    spacing: tuple[float, float] | None
    box: list[list[float]] | None
    density: float | None
    scaling: float = 0.0
    n_left_out: int = 0
    hands: dict[str, int] = field(default_factory=dict)
    rotation: dict[str, float] = field(default_factory=dict)

    @property
    def is_chiral(self) -> bool:
        """Whether there are atoms of a hand."""
        return "R" in self.hands or "S" in self.hands

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain numbers, lists and dictionaries."""
        return asdict(self)


def formula(types: Iterable[str]) -> str:
    """Write particle types and how many there are of each, sorted by name.

    Example:
        >>> formula("BABAB"), formula(["+"]), formula(["C1", "C1", "O"])
        ('A2B3', '+', 'C1(2)O')
    """
    parts = []
    for name, count in sorted(Counter(types).items()):
        number = f"({count})" if name[-1:].isdigit() else str(count)
        parts.append(name + (number if count > 1 else ""))
    return "".join(parts)


def follow(pieces: Iterable[BeadTrajectory]) -> tuple[Mapping, Summary]:
    """Look at all frames of a system, in one piece or more, one after the other."""
    first, last, times = None, None, []
    for last in pieces:
        first = first or last
        times.append(last.times)
    if first is None or last is None:
        raise ValueError("frames are required, got none")
    known = np.concatenate(times)
    found = describe(first.mapping, first.name, known, first.box, first.first_atoms)
    return first.mapping, with_rest(found, first.scaling, last.rotation)


def with_rest(found: Summary, scaling: float, rotation: Sequence[Rotation]) -> Summary:
    """Add what neither atoms nor times tell."""
    times = {named(kind_of(row)): row.time for row in rotation}
    return replace(found, scaling=scaling, rotation=times)


def of_frames(frames: BeadTrajectory) -> Summary:
    """Describe a system whose frames are in memory."""
    return follow([frames])[1]


def describe(
    mapping: Mapping,
    name: str = "",
    times: NDArray[np.float64] | None = None,
    box: Box | None = None,
    first_atoms: NDArray[np.float32] | None = None,
) -> Summary:
    """Describe a system, as far as it is known.

    Args:
        mapping: its atoms and beads.
        name: of the system.
        times: of its frames, (n_frames,), ps.
        box: row vectors, (3, 3), nm; None for open boundaries.
        first_atoms: of the first frame, molecules whole, (n_atoms, 3), nm.
    """
    graph = mapping.graph
    known = np.zeros(0) if times is None else times
    steps, sizes = np.diff(known), np.bincount(mapping.bead_index)
    density = None
    if box is not None:
        density = float(graph.masses.sum() / np.linalg.det(box) * DENSITY)
    full = Summary(
        name=name,
        n_atoms=graph.n_atoms,
        n_molecules=graph.n_molecules,
        n_beads=mapping.n_beads,
        kinds=_kinds(mapping),
        types=_types(mapping),
        bonds=_bonds(mapping, first_atoms),
        recipe="" if mapping.recipe is None else str(mapping.recipe),
        bead_atoms=(int(sizes.min()), float(sizes.mean()), int(sizes.max())),
        n_frames=len(known),
        times=(float(known[0]), float(known[-1])) if len(known) else None,
        spacing=(float(steps.min()), float(steps.max())) if len(steps) else None,
        box=None if box is None else box.tolist(),
        density=density,
        hands=_hands(mapping),
    )
    return _bounded(full)


def _kinds(mapping: Mapping) -> list[Kind]:
    """Sort molecules by formula and beads, the most frequent first."""
    graph, labels = mapping.graph, mapping.bead_index
    known: dict[tuple[Any, ...], Kind] = {}  # one for each structure
    found: dict[str, Kind] = {}
    pairs = zip(graph.molecules, graph.molecule_bonds, strict=True)
    for number, (atoms, bonds) in enumerate(pairs):
        types = tuple(graph.types[i] for i in atoms)
        own = labels[atoms] - labels[atoms].min()
        structure = (types, bonds.tobytes(), own.tobytes())
        is_new = structure not in known
        if is_new:
            beads = Counter(compositions(types, own))
            known[structure] = Kind(
                formula=formula(types),
                count=0,
                structures=0,
                n_atoms=len(atoms),
                mass=float(graph.masses[atoms].sum()),
                n_beads=sum(beads.values()),
                beads=dict(sorted(beads.items(), key=lambda x: (-x[1], x[0]))),
                example=number,
            )
        kind = known[structure]
        key = f"{kind.formula} {kind.beads}"
        so_far = found.get(key, kind)
        found[key] = replace(
            so_far, count=so_far.count + 1, structures=so_far.structures + is_new
        )
    return sorted(found.values(), key=lambda x: (-x.count, -x.n_atoms, x.formula))


def compositions(types: Sequence[str], labels: NDArray[np.int64]) -> list[str]:
    """Write the formula of each bead, in order.

    Args:
        types: of the atoms, (n_atoms,).
        labels: bead of each atom, (n_atoms,).
    """
    members: dict[int, list[str]] = {}
    for name, label in zip(types, labels.tolist(), strict=True):
        members.setdefault(label, []).append(name)
    return [formula(members[label]) for label in sorted(members)]


def _types(mapping: Mapping) -> dict[str, Type]:
    """Count particle types, and collect their masses."""
    masses: dict[str, list[float]] = {}
    for name, mass in zip(mapping.graph.types, mapping.graph.masses, strict=True):
        masses.setdefault(name, []).append(float(mass))
    rows = sorted(masses.items())
    return {name: Type(len(own), (min(own), max(own))) for name, own in rows}


def _hands(mapping: Mapping) -> dict[str, int]:
    """Count stereocentres, and the beads that they are in."""
    counts = mapping.hand_counts
    beads = mapping.bead_index[mapping.stereocentres.atoms]
    return counts | {"beads": len(np.unique(beads))} if counts else {}


def _bonds(mapping: Mapping, atoms: NDArray[np.float32] | None) -> dict[str, Bonds]:
    """Count bonds by the types that they join, and measure them."""
    graph = mapping.graph
    places: dict[str, list[int]] = {}
    for k, (i, j) in enumerate(graph.bonds.tolist()):
        pair = "-".join(sorted((graph.types[i], graph.types[j])))
        places.setdefault(pair, []).append(k)
    found = {}
    for pair, own in sorted(places.items()):
        lengths = None
        if atoms is not None:
            ends = atoms[graph.bonds[own]]  # (n, 2, 3)
            values = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
            lengths = (float(values.min()), float(values.mean()), float(values.max()))
        found[pair] = Bonds(len(own), lengths)
    return found


def _bounded(full: Summary) -> Summary:
    """Leave out what no reader looks at, and say how much."""
    tables = (full.kinds, full.types, full.bonds)
    kinds = [
        replace(kind, beads=dict(list(kind.beads.items())[:MOST_ROWS]))
        for kind in full.kinds[:MOST_ROWS]
    ]
    return replace(
        full,
        kinds=kinds,
        types=dict(list(full.types.items())[:MOST_ROWS]),
        bonds=dict(list(full.bonds.items())[:MOST_ROWS]),
        n_left_out=sum(max(0, len(table) - MOST_ROWS) for table in tables),
    )
