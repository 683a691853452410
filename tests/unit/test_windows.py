import re
from typing import Any

import numpy as np
import pytest
import torch
from core_systems import (
    chain,
    coil,
    frames_of,
    mixture,
    rouse_frames,
    small_spec,
)

from cgml.formats.trajectory import BeadTrajectory
from cgml.molecules.frames import centred
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.bound import flat
from cgml.network.pairs import Layout
from cgml.spec import ModelSpec
from cgml.training.config import AugmentationConfig
from cgml.training.scales import fit_prior, measure, stride_of
from cgml.training.split import check_disjoint
from cgml.training.windows import Batch, WindowDataset

CHAIN = chain()
BASE = coil(CHAIN)
BASE = BASE - CHAIN.bead_masses @ BASE / CHAIN.bead_masses.sum()
PLAIN = AugmentationConfig(reverse_time=False, history_dropout=0.0, history_noise=0.0)
ONE_PAST = small_spec(n_history=1)  # 20 ps: two of the stored frames


def numbered(n_frames: int, name: str = "numbered") -> BeadTrajectory:
    """Frame k is (k + 1)^2 times frame 0, its radius k + 1: it tells its number."""
    numbers = np.arange(1, n_frames + 1)
    positions = (numbers**2)[:, None, None] * BASE
    return frames_of(CHAIN, positions, name=name, rg2=numbers.astype(float) ** 2)


def number_of(positions: torch.Tensor) -> list[int]:
    """Frame of each window, counted from 0."""
    windows = positions.view(-1, 5, 3)
    ratio = (windows.numpy() * BASE).sum(axis=(1, 2)) / (BASE**2).sum()
    root = np.sqrt(ratio)
    assert np.allclose(root, np.round(root), atol=1e-3)
    return [round(value) - 1 for value in root.tolist()]


def windows_of(
    trajectories: list[BeadTrajectory],
    spec: ModelSpec,
    augmentation: AugmentationConfig | None,
    **sizes: Any,
) -> WindowDataset:
    numbers = {"n_molecules": 1, "n_windows": 4, "n_batches": 30, "seed": 0} | sizes
    return WindowDataset(trajectories, spec, augmentation, **numbers)


def triples(dataset: WindowDataset) -> set[tuple[int, ...]]:
    """(previous, present, next) frames of all windows."""
    found = set()
    for index in range(len(dataset)):
        batch = dataset[index]
        present = batch.history.positions
        past = number_of(present - batch.history.displacements[0])
        found |= set(
            zip(past, number_of(present), number_of(batch.target), strict=True)
        )
    return found


def tensors(batch: Batch) -> list[torch.Tensor]:
    return flat(list(batch._replace(share=(), far=batch.far or ())))


def equal(one: Batch, other: Batch) -> bool:
    """Whether all bits are the same; a radius that is not known is NaN."""
    return all(
        torch.equal(a.nan_to_num(-1.0), b.nan_to_num(-1.0))
        for a, b in zip(tensors(one), tensors(other), strict=True)
    )


# --- windows


@pytest.mark.parametrize("augmentation", [None, PLAIN])
def test_every_offset_is_used_and_nothing_else(augmentation):
    """9 frames, 10 ps apart, model step 20 ps, one step of history."""
    found = triples(windows_of([numbered(9)], ONE_PAST, augmentation))
    assert found == {(first, first + 2, first + 4) for first in range(5)}


def test_windows_are_used_backwards_too():
    augmentation = PLAIN.model_copy(update={"reverse_time": True})
    found = triples(windows_of([numbered(8)], ONE_PAST, augmentation, n_batches=60))
    forwards = {(first, first + 2, first + 4) for first in range(4)}
    assert found == forwards | {window[::-1] for window in forwards}


def test_half_of_the_windows_run_backwards():
    augmentation = PLAIN.model_copy(update={"reverse_time": True})
    dataset = windows_of([numbered(9)], ONE_PAST, augmentation, n_windows=400)
    batch = dataset[0]
    forwards = np.array(number_of(batch.target)) > number_of(batch.history.positions)
    assert abs(forwards.mean() - 0.5) < 4.0 * 0.5 / 20.0


def test_half_of_a_batch_are_corrections_and_they_only_run_forwards():
    augmentation = PLAIN.model_copy(update={"reverse_time": True})
    own, others = [numbered(9), numbered(9)], [numbered(40) for _ in range(9)]
    sizes = {"n_molecules": 4, "n_windows": 50, "corrections": others}
    dataset = windows_of(own, ONE_PAST, augmentation, **sizes)
    assert dataset.n_systems == 200
    is_far = False
    for index in range(5):
        batch = dataset[index]
        present, target = number_of(batch.history.positions), number_of(batch.target)
        forwards = (np.array(target) > present).reshape(4, 50).mean(axis=1)
        assert (forwards[2:] == 1.0).all()
        assert ((forwards[:2] > 0.1) & (forwards[:2] < 0.9)).all()
        assert max(present[:100]) < 9
        is_far |= max(present[100:]) > 9
    assert is_far


def test_a_batch_has_no_more_corrections_than_others():
    """Of one melt there is one system to train on, however many corrections."""
    sizes = {"n_molecules": 16, "corrections": [numbered(9) for _ in range(9)]}
    dataset = windows_of([numbered(9)], ONE_PAST, PLAIN, **sizes)
    assert dataset.n_systems == 2 * 4


def test_batches_without_corrections_are_what_they_were():
    dataset = windows_of([numbered(9), numbered(9)], ONE_PAST, PLAIN, n_molecules=2)
    other = windows_of(
        [numbered(9), numbered(9)], ONE_PAST, PLAIN, n_molecules=2, corrections=[]
    )
    assert all(equal(dataset[index], other[index]) for index in range(5))


@pytest.mark.parametrize("n_history", [0, 3])
def test_displacements_are_newest_first(n_history):
    spec = small_spec(n_history=n_history)
    dataset = windows_of([numbered(2 * n_history + 6)], spec, None)
    history = dataset[0].history
    assert history.displacements.shape == (n_history, 20, 3)
    assert history.known.shape == (n_history, 20, 1)
    place = history.positions
    for age in range(n_history):
        before = place - history.displacements[age]
        steps = np.subtract(number_of(place), number_of(before))
        assert set(steps.tolist()) == {2}
        place = before


def test_the_radius_is_that_of_the_present_frame():
    batch = windows_of([numbered(9)], ONE_PAST, None)[0]
    expected = np.array(number_of(batch.history.positions)) + 1.0
    np.testing.assert_allclose(batch.radius, expected, rtol=1e-6)


def test_a_radius_that_is_not_known_is_nan():
    trajectory = frames_of(CHAIN, numbered(9).positions)
    assert windows_of([trajectory], ONE_PAST, None)[0].radius.isnan().all()


def test_a_held_centre_does_not_move():
    """So that a drift of the whole molecule teaches nothing where it is held."""
    moving = numbered(9).positions + np.arange(9)[:, None, None]
    trajectory = frames_of(CHAIN, moving)
    held = windows_of([trajectory], ONE_PAST, None)[0]
    assert set(number_of(held.history.positions)) <= set(range(9))
    free = windows_of([trajectory], small_spec(n_history=1, friction=None), None)[0]
    assert torch.equal(free.history.positions, held.history.positions)
    drift = free.target - held.target
    np.testing.assert_allclose(drift, 2.0, atol=1e-5)  # a window step is two frames


# --- augmentation


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_history_dropout(probability):
    """The oldest displacements are hidden, flagged and zero; at least one."""
    augmentation = PLAIN.model_copy(update={"history_dropout": probability})
    spec = small_spec(n_history=3)
    history = windows_of([numbered(20)], spec, augmentation, n_windows=300)[0].history
    known = history.known[:, ::5, 0].numpy()  # of each window
    assert torch.equal(history.known, history.known[:, ::5].repeat_interleave(5, 1))
    assert set(known.ravel().tolist()) <= {0.0, 1.0}
    assert (np.diff(known, axis=0) <= 0.0).all()
    is_hidden = known[-1] == 0.0
    error = np.sqrt(probability * (1.0 - probability) / 300)
    assert abs(is_hidden.mean() - probability) <= 4.0 * error
    hidden = known == 0.0
    length = history.displacements.norm(dim=2).view(3, 300, 5).amax(dim=2).numpy()
    assert (length[hidden] == 0.0).all()
    assert (length[~hidden] > 0.0).all()
    if probability == 1.0:  # any number from one to all
        assert set(known.sum(axis=0).tolist()) == {0.0, 1.0, 2.0}


def test_without_augmentation_all_history_is_known():
    history = windows_of([numbered(20)], small_spec(n_history=3), None)[0].history
    assert (history.known == 1.0).all()


def test_history_noise_is_on_earlier_displacements_only():
    augmentation = PLAIN.model_copy(update={"history_noise": 0.1})
    noisy = windows_of([numbered(9)], ONE_PAST, augmentation, n_windows=500)[0]
    places = number_of(noisy.history.positions)
    assert np.subtract(number_of(noisy.target), places).tolist() == [2] * 500
    last = np.array(places)[:, None, None] + 1.0
    true = (last**2 - (last - 2.0) ** 2) * BASE
    step = noisy.history.displacements[0].view(500, 5, 3).numpy() - true
    scale = 0.1 * ONE_PAST.statistics.displacement_scale
    error = scale / np.sqrt(2.0 * step.size)
    assert abs(step.std() - scale) < 4.0 * error
    assert abs(step.mean()) < 4.0 * scale / np.sqrt(step.size)


def test_exchange_swaps_types_throughout_a_molecule():
    """All combinations of the groups, each found; positions are the same."""
    augmentation = PLAIN.model_copy(update={"exchange": [("A", "B"), ("C", "D")]})
    graph = MolecularGraph.create(CHAIN.graph.types, np.ones(10), CHAIN.graph.bonds)
    equal = frames_of(
        Mapping.from_labels(graph, CHAIN.bead_index), numbered(9).positions
    )
    spec = ONE_PAST.model_copy(update={"particle_types": dict.fromkeys("ABCD", 1.0)})
    dataset = windows_of([equal], spec, augmentation, n_batches=40)
    names = list(ONE_PAST.particle_types)
    found = {
        "".join(names[i] for i in dataset[index].atoms.types) for index in range(40)
    }
    own = "".join(CHAIN.graph.types)
    both = [own, own.translate(str.maketrans("AB", "BA"))]
    both += [text.translate(str.maketrans("CD", "DC")) for text in both]
    assert found == set(both)


@pytest.mark.parametrize("pair", [("A", "B"), ("A", "Q")])
def test_types_of_unlike_mass_are_not_exchanged(pair):
    augmentation = PLAIN.model_copy(update={"exchange": [pair]})
    with pytest.raises(ValueError, match=f"have one mass, got 'A' and '{pair[1]}'"):
        windows_of([numbered(9)], ONE_PAST, augmentation)


def test_windows_must_fit():
    with pytest.raises(ValueError, match="3 model steps takes 7"):
        windows_of([numbered(6)], small_spec(n_history=2), None)


def test_without_augmentation_types_are_those_of_the_molecule():
    dataset = windows_of([numbered(9)], ONE_PAST, None)
    for index in range(10):
        types = dataset[index].atoms.types.tolist()
        assert [list("ABCD")[i] for i in types] == list(CHAIN.graph.types)


# --- batches


def three() -> list[BeadTrajectory]:
    others = ["ABCDABCD", "DDCCBBAADD"]
    made = [numbered(9)]
    for seed, types in enumerate(others):
        mapping = chain(types)
        positions = np.random.default_rng(seed).normal(size=(9, mapping.n_beads, 3))
        made.append(frames_of(mapping, positions))
    return made


def test_batches_are_a_function_of_seed_and_index():
    augmentation = AugmentationConfig()
    sizes = {"n_molecules": 2, "n_windows": 2, "n_batches": 6}
    one = windows_of(three(), ONE_PAST, augmentation, **sizes, seed=4)
    other = windows_of(three(), ONE_PAST, augmentation, **sizes, seed=4)
    backwards = [other[index] for index in reversed(range(6))][::-1]
    assert all(equal(one[index], backwards[index]) for index in range(6))
    assert not equal(one[0], one[1])
    changed = windows_of(three(), ONE_PAST, augmentation, **sizes, seed=5)
    assert not equal(one[0], changed[0])


def test_a_resumed_stream_goes_on():
    one = windows_of(three(), ONE_PAST, AugmentationConfig())
    other = windows_of(three(), ONE_PAST, AugmentationConfig())
    other.first = 3
    assert equal(other[2], one[5])


def test_length_and_end():
    dataset = windows_of(three(), ONE_PAST, None, n_batches=3)
    assert len(dataset) == 3
    for index in (3, -1):
        with pytest.raises(IndexError):
            dataset[index]


def test_layout_of_a_batch():
    """Each molecule's atoms once, its windows in a row; edges inside a window."""
    dataset = windows_of(three(), ONE_PAST, None, n_molecules=3, n_windows=2)
    batch = dataset[0]
    assert len(batch.atoms.types) == 28
    assert len(batch.target) == len(batch.embedding_rows) == 28
    assert batch.beads.molecules.tolist() == sorted(batch.beads.molecules.tolist())
    assert len(batch.beads.molecule_masses) == len(batch.radius) == 6
    sizes = np.bincount(batch.beads.molecules)
    rows = np.split(batch.embedding_rows.numpy(), np.cumsum(sizes)[:-1])
    start = 0
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert (
            first.tolist() == second.tolist() == list(range(start, start + len(first)))
        )
        start += len(first)
    layout, owner = batch.layout, batch.beads.molecules
    assert torch.equal(owner[layout.sender], owner[layout.receiver])
    assert len(layout.arrivals) == (sizes * (sizes - 1)).sum()


def test_a_cutoff_thins_the_edges():
    every = windows_of([numbered(9)], ONE_PAST, None)[0]
    near = windows_of([numbered(9)], small_spec(n_history=1, cutoff=6.0), None)[0]
    assert torch.equal(every.target, near.target)
    places = every.history.positions.numpy()
    kept = {
        (i, j)
        for i, j in ends_of(every.layout)
        if abs(i - j) == 1 or np.linalg.norm(places[i] - places[j]) <= 6.0
    }
    assert ends_of(near.layout) == kept
    assert len(kept) < len(ends_of(every.layout))


def ends_of(layout: Layout) -> set[tuple[int, int]]:
    """Receiver and sender of each pair."""
    n_pairs = len(layout.arrivals) // 2
    ends = [part.tolist()[:n_pairs] for part in (layout.receiver, layout.sender)]
    return set(zip(*ends, strict=True))


def test_more_molecules_than_there_are():
    dataset = windows_of(three(), ONE_PAST, None, n_molecules=9, n_windows=1)
    assert len(dataset[0].radius) == 3


def test_every_molecule_is_used():
    dataset = windows_of(three(), ONE_PAST, None, n_windows=1)
    types = {tuple(dataset[index].atoms.types.tolist()) for index in range(30)}
    assert len(types) == 3


# --- strides and splits


@pytest.mark.parametrize(("time_step", "stride"), [(10.0, 1), (20.0, 2), (40.0, 4)])
def test_strides(time_step, stride):
    assert stride_of(numbered(9), time_step) == stride


@pytest.mark.parametrize("time_step", [25.0, 5.0, 10.2])
def test_the_spacing_must_divide_the_step(time_step):
    message = (
        "the frame spacing must divide the model step, 'numbered' has 10 ps, the model "
        f"{time_step:g} ps"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        stride_of(numbered(9), time_step)


def test_a_trajectory_that_is_too_short():
    with pytest.raises(ValueError, match=r"'numbered' has 4 frames, .* takes 5"):
        stride_of(numbered(4), 20.0)
    assert stride_of(numbered(5), 20.0) == 2


def test_splits_by_molecule():
    frames = numbered(9, "first half").positions
    first, second = (
        frames_of(CHAIN, part, name=name)
        for name, part in (("early", frames[:4]), ("late", frames[4:]))
    )
    message = "molecule 'late' is training molecule 'early': split by molecule"
    with pytest.raises(ValueError, match=message):
        check_disjoint([first], [second])
    check_disjoint([first], three()[1:])


# --- scales


def test_centred_molecules():
    mapping = mixture()
    stream = np.random.default_rng(0)
    positions = stream.normal(size=(4, 7, 3)) + 50.0
    found = centred(frames_of(mapping, positions))
    expected = positions.astype(np.float32).astype(np.float64)
    for molecule in range(3):
        member = mapping.molecule_index == molecule
        masses = mapping.bead_masses[member]
        centre = np.einsum("b,fbd->fd", masses, expected[:, member]) / masses.sum()
        expected[:, member] -= centre[:, None]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def moves_of(places: np.ndarray) -> np.ndarray:
    """Displacements over two frames, at every offset."""
    return np.array(
        [
            np.linalg.norm(places[frame + 2, i] - places[frame, i])
            for frame in range(len(places) - 2)
            for i in range(places.shape[1])
        ]
    )


def gaps_of(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances of bonded and of other pairs of a chain, in every second frame."""
    bonded, other = [], []
    for frame in places[::2]:
        for i in range(len(frame)):
            for j in range(i):
                gap = np.linalg.norm(frame[i] - frame[j])
                (bonded if i - j == 1 else other).append(gap)
    return np.array(bonded), np.array(other)


@pytest.mark.parametrize("cutoff", [None, 2.0])
def test_measure_against_loops(cutoff):
    """Two chains of different length count the same."""
    stream = np.random.default_rng(0)
    trajectories = [
        frames_of(item, stream.normal(size=(9, item.n_beads, 3)).cumsum(axis=1))
        for item in (CHAIN, chain("ABCDABCD"))
    ]
    places = [centred(item) for item in trajectories]
    moves = [moves_of(part) for part in places]
    bonds, gaps = zip(*(gaps_of(part) for part in places), strict=True)
    limit = np.inf if cutoff is None else cutoff
    degrees = [
        2.0 * (len(bond) + (gap <= limit).sum()) / (5 * part.shape[1])
        for bond, gap, part in zip(bonds, gaps, places, strict=True)
    ]
    found = measure(trajectories, 20.0, cutoff)
    rms = [np.sqrt(np.mean([np.mean(part**2) for part in x])) for x in (bonds, moves)]
    assert found.length_scale == pytest.approx(rms[0])
    assert found.displacement_scale == pytest.approx(rms[1])
    assert found.max_displacement == pytest.approx(max(x.max() for x in moves))
    shortest, longest = min(x.min() for x in bonds), max(x.max() for x in bonds)
    assert found.bond_length_range == pytest.approx((shortest, longest))
    assert found.min_distance == pytest.approx(min(x.min() for x in gaps))
    assert found.mean_degree == pytest.approx(np.mean(degrees))


@pytest.mark.parametrize(("rate", "variance"), [(0.7, 1.3), (0.05, 4.0)])
def test_the_prior_of_a_simulated_rouse_chain(rate, variance):
    """Mean of independent fits within 4 standard errors, taken from their scatter."""
    spec = small_spec(prior={"rate": rate, "variance": variance})
    fits = []
    for seed in range(12):
        frames = rouse_frames(CHAIN, spec, 150, seed)
        prior = fit_prior([frames_of(CHAIN, frames, spacing=20.0)], 20.0)
        fits.append((np.log(prior.rate / rate), np.log(prior.variance / variance)))
    mean, error = np.mean(fits, axis=0), np.std(fits, axis=0, ddof=1) / np.sqrt(12)
    assert (error < 0.05).all()
    assert (np.abs(mean) < 4.0 * error).all()


def test_the_prior_is_that_of_the_model_step():
    """Frames stored twice as often: the rate of the step is twice that of a frame."""
    spec = small_spec(prior={"rate": 0.2, "variance": 1.0})
    molecules = [CHAIN, chain("ABCDABCD")]
    found = []
    for seed in range(12):
        trajectories = [
            frames_of(item, rouse_frames(item, spec, 500, 2 * seed + k), spacing=10.0)
            for k, item in enumerate(molecules)
        ]
        fine, coarse = fit_prior(trajectories, 10.0), fit_prior(trajectories, 20.0)
        found.append((fine.rate / 0.2, coarse.rate / 0.4, coarse.variance / 1.0))
    logs = np.log(found)  # (12, 3)
    error = logs.std(axis=0, ddof=1) / np.sqrt(12)
    assert (error < 0.02).all()
    assert (np.abs(logs.mean(axis=0)) < 4.0 * error).all()


def test_the_prior_sees_internal_motion_only():
    spec = small_spec()
    frames = rouse_frames(CHAIN, spec, 100, 0)
    walk = np.random.default_rng(0).normal(size=(100, 1, 3)).cumsum(axis=0)
    still, moving = (
        fit_prior([frames_of(CHAIN, places, spacing=20.0)], 20.0)
        for places in (frames, frames + 3.0 * walk)
    )
    assert moving.rate == pytest.approx(still.rate, rel=1e-3)
    assert moving.variance == pytest.approx(still.variance, rel=1e-3)


def test_batches_are_single_precision():
    batch = windows_of([numbered(9)], ONE_PAST, AugmentationConfig())[0]
    for part in (*batch.history, batch.target, batch.radius, batch.layout.static):
        assert part.dtype == torch.float32
