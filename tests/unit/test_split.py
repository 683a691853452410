"""Training and validation: other molecules, or later frames of the same ones."""

from pathlib import Path

import numpy as np
import pytest
from core_systems import chain, frames_of, rouse_frames, small_spec

from cgml.formats.trajectory import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.training.card import write_card
from cgml.training.config import DataConfig
from cgml.training.split import (
    CLAIM,
    check_disjoint,
    kinds,
    relaxation,
    split_in_time,
)

SPEC = small_spec()


def one(types: str, bonds: list, **masses: float) -> MolecularGraph:
    table = {"C": 12.011, "H": 1.008, "O": 15.999} | masses
    return MolecularGraph.create(list(types), [table[name] for name in types], bonds)


def still(graph: MolecularGraph, name: str) -> BeadTrajectory:
    mapping = Mapping.from_partition(graph, 2)
    return frames_of(mapping, np.zeros((2, mapping.n_beads, 3)), name=name)


WATER = one("OHH", [(0, 1), (0, 2)])


@pytest.mark.parametrize(
    "other",
    [
        one("OHH", [(0, 1), (0, 2)], H=1.0079),  # another digit of a mass
        one("HOH", [(0, 1), (1, 2)]),  # another order of the atoms
        one("OHHOHH", [(0, 1), (0, 2), (3, 4), (3, 5)]),  # two of them
    ],
)
def test_the_same_molecules(other: MolecularGraph) -> None:
    assert kinds(WATER) == kinds(other)
    with pytest.raises(ValueError, match=r'\'b\' is training .*\'a\'.*split = "time"'):
        check_disjoint([still(WATER, "a")], [still(other, "b")])


@pytest.mark.parametrize(
    ("types", "bonds"),
    [
        ("OHH", [(0, 1), (1, 2)]),  # other bonds
        ("OHC", [(0, 1), (0, 2)]),  # another type
        ("OHHC", [(0, 1), (0, 2)]),  # a molecule more
    ],
)
def test_other_molecules(types: str, bonds: list) -> None:
    other = one(types, bonds)
    assert kinds(WATER) != kinds(other)
    check_disjoint([still(WATER, "a")], [still(other, "b")])


def test_shares_of_molecules_are_a_system() -> None:
    """Another concentration is another system, another size of the box is none."""
    half = one("OHHC", [(0, 1), (0, 2)])
    twice = one("COHHOHHC", [(1, 2), (1, 3), (4, 5), (4, 6)])
    less = one("OHHCC", [(0, 1), (0, 2)])
    assert kinds(half) == kinds(twice) != kinds(less)


def test_long_chains_that_differ_far_from_their_ends() -> None:
    n = 60
    bonds = [(i, i + 1) for i in range(n - 1)]
    first = one("C" * 29 + "OC" + "C" * 29, bonds)
    second = one("C" * 28 + "OCC" + "C" * 29, bonds)
    mirrored = one("C" * 30 + "O" + "C" * 29, bonds)
    assert kinds(first) != kinds(second)
    assert kinds(first) == kinds(mirrored)


def test_the_relaxation_time_is_that_of_the_chain() -> None:
    """The first mode of two beads is their bond: a naive integral of it."""
    mapping = chain("AB" * 2)
    spec = small_spec(prior={"rate": 0.05, "variance": 1.0})
    found = []
    for seed in range(8):
        places = rouse_frames(mapping, spec, 4000, seed)
        found.append(relaxation([frames_of(mapping, places, spacing=2.0)]))
    moves = np.array(found)
    naive = []
    for seed in range(8):
        places = rouse_frames(mapping, spec, 4000, seed)
        bond = places[:, 0] - places[:, 1]
        power = [float((bond[: 4000 - lag] * bond[lag:]).mean()) for lag in range(60)]
        naive.append(2.0 * (np.sum(power) / power[0] - 0.5))
    error = moves.std(ddof=1) / np.sqrt(8) + np.std(naive, ddof=1) / np.sqrt(8)
    assert abs(moves.mean() - np.mean(naive)) < 4.0 * error


def run(n_frames: int = 200, name: str = "melt") -> BeadTrajectory:
    mapping = chain()
    places = rouse_frames(mapping, SPEC, n_frames, 0)
    return frames_of(mapping, places, name=name, rg2=np.arange(n_frames))


def test_last_frames_are_for_validation_behind_a_gap() -> None:
    whole = run()  # frames 10 ps apart
    train, validation, note, _ = split_in_time([whole], 95.0, 0.2)
    assert validation[0].times[0] - train[0].times[-1] == 100.0
    np.testing.assert_array_equal(validation[0].times, whole.times[160:])
    np.testing.assert_array_equal(validation[0].positions, whole.positions[160:])
    assert validation[0].observables["rg2"].tolist() == list(range(160, 200))
    assert len(train[0].times) == 151
    assert note.endswith(CLAIM)
    assert "gap 95 ps (as given)" in note
    exact = split_in_time([whole], 100.0, 0.2)
    assert exact.validation[0].times[0] - exact.train[0].times[-1] == 100.0
    none = split_in_time([whole], 0.0, 0.2)
    assert none.train[0].times[-1] < none.validation[0].times[0]


def test_the_gap_is_five_relaxation_times() -> None:
    whole = run(600)
    train, validation, note, _ = split_in_time([whole], None, 0.25)
    gap = validation[0].times[0] - train[0].times[-1]
    assert gap >= 5.0 * relaxation([whole])
    assert gap < 5.0 * relaxation([whole]) + 20.0
    assert "(5 relaxation times of " in note


def test_a_run_too_short_for_the_gap() -> None:
    match = r"'melt' is too short .* it has 1990 ps, the gap takes 1900 ps \(as given\)"
    with pytest.raises(ValueError, match=match):
        split_in_time([run()], 1900.0, 0.2)


def test_atoms_that_do_not_relax() -> None:
    mapping = Mapping.from_labels(one("OO", []), [0, 1])
    with pytest.raises(ValueError, match=r"no molecule has several beads.*write gap"):
        relaxation([frames_of(mapping, np.zeros((9, 2, 3)))])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, 'validation molecules are required.*split = "time"'),
        ({"validation": ["a"]}, 'a stands under train and .*split = "time"'),
        ({"validation": ["b"], "gap": 5.0}, "gap only says something with split"),
        (
            {"validation": ["b"], "split": "time", "validation_fraction": 0.1},
            "validation_fraction only says something",
        ),
        ({"split": "frame"}, "split"),
        ({"split": "time", "gap": -1.0}, "gap"),
        ({"split": "time", "validation_fraction": 1.0}, "validation_fraction"),
    ],
)
def test_what_the_file_says(options: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        DataConfig.model_validate({"train": ["a"], **options})


def test_the_card_says_what_is_claimed(tmp_path: Path) -> None:
    spec = small_spec(provenance={"split": f"in time; {CLAIM}"})
    spec = spec.model_copy(update={"keep_hydrogens": True})
    write_card(tmp_path / "model.md", spec)
    text = (tmp_path / "model.md").read_text()
    assert CLAIM in text
    assert "hydrogens kept whole" in text
