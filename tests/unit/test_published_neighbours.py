"""The list with a skin gives the edges of a fresh search, to the bit."""

import numpy as np
import pytest
import torch

from cgml.published.neighbours import NeighbourList

CPU = torch.device("cpu")
CUTOFF, SKIN, N = 3.0, 0.6, 150
ORTHOGONAL = np.diag([14.0, 12.0, 13.0])
TRICLINIC = np.array([[14.0, 0.0, 0.0], [4.5, 12.0, 0.0], [-5.5, 3.5, 13.0]])
BOXES = {"open": None, "orthogonal": ORTHOGONAL, "triclinic": TRICLINIC}


@pytest.fixture(params=BOXES.values(), ids=BOXES.keys())
def boxes(request: pytest.FixtureRequest) -> torch.Tensor | None:
    """Two boxes of unequal size, or none."""
    if request.param is None:
        return None
    return torch.tensor(np.stack([request.param, 1.1 * request.param]))


def start(seed: int = 0) -> torch.Tensor:
    """Two systems, unwrapped: beads far outside the box as well as in it."""
    stream = np.random.default_rng(seed)
    return torch.tensor(stream.uniform(-20.0, 30.0, (2 * N, 3)))


def bonds() -> torch.Tensor:
    """Neighbours along chains of ten; random places make most of them long."""
    first = torch.tensor([i for i in range(N - 1) if i % 10 != 9])
    pairs = torch.stack((first, first + 1), dim=1)
    return torch.cat((pairs, pairs.flip(1)))


def neighbours(skin: float, cutoff: float = CUTOFF) -> NeighbourList:
    return NeighbourList([bonds()] * 2, [N, N], cutoff, skin, CPU)


def chains(seed: int = 0) -> torch.Tensor:
    """Positions with bonds that are short beside the box."""
    stream = np.random.default_rng(seed)
    steps = stream.normal(0.0, 0.8, (2 * N // 10, 10, 3))
    steps[:, 0] = stream.uniform(-20.0, 30.0, (2 * N // 10, 3))
    return torch.tensor(steps.cumsum(axis=1).reshape(2 * N, 3))


def walk(positions: torch.Tensor, n_steps: int, size: float) -> list[torch.Tensor]:
    stream = np.random.default_rng(5)
    moves = stream.normal(0.0, size, (n_steps, *positions.shape))
    return [positions + torch.tensor(move) for move in moves.cumsum(axis=0)]


def test_over_a_random_walk(boxes):
    kept, fresh = neighbours(SKIN), neighbours(0.0)
    changes, last = 0, None
    for positions in walk(chains(), 120, 0.03):
        found, expected = kept.edges(positions, boxes), fresh.edges(positions, boxes)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)
        changes += last is not None and not torch.equal(last, found.sender)
        last = found.sender
    assert fresh.n_searches == 120
    assert 5 < kept.n_searches < 80  # it did search again, and did not most times
    assert changes > 60  # and there was something to miss


@pytest.mark.parametrize("cutoff", [5.5, 8.0])
def test_cutoffs_near_half_the_box_are_searched_afresh(boxes, cutoff):
    """There a pair can change its shortest image while the list is kept."""
    kept, fresh = neighbours(SKIN, cutoff), neighbours(0.0, cutoff)
    for positions in walk(start(), 12, 0.02):
        for one, other in zip(
            kept.edges(positions, boxes), fresh.edges(positions, boxes), strict=True
        ):
            assert torch.equal(one, other)
    assert kept.n_searches == (12 if boxes is not None else 1)


def test_a_bond_as_long_as_half_the_box_is_searched_afresh():
    """The bond of two beads that part: its image changes, no near pair does."""
    bond = torch.tensor([[0, 1], [1, 0]])
    boxes = 20.0 * torch.eye(3).double()[None]
    kept = NeighbourList([bond], [2], CUTOFF, SKIN, CPU)
    lengths = []
    for gap in (9.5, 9.8, 9.9, 10.05, 10.2):
        positions = torch.tensor([[0.0, 0.0, 0.0], [gap, 0.0, 0.0]]).double()
        found = kept.edges(positions, boxes)
        lengths.append(float(found.vectors[1, 0]))  # bead 1 to bead 0
    np.testing.assert_allclose(lengths, [9.5, 9.8, 9.9, -9.95, -9.8], atol=1e-6)


def test_one_bead_beyond_half_the_skin_calls_for_a_search():
    positions, boxes = chains(), torch.tensor(np.stack([TRICLINIC] * 2))
    kept = neighbours(SKIN)
    kept.edges(positions, boxes)
    near, far = positions.clone(), positions.clone()
    near[7, 1] += 0.49 * SKIN
    far[7, 1] -= 0.51 * SKIN
    kept.edges(near, boxes)
    assert kept.n_searches == 1
    kept.edges(far, boxes)
    assert kept.n_searches == 2


def test_another_box_calls_for_a_search():
    positions, boxes = chains(), torch.tensor(np.stack([TRICLINIC] * 2))
    kept, fresh = neighbours(SKIN), neighbours(0.0)
    for cells in (boxes, 1.01 * boxes, None, boxes):
        found, expected = kept.edges(positions, cells), fresh.edges(positions, cells)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert kept.n_searches == 4


def test_the_list_of_a_batch_is_that_of_its_replicas(boxes):
    positions = chains()
    both = neighbours(SKIN).edges(positions, boxes)
    n_edges = 0
    for place, part in enumerate(positions.split(N)):
        box = None if boxes is None else boxes[place : place + 1]
        alone = NeighbourList([bonds()], [N], CUTOFF, SKIN, CPU).edges(part, box)
        rows = slice(n_edges, n_edges + len(alone.sender))
        assert torch.equal(both.sender[rows], alone.sender + place * N)
        assert torch.equal(both.receiver[rows], alone.receiver + place * N)
        assert torch.equal(both.vectors[rows], alone.vectors)
        assert torch.equal(both.kinds[rows], alone.kinds)
        n_edges += len(alone.sender)
    assert n_edges == len(both.sender)
