"""Pairs against edges found by trying all: the same neighbours, laid out otherwise."""

import numpy as np
import pytest
import torch
from core_systems import chain, coil, mixture, small_spec
from reference_network import Edges, both_ways, naive_edges

from cgml.contract.lanes import LANES
from cgml.contract.stepper import Pairs
from cgml.molecules.box import widths
from cgml.molecules.mapping import Mapping
from cgml.network.inputs import Beads, build_system, join_beads
from cgml.network.leaves import add_shift
from cgml.network.neighbours import NearestImages, nearest_images
from cgml.network.pairs import Layout, PairSearch, lay_out

CUBE = np.diag([6.0, 6.0, 6.0])
SKEWED = np.array([[6.0, 0.0, 0.0], [2.0, 5.5, 0.0], [-1.5, 2.5, 6.5]])
NARROW = np.diag([2.5, 20.0, 20.0])
MIXTURE = mixture()
UNORDERED = Mapping.from_labels(MIXTURE.graph, [4, 4, 1, 2, 0, 0, 3, 3, 5, 6])
SYSTEMS = [chain(), UNORDERED, chain("AB"), MIXTURE]
SIZES = [item.n_beads for item in SYSTEMS]


def beads_of(mappings: list[Mapping]) -> Beads:
    return join_beads([build_system(item, small_spec()).beads for item in mappings])


def rows(edges: Edges) -> list[tuple[float, ...]]:
    """Write each edge as receiver, sender, shift and features."""
    ends = torch.stack((edges.receiver, edges.sender), dim=1)
    table = torch.cat((ends, edges.shift, edges.static), dim=1)
    return [tuple(row) for row in (table + 0.0).tolist()]


def check(pairs: Pairs, edges: Edges) -> None:
    """Both directions of all pairs are the edges, each once."""
    assert len(edges.sender) == 2 * len(pairs.sender)
    assert sorted(rows(both_ways(pairs))) == sorted(rows(edges))
    places = (pairs.receiver * 1000 + pairs.sender).tolist()
    assert places == sorted(places)
    assert (pairs.receiver <= pairs.sender).all()


def test_all_pairs_of_molecules():
    beads = beads_of(SYSTEMS)
    search = PairSearch(beads, SIZES, None, None)
    positions = torch.zeros(sum(SIZES), 3)
    check(search(positions), naive_edges(beads, SIZES))
    assert search(positions) is search(positions + 1.0)


@pytest.mark.parametrize(
    "box", [None, CUBE, SKEWED, NARROW], ids=["open", "cube", "skewed", "narrow"]
)
@pytest.mark.parametrize("cutoff", [0.4, 2.0, 5.5])
def test_a_walk(box, cutoff):
    """Bonds stretch beyond the cutoff, a narrow box shows several images."""
    beads = beads_of(SYSTEMS)
    boxes = None if box is None else [torch.tensor(box)] * len(SYSTEMS)
    search = PairSearch(beads, SIZES, cutoff, boxes)
    stream = np.random.default_rng(0)
    path = np.concatenate([coil(item, 1, bond=0.5) for item in SYSTEMS])
    seen = set()
    for _ in range(6):
        path = path + 0.4 * stream.normal(size=path.shape)
        places = torch.tensor(path)
        pairs, edges = search(places), naive_edges(beads, SIZES, places, cutoff, boxes)
        check(pairs, edges)
        gaps = places[pairs.receiver] - places[pairs.sender] + pairs.shift
        is_bond = pairs.static[:, 0] == 1.0
        seen |= {"long bond"} if (gaps.norm(dim=1)[is_bond] > cutoff).any() else set()
        seen |= {"own image"} if (pairs.receiver == pairs.sender).any() else set()
    assert "long bond" in seen or cutoff > 5.0
    assert ("own image" in seen) == (box is NARROW and cutoff > 2.5)


def arriving(layout: Layout, bead: int, n_beads: int) -> list[int]:
    begins = [*layout.begins.tolist(), len(layout.arrivals)]
    assert len(begins) == n_beads + 1
    return layout.arrivals[begins[bead] : begins[bead + 1]].tolist()


@pytest.mark.parametrize("cutoff", [None, 2.0])
def test_layout(cutoff):
    """Every edge ends where it should, and is summed there, in order."""
    beads, n_beads = beads_of(SYSTEMS), sum(SIZES)
    boxes = None if cutoff is None else [torch.tensor(NARROW)] * len(SYSTEMS)
    places = torch.tensor(np.concatenate([coil(item) for item in SYSTEMS]))
    pairs = PairSearch(beads, SIZES, cutoff, boxes)(places)
    layout = lay_out(pairs, n_beads, is_periodic=boxes is not None)
    n, n_pairs = len(layout.receiver), len(pairs.receiver)
    assert n % LANES == 0
    assert 0 <= n - n_pairs < LANES
    assert layout.twos.tolist() == list(range(0, 4 * n, 2))
    ends = layout.ends.view(-1, 2)
    targets = torch.div(ends[:, 0], 2, rounding_mode="floor")
    origins = torch.div(ends[:, 1], 2, rounding_mode="floor")
    assert (ends % 2 == torch.tensor([0, 1])).all()
    assert torch.equal(targets[:n_pairs], pairs.receiver.int())
    assert torch.equal(targets[n : n + n_pairs], pairs.sender.int())
    assert torch.equal(origins[:n_pairs], pairs.sender.int())
    assert torch.equal(origins[n : n + n_pairs], pairs.receiver.int())
    real = [*range(n_pairs), *range(n, n + n_pairs)]
    for bead in range(n_beads):
        found = arriving(layout, bead, n_beads)
        assert sorted(found) == [edge for edge in real if targets[edge] == bead]
        senders = [int(origins[edge]) for edge in found]
        assert senders == sorted(senders)
    gaps = add_shift(torch.zeros(3, n), layout)
    assert torch.equal(gaps[:, :n_pairs].T, pairs.shift)
    assert torch.equal(layout.static[:n_pairs], pairs.static)
    assert (layout.static[n_pairs:] == 0.0).all()
    assert (gaps[:, n_pairs:] == 0.0).all()


def test_a_lonely_bead_has_no_pairs():
    beads = beads_of([chain("AB")])
    for cutoff in (None, 2.0):
        pairs = PairSearch(beads, [1], cutoff, None)(torch.zeros(1, 3))
        assert pairs.receiver.shape == (0,)
        assert lay_out(pairs, 1, is_periodic=False).arrivals.shape == (0,)


def test_one_search_for_all_leaves_no_neighbour_out():
    """Sixty beads within reach of each other: torch-cluster's default is 32."""
    pytest.importorskip("torch_cluster")
    crowd = chain("ABCD" * 30)
    systems = [crowd, chain("AB"), crowd]
    beads, sizes = beads_of(systems), [item.n_beads for item in systems]
    positions = torch.tensor(np.concatenate([coil(item) for item in systems])) / 20.0
    found = PairSearch(beads, sizes, 2.0, None)(positions)
    edges = naive_edges(beads, sizes, positions, 2.0)
    assert torch.bincount(edges.receiver).max() > 32
    check(found, edges)


@pytest.mark.parametrize("box", [None, CUBE, SKEWED], ids=["open", "cube", "skewed"])
@pytest.mark.parametrize("cutoff", [0.4, 2.0])
def test_what_a_gpu_finds(box, cutoff):
    """All pairs in their nearest images, here on the CPU."""
    beads = beads_of(SYSTEMS)
    boxes = None if box is None else [torch.tensor(box)] * len(SYSTEMS)
    search, other = (PairSearch(beads, SIZES, cutoff, boxes) for _ in range(2))
    other._images = NearestImages(SIZES, cutoff, boxes, torch.device("cpu"))
    positions = torch.tensor(np.concatenate([coil(item) for item in SYSTEMS]))
    positions = positions + beads.molecules[:, None] % 3 * 7.0
    for one, two in zip(search(positions), other(positions), strict=True):
        torch.testing.assert_close(one, two, rtol=0.0, atol=1e-6)
    assert len(other(positions).sender) > 0


def test_a_gpu_leaves_to_others_what_it_cannot_do():
    gpu = torch.device("cuda")
    wide, narrow = [torch.tensor(CUBE)], [torch.tensor(NARROW)]
    assert widths(NARROW).min() == pytest.approx(2.5)
    assert nearest_images(gpu, [4], None, None) is None
    assert nearest_images(gpu, [4], 2.0, narrow) is None
    assert nearest_images(gpu, [40_000], 2.0, wide) is None
    assert nearest_images(torch.device("cpu"), [4], 2.0, wide) is None
