"""Chains of L-alanine in many conformations, carried there with their beads."""

import logging

import mdtraj
import numpy as np
import pytest

from cgml.molecules.carriage import Carriage
from cgml.molecules.constraints import Distances
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from openmm_cgml.convert import graph_from_topology
from openmm_cgml.testsystems.alanine import alanine_chain, is_l

START = alanine_chain(6)
GRAPH = graph_from_topology(START.topology, {})


def conformations(n: int) -> list[np.ndarray]:
    """Chains of other torsions, so that their beads can be reached."""
    stream = np.random.default_rng(7)
    return [
        alanine_chain(6, torsions=stream.uniform(-180, 180, size=(6, 2))).positions
        for _ in range(n)
    ]


def bond_lengths(positions, bonds=GRAPH.bonds) -> np.ndarray:
    return np.linalg.norm(positions[bonds[:, 1]] - positions[bonds[:, 0]], axis=1)


def mapping_of(size: float) -> Mapping:
    return Mapping.from_partition(GRAPH, size, keep_hydrogens=True)


@pytest.mark.parametrize("size", [5, 12])
def test_bonds_and_hands_are_kept_and_centres_are_the_beads(size):
    mapping = mapping_of(size)
    carriage = Carriage(mapping, START.positions)
    for there in conformations(12):
        beads = mapping.positions(there)
        atoms = carriage.place(beads)
        np.testing.assert_allclose(mapping.positions(atoms), beads, atol=1e-12)
        ratios = bond_lengths(atoms) / bond_lengths(START.positions)
        assert np.abs(ratios - 1.0).max() < 0.2
        assert is_l(START.topology, atoms).all()


@pytest.mark.parametrize("size", [5, 12])
def test_amides_stay_trans(size):
    mapping = mapping_of(size)
    carriage = Carriage(mapping, START.positions)
    topology = mdtraj.Topology.from_openmm(START.topology)
    frames = [carriage.place(mapping.positions(there)) for there in conformations(8)]
    trajectory = mdtraj.Trajectory(np.array(frames, dtype=np.float32), topology)
    omega = np.degrees(mdtraj.compute_omega(trajectory)[1])
    assert omega.shape == (8, 5)
    assert (180.0 - abs(omega)).max() < 60.0


def test_translation_alone_would_not_do():
    """What the test above can see: bonds of three lengths, hands lost."""
    mapping = mapping_of(5)
    moves = mapping.positions(conformations(1)[0]) - mapping.positions(START.positions)
    atoms = START.positions + moves[mapping.bead_index]
    ratios = bond_lengths(atoms) / bond_lengths(START.positions)
    assert ratios.max() > 2.0
    assert not is_l(START.topology, atoms).all()


def test_the_mirror_image_is_carried_to_the_mirror_image():
    mapping = mapping_of(5)
    mirror = np.array([1.0, 1.0, -1.0])
    there = mapping.positions(conformations(1)[0])
    one = Carriage(mapping, START.positions).place(there)
    other = Carriage(mapping, START.positions * mirror).place(there * mirror)
    np.testing.assert_allclose(other, one * mirror, atol=1e-3)
    assert not is_l(START.topology, other).any()


def test_a_molecule_that_is_turned_is_turned():
    mapping = mapping_of(5)
    turned = START.positions[:, [1, 2, 0]] + 2.0
    atoms = Carriage(mapping, START.positions).place(mapping.positions(turned))
    np.testing.assert_allclose(atoms, turned, atol=1e-4)


def test_constraints_are_met_between_beads_too():
    mapping = mapping_of(5)
    constraints = Distances(GRAPH.bonds, bond_lengths(START.positions))
    carriage = Carriage(mapping, START.positions, constraints)
    for there in conformations(5):
        beads = mapping.positions(there)
        atoms = carriage.place(beads)
        assert abs(constraints.errors(atoms)).max() < 1e-7
        np.testing.assert_allclose(mapping.positions(atoms), beads, atol=1e-12)
    assert carriage.n_unmet == 0


def test_constraints_between_beads_far_apart_give_way(caplog):
    """Those inside the beads do not, and the centres are where they shall be."""
    mapping = mapping_of(5)
    constraints = Distances(GRAPH.bonds, bond_lengths(START.positions))
    carriage = Carriage(mapping, START.positions, constraints)
    beads = 3.0 * mapping.positions(START.positions)
    with caplog.at_level(logging.WARNING):
        atoms = carriage.place(beads)
    ends = mapping.bead_index[GRAPH.bonds]
    is_across = ends[:, 0] != ends[:, 1]
    errors = abs(constraints.errors(atoms))
    assert errors[~is_across].max() < 1e-7
    assert carriage.n_unmet == (errors > 1e-7).sum() > 0
    assert "constraints are not met in a frame" in caplog.text
    assert "turned over" not in caplog.text
    np.testing.assert_allclose(mapping.positions(atoms), beads, atol=1e-12)


def test_a_start_off_its_constraints_is_put_right():
    """As from a PDB file, which has three decimals of an ångström."""
    water = MolecularGraph.create("OHH", [16.0, 1.0, 1.0], [[0, 1], [0, 2]])
    mapping = Mapping.from_labels(water, [0, 0, 0])
    pairs, lengths = np.array([[0, 1], [0, 2], [1, 2]]), [0.09572, 0.09572, 0.15139]
    constraints = Distances(pairs, np.array(lengths))
    start = np.array([[0.0, 0.0, 0.0], [0.096, 0.0, 0.0], [-0.024, 0.093, 0.0]])
    assert abs(constraints.errors(start)).max() > 1e-3
    carriage = Carriage(mapping, start, constraints)
    atoms = carriage.place(np.array([[5.0, 5.0, 5.0]]))
    assert abs(constraints.errors(atoms)).max() < 1e-7


def test_a_molecule_of_one_bead_keeps_its_orientation():
    water = MolecularGraph.create("OHH", [16.0, 1.0, 1.0], [[0, 1], [0, 2]])
    mapping = Mapping.from_labels(water, [0, 0, 0])
    start = np.random.default_rng(0).normal(size=(3, 3))
    atoms = Carriage(mapping, start).place(np.array([[1.0, 2.0, 3.0]]))
    move = np.array([1.0, 2.0, 3.0]) - mapping.positions(start)[0]
    np.testing.assert_allclose(atoms, start + move, atol=1e-12)


def test_a_frame_depends_on_nothing_else():
    """Not on the frames before, to the last bit."""
    mapping = mapping_of(5)
    one, other = (Carriage(mapping, START.positions) for _ in range(2))
    ways = [mapping.positions(there) for there in conformations(3)]
    for beads in ways:
        last = one.place(beads)
    np.testing.assert_array_equal(other.place(ways[-1]), last)


@pytest.mark.parametrize(
    ("start", "match"),
    [
        (START.positions[1:], r"positions of shape .* are required"),
        (START.positions * np.nan, "must be finite"),
    ],
)
def test_a_start_that_is_none(start, match):
    constraints = Distances(GRAPH.bonds, bond_lengths(START.positions))
    with pytest.raises(ValueError, match=match):
        Carriage(mapping_of(5), start, constraints)


def test_a_dimer_that_only_turns():
    """No torsion, no corner: a bond between two beads of one atom."""
    graph = MolecularGraph.create("AA", [1.0, 1.0], [[0, 1]])
    mapping = Mapping.from_labels(graph, [0, 1])
    start = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    there = np.array([[1.0, 1.0, 1.0], [1.0, 3.0, 1.0]])
    atoms = Carriage(mapping, start).place(there)
    np.testing.assert_allclose(atoms, there, atol=1e-12)


@pytest.mark.parametrize("is_rigid", [True, False])
def test_beads_far_from_where_the_chain_has_them_turn_nothing_over(is_rigid):
    """And all constraints that were met on the way are met in the end."""
    mapping, stream = mapping_of(12 if is_rigid else 5), np.random.default_rng(1)
    constraints = Distances(GRAPH.bonds, bond_lengths(START.positions))
    carriage = Carriage(mapping, START.positions, constraints if is_rigid else None)
    n_turned = n_unmet = 0
    for there in conformations(8):
        noise = stream.normal(scale=0.17 / np.sqrt(3.0), size=(mapping.n_beads, 3))
        beads = mapping.positions(there) + noise
        atoms = carriage.place(beads)
        assert is_l(START.topology, atoms).all()
        np.testing.assert_allclose(mapping.positions(atoms), beads, atol=1e-12)
        plain = Carriage(mapping, START.positions, constraints if is_rigid else None)
        plain._handed = lambda atoms, _: atoms
        before = plain.place(beads)
        n_turned += (~is_l(START.topology, before)).sum()
        if is_rigid:
            is_met = abs(constraints.errors(before)) < 1e-7
            assert (abs(constraints.errors(atoms)[is_met]) < 1e-7).all()
            n_unmet += (~is_met).sum()
    assert n_turned > 0  # without turning back
    assert carriage.n_turned == 0
    assert (carriage.n_unmet > 0) == (n_unmet > 0)


@pytest.mark.parametrize("is_rigid", [True, False])
def test_a_stereocentre_that_turns_over_is_named_once(is_rigid, caplog):
    """CHFClBr in five beads, which a model would move to the mirror image."""
    graph = MolecularGraph.create(
        ["C", "H", "F", "Cl", "Br"],
        [12.0, 1.0, 19.0, 35.0, 80.0],
        [[0, 1], [0, 2], [0, 3], [0, 4]],
    )
    tips = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)
    start = 0.15 * np.concatenate((np.zeros((1, 3)), tips))
    mapping = Mapping.from_labels(graph, [0, 1, 2, 3, 4])
    constraints = Distances(graph.bonds, np.full(4, 0.15)) if is_rigid else None
    carriage = Carriage(mapping, start, constraints)
    carriage.place(start, name="step 1")
    assert not caplog.text
    for step in (2, 3):
        carriage.place(start * [1.0, 1.0, -1.0], name=f"step {step}")
    assert carriage.n_turned == 1
    (record,) = caplog.records
    text = "1 of 1 stereocentres of carried atoms are turned over in step 2, the "
    assert record.getMessage().startswith(text + "first is atom 0 (C) (molecule 0): ")
    assert ("(HBonds)" in caplog.text) == is_rigid
