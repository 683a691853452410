"""What is trained on, and what is looked at to see how well: never the same.

By molecule, a model is asked for molecules it has not seen. In time, it is asked for
later frames of the molecules it has: that interpolates, and says nothing of others.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.centres import group_means, group_shares
from cgml.molecules.frames import BeadTrajectory, centred, cut
from cgml.molecules.graph import MolecularGraph, neighbours
from cgml.molecules.ideal_chain import laplacian_modes
from cgml.observables.statistics import integrated_time

N_TIMES = 5
"""Relaxation times of the gap between training and validation frames."""

CLAIM = "same molecules: interpolates, no claim of transfer"


class Splits(NamedTuple):
    """The lists of a training run.

    Attributes:
        train: what the weights are fitted to.
        validation: what the best weights are chosen by.
        note: how they were divided, where they share molecules; else "".
        corrections: what the weights are fitted to besides, not in equilibrium.
    """

    train: list[BeadTrajectory]
    validation: list[BeadTrajectory]
    note: str = ""
    corrections: Sequence[BeadTrajectory] = ()


def check_disjoint(
    train: Sequence[BeadTrajectory], validation: Sequence[BeadTrajectory]
) -> None:
    """Refuse a system that is in both lists: the same molecules in the same shares.

    Molecules are the same if types and bonds are, whatever the order of their atoms,
    their masses, or how many copies there are.
    """
    seen = {kinds(item.mapping.graph): item.name for item in train}
    for item in validation:
        other = seen.get(kinds(item.mapping.graph))
        if other is not None:
            raise ValueError(
                f"validation molecule {item.name!r} is training molecule {other!r}: "
                "split by molecule, never by frame; or, if there is one kind of "
                'molecules or one melt only, write split = "time" under [data] and '
                "leave validation out"
            )


def kinds(graph: MolecularGraph) -> str:
    """Return a fingerprint of the kinds of molecules, and the shares they have.

    Example:
        >>> one = MolecularGraph.create("AB", [1.0, 2.0], [[0, 1]])
        >>> two = MolecularGraph.create("BAAB", [2.0, 1.1, 1.1, 2.0], [[0, 1], [2, 3]])
        >>> kinds(one) == kinds(two)
        True
    """
    known: dict[tuple[tuple[str, ...], bytes], str] = {}
    counts: Counter[str] = Counter()
    for atoms, bonds in zip(graph.molecules, graph.molecule_bonds, strict=True):
        types = tuple(graph.types[i] for i in atoms)
        key = (types, bonds.tobytes())
        if key not in known:
            known[key] = _kind(types, bonds)
        counts[known[key]] += 1
    common = math.gcd(*counts.values())
    shares = sorted((kind, n // common) for kind, n in counts.items())
    return hashlib.sha256(repr(shares).encode()).hexdigest()


def _kind(types: Sequence[str], bonds: NDArray[np.int64]) -> str:
    """Name a molecule by types and bonds alone (colours of Weisfeiler and Leman)."""
    near = neighbours(len(types), bonds)
    colours, n_colours = list(types), 0
    while len(set(colours)) > n_colours:
        n_colours = len(set(colours))
        colours = [
            hashlib.sha256(
                repr((colours[i], sorted(colours[j] for j in others))).encode()
            ).hexdigest()
            for i, others in enumerate(near)
        ]
    return hashlib.sha256(repr(sorted(colours)).encode()).hexdigest()


def relaxation(systems: Sequence[BeadTrajectory]) -> float:
    """Return the slowest integrated time, of Rg^2 or of the first mode, ps.

    The first mode of a chain is about its end-to-end vector. Molecules of one kind are
    averaged; of a short run it is a lower bound.

    Raises:
        ValueError: no molecule has two beads.
    """
    times = [
        float(integrated_time(series, mean=mean).value) * item.time_step
        for item in systems
        for series, mean in _series(item)
    ]
    if not times:
        raise ValueError(
            "no molecule has several beads, so there is no relaxation time to take: "
            "write gap, in ps, under [data]"
        )
    return max(times)


def _series(item: BeadTrajectory) -> Iterator[tuple[np.ndarray, float | None]]:
    """Rg^2, and the first mode, of each kind of molecules of several beads.

    Yields:
        (n_molecules, n_frames) or (3 n_molecules, n_frames), and their mean if it is
        known.
    """
    mapping, positions = item.mapping, centred(item)
    shares = group_shares(mapping.molecule_index, mapping.bead_masses)
    squares = group_means(shares, positions**2).sum(axis=-1)
    molecules, bonds = mapping.bead_graph.molecules, mapping.bead_graph.molecule_bonds
    alike: dict[tuple[bytes, bytes], list[int]] = {}
    for number, members in enumerate(molecules):
        masses = mapping.bead_masses[members].round(2)
        key = (masses.tobytes(), bonds[number].tobytes())
        alike.setdefault(key, []).append(number)
    for own in alike.values():
        members = molecules[own[0]]
        if len(members) == 1:
            continue
        masses = mapping.bead_masses[members]
        weights = laplacian_modes(masses, bonds[own[0]])[1][:, 1] * np.sqrt(masses)
        beads = positions[:, [molecules[number] for number in own]]
        mode = np.einsum("fmbx,b->mxf", beads, weights)
        yield squares[:, own].T, None
        yield mode.reshape(-1, len(positions)), 0.0


def split_in_time(
    systems: Sequence[BeadTrajectory], gap: float | None, fraction: float
) -> Splits:
    """Train on the first frames of each system, validate with the last fraction.

    Between the two is a gap, ps; None: N_TIMES slowest relaxation times.

    Raises:
        ValueError: a system is too short for both and the gap.
    """
    why = "as given"
    if gap is None:
        slowest = relaxation(systems)
        gap, why = N_TIMES * slowest, f"{N_TIMES} relaxation times of {slowest:.3g} ps"
    train, validation = [], []
    for item in systems:
        n = len(item.times)
        start = n - max(2, round(fraction * n))  # of validation
        stop = start - max(math.ceil(gap / item.time_step), 1) + 1
        if stop < max(2, (n - start) // 2):
            raise ValueError(
                f"{item.name!r} is too short to be split in time: it has "
                f"{item.times[-1] - item.times[0]:g} ps, the gap takes {gap:.4g} ps "
                f"({why}) and validation the last {n - start} of {n} frames: run it "
                "for longer, or write gap (ps) or validation_fraction under [data]"
            )
        train.append(cut(item, slice(0, stop)))
        validation.append(cut(item, slice(start, n)))
    note = (
        f"in time, last {fraction:g} of the frames for validation, gap {gap:.4g} ps "
        f"({why}); {CLAIM}"
    )
    return Splits(train, validation, note)
