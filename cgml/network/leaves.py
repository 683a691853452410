"""The leaves of the networks: products, functions in place, vectors of pairs.

Speed is decided here and in sums.py, and nowhere else. Weights come packed (`Product`):
once where they stay, anew in every training step. Where no gradient is asked for,
results go where their inputs were.
"""

from typing import NamedTuple

import torch
from torch import nn

from cgml.contract.lanes import LANES
from cgml.network.pairs import Layout

LEAST_ROWS = 4


class Product(NamedTuple):
    """x -> x W^T + b, ready to be multiplied.

    Fewer than four rows, and columns beyond a multiple of four, go to routines with
    another order of summation; both are padded, so that a small system alone gets the
    bits that it gets in a batch.
    """

    matrix: torch.Tensor  # (n_input, n_output), padded to whole fours of columns
    bias: torch.Tensor | None  # as wide, or None
    width: int  # n_output


def pack(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    kind: torch.dtype | None = None,
) -> Product:
    """Prepare a product.

    Args:
        weight: (n_output, n_input).
        bias: (n_output,), or None.
        kind: of the numbers that are multiplied and that come out; None: as they are.
    """
    width = weight.size(0)
    kind = weight.dtype if kind is None else kind
    pad = (0, (4 - width % 4) % 4)
    matrix = nn.functional.pad(weight.t(), pad).to(kind).contiguous()
    if bias is not None:
        bias = nn.functional.pad(bias, pad).to(kind)
    return Product(matrix, bias, width)


def multiply(product: Product, values: torch.Tensor) -> torch.Tensor:
    """Map (n, n_input) to (n, n_output)."""
    n, matrix, bias = values.size(0), product.matrix, product.bias
    rows = padded(values.to(matrix.dtype))
    if _is_compiled() and _is_of_beads(n) and matrix.dtype == torch.float32:
        more = torch.zeros_like(matrix[:1]) if bias is None else bias.unsqueeze(0)
        return torch.addmm(more, rows, matrix)[:n, : product.width]
    output = torch.mm(rows, matrix) if bias is None else torch.addmm(bias, rows, matrix)
    if n < rows.size(0) or product.width < matrix.size(1) or _is_compiled():
        output = output[:n, : product.width]
    return output


def multiply_onto(
    product: Product, output: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """Add x W^T to (n, n_output), of the same kind, which is used up."""
    n, matrix = values.size(0), product.matrix
    rows = padded(values.to(matrix.dtype))
    if product.width < matrix.size(1):
        matrix = matrix[:, : product.width]
    if _is_compiled() and matrix.dtype == torch.bfloat16:
        return output + torch.mm(rows, matrix)[:n]  # sooner than adding while it sums
    output = padded(output).addmm_(rows, matrix)
    return output[:n] if n < rows.size(0) or _is_compiled() else output


def _is_compiled() -> bool:
    """Whether the compiler is to see a cut after a product that needs none.

    It keeps what follows out of the product: fused, SiLU and sums take longer.
    """
    return False if torch.jit.is_scripting() else torch.compiler.is_exporting()  # type: ignore[attr-defined]


@torch.jit.unused
def _is_of_beads(n: int) -> bool:
    """Whether n rows are not those of edges, which come in whole registers.

    Products of few rows take a third longer in oneDNN, to which the compiler gives
    all that have a row of numbers to add, or none, than in the library of the others.
    """
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return not statically_known_true(n % LANES == 0)


def padded(rows: torch.Tensor, least: int = LEAST_ROWS) -> torch.Tensor:
    """Rows of zeros for what is missing at the least number of rows."""
    missing = least - rows.size(0)
    return nn.functional.pad(rows, (0, 0, 0, missing)) if missing > 0 else rows


def widened(values: torch.Tensor) -> torch.Tensor:
    """Short numbers as float32, others as they are."""
    return values.float() if values.dtype == torch.bfloat16 else values


def level_waves(sigma: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of the logarithm of noise levels (n, 1), side by side."""
    phase = torch.log(sigma.double()).to(frequencies.dtype) * frequencies
    return torch.cat((torch.sin(phase), torch.cos(phase)), dim=1)


def silu(values: torch.Tensor) -> torch.Tensor:
    """SiLU of values that are used up; the same bits whatever else is in the batch.

    On the CPU the last few of a row of numbers, too few for its registers, go to
    another routine: they are filled up.
    """
    if torch.is_grad_enabled():
        return nn.functional.silu(values)
    n, n_at_once = values.numel(), 128 // values.element_size()  # two registers
    n_rest = n % n_at_once
    if n_rest == 0 or not (values.is_cpu and values.is_contiguous()) or _is_compiled():
        return nn.functional.silu(values, inplace=True)
    flat = values.view(-1)
    nn.functional.silu(flat[: n - n_rest], inplace=True)
    rest = nn.functional.pad(flat[n - n_rest :], (0, n_at_once - n_rest))
    flat[n - n_rest :] = nn.functional.silu(rest, inplace=True)[:n_rest]
    return values


def grown(total: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
    """Sum of two; the first is used up."""
    return total + more if torch.is_grad_enabled() else total.add_(more)


def length_and_direction(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths (n, 1) and unit vectors (n, 3), smooth through zero."""
    lengths = torch.sqrt((vectors * vectors).sum(dim=1, keepdim=True) + 1e-8)
    return lengths, vectors / lengths


def lengths_and_directions(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths (..., n) and unit vectors of (..., 3, n), smooth through zero."""
    lengths = (vectors * vectors).sum(dim=-2).add_(1e-8).sqrt_()
    return lengths, vectors / lengths.unsqueeze(-2)


def differences(values: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Receiver minus sender of (n_nodes, n_columns): (n_columns, n)."""
    return between(values, layout.receiver, layout.sender)


def between(
    values: torch.Tensor, receiver: torch.Tensor, sender: torch.Tensor
) -> torch.Tensor:
    """The same for pairs without a layout."""
    columns = values.t().contiguous()
    ends = columns.index_select(1, receiver)
    return ends.sub_(columns.index_select(1, sender))


def add_shift(gaps: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Add the box vectors between the images to (..., 3, n) nm in place."""
    return gaps.add_(layout.shift) if layout.shift.size(1) > 0 else gaps


def add_to_both(edges: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Sum of (2 n, n_edge) and, in both halves, (n, n_edge)."""
    return (edges.view(2, pairs.size(0), pairs.size(1)) + pairs).view(edges.shape)
