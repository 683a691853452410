"""Whether Atoms are still those that a run, a mapping or a topology knows."""

# mypy: allow-untyped-calls

from collections.abc import Mapping as Dictionary

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from ase_cgml.convert import INDEX, particle_types
from cgml.molecules.checks import are_elements
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.masses import differing, of_elements


def check_order(atoms: Atoms) -> None:
    """Refuse atoms that were sorted, cut, repeated or joined after they were moved.

    Raises:
        ValueError: the array "cgml_index" does not count from 0 on.
    """
    index = atoms.arrays.get(INDEX)
    if index is None or np.array_equal(index, np.arange(len(atoms))):
        return
    place = int(np.flatnonzero(index != np.arange(len(atoms)))[0])
    raise ValueError(
        "the atoms were edited (sorted, cut, repeated or joined) after a run, which "
        f"knows them by their place: atom {place} was atom {index[place]}; undo that, "
        f'or for a new start delete atoms.info["cgml"] and atoms.arrays["{INDEX}"], '
        "and pass topology= in the new order"
    )


def check_atoms(
    atoms: Atoms, graph: MolecularGraph, type_names: Dictionary[int, str] | None
) -> None:
    """Refuse a topology of other atoms than those here, where anything shows it.

    Args:
        atoms: all atoms, or beads, which have no types.
        graph: of all atoms.
        type_names: LAMMPS type -> particle type name.

    Raises:
        ValueError: an atom has another type, element or mass than the topology says.
    """
    if len(atoms) != graph.n_atoms:
        return
    found = list(graph.types)
    if "type" in atoms.arrays:
        found = found if type_names is None else particle_types(atoms, type_names)
    else:
        for i in np.flatnonzero(are_elements(graph) & (atoms.numbers > 0)).tolist():
            found[i] = chemical_symbols[atoms.numbers[i]]
    for i, (name, known) in enumerate(zip(found, graph.types, strict=True)):
        if name != known:
            raise ValueError(
                f"atom {i} is {known} in the topology and {name} in the atoms: pass a "
                "topology= in the order that the atoms have now, or correct type_names"
            )
    if not atoms.has("masses"):
        return
    masses = of_elements(list(atoms.symbols), atoms.get_masses(), graph.bonds)
    wrong = differing(masses, graph.masses)
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(
            f"atom {i} ({graph.types[i]}) has {graph.masses[i]:g} Da in the topology "
            f"and {masses[i]:g} Da in the atoms: pass a topology= in the order that "
            "the atoms have now, or correct the masses (atoms.set_masses)"
        )
