"""The program in the file of several members; see contract/program.py."""

from collections.abc import Sequence

import torch
from torch import nn

from cgml.contract.program import Program


class EnsembleProgram(nn.Module):
    """What a file of several members holds besides; see contract/program.py.

    A system belongs to the member that embedded it.

    Args:
        programs: of the members.
    """

    particle_types: list[str]
    bond_types: list[str]

    def __init__(self, programs: Sequence[Program]) -> None:
        super().__init__()
        self.members, self.n_members = nn.ModuleList(programs), len(programs)
        first = programs[0]
        self.particle_types, self.bond_types = first.particle_types, first.bond_types
        self.time_step, self.cutoff = first.time_step, first.cutoff
        self.n_history, self.n_draws = first.n_history, first.n_draws
        self.is_periodic, self.holds_drift = first.is_periodic, first.holds_drift
        self.holds_centre = first.holds_centre

    @torch.jit.export
    def embed(
        self,
        types: torch.Tensor,
        masses: torch.Tensor,
        bonds: torch.Tensor,
        bond_types: torch.Tensor,
        beads: torch.Tensor,
        hands: torch.Tensor | None = None,
        member: int = 0,
    ) -> dict[str, torch.Tensor]:
        """Prepare a system for a member, once; see docs/model-file.md."""
        found: dict[str, torch.Tensor] = {}
        for number, program in enumerate(self.members):
            if number == member:
                found = program.embed(types, masses, bonds, bond_types, beads, hands)  # type: ignore[operator]
        if len(found) == 0:
            raise ValueError(
                "member must be 0 to "
                + str(self.n_members - 1)
                + ", got "
                + str(member)
            )
        found["member"] = torch.tensor(member)
        return found

    @torch.jit.export
    def step(
        self,
        system: dict[str, torch.Tensor],
        positions: torch.Tensor,
        displacements: torch.Tensor,
        n_known: int,
        sender: torch.Tensor,
        receiver: torch.Tensor,
        shift: torch.Tensor,
        noise: torch.Tensor,
        kicks: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Move the beads by one step; see docs/model-file.md."""
        member = int(system["member"])
        moved = positions, displacements
        for number, program in enumerate(self.members):
            if number == member:
                moved = program.step(  # type: ignore[operator]
                    system,
                    positions,
                    displacements,
                    n_known,
                    sender,
                    receiver,
                    shift,
                    noise,
                    kicks,
                )
        return moved
