"""Steps of the published models: edges, the Gaussian move, annealed Langevin.

Plain Python around the networks of graphwm_model.py. Positions and boxes come in nm
and leave in nm; the model's own unit lives between these lines only.

Method: Fu et al., TMLR 2023, arXiv 2204.10348; sampler: Song & Ermon, NeurIPS 2019,
algorithm 1, with a constant step.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from vesin_torch import NeighborList

from cgml.box import minimum_image, wrap
from cgml.graph import Atoms
from cgml.graphwm import HyperParameters
from cgml.graphwm_model import PublishedSystem
from cgml.graphwm_networks import Acceleration, PublishedEdges

SLACK = 1.0e-4  # of the cutoff: the search finds more, the float32 distance decides
Parts = TypeVar("Parts", Atoms, PublishedEdges)


class PublishedStepper:
    """A published model bound to the systems that it moves.

    A pure function of its arguments: noise comes in as numbers.

    Args:
        module: a PublishedModel, or the same in TorchScript.
        parameters: of the file.
        systems: one per replica; the same one may repeat.
        device: torch device.

    Attributes:
        n_history: displacements that the model sees.
        n_draws: standard normals that a step takes for each coordinate.
        sizes: beads of each replica.
    """

    def __init__(
        self,
        module: Any,
        parameters: HyperParameters,
        systems: Sequence[PublishedSystem],
        *,
        device: str = "cpu",
    ) -> None:
        if not systems:
            raise ValueError("at least one system is required, got none")
        self._module = module.to(device)
        self._device = torch.device(device)
        self._cutoff = parameters.radius
        self._levels = noise_levels(parameters)
        self._step_size = parameters.step_size or 0.0
        self.n_history = parameters.seq_len - 1
        self.n_draws = 1 + len(self._levels)
        self.sizes = [len(system.masses) for system in systems]
        self._bonds = [system.bonds for system in systems]
        self._masses = torch.cat([system.masses for system in systems]).to(device)
        self._unit = float(module.length_unit)
        unique = {id(system): system for system in systems}
        with torch.inference_mode():  # one by one: the bits depend on nothing else
            rows = {
                key: module.embedding(_to(system.atoms, self._device))
                for key, system in unique.items()
            }
            self._embedding = torch.cat([rows[id(system)] for system in systems])

    def step(
        self,
        history: torch.Tensor,
        boxes: Sequence[torch.Tensor] | None,
        noise: torch.Tensor,
    ) -> torch.Tensor:
        """Next positions from the frames so far.

        Args:
            history: (n_frames, n_beads, 3) float64 nm, unwrapped, oldest first, one
                model step apart. Of more than seq_len frames the last ones are used;
                for those that are missing the first frame stands, as if the beads had
                been at rest (the published code cannot start without them).
            boxes: (3, 3) nm of each replica, or None for open boundaries.
            noise: (n_draws, n_beads, 3) standard normals; zeros follow the mean.

        Returns:
            (n_beads, 3) float64 nm, unwrapped.
        """
        moves = torch.diff(history[-self.n_history - 1 :], dim=0).flip(0)
        missing = history.new_zeros(self.n_history - len(moves), *history.shape[1:])
        moves = torch.cat((moves, missing))
        return history[-1] + self.move(history[-1], moves, boxes, noise)

    def move(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        boxes: Sequence[torch.Tensor] | None,
        noise: torch.Tensor,
    ) -> torch.Tensor:
        """Next displacement.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped.
            displacements: (n_history, n_beads, 3) float64 nm, newest first; zero where
                not known.
            boxes: (3, 3) nm of each replica, or None for open boundaries.
            noise: (n_draws, n_beads, 3) standard normals.

        Returns:
            (n_beads, 3) float64 nm.

        Raises:
            ValueError: A shape does not match.
        """
        n_beads = sum(self.sizes)
        _check("displacements", displacements, (self.n_history, n_beads, 3))
        _check("noise", noise, (self.n_draws, n_beads, 3))
        draws = noise.to(self._device, torch.float32)
        with torch.inference_mode():
            ahead = self.predict(positions, displacements, boxes)
            kick = ahead.mean + ahead.deviation * draws[0]
            move = displacements[0] / self._unit + kick.double()
            if self._module.score is not None:
                start = positions / self._unit
                move = self.refine(start + move, ahead, boxes, draws[1:]) - start
        return move * self._unit

    def predict(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        boxes: Sequence[torch.Tensor] | None,
    ) -> Acceleration:
        """Gaussian over the next second difference, in the unit of the model.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped.
            displacements: (n_history, n_beads, 3) float64 nm, newest first.
            boxes: (3, 3) nm of each replica, or None for open boundaries.
        """
        _check("positions", positions, (sum(self.sizes), 3))
        ahead = self._module.dynamics(
            self.edges(positions / self._unit, boxes),
            (displacements / self._unit).flip(0).float(),
            self._embedding,
            self._masses,
        )
        return Acceleration(*ahead)

    def refine(
        self,
        candidate: torch.Tensor,
        ahead: Acceleration,
        boxes: Sequence[torch.Tensor] | None,
        draws: torch.Tensor,
    ) -> torch.Tensor:
        """Anneal candidate positions, in the unit of the model.

        Where they run away to numbers that are not finite, it ends there and then.

        Args:
            candidate: (n_beads, 3) float64.
            ahead: from `predict`.
            boxes: (3, 3) nm of each replica, or None for open boundaries.
            draws: (n_draws - 1, n_beads, 3) standard normals.

        Returns:
            (n_beads, 3) float64.
        """
        kick = (2.0 * self._step_size) ** 0.5
        for sigma, draw in zip(self._levels, draws, strict=True):
            if not bool(torch.isfinite(candidate).all()):
                break  # no neighbours to be found: a guard will see it
            score = self.score(candidate, ahead, boxes) / sigma
            candidate = candidate + (self._step_size * score + kick * draw).double()
        return candidate

    def score(
        self,
        candidate: torch.Tensor,
        ahead: Acceleration,
        boxes: Sequence[torch.Tensor] | None,
    ) -> torch.Tensor:
        """Score times sigma at positions in the unit of the model, (n_beads, 3).

        Args:
            candidate: (n_beads, 3) float64.
            ahead: from `predict`.
            boxes: (3, 3) nm of each replica, or None for open boundaries.
        """
        output: torch.Tensor = self._module.score(
            self.edges(candidate, boxes), ahead.nodes, self._masses
        )
        return output

    def property(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        boxes: Sequence[torch.Tensor] | None,
    ) -> torch.Tensor:
        """Property of each replica (radius of gyration), (n_replicas, out_dim) nm.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped.
            displacements: (n_history, n_beads, 3) float64 nm, newest first.
            boxes: (3, 3) nm of each replica, or None for open boundaries.

        Raises:
            ValueError: The model has no property head.
        """
        if self._module.property_head is None:
            raise ValueError(
                "this published model has no property head: compute the radius of "
                "gyration from the beads"
            )
        with torch.inference_mode():
            ahead = self.predict(positions, displacements, boxes)
            centred = [
                part - part.mean(dim=0) for part in torch.split(positions, self.sizes)
            ]
            lengths = (torch.cat(centred) / self._unit).float()
            columns = (
                torch.split(part, self.sizes) for part in (ahead.nodes, self._masses)
            )
            rows = [
                self._module.property_head(*parts)
                for parts in zip(
                    torch.split(lengths, self.sizes), *columns, strict=True
                )
            ]
        return torch.stack(rows).double() * self._unit

    def edges(
        self, positions: torch.Tensor, boxes: Sequence[torch.Tensor] | None
    ) -> PublishedEdges:
        """Edges of all replicas.

        Args:
            positions: (n_beads, 3) float64, in the unit of the model.
            boxes: (3, 3) nm of each replica, or None for open boundaries.
        """
        cells: Sequence[torch.Tensor | None] = (
            [None] * len(self.sizes)
            if boxes is None
            else [box.double().cpu() / self._unit for box in boxes]
        )
        parts = torch.split(positions.detach().cpu(), self.sizes)
        found, first = [], 0
        for part, bonds, cell in zip(parts, self._bonds, cells, strict=True):
            own = find_published_edges(part, bonds, self._cutoff, cell)
            found.append(
                own._replace(sender=own.sender + first, receiver=own.receiver + first)
            )
            first += len(part)
        columns = zip(*found, strict=True)
        return _to(PublishedEdges(*(torch.cat(c) for c in columns)), self._device)


def noise_levels(parameters: HyperParameters) -> list[float]:
    """Level of every Langevin step, descending geometrically; none for "gns"."""
    begin, end = parameters.sigma_begin, parameters.sigma_end
    count, repeats = parameters.sigma_level, parameters.step_per_sigma
    if parameters.name == "gns" or not (begin and end and count and repeats):
        return []
    return np.repeat(np.geomspace(begin, end, count), repeats).tolist()


def find_published_edges(
    positions: torch.Tensor,
    bonds: torch.Tensor,
    cutoff: float,
    box: torch.Tensor | None,
) -> PublishedEdges:
    """Pairs within the cutoff, every bead with itself, and the bonds at any length.

    Every pair once, at its shortest image, also where the cutoff exceeds half the
    box: the published convention. (`cgml.edges` has an edge for every image there.)
    A bond longer than the cutoff has the kind of a bond in a box only, as published.

    Args:
        positions: (n_beads, 3) float64, unwrapped.
        bonds: (n, 2) bonded beads, both ways.
        cutoff: in the unit of the positions.
        box: (3, 3) row vectors in reduced form, or None for open boundaries.

    Returns:
        Edges in ascending order of (receiver, sender).
    """
    n = len(positions)
    reach, wrapped = cutoff, positions
    if box is not None:  # no shortest image is longer than half of a + b + c
        reach = min(cutoff, 0.5 * float(torch.linalg.norm(box, dim=1).sum()))
        wrapped = torch.from_numpy(wrap(positions.numpy(), box.numpy()))
    search = NeighborList(cutoff=reach * (1.0 + SLACK), full_list=True)
    cell = torch.zeros(3, 3, dtype=torch.float64) if box is None else box
    first, second = search.compute(
        wrapped, cell, periodic=box is not None, quantities="ij"
    )
    bonded = bonds[:, 1] * n + bonds[:, 0]
    own = torch.arange(n) * (n + 1)
    keys = torch.unique(torch.cat((second * n + first, bonded, own)))
    receiver, sender = torch.div(keys, n, rounding_mode="floor"), keys % n
    gaps = (positions[sender] - positions[receiver]).numpy()
    cell_vectors = None if box is None else box.numpy()
    vectors = torch.from_numpy(minimum_image(gaps, cell_vectors)).float()
    is_near = vectors.square().sum(dim=1).sqrt() <= cutoff
    is_bond = torch.isin(keys, bonded)
    kinds = (is_bond & (is_near | (box is not None))).long()
    kept = is_near | is_bond
    return PublishedEdges(sender[kept], receiver[kept], vectors[kept], kinds[kept])


def _check(name: str, values: torch.Tensor, shape: tuple[int, ...]) -> None:
    if tuple(values.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(values.shape)}")


def _to(parts: Parts, device: torch.device) -> Parts:
    return type(parts)(*(part.to(device) for part in parts))
