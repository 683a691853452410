import warnings
from pathlib import Path
from typing import Any

import ase.io
import MDAnalysis
import numpy as np
import pytest
from lammps_files import (
    BONDS,
    BRICK,
    IDS,
    LEFT,
    MASSES,
    MOLECULES,
    NAMES,
    SKEW,
    TYPES,
    data_text,
    dump_text,
    frame_text,
    paths,
    wrapped,
    write,
)
from whole_files import whole

from cgml.formats import lammps_dump
from cgml.formats.format import LammpsOptions
from cgml.formats.lammps_data import read_data
from cgml.formats.trajectory import FrameOptions, read, read_topology
from cgml.molecules.box import reduce
from cgml.molecules.chemistry import Chemistry, Row

BOXES = {"brick": BRICK, "skew": SKEW, "left": LEFT}
STEP = LammpsOptions(md_step=2.0)
CARBON = 12.01078


def naive_bonds() -> list[list[int]]:
    place = {int(number): i for i, number in enumerate(IDS)}
    return sorted(sorted([place[a], place[b]]) for _, a, b in BONDS)


def cut(text: str, n: int) -> str:
    return text[:-n]


# Data files


@pytest.mark.parametrize("suffix", [".data", ".lmp.gz"])
@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("has_flags", [False, True])
@pytest.mark.parametrize("box", BOXES)
def test_data_file(
    tmp_path: Path, box: str, has_flags: bool, is_reversed: bool, suffix: str
) -> None:
    text = data_text(BOXES[box], has_flags=has_flags, is_reversed=is_reversed)
    data = read_data(write(tmp_path / f"a{suffix}", text))
    np.testing.assert_allclose(10.0 * data.positions, paths()[0], atol=1e-9)
    np.testing.assert_allclose(10.0 * data.box, BOXES[box], atol=1e-9)
    assert data.types.tolist() == TYPES.tolist()
    assert data.molecules.tolist() == MOLECULES.tolist()
    assert data.type_masses == MASSES
    assert sorted(np.sort(data.bonds, axis=1).tolist()) == naive_bonds()
    assert data.bond_types.tolist() == [kind for kind, _, _ in BONDS]


@pytest.mark.parametrize("hint", ["", " # full", "   #full style"])
def test_style_of_atoms(tmp_path: Path, hint: str) -> None:
    data = read_data(write(tmp_path / "a.data", data_text(hint=hint)))
    assert data.types.tolist() == TYPES.tolist()


STYLES = {
    "molecular": "1 1 1 1.0 2.0 3.0\n2 1 1 1.5 2.0 3.0",
    "bond": "1 1 1 1.0 2.0 3.0 0 0 0\n2 1 1 1.5 2.0 3.0 0 0 0",
    "charge": "1 1 0.5 1.0 2.0 3.0\n2 1 -0.5 1.5 2.0 3.0",
    "atomic": "1 1 1.0 2.0 3.0 # one\n# nothing\n2 1 1.5 2.0 3.0",
}
SMALL = """title
2 atoms
1 bonds
1 atom types
0 9 xlo xhi
0 9 ylo yhi
0 9 zlo zhi

Masses

1 12.0

Atoms # {style}

{atoms}

Bonds

1 1 1 2
"""


@pytest.mark.parametrize("style", STYLES)
def test_other_styles(tmp_path: Path, style: str) -> None:
    text = SMALL.format(style=style, atoms=STYLES[style])
    data = read_data(write(tmp_path / "a.data", text))
    assert data.positions.round(9).tolist() == [[0.1, 0.2, 0.3], [0.15, 0.2, 0.3]]
    assert data.bonds.tolist() == [[0, 1]]


def test_windows_line_ends(tmp_path: Path) -> None:
    text = data_text().replace("\n", "\r\n")
    assert len(read_data(write(tmp_path / "a.data", text)).bonds) == 6


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("box", BOXES)
def test_others_read_the_same_data(tmp_path: Path, box: str) -> None:
    path = write(tmp_path / "a.data", data_text(BOXES[box], has_flags=False))
    data = read_data(path)
    universe = MDAnalysis.Universe(str(path), topology_format="DATA")
    assert (universe.atoms.types.astype(int) == data.types).all()
    assert (universe.atoms.masses == [data.type_masses[k] for k in TYPES]).all()
    found = np.sort(universe.bonds.to_indices(), axis=1).tolist()
    assert sorted(found) == naive_bonds()
    with_flags = write(tmp_path / "b.data", data_text(BOXES[box]))
    atoms = ase.io.read(with_flags, format="lammps-data", sort_by_id=True)
    np.testing.assert_allclose(atoms.cell.array, 10.0 * data.box, atol=1e-6)


# Names


def test_elements_by_mass(tmp_path: Path) -> None:
    graph = read_topology(write(tmp_path / "a.data", data_text()))
    assert list(graph.types) == NAMES
    assert graph.masses[0] == pytest.approx(CARBON)  # of the element, in all files
    assert graph.bonds.tolist() == naive_bonds()
    assert set(graph.bond_types) == {"bond"}
    assert graph.n_molecules == 4


@pytest.mark.parametrize(
    ("mass", "name"),
    [
        (1.0, "H"),
        (1.008, "H"),
        (12.0, "C"),
        (14.0067, "N"),
        (35.453, "Cl"),
        (6.94, "Li"),
        (126.9, "I"),
    ],
)
def test_rounded_masses_are_elements(tmp_path: Path, mass: float, name: str) -> None:
    text = data_text().replace("4 6.941", f"4 {mass}")
    graph = read_topology(write(tmp_path / "a.data", text))
    assert graph.types[2] == name


def test_particles_that_are_no_element(tmp_path: Path) -> None:
    path = write(tmp_path / "a.data", data_text().replace("4 6.941", "4 14.027"))
    with pytest.raises(ValueError, match=r"type 4 .* 14.027 Da, which no element has"):
        read_topology(path)
    graph = read_topology(path, masses={"CH2": 14.027, "C": 12.0})
    assert graph.types[2] == "CH2"
    assert graph.masses[[0, 2]].tolist() == [12.0, 14.027]


def test_names_by_number(tmp_path: Path) -> None:
    text = data_text().replace("4 6.941", "4 14.027")
    path = write(tmp_path / "a.data", text)
    rows = {"4": Row("CH2"), "3": Row("Q", 7.0), "1": Row("Fe")}
    graph = read_topology(path, chemistry=Chemistry(rows))
    assert list(graph.types[:4]) == ["Fe", "Q", "CH2", "Fe"]
    np.testing.assert_allclose(graph.masses[:3], [12.0112, 7.0, 14.027])  # the file's


def test_two_names_of_one_mass(tmp_path: Path) -> None:
    path = write(tmp_path / "a.data", data_text())
    with pytest.raises(ValueError, match=r"type 4 .* which A and B have; name it"):
        read_topology(path, masses={"A": 6.941, "B": 6.941})


def test_bond_types_are_kept_if_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.data", data_text())
    graph = read_topology(path, lammps=LammpsOptions(keep_bond_types=True))
    place = {int(number): i for i, number in enumerate(IDS)}
    expected = {tuple(sorted((place[a], place[b]))): str(k) for k, a, b in BONDS}
    found = dict(zip(map(tuple, graph.bonds.tolist()), graph.bond_types, strict=True))
    assert found == expected


# Ions and missing bonds


def without_bonds(text: str) -> str:
    head, _, tail = text.partition("\nBonds\n\n")
    return head.replace("6 bonds\n", "") + "\n" + tail.partition("\n\n")[2]


def test_a_system_of_ions_needs_no_bonds(tmp_path: Path) -> None:
    text = SMALL.format(style="full", atoms="1 1 1 1.0 0 0 0\n2 2 1 -1.0 1 1 1")
    text = text.partition("\nBonds")[0].replace("1 bonds", "0 bonds")
    graph = read_topology(write(tmp_path / "a.data", text))
    assert (graph.n_molecules, len(graph.bonds)) == (2, 0)


def test_molecules_without_bonds_are_explained(tmp_path: Path) -> None:
    path = write(tmp_path / "a.data", without_bonds(data_text()))
    with pytest.raises(
        ValueError, match="none connect the atoms of molecule 1, its 4 atoms are 4"
    ):
        read_topology(path)


def test_a_molecule_id_that_falls_apart(tmp_path: Path) -> None:
    text = data_text()
    cut = text.replace("6 bonds", "5 bonds")
    lines = cut.splitlines(keepends=True)
    wanted = [line for line in lines if line.split()[1:] != ["7", "9", "20"]]
    assert len(wanted) == len(lines) - 1
    path = write(tmp_path / "a.data", "".join(wanted))
    with pytest.raises(ValueError, match=r"molecule 3, its 4 atoms are 2 separate"):
        read_topology(path)


# Damaged data files


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("10 atoms", "11 atoms", "Atoms of .*a.data must have 11 lines .* got 10: the"),
        ("10 atoms", "", "not a LAMMPS data file: a header with the number of atoms"),
        ("10 atoms", "1x atoms", "the header of .* is damaged"),
        ("6 bonds", "7 bonds", "section Bonds .* must have 7 lines .* got 6"),
        ("6 bonds", "", "section Bonds .* must have 0 lines .* got 6"),
        ("6 bonds", "6 bonds\n4 angles", "promises 4 angles, and it has no section"),
        ("\nBonds", "\nOther", "promises 6 bonds, and it has no section Bonds"),
        ("\nMasses", "\nOther", "a section Masses is required, .* has Pair Coeffs, "),
        ("xlo xhi", "xlo", "a box is required as lines xlo xhi"),
        ("27 xlo", "-27 xlo", "the header of .*: the box must have a volume"),
        ("Atoms # full", "Atoms # sphere", "styles full, .* are read, .* has 'sphere'"),
        ("Atoms # full", "Atoms # atomic", "atomic has 5 columns, or 8 with .* has 10"),
        ("Atoms # full", "Atoms # charge", "charge has 6 columns, or 9"),
        ("1 7 2 3\n", "1 7 2 4\n", r"bond 1 of .* joins atoms \[2, 4\]"),
        ("1 7 2 3\n", "1 7 2\n", "section Bonds .* is cut short, or holds other"),
        ("3 15.9994", "6 15.9994", "Masses of .* has no mass of type 3"),
        (" 0.25 ", " nan ", "coordinates must be finite, charge of atom"),
        (" 0.25 ", " ca ", "other things than numbers and type labels"),
        ("\n20 3 1 ", "\n21 3 1 ", "each atom id must occur once in section Atoms"),
    ],
)
def test_wrong_data(tmp_path: Path, old: str, new: str, match: str) -> None:
    text = data_text()
    assert old in text
    path = write(tmp_path / "a.data", text.replace(old, new))
    with pytest.raises(ValueError, match=match):
        read_topology(path)


def test_wrong_style_by_its_numbers(tmp_path: Path) -> None:
    atoms = "1 0.5 1 1.0 2.0 3.0 4.0\n2 0.5 1 1.5 2.0 3.0 4.0"
    path = write(tmp_path / "a.data", SMALL.format(style="full", atoms=atoms))
    with pytest.raises(ValueError, match=r"column molecule of style full, got 0\.5"):
        read_data(path)


@pytest.mark.parametrize("n", [30, 120, 300, 600])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_cut_data(tmp_path: Path, n: int, is_reversed: bool) -> None:
    text = cut(data_text(is_reversed=is_reversed), n)
    if is_reversed and n <= 120:
        text = text.partition("\nMasses")[0]  # only coefficients were cut
    path = write(tmp_path / "a.data", text)
    with pytest.raises(ValueError, match=r"is cut short|Masses is required"):
        read_data(path)


def test_cut_gzip(tmp_path: Path) -> None:
    for name, text in (("a.data.gz", data_text()), ("a.dump.gz", dump_text())):
        path = write(tmp_path / name, text)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(ValueError, match=r"is cut short.*copy it again"):
            read_data(path) if "data" in name else whole(lammps_dump.pieces, path, STEP)
        path.write_text(text)
        with pytest.raises(ValueError, match=r"is cut short.*Not a gzipped file"):
            read_data(path) if "data" in name else whole(lammps_dump.pieces, path, STEP)


# Dumps

UNWRAPPED = [
    "id type x y z ix iy iz",
    "iz iy ix mol z y x element id",
    "id xs ys zs ix iy iz",
    "type id xu yu zu",
    "xsu ysu zsu id",
    "id x y z xu yu zu",
]
WRAPPED = ["id type x y z", "element xs ys zs id"]


@pytest.mark.parametrize("suffix", [".lammpstrj", ".dump.gz"])
@pytest.mark.parametrize("is_sorted", [False, True])
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("columns", UNWRAPPED + WRAPPED)
def test_dump(
    tmp_path: Path, columns: str, box: str, is_sorted: bool, suffix: str
) -> None:
    text = dump_text(columns, BOXES[box], is_sorted=is_sorted)
    dump = whole(lammps_dump.pieces, write(tmp_path / f"a{suffix}", text), STEP)
    expected = paths()
    assert dump.is_unwrapped == (columns in UNWRAPPED)
    if columns in WRAPPED:
        expected = np.stack([wrapped(frame, BOXES[box])[0] for frame in expected])
    assert dump.positions.dtype == np.float32
    np.testing.assert_allclose(10.0 * dump.positions, expected, rtol=3e-7, atol=1e-5)
    assert dump.boxes is not None
    np.testing.assert_allclose(10.0 * dump.boxes, [BOXES[box]] * 5, atol=1e-9)
    assert dump.times is not None
    np.testing.assert_allclose(dump.times, np.arange(5), rtol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("columns", ["id x y z", "id xs ys zs", "id xu yu zu"])
@pytest.mark.parametrize("box", BOXES)
def test_mdanalysis_reads_the_same_dump(tmp_path: Path, columns: str, box: str) -> None:
    path = write(tmp_path / "a.dump", dump_text(columns, BOXES[box], is_sorted=False))
    dump = whole(lammps_dump.pieces, path, STEP)
    assert dump.boxes is not None
    with MDAnalysis.coordinates.LAMMPS.DumpReader(str(path)) as reader:
        for frame, positions in zip(reader, dump.positions, strict=True):
            shift = 10.0 * positions - frame.positions  # it moves the corner
            corner = np.zeros(3) if "xs" in columns else [-3.0, 2.0, 5.0]
            if "xs" in columns:
                corner = shift[0]
            np.testing.assert_allclose(shift - corner, 0.0, atol=2e-5)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("columns", [UNWRAPPED[0], WRAPPED[0]])
def test_molecules_come_whole_and_unwrapped(
    tmp_path: Path, columns: str, box: str
) -> None:
    topology = write(tmp_path / "a.data", data_text(BOXES[box]))
    path = write(tmp_path / "run.dump.gz", dump_text(columns, BOXES[box]))
    found = read(path, topology, lammps=STEP)
    assert found.name == "run"
    assert found.box is not None
    np.testing.assert_allclose(found.box, reduce(0.1 * BOXES[box]), atol=1e-9)
    for atoms in found.graph.molecules:
        true = 0.1 * paths()[:, atoms]
        shift = found.positions[0, atoms[0]] - true[0, 0]
        np.testing.assert_allclose(found.positions[:, atoms], true + shift, atol=2e-5)


def test_flags_that_tear_molecules(tmp_path: Path) -> None:
    """Builders leave flags at zero: time is right by them, bonds are not."""
    true = paths()
    torn = true.copy()
    torn[:, [1, 4]] += SKEW[1] - SKEW[0]  # whole box vectors, in all frames
    text = "".join(
        frame_text(frame, step, SKEW, "id xu yu zu") for step, frame in enumerate(torn)
    )
    topology = write(tmp_path / "a.data", data_text(SKEW))
    found = read(write(tmp_path / "a.dump", text), topology, lammps=STEP)
    np.testing.assert_allclose(10.0 * found.positions, true, atol=2e-5)


def test_an_ion_that_crosses_more_than_half_the_box(tmp_path: Path) -> None:
    true = paths()
    true[3:, 2] += 2.6 * BRICK[0]
    text = "".join(
        frame_text(frame, step, BRICK, UNWRAPPED[0]) for step, frame in enumerate(true)
    )
    topology = write(tmp_path / "a.data", data_text())
    found = read(write(tmp_path / "a.dump", text), topology, lammps=STEP)
    np.testing.assert_allclose(10.0 * found.positions[:, 2], true[:, 2], atol=2e-5)


def test_data_file_is_a_frame_too(tmp_path: Path) -> None:
    path = write(tmp_path / "start.data", data_text(SKEW))
    found = read(path, path)
    assert (found.name, found.times.tolist()) == ("start", [0.0])
    np.testing.assert_allclose(10.0 * found.positions[0], paths()[0], atol=1e-5)


# Boxes and boundaries


def test_open_boundaries(tmp_path: Path) -> None:
    text = dump_text("id xu yu zu").replace("pp pp pp", "ss ss ss")
    text = text.replace("27.0", "28.5", 1)  # shrink-wrapped: any size
    found = whole(lammps_dump.pieces, write(tmp_path / "a.dump", text), STEP)
    assert found.boxes is None
    np.testing.assert_allclose(10.0 * found.positions, paths(), atol=1e-5)


def two_boxes(factor: float) -> str:
    first, second = paths(2)
    return frame_text(first, 0, BRICK, "id x y z") + frame_text(
        second, 10, factor * BRICK, "id x y z"
    )


def test_changing_box_is_refused_with_both_sizes(tmp_path: Path) -> None:
    topology = write(tmp_path / "a.data", data_text())
    path = write(tmp_path / "a.dump", two_boxes(1.01))
    match = r"in frame 0, \[\[3\.0, .* the mean box, \[\[3\.015, .* by 0\.005"
    with pytest.raises(ValueError, match=match):
        read(path, topology, lammps=STEP, frames=FrameOptions(max_scaling=0.001))
    rounded = write(tmp_path / "b.dump", two_boxes(1.00001))
    assert read(rounded, topology, lammps=STEP).box is not None


# Times


def with_items(text: str, units: str) -> str:
    """As `dump_modify units yes time yes` writes it: units once, times in all."""
    for frame, step in enumerate([0, 500, 1000, 1500, 2000]):
        item = f"ITEM: TIMESTEP\n{step}\n"
        text = text.replace(item, f"ITEM: TIME\n{2.5 * frame}\n{item}")
    return f"ITEM: UNITS\n{units}\n{text}"


@pytest.mark.parametrize(
    ("options", "spacing"),
    [
        (LammpsOptions(md_step=2.0), 1.0),
        (LammpsOptions(units="metal", md_step=0.002), 1.0),
        (LammpsOptions(units="real", md_step=0.5), 0.25),
    ],
)
def test_times_by_the_md_step(
    tmp_path: Path, options: LammpsOptions, spacing: float
) -> None:
    path = write(tmp_path / "a.dump", dump_text())
    times = whole(lammps_dump.pieces, path, options).times
    np.testing.assert_allclose(times, spacing * np.arange(5))  # type: ignore[arg-type]


@pytest.mark.parametrize(("units", "spacing"), [("real", 0.0025), ("metal", 2.5)])
def test_times_in_the_file(tmp_path: Path, units: Any, spacing: float) -> None:
    path = write(tmp_path / "a.dump", with_items(dump_text(), units))
    times = whole(
        lammps_dump.pieces, path, LammpsOptions(units=units, md_step=7.0)
    ).times
    np.testing.assert_allclose(times, spacing * np.arange(5))  # type: ignore[arg-type]


def test_uneven_steps_keep_their_times(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dump", dump_text(steps=(100, 200, 1000)))
    assert whole(lammps_dump.pieces, path, STEP).times == pytest.approx([0.2, 0.4, 2.0])


def test_no_times(tmp_path: Path) -> None:
    topology = write(tmp_path / "a.data", data_text())
    path = write(tmp_path / "a.dump", dump_text())
    with pytest.raises(ValueError, match=r"in ps .* or md_step, the timestep"):
        read(path, topology)
    assert read(path, topology, time_step=3.0).times.tolist() == [0, 3, 6, 9, 12]
    one = write(tmp_path / "b.dump", dump_text(steps=(700,)))
    assert read(one, topology).times.tolist() == [0.0]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"units": "lj"}, "units must be one of real, metal, got 'lj'"),
        ({"md_step": 0.0}, "md_step must be positive, got 0"),
        ({"md_step": float("nan")}, "md_step must be positive and finite, got nan"),
    ],
)
def test_wrong_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        LammpsOptions(**options)


# Damaged dumps


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("id type x", "number type x", "columns id and x y z .* has number type x"),
        ("x y z ix", "a b c ix", "columns id and x y z .* are required"),
        ("pp pp pp", "pp pp ff", "periodic in all directions or in none, got pp pp ff"),
        ("pp pp pp", "abc origin pp pp pp", "general triclinic boxes are not read"),
        ("NUMBER OF ATOMS\n10", "NUMBER OF ATOMS\n9", "is not a text dump of atoms"),
        ("NUMBER OF ATOMS\n10", "NUMBER OF ATOMS\n11", "at step 0 .* cannot be read"),
        ("NUMBER OF ATOMS\n10", "NUMBER OF ATOMS\nx", "cannot be read: invalid lit"),
        ("NUMBER OF ATOMS", "NUMBER OF ENTRIES", "is not a text dump of atoms: one of"),
        (
            "ITEM: NUMBER OF ATOMS\n10\n",
            "",
            "cannot be read: it has no NUMBER OF ATOMS",
        ),
        ("-3.0 27.0", "27.0 -3.0", "the box must have a volume"),
        ("-3.0 27.0", "27.0", "cannot be read"),
        ("\n2 1 ", "\n3 1 ", "10 atoms of different ids are required at step 0"),
        ("TIMESTEP\n500\n", "TIMESTEP\n0\n", "step 0 follows step 0 in .*files of"),
        ("TIMESTEP\n500\n", "TIMESTEP\n-5\n", "step -5 follows step 0"),
        ("ITEM: TIMESTEP\n0", "ITEM: UNITS\nlj\nITEM: TIMESTEP\n0", "are 'lj', it was"),
        ("ITEM: TIMESTEP", "6 atoms", "is not a text dump of atoms: .* got '6 atoms'"),
    ],
)
def test_wrong_dump(tmp_path: Path, old: str, new: str, match: str) -> None:
    text = dump_text()
    assert old in text
    path = write(tmp_path / "a.dump", text.replace(old, new))
    with pytest.raises(ValueError, match=match):
        whole(lammps_dump.pieces, path, STEP)


def test_positions_that_are_not_finite(tmp_path: Path) -> None:
    frames = paths(2)
    text = frame_text(frames[0], 0, BRICK, "id xu yu zu")
    frames[1, 3, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        text += frame_text(frames[1], 10, BRICK, "id xu yu zu")
    path = write(tmp_path / "a.dump", text)
    with pytest.raises(
        ValueError, match=r"must be finite, atom 7 at step 10 of .* nan"
    ):
        whole(lammps_dump.pieces, path, STEP)


def test_atoms_or_columns_that_change(tmp_path: Path) -> None:
    first, second = paths(2)
    start = frame_text(first, 0, BRICK, "id x y z")
    other = frame_text(second, 9, BRICK, "id x y z").replace("\n21 ", "\n22 ")
    path = write(tmp_path / "a.dump", start + other)
    with pytest.raises(ValueError, match="the same atoms are required in all frames"):
        whole(lammps_dump.pieces, path, STEP)
    write(path, start + frame_text(second, 9, BRICK, "id xu yu zu"))
    with pytest.raises(ValueError, match=r"columns, times or boundaries of .* step 9"):
        whole(lammps_dump.pieces, path, STEP)


@pytest.mark.parametrize("n", [1, 2, 40, 200, 400, 470, 560, 590])
def test_cut_dump(tmp_path: Path, n: int) -> None:
    path = write(tmp_path / "a.dump", cut(dump_text(), n))
    with pytest.raises(ValueError, match=r"is cut short behind \d whole frames"):
        whole(lammps_dump.pieces, path, STEP)


def test_an_empty_data_file(tmp_path: Path) -> None:
    (tmp_path / "x.data").touch()
    with pytest.raises(ValueError, match=r"x\.data is not a LAMMPS data file"):
        read_data(tmp_path / "x.data")


def test_an_empty_dump(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no frames"):
        whole(lammps_dump.pieces, write(tmp_path / "a.dump", "\n"), STEP)


def test_atom_count_differs(tmp_path: Path) -> None:
    atoms = "1 1 1 1.0 2.0 3.0\n2 1 1 1.5 2.0 3.0"
    text = SMALL.format(style="bond", atoms=atoms)
    topology = write(tmp_path / "a.data", text)
    path = write(tmp_path / "a.dump", dump_text())
    match = "a.dump has 10 atoms, its topology has 2: give the topology"
    with pytest.raises(ValueError, match=match):
        read(path, topology, lammps=STEP)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    topology = write(tmp_path / "a.data", data_text())
    with pytest.raises(FileNotFoundError, match=r"there is no file .*b\.dump"):
        read(tmp_path / "b.dump", topology)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*b\.data"):
        read_topology(tmp_path / "b.data")
