"""A whole model step as one CUDA graph: nothing is launched kernel by kernel.

A graph replays the same kernels on the same memory, so everything in it has a fixed
size. Edges are padded to a capacity: a ghost, one bead more than the systems have,
takes the padding as edges with itself, and no other bead hears of it. If a frame has
more edges than there is room for, the room grows and the step is recorded anew;
nothing is left out.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch

from cgml.network.edges import Edges, EdgeSearch
from cgml.network.inputs import Beads, join_beads
from cgml.network.plain import PlainNetworks, next_positions
from cgml.network.predictor import History
from cgml.spec import Refinement

ROOM = 1.25  # capacity over the edges of the frame that asked for it
_BLOCK = 256  # edges by which the capacity grows

Work = Callable[[], torch.Tensor]


class _Recorded(NamedTuple):
    """A recorded step.

    Attributes:
        inputs: edges, history and noise, where the step reads them.
        replay: do it, and give the next positions.
    """

    inputs: tuple[Edges, History, torch.Tensor]
    replay: Work


class CapturedStep:
    """Next positions of some beads; see plain.next_positions.

    On CUDA a step is recorded once and replayed. On the CPU the padded step is
    computed as it stands, which is of use in tests only.

    Args:
        module: a Model.
        beads: of all systems, on the device.
        embedding: (n_beads, n_embedding).
        search: of the edges of these beads.
        refinement: how the score network is sampled.

    Attributes:
        n_captures: how often a step was recorded.
    """

    def __init__(
        self,
        module: Any,
        beads: Beads,
        embedding: torch.Tensor,
        search: EdgeSearch,
        refinement: Refinement,
    ) -> None:
        self.n_captures = 0
        self._n = len(beads.masses)
        self._beads = join_beads([beads, _ghost(beads)])
        rows = torch.cat((embedding, torch.zeros_like(embedding[:1])))
        self._networks = PlainNetworks(module, self._beads, rows, search)
        self._refinement = refinement
        self._recorded: _Recorded | None = None

    def __call__(
        self, edges: Edges, history: History, draws: torch.Tensor
    ) -> torch.Tensor:
        """Draw the next positions, (n_beads, 3) nm.

        Args:
            edges: at the present positions.
            history: of the beads.
            draws: (n_draws, n_beads, 3) standard normals.
        """
        recorded = self._recorded
        if recorded is None or len(edges.sender) > len(recorded.inputs[0].sender):
            recorded = self._recorded = self._record(edges, history, draws)
        self._fill(recorded.inputs, edges, history, draws)
        return recorded.replay()[: self._n].clone()

    def _record(self, edges: Edges, history: History, draws: torch.Tensor) -> _Recorded:
        """Make room for a frame and record its step."""
        capacity = int(ROOM * len(edges.sender)) + _BLOCK
        capacity -= capacity % _BLOCK
        ghosts = edges.sender.new_full((2, capacity), self._n)
        inputs = (
            Edges(
                sender=ghosts[0],
                receiver=ghosts[1],
                static=edges.static.new_zeros(capacity, edges.static.size(1)),
                shift=edges.shift.new_zeros(capacity, 3),
            ),
            History(*(_longer(part, self._n + 1) for part in history)),
            _longer(draws, self._n + 1),
        )
        self._fill(inputs, edges, history, draws)
        self.n_captures += 1
        step = partial(
            next_positions, self._networks, self._beads, self._refinement, *inputs
        )
        return _Recorded(inputs, _replayable(step))

    def _fill(
        self,
        inputs: tuple[Edges, History, torch.Tensor],
        edges: Edges,
        history: History,
        draws: torch.Tensor,
    ) -> None:
        """Copy a frame to where the step reads it; the rest is the ghost's."""
        padded, known, noise = inputs
        n = len(edges.sender)
        for target, source in zip(padded, edges, strict=True):
            target[:n].copy_(source)
        padded.sender[n:].fill_(self._n)
        padded.receiver[n:].fill_(self._n)
        padded.static[n:].zero_()
        padded.shift[n:].zero_()
        for target, source in zip((*known, noise), (*history, draws), strict=True):
            target[..., : self._n, :].copy_(source)


def _replayable(work: Work) -> Work:
    """Record work on the GPU for replays; on the CPU, give it back as it is."""
    output = work()
    if output.device.type != "cuda":
        return work
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # libraries set themselves up before a capture
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = work()

    def replay() -> torch.Tensor:
        graph.replay()
        return output

    return replay


def _longer(values: torch.Tensor, n: int) -> torch.Tensor:
    """Zeros for n beads instead of those of (..., n_beads, n_columns)."""
    return values.new_zeros(*values.shape[:-2], n, values.size(-1))


def _ghost(beads: Beads) -> Beads:
    """One lone bead that diffuses freely, on the device of `beads`."""
    one = beads.mean_kernel.new_ones(1, 1, 1)
    first = beads.molecules.new_zeros(1)
    column = beads.masses.new_ones(1, 1)
    nothing = beads.molecules.new_zeros(0)
    return Beads(
        masses=column,
        molecules=first,
        molecule_masses=beads.molecule_masses.new_ones(1, 1),
        slots=first,
        mean_kernel=one,
        root_kernel=one,
        inverse_kernel=one,
        rest=beads.rest.new_zeros(1, 1),
        separation=beads.separation.new_zeros(1, 1, 1),
        centre_receiver=nothing,
        centre_sender=nothing,
        centre_weights=beads.centre_weights[:0],
    )
