"""Pairs of beads, each once: what the fast path looks at in the place of edges.

Distances, cosines and all that follows from them are the same seen from both ends of
a pair, so half of the edges suffice. What never changes is prepared once per system.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from vesin_torch import NeighborList

from cgml.network.edges import Edges, bond_features, bond_keys, molecule_keys
from cgml.network.inputs import Beads, starts

try:  # the extra "cluster"
    from torch_cluster import radius_graph
except ImportError:
    radius_graph = None

SMALL = 200  # beads of a system, below which one search for all is faster
LANES = 32  # rows of pairs are padded to whole vector registers, see networks.to_lanes


class Pairs(NamedTuple):
    """Pairs of beads that exchange messages, each once.

    Attributes:
        sender: (n_pairs,) bead with the higher number.
        receiver: (n_pairs,) bead with the lower number, or the same bead where the
            pair is one of a bead and its own image; ascending.
        static: (n_pairs, 6) see Edges.
        shift: (n_pairs, 3) nm, to add to receiver minus sender.
    """

    sender: torch.Tensor
    receiver: torch.Tensor
    static: torch.Tensor
    shift: torch.Tensor


Neighbours = Edges | Pairs
"""Who exchanges messages: each edge by itself, or one pair for two of them."""


class PairSearch:
    """Finds the pairs of some systems again and again.

    The pairs are those of `edges.find_edges`, one for two edges. Many small systems
    with open boundaries are searched all at once where torch-cluster is installed.

    Args:
        beads: of all systems, on the CPU.
        sizes: number of beads of each system.
        cutoff: nm, or None: all pairs of a molecule.
        boxes: (3, 3) nm of each system, or None for open boundaries.

    Attributes:
        is_periodic: whether there are boxes.
    """

    def __init__(
        self,
        beads: Beads,
        sizes: Sequence[int],
        cutoff: float | None,
        boxes: Sequence[torch.Tensor] | None,
    ) -> None:
        self.is_periodic = boxes is not None
        self._n, self._sizes = len(beads.molecules), list(sizes)
        self._boxes = None if boxes is None else [box.double().cpu() for box in boxes]
        self._molecules, self._slots = beads.molecules, beads.slots
        self._width = beads.separation.size(1)
        apart = torch.cat((beads.separation.reshape(-1), torch.tensor([torch.inf])))
        self._features = bond_features(apart)  # last row: no bonds in between
        keys = bond_keys(beads, self._n)
        self._bonds = keys[self._is_half(keys)].sort().values
        self._fixed: Pairs | None = None
        self._systems: torch.Tensor | None = None  # of each bead, to search all at once
        if cutoff is not None:
            self._search = NeighborList(cutoff=cutoff, full_list=False)
            is_small = boxes is None and len(sizes) > 1 and max(sizes) <= SMALL
            if is_small and radius_graph is not None:
                counts = torch.tensor(self._sizes)
                self._systems = torch.arange(len(counts)).repeat_interleave(counts)
                self._cutoff = cutoff
        else:
            keys = torch.cat(molecule_keys(beads.molecules, self._n))
            keys = keys[self._is_half(keys)].sort().values
            self._fixed = self._pairs(
                keys, torch.zeros_like(keys), torch.zeros(len(keys), 3)
            )

    def __call__(self, positions: torch.Tensor) -> Pairs:
        """Find the pairs at (n_beads, 3) positions, nm, molecules whole.

        Returns:
            Pairs in ascending order of (receiver, sender, image). Without a cutoff
            the same object every time.
        """
        if self._fixed is not None:
            return self._fixed
        keys, image, shift = self._within(positions.double().cpu())
        span = 2 * int(image.abs().max()) + 2 if len(image) else 2
        codes, order = torch.sort(keys * span + image)
        lost = self._lost(codes, span)
        if len(lost):
            keys = torch.cat((keys, lost))
            image = torch.cat((image, torch.zeros_like(lost)))
            shift = torch.cat((shift, shift.new_zeros(len(lost), 3)))
            order = torch.argsort(keys * span + image)
        return self._pairs(keys[order], image[order], shift[order])

    def _lost(self, codes: torch.Tensor, span: int) -> torch.Tensor:
        """Keys of the bonds that are not among the pairs; codes ascend."""
        if not len(codes):
            return self._bonds
        wanted = self._bonds * span
        places = torch.searchsorted(codes, wanted).clamp(max=len(codes) - 1)
        return self._bonds[codes[places] != wanted]

    def _within(
        self, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Key (receiver * n + sender), image and shift of the pairs within reach."""
        if self._systems is not None:
            # no bead has more neighbours than its system has beads: none is left out
            ends = radius_graph(
                positions,
                self._cutoff,
                batch=self._systems,
                max_num_neighbors=max(self._sizes),
            )
            keys = ends[1] * self._n + ends[0]
            keys = keys[self._is_half(keys)]
            return keys, torch.zeros_like(keys), torch.zeros(len(keys), 3)
        rows = []
        parts = torch.split(positions, self._sizes)
        for number, (part, begin) in enumerate(
            zip(parts, starts(self._sizes), strict=True)
        ):
            box = torch.zeros(3, 3, dtype=torch.float64)
            if self._boxes is not None:
                box = self._boxes[number]
            sender, receiver, cells = self._search.compute(
                part, box, periodic=self._boxes is not None, quantities="ijS"
            )
            a, b, c = cells.long().unbind(dim=1)
            reach = 2 * int(cells.abs().max()) + 1 if len(cells) else 1
            image = (a * reach + b) * reach + c  # 0 for the pair as it stands
            turn = (receiver > sender) | ((receiver == sender) & (image < 0))
            sign = 1 - 2 * turn.long()
            first = torch.minimum(receiver, sender) + begin
            second = torch.maximum(receiver, sender) + begin
            shift = (cells.double() @ box).float() * sign[:, None]
            rows.append((first * self._n + second, image * sign, shift))
        keys, image, shift = (torch.cat(column) for column in zip(*rows, strict=True))
        return keys, image, shift

    def _is_half(self, keys: torch.Tensor) -> torch.Tensor:
        return torch.div(keys, self._n, rounding_mode="floor") < keys % self._n

    def _pairs(
        self, keys: torch.Tensor, image: torch.Tensor, shift: torch.Tensor
    ) -> Pairs:
        receiver = torch.div(keys, self._n, rounding_mode="floor")
        sender = keys - receiver * self._n
        slots, molecules = self._slots, self._molecules
        place = slots[receiver] * self._width + slots[sender] % self._width
        is_other = (molecules[receiver] != molecules[sender]) | (image != 0)
        place[is_other] = len(self._features) - 1
        return Pairs(sender, receiver, self._features.index_select(0, place), shift)


class Layout(NamedTuple):
    """The two edges of each pair, and which of them arrive where.

    Edges stand in two halves of n rows: first those that arrive at the receivers of
    the pairs, then those that arrive at their senders. Pairs of bead 0 with itself
    pad n to whole registers; nothing adds them up.

    Attributes:
        receiver: (n,) int32, padded.
        sender: (n,) int32, padded.
        shift: (3, n) nm, zero where padded; (3, 0) with open boundaries.
        ends: (4 n,) int32, of each edge 2 * receiver and 2 * sender + 1.
        twos: (2 n,) int32, where the ends of an edge begin.
        arrivals: (2 n_pairs,) int32, edges in the order of the bead they arrive at,
            and of the bead they come from.
        begins: (n_beads,) int32, where the arrivals of a bead begin.
    """

    receiver: torch.Tensor
    sender: torch.Tensor
    shift: torch.Tensor
    ends: torch.Tensor
    twos: torch.Tensor
    arrivals: torch.Tensor
    begins: torch.Tensor

    def add_shift(self, gaps: torch.Tensor) -> torch.Tensor:
        """Add the box vectors between the images to (..., 3, n) nm in place."""
        return gaps.add_(self.shift) if self.shift.size(1) else gaps


def lay_out(pairs: Pairs, n_beads: int, *, is_periodic: bool) -> Layout:
    """Prepare the sums and gathers of all layers.

    Args:
        pairs: in their order.
        n_beads: number of beads.
        is_periodic: whether there are shifts to add.
    """
    n_pairs = len(pairs.receiver)
    n = max(LANES, -(-n_pairs // LANES) * LANES)
    pad = (0, n - n_pairs)
    receiver = torch.nn.functional.pad(pairs.receiver.int(), pad)
    sender = torch.nn.functional.pad(pairs.sender.int(), pad)
    shift = pairs.shift[:0].T
    if is_periodic:
        shift = torch.nn.functional.pad(pairs.shift.T, pad).contiguous()
    first = torch.stack((2 * receiver, 2 * sender + 1), dim=1)
    second = torch.stack((2 * sender, 2 * receiver + 1), dim=1)
    # senders below a bead come first: its arrivals are in ascending order of sender
    targets = torch.cat((pairs.sender, pairs.receiver))
    arrivals = torch.argsort(targets, stable=True)
    arrivals = torch.where(arrivals < n_pairs, arrivals + n, arrivals - n_pairs)
    counts = torch.bincount(targets, minlength=n_beads)
    return Layout(
        receiver=receiver,
        sender=sender,
        shift=shift,
        ends=torch.cat((first, second)).view(-1),
        twos=torch.arange(0, 4 * n, 2, dtype=torch.int32, device=receiver.device),
        arrivals=arrivals.int(),
        begins=(torch.cumsum(counts, dim=0) - counts).int(),
    )
