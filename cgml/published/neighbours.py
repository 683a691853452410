"""Pairs of beads for the published networks: a fresh search, or a list with a skin.

Every pair once, at its shortest image, also where the cutoff exceeds half the box: the
published convention. (`cgml.network.pairs` has a pair for every image there.)
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from vesin_torch import NeighborList

from cgml.molecules.box import images, widths, wrap
from cgml.published.blocks import PublishedEdges

SLACK = 1.0e-4  # of the cutoff: the search finds more, the float32 distance decides


class Candidates(NamedTuple):
    """Pairs of beads that may be edges, in ascending order of (receiver, sender)."""

    sender: torch.Tensor  # (n,) first bead
    receiver: torch.Tensor  # (n,) second bead
    shift: torch.Tensor  # (3, n) box vectors that make first minus second the shortest
    is_bond: torch.Tensor  # (n,) a bond of beads: an edge at any length


class NeighbourList:
    """Edges of all replicas, from candidates that serve for a while.

    Candidates are the pairs within cutoff + skin, and the bonds. They serve until a
    bead has moved by more than half the skin: before that, no other pair can have come
    within the cutoff. The true distances are taken in every call, so that the edges,
    their order and their bits are those of a fresh search, whenever the last one was.

    A pair keeps its shortest image as long as it is shorter than half of every lattice
    vector. Where that is not sure (narrow boxes), every search is a fresh one.

    Args:
        bonds: (n, 2) bonded beads, both ways, of each replica.
        sizes: beads of each replica.
        cutoff: in the unit of the positions.
        skin: likewise; 0: every search is a fresh one.
        device: of the edges.

    Attributes:
        n_searches: fresh searches so far.
    """

    def __init__(
        self,
        bonds: Sequence[torch.Tensor],
        sizes: Sequence[int],
        cutoff: float,
        skin: float,
        device: torch.device,
    ) -> None:
        self._bonds, self._sizes = list(bonds), list(sizes)
        self._cutoff, self._skin, self._device = cutoff, skin, device
        self._pairs: Candidates | None = None
        self._origin, self._boxes = torch.zeros(0, 3), torch.zeros(0, 3, 3)
        self.n_searches = 0

    def edges(
        self, positions: torch.Tensor, boxes: torch.Tensor | None
    ) -> PublishedEdges:
        """Edges of all replicas, one after the other.

        Args:
            positions: (n_beads, 3) float64, unwrapped.
            boxes: (n_replicas, 3, 3) float64 row vectors in reduced form, or None for
                open boundaries.
        """
        pairs = self._pairs
        if pairs is None or not self._serves(positions, boxes):
            pairs = self._search(positions, boxes)
        return select(pairs, positions, self._cutoff, is_periodic=boxes is not None)

    def _serves(self, positions: torch.Tensor, boxes: torch.Tensor | None) -> bool:
        cells = torch.zeros(0, 3, 3) if boxes is None else boxes
        if not torch.equal(cells, self._boxes):
            return False
        moved = (positions - self._origin).square().sum(dim=1).max()
        return float(moved) <= (0.5 * self._skin) ** 2  # no number: it does not

    def _search(
        self, positions: torch.Tensor, boxes: torch.Tensor | None
    ) -> Candidates:
        """Find candidates; keep them if their images will stay the shortest ones."""
        self.n_searches += 1
        self._pairs, reach = None, self._cutoff + self._skin
        parts = torch.split(positions.detach().cpu(), self._sizes)
        found, first, is_steady = [], 0, True
        for place, (part, bonds) in enumerate(zip(parts, self._bonds, strict=True)):
            box = None if boxes is None else boxes[place]
            pairs = find_candidates(part, bonds, reach, box)
            is_steady = is_steady and _longest(pairs, part) + self._skin < _half(box)
            sender, receiver = pairs.sender + first, pairs.receiver + first
            found.append(pairs._replace(sender=sender, receiver=receiver))
            first += len(part)
        columns = [torch.cat(c, dim=-1) for c in zip(*found, strict=True)]
        joined = Candidates(*(column.to(self._device) for column in columns))
        if is_steady and self._skin > 0.0:
            self._pairs, self._origin = joined, positions.clone()
            self._boxes = torch.zeros(0, 3, 3) if boxes is None else boxes.clone()
        return joined


def find_candidates(
    positions: torch.Tensor,
    bonds: torch.Tensor,
    reach: float,
    box: torch.Tensor | None,
) -> Candidates:
    """Pairs of one system within reach (or a little more), bonds, and single beads.

    Args:
        positions: (n_beads, 3) float64, unwrapped.
        bonds: (n, 2) bonded beads, both ways.
        reach: in the unit of the positions.
        box: (3, 3) float64 row vectors in reduced form, or None for open boundaries.
    """
    n = len(positions)
    wrapped = positions
    if box is not None:  # no shortest image is longer than half of a + b + c
        reach = min(reach, 0.5 * float(torch.linalg.norm(box, dim=1).sum()))
        wrapped = torch.from_numpy(wrap(positions.numpy(), box.numpy()))
    search = NeighborList(cutoff=reach * (1.0 + SLACK), full_list=True)
    cell = torch.zeros(3, 3, dtype=torch.float64) if box is None else box
    first, second = search.compute(
        wrapped, cell, periodic=box is not None, quantities="ij"
    )
    bonded = bonds[:, 1] * n + bonds[:, 0]
    own = torch.arange(n) * (n + 1)
    keys = torch.unique(torch.cat((second * n + first, bonded, own)))
    receiver, sender = torch.div(keys, n, rounding_mode="floor"), keys % n
    shift = torch.zeros(3, len(keys), dtype=torch.float64)
    if box is not None:
        gaps = (positions[sender] - positions[receiver]).numpy()
        a, b, c = torch.from_numpy(images(gaps, box.numpy())).t()
        shift = a * box[0, :, None] + b * box[1, :, None] + c * box[2, :, None]
    return Candidates(sender, receiver, shift, torch.isin(keys, bonded))


def select(
    pairs: Candidates, positions: torch.Tensor, cutoff: float, *, is_periodic: bool
) -> PublishedEdges:
    """Keep the candidates within the cutoff, and the bonds.

    A bond longer than the cutoff has the kind of a bond in a box only, as published.

    Args:
        pairs: candidates.
        positions: (n_beads, 3) float64, unwrapped.
        cutoff: in the unit of the positions.
        is_periodic: whether there is a box.
    """
    gaps = _gaps(pairs, positions)
    x, y, z = gaps
    is_near = (x * x + y * y + z * z).sqrt() <= cutoff
    kept = torch.nonzero(is_near | pairs.is_bond).squeeze(1)
    kinds = pairs.is_bond if is_periodic else pairs.is_bond & is_near
    return PublishedEdges(
        pairs.sender.index_select(0, kept),
        pairs.receiver.index_select(0, kept),
        gaps.index_select(1, kept).t().contiguous(),
        kinds.index_select(0, kept).long(),
    )


def _gaps(pairs: Candidates, positions: torch.Tensor) -> torch.Tensor:
    """First minus second, (3, n_pairs) float32: the bits depend on the pair alone."""
    columns = positions.t().contiguous()
    gaps = columns.index_select(1, pairs.sender)
    gaps -= columns.index_select(1, pairs.receiver)
    gaps += pairs.shift
    return gaps.float()


def _longest(pairs: Candidates, positions: torch.Tensor) -> float:
    return float(_gaps(pairs, positions).square().sum(dim=0).max().sqrt())


def _half(box: torch.Tensor | None) -> float:
    """Half of a length that no lattice vector falls below."""
    return float("inf") if box is None else 0.5 * float(widths(box.numpy()).min())
