"""What a topology and its frames must be, whatever they came from."""

import logging
from itertools import pairwise
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from cgml.formats.selection import FrameOptions
from cgml.formats.topology import from_mdtraj
from cgml.formats.trajectory import read, read_topology
from cgml.formats.type_table import read_types
from cgml.molecules.box import wrap
from cgml.molecules.checks import check_topology
from cgml.molecules.chemistry import Chemistry
from cgml.molecules.graph import Labels, MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.whole import Unwrapper, whole_beads, whole_paths

MASS = {"C": 12.011, "H": 1.008, "O": 15.999, "Li": 6.94, "Cl": 35.45, "CH2": 14.027}


def graph(types: list[str], bonds: list, groups: list[str] | None = None):
    labels = None
    if groups is not None:
        labels = Labels.create([f"{t}{i}" for i, t in enumerate(types)], groups)
    masses = [MASS.get(name, 1.0) for name in types]
    return MolecularGraph.create(types, masses, np.array(bonds, int), labels=labels)


def chain(n: int, name: str = "C") -> MolecularGraph:
    return graph([name] * n, [(i, i + 1) for i in range(n - 1)])


@pytest.mark.parametrize(
    ("types", "bonds", "groups", "text"),
    [
        ("CCC", [], "111", r"none connect the atoms of 1, its 3 atoms are 3 separate"),
        ("CCCC", [(0, 1), (2, 3)], "1111", r"pieces \(0 \(C0\), 1 \(C1\) and 2 \(C2\)"),
        ("OHHCC", [(0, 1), (0, 2)], "11122", r"atoms of 2, its 2 atoms are 2"),
        (["Li", "C"], [], "11", r"atoms of 1"),
    ],
)
def test_a_residue_that_falls_apart(types, bonds, groups, text) -> None:
    with pytest.raises(ValueError, match=rf"missing in a\.pdb: .*{text}.*CONECT"):
        check_topology(graph(list(types), bonds, list(groups)), "a.pdb")


@pytest.mark.parametrize(
    ("types", "bonds", "groups"),
    [
        ("CCC", [(0, 1), (1, 2)], "112"),  # a molecule of several residues
        ("CCC", [(0, 1), (1, 2)], "121"),  # connected through another residue
        (["Li", "Cl"], [], "12"),
        (["Li", "Li", "Cl"], [], "111"),  # ions of one id
        ("AC", [], ["", "1"]),  # beads, an atom of its own
        ("AA", [], None),
        ("C", [], None),
    ],
)
def test_residues_that_are_fine(types, bonds, groups) -> None:
    known = None if groups is None else list(groups)
    check_topology(graph(list(types), bonds, known), "a.pdb")


@pytest.mark.parametrize("groups", [None, ["", ""]])
def test_elements_without_any_bond(groups) -> None:
    match = r"no bonds: it names 2 .*that atom 1 \(C"
    with pytest.raises(ValueError, match=match):
        check_topology(graph(["Li", "C"], [], groups), "it")


def test_more_bonds_than_an_element_has() -> None:
    bonded = graph(list("OHHO"), [(0, 1), (0, 2), (2, 3)])
    with pytest.raises(ValueError, match=r"atom 2 \(H\) of it is bonded to 2 atoms"):
        check_topology(bonded, "it")
    star = [(0, i) for i in range(1, 6)]
    with pytest.raises(ValueError, match=r"to 5 atoms .*of C has 4 bonds at most"):
        check_topology(graph(list("CHHHHH"), star), "it")
    check_topology(graph(["CH2"] * 6, star), "it")  # united atoms, or made-up beads
    heavy = MolecularGraph.create("HAH", [1.0, 1.0, 1.0], [[0, 1], [0, 2]])
    check_topology(heavy, "it")  # a bead of 1 Da called H


def test_a_molecule_bonded_to_its_own_image() -> None:
    n, box = 20, 3.0 * np.eye(3)
    ring = graph(["C"] * n, [(i, (i + 1) % n) for i in range(n)])
    frames = np.zeros((2, n, 3))
    frames[..., 0] = 0.15 * np.arange(n)
    match = r"own image: .*between atom 1\d .* is 2\.85 nm long in frame 0 of .*0\.15"
    with pytest.raises(ValueError, match=match):
        whole_paths(frames, ring, box)
    one_bead = Mapping.from_labels(ring, np.zeros(n, int))
    with pytest.raises(ValueError, match="bonded to its own image"):
        whole_beads(one_bead, frames, box)  # as engines hold them
    with pytest.raises(ValueError, match="bonded to its own image"):
        Unwrapper(ring, box, is_unwrapped=True)(frames)
    angle = 2.0 * np.pi * np.arange(n) / n  # the same ring, closed in itself
    frames[..., 0], frames[..., 1] = 0.48 * np.cos(angle), 0.48 * np.sin(angle)
    whole_paths(wrap(frames, box), ring, box)


@pytest.mark.parametrize("is_unwrapped", [False, True])
def test_a_long_bond_in_any_frame_of_any_piece(is_unwrapped: bool) -> None:
    frames = np.zeros((6, 4, 3))
    frames[..., 0] = 0.15 * np.arange(4)
    frames[4, 3, 0] = 1.0
    unwrap = Unwrapper(
        chain(4), 9.0 * np.eye(3), is_unwrapped=is_unwrapped, source="a.xtc"
    )
    unwrap(frames[:2])
    match = r"atom 2 \(C\) and atom 3 \(C\) is 0\.7 nm long in frame 4 of a\.xtc"
    with pytest.raises(ValueError, match=match):
        unwrap(frames[2:])


def test_longest_sensible_bonds(caplog: pytest.LogCaptureFixture) -> None:
    line = np.zeros((1, 10, 3))
    line[..., 0] = 0.15 * np.arange(10)
    assert whole_paths(line, chain(10), None) is line
    line[0, 9] += 0.3
    with pytest.raises(ValueError, match=r"more than 0\.4 nm, the longest that bonds"):
        whole_paths(line, chain(10), None)
    assert not caplog.records
    line[..., 0] = np.arange(10)  # made-up units: bonds of 1 nm
    assert whole_paths(line, chain(10, "A"), None) is line
    with caplog.at_level(logging.WARNING):
        assert whole_paths(line, chain(10), None) is line
    assert "the positions are longer than 1 nm, real ones are" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        whole_paths(0.015 * line, chain(10), None)  # Angstrom taken for nm
    assert "the positions are shorter than 0.015 nm, real ones" in caplog.text
    line[0, 9, 0] += 6.0
    for name in "AC":
        with pytest.raises(ValueError, match=r"more than 6 nm, 6 times the median"):
            whole_paths(line, chain(10, name), None)
    line = 0.8 * np.arange(3.0)[None, :, None] * np.ones(3)
    with pytest.raises(ValueError, match=r"1\.39 nm .* more than 1 nm, half the box"):
        whole_paths(line, chain(3, "A"), 2.0 * np.eye(3))


def test_gaussian_bonds_are_not_too_long() -> None:
    rng = np.random.default_rng(1)
    frames = np.cumsum(rng.normal(size=(2000, 50, 3)), axis=1)
    assert whole_paths(frames, chain(50, "A"), None) is frames


@pytest.mark.parametrize(("speed", "is_told"), [(0.2, False), (0.3, True)])
def test_moves_that_make_unwrapping_a_guess(
    caplog: pytest.LogCaptureFixture, speed: float, is_told: bool
) -> None:
    box = 3.0 * np.eye(3)
    frames = np.zeros((5, 2, 3))
    frames[:, 1, 1] = 0.15
    frames[:, :, 0] = 3.0 * speed * np.arange(5)[:, None]
    with caplog.at_level(logging.WARNING):
        unwrap = Unwrapper(chain(2), box, source="a.xtc")
        for piece in np.split(wrap(frames, box), 5):
            unwrap(piece)
    assert len(caplog.records) == is_told  # once
    if is_told:
        assert "a.xtc is a guess: molecule 0 (from atom 0 (C) on)" in caplog.text
        assert "30 % of the box, between frames 0 and 1" in caplog.text
    caplog.clear()
    Unwrapper(chain(2), box, is_unwrapped=True)(frames)
    assert not caplog.records


def polymer_and_water(path: Path, *, conect: bool) -> Path:
    """Write a PDB file; bonds of water come from the templates of its reader."""
    rows = [("PEO", 1, f"C{i}", "C", (1.5 * i, 0, 0)) for i in range(9)]
    water = [("O", 0, 9), ("H1", 1, 9), ("H2", 0, 10)]
    rows += [("HOH", 2, name, name[0], (x, y, 0)) for name, x, y in water]
    lines = [
        f"HETATM{n:5d}  {a:<3s} {res:3s} A{r:4d}    {p[0]:8.3f}{p[1]:8.3f}{p[2]:8.3f}"
        f"  1.00  0.00          {e:>2s}\n"
        for n, (res, r, a, e, p) in enumerate(rows, 1)
    ]
    if conect:
        lines += [f"CONECT{i:5d}{i + 1:5d}\n" for i in range(1, 9)]
    path.write_text("".join(lines))
    return path


def test_pdb_without_the_bonds_of_its_polymer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.pdb.*residue PEO 1, its 9 atoms"):
        read_topology(polymer_and_water(tmp_path / "a.pdb", conect=False))
    found = read_topology(polymer_and_water(tmp_path / "b.pdb", conect=True))
    assert found.n_molecules == 2
    assert found.name(10) == "atom 10 (H1) of residue HOH 2"


def test_frames_of_another_order(tmp_path: Path) -> None:
    """XTC of atoms that are not in the order of the topology."""
    topology = mdtraj.Topology()
    residue = topology.add_residue("PEO", topology.add_chain())
    carbon = mdtraj.element.carbon
    atoms = [topology.add_atom(f"C{i}", carbon, residue) for i in range(12)]
    for one, other in pairwise(atoms):
        topology.add_bond(one, other)
    positions = np.zeros((3, 12, 3))
    positions[..., 0] = 0.15 * np.arange(12)
    frames = mdtraj.Trajectory(positions, topology, time=np.arange(3.0))
    frames.save_xtc(str(tmp_path / "a.xtc"))
    assert len(read(tmp_path / "a.xtc", from_mdtraj(topology)).times) == 3
    frames.xyz = frames.xyz[:, [*range(6, 12), *range(6)]]
    frames.save_xtc(str(tmp_path / "b.xtc"))
    match = r"atom 5 \(C5\) of residue PEO 0 and .*1\.65 nm long in frame 0 of .*b\.xtc"
    with pytest.raises(ValueError, match=match):
        read(tmp_path / "b.xtc", from_mdtraj(topology))


def rigid_water(path: Path) -> Path:
    """Write a PSF file that calls the constraint between hydrogens a bond."""
    rows = [
        ("OH2", "OT", -0.8, 15.9994),
        ("H1", "HT", 0.4, 1.008),
        ("H2", "HT", 0.4, 1.008),
    ]
    atoms = [
        f"{3 * k + i:8d} WAT  {k + 1:<4d} TIP3 {name:<4s} {kind:<4s}"
        f"  {charge:10.6f}    {mass:10.4f}           0\n"
        for k in range(2)
        for i, (name, kind, charge, mass) in enumerate(rows, 1)
    ]
    path.write_text(
        "PSF\n\n       1 !NTITLE\n REMARKS water\n\n       6 !NATOM\n"
        + "".join(atoms)
        + "\n       6 !NBOND: bonds\n"
        + "       1       2       1       3       2       3       4       5\n"
        + "       4       6       5       6\n\n       0 !NTHETA: angles\n\n"
    )
    return path


def test_constraints_of_rigid_water_are_no_bonds(tmp_path: Path) -> None:
    found = read_topology(rigid_water(tmp_path / "a.psf"))
    assert found.types == ("O", "H", "H") * 2
    assert found.bonds.tolist() == [[0, 1], [0, 2], [3, 4], [3, 5]]


def test_gro_without_the_bonds_of_its_polymer(tmp_path: Path) -> None:
    rows = [("PEO", f"C{i}", 1) for i in range(9)]
    rows += [("SOL", name, 2) for name in ("OW", "HW1", "HW2")]
    lines = [
        f"{number:5d}{residue:<5s}{name:>5s}{i:5d}{0.1 * i:8.3f}{0.0:8.3f}{0.0:8.3f}\n"
        for i, (residue, name, number) in enumerate(rows, 1)
    ]
    text = "melt\n   12\n" + "".join(lines) + "   3.0   3.0   3.0\n"
    (tmp_path / "a.gro").write_text(text)
    table = [f"C{i},C,12.011\n" for i in range(9)]
    table += ["OW,O,15.999\n", "HW1,H,1.008\n", "HW2,H,1.008\n"]
    (tmp_path / "types.csv").write_text("name,type,mass\n" + "".join(table))
    chemistry = Chemistry(rows=read_types(tmp_path / "types.csv"))
    with pytest.raises(ValueError, match=r"residue PEO 1, its 9 atoms are 9 separate"):
        read_topology(tmp_path / "a.gro", chemistry=chemistry)


def test_unwrapped_frames_of_a_format_that_does_not_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    topology = mdtraj.Topology()
    residue = topology.add_residue("PEO", topology.add_chain())
    atoms = [topology.add_atom(n, mdtraj.element.carbon, residue) for n in ("C1", "C2")]
    topology.add_bond(*atoms)
    positions = np.zeros((4, 2, 3))
    positions[:, 1, 1] = 0.15
    positions[..., 0] = 2.1 * np.arange(4)[:, None]  # 0.7 of the box
    frames = mdtraj.Trajectory(positions, topology, time=np.arange(4.0))
    frames.unitcell_vectors = np.stack([3.0 * np.eye(3)] * 4)
    frames.save_xtc(str(tmp_path / "a.xtc"))
    graph, path = from_mdtraj(topology), tmp_path / "a.xtc"
    options = FrameOptions(is_unwrapped=True)
    found = read(path, graph, frames=options).positions[:, 0, 0]
    np.testing.assert_allclose(found, 2.1 * np.arange(4), atol=2e-3)
    assert not caplog.records
    found = read(path, graph).positions[:, 0, 0]
    np.testing.assert_allclose(found, -0.9 * np.arange(4), atol=2e-3)
    assert "unwrapping" in caplog.text
    assert "say that they are, --unwrapped" in caplog.text
    frames.xyz[2:, 1, 0] -= 2.9  # cut by a boundary: not unwrapped at all
    frames.save_xtc(str(path))
    with pytest.raises(ValueError, match="own image"):
        read(path, graph, frames=options)
