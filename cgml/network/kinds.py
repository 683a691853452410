"""Kinds of molecules: their matrices once, however many molecules there are of each."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

Matrices = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Kinds(NamedTuple):
    """Matrices of all molecules, in groups of equal width m.

    A group is one kind with all of its molecules, or several kinds of which there is
    one molecule each. Lists have an entry for each group.
    """

    members: list[torch.Tensor]  # (n, m) beads of n molecules
    mean: list[torch.Tensor]  # (1, m, m) or (n, m, m) float64, see ideal_chain.Kernels
    root: list[torch.Tensor]  # likewise, nm
    inverse: list[torch.Tensor]  # likewise, 1/nm
    separation: list[torch.Tensor]  # likewise, number of bonds between two beads
    order: torch.Tensor  # (n_beads,) all members; (0,) where that is 0, 1, 2,
    places: torch.Tensor  # (n_beads,) where each bead stands in the order; or (0,)


def group_kinds(molecules: Sequence[tuple[Matrices, torch.Tensor]]) -> Kinds:
    """Put molecules with equal matrices together, single ones by their width.

    Args:
        molecules: mean, root, inverse and separation, (m, m) each, and the beads of
            one or more molecules that they are of, (n, m).
    """
    known: dict[bytes, tuple[Matrices, list[torch.Tensor]]] = {}
    for matrices, members in molecules:
        # the noise tells masses and bonds, and so the other matrices
        key = matrices[1].cpu().numpy().tobytes()
        known.setdefault(key, (matrices, []))[1].append(members)
    groups: dict[tuple[int, int], list[tuple[Matrices, torch.Tensor]]] = {}
    for number, (matrices, found) in enumerate(known.values()):
        rows = torch.cat(found)
        group_key = (rows.size(1), -1 if len(rows) == 1 else number)
        groups.setdefault(group_key, []).append((matrices, rows))
    together = [torch.cat([rows for _, rows in group]) for group in groups.values()]
    columns = [
        [torch.stack(each) for each in zip(*(m for m, _ in group), strict=True)]
        for group in groups.values()
    ]
    mean, root, inverse, separation = (
        list(column) for column in zip(*columns, strict=True)
    )
    order = torch.cat([rows.reshape(-1) for rows in together])
    places = torch.argsort(order)
    if torch.equal(order, torch.arange(len(order), device=order.device)):
        order = places = order[:0]
    return Kinds(together, mean, root, inverse, separation, order, places)


def join_kinds(parts: Sequence[Kinds], offsets: Sequence[int]) -> Kinds:
    """Kinds of several systems as those of one.

    Args:
        parts: of each system.
        offsets: beads before it.
    """
    molecules: list[tuple[Matrices, torch.Tensor]] = []
    for part, offset in zip(parts, offsets, strict=True):
        for members, *stacks in zip(*part[:5], strict=True):
            rows = members + offset
            if len(stacks[0]) == 1:
                mean, root, inverse, separation = (stack[0] for stack in stacks)
                molecules.append(((mean, root, inverse, separation), rows))
                continue
            for own, *matrices in zip(rows, *stacks, strict=True):
                mean, root, inverse, separation = matrices
                molecules.append(((mean, root, inverse, separation), own[None]))
    return group_kinds(molecules)


def apply_kernels(
    kernels: list[torch.Tensor], kinds: Kinds, values: torch.Tensor
) -> torch.Tensor:
    """Multiply every molecule's vectors by its matrix.

    One product for each molecule, so that the bits do not depend on what else is in
    the batch; in float64, where sizes differ from one batch to another on the way in.

    Args:
        kernels: `mean`, `root` or `inverse` of the kinds.
        kinds: of the molecules.
        values: (n_beads, 3).

    Returns:
        (n_beads, 3), of the kind of `values`.
    """
    wide = values.to(torch.float64)
    if kinds.order.size(0) > 0:
        wide = wide.index_select(0, kinds.order)
    parts: list[torch.Tensor] = []
    begin = 0
    for kernel, members in zip(kernels, kinds.members):  # noqa: B905 (TorchScript)
        n, m = members.size(0), members.size(1)
        part = wide if n * m == wide.size(0) else wide.narrow(0, begin, n * m)
        begin += n * m
        if m == 1:
            parts.append(part * kernel.view(-1, 1))
        else:
            matrices = kernel.expand(n, m, m)
            parts.append(torch.bmm(matrices, part.view(n, m, 3)).view(n * m, 3))
    product = parts[0] if len(parts) == 1 else torch.cat(parts)
    if kinds.places.size(0) > 0:
        product = product.index_select(0, kinds.places)
    return product.to(values.dtype)
