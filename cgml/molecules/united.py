"""All-atom systems as a model of united atoms knows them: CH2 is one particle."""

from collections.abc import Mapping as Table

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.groups import is_hydrogen, partners
from cgml.molecules.mapping import Mapping
from cgml.molecules.masses import MASS_TOLERANCE
from cgml.molecules.recipe import Recipe


def united(
    graph: MolecularGraph, known: Table[str, float]
) -> tuple[MolecularGraph, NDArray[np.int64]]:
    """Join hydrogens with their heavy atoms, where only the united atom is known.

    Args:
        graph: the atoms.
        known: particle type -> mass, Da, of a model.

    Returns:
        The graph that the model knows, and for each atom, (n_atoms,), its place there.
        The graph itself where it has no hydrogens, or the model knows all its types.

    Example:
        >>> graph = MolecularGraph.create(
        ...     "CHHH", [12.011, *3 * [1.008]], [[0, 1], [0, 2], [0, 3]]
        ... )
        >>> united(graph, {"CH3": 15.035})[0].types
        ('CH3',)
    """
    alone = np.arange(graph.n_atoms)
    if all(name in known for name in graph.types):
        return graph, alone
    is_light = is_hydrogen(graph)
    owner = np.where(is_light, partners(graph), alone)
    counts = np.bincount(owner[is_light], minlength=graph.n_atoms)
    masses = np.bincount(owner, graph.masses, minlength=graph.n_atoms)
    names = {
        atom: f"{graph.types[atom]}H{counts[atom] if counts[atom] > 1 else ''}"
        for atom in np.flatnonzero(counts).tolist()
    }
    joined = {
        atom: name
        for atom, name in names.items()
        if abs(known.get(name, np.inf) - masses[atom])
        <= (1 + counts[atom]) * MASS_TOLERANCE
    }
    owner = np.where(np.isin(owner, list(joined)), owner, alone)
    kept, place = np.unique(owner, return_inverse=True)
    if len(kept) == graph.n_atoms:
        return graph, alone
    rest = graph.select(kept)
    types = [joined.get(atom, graph.types[atom]) for atom in kept.tolist()]
    own = [
        known[name] if atom in joined else graph.masses[atom]
        for atom, name in zip(kept.tolist(), types, strict=True)
    ]
    graph = MolecularGraph.create(types, own, rest.bonds, rest.bond_types, rest.labels)
    return graph, place


def cut(graph: MolecularGraph, known: Table[str, float], recipe: Recipe) -> Mapping:
    """Cut molecules by a recipe, hydrogens with the united atoms that a model knows.

    Args:
        graph: the atoms.
        known: particle type -> mass, Da, of the model; empty: there is none.
        recipe: how molecules are cut.

    Returns:
        All atoms -> the beads that the united atoms have.
    """
    seen, place = united(graph, known) if known else (graph, None)
    mapping = Mapping.from_recipe(seen, recipe)
    if seen is graph or place is None:
        return mapping
    return Mapping(graph, mapping.bead_index[place], mapping.recipe)


def as_known(mapping: Mapping, known: Table[str, float]) -> Mapping:
    """Return the same beads of the atoms that a model knows, see `united`.

    Raises:
        ValueError: a hydrogen is in another bead than the atom it belongs to.
    """
    graph, place = united(mapping.graph, known)
    if graph is mapping.graph:
        return mapping
    labels = np.empty(graph.n_atoms, dtype=np.int64)
    labels[place] = mapping.bead_index
    parted = np.flatnonzero(labels[place] != mapping.bead_index)
    if len(parted):
        raise ValueError(
            "hydrogens must be in the bead of their heavy atom, as the model knows "
            f"them as one particle; {mapping.graph.name(int(parted[0]))} is not"
        )
    hands = mapping.hands
    if hands is not None:  # no hydrogen has one
        hands = np.bincount(place, hands).astype(np.int8)
    return Mapping(graph, labels, mapping.recipe, hands)
