"""Sums over edges and gathers to edges: leaves of the networks.

Sums run over edges in the order of the beads they arrive at. Their gradients are
gathers and sums of the same kind: torch's own gradient of the sums takes several times
as long.
"""

from typing import Any

import torch

from cgml.network.pairs import Layout


def sum_arrivals(edges: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Sum what arrives at each bead: (2 n, n_columns) to (n_beads, n_columns)."""
    if _wants_gradient():
        return _arrivals_with_gradient(edges, layout)
    return _sums(edges, layout.arrivals, layout.begins)


def add_ends(table: torch.Tensor, layout: Layout) -> torch.Tensor:
    """What both ends give to each edge.

    Args:
        table: (n_beads, 2 n_columns) what a bead gives as receiver and as sender.
        layout: of the edges.

    Returns:
        (2 n, n_columns).
    """
    if _wants_gradient():
        return _ends_with_gradient(table, layout)
    return _sums(table.reshape(2 * table.size(0), -1), layout.ends, layout.twos)


def at_ends(values: torch.Tensor, layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (n, ...) of (n_beads, ...) at the receivers and the senders of pairs."""
    if _wants_gradient():
        return _rows_with_gradient(values, layout)
    first = values.index_select(0, layout.receiver)
    return first, values.index_select(0, layout.sender)


def _sums(
    rows: torch.Tensor, places: torch.Tensor, begins: torch.Tensor
) -> torch.Tensor:
    """Sums over the rows at `places`, each from its beginning to the next one's."""
    return torch.embedding_bag(
        rows, places, begins, scale_grad_by_freq=False, mode=0, sparse=False
    )[0]


def _wants_gradient() -> bool:
    is_scripted = torch.jit.is_scripting()  # type: ignore[attr-defined]
    return torch.is_grad_enabled() and not is_scripted


@torch.jit.unused
def _arrivals_with_gradient(edges: torch.Tensor, layout: Layout) -> torch.Tensor:
    total: torch.Tensor = _Arrivals.apply(edges, *_lists(layout))  # type: ignore[no-untyped-call]
    return total


@torch.jit.unused
def _ends_with_gradient(table: torch.Tensor, layout: Layout) -> torch.Tensor:
    given: torch.Tensor = _Ends.apply(table, *_lists(layout), layout.ends, layout.twos)  # type: ignore[no-untyped-call]
    return given


@torch.jit.unused
def _rows_with_gradient(
    values: torch.Tensor, layout: Layout
) -> tuple[torch.Tensor, torch.Tensor]:
    rows: torch.Tensor = _Rows.apply(values, *_lists(layout))  # type: ignore[no-untyped-call]
    first, second = rows.view(2, -1, *values.shape[1:])
    return first, second


def _lists(layout: Layout) -> tuple[torch.Tensor, ...]:
    return layout.receiver, layout.sender, layout.arrivals, layout.begins


def _take(values: torch.Tensor, *lists: torch.Tensor) -> torch.Tensor:
    """Rows of both halves of the edges, zero where padded: `_sums` of arrivals, turned.

    Args:
        values: (n_beads, ...) of the bead an edge arrives at.
        lists: see `_lists`.
    """
    receiver, sender, arrivals, _ = lists
    rows = values.index_select(0, torch.cat((receiver, sender)))
    rows.view(2, len(receiver), -1)[:, len(arrivals) // 2 :].zero_()
    return rows


class _Arrivals(torch.autograd.Function):
    """`sum_arrivals`, and its gradient."""

    @staticmethod
    def forward(ctx: Any, edges: torch.Tensor, *lists: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(*lists)
        return _sums(edges, lists[2], lists[3])

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _take(slope, *ctx.saved_tensors), None, None, None, None


class _Rows(torch.autograd.Function):
    """`at_ends`, one after the other, and its gradient."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, *lists: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(*lists)
        return _take(values, *lists)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        *_, arrivals, begins = ctx.saved_tensors
        total = _sums(slope.flatten(1).contiguous(), arrivals, begins)
        return total.view(-1, *slope.shape[1:]), None, None, None, None


class _Ends(torch.autograd.Function):
    """`add_ends`, and its gradient."""

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, *lists: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(*lists[2:4])
        return _sums(table.reshape(2 * len(table), -1), lists[4], lists[5])

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        arrivals, begins = ctx.saved_tensors
        slope, n = slope.contiguous(), len(slope) // 2
        departures = torch.where(arrivals < n, arrivals + n, arrivals - n)
        given = [_sums(slope, each, begins) for each in (arrivals, departures)]
        return torch.cat(given, dim=1), *[None] * 6
