"""A whole model step as one CUDA graph: nothing is launched kernel by kernel.

A graph replays the same kernels on the same memory, so everything in it has a fixed
size. Pairs are padded to a capacity: ghosts, some beads more than the systems have,
take the padding as pairs with themselves, and no other bead hears of it. They are as
many as it takes for none to have many more pairs than a bead: the sum over one long
row would hold up the card. If a frame has more pairs than there is room for, the room
grows and the step is recorded anew; nothing is left out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from cgml.contract.stepper import Pairs
from cgml.network.bound import BoundNetworks
from cgml.network.inputs import Beads, join_beads
from cgml.network.kinds import Kinds
from cgml.network.pairs import Layout, PairSearch, lay_out
from cgml.network.predictor import History
from cgml.spec import Refinement

ROOM = 1.125  # capacity over the pairs of the frame that asked for it
GHOSTS = 8  # beads to a ghost
_BLOCK = 128  # pairs by which the capacity grows, whole registers

Work = Callable[[], torch.Tensor]


class _Recorded(NamedTuple):
    """A recorded step."""

    pairs: list[Pairs]  # padded; after the first, those that may arrive, as read
    layout: Layout  # of the edges of the first, where the step reads it
    history: History  # likewise
    draws: torch.Tensor  # likewise
    replay: Work  # do it, and give the next positions


class CapturedStep:
    """Next positions of some beads; see BoundNetworks.next_positions.

    On CUDA a step is recorded once and replayed. On the CPU the padded step is
    computed as it stands, which is of use in tests only.

    Args:
        module: a Model.
        beads: of all systems, on the device.
        embedding: (n_beads, n_embedding).
        search: of the pairs of these beads.
        refinement: how the score network is sampled.

    Attributes:
        n_captures: how often a step was recorded.
    """

    def __init__(
        self,
        module: Any,
        beads: Beads,
        embedding: torch.Tensor,
        search: PairSearch,
        refinement: Refinement,
    ) -> None:
        self.n_captures = 0
        self._n = len(beads.masses)
        self._n_ghosts = -(-self._n // GHOSTS)
        self._beads = join_beads([beads, _ghosts(beads, self._n_ghosts)])
        rows = torch.nn.functional.pad(embedding, (0, 0, 0, self._n_ghosts))
        self._room = 1.0 if search.is_fixed else ROOM
        self._networks = BoundNetworks(module, self._beads, rows, search)
        self._refinement = refinement
        self._recorded: _Recorded | None = None

    def __call__(
        self, pairs: Pairs, far: Pairs | None, history: History, draws: torch.Tensor
    ) -> torch.Tensor:
        """Draw the next positions, (n_beads, 3) nm.

        Args:
            pairs: at the present positions.
            far: likewise, those that may arrive; None where the model does not look.
            history: of the beads.
            draws: (n_draws, n_beads, 3) standard normals.
        """
        found = [pairs] if far is None else [pairs, far]
        recorded = self._recorded
        if recorded is None or any(
            len(some.sender) > len(room.sender)
            for some, room in zip(found, recorded.pairs, strict=True)
        ):
            rooms = [self._padded(some, self._capacity(some)) for some in found]
            recorded = self._recorded = self._record(rooms, history, draws)
        else:
            rooms = [
                self._padded(some, len(room.sender))
                for some, room in zip(found, recorded.pairs, strict=True)
            ]
            self._copy(recorded, rooms)
        self._fill(recorded, history, draws)
        return recorded.replay()[: self._n].clone()

    def _capacity(self, pairs: Pairs) -> int:
        """Pairs that there is to be room for."""
        capacity = int(self._room * len(pairs.sender)) + _BLOCK
        return capacity - capacity % _BLOCK

    def _padded(self, pairs: Pairs, capacity: int) -> Pairs:
        """The pairs, and those of the ghosts with themselves."""
        missing = capacity - len(pairs.sender)
        places = torch.arange(missing, device=pairs.sender.device)
        ghosts = self._n + places * self._n_ghosts // max(missing, 1)
        return Pairs(
            sender=torch.cat((pairs.sender, ghosts)),
            receiver=torch.cat((pairs.receiver, ghosts)),
            static=_padding(pairs.static, missing),
            shift=_padding(pairs.shift, missing),
        )

    def _layout(self, pairs: Pairs) -> Layout:
        is_periodic = self._networks.search.is_periodic
        return lay_out(pairs, len(self._beads.masses), is_periodic=is_periodic)

    def _record(
        self, pairs: list[Pairs], history: History, draws: torch.Tensor
    ) -> _Recorded:
        """Record the step of a frame; see `__call__` for what the pairs are."""
        known = History(*(_longer(part, len(self._beads.masses)) for part in history))
        noise = _longer(draws, len(self._beads.masses))
        layout, far = self._layout(pairs[0]), None if len(pairs) == 1 else pairs[1]

        def step() -> torch.Tensor:
            near = self._networks.neighbourhood(layout, far)
            return self._networks.next_positions(near, known, noise, self._refinement)

        recorded = _Recorded(pairs, layout, known, noise, step)
        self._fill(recorded, history, draws)
        self.n_captures += 1
        return recorded._replace(replay=_replayable(step))

    def _copy(self, recorded: _Recorded, pairs: list[Pairs]) -> None:
        """Copy padded pairs to where the step reads them."""
        own: list[tuple[torch.Tensor, ...]] = [recorded.layout, *recorded.pairs[1:]]
        new = [self._layout(pairs[0]), *pairs[1:]]
        for targets, sources in zip(own, new, strict=True):
            for target, source in zip(targets, sources, strict=True):
                target.copy_(source)

    def _fill(self, recorded: _Recorded, history: History, draws: torch.Tensor) -> None:
        """Copy a frame to where the step reads it."""
        targets = (*recorded.history, recorded.draws)
        for target, source in zip(targets, (*history, draws), strict=True):
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


def _padding(rows: torch.Tensor, n: int) -> torch.Tensor:
    """Add n rows of zeros."""
    return torch.nn.functional.pad(rows, (0, 0, 0, n))


def _ghosts(beads: Beads, n: int) -> Beads:
    """Lone beads that diffuse freely, n of them, on the device of `beads`."""
    device = beads.molecules.device
    numbers, column = torch.arange(n, device=device), beads.masses.new_ones(n, 1)
    one = torch.ones((1, 1, 1), dtype=torch.float64, device=device)
    nothing = numbers[:0]
    return Beads(
        masses=column,
        molecules=numbers,
        molecule_masses=column,
        kinds=Kinds(
            members=[numbers[:, None]],
            mean=[one],
            root=[one],
            inverse=[one],
            separation=[0.0 * one],
            order=nothing,
            places=nothing,
        ),
        rest=0.0 * column,
        centre_receiver=nothing,
        centre_sender=nothing,
        centre_weights=beads.centre_weights[:0],
    )
