"""What a model file says of the molecules that a model was trained on."""

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from cgml.fields import Positive, Section, Time, Whole


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
