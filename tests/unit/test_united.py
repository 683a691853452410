"""United atoms are told by masses, and who has only elements is told so."""

import mdtraj
import numpy as np
import pytest

from cgml.formats.topology import from_mdtraj
from cgml.molecules.graph import MolecularGraph, type_index
from cgml.molecules.masses import UnknownMassesError, united_hint

UNITED = {"CH2": 14.027, "CH3": 15.035, "O": 15.999}


@pytest.mark.parametrize(
    ("name", "is_said"), [("C", True), ("O", False), ("N", True), ("CH", False)]
)
def test_hint_only_where_it_helps(name, is_said):
    """N is what CH2 becomes where a reader finds elements by masses."""
    assert bool(united_hint(name, UNITED)) == is_said


def test_unknown_element_of_a_united_atom_names_the_way():
    graph = MolecularGraph.create(["C", "C"], [12.011, 12.011], [(0, 1)])
    with pytest.raises(UnknownMassesError, match=r"masses: give .*--system"):
        type_index(graph, list(UNITED))


def test_masses_of_atoms_tell_the_types_of_a_topology():
    topology = mdtraj.Topology()
    residue = topology.add_residue("DME", topology.add_chain())
    atoms = [
        topology.add_atom(
            f"{symbol}{i}", mdtraj.element.Element.getBySymbol(symbol), residue
        )
        for i, symbol in enumerate("COC")
    ]
    topology.add_bond(atoms[0], atoms[1])
    topology.add_bond(atoms[1], atoms[2])
    assert list(from_mdtraj(topology, UNITED).types) == ["C", "O", "C"]
    masses = np.array([15.035, 15.999, 15.035])
    graph = from_mdtraj(topology, UNITED, masses)
    assert list(graph.types) == ["CH3", "O", "CH3"]
    np.testing.assert_allclose(graph.masses, masses)
