"""What is in a system: kinds of molecules, their names, charges and pairs."""

from dataclasses import replace

import numpy as np
import pytest
from electrolyte_systems import electrolyte

from cgml.evaluation.subject import Run, Subject, describe, formula
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping

CHARGES = {"C": 1.0, "D": -1.0}
N_FRAMES = 3


def system(
    molecules: str, *, atoms_per_bead: float = 2.0, name: str = "box"
) -> BeadTrajectory:
    """Return resting beads of unbranched molecules, one word each."""
    bonds, types = [], ""
    for word in molecules.split():
        first = len(types)
        bonds += [[first + k, first + k + 1] for k in range(len(word) - 1)]
        types += word
    graph = MolecularGraph.create(types, np.ones(len(types)), np.array(bonds, int))
    mapping = Mapping.from_partition(graph, atoms_per_bead)
    frames = np.zeros((N_FRAMES, mapping.n_beads, 3), dtype=np.float32)
    return BeadTrajectory(
        mapping, frames, np.arange(N_FRAMES), 6.0 * np.eye(3), name=name
    )


def one(molecules: str, charges: dict | None = None, **options) -> Subject:
    (subject,) = describe([system(molecules)], charges=charges, **options)
    return subject


def sizes(subject: Subject) -> dict[str, int]:
    return {name: len(beads) for name, beads in subject.species.items()}


def test_species_get_their_names():
    found = one("AABB AABB C C C D D D", CHARGES, temperature=300.0)
    assert sizes(found) == {"cation": 3, "anion": 3, "A2B2": 4}
    assert list(found.species) == ["cation", "anion", "A2B2"]
    assert found.charges is not None
    assert found.charges[found.species["anion"]].tolist() == [-1.0] * 3
    assert found.temperature == 300.0


def test_without_charges_species_are_named_by_formula():
    found = one("AABB C D")
    assert list(found.species) == ["A2B2", "C", "D"]
    assert found.charges is None


def test_a_box_of_one_kind_of_molecules_has_one_pair():
    found = one("AABA AABA AABA")
    assert sizes(found) == {"A3B": 6}
    assert found.pairs == {"A3B-A3B": ("A3B", "A3B")}


def test_kinds_of_polymers_are_told_apart_and_all_pairs_appear():
    found = one("AAAA BBBB AAAA BBBB C C", {"C": 1.0})
    assert list(found.species) == ["cation", "A4", "B4"]
    assert list(found.pairs) == [
        "cation-cation",
        "cation-A4",
        "cation-B4",
        "A4-A4",
        "A4-B4",
        "B4-B4",
    ]


def test_a_molecule_makes_no_pair_with_itself():
    assert list(one("AAAA C C").pairs) == ["A4-C", "C-C"]


def test_an_anion_of_several_beads_is_one():
    charges = {"C": 1.0, "D": -0.25}
    found = one("AABB C C DDDD DDDD", charges)
    assert sizes(found) == {"cation": 2, "anion": 4, "A2B2": 2}
    assert found.molecule_charges("anion").tolist() == [-1.0, -1.0]
    assert found.molecule_charges("A2B2").tolist() == [0.0]


def test_charges_that_cancel_leave_a_molecule_neutral():
    found = one("PQR PQR C", {"P": 0.1, "Q": 0.2, "R": -0.3, "C": 1.0})
    assert list(found.species) == ["cation", "PQR"]
    assert found.molecule_charges("PQR").tolist() == [0.0, 0.0]


def test_two_kinds_of_cations_keep_their_formulas():
    assert list(one("C E D", {"C": 1.0, "E": 2.0, "D": -1.0}).species) == [
        "anion",
        "C",
        "E",
    ]


def test_the_user_names_species():
    boxes = [system("AABB AABB C"), system("ABBB ABBB C")]
    found = describe(boxes, names={"A*B*": "polymer", "C": "lithium"})
    assert [list(item.species) for item in found] == [["polymer", "lithium"]] * 2


def test_ions_that_the_user_names_stay_so():
    found = one("C E D", {"C": 1.0, "D": -1.0}, names={"C": "lithium"})
    assert list(found.species) == ["lithium", "anion", "E"]


def test_kinds_of_one_name_are_one_species():
    found = one("AAAA AAAAAA AA", names={"A*": "A"})
    assert sizes(found) == {"A": 6}
    assert list(found.pairs) == ["A-A"]


@pytest.mark.parametrize(
    ("types", "text"),
    [("BABAB", "A2B3"), ("+", "+"), (["C1", "C1"], "C1(2)"), (["C1"], "C1")],
)
def test_formula(types, text):
    assert formula(types) == text


def test_pieces_are_the_run():
    run = Run(np.random.default_rng(0).normal(size=(2, 11, 4, 3)), 2.0)
    first, second = run.pieces(2)
    assert (first.n_frames, second.n_frames) == (6, 5)
    both = np.concatenate((first.positions, second.positions), axis=1)
    np.testing.assert_array_equal(both, run.positions)
    assert run.first(3).duration == 6.0


def many(n: int) -> BeadTrajectory:
    return system(" ".join("A" * k for k in range(1, n + 1)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Run(np.zeros((5, 4, 3)), 1.0), r"got \(5, 4, 3\)"),
        (lambda: Run(np.full((1, 5, 4, 3), np.nan), 1.0), "must be finite"),
        (
            lambda: replace(electrolyte(), species={"cation": np.arange(6)}),
            "all 24 beads are required, each bead in one, got cation: 6",
        ),
        (
            lambda: replace(electrolyte(), charges=np.zeros(3)),
            "24 charges are required, got 3",
        ),
        (
            lambda: replace(electrolyte("free"), box=None).cell,
            "periodic box is required, 'free' has open",
        ),
        (
            lambda: one("AABB C", names={"A*": "polymer", "X*": "solvent"}),
            r"'solvent'.*'X\*' fits none of A2B2, C",
        ),
        (
            lambda: describe([many(9)]),
            r"at most 8 kinds.*'box' has 9, A, A2, A3, A4.*--species",
        ),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
