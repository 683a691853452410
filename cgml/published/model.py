"""Published models: networks, vocabulary, and systems to run."""

import re
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from cgml.contract.atoms import Atoms, bond_graph, known_types
from cgml.molecules.graph import bond_type_index
from cgml.molecules.mapping import Mapping
from cgml.published.networks import (
    PublishedDynamics,
    PublishedEmbedding,
    PublishedHead,
    PublishedScore,
)
from cgml.published.spec import HyperParameters, PublishedSpec

_ATOMIC_WEIGHTS = """
H 1.008  He 4.002602  Li 6.94  Be 9.0121831  B 10.81  C 12.011  N 14.007  O 15.999
F 18.9984032  Ne 20.1797  Na 22.9897693  Mg 24.305  Al 26.9815385  Si 28.085
P 30.973762  S 32.06  Cl 35.45  Ar 39.948  K 39.0983  Ca 40.078  Sc 44.955908
Ti 47.867  V 50.9415  Cr 51.9961  Mn 54.938044  Fe 55.845  Co 58.933194  Ni 58.6934
Cu 63.546  Zn 65.38  Ga 69.723  Ge 72.63  As 74.921595  Se 78.971  Br 79.904
Kr 83.798  Rb 85.4678  Sr 87.62  Y 88.90584  Zr 91.224  Nb 92.90637  Mo 95.95
Tc 97.90721  Ru 101.07  Rh 102.9055  Pd 106.42  Ag 107.8682  Cd 112.414  In 114.818
Sn 118.71  Sb 121.76  Te 127.6  I 126.90447  Xe 131.293  Cs 132.905452  Ba 137.327
La 138.90547  Ce 140.116  Pr 140.90766  Nd 144.242  Pm 144.91276  Sm 150.36
Eu 151.964  Gd 157.25  Tb 158.92535  Dy 162.5  Ho 164.93033  Er 167.259  Tm 168.93422
Yb 173.054  Lu 174.9668  Hf 178.49  Ta 180.94788  W 183.84  Re 186.207  Os 190.23
Ir 192.217  Pt 195.084  Au 196.966569  Hg 200.592  Tl 204.38  Pb 207.2  Bi 208.9804
Po 208.98243  At 209.98715  Rn 222.01758  Fr 223.01974  Ra 226.02541  Ac 227.02775
Th 232.0377  Pa 231.03588  U 238.02891
"""
ATOMIC_WEIGHTS: dict[str, float] = {
    entry.split()[0]: float(entry.split()[1])
    for entry in re.split(r"  |\n", _ATOMIC_WEIGHTS.strip())
}
"""Symbol -> standard atomic weight, Da, by atomic number; IUPAC 2016, as published."""


def particle_types(parameters: HyperParameters) -> dict[str, float]:
    """Name -> mass (Da) of the particle types of a model.

    Element symbols where types are atomic numbers, else the numbers from 0 as text.
    """
    if parameters.use_atom_mass:
        n_elements = parameters.num_ptypes - 1  # row 0 is no element
        return dict(list(ATOMIC_WEIGHTS.items())[:n_elements])
    return {str(number): 1.0 for number in range(parameters.num_ptypes)}


def bond_types(parameters: HyperParameters) -> list[str]:
    """Names of the bond types of a model: LAMMPS bond type numbers as text.

    The numbers are those of the authors' data files. Empty: any name will do.
    """
    return [str(number) for number in range(parameters.num_btypes)]


class PublishedSystem(NamedTuple):
    """One system as the published networks take it."""

    atoms: Atoms  # masses in Da, types and bond types as rows in the file
    bonds: torch.Tensor  # (n, 2) beads of every bond of beads, both ways
    masses: torch.Tensor  # (n_beads, 1) float32 Da


def build_published_system(mapping: Mapping, spec: PublishedSpec) -> PublishedSystem:
    """Look up types, bond types and masses of a system.

    Args:
        mapping: atoms and beads; particle types and bond types named as
            `particle_types` and `bond_types` do.
        spec: of the model.

    Raises:
        ValueError: A particle type or bond type is unknown, or a particle has not the
            mass of its type.
    """
    graph, parameters = mapping.graph, spec.parameters
    types, masses = (torch.from_numpy(part) for part in known_types(graph, spec))
    kinds = np.zeros(len(graph.bonds), dtype=np.int64)
    if parameters.num_btypes:
        kinds = bond_type_index(graph, bond_types(parameters))
    bonds, beads = torch.tensor(graph.bonds), torch.tensor(mapping.bead_index)
    rows = types + int(parameters.use_atom_mass)
    vertices = (rows, masses, torch.zeros(len(rows), 0))
    atoms = bond_graph(vertices, bonds, torch.from_numpy(kinds), beads)
    joined = torch.from_numpy(mapping.bead_bonds)
    sums = torch.bincount(beads, weights=masses)
    return PublishedSystem(
        atoms, torch.cat((joined, joined.flip(1))), sums.float().unsqueeze(1)
    )


class PublishedModel(nn.Module):
    """Container of the published networks; the stepper calls them one by one.

    Args:
        parameters: of the file.
        n_embedding: width of the beads' embedding.
        length_unit: unit of length of the model, nm.

    Attributes:
        score: None for a model named "gns".
        property_head: None where the file has none.
    """

    length_unit: torch.Tensor

    def __init__(
        self, parameters: HyperParameters, n_embedding: int, length_unit: float
    ) -> None:
        super().__init__()
        self.register_buffer(
            "length_unit", torch.tensor(length_unit, dtype=torch.float64)
        )
        n_node = parameters.dynamics_gn_hparams.latent_dim
        score, head = parameters.score_gn_hparams, parameters.property_net_hparams
        self.embedding = PublishedEmbedding(parameters, n_embedding)
        self.dynamics = PublishedDynamics(parameters, n_embedding)
        self.score = (
            PublishedScore(parameters, score)
            if parameters.name == "pnr" and score is not None
            else None
        )
        self.property_head = (
            PublishedHead(n_node, head.units, head.layers, head.out_dim)
            if head is not None
            else None
        )


def published_model(spec: PublishedSpec) -> PublishedModel:
    """Networks of a spec, to be filled with weights."""
    return PublishedModel(spec.parameters, spec.n_embedding, spec.length_unit)
