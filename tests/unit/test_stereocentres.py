"""Which atoms are stereocentres, and which hand they have in a frame."""

from dataclasses import replace

import numpy as np
import pytest

from cgml.molecules import stereocentres
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.masses import elements

CORNERS = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
UNITED = {f"CH{n}": 12.011 + 1.008 * n for n in range(1, 5)}


def molecule(names: str, bonds: str) -> MolecularGraph:
    """Return a graph from names and from bonds like "0-1 1-2"."""
    types = names.split()
    masses = [{**elements(), **UNITED}.get(name, 50.0) for name in types]
    pairs = [[int(i) for i in bond.split("-")] for bond in bonds.split()]
    return MolecularGraph.create(types, masses, pairs)


def star(*names: str) -> MolecularGraph:
    """Return a carbon with these substituents, single atoms."""
    bonds = " ".join(f"0-{k}" for k in range(1, 1 + len(names)))
    return molecule(" ".join(("C", *names)), bonds)


def around_carbon(turn: np.ndarray | None = None) -> np.ndarray:
    """Return a carbon and its four corners, (5, 3)."""
    places = np.concatenate((np.zeros((1, 3)), CORNERS))
    return places if turn is None else places @ turn


ALANINE = (
    "N C C O C H H H H H",  # N, CA, C, O, CB, its three H, H of CA and of N
    "0-1 1-2 2-3 1-4 4-5 4-6 4-7 1-8 0-9",
)
GLYCERALDEHYDE = (
    "C O H C O H H C O H H H",
    "0-1 0-2 0-3 3-4 4-5 3-6 3-7 7-8 8-9 7-10 7-11",
)
PROPYLENE_OXIDE = (
    "CH3 O CH2 CH1 CH3 O CH2 CH1 CH3 O",
    "0-1 1-2 2-3 3-4 3-5 5-6 6-7 7-8 7-9",
)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (star("F", "Cl", "Br", "H"), {0: [3, 2, 1, 4]}),
        (star("F", "Cl", "H", "H"), {}),
        (molecule(*ALANINE), {1: [0, 2, 4, 8]}),
        (molecule(*GLYCERALDEHYDE), {3: [4, 0, 7, 6]}),  # CHO before CH2OH
        (molecule(*PROPYLENE_OXIDE), {3: [5, 2, 4, 3], 7: [9, 6, 8, 7]}),
        (molecule("S O C C H H H H H H", "0-1 0-2 0-3 2-4 2-5 2-6 3-7 3-8 3-9"), {}),
        (molecule("S O CH3 CH2 CH3", "0-1 0-2 0-3 3-4"), {0: [1, 3, 2, 0]}),
        (molecule("C O CH3 CH2 CH3", "0-1 0-2 0-3 3-4"), {}),  # a ketone is flat
        (molecule("N C CH2 CH3 H", "0-1 0-2 2-3 0-4"), {}),  # an amine turns over
        (molecule("M A D K B", "0-1 0-2 0-3 0-4"), {0: [2, 1, 3, 4]}),  # D, A: one mass
        (molecule("M A A K B", "0-1 0-2 0-3 0-4"), {}),
    ],
    ids=[
        *("CHFClBr", "CH2FCl", "alanine", "glyceraldehyde", "propylene oxide"),
        *("DMSO", "sulfoxide", "ketone", "amine", "names", "alike"),
    ],
)
def test_centres_and_the_ranks_of_their_substituents(graph, expected):
    found = stereocentres.find(graph)
    pairs = zip(found.atoms.tolist(), found.corners.tolist(), strict=True)
    assert dict(pairs) == expected


def test_the_hand_is_that_of_cahn_ingold_and_prelog():
    """Seen with the least one (H) behind, Br, Cl, F turn clockwise: R."""
    graph = star("Br", "Cl", "F", "H")
    angles = np.radians([90.0, -30.0, -150.0])
    places = np.stack((np.cos(angles), np.sin(angles), np.full(3, 0.3)), axis=1)
    places = np.concatenate((np.zeros((1, 3)), places, [[0.0, 0.0, -1.0]]))
    centres = stereocentres.find(graph)
    assert stereocentres.hands(centres, places).tolist() == [1]
    assert stereocentres.hands(centres, places * [1.0, 1.0, -1.0]).tolist() == [-1]


def test_rotations_keep_hands_and_mirrors_change_them():
    graph, stream = star("F", "Cl", "Br", "H"), np.random.default_rng(0)
    centres = stereocentres.find(graph)
    turn = np.linalg.qr(stream.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    here = stereocentres.hands(centres, around_carbon())
    assert stereocentres.hands(centres, around_carbon(turn)) == here
    assert stereocentres.hands(centres, around_carbon(-turn)) == -here


def test_every_molecule_of_a_racemate_has_its_own_hand():
    one = star("F", "Cl", "Br", "H")
    both = MolecularGraph.create(
        one.types * 2,
        np.tile(one.masses, 2),
        np.concatenate((one.bonds, one.bonds + 5)),
    )
    frames = np.concatenate((around_carbon(), -around_carbon()))[None]
    mapping = Mapping.from_labels(both, np.repeat([0, 1], 5)).with_hands(frames)
    assert sorted(mapping.hands[[0, 5]].tolist()) == [-1, 1]
    assert mapping.hand_counts == {"R": 1, "S": 1}


def test_an_atom_that_turns_over_has_no_hand_whenever_it_does_so():
    mapping = Mapping.from_labels(star("F", "Cl", "Br", "H"), [0] * 5)
    frames = np.stack([around_carbon(), around_carbon(), -around_carbon()])
    assert mapping.hand_counts == {"not known": 1}
    known = mapping.with_hands(frames[:1])
    assert known.with_hands(frames[1:2]) is known
    assert abs(known.hands[0]) == 1
    for found in (mapping.with_hands(frames), known.with_hands(frames[2:])):
        assert found.hand_counts == {"unsettled": 1}


def test_what_has_no_centres_stays_as_it_is():
    mapping = Mapping.from_labels(star("F", "Cl", "H", "H"), [0] * 5)
    assert mapping.with_hands(around_carbon()[None]) is mapping
    assert mapping.hand_counts == {}


def test_hands_travel_with_the_mapping():
    plain = Mapping.from_labels(star("F", "Cl", "Br", "H"), [0] * 5)
    seen = plain.with_hands(around_carbon()[None])
    back = Mapping.from_json(seen.to_json())
    np.testing.assert_array_equal(back.hands, seen.hands)
    assert "hands" not in plain.to_json()
    mirrored = replace(plain, hands=-seen.hands)
    assert len({plain.hash(), seen.hash(), mirrored.hash()}) == 3
    with pytest.raises(
        ValueError, match=r"hands must be 1, -1 or 0 of each of 5 atoms"
    ):
        Mapping.from_json(seen.to_json().replace('"hands": [', '"hands": [7, '))


def test_substituents_that_differ_far_away_alone_are_alike():
    """The two arms of a monomer in a chain: tacticity is no handedness of an atom."""
    n = 2 * stereocentres.REACH
    arms = [(k, k + 1) for k in range(2, n + 1)] + [(0, 2)]
    other = [(k, k + 1) for k in range(n + 2, 2 * n + 3)] + [(0, n + 2)]
    bonds = np.array([(0, 1), *arms, *other])
    types = ["CH1", "CH3"] + ["CH2"] * (2 * n + 2)
    masses = [UNITED[name] for name in types]
    graph = MolecularGraph.create(types, masses, bonds)
    assert not len(stereocentres.find(graph).atoms)
