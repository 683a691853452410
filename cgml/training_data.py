"""What a model file says of the data that a model was trained on."""

from typing import Any, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from cgml.fields import Length, NonNegative, Positive, Section, Time, Whole


class Seen(Section):
    """What molecules the training data had (molecules/seen.py).

    Attributes:
        bead_atoms: particle type -> fewest and most atoms of it in a bead of a
            molecule of several beads; empty: there was none.
        bead_bonds: fewest and most beads that such a bead is bonded to.
        molecule_beads: fewest and most beads of such a molecule.
        small_molecules: atoms of each type in the molecules that are one bead.
        density: least and largest number of beads per nm^3; None: open boundaries.
        hands: of stereocentres, for chiral models: "R in a bead of 3 C and 1 N".
    """

    bead_atoms: dict[str, tuple[Whole, Whole]] = Field(default={})
    bead_bonds: tuple[Whole, Whole] | None = None
    molecule_beads: tuple[Whole, Whole] | None = None
    small_molecules: list[dict[str, Whole]] = Field(default=[])
    density: tuple[Positive, Positive] | None = None
    hands: list[str] = Field(default=[])

    @model_serializer(mode="wrap")
    def _leave_out(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write nothing that older versions do not know and need not."""
        said: dict[str, Any] = write(self)
        return {key: value for key, value in said.items() if key != "hands" or value}


class Rotation(Section):
    """How fast molecules of a kind, each of them one bead, rotate.

    Attributes:
        atoms: particle type -> atoms of it in the molecule.
        time: after which the correlation of orientations is 1/e, ps
            (molecules/turning.py).
    """

    atoms: dict[str, Whole]
    time: Time


class RousePrior(Section):
    """Relaxation of the bond graph: the analytic part of the model (ideal_chain.py).

    Attributes:
        rate: b, relaxation of the unit Laplacian mode in one step.
        variance: c, stationary variance of the unit Laplacian mode, nm^2.
    """

    rate: Positive
    variance: Positive


class Statistics(Section):
    """What the training data looked like: scales and the limits of the guards.

    Attributes:
        length_scale: rms distance of bonded beads, nm.
        displacement_scale: rms displacement of a bead in one step, nm.
        max_displacement: largest displacement of a bead seen in one step, nm.
        bond_length_range: shortest and longest distance of bonded beads seen, nm.
        min_distance: shortest distance of two beads that share no bond, nm.
        mean_degree: mean number of edges that arrive at a bead.
    """

    length_scale: Length
    displacement_scale: Length
    max_displacement: Length
    bond_length_range: tuple[NonNegative, Length]
    min_distance: NonNegative
    mean_degree: Positive

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        shortest, longest = self.bond_length_range
        if shortest > longest:
            raise ValueError(
                f"bond_length_range must ascend, got {shortest} and {longest}"
            )
        return self
