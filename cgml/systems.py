"""Several systems side by side on one device: what the propagator moves in one call."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from cgml.config import ModelSpec
from cgml.graph import (
    Atoms,
    Beads,
    Edges,
    build_system,
    find_edges,
    join_beads,
)
from cgml.mapping import Mapping

Parts = TypeVar("Parts", Atoms, Beads, Edges)


class Systems:
    """Graphs, embeddings and masses of all replicas, one after the other.

    Args:
        mappings: one per replica; a repeated mapping is built and embedded once.
        spec: of the model.
        module: networks; the embedding is taken here, once.
        device: torch device.

    Attributes:
        mappings: as given.
        slices: beads of each replica.
        n_molecules: molecules of each replica.
        beads: static description.
        embedding: (n_beads, n_embedding).
        replica: (n_beads,) replica of each bead.
        masses: (n_beads, 1) float64 Da.
        molecule_masses: (sum of n_molecules, 1) float64 Da.
    """

    def __init__(
        self,
        mappings: Sequence[Mapping],
        spec: ModelSpec,
        module: Any,
        device: torch.device,
    ) -> None:
        self.mappings = list(mappings)
        self._sizes = [item.n_beads for item in self.mappings]
        ends = np.cumsum(self._sizes).tolist()
        self.slices = [
            slice(end - n, end) for end, n in zip(ends, self._sizes, strict=True)
        ]
        self.n_molecules = [
            int(item.molecule_index.max()) + 1 for item in self.mappings
        ]
        unique = {id(item): item for item in self.mappings}
        graphs = {key: build_system(item, spec) for key, item in unique.items()}
        order = [id(item) for item in self.mappings]
        beads = join_beads([graphs[key].beads for key in order])
        self._cutoff = spec.cutoff
        self._edges = None
        if spec.cutoff is None:
            self._edges = _to(find_edges(beads, self._sizes, None, None), device)
        self.beads = _to(beads, device)
        with torch.inference_mode():  # one by one: the bits depend on nothing else
            rows = {
                key: module.embedding(_to(graph.atoms, device))
                for key, graph in graphs.items()
            }
            self.embedding = torch.cat([rows[key] for key in order])
        self.replica = torch.repeat_interleave(
            torch.arange(len(self._sizes)), torch.tensor(self._sizes)
        ).to(device)
        masses = np.concatenate([item.bead_masses for item in self.mappings])
        self.masses = torch.tensor(masses)[:, None].to(device)
        self.molecule_masses = self._molecule_sum(self.masses)

    def edges(self, positions: torch.Tensor) -> Edges:
        """Pairs that exchange messages at these positions, (n_beads, 3) nm."""
        if self._edges is not None:
            return self._edges
        found = find_edges(self.beads, self._sizes, positions, self._cutoff)
        return _to(found, positions.device)

    def molecule_centre(self, vectors: torch.Tensor) -> torch.Tensor:
        """Mass-weighted mean over each bead's molecule, (n_beads, 3)."""
        mean = self._molecule_sum(self.masses * vectors) / self.molecule_masses
        return mean.index_select(0, self.beads.molecules)

    def system_centre(self, vectors: torch.Tensor) -> torch.Tensor:
        """Mean over each bead's replica, (n_beads, 3)."""
        sums = torch.zeros(
            len(self._sizes), 3, dtype=vectors.dtype, device=vectors.device
        ).index_add(0, self.replica, vectors)
        counts = torch.tensor(self._sizes, device=vectors.device)[:, None]
        return (sums / counts).index_select(0, self.replica)

    def _molecule_sum(self, values: torch.Tensor) -> torch.Tensor:
        return torch.zeros(
            sum(self.n_molecules),
            values.size(1),
            dtype=values.dtype,
            device=values.device,
        ).index_add(0, self.beads.molecules, values)


def _to(parts: Parts, device: torch.device) -> Parts:
    return type(parts)(*(part.to(device) for part in parts))
