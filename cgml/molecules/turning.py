r"""How fast molecules of one bead turn, measured in frames of their atoms.

.. math:: C(t) = \langle \textstyle\sum_i d_i(0) \cdot d_i(t) \rangle
                 / \langle \textstyle\sum_i d_i^2 \rangle

over the atoms of a molecule, :math:`d_i` from the centre of its bead. The rotation time
is where C has fallen to 1/e; of frames that are too far apart to tell, what an
exponential through the first of them gives.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.centres import group_means, group_shares
from cgml.molecules.mapping import Mapping
from cgml.spec import Rotation

Floats = NDArray[np.float64]
Kind = tuple[tuple[str, int], ...]
"""Atoms of each type in a molecule, sorted."""

N_ORIGINS = 32
"""Frames that others are compared with, at most; at least half of it in long files."""
N_MOLECULES = 64
"""Molecules of a kind that are looked at."""

_LEAST, _MOST = 0.05, 0.9  # correlations that a time is taken from


def compositions(mapping: Mapping) -> dict[int, Kind]:
    """Return bead -> atoms of each type, of molecules of one bead and several atoms."""
    counts = np.bincount(mapping.molecule_index)[mapping.molecule_index]
    sizes = np.bincount(mapping.bead_index, minlength=mapping.n_beads)
    alone = np.flatnonzero((counts == 1) & (sizes > 1))
    found: dict[int, dict[str, int]] = {bead: {} for bead in alone.tolist()}
    for atom in np.flatnonzero(np.isin(mapping.bead_index, alone)).tolist():
        own = found[int(mapping.bead_index[atom])]
        name = mapping.graph.types[atom]
        own[name] = own.get(name, 0) + 1
    return {bead: tuple(sorted(own.items())) for bead, own in found.items()}


def named(kind: Kind) -> str:
    """Write a kind, as in "1 O 2 H"."""
    return " ".join(f"{n} {name}" for name, n in kind)


class Turning:
    """Measures rotation times of one system in the frames that pass.

    What is found depends on the frames alone, not on the pieces in which they come.

    Args:
        mapping: of the system.
    """

    def __init__(self, mapping: Mapping) -> None:
        beads: dict[Kind, list[int]] = {}
        for bead, kind in compositions(mapping).items():
            if len(beads.setdefault(kind, [])) < N_MOLECULES:
                beads[kind].append(bead)
        self._kinds = list(beads)
        chosen = np.full(mapping.n_beads, -1, dtype=np.int64)
        for number, own in enumerate(beads.values()):
            chosen[own] = number
        self._atoms = np.flatnonzero(chosen[mapping.bead_index] >= 0)
        used, self._place = np.unique(
            mapping.bead_index[self._atoms], return_inverse=True
        )
        self._shares = group_shares(self._place, mapping.graph.masses[self._atoms])
        kind_of_atom = chosen[used][self._place]
        self._is_of_kind = np.eye(len(self._kinds))[kind_of_atom]  # (n_atoms, n_kinds)
        self._stride, self._n_seen = 1, 0
        self._origins = np.zeros(0, dtype=np.int64)  # numbers of frames
        self._before = np.zeros((0, len(self._atoms), 3))  # their offsets
        self._sums = np.zeros((0, len(self._kinds)))  # of each lag, in frames
        self._counts = np.zeros(0, dtype=np.int64)
        self._first = self._last = 0.0

    def take(self, positions: NDArray[np.float32], times: Floats) -> None:
        """Look at the next frames, (n_frames, n_atoms, 3) nm, at times in ps."""
        if not self._kinds:
            return
        if not self._n_seen:
            self._first = float(times[0])
        self._last = float(times[-1])
        for frame in positions[:, self._atoms].astype(np.float64):
            self._compare(frame - group_means(self._shares, frame)[self._place])

    def _compare(self, offsets: Floats) -> None:
        """Look at one frame, (n_atoms, 3), nm from the centres."""
        number, self._n_seen = self._n_seen, self._n_seen + 1
        if number % self._stride == 0:
            self._origins = np.append(self._origins, number)
            self._before = np.concatenate((self._before, offsets[None]))
        if number >= len(self._sums):
            more = max(len(self._sums), 64)
            self._sums = np.pad(self._sums, ((0, more), (0, 0)))
            self._counts = np.pad(self._counts, (0, more))
        products = np.einsum("oix,ix->oi", self._before, offsets)
        self._sums[number - self._origins] += products @ self._is_of_kind
        self._counts[number - self._origins] += 1
        if len(self._origins) >= N_ORIGINS:
            self._stride *= 2
            is_kept = self._origins % self._stride == 0
            self._origins, self._before = self._origins[is_kept], self._before[is_kept]

    def found(self) -> tuple[Rotation, ...]:
        """Return the times of what has turned enough in the frames so far."""
        if self._n_seen < 3:
            return ()
        interval = (self._last - self._first) / (self._n_seen - 1)
        n = self._n_seen // 2 + 1
        means = self._sums[:n] / np.maximum(self._counts[:n], 1)[:, None]
        rows = []
        for kind, own in zip(self._kinds, means.T, strict=True):
            lag = lag_of(own / own[0]) if own[0] > 0.0 else None
            if lag is not None:
                rows.append(Rotation(atoms=dict(kind), time=lag * interval))
        return tuple(rows)


def lag_of(correlation: Floats) -> float | None:
    """Find where a correlation, (n,), 1 in the beginning, is 1/e; None: nowhere near.

    Between two lags its logarithm is straight. Where it stays above 1/e, but falls
    below 0.9, it goes on as it has come to its last lag.
    """
    logs = np.log(np.maximum(correlation, _LEAST))
    below = np.flatnonzero(logs <= -1.0)
    if len(below):
        k = int(below[0])
        return float(k - 1 + (1.0 + logs[k - 1]) / (logs[k - 1] - logs[k]))
    if correlation[-1] > _MOST:
        return None
    return float(-(len(logs) - 1) / logs[-1])


def joined(
    systems: Iterable[Sequence[Rotation]], before: Sequence[Rotation] = ()
) -> list[Rotation]:
    """Take the mean time of each kind over systems that state one, or that before."""
    times: dict[Kind, list[float]] = {}
    for row in chain.from_iterable(systems):
        times.setdefault(kind_of(row), []).append(row.time)
    found = {kind_of(row): row.time for row in before}
    found |= {kind: float(f"{np.mean(own):.4g}") for kind, own in times.items()}
    return [
        Rotation(atoms=dict(kind), time=time) for kind, time in sorted(found.items())
    ]


def kind_of(row: Rotation) -> Kind:
    """Return the kind that a rotation time is of."""
    return tuple(sorted(row.atoms.items()))
