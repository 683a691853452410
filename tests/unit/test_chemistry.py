"""Types and masses: stated by the user or the force field, or refused."""

from pathlib import Path

import numpy as np
import pytest

from cgml.formats.openmm_xml import read_masses
from cgml.formats.trajectory import read_topology
from cgml.formats.type_table import read_types
from cgml.molecules.atoms import AtomTable
from cgml.molecules.chemistry import Chemistry, Row, describe

NONE = np.zeros((0, 2), dtype=np.int64)


def atoms(names: str, **known: object) -> AtomTable:
    bonds = np.array([[0, 1]])
    values = {"source": "a.pdb", "names": names.split(), "bonds": bonds, **known}
    return AtomTable(**values)  # type: ignore[arg-type]


def found(table: AtomTable, rows: dict[str, Row] | None = None, **known: float) -> dict:
    graph = describe(table, Chemistry(rows or {}, known))
    return dict(zip(graph.types, graph.masses.round(3).tolist(), strict=True))


# The user, the force field, the element, in this order


def test_what_the_user_says_comes_first() -> None:
    table = atoms("C1 O1", elements=["C", "O"], masses=np.array([14.027, 16.0]))
    assert found(table) == {"CH2": 14.027, "O": 15.999}
    assert found(table, {"C1": Row("CM", 14.0)}) == {"CM": 14.0, "O": 15.999}
    assert found(table, {"C1": Row("CM")}) == {"CM": 14.027, "O": 15.999}
    assert found(table, {"O": Row(mass=17.0)}) == {"CH2": 14.027, "O": 17.0}


def test_the_mass_of_the_force_field_comes_before_the_element() -> None:
    masses = np.array([15.035, 3.024])
    assert found(atoms("C H", elements=["C", "H"], masses=masses)) == {
        "CH3": 15.035,
        "H(3.024)": 3.024,
    }


@pytest.mark.parametrize("known", [{}, {"O": 15.999, "S": 32.06}])
def test_an_element_has_not_the_mass_of_another(known: dict[str, float]) -> None:
    """As of masses in another order, though a model knows what has that mass."""
    table = atoms("S1 O1", elements=["S", "O"], masses=np.array([15.999, 32.06]))
    with pytest.raises(ValueError, match=r"S1 of a\.pdb is S and has 15.999 Da, the"):
        found(table, **known)


def test_united_atoms_of_names_and_masses() -> None:
    """As of a PDB file without elements beside a System."""
    table = atoms("C1 C2 A3", masses=np.array([15.035, 14.027, 14.027]))
    assert found(table) == {"CH3": 15.035, "CH2": 14.027, "A3": 14.027}


def test_a_named_type_keeps_the_mass_of_the_file() -> None:
    """The type B of mass 1 in a LAMMPS file is no boron, nor that of a model."""
    table = atoms("X Y", numbers=[1, 2], masses=np.array([1.0, 12.0]))
    rows = {"1": Row("B"), "2": Row("C")}
    assert found(table, rows) == {"B": 1.0, "C": 12.011}
    assert found(table, rows, B=2.0) == {"B": 1.0, "C": 12.011}
    assert found(table, {**rows, "B": Row(mass=3.0)})["B"] == 3.0
    named = atoms("X Y", kinds=["AA", "BB"], masses=np.array([5.0, 2.0]))
    assert found(named, AA=1.0, BB=2.0) == {"AA": 5.0, "BB": 2.0}


def test_a_type_needs_a_mass() -> None:
    table = atoms("C1 O1", elements=["C", "O"])
    with pytest.raises(ValueError, match=r"of type 'CH3', given to C1 .*--mass CH3="):
        found(table, {"C1": Row("CH3")})


def test_a_residue_tells_names_apart() -> None:
    table = atoms("C C", residues=["ONE", "TWO"])
    rows = {"ONE:C": Row("A", 1.5), "TWO:C": Row("B", 2.5)}
    assert found(table, rows) == {"A": 1.5, "B": 2.5}


def test_a_mass_names_what_has_it() -> None:
    table = atoms("C1 C2", masses=np.array([14.027, 12.011]))
    assert found(table, {"CM": Row(mass=14.03)}) == {"CM": 14.03, "C": 12.011}


def test_a_model_s_own_particles_are_known_by_name_elements_are_not() -> None:
    assert found(atoms("A C"), A=1.0, C=1.0) == {"A": 1.0, "C": 1.0}
    with pytest.raises(ValueError, match=r"are required of C in a\.pdb, .* alone"):
        found(atoms("A C"), A=1.0, C=12.011)


# Refusals


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (atoms("OW HW1", residues=["SOL", "SOL"]), r"SOL:OW, SOL:HW1 .*--mass OW="),
        (atoms("CH2 CH2", elements=["C", "C"]), "CH2 is C by its element, a united"),
        (
            atoms("C1 C2 CL", elements=["C", "C", "C"]),
            "CL is C by its element, Cl by its name",
        ),
        (
            atoms(" ".join("ABCDEFGHIJKLMNO")),
            r"required of A, B, .*, L and 3 more in a\.pdb",
        ),
        (
            atoms("OW MW", masses=np.array([15.999, 0.0])),
            r"MW of a\.pdb has 0 Da: .*--select 'not name MW'.*--mass MW=",
        ),
        (
            atoms("C1 O1", elements=["C", "O"], masses=np.array([15.999, 12.011])),
            r"C1 of a\.pdb is C and has 15\.999 Da, the mass of O: .*this order",
        ),
    ],
)
def test_names_alone_are_refused(table: AtomTable, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        describe(table, Chemistry())


def test_a_united_name_with_its_hydrogens_is_an_element() -> None:
    names = atoms("CH2 H1", elements=["C", "H"])
    assert found(names) == {"C": 12.011, "H": 1.008}


def test_an_option_that_nothing_used() -> None:
    table = atoms("C1 O1", elements=["C", "O"])
    with pytest.raises(
        ValueError, match=r"nothing is called 'CH2'.* there are C1, O1:"
    ):
        found(table, {"CH2": Row(mass=14.027)})
    used: set[str] = set()
    describe(table, Chemistry({"CH2": Row(mass=14.027)}), used)
    assert not used


def test_a_type_of_two_masses() -> None:
    table = atoms("X Y", kinds=["T", "T"], masses=np.array([20.5, 30.5]))
    with pytest.raises(ValueError, match=r"'T' in a\.pdb has 20\.5 and 30\.5 Da"):
        found(table)


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan, np.inf])
def test_masses_are_positive(mass: float) -> None:
    with pytest.raises(ValueError, match="the mass of 'A' must be positive"):
        Chemistry.of_masses({"A": mass})


@pytest.mark.parametrize(
    ("bonds", "masses", "text"),
    [
        ([[0, 1], [1, 2]], [1.0, 1.0, 12.0], "atom 1 has 2 bonds"),
        ([[0, 1]], [1.0, 1.0, 1.0], "stands beside nothing heavier"),
    ],
)
def test_masses_in_reduced_units_are_no_hydrogen(
    bonds: list[list[int]], masses: list[float], text: str
) -> None:
    table = AtomTable(
        *("a.data", [""] * 3, np.array(bonds)),
        masses=np.array(masses),
        numbers=[1, 1, 2],
    )
    with pytest.raises(ValueError, match=rf"that of hydrogen, but .*{text}.*type-name"):
        describe(table, Chemistry())
    named = describe(table, Chemistry({"1": Row("A"), "2": Row("B")}))
    assert named.types[:2] == ("A", "A")


# Tables


TOML = """
CH2 = { type = "CM", mass = 14.027 }  # both
"SOL:OW" = "O"
1 = 2.5
"""
CSV = "name,type,mass\nCH2,CM,14.027\n# nothing\nSOL:OW,O,\n1,,2.5\n"
ROWS = {"CH2": Row("CM", 14.027), "SOL:OW": Row("O"), "1": Row(mass=2.5)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", TOML),
        ("a.toml", "[types]" + TOML),
        ("a.txt", TOML),
        ("a.csv", CSV),
        ("a.csv", CSV.partition("\n")[2]),
        ("a.csv", "type,mass,number\nCM,14.027,CH2\nO,,SOL:OW\n,2.5,1\n"),
        ("a.toml", "\ufeff" + TOML),
    ],
)
def test_tables(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_types(path) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.toml", b"C1 = true", "'C1', got True"),
        ("a.toml", b"C1 = 1" + b"0" * 400, "too large"),
        ("a.toml", b"C1 = { type = 'C', weight = 1 }", "'C1', got"),
        ("a.toml", b"C1 = ", "Invalid value"),
        ("a.toml", b"", "it has no lines"),
        ("a.toml", TOML.encode("utf-16"), "UTF-8"),
        ("a.csv", b"C1\n", "cells name, type, mass are required"),
        ("a.csv", b"C1,C,heavy\n", "could not convert"),
        ("a.csv", b"C1,CH3,15.035\nC1,CH2,14.027\n", "'C1' has two lines"),
        ("a.xml", b"<System/>", "given with --system"),
    ],
)
def test_no_tables(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is no table of types .*{text}"):
        read_types(path)


# XML of a System


SYSTEM = '<?xml version="1.0" ?><System><Particles>{}</Particles><Forces>{}</Forces>'
OTHER = '<Force><Particles><Particle mass="9"/></Particles></Force>'


def test_masses_of_a_system(tmp_path: Path) -> None:
    path = tmp_path / "system.xml"
    particles = '<Particle mass="14.027"/><Particle mass="1"></Particle>'
    path.write_text(SYSTEM.format(particles, OTHER) + "</System>")
    assert read_masses(path).tolist() == [14.027, 1.0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<State/>", "it holds a State"),
        ("hello", "syntax error"),
        (SYSTEM.format("", "") + "</System>", "it has no particles"),
        (SYSTEM.format('<Particle mass="nan"/>', "") + "</System>", "no numbers"),
        (SYSTEM.format("<Particle/>", "") + "</System>", "mass"),
        (SYSTEM.format('<Particle mass="1"/>', ""), "no element found"),
        (
            '<!DOCTYPE a [<!ENTITY b "bb">]><System>&b;</System>',
            "document type declaration",
        ),
    ],
)
def test_no_system(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "system.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"system\.xml is none: .*{reason}"):
        read_masses(path)


def test_a_system_of_other_atoms(tmp_path: Path) -> None:
    path = tmp_path / "system.xml"
    path.write_text(SYSTEM.format('<Particle mass="1"/>', "") + "</System>")
    pdb = tmp_path / "a.pdb"
    line = "HETATM{0:5d}  C{0}  LIG A   1    {0:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00"
    atoms = [line.format(i) + f"{'C':>12s}" for i in (1, 2)]
    pdb.write_text("\n".join([*atoms, "CONECT    1    2", "END\n"]))
    with pytest.raises(ValueError, match=r"a\.pdb has 2 atoms, .*system\.xml has 1"):
        read_topology(pdb, system=path)


def test_the_table_of_the_documents(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "types.md").read_text()
    path = tmp_path / "types.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0])
    rows = read_types(path)
    assert rows["SOL:OW"] == Row("O", 15.999)
    assert rows["3"] == Row("A", 1.0)
    assert (rows["opls_136"], rows["C"]) == (Row("CH2"), Row(mass=12.011))
