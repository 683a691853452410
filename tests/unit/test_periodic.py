"""Periodic boxes in the core: pairs, steps, training windows."""

from itertools import product

import numpy as np
import pytest
import torch
from core_systems import chain, learned, mixture, small_spec
from reference_network import both_ways, vectors_of

from cgml.dynamics.guards import GuardError
from cgml.dynamics.propagator import Propagator, State
from cgml.molecules.box import wrap
from cgml.molecules.frames import BeadTrajectory, near_origin
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.inputs import build_system, join_beads
from cgml.network.pairs import PairSearch
from cgml.training.scales import measure
from cgml.training.windows import WindowDataset

CUBE = np.diag([6.0, 6.0, 6.0])
SKEWED = np.array([[6.0, 0.0, 0.0], [2.0, 5.5, 0.0], [-1.5, 2.5, 6.5]])
MIXTURE, CHAIN = mixture(), chain("ABCD")
PAIR = Mapping.from_labels(
    MolecularGraph.create("AA", [1.0, 1.0], np.empty((0, 2), dtype=int)), [0, 1]
)


def compact(mapping: Mapping, seed: int = 0) -> np.ndarray:
    """Return whole molecules anywhere, bonds 1 nm long."""
    stream = np.random.default_rng(seed)
    positions = stream.uniform(-20.0, 20.0, size=(mapping.n_beads, 3))
    for first, second in mapping.bead_bonds:
        step = stream.normal(size=3)
        positions[second] = positions[first] + step / np.linalg.norm(step)
    return positions


def shift_molecules(mapping: Mapping, box: np.ndarray, seed: int) -> np.ndarray:
    """Return whole box vectors for each bead, equal within a molecule."""
    cells = np.random.default_rng(seed).integers(-3, 4, size=(mapping.n_beads, 3))
    return cells[mapping.molecule_index] @ box


# --- pairs


@pytest.mark.parametrize("box", [CUBE, SKEWED])
@pytest.mark.parametrize("cutoff", [1.5, 2.9, 7.0])
def test_every_image_within_the_cutoff(box, cutoff):
    """Beyond half the box a pair has several images, and a bead sees its own."""
    systems = [MIXTURE, CHAIN]
    beads = join_beads([build_system(item, small_spec()).beads for item in systems])
    boxes = [box, 1.5 * CUBE]
    # whole molecules with their centres in the box: images close by suffice
    places = [compact(item, seed) for seed, item in enumerate(systems)]
    for place, item, cell in zip(places, systems, boxes, strict=True):
        for molecule in range(item.molecule_index.max() + 1):
            inside = item.molecule_index == molecule
            centre = place[inside].mean(axis=0)
            place[inside] += wrap(centre, cell) - centre
    search = PairSearch(
        beads,
        [item.n_beads for item in systems],
        cutoff,
        [torch.tensor(cell) for cell in boxes],
    )
    pairs = search(torch.tensor(np.concatenate(places)))
    edges = both_ways(pairs)
    expected, start = [], 0
    for place, item, cell in zip(places, systems, boxes, strict=True):
        bonds = {tuple(pair) for pair in item.bead_bonds.tolist()}
        for i, j in product(range(item.n_beads), repeat=2):
            is_bond = (min(i, j), max(i, j)) in bonds
            for image in product(range(-4, 5), repeat=3):
                gap = place[i] - place[j] + np.array(image) @ cell
                here = image == (0, 0, 0)
                if (i == j and here) or not (
                    np.linalg.norm(gap) <= cutoff or (is_bond and here)
                ):
                    continue
                expected.append((start + i, start + j, *gap, is_bond and here))
        start += item.n_beads
    found = torch.cat(
        (
            edges.receiver[:, None],
            edges.sender[:, None],
            vectors_of(torch.tensor(np.concatenate(places)), edges),
            edges.static[:, :1],
        ),
        dim=1,
    )
    keys = list(zip(pairs.receiver.tolist(), pairs.sender.tolist(), strict=True))
    assert keys == sorted(keys)
    assert len(found) == len(expected)
    both = [np.array(rows, dtype=float) for rows in (found.tolist(), expected)]
    one, other = (rows[np.lexsort(np.round(rows, 3).T)] for rows in both)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_another_image_of_a_neighbour_is_not_bonded():
    mapping = chain("AB" * 2)
    beads = build_system(mapping, small_spec()).beads
    places = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    cell = torch.tensor(np.diag([2.0, 30.0, 30.0]))
    edges = both_ways(PairSearch(beads, [2], 1.1, [cell])(places))
    rows = sorted(
        zip(edges.shift[:, 0].tolist(), edges.static[:, :2].tolist(), strict=True)
    )
    assert rows == [
        (-2.0, [0.0, 0.0]),
        (0.0, [1.0, 1.0]),
        (0.0, [1.0, 1.0]),
        (2.0, [0.0, 0.0]),
    ]


# --- steps


def periodic_model(**changes):
    own = {"periodic": True, "cutoff": 2.5, "friction": None, "has_property": False}
    return learned(small_spec(**own | changes))


def steps(propagator: Propagator, state: State, n: int) -> State:
    for _ in range(n):
        state = propagator.step(state)
    return state


@pytest.mark.parametrize("box", [CUBE, SKEWED])
def test_the_image_of_a_molecule_does_not_matter(box):
    """Positions stay unwrapped; a molecule moved by box vectors moves the same."""
    start = compact(MIXTURE)
    shift = shift_molecules(MIXTURE, box, 1)
    one = Propagator(periodic_model(), MIXTURE, box=box)
    moved = steps(one, one.start(start + shift), 3).positions
    stayed = steps(one, one.start(start), 3).positions
    np.testing.assert_allclose(moved - stayed, shift, atol=1e-4)


def test_neighbours_through_the_face_count():
    """The same beads in a wider box, out of reach, move otherwise."""
    start = np.zeros((2, 3))
    start[1, 0] = 5.5  # 0.5 nm through the face of the smaller box
    ends = [
        Propagator(periodic_model(), PAIR, box=box).step(
            Propagator(periodic_model(), PAIR, box=box).start(start)
        )
        for box in (CUBE, 3.0 * CUBE)
    ]
    assert not torch.allclose(ends[0].positions, ends[1].positions)


def test_each_replica_has_its_box():
    """In one call, replicas in boxes of their own give the bits they give alone."""
    boxes = np.stack([CUBE, SKEWED])
    starts = [compact(MIXTURE, seed) for seed in (1, 2)]
    both = Propagator(periodic_model(), [MIXTURE] * 2, box=boxes)
    together = steps(both, both.start(np.concatenate(starts)), 3).positions
    for number, (box, start) in enumerate(zip(boxes, starts, strict=True)):
        alone = Propagator(periodic_model(), MIXTURE, box=box, replica_ids=[number])
        path = steps(alone, alone.start(start), 3).positions
        assert torch.equal(together[both.slices[number]], path)


def test_boxes_are_counted_and_checked():
    with pytest.raises(ValueError, match="one for each of 2 is required, got 3"):
        Propagator(periodic_model(), [MIXTURE] * 2, box=np.stack([CUBE] * 3))
    with pytest.raises(ValueError, match="reduced form"):
        Propagator(periodic_model(), MIXTURE, box=SKEWED.T)


def test_drift_is_removed_if_the_model_says_so():
    masses = MIXTURE.bead_masses[:, None]
    for remove_drift in (True, False):
        model = periodic_model(remove_drift=remove_drift)
        propagator = Propagator(model, MIXTURE, box=CUBE)
        state = propagator.start(compact(MIXTURE))
        end = steps(propagator, state, 2)
        moved = (masses * (end.positions - state.positions).numpy()).sum(axis=0)
        assert (np.abs(moved).max() < 1e-10) == remove_drift


def test_guard_sees_an_overlap_through_the_face():
    model = periodic_model(statistics={"min_distance": 100.0}, cutoff=3.5)
    propagator = Propagator(model, PAIR, box=2.0 * CUBE)
    start = np.zeros((2, 3))
    start[1, 0] = 11.0
    with pytest.raises(GuardError, match="overlap"):
        steps(propagator, propagator.start(start), 3)


# --- training windows


def walk(seed: int, n_frames: int = 6) -> BeadTrajectory:
    """Return unwrapped frames that wander through the faces of the box."""
    stream = np.random.default_rng(seed)
    moves = stream.normal(size=(n_frames, MIXTURE.n_beads, 3))
    path = compact(MIXTURE, seed) + np.cumsum(moves, axis=0)
    return BeadTrajectory(
        MIXTURE, path.astype(np.float32), 10.0 * np.arange(n_frames), SKEWED, "walk"
    )


def test_windows_are_whole_molecules_in_the_box():
    trajectory = walk(0)
    spec = periodic_model().spec.model_copy(update={"n_history": 1})
    windows = WindowDataset(
        [trajectory, walk(1)],
        spec,
        None,
        n_molecules=2,
        n_windows=2,
        n_batches=1,
        seed=0,
    )[0]
    n = MIXTURE.n_beads
    assert windows.systems.tolist() == np.repeat(np.arange(4), n).tolist()
    moves = (windows.target - windows.history.positions).view(4, n, 3)
    jumps = np.concatenate(
        [item.positions[2:] - item.positions[:-2] for item in (trajectory, walk(1))]
    )
    for move in moves.numpy():
        assert np.abs(jumps - move).max(axis=(1, 2)).min() < 1e-5
    layout, places = windows.layout, windows.history.positions
    gaps = places[layout.receiver] - places[layout.sender] + layout.shift.T
    bonded = layout.static[:, 0] > 0.0
    assert (gaps.norm(dim=1)[~bonded] <= spec.cutoff + 1e-5).all()
    assert (gaps.norm(dim=1)[~bonded] > 1e-3).sum() > 10


def test_near_origin_wraps_molecules_whole():
    trajectory = walk(2)
    near = near_origin(trajectory)
    shift = near - trajectory.positions
    for molecule in range(MIXTURE.molecule_index.max() + 1):
        inside = np.flatnonzero(MIXTURE.molecule_index == molecule)
        assert np.ptp(shift[:, inside], axis=1).max() < 1e-9
        masses = MIXTURE.bead_masses[inside]
        centre = np.average(near[:, inside], axis=1, weights=masses)
        cell = centre @ np.linalg.inv(SKEWED)
        assert ((cell > -1e-6) & (cell < 1.0 + 1e-6)).all()
    cells = shift @ np.linalg.inv(SKEWED)
    np.testing.assert_allclose(cells, np.round(cells), atol=1e-5)


def test_measured_distances_are_minimum_images():
    trajectory = walk(3)
    found = measure([trajectory], 10.0, 2.5)
    bonds = {tuple(pair) for pair in MIXTURE.bead_bonds.tolist()}
    closest, degree = np.inf, 0
    images = np.array(list(product(range(-4, 5), repeat=3))) @ SKEWED
    away = np.linalg.norm(images, axis=1) > 0.0
    for frame in near_origin(trajectory):
        for i, j in product(range(MIXTURE.n_beads), repeat=2):
            gaps = np.linalg.norm(frame[i] - frame[j] + images, axis=1)
            is_bond = (min(i, j), max(i, j)) in bonds
            others = gaps[away] if i == j or is_bond else gaps
            closest = min(closest, others.min())
            degree += int((others <= 2.5).sum()) + is_bond
    assert found.min_distance == pytest.approx(closest, rel=1e-5)
    n_rows = MIXTURE.n_beads * len(trajectory.positions)
    assert found.mean_degree == pytest.approx(degree / n_rows, rel=1e-6)
