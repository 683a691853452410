"""The networks as their equations stand: every edge by itself, nothing packed or kept.

Functions of the same modules, whose weights alone they take. What the package computes
is tested against this.
"""

from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import silu, softplus

from cgml.contract.stepper import Pairs
from cgml.network.blocks import RadialBasis
from cgml.network.conditioner import Condition
from cgml.network.gaussian import Prediction, project, unwhiten
from cgml.network.inputs import Beads, centre_offsets
from cgml.network.pairs import bond_features
from cgml.network.predictor import History
from cgml.network.sampler import Denoise, sample


class Edges(NamedTuple):
    """Directed pairs of beads, each by itself.

    Attributes:
        sender: (n_edges,) bead that sends.
        receiver: (n_edges,) bead that receives; ascending.
        static: (n_edges, 6) see pairs.Pairs.
        shift: (n_edges, 3) nm, to add to receiver minus sender.
    """

    sender: torch.Tensor
    receiver: torch.Tensor
    static: torch.Tensor
    shift: torch.Tensor


def separations(beads: Beads) -> np.ndarray:
    """Bonds between two beads, (n, n); infinite between molecules."""
    return whole(beads, beads.kinds.separation, np.inf)


def whole(beads: Beads, matrices: list[torch.Tensor], other: float = 0.0) -> np.ndarray:
    """Matrices of all molecules as one over beads, (n, n), and what is between them."""
    n = len(beads.masses)
    full = np.full((n, n), other)
    for members, own in zip(beads.kinds.members, matrices, strict=True):
        blocks = own.double().expand(len(members), *own.shape[1:])
        for rows, block in zip(members.tolist(), blocks, strict=True):
            full[np.ix_(rows, rows)] = block.numpy()
    return full


def naive_edges(
    beads: Beads,
    sizes: list[int],
    positions: Any = None,
    cutoff: float | None = None,
    boxes: Any = None,
    reach: int = 4,
) -> Edges:
    """All edges by trying all pairs and images, ordered by receiver and sender."""
    apart = separations(beads)
    n = len(apart)
    places = np.zeros((n, 3)) if positions is None else np.asarray(positions)
    system = np.repeat(np.arange(len(sizes)), sizes)
    cells = list(product(range(-reach, reach + 1), repeat=3)) if boxes else [(0, 0, 0)]
    rows = []
    for cell in cells:
        here = cell == (0, 0, 0)
        shift = np.zeros((n, 3))
        if boxes:
            images = [np.array(cell) @ np.asarray(box) for box in boxes]
            shift = np.stack(images)[system]
        gaps = places[:, None] - places[None] + shift[:, None]
        seen = system[:, None] == system[None]
        if here:
            seen &= ~np.eye(n, dtype=bool)
        if cutoff is None:
            seen &= np.isfinite(apart)
        else:
            seen &= (np.linalg.norm(gaps, axis=2) <= cutoff) | (here & (apart == 1.0))
        for i, j in np.argwhere(seen):
            rows.append((i, j, *shift[i], apart[i, j] if here else np.inf))
    rows.sort(key=lambda row: row[:2])
    table = torch.tensor(rows, dtype=torch.float64).view(-1, 6)
    receiver, sender = table[:, 0].long(), table[:, 1].long()
    return Edges(sender, receiver, bond_features(table[:, 5]), table[:, 2:5].float())


def both_ways(pairs: Pairs) -> Edges:
    """The two edges of each pair, those that arrive at receivers first."""
    return Edges(
        torch.cat((pairs.sender, pairs.receiver)),
        torch.cat((pairs.receiver, pairs.sender)),
        pairs.static.repeat(2, 1),
        torch.cat((pairs.shift, -pairs.shift)),
    )


def vectors_of(positions: torch.Tensor, edges: Edges) -> torch.Tensor:
    """Receiver minus sender, from the image that the edge stands for, (n_edges, 3)."""
    return positions[edges.receiver] - positions[edges.sender] + edges.shift


def direction(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths (n, 1) and unit vectors (n, 3), smooth through zero."""
    lengths = torch.sqrt(vectors.square().sum(dim=1, keepdim=True) + 1e-8)
    return lengths, vectors / lengths


def mlp(module: Any, values: torch.Tensor) -> torch.Tensor:
    return module.norm(module.second(silu(module.first(values))))


def radial(module: Any, distances: torch.Tensor) -> torch.Tensor:
    """(n, 1) distances in units of the length scale -> (n, n_functions)."""
    centres = module.centres
    offset = torch.log1p(distances) - centres
    if isinstance(module, RadialBasis):
        return torch.exp(module.factor * offset.square())
    gaps = torch.diff(centres)  # a function is as wide as the gaps beside it
    widths = torch.cat((gaps[:1], 0.5 * (gaps[1:] + gaps[:-1]), gaps[-1:]))
    return torch.exp(-0.5 * (offset / widths).square())


def total(values: torch.Tensor, index: torch.Tensor, n: int) -> torch.Tensor:
    return values.new_zeros(n, *values.shape[1:]).index_add(0, index, values)


def interaction(
    layer: Any, nodes: torch.Tensor, latent: torch.Tensor, edges: Edges, degree: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    weight = torch.cat(
        (layer.edge.weight, layer.receiver.weight, layer.sender.weight), dim=1
    )
    inputs = torch.cat((latent, nodes[edges.receiver], nodes[edges.sender]), dim=1)
    message = silu(inputs @ weight.T + layer.edge.bias)
    arrived = total(message, edges.receiver, len(nodes)) / torch.sqrt(degree)
    update = mlp(layer.update, torch.cat((nodes, arrived), dim=1))
    return layer.norm(nodes + update), latent + message


def readout(
    module: Any,
    nodes: torch.Tensor,
    latent: torch.Tensor,
    edge_vectors: torch.Tensor,
    node_vectors: torch.Tensor,
    edges: Edges,
    degree: Any,
) -> torch.Tensor:
    """(n_nodes, 3) from (n_edges, k, 3) and (n_nodes, l, 3)."""
    along = torch.einsum("ek,ekd->ed", module.edge(latent), edge_vectors)
    own = torch.einsum("nk,nkd->nd", mlp(module.node, nodes), node_vectors)
    return own + total(along, edges.receiver, len(nodes)) / torch.sqrt(degree)


def turn(
    module: Any,
    nodes: torch.Tensor,
    latent: torch.Tensor,
    along: torch.Tensor,
    node_vectors: torch.Tensor,
    edges: Edges,
    degree: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """See directions.Directions; along is (n_edges, 3)."""
    n, given = len(nodes), node_vectors.size(1)
    parts = torch.einsum("ek,ed->ekd", module.edge(latent), along)
    vectors = total(parts, edges.receiver, n) / torch.sqrt(degree)
    if module.is_chiral:
        near = edges.static[:, [0, 2]].repeat(1, vectors.size(1) // 2).to(along.dtype)
        local = torch.einsum("ek,ed->ekd", near, along)
        vectors = vectors + total(local, edges.receiver, n)
    own = module.node(nodes).view(n, given, -1)
    vectors = vectors + torch.einsum("nlk,nld->nkd", own, node_vectors)
    lengths = torch.sqrt(vectors.square().sum(dim=2) + 1e-8)
    inputs, crosses = [nodes, lengths], vectors[:, :0]
    if module.is_chiral:
        vectors = vectors / (0.1 + lengths).unsqueeze(2)
        places = torch.arange(vectors.size(1))
        crosses = torch.linalg.cross(vectors, vectors[:, places - 1])
        inputs.append((vectors[:, places - 2] * crosses).sum(dim=2))
    seen = [
        torch.einsum("ekd,ed->ek", vectors[end], along)
        for end in (edges.receiver, edges.sender)
    ]
    if module.is_chiral:
        ends = vectors[edges.receiver], vectors[edges.sender]
        seen.append(torch.einsum("ekd,ed->ek", torch.linalg.cross(*ends), along))
    return (
        nodes + mlp(module.to_node, torch.cat(inputs, dim=1)),
        latent + mlp(module.to_edge, torch.cat(seen, dim=1)),
        crosses,
    )


def rounds(
    module: Any,
    nodes: torch.Tensor,
    latent: torch.Tensor,
    along: torch.Tensor,
    node_vectors: torch.Tensor,
    edges: Edges,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Nodes, edges, and the vectors that are given to the readout."""
    crosses = node_vectors[:, :0]
    for first, layer in zip(module.directions, module.layers, strict=True):
        degree = module.mean_degree
        if list(first.parameters()):
            nodes, latent, crosses = turn(
                first, nodes, latent, along, node_vectors, edges, degree
            )
        nodes, latent = interaction(layer, nodes, latent, edges, degree)
    return nodes, latent, torch.cat((node_vectors, crosses), dim=1)


def predict(
    module: Any,
    beads: Beads,
    edges: Edges,
    embedding: torch.Tensor,
    history: History,
) -> Prediction:
    """See predictor.Predictor.forward."""
    present, known = history.positions, history.known
    kernel, root = (
        torch.tensor(whole(beads, matrices)).to(present.dtype)
        for matrices in (beads.kinds.mean, beads.kinds.root)
    )
    relaxed = kernel @ present
    drift = (relaxed - present) / module.displacement_scale
    moves = history.displacements / module.displacement_scale
    length_now, now = direction(vectors_of(present, edges))
    length_relaxed, ahead = direction(vectors_of(relaxed, edges))
    near = radial(module.radial, length_now / module.length_scale)
    properties = module.properties(embedding)
    pairs = properties[edges.receiver] * properties[edges.sender]
    node_parts = [embedding, beads.masses, direction(drift)[0]]
    edge_parts = [
        near,
        radial(module.radial, length_relaxed / module.length_scale),
        (now * ahead).sum(dim=1, keepdim=True),
        edges.static.to(present.dtype),
    ]
    for move, flag in zip(moves, known, strict=True):
        node_parts += [direction(move)[0], flag]
        relative = move[edges.receiver] - move[edges.sender]
        edge_parts += [
            (relative * axis).sum(dim=1, keepdim=True) for axis in (now, ahead)
        ]
    nodes = mlp(module.node_encoder, torch.cat(node_parts, dim=1))
    latent = mlp(module.edge_encoder, torch.cat(edge_parts, dim=1))
    latent = latent + module.filter(near) * pairs
    centres = centre_offsets(beads, present) / module.length_scale
    given = torch.cat((torch.stack((drift, *moves), dim=1), centres), dim=1)
    nodes, latent, given = rounds(module, nodes, latent, now, given, edges)
    sides = torch.stack((now, ahead), dim=1)
    force = readout(
        module.shift, nodes, latent, sides, given, edges, module.mean_degree
    )
    raw = module.spread.second(silu(module.spread.first(nodes)))
    spread = 0.1 + softplus(raw + 0.4)
    return Prediction(relaxed + root @ force, spread, nodes, latent, pairs)


def condition(
    module: Any, edges: Edges, positions: torch.Tensor, prediction: Prediction
) -> Condition:
    """See conditioner.Conditioner; along is (2, n_edges, 3)."""
    _, now = direction(vectors_of(positions, edges))
    length, ahead = direction(vectors_of(prediction.mean, edges))
    features = (
        prediction.edges,
        radial(module.radial, length / module.length_scale),
        (now * ahead).sum(dim=1, keepdim=True),
    )
    return Condition(
        mean=prediction.mean,
        spread=prediction.spread,
        nodes=prediction.nodes,
        edges=mlp(module.encoder, torch.cat(features, dim=1)),
        pairs=prediction.pairs,
        along=torch.stack((now, ahead)),
        drift=(prediction.mean - positions) / module.displacement_scale,
    )


def denoise(
    module: Any,
    beads: Beads,
    edges: Edges,
    given: Condition,
    white: torch.Tensor,
    sigma: torch.Tensor,
) -> torch.Tensor:
    """See denoiser.Denoiser.forward."""
    scale = torch.sqrt(1.0 + sigma * sigma)
    unit = white / scale
    root = torch.tensor(whole(beads, beads.kinds.root)).to(white.dtype)
    candidate = given.mean + root @ (given.spread * unit)
    length, along = direction(vectors_of(candidate, edges))
    relative = unit[edges.receiver] - unit[edges.sender]
    near = radial(module.radial, length / module.length_scale)
    now, ahead = given.along
    cosines = [along * now, along * ahead]
    cosines += [relative * axis for axis in (along, now, ahead)]
    features = [near, *(each.sum(dim=1, keepdim=True) for each in cosines)]
    latent = given.edges + module.edge_encoder(torch.cat(features, dim=1))
    latent = latent + module.filter(near) * given.pairs
    phase = torch.log(sigma) * module.frequencies
    inputs = (given.nodes, torch.sin(phase), torch.cos(phase), direction(unit)[0])
    nodes = mlp(module.node_encoder, torch.cat(inputs, dim=1))
    centres = centre_offsets(beads, candidate) / module.length_scale
    moves = torch.stack((unit, given.drift, candidate - given.mean), dim=1)
    own = torch.cat((moves, centres), dim=1)
    nodes, latent, own = rounds(module, nodes, latent, along, own, edges)
    correction = readout(
        module.readout,
        nodes,
        latent,
        torch.stack((along, now, ahead), dim=1),
        own,
        edges,
        module.mean_degree,
    )
    return (unit + sigma * correction) / scale


def arrivals(
    module: Any,
    beads: Beads,
    edges: Edges,
    embedding: torch.Tensor,
    given: Condition,
    white: torch.Tensor,
    sigma: torch.Tensor,
) -> torch.Tensor:
    """See arrivals.Arrivals.forward; edges are of pairs beyond the cutoff."""
    scale = torch.sqrt(1.0 + sigma * sigma)
    root = torch.tensor(whole(beads, beads.kinds.root)).to(white.dtype)
    candidate = given.mean + root @ (given.spread * white / scale)
    length, along = direction(vectors_of(candidate, edges))
    own = module.properties(embedding)
    before, ahead = direction(vectors_of(given.mean, edges))
    unit = white / scale
    relative = unit[edges.receiver] - unit[edges.sender]
    turned = [along * ahead, along * relative, ahead * relative]
    hidden = module.filter(radial(module.radial, length / module.length_scale))
    hidden = hidden * own[edges.receiver] * own[edges.sender]
    phase = torch.log(sigma) * module.frequencies
    waves = torch.cat((torch.sin(phase), torch.cos(phase)), dim=1)
    hidden = hidden + module.phase(waves)[torch.minimum(edges.receiver, edges.sender)]
    hidden = hidden + module.ahead(radial(module.radial, before / module.length_scale))
    hidden = hidden + module.turned(torch.stack([v.sum(dim=1) for v in turned], dim=1))
    strength = mlp(module.strengths, hidden)
    share = 0.5 * (1.0 + torch.cos(torch.pi * length / module.cutoff))
    strength = torch.where(length < module.cutoff, 10.0 * share * strength, 0.0)
    force = strength[:, :1] * along + strength[:, 1:] * ahead
    force = total(force, edges.receiver, len(white))
    return sigma / scale * given.spread * (root.T @ force) / module.length_scale


def step(
    model: Any,
    beads: Beads,
    edges: Edges,
    embedding: torch.Tensor,
    history: History,
    white: torch.Tensor,
    sigma: torch.Tensor,
    far: Edges | None = None,
) -> tuple[Prediction, torch.Tensor]:
    """Predict, and denoise (n_beads, 3) at noise levels (n_beads, 1)."""
    prediction = predict(model.predictor, beads, edges, embedding, history)
    given = condition(model.conditioner, edges, history.positions, prediction)
    clean = denoise(model.denoiser, beads, edges, given, white, sigma)
    if model.arrivals is not None:
        others = beads, far, embedding, given, white, sigma
        clean = clean + arrivals(model.arrivals, *others)
    return prediction, clean


class ReferenceNetworks:
    """What bound.BoundNetworks does, by the equations; neighbourhoods are edges."""

    def __init__(self, module: Any, beads: Beads, embedding: Any, search: Any) -> None:
        self.search = search
        self._module, self._beads, self._embedding = module, beads, embedding

    def lay_out(self, pairs: Pairs, far: Pairs | None = None) -> Edges:
        self._far = None if far is None else both_ways(far)
        return both_ways(pairs)

    def next_positions(
        self, near: Edges, history: History, draws: torch.Tensor, refinement: Any
    ) -> torch.Tensor:
        prediction = self.predict(near, history)
        mean, spread = prediction.mean, prediction.spread
        start = torch.stack([project(draw, spread, self._beads) for draw in draws])
        denoise = self.denoiser(near, history.positions, prediction)
        white = sample(denoise, start, refinement)
        return unwhiten(white, mean, spread, self._beads)

    def predict(self, near: Edges, history: History) -> Prediction:
        own = self._module.predictor
        return predict(own, self._beads, near, self._embedding, history)

    def denoiser(
        self, near: Edges, positions: torch.Tensor, prediction: Prediction
    ) -> Denoise:
        given = condition(self._module.conditioner, near, positions, prediction)

        def clean(white: torch.Tensor, sigma: float) -> torch.Tensor:
            level = torch.full_like(given.spread, sigma)
            own = self._module.denoiser
            found = denoise(own, self._beads, near, given, white, level)
            if self._far is not None:
                found = found + arrivals(
                    self._module.arrivals,
                    self._beads,
                    self._far,
                    self._embedding,
                    given,
                    white,
                    level,
                )
            return project(found, given.spread, self._beads)

        return clean


def by_the_equations(propagator: Any) -> Any:
    """Let a propagator move its beads by the equations; return it."""
    stepper = propagator._stepper
    bound = stepper._networks
    stepper._networks = ReferenceNetworks(
        stepper._module, stepper._beads, bound._embedding, bound.search
    )
    return propagator
