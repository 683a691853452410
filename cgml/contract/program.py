"""The program in a model file: one step of the model where only torch is.

`torch.jit.load(path)` gives a module with two methods, `embed` and `step`, the same for
all kinds of models; docs/model-file.md has a table of their arguments. cgml itself
never runs the program of a file: it takes the weights alone (file.py).
"""

import math

import torch
from torch import nn

from cgml import units
from cgml.contract import system
from cgml.contract.atoms import bond_graph
from cgml.spec import BaseSpec


class Program(nn.Module):
    """What the programs of all kinds share; each says how it describes and moves beads.

    Args:
        spec: of the model.
        n_draws: standard normals that a step takes for each coordinate.
        embedding: atoms -> (n_beads, n_embedding).
    """

    particle_types: list[str]  # TorchScript cannot tell what an empty list is of
    bond_types: list[str]

    def __init__(self, spec: BaseSpec, n_draws: int, embedding: nn.Module) -> None:
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
        self.embedding = embedding

    @torch.jit.export
    def embed(
        self,
        types: torch.Tensor,
        masses: torch.Tensor,
        bonds: torch.Tensor,
        bond_types: torch.Tensor,
        beads: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Prepare a system, once; see docs/model-file.md."""
        masses = masses.to(torch.float64)
        n_beads = int(beads.max()) + 1
        bead_masses = torch.zeros(n_beads, dtype=torch.float64)
        molecules = torch.zeros(n_beads, dtype=torch.int64)
        molecules[beads] = system.components(masses.size(0), bonds)
        found = {
            "masses": bead_masses.index_add(0, beads, masses).unsqueeze(1),
            "bonds": system.bead_bonds(beads, bonds),
            "molecules": molecules,
        }
        vertices = self.describe(found, types, masses, bonds, beads)
        atoms = bond_graph(vertices, bonds, bond_types, beads)
        found["embedding"] = self.embedding(atoms)
        return found

    def describe(
        self,
        found: dict[str, torch.Tensor],
        types: torch.Tensor,
        masses: torch.Tensor,
        bonds: torch.Tensor,
        beads: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Add to a system what the networks need; types, masses, depths of `Atoms`."""
        raise NotImplementedError

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
        masses, molecules = system["masses"], system["molecules"]
        ages = torch.arange(self.n_history).view(-1, 1, 1)
        pairs = (sender, receiver, shift)
        moved = self.move(
            system, positions, displacements, ages < n_known, pairs, noise
        )
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

    def move(
        self,
        system: dict[str, torch.Tensor],
        positions: torch.Tensor,
        displacements: torch.Tensor,
        known: torch.Tensor,
        pairs: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        noise: torch.Tensor,
    ) -> torch.Tensor:
        """Displacements (n_beads, 3) of the networks; known is (n_history, 1, 1)."""
        raise NotImplementedError

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
