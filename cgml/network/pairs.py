"""Pairs of beads that exchange messages, each once, and the edges that they stand for.

Distances, cosines and all that follows from them are the same seen from both ends of
a pair, so half of the edges suffice.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from cgml.contract.lanes import LANES
from cgml.contract.stepper import Pairs
from cgml.network.inputs import Beads
from cgml.network.kinds import Kinds
from cgml.network.neighbours import nearest_images, pairs_within
from cgml.spec import ModelSpec

try:  # the extra "cluster"
    from torch_cluster import radius_graph
except ImportError:
    radius_graph = None

N_STATIC = 6  # columns of Pairs.static
SMALL = 200  # beads of a system, below which one search for all is faster


class PairSearch:
    """Finds the pairs of some systems again and again.

    With a cutoff: pairs of a system within it, and all bonds. In a box narrower than
    twice the cutoff a pair is there once for each of its images within reach, and
    another image of a bead is another molecule. Without a cutoff: all pairs of a
    molecule; molecules do not see each other. Small systems are searched all at once:
    on a GPU there, with open boundaries on the CPU where torch-cluster is installed.

    Args:
        beads: of all systems.
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
        self._device = beads.molecules.device
        self._images = nearest_images(self._device, sizes, cutoff, boxes)
        home = torch.device("cpu") if self._images is None else self._device
        self._n, self._sizes = len(beads.molecules), list(sizes)
        self._boxes = None if boxes is None else [box.double().cpu() for box in boxes]
        self._cutoff, self._molecules = cutoff, beads.molecules.to(home)
        self._features, self._row, self._column = (
            part.to(home) for part in _bond_table(beads.kinds, self._n)
        )
        keys = _molecule_keys(beads.kinds, self._n, only_bonds=True)
        self._bonds = keys[self._is_half(keys)].sort().values.to(home)
        self._fixed: Pairs | None = None
        self._systems: torch.Tensor | None = None  # of each bead, to search all at once
        if cutoff is not None:
            is_small = boxes is None and len(sizes) > 1 and max(sizes) <= SMALL
            if is_small and radius_graph is not None:
                counts = torch.tensor(self._sizes)
                self._systems = torch.arange(len(counts)).repeat_interleave(counts)
        else:
            keys = _molecule_keys(beads.kinds, self._n, only_bonds=False)
            keys = keys[self._is_half(keys)].sort().values
            self._fixed = self._pairs(
                keys, torch.zeros_like(keys), torch.zeros(len(keys), 3)
            )

    @property
    def is_fixed(self) -> bool:
        """Whether the pairs are the same at all positions."""
        return self._fixed is not None

    def __call__(self, positions: torch.Tensor) -> Pairs:
        """Find the pairs at (n_beads, 3) positions, nm, molecules whole.

        Returns:
            Pairs in ascending order of (receiver, sender, image), on the device of
            the beads. Without a cutoff the same object every time.
        """
        if self._fixed is not None:
            return self._fixed
        keys, image, shift = self._within(positions.double().to(self._bonds.device))
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
        if self._images is not None:
            return self._images(positions)
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
        receiver, sender, image, shift = pairs_within(
            self._sizes, positions, self._cutoff or 0.0, self._boxes
        )
        return receiver * self._n + sender, image, shift

    def _is_half(self, keys: torch.Tensor) -> torch.Tensor:
        return torch.div(keys, self._n, rounding_mode="floor") < keys % self._n

    def _pairs(
        self, keys: torch.Tensor, image: torch.Tensor, shift: torch.Tensor
    ) -> Pairs:
        receiver = torch.div(keys, self._n, rounding_mode="floor")
        sender = keys - receiver * self._n
        molecules = self._molecules
        place = self._row[receiver] + self._column[sender]
        is_other = (molecules[receiver] != molecules[sender]) | (image != 0)
        place[is_other] = len(self._features) - 1
        static = self._features.index_select(0, place)
        found = (sender, receiver, static, shift)
        return Pairs(*(part.to(self._device) for part in found))


def divide(
    pairs: Pairs, positions: torch.Tensor, spec: ModelSpec
) -> tuple[Pairs, Pairs | None]:
    """Pairs that exchange messages, those within the cutoff and bonds; and all others.

    The others may arrive; None where the model does not look at them.

    Args:
        pairs: within the farthest distance that the model looks at.
        positions: (n_beads, 3) float64 nm, where they were found.
        spec: of the model.
    """
    if spec.reach is None or spec.cutoff is None:
        return pairs, None
    gaps = positions[pairs.receiver] - positions[pairs.sender] + pairs.shift
    is_near = (gaps.square().sum(dim=1) < spec.cutoff**2) | (pairs.static[:, 0] == 1.0)
    near, far = (Pairs(*(part[rows] for part in pairs)) for rows in (is_near, ~is_near))
    return near, far


def _bond_table(
    kinds: Kinds, n: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features of all pairs in all kinds, (n_rows, 6), and where they stand.

    Returns:
        The table, whose last row is that of pairs of two molecules; and two numbers of
        each bead, (n,): receiver's first plus sender's second is the row of their pair.
    """
    row = torch.zeros(n, dtype=torch.int64)
    column = torch.zeros(n, dtype=torch.int64)
    apart, begin = [], 0
    for members, separation in zip(kinds.members, kinds.separation, strict=True):
        rows, (n_kinds, m, _) = members.cpu(), separation.shape
        firsts = m * m * torch.arange(n_kinds)[:, None] + m * torch.arange(m)
        row[rows] = (begin + firsts).expand(rows.shape)
        column[rows] = torch.arange(m).expand(rows.shape)
        apart.append(separation.cpu().reshape(-1))
        begin += apart[-1].numel()
    apart.append(torch.tensor([torch.inf]))
    return bond_features(torch.cat(apart)), row, column


def bond_features(apart: torch.Tensor) -> torch.Tensor:
    """Features of pairs from the number of bonds between them, (n,) -> (n, 6)."""
    apart = apart.float()
    decays = [torch.exp(-apart / reach) for reach in (1.5, 4.0, 12.0, 40.0)]
    same = [(apart == 1.0).float(), torch.isfinite(apart).float()]
    return torch.cat((torch.stack(same, dim=1), torch.stack(decays, dim=1)), dim=1)


def _molecule_keys(kinds: Kinds, n: int, *, only_bonds: bool) -> torch.Tensor:
    """Receiver * n + sender of pairs of two beads of one molecule, both ways.

    Args:
        kinds: of the molecules.
        n: number of beads.
        only_bonds: of bonded beads only.
    """
    keys = [torch.zeros(0, dtype=torch.int64)]
    for members, separation in zip(kinds.members, kinds.separation, strict=True):
        rows, apart = members.cpu(), separation.cpu()
        kept = apart == 1.0 if only_bonds else apart > 0.0
        kind, first, second = kept.nonzero().T
        if len(apart) == 1:
            keys.append((rows[:, first] * n + rows[:, second]).reshape(-1))
        else:
            keys.append(rows[kind, first] * n + rows[kind, second])
    return torch.cat(keys)


class Layout(NamedTuple):
    """The two edges of each pair, and which of them arrive where.

    Edges stand in two halves of n rows: first those that arrive at the receivers of
    the pairs, then those that arrive at their senders. Pairs of bead 0 with itself
    pad n to whole registers; nothing adds them up.

    Attributes:
        receiver: (n,) int32, padded.
        sender: (n,) int32, padded.
        static: (n, 6) see Pairs, zero where padded.
        shift: (3, n) nm, zero where padded; (3, 0) with open boundaries.
        ends: (4 n,) int32, of each edge 2 * receiver and 2 * sender + 1.
        twos: (2 n,) int32, where the ends of an edge begin.
        arrivals: (2 n_pairs,) int32, edges in the order of the bead they arrive at,
            and of the bead they come from.
        begins: (n_beads,) int32, where the arrivals of a bead begin.
    """

    receiver: torch.Tensor
    sender: torch.Tensor
    static: torch.Tensor
    shift: torch.Tensor
    ends: torch.Tensor
    twos: torch.Tensor
    arrivals: torch.Tensor
    begins: torch.Tensor


def lay_out(pairs: Pairs, n_beads: int, *, is_periodic: bool) -> Layout:
    """Prepare the sums and gathers of all layers.

    Args:
        pairs: in their order.
        n_beads: number of beads.
        is_periodic: whether there are shifts to add.
    """
    n_pairs = pairs.receiver.size(0)
    n = whole_registers(n_pairs)
    pad = (0, n - n_pairs)
    receiver = torch.nn.functional.pad(pairs.receiver.int(), pad)
    sender = torch.nn.functional.pad(pairs.sender.int(), pad)
    shift = pairs.shift[:0].t()
    if is_periodic:
        shift = torch.nn.functional.pad(pairs.shift.t(), pad).contiguous()
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
        static=torch.nn.functional.pad(pairs.static, (0, 0, 0, n - n_pairs)),
        shift=shift,
        ends=torch.cat((first, second)).view(-1),
        twos=torch.arange(0, 4 * n, 2, dtype=torch.int32, device=receiver.device),
        arrivals=arrivals.int(),
        begins=(torch.cumsum(counts, dim=0) - counts).int(),
    )


def whole_registers(n: int, lanes: int = LANES) -> int:
    """Rows to which n rows are padded, one register at least."""
    return max(lanes, (n + lanes - 1) // lanes * lanes)
