from dataclasses import replace

import numpy as np
import pytest

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.molecules.united import as_known, cut, united

KNOWN = {"CH3": 15.035, "CH2": 14.027, "O": 15.999}
MASSES = {"C": 12.011, "H": 1.008, "O": 15.999, "N": 14.007}


def graph(types: str, bonds: list[list[int]]) -> MolecularGraph:
    return MolecularGraph.create(types, [MASSES[name] for name in types], bonds)


def ether() -> MolecularGraph:
    """CH3-O-CH3, hydrogens first and last."""
    bonds = [[0, 3], [1, 3], [2, 3], [3, 4], [4, 5], [5, 6], [5, 7], [5, 8]]
    return graph("HHHCOCHHH", bonds)


def test_hydrogens_join_their_carbon():
    found, place = united(ether(), KNOWN)
    assert found.types == ("CH3", "O", "CH3")
    np.testing.assert_allclose(found.masses, [15.035, 15.999, 15.035])
    assert found.bonds.tolist() == [[0, 1], [1, 2]]
    assert place.tolist() == [0, 0, 0, 0, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("known", [MASSES, MASSES | KNOWN])
def test_a_model_of_all_atoms_keeps_them(known):
    whole = ether()
    assert united(whole, known)[0] is whole


def test_what_is_known_as_no_united_atom_stays():
    """Water beside an ether: its hydrogens have no united atom to join."""
    both = graph("OHHCHHHOCHHH", [
        *([0, 1], [0, 2], [3, 4], [3, 5], [3, 6], [3, 7], [7, 8]),
        *([8, 9], [8, 10], [8, 11]),
    ])  # fmt: skip
    for known in (KNOWN, KNOWN | {"H": 1.008}):
        assert united(both, known)[0].types == ("O", "H", "H", "CH3", "O", "CH3")


def test_another_mass_is_another_atom():
    whole = ether()
    assert united(whole, {"CH3": 14.0, "O": 15.999})[0] is whole


def test_beads_are_the_same():
    mapping = Mapping.from_labels(ether(), [0, 0, 0, 0, 0, 1, 1, 1, 1])
    seen = as_known(mapping, KNOWN)
    assert seen.bead_index.tolist() == [0, 0, 1]
    np.testing.assert_allclose(seen.bead_masses, mapping.bead_masses, atol=0.01)
    assert as_known(mapping, MASSES) is mapping
    assert seen.hands is None
    hands = np.array([0, 0, 0, 1, 0, -1, 0, 0, 0], dtype=np.int8)
    known = as_known(replace(mapping, hands=hands), KNOWN)
    assert known.hands.tolist() == [1, 0, -1]


def test_hydrogens_in_another_bead_are_refused():
    mapping = Mapping.from_labels(ether(), [1, 0, 0, 0, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"in the bead of their heavy atom.*atom \d"):
        as_known(mapping, KNOWN)


def test_beads_are_cut_as_those_of_the_united_atoms():
    """Two heavy atoms to a bead, hydrogens with theirs; without a model, two atoms."""
    recipe, whole = Recipe(2.0), graph("CCOCC", [[0, 1], [1, 2], [2, 3], [3, 4]])
    heavy = np.repeat(np.arange(5), [3, 2, 0, 2, 3])  # of each hydrogen
    bonds = [*whole.bonds.tolist(), *([i, 5 + k] for k, i in enumerate(heavy.tolist()))]
    atoms = graph("CCOCC" + "H" * 10, bonds)
    mapping = cut(atoms, KNOWN, recipe)
    assert mapping.graph is atoms
    seen = as_known(mapping, KNOWN)
    expected = Mapping.from_recipe(united(atoms, KNOWN)[0], recipe).bead_index
    assert seen.bead_index.tolist() == expected.tolist()
    assert mapping.bead_index[5:].tolist() == expected[heavy].tolist()
    plain = Mapping.from_recipe(atoms, recipe)
    assert cut(atoms, {}, recipe).bead_index.tolist() == plain.bead_index.tolist()
