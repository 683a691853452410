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
from cgml.network.edges import Edges, bond_features
from cgml.network.inputs import Atoms, Beads
from cgml.network.model import Model
from cgml.network.predictor import History, project, unwhiten
from cgml.network.refiner import n_draws
from cgml.network.schedule import schedule
from cgml.published.blocks import PublishedEdges
from cgml.published.model import PublishedModel
from cgml.published.spec import PublishedSpec
from cgml.published.stepper import noise_levels as published_levels
from cgml.spec import BaseSpec, ModelSpec


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
        levels = published_levels(parameters)
        super().__init__(spec, 1 + len(levels))
        self.register_buffer("length_unit", model.length_unit)
        self.embedding, self.dynamics = model.embedding, model.dynamics
        self.score, self.property_head = model.score, model.property_head
        self.first_row = int(parameters.use_atom_mass)
        self.type_masses = list(spec.particle_types.values())
        self.levels, self.step_size = levels, parameters.step_size or 0.0

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
        found = self.bead_system(masses.to(torch.float64), bonds, beads)
        own = torch.tensor(self.type_masses, dtype=torch.float64)[types]
        n_beads = found["masses"].size(0)
        inputs = torch.zeros(n_beads, dtype=torch.float64).index_add(0, beads, own)
        found["inputs"] = inputs.float().unsqueeze(1)
        atoms = Atoms(
            types=types + self.first_row,
            masses=own.float().unsqueeze(1),
            depths=torch.zeros(types.size(0), 0),
            sender=torch.cat((bonds[:, 0], bonds[:, 1])),
            receiver=torch.cat((bonds[:, 1], bonds[:, 0])),
            bond_types=bond_types.repeat(2),
            beads=beads,
            bead_sizes=torch.bincount(beads).float().unsqueeze(1),
        )
        found["embedding"] = self.embedding(atoms)
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
        unit, masses = self.length_unit, system["inputs"]
        ages = torch.arange(self.n_history).view(-1, 1, 1)
        moves = torch.where(ages < n_known, displacements, 0.0) / unit
        pairs = (sender, receiver, shift / unit)
        start = positions / unit
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
        moved = (candidate - start) * unit
        return self.advance(system, positions, displacements, moved, kicks)

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
