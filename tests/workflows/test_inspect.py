"""`cgml inspect`: what files hold, before anything is made of them."""

import json
from itertools import pairwise

import mdtraj
import numpy as np
import pytest


@pytest.fixture
def melt(tmp_path):
    """Two chains of twelve sulfurs and three waters: XTC and PDB files."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    element = mdtraj.element
    for _ in range(2):
        residue = topology.add_residue("PEO", chain)
        atoms = [topology.add_atom(f"S{i}", element.sulfur, residue) for i in range(12)]
        for one, other in pairwise(atoms):
            topology.add_bond(one, other)
    for _ in range(3):
        residue = topology.add_residue("HOH", chain)
        oxygen = topology.add_atom("O", element.oxygen, residue)
        for name in ("H1", "H2"):
            topology.add_bond(
                oxygen, topology.add_atom(name, element.hydrogen, residue)
            )
    positions = np.zeros((5, 33, 3))
    positions[:, :, 1] = 0.4 * np.repeat(np.arange(5), [12, 12, 3, 3, 3])
    positions[:, :24, 0] = 0.15 * np.tile(np.arange(12), 2)
    positions[:, 25::3, 0], positions[:, 26::3, 2] = 0.1, 0.1
    positions[:, :24, 2] = 0.0
    frames = mdtraj.Trajectory(positions, topology, time=2.0 * np.arange(5))
    frames.unitcell_vectors = np.stack([4.0 * np.eye(3)] * 5)
    frames.save_xtc(str(tmp_path / "md.xtc"))
    frames[0].save_pdb(str(tmp_path / "md.pdb"))
    return tmp_path


def test_the_table(cgml, melt):
    result = cgml("inspect", melt / "md.xtc", "--topology", melt / "md.pdb")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.replace("│", " ").split())
    for part in (
        "md: 33 atoms, 5 molecules, 7 beads",
        "3 x H2O: 3 atoms, 18.015 Da, 1 bead (1 H2O)",
        "2 x S12: 12 atoms, 384.79 Da, 2 beads (2 S6)",
        "S 32.066 Da (24)",
        "S-S (22, 0.150 nm)",
        "atoms in a bead: 3 to 6, mean 4.71",
        "5, 0 to 8 ps, every 2 ps",
        "4 x 4 x 4 nm; density 0.02137 g/cm^3",
    ):
        assert part in text, text
    assert sorted(path.name for path in melt.iterdir()) == ["md.pdb", "md.xtc"]


def test_as_json(cgml, melt):
    drawing = melt / "kinds.png"
    result = cgml(
        *("inspect", melt / "md.xtc", "--topology", melt / "md.pdb", "--json"),
        *("--atoms-per-bead", 4, "--drawing", drawing),
    )
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert found["n_beads"] == 9
    assert found["kinds"][1]["beads"] == {"S4": 3}
    assert found["times"] == [0.0, 8.0]
    assert drawing.read_bytes().startswith(b"\x89PNG")


def test_how_chains_will_be_cut(cgml, melt):
    """As `prepare` cuts them: in runs chains are, also below the limit."""
    files = (melt / "md.xtc", "--topology", melt / "md.pdb")
    sizes = ("--atoms-per-bead", 4, "--single-bead-limit", 12)
    for method, n_beads, words in (
        ("recursive", 5, "METIS recursive, molecules of up to 12 atoms are one"),
        ("runs", 9, "chains cut in runs, other molecules of up to 12 atoms are one"),
    ):
        result = cgml("inspect", *files, *sizes, "--method", method)
        text = " ".join(result.output.replace("│", " ").split())
        assert f"5 molecules, {n_beads} beads" in text
        assert words in text


def test_all_commands_show_it(cgml, melt):
    out = melt / "beads"
    result = cgml(
        *("prepare", melt / "md.xtc", "--topology", melt / "md.pdb", "--output", out)
    )
    assert result.exit_code == 0, result.output
    assert "2 x S12: 12 atoms" in " ".join(result.output.split())
    assert (out / "molecules.png").read_bytes().startswith(b"\x89PNG")
    again = cgml("inspect", out / "md.h5md", "--json")
    (found,) = json.loads(again.stdout)
    assert found["bonds"]["S-S"]["count"] == 22
    assert found["n_frames"] == 5


def test_a_topology_alone(cgml, melt):
    result = cgml("inspect", melt / "md.pdb")
    assert result.exit_code == 0, result.output
    assert "1, at 0 ps" in result.output


def test_a_topology_of_a_topology(cgml, melt):
    (melt / "a.itp").write_text(
        "[ moleculetype ]\nA 1\n[ atoms ]\n1 C 1 A C 1 0 12.0\n"
    )
    result = cgml("inspect", melt / "a.itp", "--topology", melt / "md.pdb")
    assert "--topology is of frames" in result.output
    assert result.exit_code == 1


def test_missing_bonds_are_refused(cgml, melt):
    lines = (melt / "md.pdb").read_text().splitlines(keepends=True)
    (melt / "cut.pdb").write_text(
        "".join(line for line in lines if not line.startswith("CONECT"))
    )
    result = cgml("inspect", melt / "cut.pdb")
    assert result.exit_code == 1
    assert "none connect the atoms of residue PEO 0" in " ".join(result.output.split())


def test_frames_that_move_far(cgml, melt, caplog):
    frames = mdtraj.load(str(melt / "md.xtc"), top=str(melt / "md.pdb"))
    frames.xyz[:, 24:27, 0] += 1.5 * np.arange(5)[:, None]  # a water: 0.38 of the box
    frames.save_xtc(str(melt / "far.xtc"))
    given = ("inspect", melt / "far.xtc", "--topology", melt / "md.pdb")
    assert cgml(*given).exit_code == 0
    assert "far.xtc is a guess: molecule 2 (from atom 24 (O) of residue" in caplog.text
    caplog.clear()
    assert cgml(*given, "--unwrapped").exit_code == 0
    assert not caplog.records
