"""Topologies of GROMACS; tests/adapters/test_same_chemistry.py has a usual one."""

from pathlib import Path

import pytest

from cgml.formats.format import LammpsOptions
from cgml.formats.gromacs_top import read_atoms
from cgml.formats.trajectory import read_topology
from cgml.molecules.hand import Bead, assign

WATER = """[ moleculetype ]
SOL 2
[ atoms ]
1 OW 1 SOL OW 1 -0.8 16.0
2 HW 1 SOL HW1 1 0.4 1.008
3 HW 1 SOL HW2 1 0.4 1.008
[ settles ]
1 1 0.1 0.16
"""
ALL = WATER + "[ system ]\nwater\n[ molecules ]\nSOL 3\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["a.top", "a.itp", "topology"])
def test_rigid_water(tmp_path: Path, name: str) -> None:
    graph = read_topology(write(tmp_path / name, ALL))
    assert graph.types == ("O", "H", "H") * 3
    assert graph.bonds.tolist() == [[0, 1], [0, 2], [3, 4], [3, 5], [6, 7], [6, 8]]


def test_residues_are_told_apart(tmp_path: Path) -> None:
    atoms = read_atoms(write(tmp_path / "a.top", ALL), LammpsOptions())
    assert len(set(atoms.groups)) == 3


def test_beads_by_hand_know_its_residues(tmp_path: Path) -> None:
    graph = read_topology(write(tmp_path / "a.top", ALL))
    water = Bead(name="W", residue="SOL", atoms=["OW"])
    assert assign(graph, [water], "water.toml").n_beads == 3


def test_types_have_many_columns(tmp_path: Path) -> None:
    """With and without a bonded name and an atomic number."""
    types = """[ atomtypes ]
a 14.027 0.0 A 0.3 0.2
b 6 14.027 0.0 A 0.3 0.2
c CX 12.011 0.0 A 0.3 0.2
opls_1 CX 6 15.035 0.0 A 0.3 0.2
"""
    atoms = "".join(f"{i} {k} 1 X A{i} 1 0\n" for i, k in enumerate("abc", 1))
    text = f"{types}[ moleculetype ]\nX 3\n[ atoms ]\n{atoms}4 opls_1 1 X A4 1\n"
    bonds = "[ bonds ]\n1 2\n2 3 \\\n 1 0.1 100\n3 4 5\n"
    graph = read_topology(write(tmp_path / "a.top", text + bonds))
    assert graph.types == ("a", "CH2", "C", "CH3")
    assert graph.bonds.tolist() == [[0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (ALL.replace("SOL 3", "WAT 3"), "line 12 .*'WAT' is no moleculetype, .* SOL"),
        (ALL.replace("SOL 3", "SOL many"), r"a\.top, line 12 .*many"),
        (ALL.replace("SOL 3", "SOL"), r"a\.top, line 12 .*too few words"),
        (ALL.replace("SOL 3", "SOL -3"), "1 to .* atoms are required"),
        (ALL.replace("SOL 3", "SOL 3000000000"), "has 9000000000"),
        ("[ atoms ]\n1 C 1 X C 1 0 12\n", "a section moleculetype is required"),
        ("hello\n", "has 0"),
        (ALL.replace("1 1 0.1", "3 1 0.1"), "join the 3 atoms .* atoms 3 to 5"),
        (ALL.replace("1.008", "").replace("16.0", ""), "none of its type OW"),
        ("%VERSION V1\n", "one of AMBER, call it NAME.prmtop"),
        ('#include "a.top"\n', "is included by itself"),
        (
            '#include "oplsaa.ff/forcefield.itp"\n' + ALL.replace(" 1.008", ""),
            r"of its type HW \(not found: oplsaa.*grompp -pp",
        ),
    ],
)
def test_what_is_no_topology(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_topology(write(tmp_path / "a.top", text))
