"""The potential of mean force of a model, bound to systems: energies and forces.

energy = Potential(load_model("with-potential.pt"), mapping)(positions)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cgml import units
from cgml.contract.atoms import build_all
from cgml.contract.device import checked_device, to_device
from cgml.contract.state import checked
from cgml.forks import one_thread_after_fork
from cgml.molecules.mapping import Mapping
from cgml.molecules.seen import Unseen, check_seen
from cgml.molecules.systems import Systems, sum_by
from cgml.network.energies import restored
from cgml.network.inputs import build_system, join_beads
from cgml.network.model import LearnedModel
from cgml.network.pairs import PairSearch
from cgml.network.potential import edges_of, prior_energy

MADE_BY = "cgml train-potential MODEL FRAMES makes a model that has one"


@dataclass(frozen=True)
class Energies:
    """Energies of some systems, and their derivatives.

    Attributes:
        energy: (n_replicas,) kJ/mol; differences count, there is no zero.
        forces: (n_beads, 3) kJ/mol/nm.
        virial: (n_replicas, 3, 3) kJ/mol: derivative of the energy by the strain.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]


class Potential:
    """A model's potential of mean force, bound to systems; in float64.

    Args:
        model: from `cgml.load_model`, with a potential.
        mappings: one per replica; the same one may repeat.
        box: row vectors, nm, (3, 3) for all replicas or (n_replicas, 3, 3); None for
            open boundaries.
        unseen: as of a `Propagator`.
        device: torch device.

    Raises:
        ValueError: The model has no potential, or not for these systems;
            torchmd-net is needed and not installed.
    """

    def __init__(
        self,
        model: LearnedModel,
        mappings: Mapping | Sequence[Mapping],
        *,
        box: NDArray[np.float64] | None = None,
        unseen: Unseen = "refuse",
        device: str = "cpu",
    ) -> None:
        one_thread_after_fork()
        spec: Any = model.spec
        if not spec.has_potential:
            raise ValueError(f"model {spec.name!r} has no potential energy: {MADE_BY}")
        spec.check_boundaries(is_periodic=box is not None)
        self.mappings = [mappings] if isinstance(mappings, Mapping) else list(mappings)
        check_seen(spec, self.mappings, box, unseen)
        place = checked_device(device)
        self._spec, self._systems = spec, Systems(self.mappings, place, box)
        self._thermal = units.thermal_energy(spec.temperature)
        networks = model.module.to(place)
        graphs, embedding = build_all(
            self._systems, partial(build_system, spec=spec), networks.embedding
        )
        self._embedding = embedding.clone().double()  # no inference tensor
        beads = to_device(join_beads([graph.beads for graph in graphs]), place)
        boxes = self._systems.boxes
        self._search = PairSearch(
            beads,
            self._systems.sizes,
            spec.potential.cutoff,
            None if boxes is None else list(boxes.cpu()),
        )
        energy = restored(spec, spec.potential, networks.potential)
        self._energy = energy.to(place).double().requires_grad_(requires_grad=False)

    def __call__(self, positions: ArrayLike | torch.Tensor) -> Energies:
        """Energy, forces and virial.

        Args:
            positions: (n_beads, 3) nm, molecules whole; all replicas one after the
                other.

        Raises:
            ValueError: A shape does not match, or a number is not finite.
        """
        systems, n = self._systems, len(self._embedding)
        why = f"for {n} beads in {len(self.mappings)} replicas"
        given = checked(positions, (n, 3), "positions", why).to(systems.device)
        near = systems.near_origin(given)
        pairs = self._search(near)
        replica = systems.replica[pairs.receiver]
        shift = pairs.shift.double()
        if systems.boxes is not None:  # found in float32: whole vectors again
            cells = systems.boxes[replica]
            inverse = torch.linalg.inv(systems.boxes)[replica]
            whole = torch.einsum("pi,pij->pj", shift, inverse).round()
            shift = torch.einsum("pi,pij->pj", whole, cells)
        vectors = near[pairs.receiver] - near[pairs.sender] + shift
        edges = edges_of(pairs, vectors.requires_grad_())
        prior = prior_energy(self._spec, self._spec.potential, edges)
        learned = self._energy.energies(self._embedding, edges)
        (slope,) = torch.autograd.grad(prior.sum() + learned.sum(), edges.vectors)
        n_replicas = len(self.mappings)
        energy = sum_by(replica, prior, n_replicas)
        energy = energy + sum_by(systems.replica, learned, n_replicas)
        force = sum_by(edges.sender, slope, n) - sum_by(edges.receiver, slope, n)
        strain = edges.vectors[:, :, None] * slope[:, None]
        virial = sum_by(replica, strain, n_replicas)
        return Energies(*(self._out(part) for part in (energy, force, virial)))

    def _out(self, values: torch.Tensor) -> NDArray[np.float64]:
        return np.asarray((self._thermal * values.detach()).cpu().numpy())
