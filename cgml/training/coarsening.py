"""How files of atoms become beads: what the user says of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cgml.formats.format import LammpsOptions
from cgml.formats.selection import FrameOptions
from cgml.molecules.chemistry import Chemistry
from cgml.molecules.graph import BOND, MolecularGraph
from cgml.molecules.hand import read_mapping
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.molecules.united import cut
from cgml.spec import BaseSpec


@dataclass(frozen=True)
class Coarsening:
    """How files of atoms become beads.

    Attributes:
        recipe: how molecules are cut; None: the default one, or that of arrays which
            hold beads.
        mapping: file of an assignment to use instead (hand.py, `Mapping.save`).
        chemistry: what is known of types and masses besides the files.
        system: XML file of an OpenMM System, with the masses of the atoms.
        time_step: time between frames, ps, for formats that do not tell; None: the
            file's.
        lammps: what LAMMPS files do not say of themselves.
        frames: which frames and atoms, and in which box.
    """

    recipe: Recipe | None = None
    mapping: Path | None = None
    chemistry: Chemistry = field(default_factory=Chemistry)
    system: Path | None = None
    time_step: float | None = None
    lammps: LammpsOptions = field(default_factory=LammpsOptions)
    frames: FrameOptions = field(default_factory=FrameOptions)

    @classmethod
    def from_spec(cls, spec: BaseSpec) -> Self:
        """Return what a model was trained with."""
        return cls(
            recipe=Recipe.from_spec(spec),
            chemistry=Chemistry(known=spec.particle_types),
            lammps=LammpsOptions(keep_bond_types=spec.bond_types != [BOND]),
        )

    def map(self, graph: MolecularGraph) -> Mapping:
        """Return the mapping of a system's atoms.

        Where types are those of a model that knows united atoms, hydrogens are cut
        with them (united.py).
        """
        if self.mapping is not None:
            return read_mapping(self.mapping, graph)
        recipe = self.recipe or Recipe(keep_hydrogens=True)
        return cut(graph, self.chemistry.known, recipe)
