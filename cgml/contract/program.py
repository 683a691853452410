"""The program in a model file: one step of the model where only torch is.

`torch.jit.load(path)` gives a module with two methods, `embed` and `step`, the same for
all kinds of models; docs/model-file.md has a table of their arguments. cgml itself
never runs the program of a file: it takes the weights alone (file.py).
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from cgml import units
from cgml.contract import system
from cgml.contract.atoms import bond_graph
from cgml.molecules.systems import sum_by
from cgml.spec import BaseSpec


class Molecules(NamedTuple):
    """Atoms of a system; see docs/model-file.md."""

    types: torch.Tensor
    masses: torch.Tensor  # (n_atoms,) float64 Da
    bonds: torch.Tensor
    beads: torch.Tensor
    hands: torch.Tensor  # (n_atoms,)


class Frame(NamedTuple):
    """Beads before a step, as `step` has them; known is (n_history, 1, 1)."""

    positions: torch.Tensor
    displacements: torch.Tensor
    known: torch.Tensor
    pairs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # sender, receiver, shift
    noise: torch.Tensor


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
        hands: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Prepare a system, once; see docs/model-file.md."""
        masses = masses.to(torch.float64)
        own = torch.zeros_like(beads) if hands is None else hands
        n_beads = int(beads.max()) + 1
        molecules = torch.zeros(n_beads, dtype=torch.int64)
        molecules[beads] = system.components(masses.size(0), bonds)
        found = {
            "masses": sum_by(beads, masses, n_beads).unsqueeze(1),
            "bonds": system.bead_bonds(beads, bonds),
            "molecules": molecules,
        }
        vertices = self.describe(found, Molecules(types, masses, bonds, beads, own))
        atoms = bond_graph(vertices, bonds, bond_types, beads)
        found["embedding"] = self.embedding(atoms)
        return found

    def describe(
        self, found: dict[str, torch.Tensor], atoms: Molecules
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Add to a system what the networks need; types, masses, places of `Atoms`."""
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
        frame = Frame(positions, displacements, ages < n_known, pairs, noise)
        moved = self.move(system, frame)
        if self.holds_centre:
            n_molecules = int(molecules.max()) + 1
            totals = sum_by(molecules, masses, n_molecules)
            kick = self.kick / totals.sqrt() * kicks.to(masses.dtype)
            moved = moved - self.centre(masses, molecules, moved)
            moved = moved + kick.index_select(0, molecules)
        if self.holds_drift:
            moved = moved - (masses * moved).sum(dim=0) / masses.sum()
        recent = torch.cat((moved.unsqueeze(0), displacements))[: self.n_history]
        return positions + moved, recent

    def move(self, system: dict[str, torch.Tensor], frame: Frame) -> torch.Tensor:
        """Displacements of the networks, (n_beads, 3) float64 nm."""
        raise NotImplementedError

    def centre(
        self, masses: torch.Tensor, molecules: torch.Tensor, vectors: torch.Tensor
    ) -> torch.Tensor:
        """Mass-weighted mean over each bead's molecule, of (..., n_beads, 3)."""
        n_molecules = int(molecules.max()) + 1
        rows = (masses * vectors).transpose(0, -2)  # (n_beads, ..., 3)
        sums = sum_by(molecules, rows, n_molecules).transpose(0, -2)
        means = sums / sum_by(molecules, masses, n_molecules)
        return means.index_select(-2, molecules)
