"""What files truly say of atoms, where libraries would guess."""

from pathlib import Path

import pytest

from cgml.formats import columns
from cgml.formats.trajectory import read_topology
from cgml.molecules.chemistry import Chemistry, Row
from cgml.molecules.hand import Bead, assign


def pdb_text(rows: list[tuple[str, str, str]], bonds: list[tuple[int, int]]) -> str:
    """Atoms as (name in columns 13-16, residue, element)."""
    lines = [
        f"HETATM{i:5d} {name:4s} {residue:3s} A{i:4d}    "
        f"{i:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00          {element:>2s}"
        for i, (name, residue, element) in enumerate(rows, 1)
    ]
    lines += [f"CONECT{i:5d}{j:5d}" for i, j in bonds]
    return "\n".join([*lines, "END", ""])


GUESSED = [("HG2", "LIG", ""), ("HO1", "LIG", ""), ("NB1", "LIG", "")]


def test_pdb_without_elements(tmp_path: Path) -> None:
    """mdtraj makes them Hg, Ho and Nb."""
    path = tmp_path / "a.pdb"
    path.write_text(pdb_text(GUESSED, [(1, 3), (2, 3)]))
    with pytest.raises(
        ValueError, match=r"LIG:HG2, LIG:HO1, LIG:NB1 in .* names alone"
    ):
        read_topology(path)
    rows = {"HG2": Row("H"), "HO1": Row("H"), "NB1": Row("N")}
    graph = read_topology(path, chemistry=Chemistry(rows))
    assert graph.types == ("H", "H", "N")
    assert graph.masses == pytest.approx([1.008, 1.008, 14.007], abs=1e-3)


def test_pdb_with_elements(tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    rows = [("HG2", "LIG", "H"), ("CL", "CL", "CL"), ("NB1", "LIG", "N")]
    path.write_text(pdb_text(rows, [(1, 3)]))
    assert read_topology(path).types == ("H", "Cl", "N")


def test_residues_keep_their_names(tmp_path: Path) -> None:
    """mdtraj calls all water HOH."""
    path = tmp_path / "a.pdb"
    rows = [("OW", "SOL", "O"), ("HW1", "SOL", "H"), ("HW2", "SOL", "H")]
    lines = pdb_text(rows, [(1, 2), (1, 3)]).replace("A   2", "A   1")
    path.write_text(lines.replace("A   3", "A   1"))
    water = Bead(name="W", residue="SOL", atoms=["OW"])
    assert assign(read_topology(path), [water], "water.toml").n_beads == 1


def test_pdb_with_alternate_places(tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    text = pdb_text([("C1", "LIG", "C")] * 2 + [("O1", "LIG", "O")], [(1, 3)])
    lines = text.splitlines()
    for i, mark in enumerate("AB"):
        lines[i] = lines[i][:16] + mark + lines[i][17:]
    lines[1] = lines[1].replace("A   2", "A   1")
    path.write_text("\n".join(lines))
    assert read_topology(path).types == ("C", "O")


def test_gro_has_names_only(tmp_path: Path) -> None:
    """mdtraj makes C, N and B of Cl, Na and Br, and renames the water."""
    rows = [(1, "SOL", "OW"), (1, "SOL", "HW1"), (1, "SOL", "HW2")]
    rows += [(2, "CL", "CL"), (3, "NA", "NA"), (4, "BR", "BR")]
    lines = [
        f"{k:5d}{residue:5s}{name:>5s}{i:5d}{0.1 * i:8.3f}{0:8.3f}{0:8.3f}"
        for i, (k, residue, name) in enumerate(rows, 1)
    ]
    path = tmp_path / "i.gro"
    path.write_text("\n".join(["ions", "    6", *lines, "   3.0   3.0   3.0", ""]))
    match = "SOL:OW, SOL:HW1, SOL:HW2, CL:CL, NA:NA, BR:BR in .*i.gro"
    with pytest.raises(ValueError, match=match):
        read_topology(path)
    names = {"OW": "O", "HW1": "H", "HW2": "H", "CL": "Cl", "NA": "Na", "BR": "Br"}
    rows_of = {name: Row(kind) for name, kind in names.items()}
    graph = read_topology(path, chemistry=Chemistry(rows_of))
    assert list(graph.types) == list(names.values())
    assert len(graph.bonds) == 2


PRMTOP = """%VERSION  VERSION_STAMP = V0001.000  DATE = 01/01/20 00:00:00
%FLAG POINTERS
%FORMAT(10I8)
       3       1       0       2       0       0       0       0       0       0
%FLAG ATOM_NAME
%FORMAT(20a4)
CA  C2  H1  
%FLAG MASS
%FORMAT(5E16.8)
  1.40270000E+01  1.20100000E+01  1.00800000E+00
%FLAG ATOMIC_NUMBER
%FORMAT(10I8)
       6       6      -1
%FLAG RESIDUE_LABEL
%FORMAT(20a4)
ONE TWO 
%FLAG RESIDUE_POINTER
%FORMAT(10I8)
       1       2
%FLAG AMBER_ATOM_TYPE
%FORMAT(20a4)
c3  c3  hc  
"""  # noqa: W291


def test_prmtop(tmp_path: Path) -> None:
    path = tmp_path / "a.prmtop"
    path.write_text(PRMTOP)
    found = columns.prmtop(path)
    assert found.names == ["CA", "C2", "H1"]
    assert found.residues == ["ONE", "TWO", "TWO"]
    assert found.elements == ["C", "C", ""]
    assert found.kinds == ["c3", "c3", "hc"]
    assert found.masses is not None
    assert found.masses.tolist() == [14.027, 12.01, 1.008]


MOL2 = """@<TRIPOS>MOLECULE
x
3 2 1 0 0
SMALL
NO_CHARGES

@<TRIPOS>ATOM
      1 CL1         0.0000    0.0000    0.0000 Cl      1 LIG 0.0
      2 C1          1.7000    0.0000    0.0000 {}      1 LIG 0.0
      3 H1          2.7000    0.0000    0.0000 H       1 LIG 0.0
@<TRIPOS>BOND
     1    1    2    1
     2    2    3    1
"""


def test_mol2(tmp_path: Path) -> None:
    path = tmp_path / "a.mol2"
    path.write_text(MOL2.format("C.3"))
    assert read_topology(path).types == ("Cl", "C", "H")
    path.write_text(MOL2.format("c3 "))
    with pytest.raises(ValueError, match=r"LIG:C1 in .* alone are known"):
        read_topology(path)
