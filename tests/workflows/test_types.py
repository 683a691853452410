"""The options that say what atoms are, in all commands that read them."""

from itertools import pairwise

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

from cgml.formats.trajectory import read_beads

N_ATOMS, N_FRAMES = 12, 5


@pytest.fixture
def united(tmp_path):
    """A chain of united atoms as OpenMM leaves it: PDB, XTC, System."""
    topology = app.Topology()
    residue = topology.addResidue("PEO", topology.addChain())
    names = ["CH3", "O", "CH2"] + ["CH2", "O", "CH2"] * 2 + ["CH2", "O", "CH3"]
    atoms = [
        topology.addAtom(name, app.Element.getBySymbol(name[0]), residue)
        for name in names
    ]
    for one, other in pairwise(atoms):
        topology.addBond(one, other)
    system = openmm.System()
    for name in names:
        system.addParticle({"O": 15.9994, "CH2": 14.027, "CH3": 15.035}[name])
    path = np.cumsum(np.full((N_FRAMES, N_ATOMS, 3), 0.08), axis=1)
    path += 0.01 * np.random.default_rng(0).normal(size=path.shape)
    with (tmp_path / "a.pdb").open("w") as stream:
        app.PDBFile.writeFile(topology, path[0] * unit.nanometer, stream)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    frames = mdtraj.Trajectory(
        path, mdtraj.Topology.from_openmm(topology), time=np.arange(5.0)
    )
    frames.save_xtc(str(tmp_path / "a.xtc"))
    (tmp_path / "types.toml").write_text(
        'CH2 = { type = "CH2", mass = 14.027 }\nCH3 = { type = "CH3", mass = 15.035 }\n'
    )
    (tmp_path / "types.csv").write_text("CH2,CH2,14.027\nCH3,CH3,15.035\n")
    return tmp_path


def text_of(result):
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    "options",
    [
        ["--system", "system.xml"],
        ["--types", "types.toml"],
        ["--types", "types.csv"],
        ["--mass", "CH2=14.027", "--mass", "CH3=15.035"],
        ["--types", "types.toml", "--system", "system.xml"],
    ],
)
def test_united_atoms_have_their_masses(cgml, united, monkeypatch, options):
    monkeypatch.chdir(united)
    result = cgml(
        *("prepare", "a.xtc", "--topology", "a.pdb", "--output", "beads"),
        *("--atoms-per-bead", 3, *options),
    )
    assert result.exit_code == 0, result.output
    beads = read_beads(united / "beads" / "a.h5md")
    assert list(beads.mapping.graph.types[:3]) == ["CH3", "O", "CH2"]
    assert beads.mapping.bead_masses[0] == pytest.approx(15.035 + 15.9994 + 14.027)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "PEO:CH3 is C by its element, a united atom by its name"),
        (["--mass", "CH2=14.027"], "are required of PEO:CH3 in a.pdb"),
        (
            ["--system", "system.xml", "--mass", "CH4=16.043"],
            "nothing is called 'CH4', whose type or mass is given; in a.pdb there are",
        ),
        (["--system", "system.xml", "--type-name", "9=C"], "nothing is called '9'"),
        (["--system", "a.pdb"], "the XML file of an OpenMM System is required"),
        (["--types", "system.xml"], "a System is given with --system"),
        (["--types", "none.toml"], "there is no file none.toml"),
        (["--system", "system.xml", "--md-step", 2], "--md-step is of LAMMPS"),
        (["--system", "system.xml", "--units", "metal"], "--units is of LAMMPS"),
    ],
)
@pytest.mark.parametrize("command", ["prepare", "inspect", "run", "evaluate"])
def test_bad_types(cgml, united, monkeypatch, tiny_model, command, options, text):
    """The same options and the same words in all commands."""
    monkeypatch.chdir(united)
    begin = {
        "prepare": ["prepare", "a.xtc", "--output", "out"],
        "inspect": ["inspect", "a.xtc"],
        "run": ["run", tiny_model, "a.xtc", "--time", 20, "--output", "out"],
        "evaluate": ["evaluate", tiny_model, "--reference", "a.xtc", "--output", "o"],
    }[command]
    result = cgml(*begin, "--topology", "a.pdb", *options)
    assert result.exit_code == 1
    assert text in text_of(result)


@pytest.mark.parametrize("command", ["prepare", "run"])
def test_options_of_atoms_and_files_of_beads(
    cgml, chains, tiny_model, tmp_path, command
):
    result = cgml("prepare", chains, "--output", tmp_path, "--mass", "A=1")
    assert result.exit_code == 1
    assert "all files given hold beads" in text_of(result)
    for option in ("--topology", "--mapping", "--system"):
        result = cgml("prepare", chains, "--output", tmp_path, option, chains)
        assert result.exit_code == 1
        assert f"{option} is of files of atoms, all" in text_of(result)
    words = (("--time-step", 2), ("--unwrapped",), ("--max-scaling", 0.1))
    begin = {
        "prepare": ("prepare", chains, "--output", tmp_path / "out"),
        "run": ("run", tiny_model, chains, "--time", 20, "--output", tmp_path / "out"),
    }[command]
    for option in words:
        result = cgml(*begin, *option)
        assert result.exit_code == 1
        assert f"{option[0]} is of files of atoms, all" in text_of(result)


@pytest.mark.parametrize("step", ["nan", "inf", "-1", "0", "1e400", "1e-30"])
def test_steps_between_frames_that_run_does_not_need(
    cgml, united, monkeypatch, tiny_model, step
):
    """One frame has no step to the next, but what is said of it must make sense."""
    monkeypatch.chdir(united)
    tail = ("--time", 20, "--output", "out", "--time-step", step)
    result = cgml("run", tiny_model, "a.xtc", "--topology", "a.pdb", *tail)
    assert result.exit_code == 1
    assert "time_step must be" in text_of(result)


def test_types_of_atoms_that_are_left_out(cgml, tmp_path, monkeypatch):
    """A table of all atoms serves a selection of them, too."""
    monkeypatch.chdir(tmp_path)
    line = "HETATM{0:5d} {1:4s} {2:3s} A{3:4d}    {0:8.3f}   0.000   0.000  1.00  0.00"
    names = [("A", "PEO", 1), ("B", "PEO", 1), ("W", "WAT", 2)]
    rows = [line.format(i, *name) for i, name in enumerate(names, 1)]
    (tmp_path / "a.pdb").write_text("\n".join([*rows, "CONECT    1    2", "END\n"]))
    (tmp_path / "t.csv").write_text("A,A,12\nB,B,16\nW,W,18\n")
    result = cgml("inspect", "a.pdb", "--types", "t.csv", "--select", "resname PEO")
    assert result.exit_code == 0, result.output
    assert "W 18" not in text_of(result)
