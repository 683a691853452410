import mdtraj
import numpy as np
import pytest

from openmm_cgml.testsystems.alanine import alanine_chain, is_l

TORSIONS = [(-60.0, -45.0), (70.0, 20.0), (-150.0, 160.0)]


def angles(chain, which) -> np.ndarray:
    topology = mdtraj.Topology.from_openmm(chain.topology)
    frame = mdtraj.Trajectory(chain.positions[None].astype(np.float32), topology)
    return np.degrees(which(frame)[1][0])


@pytest.mark.parametrize(("hand", "sign"), [("L", 1.0), ("D", -1.0)])
def test_hands_and_torsions(hand, sign):
    chain = alanine_chain(3, hand=hand, torsions=TORSIONS)
    assert (is_l(chain.topology, chain.positions) == (hand == "L")).all()
    phi, psi = np.array(TORSIONS).T
    np.testing.assert_allclose(angles(chain, mdtraj.compute_phi), sign * phi, atol=0.1)
    np.testing.assert_allclose(angles(chain, mdtraj.compute_psi), sign * psi, atol=0.1)
    omega = angles(chain, mdtraj.compute_omega)
    np.testing.assert_allclose(abs(omega), 180.0, atol=0.1)


def test_bonds_are_those_of_a_peptide():
    chain = alanine_chain(4)
    ends = np.array([[a.index, b.index] for a, b in chain.topology.bonds()])
    assert len(ends) == chain.topology.getNumAtoms() - 1
    lengths = np.linalg.norm(np.diff(chain.positions[ends], axis=1)[:, 0], axis=1)
    assert 0.10 < lengths.min() < lengths.max() < 0.16
    gaps = chain.positions[:, None] - chain.positions
    distances = np.linalg.norm(gaps, axis=2) + np.eye(len(gaps))
    assert distances.min() > 0.1  # nothing lies on anything


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n_residues": 0}, "at least one residue is required, got 0"),
        ({"n_residues": 1, "hand": "R"}, "the hand must be 'L' or 'D', got 'R'"),
        ({"n_residues": 2, "torsions": TORSIONS}, "of 2 residues .*, got 3 pairs"),
    ],
)
def test_wrong_chains(arguments, match):
    with pytest.raises(ValueError, match=match):
        alanine_chain(**arguments)
