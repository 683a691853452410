"""A molecule whose bonds are partly missing is refused, whatever describes it."""

import numpy as np
import openmm
import pytest
from ase import Atoms
from openmm import app

from ase_cgml import graph_from_atoms
from cgml.dynamics import passengers
from cgml.models.file import load_model
from cgml.molecules import hand
from openmm_cgml import convert, systems

BONDS = [(0, 1), (2, 3)]  # none from 1 to 2
TYPES = "ABAB"


@pytest.fixture
def spec(tiny_model):
    return load_model(tiny_model).spec


def topology(groups: str) -> app.Topology:
    found = app.Topology()
    chain, residues = found.addChain(), {}
    for name, group in zip(TYPES, groups, strict=True):
        if group not in residues:
            residues[group] = found.addResidue("PEO", chain)
        found.addAtom(name, None, residues[group])
    atoms = list(found.atoms())
    for i, j in BONDS:
        found.addBond(atoms[i], atoms[j])
    return found


def system(angles: list) -> openmm.System:
    found = openmm.System()
    bonds, bent = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    exclusions = openmm.NonbondedForce()
    for mass in (1.0, 2.0, 1.0, 2.0):
        found.addParticle(mass)
        exclusions.addParticle(0.0, 1.0, 0.0)
    for i, j in BONDS:
        bonds.addBond(i, j, 0.1, 1.0)
        exclusions.addException(i, j, 0.0, 1.0, 0.0)
    for i, j, k in angles:
        bent.addAngle(i, j, k, 2.0, 1.0)
        exclusions.addException(i, k, 0.0, 1.0, 0.0)
    for force in (bonds, bent, exclusions):
        found.addForce(force)
    return found


def test_openmm_topology(spec) -> None:
    match = (
        r"connect the atoms of residue PEO 1 \(chain 1\), its 4 atoms are 2 separate"
    )
    with pytest.raises(ValueError, match=match):
        convert.resolve_mapping(topology("1111"), spec)
    assert convert.resolve_mapping(topology("1122"), spec).graph.n_molecules == 2


def test_beads_by_hand_know_residues_of_openmm(spec) -> None:
    graph = convert.graph_from_topology(topology("1122"), spec.particle_types)
    bead = hand.Bead(name="X", residue="PEO", atoms=["*"])
    assert hand.assign(graph, [bead], "beads.toml").n_beads == 2


def test_openmm_system(spec) -> None:
    masses = {"A": 1.0, "B": 2.0}
    graph = systems.graph_from_system(system([]), masses)
    assert passengers.resolve_mapping(graph, spec).graph.n_molecules == 2
    broken = systems.graph_from_system(system([(0, 1, 2)]), masses)
    with pytest.raises(ValueError, match="what exclusions and angles join to particle"):
        passengers.resolve_mapping(broken, spec)


@pytest.mark.parametrize("array", ["mol-id", "residuenumbers"])
def test_ase_atoms(spec, array: str) -> None:
    atoms = Atoms("XXXX", masses=[1.0] * 4)
    atoms.arrays["type"] = np.array([1, 2, 1, 2])
    atoms.arrays["bonds"] = np.array(["1(1)", "_", "3(1)", "_"])
    atoms.arrays["id"] = np.arange(1, 5)
    atoms.arrays[array] = np.array([1, 1, 2, 2])
    names = {1: "A", 2: "B"}
    graph = graph_from_atoms(atoms, spec, type_names=names)
    assert passengers.resolve_mapping(graph, spec).graph.n_molecules == 2
    atoms.arrays[array] = np.array([1, 1, 1, 1])
    graph = graph_from_atoms(atoms, spec, type_names=names)
    with pytest.raises(
        ValueError, match=r"connect the atoms of (molecule|residue)\s+1"
    ):
        passengers.resolve_mapping(graph, spec)
