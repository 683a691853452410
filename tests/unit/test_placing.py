"""Placing: proper turns, the right hands, centres where they are."""

import numpy as np
import pytest
from backmap_systems import chain, library, md

from cgml.molecules.fragments import Fragments
from cgml.molecules.placing import Placer, random_rotations, turned


def test_turns_are_found_and_never_mirror():
    generator = np.random.default_rng(0)
    clouds = generator.normal(size=(5, 6, 3))
    true = random_rotations(1, generator)[0]
    onto = clouds[0] @ true
    assert turned(clouds[:1], onto)[0] == pytest.approx(true)
    mirrored = turned(clouds * [1, 1, -1], onto)
    assert np.linalg.det(mirrored) == pytest.approx(np.ones(5))


def test_turns_that_nothing_decides_are_drawn():
    """One direction: it is met, and the turn about it is another each time."""
    cloud = np.tile([[[0.3, 0.0, 0.0]]], (50, 1, 1))
    onto = np.array([[0.0, 0.3, 0.0]])
    rotations = turned(cloud, onto, np.random.default_rng(1))
    assert cloud @ rotations == pytest.approx(np.tile(onto, (50, 1, 1)), abs=1e-5)
    side = np.array([0.0, 0.0, 1.0]) @ rotations
    assert np.linalg.norm(side.mean(axis=0)) < 4 / np.sqrt(50)


def test_random_rotations_are_proper_and_even():
    rotations = random_rotations(4000, np.random.default_rng(0))
    assert rotations @ rotations.swapaxes(1, 2) == pytest.approx(
        np.tile(np.eye(3), (4000, 1, 1)), abs=1e-12
    )
    assert np.linalg.det(rotations) == pytest.approx(np.ones(4000))
    assert abs(rotations.mean(axis=0)).max() < 4 / np.sqrt(3 * 4000)


@pytest.fixture(scope="module")
def frame():
    """Atoms of another chain than that of the library."""
    return md(12, n_frames=3).positions[-1].astype(float)


def test_beads_keep_their_centres_and_hands(frame):
    mapping, _, start = chain(12)
    placer = Placer(library(), mapping, start)
    beads = mapping.positions(frame)
    atoms = placer.place(beads, None, np.random.default_rng(0))
    assert mapping.positions(atoms) == pytest.approx(beads, abs=1e-6)
    assert placer.changed_hands(atoms) == 0
    assert placer.changed_hands(atoms * [1, 1, -1]) == 12
    ends = atoms[mapping.graph.bonds]
    lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    assert (lengths > 0.08).all()
    assert (lengths < 0.24).all()
    again = placer.place(beads, None, np.random.default_rng(0))
    assert (again == atoms).all()
    other = placer.place(beads, None, np.random.default_rng(0), heat=5.0)
    assert not np.allclose(other, atoms, atol=1e-3)


def test_a_box_does_not_change_the_fit(frame):
    """Molecules shifted by box vectors get the same atoms, shifted."""
    mapping, _, start = chain(12)
    placer = Placer(library(), mapping, start)
    box = 4.0 * np.eye(3)
    beads = mapping.positions(frame)
    atoms = placer.place(beads, box, np.random.default_rng(0))
    moved = placer.place(beads + box[0], box, np.random.default_rng(0))
    assert moved - box[0] == pytest.approx(atoms, abs=1e-6)


def test_the_other_hand_is_refused():
    mapping, _, start = chain(12)
    with pytest.raises(ValueError, match="has the handedness of its atoms"):
        Placer(library(), mapping, start * [1, 1, -1])


def test_a_mixed_library_needs_a_reference():
    one, other = library(1), library(-1)
    both = {
        kind: type(found)(
            *(
                np.concatenate(pair)
                for pair in zip(found, other.conformers[kind], strict=True)
            )
        )
        for kind, found in one.conformers.items()
    }
    mixed = Fragments(both, one.contacts)
    mapping, _, start = chain(12)
    with pytest.raises(ValueError, match="left- and right-handed in the fragments"):
        Placer(mixed, mapping)
    placer = Placer(mixed, mapping, start * [1, 1, -1])
    atoms = placer.place(mapping.positions(start), None, np.random.default_rng(0))
    assert placer.changed_hands(atoms) == 0


def test_an_unknown_bead_is_named():
    mapping, _, start = chain(3)
    with pytest.raises(ValueError, match=r"there are none of bead 1 \(1 C"):
        Placer(library(), mapping, start)
