"""The program in the file of a model trained by cgml; see program.py."""

import math

import torch

from cgml.models import system
from cgml.models.program import Program
from cgml.network.edges import Edges, bond_features
from cgml.network.inputs import Atoms, Beads
from cgml.network.model import Model
from cgml.network.predictor import History, project, unwhiten
from cgml.network.refiner import n_draws
from cgml.network.schedule import schedule
from cgml.spec import ModelSpec


class OwnProgram(Program):
    """Program of a model trained by cgml.

    Args:
        spec: of the model.
        model: its networks.
    """

    schedule: list[list[float]]

    def __init__(self, spec: ModelSpec, model: Model) -> None:
        super().__init__(spec, n_draws(spec.refinement))
        self.embedding, self.predictor = model.embedding, model.predictor
        self.conditioner, self.denoiser = model.conditioner, model.denoiser
        self.radius_head = model.radius_head
        masses = list(spec.particle_types.values())
        self.mass_unit = math.fsum(masses) / len(masses)
        self.bead_mass_unit = spec.atoms_per_bead * self.mass_unit
        self.has_places = spec.network.atom_places
        self.rate, self.variance = spec.prior.rate, spec.prior.variance
        self.start, self.schedule = schedule(spec.refinement)

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
        found = self.bead_system(masses, bonds, beads)
        n_beads, n_types = found["masses"].size(0), len(self.particle_types)
        depth = torch.zeros(masses.size(0), 0)
        ends, weights = torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 0).double()
        if self.has_places:
            depth = system.depths(masses, beads, bonds).float().unsqueeze(1)
            ends, weights = system.type_centres(masses, types, n_types, beads, bonds)
        atoms = Atoms(
            types=types,
            masses=(masses / self.mass_unit).float().unsqueeze(1),
            depths=depth,
            sender=torch.cat((bonds[:, 0], bonds[:, 1])),
            receiver=torch.cat((bonds[:, 1], bonds[:, 0])),
            bond_types=bond_types.repeat(2),
            beads=beads,
            bead_sizes=torch.bincount(beads).float().unsqueeze(1),
        )
        found["embedding"] = self.embedding(atoms)
        found["centre_receiver"], found["centre_sender"] = ends[:, 0], ends[:, 1]
        found["centre_weights"] = weights
        molecules = found["molecules"]
        n_molecules = int(molecules.max()) + 1
        width = int(torch.bincount(molecules).max())
        blocks = torch.zeros(4, n_molecules, width, width, dtype=torch.float64)
        rest = torch.zeros(n_beads, dtype=torch.float64)
        slots = torch.zeros(n_beads, dtype=torch.int64)
        for molecule in range(n_molecules):
            members = (molecules == molecule).nonzero().flatten()
            n = members.size(0)
            slots[members] = molecule * width + torch.arange(n)
            own = system.part(members, n_beads, found["bonds"])
            mean, root, inverse, rest[members] = system.kernels(
                found["masses"][members, 0],
                own,
                self.rate,
                self.variance,
                self.holds_centre,
            )
            blocks[0, molecule, :n, :n] = mean
            blocks[1, molecule, :n, :n] = root
            blocks[2, molecule, :n, :n] = inverse
            blocks[3, molecule, :n, :n] = system.separation(n, own)
        found["slots"], found["blocks"] = slots, blocks
        found["rest"] = rest.float().unsqueeze(1)
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
        masses, molecules = system["masses"], system["molecules"]
        origin = self.centre(masses, molecules, positions)
        near, moves = (positions - origin).float(), displacements
        if self.holds_centre:
            moves = moves - self.centre(masses, molecules, moves)
        ages = torch.arange(self.n_history).view(-1, 1, 1)
        known = (ages < n_known).float().expand(-1, positions.size(0), 1)
        history = History(near, moves.float() * known, known)
        beads = self.beads(system)
        edges = self.edges(system, positions, origin, sender, receiver, shift)
        prediction = self.predictor(beads, edges, system["embedding"], history)
        condition = self.conditioner(edges, near, prediction)
        spread = prediction.spread
        white = self.start * project(noise[0], spread, beads)
        before, pull_before = white, white
        for index, row in enumerate(self.schedule):
            level = torch.full_like(spread, row[0])
            clean = self.denoiser(beads, edges, condition, white, level)
            clean = project(clean, spread, beads)
            pull = clean - white
            after = row[1] * white + row[2] * pull
            if row[3] != 0.0 or row[4] != 0.0:
                after = after + row[3] * before + row[4] * pull_before
            if row[5] != 0.0:
                after = after + row[5] * project(noise[1 + index], spread, beads)
            before, pull_before, white = white, pull, after
        moved = unwhiten(white, prediction.mean, spread, beads).double() - near.double()
        return self.advance(system, positions, displacements, moved, kicks)

    def beads(self, system: dict[str, torch.Tensor]) -> Beads:
        """Beads as the networks take them."""
        molecules, blocks = system["molecules"], system["blocks"]
        masses = system["masses"] / self.bead_mass_unit
        totals = torch.zeros(blocks.size(1), 1, dtype=masses.dtype)
        return Beads(
            masses=masses.float(),
            molecules=molecules,
            molecule_masses=totals.index_add(0, molecules, masses).float(),
            slots=system["slots"],
            mean_kernel=blocks[0],
            root_kernel=blocks[1],
            inverse_kernel=blocks[2],
            rest=system["rest"],
            separation=blocks[3],
            centre_receiver=system["centre_receiver"],
            centre_sender=system["centre_sender"],
            centre_weights=system["centre_weights"],
        )

    def edges(
        self,
        system: dict[str, torch.Tensor],
        positions: torch.Tensor,
        origin: torch.Tensor,
        sender: torch.Tensor,
        receiver: torch.Tensor,
        shift: torch.Tensor,
    ) -> Edges:
        """Pairs within the cutoff, and bonds, between molecules moved to the origin."""
        apart, slots, molecules = (
            system["blocks"][3],
            system["slots"],
            system["molecules"],
        )
        width = apart.size(1)
        place = slots[receiver] * width + slots[sender] % width
        bonds = apart.flatten().index_select(0, place)
        is_other = (molecules[receiver] != molecules[sender]) | (
            shift.abs().amax(dim=1) > 1e-6
        )
        bonds = bonds.masked_fill(is_other, float("inf"))
        gaps = positions[receiver] - positions[sender] + shift
        is_kept = (gaps.norm(p=2, dim=1) < self.cutoff) | (bonds == 1.0)
        order = is_kept.nonzero().flatten()
        order = order[torch.argsort(receiver[order] * len(slots) + sender[order])]
        ends = (sender[order], receiver[order])
        moved = shift[order] + origin[ends[1]] - origin[ends[0]]
        return Edges(ends[0], ends[1], bond_features(bonds[order]), moved.float())
