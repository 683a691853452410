"""The whole model: embedding, predictor, refiner, property head."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from cgml.contract.atoms import Atoms
from cgml.contract.stepper import Pairs
from cgml.molecules.systems import sum_by
from cgml.network.arrivals import Arrivals
from cgml.network.blocks import (
    MLP,
    PlacedRadialBasis,
    Radial,
    RadialBasis,
    ScalarReadout,
)
from cgml.network.conditioner import Condition, Conditioner
from cgml.network.denoiser import Denoiser
from cgml.network.inputs import Beads
from cgml.network.pairs import Layout
from cgml.network.potential import potential_weights
from cgml.network.predictor import Predictor
from cgml.spec import BaseSpec, ModelSpec

REACH = 1.3  # cutoffs: a pair may move apart within a step
OPEN_REACH = 2.7  # log(1 + r / length_scale) of the widest pairs without a cutoff


class Embedding(nn.Module):
    """Bond graph of the atoms -> one vector per bead (PAPER: embedding network).

    Args:
        n_types: particle types.
        n_bond_types: bond types.
        n_embedding: width of all features here.
        n_steps: rounds of messages, the reach in bonds.
        n_places: numbers that tell an atom's place in its bead and its hand, 0 to 2.
    """

    def __init__(
        self,
        n_types: int,
        n_bond_types: int,
        n_embedding: int,
        n_steps: int,
        n_places: int,
    ) -> None:
        super().__init__()
        self.types = nn.Embedding(n_types, n_embedding)
        self.bond_types = nn.Embedding(n_bond_types, n_embedding)
        self.encoder = MLP(n_embedding + 1 + n_places, 2 * n_embedding, n_embedding)
        self.messages = nn.ModuleList(
            [MLP(3 * n_embedding, 2 * n_embedding, n_embedding) for _ in range(n_steps)]
        )
        self.updates = nn.ModuleList(
            [
                MLP(2 * n_embedding, 2 * n_embedding, n_embedding, normalise=True)
                for _ in range(n_steps)
            ]
        )

    def forward(self, atoms: Atoms) -> torch.Tensor:
        """Embed: (n_beads, n_embedding), the mean over the atoms of each bead."""
        nodes = self.encoder(
            torch.cat((self.types(atoms.types), atoms.masses, atoms.places), dim=1)
        )
        bonds = self.bond_types(atoms.bond_types)
        for message, update in zip(self.messages, self.updates):  # noqa: B905 (TorchScript)
            sent = message(
                torch.cat(
                    (
                        nodes.index_select(0, atoms.sender),
                        nodes.index_select(0, atoms.receiver),
                        bonds,
                    ),
                    dim=1,
                )
            )
            total = sum_by(atoms.receiver, sent, len(nodes))
            nodes = nodes + update(torch.cat((nodes, total), dim=1))
        return sum_by(atoms.beads, nodes, len(atoms.bead_sizes)) / atoms.bead_sizes


class RadiusHead(nn.Module):
    """Radius of gyration of all atoms from the beads (PAPER: property head).

    Args:
        n_node: width of the predictor's latent.
    """

    length_scale: torch.Tensor

    def __init__(self, n_node: int) -> None:
        super().__init__()
        self.register_buffer("length_scale", torch.tensor(1.0))
        self.correction = ScalarReadout(n_node)

    def forward(
        self, beads: Beads, positions: torch.Tensor, nodes: torch.Tensor
    ) -> torch.Tensor:
        """Radius of gyration of each molecule, nm.

        Args:
            beads: static description.
            positions: (n_beads, 3) nm.
            nodes: (n_beads, n_node) latent of the predictor at these positions.

        Returns:
            (n_molecules,) value of the beads plus a learned correction.
        """
        weights = beads.masses / beads.molecule_masses.index_select(0, beads.molecules)
        n_molecules = beads.molecule_masses.size(0)
        centre = sum_by(beads.molecules, weights * positions, n_molecules)
        offset = positions - centre.index_select(0, beads.molecules)
        square = (weights * offset.square()).sum(dim=1, keepdim=True)
        radius = torch.sqrt(sum_by(beads.molecules, square, n_molecules) + 1e-8)
        pooled = sum_by(beads.molecules, weights * nodes, n_molecules)
        correction: torch.Tensor = self.length_scale * self.correction(pooled)
        return (radius + correction).squeeze(1)


class Model(nn.Module):
    """Container of the networks; the propagator calls them one by one.

    Args:
        spec: sizes, vocabulary and scales.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        sizes, scales = spec.network, spec.statistics
        n_centres = len(spec.particle_types) if sizes.atom_places else 0
        self.embedding = Embedding(
            len(spec.particle_types),
            len(spec.bond_types),
            sizes.n_embedding,
            sizes.n_embedding_steps,
            int(sizes.atom_places) + int(sizes.chiral),
        )
        self.predictor = Predictor(sizes, spec.n_history, n_centres, _radial(spec))
        self.conditioner = Conditioner(sizes.n_edge, _radial(spec))
        self.denoiser = Denoiser(sizes, n_centres, _radial(spec))
        self.radius_head = RadiusHead(sizes.n_node)
        self.arrivals = None
        if spec.reach is not None and spec.cutoff is not None:
            self.arrivals = Arrivals(sizes.n_embedding, _radial(spec), spec.cutoff)
        if spec.potential is not None:
            self.potential = potential_weights(spec, spec.potential)
        self._set("length_scale", scales.length_scale)
        self._set("displacement_scale", scales.displacement_scale)
        self._set("mean_degree", scales.mean_degree)

    def denoise(
        self,
        where: tuple[Beads, Layout, Pairs | None],
        embedding: torch.Tensor,
        condition: Condition,
        white: torch.Tensor,
        sigma: torch.Tensor,
    ) -> torch.Tensor:
        """Expect noise-free white coordinates, (n_beads, 3), with pairs that arrive.

        Args:
            where: beads, layout of the edges, and pairs that may arrive, if any may.
            embedding: (n_beads, n_embedding).
            condition: of this step.
            white: (n_beads, 3) noisy white coordinates.
            sigma: (n_beads, 1) or (1, 1) noise level.
        """
        beads, layout, far = where
        clean: torch.Tensor = self.denoiser(beads, layout, condition, white, sigma)
        if self.arrivals is None or far is None:
            return clean
        unit = white / torch.sqrt(1.0 + sigma.square())
        coming = self.arrivals(beads, far, embedding, condition, unit, sigma)
        return torch.add(clean, coming)

    def _set(self, name: str, value: float) -> None:
        """Fill every buffer of that name."""
        for path, buffer in self.named_buffers():
            if path.endswith(f".{name}"):
                buffer.fill_(value)


def _radial(spec: ModelSpec) -> Radial:
    """Functions of the distance, as far as pairs can be apart."""
    scale = spec.statistics.length_scale
    if spec.radial_centres:
        return PlacedRadialBasis([math.log1p(r / scale) for r in spec.radial_centres])
    largest = OPEN_REACH
    if spec.cutoff is not None:
        largest = math.log1p(REACH * spec.cutoff / scale)
    return RadialBasis(spec.network.n_radial, largest)


def fingerprint(said: str, module: nn.Module) -> str:
    """Digest (sha256) of a text and of every weight that has a part in a step."""
    digest = hashlib.sha256(said.encode())
    for name, values in module.state_dict().items():
        if name.startswith("potential."):
            continue
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}".encode())
        digest.update(values.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class LearnedModel:
    """A model ready to run.

    Attributes:
        spec: what the model says of itself.
        module: a Model, a PublishedModel, or an Ensemble of several, as the spec says.
    """

    spec: BaseSpec
    module: Any

    @cached_property
    def members(self) -> list["LearnedModel"]:
        """Models of one set of weights each; the model itself where it has one."""
        if self.spec.n_members == 1:
            return [self]
        spec = self.spec.with_members(1)
        return [LearnedModel(spec, module) for module in self.module.members]

    @cached_property
    def digest(self) -> str:
        """Fingerprint (sha256) of what decides a step: the spec and every weight."""
        said = self.spec.model_dump_json(  # a key to come will have its default
            exclude={"provenance", "seen", "potential"}, exclude_defaults=True
        )
        return fingerprint(said, self.module)
