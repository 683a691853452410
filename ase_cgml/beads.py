"""Atoms of the beads alone."""

# mypy: allow-untyped-calls

import numpy as np
from ase import Atoms

from ase_cgml.checks import check_order
from ase_cgml.convert import INDEX
from cgml.molecules.mapping import Mapping
from cgml.molecules.masses import differing


def bead_atoms(atoms: Atoms, mapping: Mapping) -> Atoms:
    """Make the Atoms of the beads alone: symbols "X", the masses of the beads.

    Positions are in Å, masses in Da, as in ASE.

    Args:
        atoms: all atoms of the mapping.
        mapping: atoms -> beads; pass it to CGMLDynamics as topology, too.

    Raises:
        ValueError: the atom count is not that of the mapping, or the atoms have been
            edited since they were moved.
    """
    check_order(atoms)
    beads = Atoms(
        numbers=np.zeros(mapping.n_beads, dtype=int),
        positions=mapping.positions(atoms.positions),
        masses=mapping.bead_masses,
        cell=atoms.cell,
        pbc=atoms.pbc,
    )
    beads.set_array(INDEX, np.arange(mapping.n_beads))
    return beads


def check_beads(atoms: Atoms, mapping: Mapping) -> None:
    """Refuse beads in another order than the mapping's, where masses show it.

    Args:
        atoms: the beads.
        mapping: atoms -> beads.

    Raises:
        ValueError: a mass is not that of the bead.
    """
    if not atoms.has("masses"):
        return
    wrong = differing(atoms.get_masses(), mapping.bead_masses)
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(
            f"beads in the order of the mapping are required, bead {i} of "
            f"{mapping.bead_masses[i]:g} Da has {atoms.get_masses()[i]:g} Da in the "
            "atoms: make them with bead_atoms(atoms, mapping), and edit them no more"
        )
