"""The potential of mean force of a model, as its file describes it."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cgml.fields import Length, NonNegative, Real, Rounds, Section, Whole, Width


class PotentialSpec(Section):
    """The potential of mean force of a model: an energy of the beads (potential.md).

    Attributes:
        network: "messages" (ours), or "tensornet" of torchmd-net, to be installed.
        n_node: width of the features.
        n_layers: rounds of messages.
        n_radial: functions of the distance, where no centres are given.
        radial_centres: of these functions, nm, ascending ("messages"); empty: those of
            the model, and where that has none, even on a logarithmic axis.
        n_vectors: vectors of a bead, with which messages know angles ("messages").
        cutoff: nm, at which the network's part ends; None: all pairs of a molecule.
        noise: of the training frames, of a mode as stiff as a bond, nm; the largest.
        bond_stiffness: of the prior, kJ/mol/nm^2.
        bond_length: of the prior, nm; may be below zero, as fits of soft bonds are.
        wall_distance: of beads without a bond, below which the prior repels, nm.
        wall_height: of that at no distance, kJ/mol.
        weights: "tensornet": names and shapes of its weights.
        provenance: what produced the weights.
    """

    network: Literal["messages", "tensornet"] = "messages"
    n_node: Width = 48
    n_layers: Annotated[Rounds, Field(ge=1)] = 2
    n_radial: Annotated[Width, Field(ge=2)] = 16
    radial_centres: tuple[NonNegative, ...] = Field(default=())
    n_vectors: Width = 8
    cutoff: Length | None = None
    noise: Length
    bond_stiffness: NonNegative
    bond_length: Annotated[Real, Field(ge=-1e6, le=1e6)]
    wall_distance: NonNegative
    wall_height: NonNegative
    weights: dict[str, list[Whole]] = Field(default={})
    provenance: dict[str, str] = Field(default={})

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        centres = self.radial_centres
        if len(centres) == 1 or any(a >= b for a, b in pairwise(centres)):
            raise ValueError(
                "radial_centres of a potential must be two or more ascending "
                f"distances, or none, got {list(centres)}"
            )
        return self
