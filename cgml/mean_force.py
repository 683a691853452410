"""The potential of mean force of a model, as its file describes it."""

from typing import Annotated, Literal

from pydantic import Field

from cgml.fields import Length, NonNegative, Rounds, Section, Whole, Width


class PotentialSpec(Section):
    """The potential of mean force of a model: an energy of the beads (potential.md).

    Attributes:
        network: "messages" (ours), or "tensornet" of torchmd-net, to be installed.
        n_node: width of the features.
        n_layers: rounds of messages.
        n_radial: functions of the distance; where the model has radial_centres of its
            own, these are taken.
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
    n_vectors: Width = 8
    cutoff: Length | None = None
    noise: Length
    bond_stiffness: NonNegative
    bond_length: Annotated[float, Field(ge=-1e6, le=1e6)]
    wall_distance: NonNegative
    wall_height: NonNegative
    weights: dict[str, list[Whole]] = Field(default={})
    provenance: dict[str, str] = Field(default={})
