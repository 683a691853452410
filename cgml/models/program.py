"""The program in a model file: one step of the model where only torch is.

`torch.jit.load(path)` gives a module with two methods, `embed` and `step`, the same for
all kinds of models; docs/model-file.md has a table of their arguments. cgml itself
never runs the program of a file: it takes the weights alone (file.py).
"""

import math

import torch
from torch import nn

from cgml import units
from cgml.models import system
from cgml.spec import BaseSpec


class Program(nn.Module):
    """What the programs of all kinds share: constants of the model, and the centres.

    Args:
        spec: of the model.
        n_draws: standard normals that a step takes for each coordinate.
    """

    particle_types: list[str]  # TorchScript cannot tell what an empty list is of
    bond_types: list[str]

    def __init__(self, spec: BaseSpec, n_draws: int) -> None:
        super().__init__()
        self.particle_types = list(spec.particle_types)
        self.bond_types = list(spec.bond_types)
        self.time_step = spec.time_step
        self.n_history, self.n_draws = spec.n_history, n_draws
        self.cutoff = math.inf if spec.cutoff is None else spec.cutoff
        self.is_periodic, self.holds_drift = spec.periodic, spec.remove_drift
        self.holds_centre = spec.friction is not None
        energy = units.thermal_energy(spec.temperature)
        self.kick = 0.0  # nm Da^(1/2): root of 2 kT t / friction
        if spec.friction is not None:
            self.kick = math.sqrt(2.0 * energy * spec.time_step / spec.friction)

    def bead_system(
        self, masses: torch.Tensor, bonds: torch.Tensor, beads: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Beads, their bonds and molecules; arguments as in `embed`."""
        n_beads = int(beads.max()) + 1
        bead_masses = torch.zeros(n_beads, dtype=torch.float64)
        molecules = torch.zeros(n_beads, dtype=torch.int64)
        molecules[beads] = system.components(masses.size(0), bonds)
        return {
            "masses": bead_masses.index_add(0, beads, masses).unsqueeze(1),
            "bonds": system.bead_bonds(beads, bonds),
            "molecules": molecules,
        }

    def centre(
        self, masses: torch.Tensor, molecules: torch.Tensor, vectors: torch.Tensor
    ) -> torch.Tensor:
        """Mass-weighted mean over each bead's molecule, of (..., n_beads, 3)."""
        sizes = list(vectors.size())
        n_molecules = int(molecules.max()) + 1
        sizes[-2] = n_molecules
        sums = torch.zeros(sizes, dtype=vectors.dtype)
        sums = sums.index_add(len(sizes) - 2, molecules, masses * vectors)
        totals = torch.zeros(n_molecules, 1, dtype=masses.dtype)
        means = sums / totals.index_add(0, molecules, masses)
        return means.index_select(len(sizes) - 2, molecules)

    def advance(
        self,
        system: dict[str, torch.Tensor],
        positions: torch.Tensor,
        displacements: torch.Tensor,
        moved: torch.Tensor,
        kicks: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """State after displacements (n_beads, 3) of the networks; see `step`."""
        masses, molecules = system["masses"], system["molecules"]
        if self.holds_centre:
            n_molecules = int(molecules.max()) + 1
            totals = torch.zeros(n_molecules, 1, dtype=masses.dtype)
            totals = totals.index_add(0, molecules, masses)
            kick = self.kick / totals.sqrt() * kicks.to(masses.dtype)
            moved = moved - self.centre(masses, molecules, moved)
            moved = moved + kick.index_select(0, molecules)
        if self.holds_drift:
            moved = moved - (masses * moved).sum(dim=0) / masses.sum()
        recent = torch.cat((moved.unsqueeze(0), displacements))[: self.n_history]
        return positions + moved, recent
