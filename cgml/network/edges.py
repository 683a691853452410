"""Pairs of beads that exchange messages."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from vesin_torch import NeighborList

from cgml.network.inputs import Beads, starts

N_STATIC = 6  # columns of Edges.static


class Edges(NamedTuple):
    """Directed pairs of beads that exchange messages.

    Attributes:
        sender: (n_edges,) bead that sends.
        receiver: (n_edges,) bead that receives; ascending.
        static: (n_edges, 6) bonded, same molecule, and four decays of the number of
            bonds between the two.
        shift: (n_edges, 3) nm, to add to receiver minus sender: whole box vectors,
            zero with open boundaries.
    """

    sender: torch.Tensor
    receiver: torch.Tensor
    static: torch.Tensor
    shift: torch.Tensor


def edge_vectors(positions: torch.Tensor, edges: Edges) -> torch.Tensor:
    """Receiver minus sender, from the image that the edge stands for, (n_edges, 3)."""
    ends = positions.index_select(0, edges.receiver)
    return ends - positions.index_select(0, edges.sender) + edges.shift.to(ends.dtype)


class EdgeSearch:
    """Finds the edges of some systems, anew at every call.

    Args:
        beads: of all systems.
        sizes: number of beads of each system.
        cutoff: nm, or None: the edges of a molecule are the same for ever.
        boxes: (3, 3) nm of each system, or None for open boundaries.
    """

    def __init__(
        self,
        beads: Beads,
        sizes: Sequence[int],
        cutoff: float | None,
        boxes: Sequence[torch.Tensor] | None,
    ) -> None:
        self._beads, self._sizes = beads, sizes
        self._cutoff, self._boxes = cutoff, boxes
        self._fixed = None if cutoff is not None else find_edges(beads, sizes)

    def __call__(self, positions: torch.Tensor) -> Edges:
        """Find the edges at (n_beads, 3) positions, nm; see `find_edges`."""
        if self._fixed is not None:
            return self._fixed
        return find_edges(
            self._beads, self._sizes, positions, self._cutoff, self._boxes
        )


def find_edges(
    beads: Beads,
    sizes: Sequence[int],
    positions: torch.Tensor | None = None,
    cutoff: float | None = None,
    boxes: Sequence[torch.Tensor] | None = None,
) -> Edges:
    """Pairs of beads that exchange messages.

    With a cutoff: pairs of a system within it, and all bonds. In a box narrower than
    twice the cutoff a pair has an edge for each of its images within reach. Without
    a cutoff: all pairs of a molecule; molecules do not see each other.

    Args:
        beads: of several systems.
        sizes: number of beads of each system; pairs stay inside a system.
        positions: (n_beads, 3) nm, molecules whole; not needed without a cutoff.
        cutoff: nm, or None.
        boxes: (3, 3) nm of each system, or None for open boundaries.

    Returns:
        Edges in ascending order of (receiver, sender, image).
    """
    n = len(beads.molecules)
    device = beads.molecules.device
    if cutoff is None or positions is None:
        keys = torch.cat(molecule_keys(beads.molecules.cpu(), n)).sort().values
        sender, receiver = keys % n, torch.div(keys, n, rounding_mode="floor")
        edges = _edges(beads, sender, receiver, torch.zeros(len(keys), 3))
        return Edges(*(part.to(device) for part in edges))
    first, second, image, shift = pairs_within(sizes, positions.cpu(), cutoff, boxes)
    bonds = bond_keys(beads, n)
    lost = bonds[~torch.isin(bonds, (second * n + first)[image == 0])]
    first = torch.cat((first, lost % n))
    second = torch.cat((second, torch.div(lost, n, rounding_mode="floor")))
    image = torch.cat((image, torch.zeros_like(lost)))
    shift = torch.cat((shift, shift.new_zeros(len(lost), 3)))
    span = int(image.abs().max()) + 1 if len(image) else 1
    order = torch.argsort((second * n + first) * (2 * span) + image + span)
    edges = _edges(beads, first[order], second[order], shift[order])
    return Edges(*(part.to(device) for part in edges))


def pairs_within(
    sizes: Sequence[int],
    positions: torch.Tensor,
    cutoff: float,
    boxes: Sequence[torch.Tensor] | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Directed pairs of beads within a cutoff, each of their images by itself.

    Args:
        sizes: number of beads of each system.
        positions: (n_beads, 3) nm.
        cutoff: nm.
        boxes: (3, 3) nm of each system, or None for open boundaries.

    Returns:
        Sender, receiver, number of the image (0: the pair as it stands), each
        (n_pairs,), and what to add to receiver minus sender, (n_pairs, 3) nm.
    """
    search = NeighborList(cutoff=cutoff, full_list=True)
    rows = []
    parts = torch.split(positions.double(), list(sizes))
    for number, (part, first) in enumerate(zip(parts, starts(sizes), strict=True)):
        box = torch.zeros(3, 3, dtype=torch.float64)
        if boxes is not None:
            box = boxes[number].double().cpu()
        sender, receiver, cells = search.compute(
            part, box, periodic=boxes is not None, quantities="ijS"
        )
        reach = 2 * int(cells.abs().max()) + 1 if len(cells) else 1
        places = torch.tensor([reach * reach, reach, 1])
        image = (cells.long() * places).sum(dim=1)  # 0 for the pair as it stands
        rows.append((sender + first, receiver + first, image, cells.double() @ box))
    sender, receiver, image, shift = (
        torch.cat(column) for column in zip(*rows, strict=True)
    )
    return sender, receiver, image, shift.float()


def molecule_keys(molecules: torch.Tensor, n: int) -> list[torch.Tensor]:
    """Receiver * n + sender of all pairs of two beads of one molecule."""
    order = torch.argsort(molecules, stable=True)
    keys = []
    for members in torch.split(order, torch.bincount(molecules).tolist()):
        pairs = members[:, None] * n + members[None, :]
        keys.append(pairs[~torch.eye(len(members), dtype=torch.bool)])
    return keys


def bond_keys(beads: Beads, n: int) -> torch.Tensor:
    """Receiver * n + sender of all bonds, both ways."""
    width = beads.separation.size(1)
    bead = torch.zeros(beads.separation.size(0) * width, dtype=torch.int64)
    bead[beads.slots.cpu()] = torch.arange(n)
    molecule, first, second = (beads.separation.cpu() == 1.0).nonzero().T
    return bead[molecule * width + first] * n + bead[molecule * width + second]


def _edges(
    beads: Beads, sender: torch.Tensor, receiver: torch.Tensor, shift: torch.Tensor
) -> Edges:
    """Add the features of pairs that depend on the bond graph alone, (n_edges, 6).

    Another image of a bead is another molecule.
    """
    width = beads.separation.size(1)
    slots, molecules = beads.slots.cpu(), beads.molecules.cpu()
    place = slots[receiver] * width + slots[sender] % width
    apart = beads.separation.cpu().reshape(-1)[place]
    is_other = molecules[receiver] != molecules[sender]
    apart[is_other | (shift != 0.0).any(dim=1)] = torch.inf
    return Edges(sender, receiver, bond_features(apart), shift)


def bond_features(apart: torch.Tensor) -> torch.Tensor:
    """Features of pairs from the number of bonds between them, (n,) -> (n, 6)."""
    apart = apart.float()
    decays = [torch.exp(-apart / reach) for reach in (1.5, 4.0, 12.0, 40.0)]
    same = [(apart == 1.0).float(), torch.isfinite(apart).float()]
    return torch.cat((torch.stack(same, dim=1), torch.stack(decays, dim=1)), dim=1)
