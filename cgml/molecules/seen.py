"""What a model has seen of molecules, and whether a system is more of the same.

| what | elsewhere than in the training data |
|---|---|
| a type that no bead had, or none of one that all had in a whole molecule | refused |
| far more or fewer atoms of a type in a bead | refused |
| a molecule that is one bead, of other atoms | refused |
| frames of beads that were cut by another recipe | refused |
| a bead bonded to more or fewer beads | refused |
| another hand of a stereocentre in such a bead, by a chiral model | refused |
| a little more or fewer atoms of a type in a bead | said |
| molecules of more or fewer beads, another density of beads | said |

"Said" is a warning. What a model does not say of itself is not checked. Of the first
bead that is like none, the atoms and what is known are named.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.box import Box
from cgml.molecules.mapping import Mapping
from cgml.molecules.masses import united_hint
from cgml.molecules.recipe import GIVEN, Recipe
from cgml.molecules.stereocentres import LETTERS
from cgml.spec import BaseSpec, Seen

Unseen = Literal["refuse", "warn", "allow"]
"""What happens to systems the like of which a model has not seen: warn of all that is
refused otherwise, or say nothing at all."""

ALLOWED = "allowed: "
"""Before what a user lets pass, in the text of the warning."""

DENSITY_MARGIN = 0.05
"""Part of a density by which it may leave the range without a word."""

TYPE_MARGIN = 0.25
"""Part of the atoms of a bead that may be too many or too few of a type."""


class _Beads(NamedTuple):
    """Beads of a system.

    Attributes:
        types: names, (n_types,).
        counts: atoms of each type, (n_beads, n_types).
        degrees: number of beads that a bead is bonded to, (n_beads,).
        molecules: molecule of each bead, (n_beads,).
        density: beads per nm^3; None: open boundaries.
        hands: bead and hand of each stereocentre whose hand is known.
    """

    types: list[str]
    counts: NDArray[np.int64]
    degrees: NDArray[np.int64]
    molecules: NDArray[np.int64]
    density: float | None
    hands: list[tuple[int, str]]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Beads of the molecule of each bead, (n_beads,)."""
        return np.bincount(self.molecules)[self.molecules]


def survey(
    systems: Iterable[tuple[Mapping, Box | None]],
    before: Seen | None = None,
    *,
    is_chiral: bool = False,
) -> Seen:
    """Describe systems, and their boxes, (3, 3) nm or None, as a model file does.

    Args:
        systems: with their boxes.
        before: what was seen of others.
        is_chiral: whether hands matter to the model.
    """
    looks = (_seen(_look(*system)) for system in systems)
    found = reduce(_joined, looks, before or Seen())
    return found if is_chiral else found.model_copy(update={"hands": []})


def check_seen(
    spec: BaseSpec,
    mappings: Sequence[Mapping],
    box: NDArray[np.float64] | None,
    unseen: Unseen,
) -> None:
    """Refuse or announce systems the like of which a model has not seen.

    Args:
        spec: of the model.
        mappings: atoms -> beads, one per replica.
        box: row vectors, nm, (3, 3) for all or (n_replicas, 3, 3); None: open.
        unseen: "refuse" other kinds of beads and warn of the rest, only "warn", or
            "allow" everything without a word.
    """
    if unseen not in ("refuse", "warn", "allow"):
        raise ValueError(f"unseen must be 'refuse', 'warn' or 'allow', got {unseen!r}")
    seen = spec.seen
    if seen is None or unseen == "allow":
        return
    boxes = [box] * len(mappings) if box is None or np.ndim(box) == 2 else box
    keys = [None if one is None else np.asarray(one).tobytes() for one in boxes]
    distinct = {
        (id(mapping), key): (mapping, one)
        for mapping, one, key in zip(mappings, boxes, keys, strict=True)
    }
    said: dict[str, None] = {}  # in order, each once
    for mapping, box in distinct.values():
        beads = _look(mapping, box)
        new = next(_new_kinds(beads, seen, spec, mapping), None)
        if new is not None and unseen == "refuse":
            raise ValueError(
                f"model {spec.name!r} has never seen {new}: use a model trained on "
                f"such molecules{_way_on(mapping, spec)}"
            )
        said |= dict.fromkeys(_composition(beads, seen) if new is None else [])
        said |= dict.fromkeys([] if new is None else [f"{ALLOWED}{new}"])
        said |= dict.fromkeys(_outside(beads, seen))
    if said:
        warnings.warn(
            f"model {spec.name!r} is used beyond what it has seen: {'; '.join(said)}",
            stacklevel=3,
        )


def _way_on(mapping: Mapping, spec: BaseSpec) -> str:
    """Say how to go on nevertheless; a type without weights cannot be moved at all."""
    known = spec.particle_types
    unknown = [name for name in mapping.graph.types if name not in known]
    if unknown:
        return united_hint(unknown[0], known)
    return ", or go on at your own risk with unseen='warn' (--allow-unseen)"


def _look(mapping: Mapping, box: Box | None) -> _Beads:
    """Count what is in the beads of a system."""
    types, kind = np.unique(mapping.graph.types, return_inverse=True)
    counts = np.zeros((mapping.n_beads, len(types)), dtype=np.int64)
    np.add.at(counts, (mapping.bead_index, kind), 1)
    degrees = np.bincount(mapping.bead_bonds.reshape(-1), minlength=mapping.n_beads)
    density = None
    if box is not None:
        density = mapping.n_beads / float(abs(np.linalg.det(np.asarray(box))))
    found = np.zeros(0) if mapping.hands is None else mapping.hands
    atoms = np.flatnonzero(found)
    letters = [LETTERS[hand] for hand in found[atoms].tolist()]
    hands = list(zip(mapping.bead_index[atoms].tolist(), letters, strict=True))
    return _Beads(
        *(types.tolist(), counts, degrees, mapping.molecule_index, density, hands)
    )


def _handed(beads: _Beads, bead: int, hand: str) -> str:
    """Name a hand in a bead of some atoms, as `Seen.hands` does."""
    return (
        f"{hand} in a bead of {_text(_named(beads.types, beads.counts[bead].tolist()))}"
    )


def _seen(beads: _Beads) -> Seen:
    """Describe one system."""
    hands = sorted({_handed(beads, *item) for item in beads.hands})
    is_cut = beads.sizes > 1
    small = np.unique(beads.counts[~is_cut], axis=0).tolist()
    alone = [_named(beads.types, row) for row in small]
    density = None if beads.density is None else (beads.density, beads.density)
    if not is_cut.any():
        return Seen(small_molecules=alone, density=density, hands=hands)
    cut = beads.counts[is_cut]
    lowest, highest = cut.min(axis=0).tolist(), cut.max(axis=0).tolist()
    return Seen(
        bead_atoms={
            name: (low, high)
            for name, low, high in zip(beads.types, lowest, highest, strict=True)
            if high
        },
        bead_bonds=_range(beads.degrees[is_cut]),
        molecule_beads=_range(beads.sizes[is_cut]),
        small_molecules=alone,
        density=density,
        hands=hands,
    )


def _range(values: NDArray[np.int64]) -> tuple[int, int]:
    return int(values.min()), int(values.max())


def _wider(one: Any, other: Any) -> Any:
    """Range that holds two ranges, either of which may be None."""
    if one is None or other is None:
        return other if one is None else one
    return min(one[0], other[0]), max(one[1], other[1])


def _joined(one: Seen, other: Seen) -> Seen:
    """Describe the systems of both."""
    first, second = one.bead_atoms, other.bead_atoms
    none = (0, 0) if first and second else None  # for a type that is absent
    molecules = [*one.small_molecules, *other.small_molecules]
    alone = {tuple(sorted(item.items())) for item in molecules}
    return Seen(
        bead_atoms={
            name: _wider(first.get(name, none), second.get(name, none))
            for name in sorted({*first, *second})
        },
        bead_bonds=_wider(one.bead_bonds, other.bead_bonds),
        molecule_beads=_wider(one.molecule_beads, other.molecule_beads),
        small_molecules=[dict(item) for item in sorted(alone)],
        density=_wider(one.density, other.density),
        hands=sorted({*one.hands, *other.hands}),
    )


def _new_kinds(
    beads: _Beads, seen: Seen, spec: BaseSpec, mapping: Mapping
) -> Iterator[str]:
    """Describe the first bead of each kind that is new to a model."""
    is_cut = beads.sizes > 1

    def named(index: int) -> str:
        atoms = np.flatnonzero(mapping.bead_index == index)
        row = _named(beads.types, beads.counts[index].tolist())
        return f"bead {index} (atoms {atoms[0]} to {atoms[-1]}) of {_text(row)}"

    own = Recipe.from_spec(spec)
    known = set(seen.bead_atoms).union(*seen.small_molecules)
    can_be_cut = known >= set(beads.types) and own.method != GIVEN
    if can_be_cut and mapping.recipe not in {None, own}:
        n_beads = Mapping.from_recipe(mapping.graph, own).n_beads
        if n_beads != mapping.n_beads:
            yield (
                f"{mapping.n_beads} beads cut with {mapping.recipe}; its own recipe, "
                f"{own}, makes {n_beads} of them: give the atoms, or prepare the "
                f"frames by cgml prepare {own.options}"
            )
    for row in np.unique(beads.counts[~is_cut], axis=0):
        found = _named(beads.types, row.tolist())
        if found not in seen.small_molecules:
            is_same = ~is_cut & (beads.counts == row).all(axis=1)
            index = int(np.flatnonzero(is_same)[0])
            yield f"{named(index)}, a molecule by itself; it knows {_known(seen)}"
    slack = math.ceil(TYPE_MARGIN * spec.atoms_per_bead)
    for index in np.flatnonzero(is_cut & ~_fits(beads, seen, slack))[:1].tolist():
        yield f"{named(index)}; it knows {_known(seen)}"
    low, high = seen.bead_bonds or (0, 0)
    is_new = is_cut & ((beads.degrees < low) | (beads.degrees > high))
    for index in np.flatnonzero(is_new)[:1].tolist():
        yield (
            f"{named(index)} that is bonded to {beads.degrees[index]} beads; it knows "
            + (f"{low} to {high}" if seen.bead_bonds else "molecules of one bead alone")
        )
    yield from _other_hands(beads, seen, spec, named)


def _other_hands(
    beads: _Beads, seen: Seen, spec: BaseSpec, named: Callable[[int], str]
) -> Iterator[str]:
    """Describe the first bead with a hand that beads of its atoms had not."""
    known = {text.partition(" in ")[2] for text in seen.hands}
    for index, hand in beads.hands if spec.is_chiral else ():
        text = _handed(beads, index, hand)
        if text not in seen.hands and text.partition(" in ")[2] in known:
            yield f"{named(index)}, whose hand is {hand}; it knows " + ", ".join(
                seen.hands
            )
            return


def _fits(beads: _Beads, seen: Seen, slack: int) -> NDArray[np.bool_]:
    """Flag beads whose atoms are as seen, but for a few, (n_beads,)."""
    fits = np.ones(len(beads.counts), dtype=np.bool_)
    for name in sorted({*beads.types, *seen.bead_atoms}):
        low, high = seen.bead_atoms.get(name, (0, 0))
        n = np.zeros(len(fits), dtype=np.int64)
        if name in beads.types:
            n = beads.counts[:, beads.types.index(name)]
        fits &= (n >= low - slack) & (n <= (high + slack if high else 0))
        if low:
            fits &= (np.bincount(beads.molecules, weights=n) > 0)[beads.molecules]
    return fits


def _composition(beads: _Beads, seen: Seen) -> list[str]:
    """Describe beads with a little more or less of a type than seen."""
    strange = np.flatnonzero((beads.sizes > 1) & ~_fits(beads, seen, 0))
    if not len(strange):
        return []
    row = _named(beads.types, beads.counts[strange[0]].tolist())
    return [f"{len(strange)} beads such as {_text(row)}; it knows {_known(seen)}"]


def _outside(beads: _Beads, seen: Seen) -> list[str]:
    """Describe sizes and densities that leave their range."""
    said: list[str] = []
    sizes, known = beads.sizes[beads.sizes > 1], seen.molecule_beads
    if len(sizes) and known is not None:
        least, most = _range(sizes)
        if least < known[0] or most > known[1]:
            size = f"{least}" if least == most else f"{least} to {most}"
            said.append(f"molecules of {size} beads, of {known[0]} to {known[1]}")
    if beads.density is not None and seen.density is not None:
        low, high = seen.density
        margins = 1.0 - DENSITY_MARGIN, 1.0 + DENSITY_MARGIN
        if not low * margins[0] <= beads.density <= high * margins[1]:
            said.append(
                f"{beads.density:.3g} beads per nm^3, of {low:.3g} to {high:.3g}"
            )
    return said


def _named(types: list[str], row: Sequence[int]) -> dict[str, int]:
    """Composition without the types that are absent."""
    return {name: n for name, n in zip(types, row, strict=True) if n}


def _text(composition: dict[str, int]) -> str:
    """Write a composition, as in "2 H and 1 O"."""
    return " and ".join(f"{n} {name}" for name, n in composition.items())


def _known(seen: Seen) -> str:
    """Write what compositions a model knows."""
    atoms = ", ".join(
        f"{low} to {high} {name}" if low < high else f"{low} {name}"
        for name, (low, high) in seen.bead_atoms.items()
    )
    small = "; ".join(_text(item) for item in seen.small_molecules)
    parts = [f"beads of {atoms}"] if atoms else []
    return " and ".join([*parts, f"molecules of one bead: {small or 'none'}"])
