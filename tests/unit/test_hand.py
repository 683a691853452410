"""Beads that a user names in a file."""

import json
from pathlib import Path

import pytest

from cgml.molecules.graph import Labels, MolecularGraph
from cgml.molecules.hand import read_mapping
from cgml.molecules.mapping import Mapping

ATOMS = ["C1", "O", "C2"]


def oligomer(n: int = 3, *, salt: bool = True) -> MolecularGraph:
    """(C1-O-C2)n with one hydrogen on each C1, a residue each; a lithium."""
    types, names, groups, bonds = [], [], [], []
    for residue in range(n):
        start = len(types)
        types += ["C", "O", "C", "H"]
        names += [*ATOMS, "H1"]
        groups += [f"residue PEO {residue + 1}"] * 4
        bonds += [(start, start + 1), (start + 1, start + 2), (start, start + 3)]
        if residue:
            bonds.append((start - 2, start))
    if salt:
        types, names = [*types, "Li"], [*names, "LI"]
        groups.append("residue LI 9 (number 9)")
    masses = {"C": 12.011, "O": 15.999, "H": 1.008, "Li": 6.94}
    labels = Labels.create(names, groups)
    return MolecularGraph.create(types, [masses[t] for t in types], bonds, None, labels)


def write(folder: Path, *beads: dict, suffix: str = ".toml") -> Path:
    path = folder / f"beads{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps({"bead": list(beads)}))
        return path
    lines = [
        "[[bead]]\n"
        + "\n".join(f"{key} = {json.dumps(value)}" for key, value in b.items())
        for b in beads
    ]
    path.write_text("\n".join(lines))
    return path


ETHER = {"name": "EO", "residue": "PEO", "atoms": ATOMS}
ION = {"name": "Li", "residue": "LI", "atoms": ["*"]}


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_a_bead_for_each_residue(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, ETHER, ION, suffix=suffix)
    mapping = read_mapping(path, oligomer())
    assert mapping.bead_index.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3]


def test_wildcards_and_several_beads_a_residue(tmp_path: Path) -> None:
    ends = {"name": "C1", "residue": "P*", "atoms": ["C1", "H?"]}
    rest = {"name": "OC", "atoms": ["O", "C[23]"]}
    path = write(tmp_path, ends, rest, ION)
    mapping = read_mapping(path, oligomer(2))
    assert mapping.bead_index.tolist() == [0, 1, 1, 0, 2, 3, 3, 2, 4]


def test_without_names_types_stand_for_them(tmp_path: Path) -> None:
    graph = MolecularGraph.create(["c", "o"], [12.0, 16.0], [[0, 1]])
    path = write(tmp_path, {"name": "CO", "atoms": ["c", "o"]})
    assert read_mapping(path, graph).bead_index.tolist() == [0, 0]


def test_a_saved_mapping(tmp_path: Path) -> None:
    graph = oligomer()
    mapping = Mapping.from_partition(graph, 3)
    mapping.save(tmp_path / "mapping.json")
    assert read_mapping(tmp_path / "mapping.json", graph).hash() == mapping.hash()


@pytest.mark.parametrize(
    ("beads", "match"),
    [
        ([ETHER], r"1 of 13 are in none of .*beads\.toml, the first is .*LI"),
        ([ETHER, ETHER, ION], r"one bead, .* puts .*C1.* into 'EO' and into 'EO'"),
        (
            [{**ETHER, "atoms": ["C1", "C2"]}, {"name": "O", "atoms": ["O"]}, ION],
            r"must be connected .* bead 'EO' of .* holds .*C1.* and .*C2",
        ),
        (
            [{**ETHER, "atoms": [*ATOMS, "C7"]}, ION],
            r"'EO' of .* names atom C7, which no residue PEO has: there are C1, C2, H1",
        ),
        (
            [ETHER, {**ION, "residue": "NA"}],
            r"no residue NA has: residues are LI, PEO",
        ),
    ],
)
def test_beads_that_do_not_fit(tmp_path: Path, beads: list, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_mapping(write(tmp_path, *beads), oligomer())


def test_a_name_that_atoms_share(tmp_path: Path) -> None:
    labels = Labels.create(["C", "C"], ["residue X 1"] * 2)
    graph = MolecularGraph.create("CC", [12.0, 12.0], [[0, 1]], None, labels)
    path = write(tmp_path, {"name": "all", "atoms": ["C"]})
    with pytest.raises(ValueError, match=r"names atom C, which residue X has several"):
        read_mapping(path, graph)
    both = write(tmp_path, {"name": "all", "atoms": ["C*"]})
    assert read_mapping(both, graph).n_beads == 1


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "[[bead]]\nname = 'a'\natom = ['C']\n",
            r"beads\.toml cannot be used: bead\.0",
        ),
        ("bead = []\n", r"beads\.toml cannot be used: bead List"),
        ("[[bead]\n", r"beads\.toml is neither TOML nor JSON"),
        ("a = " + "[" * 100_000, r"beads\.toml is neither TOML nor JSON"),
        ("\0", r"beads\.toml has UTF-16"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "beads.toml").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_mapping(tmp_path / "beads.toml", oligomer())
