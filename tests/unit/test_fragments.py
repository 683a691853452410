"""Fragments: kinds of beads, conformers that tell hands, files."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from backmap_systems import chain, library, md

from cgml.molecules.collecting import Collector, bonded_pairs, with_images
from cgml.molecules.fragments import (
    FARTHEST_CONTACT,
    Fragments,
    beside,
    carry,
    joined,
)
from cgml.molecules.frames import Trajectory, cut
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.sites import Kind, sites


def test_kinds_do_not_depend_on_numbering():
    mapping, _, _ = chain(6)
    order = np.random.default_rng(0).permutation(mapping.graph.n_atoms)
    shuffled = Mapping.from_labels(
        mapping.graph.select(order), mapping.bead_index[order]
    )
    before, after = sites(mapping), sites(shuffled)
    assert [site.kind for site in after] == [site.kind for site in before]
    for one, other in zip(before, after, strict=True):
        same = order[other.members]
        assert sorted(same) == sorted(one.members)
        types = [mapping.graph.types[i] for i in same]
        assert types == [mapping.graph.types[i] for i in one.members]
    assert len({site.kind for site in before}) == 2  # an end and a middle
    assert [len(site.anchors) for site in before] == [1, 2, 1]
    assert before[1].beads.tolist() in ([0, 2], [2, 0])


def test_a_kind_is_known_by_its_key():
    kind = sites(chain(4)[0])[0].kind
    assert Kind.of_key(kind.key()) == kind
    with pytest.raises(ValueError, match="is no kind of bead"):
        Kind.of_key('[["C"], 2, []]')


def test_hands_are_signs_of_volumes_and_flat_atoms_have_none():
    kind = sites(chain(4)[0])[0].kind
    points = chain(4)[2][sites(chain(4)[0])[0].members]
    signs = kind.signs(points)
    assert len(signs) == 2
    assert np.abs(signs).tolist() == [1, 1]
    assert kind.signs(points * [1, 1, -1]).tolist() == (-signs).tolist()
    flat = Mapping.from_labels(
        MolecularGraph.create(
            ["C", "O", "F", "Cl"], np.ones(4), [[0, 1], [0, 2], [0, 3]]
        ),
        [0, 0, 0, 0],
    )
    (site,) = sites(flat)
    around = np.array([[0, 0, 0], [1, 0, 0], [-0.5, 0.9, 0], [-0.5, -0.9, 0.1]])
    assert site.kind.signs(around[site.members]).tolist() == [0]


def test_atoms_with_two_equal_ends_and_amines_have_no_hand():
    for types in (["C", "H", "H", "F"], ["N", "H", "F", "Cl"]):
        graph = MolecularGraph.create(types, np.ones(4), [[0, 1], [0, 2], [0, 3]])
        (site,) = sites(Mapping.from_labels(graph, [0, 0, 0, 0]))
        assert not len(site.kind.centres)


def test_pieces_do_not_matter():
    mapping, whole = chain(8)[0], md()
    one, many = Collector(10), Collector(10)
    list(one.watch([whole], mapping))
    list(many.watch((cut(whole, slice(k, k + 7)) for k in range(0, 40, 7)), mapping))
    assert one.fragments().digest() == many.fragments().digest()


def test_a_long_trajectory_is_thinned():
    mapping, whole = chain(8)[0], md()
    collector = Collector(10)
    pieces = (
        Trajectory(whole.graph, whole.positions, 4.0 * k + whole.times)
        for k in range(20)
    )
    list(collector.watch(pieces, mapping))
    frames = collector._pools[0].frames
    assert 48 <= len(frames) < 96
    assert len(set(np.diff(list(frames)))) == 1


def test_mirror_images_are_unlike():
    """A library of both hands keeps both."""
    mapping, whole = chain(8)[0], md()
    mirrored = whole.positions[:1] * np.float32([1, 1, -1])
    both = np.concatenate((whole.positions[:1], mirrored))
    collector = Collector(4)
    list(collector.watch([Trajectory(whole.graph, both, np.arange(2.0))], mapping))
    for kind, found in collector.fragments().conformers.items():
        assert {-1, 1} <= set(kind.signs(found.points).ravel().tolist())
        assert found.shares.sum() == pytest.approx(1.0)


def test_files_keep_everything(tmp_path):
    fragments = library()
    fragments.save(tmp_path / "a.npz")
    again = Fragments.load(tmp_path / "a.npz")
    assert again.digest() == fragments.digest()
    assert again.contacts == pytest.approx(fragments.contacts)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.npz cannot be read as fragments"):
        Fragments.load(tmp_path / "cut.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz is no file of fragments"):
        Fragments.load(tmp_path / "other.npz")


def test_fragments_lie_beside_a_model(tmp_path):
    with pytest.raises(ValueError, match=r"no fragments beside .*--fragments"):
        beside(tmp_path / "model.pt")
    library().save(tmp_path / "model.fragments.npz")
    assert beside(tmp_path / "model.pt").name == "model.fragments.npz"


def test_fragments_go_with_the_model(tmp_path):
    """Those of all folders of training frames; folders without any are passed over."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    carry([tmp_path / "c"], tmp_path / "model.pt")
    assert not list(tmp_path.glob("*.npz"))
    library(1).save(tmp_path / "a" / "fragments.npz")
    library(-1).save(tmp_path / "b" / "fragments.npz")
    carry([tmp_path / name for name in "abc"], tmp_path / "model.pt")
    found = Fragments.load(beside(tmp_path / "model.pt"))
    assert found.digest() == joined([library(1), library(-1)]).digest()


def test_libraries_are_joined():
    one, other = library(1), library(-1)
    both = joined([one, other])
    for kind, found in both.conformers.items():
        own = len(one.conformers[kind].points), len(other.conformers[kind].points)
        assert len(found.points) == sum(own)
        assert found.shares.sum() == pytest.approx(1.0)
    for types, distance in both.contacts.items():
        known = [
            item.contacts[types] for item in (one, other) if types in item.contacts
        ]
        assert distance == min(known)


def test_contacts_are_distances_of_md_and_unknown_ones_the_farthest():
    table = library().contact_table(["F", "Xx"])
    assert 0.15 < table[0, 0] < FARTHEST_CONTACT
    assert table[0, 1] == table[1, 0] == FARTHEST_CONTACT


def test_pairs_along_bonds():
    graph = MolecularGraph.create("AAAAA", np.ones(5), [[i, i + 1] for i in range(4)])
    keys = bonded_pairs(graph, 3)
    pairs = {(int(key) // 5, int(key) % 5) for key in keys}
    assert pairs == {(i, j) for i in range(5) for j in range(i, 5) if j - i <= 3}


def test_images_within_the_margin():
    box = np.array([[2.0, 0, 0], [0.5, 2.0, 0], [0, 0, 2.0]])
    points = np.random.default_rng(0).uniform(-3, 3, (20, 3))
    found, index = with_images(points, box, 0.5)
    shifts = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3), -1).reshape(-1, 3) @ box
    naive = np.linalg.norm(
        found[:20, None, None] - (found[:20][None] + shifts[:, None])[None], axis=-1
    )
    near = np.linalg.norm(found[:20, None] - found[None], axis=-1)
    for atom in range(20):
        wanted = np.sort(naive[atom][naive[atom] < 0.5])
        assert np.sort(near[atom][near[atom] < 0.5]) == pytest.approx(wanted)
    assert (index[:20] == np.arange(20)).all()


def test_a_bundled_model_brings_its_own():
    """Beads of two EO, at an end and within, of one at an end, Li and TFSI."""
    folder = Path(str(files("cgml"))) / "models"
    found = Fragments.load(beside(folder / "peo-litfsi.pt")).conformers
    sizes = {(kind.n_atoms, len(kind.types) - kind.n_atoms) for kind in found}
    assert sizes == {(6, 1), (6, 2), (3, 1), (1, 0), (15, 0)}
    for kind, own in found.items():
        if kind.n_atoms == 6:
            lengths = own.points[:, 0] - own.points[:, -1]
            assert (np.linalg.norm(lengths, axis=1) < 0.9).all()
            assert len(own.points) == 512
