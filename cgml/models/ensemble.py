"""Several sets of weights as one model: who moves what, or all averaged."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import nn

from cgml.contract.state import State
from cgml.contract.stepper import Forecast, Pairs, Stepper, View
from cgml.molecules.systems import Systems

Choice = Callable[[], Sequence[int]]
"""Says which member moves each replica; asked at every step, for a seed may change."""


EnsembleWay = Literal["mixture", "average"]
"""How the members move replicas; see `Propagator`."""


def check_ensemble(way: str) -> None:
    """Refuse a way that is none.

    Raises:
        ValueError: it is none; the two are named.
    """
    if way not in get_args(EnsembleWay):
        raise ValueError(f"ensemble must be 'mixture' or 'average', got {way!r}")


class Ensemble(nn.Module):
    """Networks of several members; a file has their weights as members.0 and so on.

    Args:
        members: networks of one size.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)


class _Part(NamedTuple):
    """A member bound to the replicas that it moves.

    Attributes:
        stepper: of these replicas.
        replicas: (n,) their places among all.
        beads: theirs, among all.
        molecules: likewise.
    """

    stepper: Stepper
    replicas: torch.Tensor
    beads: torch.Tensor
    molecules: torch.Tensor


class EnsembleStepper:
    """Members bound to the systems that they move; see `Stepper`.

    A mixture: each replica is moved by one member, and a batch costs what it costs with
    one set of weights. Averaged: each takes the mean of the displacements that the
    members make of the same noise, at the cost of them all.

    Args:
        members: systems -> stepper of a member.
        systems: all replicas.
        choose: which member moves which replica; None: all move all, averaged.
    """

    def __init__(
        self,
        members: Sequence[Callable[[Systems], Stepper]],
        systems: Systems,
        choose: Choice | None,
    ) -> None:
        self._members, self._systems, self._choose = members, systems, choose
        self._chosen: list[int] | None = None
        self._parts: list[_Part] = []
        self._all: list[Stepper] | None = None  # of all replicas, once asked for
        self._last: tuple[torch.Tensor, list[torch.Tensor]] | None = None
        self._divide()
        self.n_draws = self._parts[0].stepper.n_draws

    def displacement(self, state: State, draws: torch.Tensor) -> torch.Tensor:
        """Displacement of one step; see `Stepper`."""
        moves = [
            part.stepper.displacement(own, draws[:, part.beads])
            for part, own in self._divided(state)
        ]
        return self._joined(moves, [part.beads for part in self._parts])

    def radius_of_gyration(self, state: State) -> torch.Tensor:
        """Radius of gyration of each molecule; see `Stepper`."""
        radii = [part.stepper.radius_of_gyration(s) for part, s in self._divided(state)]
        return self._joined(radii, [part.molecules for part in self._parts])

    def mean_score(
        self, state: State, pairs: Iterable[torch.Tensor], noise_scale: float
    ) -> torch.Tensor:
        """Score of the equilibrium distribution; see `Stepper`."""
        draws = list(pairs)
        scores = [
            part.stepper.mean_score(own, (d[:, part.beads] for d in draws), noise_scale)
            for part, own in self._divided(state)
        ]
        return self._joined(scores, [part.beads for part in self._parts])

    def forecasts(self, state: State) -> list[Forecast]:
        """What each member says of all replicas; see `Stepper`."""
        if self._all is None:
            self._all = [member(self._systems) for member in self._members]
        return [one for member in self._all for one in member.forecasts(state)]

    def view(self, positions: torch.Tensor) -> View | None:
        """Positions and pairs that guards look at; see `Stepper`."""
        self._divide()
        parts = self._parts[:1] if self._choose is None else self._parts
        near, pairs = torch.empty_like(positions), []
        for part, own in zip(parts, self._pieces(positions), strict=False):
            view = part.stepper.view(own)
            if view is None:
                return None
            near[part.beads] = view[0]
            sender, receiver = (part.beads[ends] for ends in view[1][:2])
            pairs.append(view[1]._replace(sender=sender, receiver=receiver))
        return near, Pairs(
            *(torch.cat(columns) for columns in zip(*pairs, strict=True))
        )

    def _divide(self) -> None:
        """Bind members to replicas, where the choice is another than it was."""
        every = list(range(len(self._systems.mappings)))
        chosen = [] if self._choose is None else list(self._choose())
        if chosen == self._chosen:
            return
        self._chosen, self._parts, self._last = chosen, [], None
        for number, member in enumerate(self._members):
            own = [n for n in every if chosen[n] == number] if chosen else every
            if own:
                self._parts.append(self._bound(member, own))

    def _bound(
        self, member: Callable[[Systems], Stepper], replicas: list[int]
    ) -> _Part:
        """Bind a member to some replicas."""
        whole, places = self._systems, torch.tensor(replicas)
        boxes = None if whole.boxes is None else whole.boxes.cpu()[places].numpy()
        mappings = [whole.mappings[n] for n in replicas]
        is_own = torch.isin(whole.replica.cpu(), places)
        owner = torch.repeat_interleave(torch.tensor(whole.n_molecules))
        return _Part(
            stepper=member(Systems(mappings, whole.device, boxes)),
            replicas=places,
            beads=is_own.nonzero().flatten().to(whole.device),
            molecules=torch.isin(owner, places).nonzero().flatten().to(whole.device),
        )

    def _pieces(self, positions: torch.Tensor) -> list[torch.Tensor]:
        """Positions of each part; the same tensors where it is asked again."""
        if self._last is None or self._last[0] is not positions:
            self._last = positions, [positions[part.beads] for part in self._parts]
        return self._last[1]

    def _divided(self, state: State) -> list[tuple[_Part, State]]:
        """Each part with its own state."""
        self._divide()
        return [
            (
                part,
                State(
                    positions=own,
                    displacements=state.displacements[:, part.beads],
                    n_known=state.n_known[part.replicas],
                    step=state.step[part.replicas],
                ),
            )
            for part, own in zip(
                self._parts, self._pieces(state.positions), strict=True
            )
        ]

    def _joined(
        self, values: list[torch.Tensor], places: list[torch.Tensor]
    ) -> torch.Tensor:
        """Put the values of all parts where they belong, or average them."""
        if self._choose is None:
            return torch.stack(values).mean(dim=0)
        order = torch.argsort(torch.cat(places))
        return torch.cat(values)[order]
