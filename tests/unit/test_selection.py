"""Atoms selected by names, residues and chains, of files that have them or not."""

import numpy as np
import pytest

from cgml.formats.selection import select_atoms
from cgml.molecules.atoms import AtomTable

BONDS = np.array([[0, 1], [2, 3]])
GROUPS = ["residue PEO 1"] * 2 + ["residue SOL 2"] * 2


def table(**known: object) -> AtomTable:
    values = {"source": "a.pdb", "names": ["C", "O", "OW", "MW"], "bonds": BONDS}
    return AtomTable(**values, **known)  # type: ignore[arg-type]


NAMED = {"groups": GROUPS, "residues": ["PEO", "PEO", "SOL", "SOL"]}


def test_chains_are_those_of_the_file() -> None:
    atoms = table(**NAMED, chains=[0, 0, 1, 1])
    assert select_atoms(atoms, "chainid 1").atoms.tolist() == [2, 3]
    assert select_atoms(atoms, "resSeq 1").atoms.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"names chains, a\.pdb has none"):
        select_atoms(table(**NAMED), "chainid 0")


def test_a_selection_that_leaves_out_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """'not water' keeps the water of a file that names no residues."""
    with pytest.raises(ValueError, match=r"leaves out no atom .* are not named"):
        select_atoms(table(), "not water")
    select_atoms(table(**NAMED), "not resname WAT")
    assert "leaves out no atom of a.pdb, whose residues are PEO, SOL" in caplog.text


def test_virtual_sites_may_go() -> None:
    """AMBER and CHARMM call what holds them a bond."""
    masses = np.array([12.011, 15.999, 15.999, 0.0])
    kept = select_atoms(table(**NAMED, masses=masses), "not name MW")
    assert kept.atoms.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="select whole molecules"):
        select_atoms(table(**NAMED), "not name MW")
