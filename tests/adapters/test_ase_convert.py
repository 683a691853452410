import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase_systems import DATA_FILE, N_ATOMS, N_BEADS, NAMES, read_chain

from ase_cgml import CGMLDynamics, bead_atoms, graph_from_atoms
from ase_cgml.convert import (
    box_from_atoms,
    guessed_bonds,
    lammps_bonds,
    particle_types,
)
from ase_cgml.record import pack_mapping, unpack_mapping
from cgml.models.file import load_model


@pytest.fixture
def spec(tiny_model):
    return load_model(tiny_model).spec


def test_lammps_file_gives_the_graph_it_was_written_with(spec):
    graph = graph_from_atoms(read_chain(), spec, type_names=NAMES)
    rows = [line.split() for line in DATA_FILE.read_text().splitlines()]
    types = [NAMES[int(row[2])] for row in rows if len(row) == 6]
    assert list(graph.types) == types
    expected = [[i, i + 1] for i in range(N_ATOMS - 1)]
    assert graph.bonds.tolist() == expected
    assert (graph.masses == 1.0).all()
    assert set(graph.bond_types) == set(spec.bond_types)


def test_lammps_bonds_of_a_branched_atom():
    atoms = Atoms("XXXX")
    atoms.arrays["bonds"] = np.array(["1(2),3(1)", "_", "1(12)", "_"])
    pairs, numbers = lammps_bonds(atoms)
    assert pairs.tolist() == [[0, 1], [0, 3], [2, 1]]
    assert numbers == [2, 1, 12]


def test_several_bond_types_keep_their_lammps_number(spec):
    spec = spec.model_copy(update={"bond_types": ["1", "2"]})
    graph = graph_from_atoms(read_chain(), spec, type_names=NAMES)
    assert set(graph.bond_types) == {"1"}


def test_element_symbols_are_the_types_where_none_are_named():
    assert particle_types(molecule("H2O")) == ["O", "H", "H"]


def test_bonds_guessed_from_covalent_radii():
    ethanol = molecule("CH3CH2OH")  # C C O H H H H H H
    pairs = guessed_bonds(ethanol)
    degrees = np.bincount(pairs.ravel()).tolist()
    assert len(pairs) == 8
    assert degrees == [{"C": 4, "O": 2, "H": 1}[atom.symbol] for atom in ethanol]


@pytest.mark.parametrize("metal", ["Li", "Na", "Mg", "K"])
def test_ions_of_metals_have_no_guessed_bonds(metal):
    """Lithium is as near to the oxygens around it as a covalent bond would be."""
    atoms = molecule("H2O") + Atoms(metal, [[0.0, 0.0, 2.0]])
    assert guessed_bonds(atoms).tolist() == [[0, 1], [0, 2]]


def test_guessed_bonds_reach_through_a_periodic_face():
    atoms = Atoms("HH", [[0.1, 0, 0], [9.5, 0, 0]], cell=[10, 10, 10], pbc=True)
    assert guessed_bonds(atoms).tolist() == [[0, 1]]


def test_guess_is_a_last_resort(spec):
    atoms = read_chain()
    with_bonds = graph_from_atoms(atoms, spec, type_names=NAMES, guess=True)
    assert len(with_bonds.bonds) == N_ATOMS - 1


def test_open_boundaries_have_no_box(spec):
    assert box_from_atoms(read_chain(), spec) is None


def test_box_is_in_nanometres(spec):
    periodic = spec.model_copy(update={"periodic": True})
    atoms = Atoms("X", cell=[[20, 0, 0], [5, 20, 0], [0, 0, 30]], pbc=True)
    expected = [[2, 0, 0], [0.5, 2, 0], [0, 0, 3]]
    assert box_from_atoms(atoms, periodic).tolist() == expected


def test_bead_atoms_are_the_centres_of_mass(tiny_model):
    atoms = read_chain()
    mapping = CGMLDynamics(tiny_model, type_names=NAMES).mapping(atoms)
    beads = bead_atoms(atoms, mapping)
    assert len(beads) == N_BEADS
    centres = atoms.positions.reshape(N_BEADS, -1, 3).mean(axis=1)
    np.testing.assert_allclose(beads.positions, centres, rtol=0, atol=1e-12)
    assert beads.get_masses().tolist() == mapping.bead_masses.tolist()


def test_packed_mapping_is_read_back_whole(tiny_model):
    mapping = CGMLDynamics(tiny_model, type_names=NAMES).mapping(read_chain())
    text = pack_mapping(mapping)
    assert unpack_mapping(text).hash() == mapping.hash()
    assert len(text) < 0.3 * len(mapping.to_json())


@pytest.mark.parametrize("kind", ["graph", "mapping", "mdtraj"])
def test_topology_is_taken_where_the_atoms_have_none(tiny_model, spec, kind):
    mdtraj = pytest.importorskip("mdtraj")
    known = CGMLDynamics(tiny_model, type_names=NAMES).mapping(read_chain())
    chain = mdtraj.Topology()
    residue = chain.add_residue("POL", chain.add_chain())
    for name in known.graph.types:
        chain.add_atom(name, mdtraj.element.virtual, residue)
    for i, j in known.graph.bonds:
        chain.add_bond(chain.atom(i), chain.atom(j))
    topology = {"graph": known.graph, "mapping": known, "mdtraj": chain}[kind]
    bare = Atoms(positions=read_chain().positions)
    found = CGMLDynamics(tiny_model, topology=topology).mapping(bare)
    assert found.hash() == known.hash()
