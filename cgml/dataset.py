"""Training windows from bead frames: batches, splits, scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from cgml.config import AugmentationConfig, ModelSpec
from cgml.edges import Edges, find_edges
from cgml.graph import (
    Atoms,
    Beads,
    SystemGraph,
    build_system,
    join_atoms,
    join_beads,
)
from cgml.predictor import History
from cgml.scales import centred, near_origin, stride_of
from cgml.trajectory import BeadTrajectory


class Batch(NamedTuple):
    """Windows of several molecules, ready for the networks.

    Attributes:
        atoms: bond graphs, each molecule once.
        embedding_rows: (n_beads,) row of the embedding that each bead takes.
        beads: all windows one after the other.
        edges: likewise.
        systems: (n_beads,) window of each bead.
        history: present positions and earlier displacements.
        target: (n_beads, 3) next positions, nm.
        radius: (n_molecules,) radius of gyration of all atoms now, nm; NaN where the
            data do not hold it.
    """

    atoms: Atoms
    embedding_rows: torch.Tensor
    beads: Beads
    edges: Edges
    systems: torch.Tensor
    history: History
    target: torch.Tensor
    radius: torch.Tensor


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


class WindowDataset(Dataset[Batch]):
    """Batch i is a pure function of (seed, i): resuming needs only the step count.

    Args:
        trajectories: molecules of one split.
        spec: of the model in training.
        augmentation: symmetries and noise; None: plain windows with full history.
        n_molecules: molecules per batch.
        n_windows: windows of each.
        n_batches: length of the dataset.
        first: number of the first batch.
        seed: of the stream of batches.
    """

    def __init__(
        self,
        trajectories: Sequence[BeadTrajectory],
        spec: ModelSpec,
        augmentation: AugmentationConfig | None,
        *,
        n_molecules: int,
        n_windows: int,
        n_batches: int,
        seed: int,
    ) -> None:
        self._spec = spec
        self._augmentation = augmentation
        self._n_molecules = min(n_molecules, len(trajectories))
        self._n_windows = n_windows
        self._n_batches = n_batches
        self._seed = seed
        self.first = 0
        self._sources = [_source(item, spec, augmentation) for item in trajectories]

    def __len__(self) -> int:
        return self._n_batches

    def __getitem__(self, index: int) -> Batch:
        """Batch number `first + index`."""
        if not 0 <= index < self._n_batches:
            raise IndexError(index)
        stream = np.random.default_rng((self._seed, self.first + index))
        chosen = stream.choice(len(self._sources), self._n_molecules, replace=False)
        atoms, graphs, boxes, windows, rows, n_beads = [], [], [], [], [], 0
        for number in chosen:
            source = self._sources[number]
            atoms.append(source.atoms[stream.integers(len(source.atoms))])
            n = source.positions.size(1)
            for _ in range(self._n_windows):
                graphs.append(source.graph)
                boxes.append(source.box)
                windows.append(self._window(source, stream))
                rows.append(torch.arange(n_beads, n_beads + n))
            n_beads += n
        present, moves, known, target, radius = zip(*windows, strict=True)
        sizes = [len(part) for part in present]
        beads = join_beads([graph.beads for graph in graphs])
        positions = torch.cat(present)
        cutoff = self._spec.cutoff
        cells = boxes if self._spec.periodic else None
        return Batch(
            atoms=join_atoms(atoms),
            embedding_rows=torch.cat(rows),
            beads=beads,
            edges=find_edges(beads, sizes, positions, cutoff, cells),
            systems=torch.repeat_interleave(torch.tensor(sizes)),
            history=History(
                positions, torch.cat(moves, dim=1), torch.cat(known, dim=1)
            ),
            target=torch.cat(target),
            radius=torch.cat(radius),
        )

    def _window(
        self, source: _Source, stream: np.random.Generator
    ) -> tuple[torch.Tensor, ...]:
        n_history, stride = self._spec.n_history, source.stride
        length = (n_history + 1) * stride
        start = int(stream.integers(len(source.positions) - length))
        numbers = start + stride * np.arange(n_history + 2)
        hidden = 0
        if self._augmentation is not None:
            if self._augmentation.reverse_time and stream.random() < 0.5:
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
        internal = internal - np.average(internal, axis=1, weights=masses)[:, None]
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


def check_disjoint(
    train: Sequence[BeadTrajectory], validation: Sequence[BeadTrajectory]
) -> None:
    """Refuse a molecule that is in both splits.

    Raises:
        ValueError: Two trajectories have the same molecular graph.
    """
    seen = {item.mapping.graph.hash(): item.name for item in train}
    for item in validation:
        other = seen.get(item.mapping.graph.hash())
        if other is not None:
            raise ValueError(
                f"validation molecule {item.name!r} is training molecule {other!r}: "
                "split by molecule, never by frame"
            )
