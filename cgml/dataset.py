"""Training windows from bead frames: batches, splits, scales."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array
from torch.utils.data import Dataset

from cgml.box import wrap
from cgml.config import AugmentationConfig, ModelSpec, RousePrior, Statistics
from cgml.edges import Edges, find_edges, pairs_within
from cgml.graph import (
    Atoms,
    Beads,
    SystemGraph,
    build_system,
    join_atoms,
    join_beads,
)
from cgml.mapping import Mapping
from cgml.predictor import History
from cgml.rouse import gained_variance, laplacian_modes, retention
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


def stride_of(trajectory: BeadTrajectory, time_step: float, n_history: int = 1) -> int:
    """Stored frames per model step.

    Args:
        trajectory: bead frames.
        time_step: of the model, ps.
        n_history: earlier displacements in a window.

    Raises:
        ValueError: The stored spacing does not divide the model step, or the
            trajectory is too short.
    """
    ratio = time_step / trajectory.time_step
    stride = round(ratio)
    if stride < 1 or abs(ratio - stride) > 1e-3:
        raise ValueError(
            f"the frame spacing must divide the model step, {trajectory.name!r} has "
            f"{trajectory.time_step:g} ps, the model {time_step:g} ps"
        )
    needed = (n_history + 1) * stride + 1
    if len(trajectory.positions) < needed:
        raise ValueError(
            f"{trajectory.name!r} has {len(trajectory.positions)} frames, a window of "
            f"{n_history + 1} model steps takes {needed}"
        )
    return stride


def molecule_centres(trajectory: BeadTrajectory) -> NDArray[np.float64]:
    """Centre of mass of each bead's molecule, (n_frames, n_beads, 3) nm."""
    mapping = trajectory.mapping
    molecules, masses = mapping.molecule_index, mapping.bead_masses
    n = int(molecules.max()) + 1
    share = csr_array(
        (masses, (molecules, np.arange(len(masses)))), shape=(n, len(masses))
    )
    share = share.multiply(1.0 / np.asarray(share.sum(axis=1))[:, None]).tocsr()
    positions = trajectory.positions.astype(np.float64)
    columns = np.moveaxis(positions, 1, 0).reshape(len(masses), -1)
    centres = (share @ columns)[molecules].reshape(len(masses), -1, 3)
    return np.ascontiguousarray(np.moveaxis(centres, 0, 1))


def centred(trajectory: BeadTrajectory) -> NDArray[np.float64]:
    """Positions relative to each molecule's centre of mass, (n_frames, n_beads, 3)."""
    return np.asarray(trajectory.positions - molecule_centres(trajectory))


def near_origin(trajectory: BeadTrajectory) -> NDArray[np.float64]:
    """Positions as the networks see them, (n_frames, n_beads, 3) nm.

    Relative to the system's centre of mass, or with every molecule whole and its
    centre in the box.
    """
    positions = trajectory.positions.astype(np.float64)
    if trajectory.box is None:
        masses = trajectory.mapping.bead_masses
        return positions - np.average(positions, axis=1, weights=masses)[:, None]
    centres = molecule_centres(trajectory)
    return positions + (wrap(centres, trajectory.box) - centres)


def fit_prior(trajectories: Sequence[BeadTrajectory], time_step: float) -> RousePrior:
    """Maximum-likelihood Rouse constants of the internal modes.

    Args:
        trajectories: training molecules.
        time_step: of the model, ps.
    """
    rows = []
    for trajectory in trajectories:
        stride = stride_of(trajectory, time_step)
        mapping = trajectory.mapping
        positions = centred(trajectory)
        for index in range(int(mapping.molecule_index.max()) + 1):
            member = np.flatnonzero(mapping.molecule_index == index)
            local = np.full(mapping.n_beads, -1)
            local[member] = np.arange(len(member))
            bonds = local[mapping.bead_bonds]
            masses = mapping.bead_masses[member]
            values, vectors = laplacian_modes(masses, bonds[(bonds >= 0).all(axis=1)])
            weights = np.sqrt(masses / masses.mean())
            modes = np.einsum(
                "bk,fbd->fkd", vectors * weights[:, None], positions[:, member]
            )
            now, later = modes[:-stride, 1:], modes[stride:, 1:]
            moments = [
                np.mean(a * b, axis=(0, 2))
                for a, b in ((now, now), (now, later), (later, later))
            ]
            rows.append(np.stack((values[1:], *moments)))
    eigenvalues, before, both, after = np.concatenate(rows, axis=1)

    def cost(logs: NDArray[np.float64]) -> float:
        prior = RousePrior(rate=float(np.exp(logs[0])), variance=float(np.exp(logs[1])))
        kept, gained = (
            retention(eigenvalues, prior),
            gained_variance(eigenvalues, prior),
        )
        residual = after - 2.0 * kept * both + kept**2 * before
        return float(np.mean(np.log(gained) + residual / gained))

    best = minimize(cost, np.zeros(2), method="Nelder-Mead")
    return RousePrior(rate=float(np.exp(best.x[0])), variance=float(np.exp(best.x[1])))


class _Extremes(NamedTuple):
    """What one trajectory looks like; not a number where there is nothing to see.

    Attributes:
        square_move: mean square displacement of a bead in one step, nm^2.
        longest_move: largest displacement, nm.
        square_bond: mean square distance of bonded beads, nm^2.
        shortest_bond: nm.
        longest_bond: nm.
        closest: shortest distance of two beads that share no bond, nm.
        degree: mean number of edges that arrive at a bead.
    """

    square_move: float
    longest_move: float
    square_bond: float
    shortest_bond: float
    longest_bond: float
    closest: float
    degree: float


def measure(
    trajectories: Sequence[BeadTrajectory], time_step: float, cutoff: float | None
) -> Statistics:
    """Scales and guard limits of the training data.

    Args:
        trajectories: training molecules.
        time_step: of the model, ps.
        cutoff: of the model, nm, or None for all pairs of a molecule.

    Raises:
        ValueError: No two beads are bonded.
    """
    rows = [_extremes(item, time_step, cutoff) for item in trajectories]
    each = dict(zip(_Extremes._fields, np.array(rows).T, strict=True))
    if np.isnan(each["square_bond"]).all():
        raise ValueError("training frames without any bonded beads, bonds are required")
    closest = float(np.min(each["closest"]))
    return Statistics(
        length_scale=float(np.sqrt(np.nanmean(each["square_bond"]))),
        displacement_scale=float(np.sqrt(np.mean(each["square_move"]))),
        max_displacement=float(np.max(each["longest_move"])),
        bond_length_range=(
            float(np.nanmin(each["shortest_bond"])),
            float(np.nanmax(each["longest_bond"])),
        ),
        min_distance=closest if math.isfinite(closest) else 0.0,
        mean_degree=float(max(np.mean(each["degree"]), 1.0)),
    )


def _extremes(
    trajectory: BeadTrajectory, time_step: float, cutoff: float | None
) -> _Extremes:
    stride, mapping = stride_of(trajectory, time_step), trajectory.mapping
    # a periodic system moves as a whole, a molecule in the open is held at rest
    path = centred(trajectory) if trajectory.box is None else trajectory.positions
    move = np.linalg.norm(path[stride:] - path[:-stride], axis=-1)
    first, second = mapping.bead_bonds.T
    bond = np.full((1, 1), np.nan)
    if len(first):
        frames = trajectory.positions[::stride]
        gaps = frames[:, first] - frames[:, second]
        bond = np.linalg.norm(gaps.astype(np.float64), axis=-1)
    closest, degree = _neighbourhood(trajectory, stride, cutoff)
    return _Extremes(
        float(np.mean(move**2)),
        float(move.max()),
        float(np.mean(bond**2)),
        float(bond.min()),
        float(bond.max()),
        closest,
        degree,
    )


def _neighbourhood(
    trajectory: BeadTrajectory, stride: int, cutoff: float | None
) -> tuple[float, float]:
    """Shortest distance of beads without a bond, nm, and mean number of edges."""
    mapping = trajectory.mapping
    n, box = mapping.n_beads, trajectory.box
    bonds = torch.from_numpy(mapping.bead_bonds @ np.array([n, 1]))  # keys, i < j
    cells = None if box is None else [torch.tensor(box)]
    closest, n_pairs = math.inf, []
    for frame in near_origin(trajectory)[::stride]:
        places = torch.tensor(frame)
        if cutoff is None:
            first, second = torch.from_numpy(_molecule_pairs(mapping))
            shift = torch.zeros(1, 3)
        else:
            pairs = pairs_within([n], places, cutoff, cells)
            first, second, _, shift = (part[pairs[0] <= pairs[1]] for part in pairs)
        is_bond = torch.isin(first * n + second, bonds) & (shift == 0.0).all(dim=1)
        apart = (places[second] - places[first] + shift).norm(dim=1)[~is_bond]
        closest = min(closest, float(apart.min()) if len(apart) else math.inf)
        n_pairs.append(len(apart) + len(bonds))
    return closest, 2.0 * float(np.mean(n_pairs)) / n


def _molecule_pairs(mapping: Mapping) -> NDArray[np.int64]:
    """Pairs of beads of one molecule, (2, n_pairs), i < j."""
    first, second = np.triu_indices(mapping.n_beads, k=1)
    same = mapping.molecule_index[first] == mapping.molecule_index[second]
    return np.stack((first[same], second[same]))


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
