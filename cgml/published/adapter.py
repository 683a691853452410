"""A published model bound to the systems of a propagator."""

from collections.abc import Iterable
from typing import Any

import torch

from cgml.molecules.systems import Systems
from cgml.published.model import build_published_system
from cgml.published.spec import PublishedSpec
from cgml.published.stepper import PublishedStepper
from cgml.spec import Execution


class PublishedAdapter:
    """A published model as a `cgml.network.stepper.Stepper`.

    Args:
        module: networks.
        spec: of the model.
        systems: all replicas; a repeated mapping is built and embedded once.
        execution: how the networks are evaluated.

    Raises:
        ValueError: A particle type or bond type is unknown, or a particle has not the
            mass of its type.
    """

    def __init__(
        self,
        module: Any,
        spec: PublishedSpec,
        systems: Systems,
        execution: Execution,
    ) -> None:
        unique = {
            id(item): build_published_system(item, spec.parameters)
            for item in systems.mappings
        }
        self._stepper = PublishedStepper(
            module,
            spec.parameters,
            [unique[id(item)] for item in systems.mappings],
            execution=execution,
            device=str(systems.device),
        )
        self._boxes = None if systems.boxes is None else list(systems.boxes)
        self._spec, self._systems = spec, systems
        self.n_draws = self._stepper.n_draws
        self.sigma_min = (spec.parameters.sigma_end or 0.0) * spec.length_unit

    def displacement(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        n_known: torch.Tensor,
        draws: torch.Tensor,
    ) -> torch.Tensor:
        """Displacement of one step; see `cgml.network.stepper.Stepper`.

        Earlier displacements that are not known count as zero, as if the beads had
        been at rest.
        """
        moves = displacements * self._systems.known(n_known, len(displacements))
        return self._stepper.move(positions, moves, self._boxes, draws)

    def radius_of_gyration(
        self,
        positions: torch.Tensor,
        displacements: torch.Tensor,
        n_known: torch.Tensor,
    ) -> torch.Tensor:
        """Radius of gyration of each molecule; see `cgml.network.stepper.Stepper`.

        Raises:
            ValueError: A replica has several molecules, or there is no such head.
        """
        largest = max(self._systems.n_molecules)
        if largest > 1:
            raise ValueError(
                f"the property head of model {self._spec.name!r} is one of single "
                f"molecules, got {largest} of them in a replica"
            )
        moves = displacements * self._systems.known(n_known, len(displacements))
        return self._stepper.property(positions, moves, self._boxes)[:, 0]

    def score(
        self, positions: torch.Tensor, candidate: torch.Tensor, sigma: float
    ) -> torch.Tensor:
        """Score network at a candidate, given the latent of the positions before it.

        Args:
            positions: (n_beads, 3) float64 nm; the beads were at rest before.
            candidate: (n_beads, 3) float64 nm.
            sigma: noise level, nm: the output of the network is divided by it.

        Returns:
            (n_beads, 3) float64, 1/nm.

        Raises:
            ValueError: The model has no score network, or sigma is not positive.
        """
        if self._spec.parameters.name == "gns":
            raise ValueError(
                f"a score network is required for forces, model {self._spec.name!r} "
                "has none: import one of the authors' models named 'pnr'"
            )
        if not sigma > 0.0:
            raise ValueError(f"sigma must be positive, got {sigma:g} nm")
        unit = self._spec.length_unit
        moves = positions.new_zeros(self._spec.n_history, *positions.shape)
        with torch.inference_mode():
            ahead = self._stepper.predict(positions, moves, self._boxes)
            output = self._stepper.score_given(ahead, self._boxes)(candidate / unit)
        return output.double() / sigma

    def mean_score(
        self,
        positions: torch.Tensor,
        pairs: Iterable[torch.Tensor],
        sigma: float | None,
    ) -> torch.Tensor:
        """Score at these positions, told that the beads have been there at rest."""
        del pairs
        level = self.sigma_min if sigma is None else sigma
        return self.score(positions, positions, level)

    def view(self, positions: torch.Tensor) -> None:
        """Nothing: the file does not say what its training data looked like."""
        del positions
