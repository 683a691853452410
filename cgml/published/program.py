"""The program in the file of a published model; see contract/program.py."""

import math

import torch

from cgml.contract.program import Frame, Molecules, Program
from cgml.molecules.systems import sum_by
from cgml.published.blocks import PublishedEdges
from cgml.published.model import PublishedModel
from cgml.published.spec import PublishedSpec
from cgml.published.stepper import noise_levels


class PublishedProgram(Program):
    """Program of a published model.

    Args:
        spec: of the model.
        model: its networks.
    """

    length_unit: torch.Tensor
    levels: list[float]

    def __init__(self, spec: PublishedSpec, model: PublishedModel) -> None:
        parameters = spec.parameters
        levels = noise_levels(parameters)
        super().__init__(spec, 1 + len(levels), model.embedding)
        self.register_buffer("length_unit", model.length_unit)
        self.dynamics = model.dynamics
        self.score, self.property_head = model.score, model.property_head
        self.first_row = int(parameters.use_atom_mass)
        self.type_masses = list(spec.particle_types.values())
        self.levels, self.step_size = levels, parameters.step_size or 0.0

    def describe(
        self, found: dict[str, torch.Tensor], atoms: Molecules
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Add masses of the beads by those of the types; see Program."""
        types, beads = atoms.types, atoms.beads
        own = torch.tensor(self.type_masses, dtype=torch.float64)[types]
        sums = sum_by(beads, own, found["masses"].size(0))
        found["inputs"] = sums.float().unsqueeze(1)
        return types + self.first_row, own, torch.zeros(types.size(0), 0)

    def move(self, system: dict[str, torch.Tensor], frame: Frame) -> torch.Tensor:
        """Displacements of Gaussian move and annealing; see Program."""
        unit, masses = self.length_unit, system["inputs"]
        moves = torch.where(frame.known, frame.displacements, 0.0) / unit
        pairs = (frame.pairs[0], frame.pairs[1], frame.pairs[2] / unit)
        start, noise = frame.positions / unit, frame.noise
        edges = self.edges(system["bonds"], start, pairs)
        ahead = self.dynamics(edges, moves.flip(0).float(), system["embedding"], masses)
        kick = ahead.mean + ahead.deviation * noise[0]
        candidate = start + moves[0] + kick.double()
        if self.score is not None:
            for index, sigma in enumerate(self.levels):
                if bool(torch.isfinite(candidate).all()):
                    edges = self.edges(system["bonds"], candidate, pairs)
                    slope = self.score(edges, ahead.nodes, masses) / sigma
                    kick = math.sqrt(2.0 * self.step_size) * noise[1 + index]
                    candidate = candidate + (self.step_size * slope + kick).double()
        moved: torch.Tensor = (candidate - start) * unit
        return moved

    def edges(
        self,
        bonds: torch.Tensor,
        positions: torch.Tensor,
        pairs: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    ) -> PublishedEdges:
        """Pairs within the cutoff, bonds, and each bead with itself.

        Args:
            bonds: (n, 2) beads.
            positions: (n_beads, 3) float64, in the unit of the model.
            pairs: sender, receiver and shift, the latter in that unit.
        """
        n = positions.size(0)
        loops = torch.arange(n)
        sender, receiver = torch.cat((pairs[0], loops)), torch.cat((pairs[1], loops))
        shift = torch.cat((pairs[2], torch.zeros_like(positions)))
        vectors = (positions[sender] - positions[receiver] - shift).float()
        keys = receiver * n + sender
        both = torch.cat((bonds[:, 0] * n + bonds[:, 1], bonds[:, 1] * n + bonds[:, 0]))
        is_bond = torch.isin(keys, both)
        is_near = vectors.square().sum(dim=1).sqrt() <= self.dynamics.cutoff
        kept = (is_near | is_bond).nonzero().flatten()
        kept = kept[torch.argsort(keys[kept])]
        kinds = is_bond if self.is_periodic else is_bond & is_near
        return PublishedEdges(
            sender[kept], receiver[kept], vectors[kept], kinds[kept].long()
        )
