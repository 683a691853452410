"""The potential of mean force: an energy of the beads, and the prior that it adds to.

Energies are in kT of the training data inside, lengths in nm. All that networks see of
positions are the vectors of pairs, receiver minus sender, so that their derivatives
give forces and virial alike. Sums over edges are plain ones: derivatives of the forces
are needed in training.

References:
    Schütt et al., ICML 2021 (vectors in messages); Husic et al., J. Chem. Phys. 153,
    194101 (2020) (a prior and a network that corrects it).
"""

import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from cgml import units
from cgml.contract.stepper import Pairs
from cgml.molecules.systems import sum_by
from cgml.network.blocks import MLP, PlacedRadialBasis
from cgml.spec import ModelSpec, PotentialSpec

OPEN_REACH = 2.7  # log(1 + r / length_scale) of the widest pairs without a cutoff


class Edges(NamedTuple):
    """Pairs of beads, each once, as energies see them.

    Attributes:
        receiver: (n_pairs,).
        sender: (n_pairs,).
        vectors: (n_pairs, 3) nm, receiver minus sender.
        static: (n_pairs, 6) see stepper.Pairs.
    """

    receiver: torch.Tensor
    sender: torch.Tensor
    vectors: torch.Tensor
    static: torch.Tensor


class EnergyNetwork(Protocol):
    """What is asked of a network of energies."""

    def energies(self, embedding: torch.Tensor, edges: Edges) -> torch.Tensor:
        """Energy of each bead, (n_beads,) kT.

        Args:
            embedding: (n_beads, n_embedding) of the model.
            edges: within the cutoff, and bonds.
        """


class MessageEnergy(nn.Module):
    """Messages between beads that know distances and, by vectors, angles.

    There is no `forward`: TorchScript, which holds the weights, has nothing to compile.

    Args:
        spec: of the model.
        potential: sizes and cutoff.
    """

    def __init__(self, spec: ModelSpec, potential: PotentialSpec) -> None:
        super().__init__()
        n, k = potential.n_node, potential.n_vectors
        scale = spec.statistics.length_scale
        self._scale, self._cutoff = scale, potential.cutoff
        self._share = 1.0 / math.sqrt(spec.statistics.mean_degree)
        self.radial = PlacedRadialBasis(_centres(spec, potential))
        n_edge = self.radial.n_functions + 6
        self.start = nn.Linear(spec.network.n_embedding, n)
        self.edges = _linears(potential.n_layers, n_edge, n)
        self.receivers = _linears(potential.n_layers, n, n)
        self.senders = _linears(potential.n_layers, n, n)
        self.directions = _linears(potential.n_layers, n, k)
        self.updates = nn.ModuleList(
            MLP(2 * n + k, n, n) for _ in range(potential.n_layers)
        )
        self.readout = MLP(n, n, 1)

    def energies(self, embedding: torch.Tensor, edges: Edges) -> torch.Tensor:
        """Energy of each bead, (n_beads,) kT; see EnergyNetwork."""
        receiver = torch.cat((edges.receiver, edges.sender))
        sender = torch.cat((edges.sender, edges.receiver))
        vectors = edges.vectors / self._scale
        lengths = torch.sqrt(vectors.square().sum(dim=1) + 1e-8)
        units_ = vectors / lengths[:, None]
        directions = torch.cat((units_, -units_))
        steps = torch.log1p(lengths)[:, None] - self.radial.centres
        functions = torch.exp(self.radial.factors * steps.square())
        features = torch.cat((functions, edges.static.to(functions.dtype)), dim=1)
        fade = envelope(lengths * self._scale, self._cutoff).repeat(2)[:, None]
        nodes = self.start(embedding)
        n = len(nodes)
        for layer, update in enumerate(self.updates):
            sent = self.edges[layer](features).repeat(2, 1)
            sent = sent + self.receivers[layer](nodes).index_select(0, receiver)
            sent = sent + self.senders[layer](nodes).index_select(0, sender)
            message = fade * nn.functional.silu(sent)  # (2 n_pairs, n_node)
            weights = fade * self.directions[layer](message)
            arrows = weights[:, :, None] * directions[:, None]  # (2 n_pairs, k, 3)
            arrived = self._share * sum_by(receiver, message, n)
            vector = self._share * sum_by(receiver, arrows, n)
            squares = vector.square().sum(dim=2)
            nodes = nodes + update(torch.cat((nodes, arrived, squares), dim=1))
        energies: torch.Tensor = self.readout(nodes)[:, 0]
        return energies


def _linears(n: int, n_input: int, n_output: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(n_input, n_output) for _ in range(n))


def _centres(spec: ModelSpec, potential: PotentialSpec) -> list[float]:
    """Centres of the functions of the distance, log(1 + r / length_scale)."""
    scale = spec.statistics.length_scale
    if centres := potential.radial_centres or spec.radial_centres:
        return [math.log1p(r / scale) for r in centres]
    largest = OPEN_REACH
    if potential.cutoff is not None:
        largest = math.log1p(potential.cutoff / scale)
    last = potential.n_radial - 1
    return [largest * i / last for i in range(last + 1)]


def envelope(lengths: torch.Tensor, cutoff: float | None) -> torch.Tensor:
    """Share of a pair, 1 at no distance and 0, with its slope, at the cutoff, nm."""
    if cutoff is None:
        return torch.ones_like(lengths)
    return 0.5 * (1.0 + torch.cos(math.pi * (lengths / cutoff).clamp(max=1.0)))


def prior_energy(spec: ModelSpec, potential: PotentialSpec, edges: Edges) -> Any:
    """Energy of each pair in the prior, (n_pairs,) kT: springs, and walls."""
    thermal = units.thermal_energy(spec.temperature)
    lengths = torch.sqrt(edges.vectors.square().sum(dim=1) + 1e-12)
    is_bond = edges.static[:, 0] > 0.5
    bond = (0.5 * potential.bond_stiffness / thermal) * (
        lengths - potential.bond_length
    ).square()
    near = torch.zeros_like(lengths)
    if potential.wall_distance > 0.0:
        depth = (1.0 - lengths / potential.wall_distance).clamp(min=0.0)
        near = (potential.wall_height / thermal) * depth.square()
    return torch.where(is_bond, bond, near)


class StoredWeights(nn.Module):
    """Weights of a network that another library builds: to be kept, not computed with.

    Args:
        shapes: name -> shape.
    """

    def __init__(self, shapes: dict[str, list[int]]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            self.register_buffer(stored_name(name), torch.zeros(shape))


def stored_name(name: str) -> str:
    """Name of a weight as TorchScript takes it."""
    return name.replace(".", "__")


def potential_weights(spec: ModelSpec, potential: PotentialSpec) -> nn.Module:
    """What a file holds of a potential."""
    if potential.network == "tensornet":
        return StoredWeights(potential.weights)
    return MessageEnergy(spec, potential)


def edges_of(pairs: Pairs, vectors: torch.Tensor) -> Edges:
    """Pairs with their vectors, (n_pairs, 3) nm."""
    return Edges(pairs.receiver, pairs.sender, vectors, pairs.static)
