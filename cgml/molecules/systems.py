"""Several systems side by side on one device: masses, molecules, boxes."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cgml.molecules.box import check_box
from cgml.molecules.mapping import Mapping


def sum_by(index: torch.Tensor, values: torch.Tensor, n: int) -> torch.Tensor:
    """Sums of the rows (n_rows, ...) of each index, (n, ...); TorchScript as well."""
    shape = list(values.size())
    shape[0] = n
    sums = torch.zeros(shape, dtype=values.dtype, device=values.device)
    return sums.index_add(0, index, values)


class Systems:
    """Beads of all replicas, one after the other.

    Args:
        mappings: one per replica; the same one may repeat.
        device: torch device.
        box: (3, 3) row vectors for all replicas or (n_replicas, 3, 3), nm; None for
            open boundaries.

    Attributes:
        mappings: as given.
        device: as given.
        sizes: beads of each replica.
        slices: beads of each replica.
        n_molecules: molecules of each replica.
        replica: (n_beads,) replica of each bead.
        molecules: (n_beads,) molecule of each bead, counted through all replicas.
        masses: (n_beads, 1) float64 Da.
        molecule_masses: (sum of n_molecules, 1) float64 Da.
        boxes: (n_replicas, 3, 3) float64 nm, or None.

    Raises:
        ValueError: The boxes are not one per replica, or not reduced.
    """

    def __init__(
        self,
        mappings: Sequence[Mapping],
        device: torch.device,
        box: NDArray[np.float64] | None = None,
    ) -> None:
        self.mappings = list(mappings)
        self.device = device
        self.sizes = [item.n_beads for item in self.mappings]
        ends = np.cumsum(self.sizes).tolist()
        self.slices = [
            slice(end - n, end) for end, n in zip(ends, self.sizes, strict=True)
        ]
        self.n_molecules = [
            int(item.molecule_index.max()) + 1 for item in self.mappings
        ]
        firsts = np.cumsum([0, *self.n_molecules[:-1]])
        molecules = [
            item.molecule_index + first
            for item, first in zip(self.mappings, firsts, strict=True)
        ]
        self.molecules = torch.tensor(np.concatenate(molecules)).to(device)
        self.replica = torch.repeat_interleave(
            torch.arange(len(self.sizes)), torch.tensor(self.sizes)
        ).to(device)
        masses = np.concatenate([item.bead_masses for item in self.mappings])
        self.masses = torch.tensor(masses)[:, None].to(device)
        self.molecule_masses = self._molecule_sum(self.masses)
        self.boxes = _boxes(box, len(self.mappings), device)
        if self.boxes is not None:  # of each bead, (n_beads, 3, 3)
            self._cells = self.boxes.index_select(0, self.replica)
            self._inverse = torch.linalg.inv(self.boxes).index_select(0, self.replica)

    def near_origin(self, positions: torch.Tensor) -> torch.Tensor:
        """Positions small enough for single precision.

        Args:
            positions: (n_beads, 3) float64 nm, unwrapped, molecules whole.

        Returns:
            (n_beads, 3) nm, relative to the system's centre, or, in a box, moved by
            whole box vectors, the centre of every molecule in the box.
        """
        if self.boxes is None:
            return positions - self.system_centre(positions)
        centre = self.molecule_centre(positions)
        image = torch.floor(torch.einsum("bi,bij->bj", centre, self._inverse))
        return positions - torch.einsum("bi,bij->bj", image, self._cells)

    def known(self, n_known: torch.Tensor, n_history: int) -> torch.Tensor:
        """Flag the displacements that are true ones.

        Args:
            n_known: (n_replicas,) number of true displacements, the newest ones.
            n_history: number of displacements in all.

        Returns:
            (n_history, n_beads, 1) float32, 1 for a true one, else 0; newest first.
        """
        ages = torch.arange(n_history)[:, None]
        known = (ages < n_known[None]).float()  # (n_history, n_replicas)
        return known.to(self.device)[:, self.replica][:, :, None]

    def molecule_centre(self, vectors: torch.Tensor) -> torch.Tensor:
        """Mass-weighted mean over each bead's molecule, (n_beads, 3)."""
        mean = self._molecule_sum(self.masses * vectors) / self.molecule_masses
        return mean.index_select(0, self.molecules)

    def system_centre(self, vectors: torch.Tensor) -> torch.Tensor:
        """Mean over each bead's replica, (n_beads, 3)."""
        sums = sum_by(self.replica, vectors, len(self.sizes))
        counts = torch.tensor(self.sizes, device=vectors.device)[:, None]
        return (sums / counts).index_select(0, self.replica)

    def system_drift(self, vectors: torch.Tensor) -> torch.Tensor:
        """Mass-weighted mean over each bead's replica, (n_beads, 3)."""
        columns = torch.cat((self.masses * vectors, self.masses), dim=1)
        sums = sum_by(self.replica, columns, len(self.sizes))
        return (sums[:, :3] / sums[:, 3:]).index_select(0, self.replica)

    def _molecule_sum(self, values: torch.Tensor) -> torch.Tensor:
        return sum_by(self.molecules, values, sum(self.n_molecules))


def _boxes(
    box: NDArray[np.float64] | None, n_replicas: int, device: torch.device
) -> torch.Tensor | None:
    """Check the boxes: (n_replicas, 3, 3) float64 nm, or None."""
    if box is None:
        return None
    boxes = np.asarray(box, dtype=np.float64)
    if boxes.ndim == 2:
        boxes = np.broadcast_to(boxes, (n_replicas, *boxes.shape))
    if len(boxes) != n_replicas:
        raise ValueError(
            f"one box for all replicas or one for each of {n_replicas} is required, "
            f"got {len(boxes)}"
        )
    return torch.tensor(np.stack([check_box(one) for one in boxes])).to(device)
