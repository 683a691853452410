"""Bond graphs of atoms as networks take them, and embeddings of the beads."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cgml.contract.device import to_device
from cgml.molecules.graph import MolecularGraph, type_index
from cgml.molecules.mapping import Mapping
from cgml.molecules.masses import differing
from cgml.molecules.systems import Systems
from cgml.spec import BaseSpec


class Atoms(NamedTuple):
    """Bond graphs of the atoms of several systems, one after the other.

    Attributes:
        types: (n_atoms,) index of the particle type.
        masses: (n_atoms, 1) in the unit of the model.
        places: (n_atoms, 0 to 2) place in the bead, see ideal_chain.depths, and hand,
            see stereocentres, of each what the model looks at.
        sender: (2 n_bonds,) first atom of each directed bond.
        receiver: (2 n_bonds,) second atom.
        bond_types: (2 n_bonds,) index of the bond type.
        beads: (n_atoms,) bead of each atom.
        bead_sizes: (n_beads, 1) atoms of each bead.
    """

    types: torch.Tensor
    masses: torch.Tensor
    places: torch.Tensor
    sender: torch.Tensor
    receiver: torch.Tensor
    bond_types: torch.Tensor
    beads: torch.Tensor
    bead_sizes: torch.Tensor


def bond_graph(
    vertices: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    bonds: torch.Tensor,
    bond_types: torch.Tensor,
    beads: torch.Tensor,
) -> Atoms:
    """Atoms of one system; TorchScript as well.

    Args:
        vertices: types (n_atoms,), masses (n_atoms,) and places of the atoms, see
            `Atoms`.
        bonds: (n_bonds, 2) atoms.
        bond_types: (n_bonds,).
        beads: (n_atoms,) bead of each atom.
    """
    types, masses, places = vertices
    return Atoms(
        types=types,
        masses=masses.float().unsqueeze(1),
        places=places,
        sender=torch.cat((bonds[:, 0], bonds[:, 1])),
        receiver=torch.cat((bonds[:, 1], bonds[:, 0])),
        bond_types=bond_types.repeat(2),
        beads=beads,
        bead_sizes=torch.bincount(beads).float().unsqueeze(1),
    )


def known_types(
    graph: MolecularGraph, spec: BaseSpec
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number of each atom's type, (n_atoms,), and the mass of that type, Da.

    Args:
        graph: of the atoms.
        spec: of the model, for its vocabulary.

    Raises:
        ValueError: A type is not in the vocabulary, or a particle has not the mass of
            its type.
    """
    types = type_index(graph, list(spec.particle_types))
    expected = np.array(list(spec.particle_types.values()))[types]
    wrong = differing(graph.masses, expected)
    if len(wrong):
        atom = int(wrong[0])
        raise ValueError(
            f"particle type {graph.types[atom]!r} must have mass {expected[atom]:g} Da "
            f"as in model {spec.name!r}, atom {atom} has {graph.masses[atom]:g} Da: "
            "correct the mass, or name the type differently"
        )
    return types, expected


class Built(Protocol):
    """One system as networks of some kind take it."""

    @property
    def atoms(self) -> Atoms:
        """Its atoms."""


System = TypeVar("System", bound=Built)


def build_all(
    systems: Systems,
    build: Callable[[Mapping], System],
    embedding: Callable[[Atoms], torch.Tensor],
) -> tuple[list[System], torch.Tensor]:
    """Build and embed every mapping once, however often it is repeated.

    They are embedded one by one, so that the bits depend on nothing else.

    Args:
        systems: all replicas.
        build: a mapping as networks take it.
        embedding: atoms -> (n_beads, n_embedding).

    Returns:
        What was built of each replica, and all embeddings, (n_beads, n_embedding).
    """
    mappings = {id(mapping): mapping for mapping in systems.mappings}
    built = {key: build(mapping) for key, mapping in mappings.items()}
    with torch.inference_mode():
        rows = {
            key: embedding(to_device(system.atoms, systems.device))
            for key, system in built.items()
        }
        order = [id(mapping) for mapping in systems.mappings]
        return [built[key] for key in order], torch.cat([rows[key] for key in order])
