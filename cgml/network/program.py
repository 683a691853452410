"""The program in the file of a model trained by cgml; see contract/program.py."""

import math

import torch

from cgml.contract import system
from cgml.contract.program import Frame, Molecules, Program
from cgml.contract.stepper import Pairs
from cgml.molecules.systems import sum_by
from cgml.network.gaussian import project, unwhiten
from cgml.network.inputs import Beads
from cgml.network.kinds import Kinds
from cgml.network.leaves import multiply
from cgml.network.model import Model
from cgml.network.pairs import bond_features, lay_out
from cgml.network.predictor import History
from cgml.network.sampler import Evaluation, advance, n_draws, schedule
from cgml.spec import ModelSpec


class OwnProgram(Program):
    """Program of a model trained by cgml.

    Args:
        spec: of the model.
        model: its networks.
    """

    rows: list[Evaluation]

    def __init__(self, spec: ModelSpec, model: Model) -> None:
        super().__init__(spec, n_draws(spec.refinement), model.embedding)
        self.predictor = model.predictor
        self.conditioner, self.denoiser = model.conditioner, model.denoiser
        self.arrivals, self.radius_head = model.arrivals, model.radius_head
        self.near = self.cutoff
        if spec.reach is not None:
            self.cutoff = spec.reach
        if spec.potential is not None:  # its weights; the program makes steps alone
            self.potential = model.potential
        masses = list(spec.particle_types.values())
        self.mass_unit = math.fsum(masses) / len(masses)
        self.bead_mass_unit = spec.atoms_per_bead * self.mass_unit
        self.has_places = spec.network.atom_places
        self.is_chiral = spec.network.chiral
        self.rate, self.variance = spec.prior.rate, spec.prior.variance
        plan = schedule(spec.refinement)
        self.start, self.rows = plan.start, plan.rows

    def describe(
        self, found: dict[str, torch.Tensor], atoms: Molecules
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Add matrices of the molecules and places in the beads; see Program."""
        types, masses, bonds, beads, hands = atoms
        places = torch.zeros(masses.size(0), 0)
        ends, weights = torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 0).double()
        if self.has_places:
            n_types = len(self.particle_types)
            places = system.depths(masses, beads, bonds).float().unsqueeze(1)
            ends, weights = system.type_centres(masses, types, n_types, beads, bonds)
        if self.is_chiral:
            places = torch.cat((places, hands.float().unsqueeze(1)), dim=1)
        found["centre_receiver"], found["centre_sender"] = ends[:, 0], ends[:, 1]
        found["centre_weights"] = weights
        self.embed_kinds(found)
        return types, masses / self.mass_unit, places

    def embed_kinds(self, found: dict[str, torch.Tensor]) -> None:
        """Add the matrices of each kind of molecule, and what its pairs look up."""
        n_beads = found["masses"].size(0)
        kinds = system.kinds(found["masses"][:, 0], found["molecules"], found["bonds"])
        rest = torch.zeros(n_beads, dtype=torch.float64)
        row = torch.zeros(n_beads, dtype=torch.int64)
        column = torch.zeros(n_beads, dtype=torch.int64)
        apart: list[torch.Tensor] = []
        begin = 0
        for number, (members, masses, bonds) in enumerate(kinds):
            n, m = members.size(0), members.size(1)
            mean, root, inverse, direction = system.kernels(
                masses, bonds, self.rate, self.variance, self.holds_centre
            )
            flat, places = members.flatten(), torch.arange(m).repeat(n)
            rest[flat] = direction.repeat(n)
            row[flat] = begin + m * places
            column[flat] = places
            apart.append(system.separation(m, bonds).flatten())
            begin += m * m
            found["members " + str(number)] = members
            found["kernels " + str(number)] = torch.stack((mean, root, inverse))
        found["rest"] = rest.float().unsqueeze(1)
        found["row"], found["column"] = row, column
        found["apart"] = torch.cat(apart)

    def move(self, system: dict[str, torch.Tensor], frame: Frame) -> torch.Tensor:
        """Displacements of predictor and score network; see Program."""
        positions, moves, known, pairs, noise = frame
        masses, molecules = system["masses"], system["molecules"]
        origin = self.centre(masses, molecules, positions)
        near = (positions - origin).float()
        if self.holds_centre:
            moves = moves - self.centre(masses, molecules, moves)
        flags = known.float().expand(-1, positions.size(0), 1)
        history = History(near, moves.float() * flags, flags)
        beads = self.beads(system)
        near_pairs, far_pairs = self.pairs(system, positions, origin, pairs)
        layout = lay_out(near_pairs, positions.size(0), is_periodic=True)
        prediction = self.predictor(beads, layout, system["embedding"], history)
        condition = self.conditioner(layout, near, prediction)
        mean, spread = prediction.mean, prediction.spread
        if self.arrivals is not None:
            arriving = self.arrivals.pack()
            far = self.arrivals.far(arriving, far_pairs, system["embedding"], mean)
        weights = self.denoiser.pack(None)
        nodes = multiply(weights.known, condition.nodes)
        draws = torch.stack([project(draw, spread, beads) for draw in noise.unbind()])
        unit = draws[0]
        if len(self.rows) > 0:
            unit = unit * self.start * self.rows[0].cosine
        slope = unit
        for row in self.rows:
            sigma = torch.full((1, 1), row.sigma, dtype=torch.float64)
            level, white = self.denoiser.level(weights, sigma), unit / row.cosine
            given = self.denoiser.look(beads, layout, condition, nodes, level, white)
            clean = self.denoiser.evaluate(weights, given)
            if self.arrivals is not None:
                clean = clean + self.arrivals.shift(
                    arriving,  # type: ignore[possibly-undefined]
                    beads,
                    far,  # type: ignore[possibly-undefined]
                    condition,
                    given.unit,
                    given.candidate,
                    self.arrivals.level(arriving, sigma),
                )
            clean = project(clean, spread, beads)
            unit, slope = advance(row, unit, slope, clean, draws)
        return unwhiten(unit, mean, spread, beads).double() - near.double()

    def beads(self, system: dict[str, torch.Tensor]) -> Beads:
        """Beads as the networks take them."""
        molecules = system["molecules"]
        masses = system["masses"] / self.bead_mass_unit
        totals = sum_by(molecules, masses, int(molecules.max()) + 1)
        members: list[torch.Tensor] = []
        mean: list[torch.Tensor] = []
        root: list[torch.Tensor] = []
        inverse: list[torch.Tensor] = []
        while "members " + str(len(members)) in system:
            kernels = system["kernels " + str(len(members))].unsqueeze(1)
            members.append(system["members " + str(len(members))])
            mean.append(kernels[0])
            root.append(kernels[1])
            inverse.append(kernels[2])
        order = torch.cat([rows.flatten() for rows in members])
        places = torch.argsort(order)
        return Beads(
            masses=masses.float(),
            molecules=molecules,
            molecule_masses=totals.float(),
            kinds=Kinds(members, mean, root, inverse, [], order, places),
            rest=system["rest"],
            centre_receiver=system["centre_receiver"],
            centre_sender=system["centre_sender"],
            centre_weights=system["centre_weights"],
        )

    def pairs(
        self,
        system: dict[str, torch.Tensor],
        positions: torch.Tensor,
        origin: torch.Tensor,
        edges: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    ) -> tuple[Pairs, Pairs]:
        """Pairs that exchange messages, and those that may arrive.

        Both between molecules moved to the origin.

        Args:
            system: from `embed`.
            positions: (n_beads, 3) float64 nm.
            origin: (n_beads, 3) nm, where the networks see the origin.
            edges: sender, receiver and shift, both edges of each pair; see `step`.
        """
        sender, receiver, shift = edges
        first = shift.sign() @ torch.tensor([9.0, 3.0, 1.0], dtype=shift.dtype)
        is_half = (receiver < sender) | ((receiver == sender) & (first > 0.0))
        half = is_half.nonzero().flatten()
        sender, receiver, shift = sender[half], receiver[half], shift[half]
        molecules, n = system["molecules"], positions.size(0)
        place = system["row"][receiver] + system["column"][sender]
        is_other = (molecules[receiver] != molecules[sender]) | (
            shift.abs().amax(dim=1) > 1e-6
        )
        place = place.masked_fill(is_other, 0)
        bonds = system["apart"].index_select(0, place)
        bonds = bonds.masked_fill(is_other, float("inf"))
        gaps = positions[receiver] - positions[sender] + shift
        lengths = gaps.norm(p=2, dim=1)
        is_near = (lengths < self.near) | (bonds == 1.0)
        moved = (shift + origin[receiver] - origin[sender]).float()
        found: list[Pairs] = []
        for kept in (is_near, ~is_near & (lengths < self.cutoff)):
            order = kept.nonzero().flatten()
            order = order[torch.argsort(receiver[order] * n + sender[order])]
            static = bond_features(bonds[order])
            found.append(Pairs(sender[order], receiver[order], static, moved[order]))
        return found[0], found[1]
