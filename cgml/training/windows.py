"""Training windows from bead frames: batches, splits, scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from cgml.contract.atoms import Atoms
from cgml.contract.stepper import Pairs
from cgml.molecules.centres import centre_of_mass
from cgml.molecules.frames import BeadTrajectory, centred, near_origin
from cgml.network.inputs import (
    Beads,
    SystemGraph,
    build_system,
    join_atoms,
    join_beads,
)
from cgml.network.pairs import Layout, PairSearch, divide, lay_out
from cgml.network.predictor import History
from cgml.spec import ModelSpec
from cgml.training.config import AugmentationConfig
from cgml.training.scales import stride_of


class Share(NamedTuple):
    """Where the windows of a batch stand in the batch of all devices together.

    Attributes:
        n_ranks: devices.
        first_system: windows before these.
        n_systems: windows of all devices.
        first_bead: beads before these.
        n_beads: beads of all devices.
        n_radii: molecules of all devices.
    """

    n_ranks: int
    first_system: int
    n_systems: int
    first_bead: int
    n_beads: int
    n_radii: int


class Batch(NamedTuple):
    """Windows of several molecules, ready for the networks.

    Attributes:
        atoms: bond graphs, each molecule once.
        embedding_rows: (n_beads,) row of the embedding that each bead takes.
        beads: all windows one after the other.
        layout: of the edges of all windows.
        far: pairs that may arrive; None where the model does not look.
        systems: (n_beads,) window of each bead.
        history: present positions and earlier displacements.
        target: (n_beads, 3) next positions, nm.
        radius: (n_molecules,) radius of gyration of all atoms now, nm; NaN where the
            data do not hold it.
        share: what these windows are of.
        slow: (n_windows, n_functions) weights of the drifts of slow functions, see
            stationarity.py; (n_windows, 0) where they are not looked at.
    """

    atoms: Atoms
    embedding_rows: torch.Tensor
    beads: Beads
    layout: Layout
    far: Pairs | None
    systems: torch.Tensor
    history: History
    target: torch.Tensor
    radius: torch.Tensor
    share: Share
    slow: torch.Tensor


@dataclass(frozen=True)
class _Source:
    """One molecule's frames with its graph and the graphs it may be exchanged for."""

    positions: torch.Tensor  # (n_frames, n_beads, 3) float32 nm, near the origin
    internal: torch.Tensor  # the same, molecules held at rest where the model does so
    radius: torch.Tensor  # (n_frames,) nm or NaN
    box: torch.Tensor  # (3, 3) float64 nm; zero: open
    stride: int
    graph: SystemGraph
    atoms: tuple[Atoms, ...]


@dataclass(frozen=True)
class _Window:
    """A stretch of one molecule's frames.

    Attributes:
        slot: of the molecule in the batch.
        place: of the molecule in the dataset.
        half: of its frames, 0 or 1; 0 where that says nothing.
        source: its frames.
        atoms: its atoms, or those that it is exchanged for.
        present: (n_beads, 3) nm.
        moves: (n_history, n_beads, 3) nm.
        known: (n_history, n_beads, 1).
        target: (n_beads, 3) nm.
        radius: (n_molecules,) nm.
    """

    slot: int
    place: int
    half: int
    source: _Source
    atoms: Atoms
    present: torch.Tensor
    moves: torch.Tensor
    known: torch.Tensor
    target: torch.Tensor
    radius: torch.Tensor


class WindowDataset(Dataset[Batch]):
    """Batch i is a pure function of (seed, i): resuming needs only the step count.

    Each of several devices takes its share of the batch's windows; `rank` and `n_ranks`
    say which, and are 0 and 1 at first.

    Args:
        trajectories: molecules of one split.
        spec: of the model in training.
        augmentation: symmetries and noise; None: plain windows with full history.
        n_molecules: molecules per batch.
        n_windows: windows of each.
        n_batches: length of the dataset; may be changed.
        seed: of the stream of batches.
        corrections: trajectories that are not in equilibrium; half of the molecules of
            a batch are theirs, no more than there are others, and time is never
            reversed.

    Attributes:
        slow: (n_trajectories, 2, n_functions) of each molecule, for windows that begin
            in the first half of its frames and in the second; see Batch. Where there
            are any, all windows of a molecule in a batch are of one half. None at
            first.
    """

    def __init__(  # noqa: PLR0913 (what, of which model, how many)
        self,
        trajectories: Sequence[BeadTrajectory],
        spec: ModelSpec,
        augmentation: AugmentationConfig | None,
        *,
        n_molecules: int,
        n_windows: int,
        n_batches: int,
        seed: int,
        corrections: Sequence[BeadTrajectory] = (),
    ) -> None:
        self._spec = spec
        self._augmentation = augmentation
        n_corrected = min(n_molecules // 2, len(trajectories)) if corrections else 0
        self._shares = (  # numbers of sources, and of how many to take at a time
            (len(trajectories), min(n_molecules - n_corrected, len(trajectories))),
            (len(corrections), min(n_corrected, len(corrections))),
        )
        self._n_windows = n_windows
        self.n_batches = n_batches
        self._seed = seed
        self.first = 0
        self.rank, self.n_ranks = 0, 1
        items = [*trajectories, *corrections]
        self._sources = [_source(item, spec, augmentation) for item in items]
        self.slow = torch.zeros(len(items), 2, 0)

    def __len__(self) -> int:
        return self.n_batches

    def __getitem__(self, index: int) -> Batch:
        """Batch number `first + index`, this rank's share of it."""
        if not 0 <= index < self.n_batches:
            raise IndexError(index)
        drawn = self._draw(self.first + index)
        start, stop = (
            len(drawn) * rank // self.n_ranks for rank in (self.rank, self.rank + 1)
        )
        windows = drawn[start:stop]
        atoms, rows, n_rows, slot = [], [], 0, -1
        for window in windows:
            n = len(window.present)
            if window.slot != slot:
                slot, n_rows = window.slot, n_rows + n
                atoms.append(window.atoms)
            rows.append(torch.arange(n_rows - n, n_rows))
        sizes = [len(window.present) for window in windows]
        beads = join_beads([window.source.graph.beads for window in windows])
        positions = torch.cat([window.present for window in windows])
        boxes = [window.source.box for window in windows]
        cells = boxes if self._spec.periodic else None
        pairs = PairSearch(beads, sizes, self._spec.farthest, cells)(positions)
        pairs, far = divide(pairs, positions.double(), self._spec)
        return Batch(
            atoms=join_atoms(atoms),
            embedding_rows=torch.cat(rows),
            beads=beads,
            layout=lay_out(pairs, len(positions), is_periodic=self._spec.periodic),
            far=far,
            systems=torch.repeat_interleave(torch.tensor(sizes)),
            history=History(
                positions,
                torch.cat([window.moves for window in windows], dim=1),
                torch.cat([window.known for window in windows], dim=1),
            ),
            target=torch.cat([window.target for window in windows]),
            radius=torch.cat([window.radius for window in windows]),
            share=Share(
                n_ranks=self.n_ranks,
                first_system=start,
                n_systems=len(drawn),
                first_bead=sum(len(window.present) for window in drawn[:start]),
                n_beads=sum(len(window.present) for window in drawn),
                n_radii=sum(len(window.radius) for window in drawn),
            ),
            slow=self.slow[[w.place for w in windows], [w.half for w in windows]],
        )

    @property
    def n_systems(self) -> int:
        """Windows in a batch of all devices."""
        return sum(n_taken for _, n_taken in self._shares) * self._n_windows

    def _draw(self, number: int) -> list[_Window]:
        """All windows of a batch; every rank draws the same."""
        stream = np.random.default_rng((self._seed, number))
        (n_train, n_molecules), (n_others, n_corrected) = self._shares
        chosen = stream.choice(n_train, n_molecules, replace=False).tolist()
        others = stream.choice(n_others, n_corrected, replace=False).tolist()
        windows = []
        for slot, place in enumerate([*chosen, *(n_train + k for k in others)]):
            source = self._sources[place]
            atoms = source.atoms[stream.integers(len(source.atoms))]
            n = len(source.positions) - (self._spec.n_history + 1) * source.stride
            half, starts = 0, range(n)
            if self.slow.size(2) > 0:
                half = int(stream.integers(2))
                starts = (starts[: max(n // 2, 1)], starts[n // 2 :])[half]
            for _ in range(self._n_windows):
                parts = self._window(
                    source, starts, stream, is_equilibrium=place < n_train
                )
                windows.append(_Window(slot, place, half, source, atoms, *parts))
        return windows

    def _window(
        self,
        source: _Source,
        starts: range,
        stream: np.random.Generator,
        *,
        is_equilibrium: bool,
    ) -> tuple[torch.Tensor, ...]:
        n_history, stride = self._spec.n_history, source.stride
        start = starts[int(stream.integers(len(starts)))]
        numbers = start + stride * np.arange(n_history + 2)
        hidden = 0
        if self._augmentation is not None:
            can_reverse = self._augmentation.reverse_time and is_equilibrium
            if can_reverse and stream.random() < 0.5:
                numbers = numbers[::-1]
            if stream.random() < self._augmentation.history_dropout:
                hidden = int(stream.integers(1, n_history + 1)) if n_history else 0
        present = source.positions[int(numbers[-2])]
        frames = source.internal[torch.from_numpy(numbers.copy())]
        n = frames.size(1)
        moves = (frames[1:-1] - frames[:-2]).flip(0)  # (n_history, n_beads, 3)
        known = torch.ones(n_history, n, 1)
        known[n_history - hidden :] = 0.0
        if self._augmentation is not None and self._augmentation.history_noise > 0.0:
            scale = (
                self._augmentation.history_noise
                * self._spec.statistics.displacement_scale
            )
            noise = stream.standard_normal(tuple(moves.shape), dtype=np.float32)
            moves = moves + scale * torch.from_numpy(noise)
        radius = source.radius[int(numbers[-2])].expand(
            source.graph.beads.molecule_masses.size(0)
        )
        target = present + (frames[-1] - frames[-2])
        return present, moves * known, known, target, radius


def _source(
    trajectory: BeadTrajectory, spec: ModelSpec, augmentation: AugmentationConfig | None
) -> _Source:
    graph = build_system(trajectory.mapping, spec)
    masses = trajectory.mapping.bead_masses
    frames, internal = near_origin(trajectory), trajectory.positions.astype(np.float64)
    if spec.friction is not None:
        internal = centred(trajectory)
    elif spec.remove_drift:
        internal = internal - centre_of_mass(internal, masses)[:, None]
    n_molecules = graph.beads.molecule_masses.size(0)
    radius = np.full(len(frames), np.nan, dtype=np.float32)
    if "rg2" in trajectory.observables and n_molecules == 1:
        radius = np.sqrt(trajectory.observables["rg2"]).astype(np.float32)
    variants = [graph.atoms]
    for first, second in augmentation.exchange if augmentation else []:
        names = list(spec.particle_types)
        _check_exchange(first, second, spec)
        a, b = names.index(first), names.index(second)
        swap = torch.arange(len(names))
        swap[a], swap[b] = b, a
        variants += [part._replace(types=swap[part.types]) for part in variants]
    return _Source(
        positions=torch.from_numpy(frames.astype(np.float32)),
        internal=torch.from_numpy(internal.astype(np.float32)),
        radius=torch.from_numpy(radius),
        box=torch.tensor(
            np.zeros((3, 3)) if trajectory.box is None else trajectory.box
        ),
        stride=stride_of(trajectory, spec.time_step, spec.n_history),
        graph=graph,
        atoms=tuple(variants),
    )


def _check_exchange(first: str, second: str, spec: ModelSpec) -> None:
    masses = [spec.particle_types.get(name) for name in (first, second)]
    if None in masses or masses[0] != masses[1]:
        raise ValueError(
            "exchanged particle types must be in the training data and have one mass, "
            f"got {first!r} and {second!r} of masses {masses[0]} and {masses[1]} Da"
        )
