"""Which beads of a system are within a cutoff of each other.

On the CPU vesin finds them, system by system. A GPU measures all pairs of all systems
at once: they are small, and nothing waits for the CPU.
"""

from collections.abc import Sequence

import torch
from vesin_torch import NeighborList

from cgml.molecules.box import widths
from cgml.network.inputs import starts

MANY = 20_000_000  # pairs of beads, above which a GPU would run out of memory


class NearestImages:
    """Distances of all pairs of some systems at once, each pair in its nearest image.

    Args:
        sizes: number of beads of each system.
        cutoff: nm, at most half the width of each box.
        boxes: (3, 3) float64 nm of each system, or None for open boundaries.
        device: where to work.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        cutoff: float,
        boxes: Sequence[torch.Tensor] | None,
        device: torch.device,
    ) -> None:
        self._n, self._cutoff = sum(sizes), cutoff
        first, second, system = [], [], []
        for number, (n, begin) in enumerate(zip(sizes, starts(sizes), strict=True)):
            lower, upper = torch.triu_indices(n, n, 1, device=device) + begin
            first.append(lower)
            second.append(upper)
            system.append(torch.full_like(lower, number))
        self._first, self._second = torch.cat(first), torch.cat(second)
        self._boxes = self._inverse = None
        if boxes is not None:
            self._system = torch.cat(system)
            self._boxes = torch.stack(list(boxes)).double().to(device)
            self._inverse = torch.linalg.inv(self._boxes)

    def __call__(
        self, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Key (receiver * n + sender), image and shift of the pairs within reach."""
        gaps = positions[self._first] - positions[self._second]
        moved, shift = gaps, torch.zeros_like(gaps)
        if self._boxes is not None and self._inverse is not None:
            inverse, box = self._inverse[self._system], self._boxes[self._system]
            cells = -torch.round(torch.einsum("pi,pij->pj", gaps, inverse))
            shift = torch.einsum("pi,pij->pj", cells, box)
            moved = gaps + shift
        near = (moved.square().sum(dim=1) < self._cutoff**2).nonzero().squeeze(1)
        shift = shift[near].float()
        keys = self._first[near] * self._n + self._second[near]
        return keys, (shift != 0.0).any(dim=1).long(), shift


def nearest_images(
    device: torch.device,
    sizes: Sequence[int],
    cutoff: float | None,
    boxes: Sequence[torch.Tensor] | None,
) -> NearestImages | None:
    """The search that a GPU does itself; None: none that it can do well."""
    is_wide = boxes is None or all(
        cutoff is not None and 2.0 * cutoff <= widths(box.cpu().double().numpy()).min()
        for box in boxes
    )
    n_pairs = sum(n * (n - 1) // 2 for n in sizes)
    if device.type != "cuda" or cutoff is None or not is_wide or n_pairs > MANY:
        return None
    return NearestImages(sizes, cutoff, boxes, device)


def pairs_within(
    sizes: Sequence[int],
    positions: torch.Tensor,
    cutoff: float,
    boxes: Sequence[torch.Tensor] | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs of beads within a cutoff, each image once, in no certain order.

    Args:
        sizes: number of beads of each system.
        positions: (n_beads, 3) float64 nm, on the CPU.
        cutoff: nm.
        boxes: (3, 3) float64 nm of each system, or None for open boundaries.

    Returns:
        Receiver, sender (the higher number, or the same bead), number of the image (0:
        the pair as it stands), each (n_pairs,), and what to add to receiver minus
        sender, (n_pairs, 3) nm.
    """
    search = NeighborList(cutoff=cutoff, full_list=False)
    rows = []
    parts = torch.split(positions, list(sizes))
    for number, (part, begin) in enumerate(zip(parts, starts(sizes), strict=True)):
        box = torch.zeros(3, 3, dtype=torch.float64)
        if boxes is not None:
            box = boxes[number]
        one, other, cells = search.compute(
            part, box, periodic=boxes is not None, quantities="ijS"
        )
        a, b, c = cells.long().unbind(dim=1)
        reach = 2 * int(cells.abs().max()) + 1 if len(cells) else 1
        image = (a * reach + b) * reach + c
        turn = (other > one) | ((other == one) & (image < 0))
        sign = 1 - 2 * turn.long()
        shift = (cells.double() @ box).float() * sign[:, None]
        receiver, sender = torch.minimum(one, other), torch.maximum(one, other)
        rows.append((receiver + begin, sender + begin, image * sign, shift))
    receiver, sender, image, shift = (
        torch.cat(column) for column in zip(*rows, strict=True)
    )
    return receiver, sender, image, shift
