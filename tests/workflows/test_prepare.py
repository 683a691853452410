"""`cgml prepare`: atoms in files -> beads in files."""

from itertools import pairwise

import MDAnalysis
import mdtraj
import numpy as np
import pytest

from cgml.mapping import Mapping
from cgml.preparation import parse_values
from cgml.trajectory import read_beads, read_reference

N_ATOMS = 20


@pytest.fixture
def atoms(chains, tmp_path) -> tuple[mdtraj.Trajectory, str, str]:
    """A chain as a stranger has it: an XTC file and a PDB file with CONECT records."""
    with np.load(chains) as arrays:
        positions = arrays["x"][0]
    topology = mdtraj.Topology()
    residue = topology.add_residue("POL", topology.add_chain())
    carbon = mdtraj.element.carbon
    beads = [topology.add_atom(f"C{i}", carbon, residue) for i in range(N_ATOMS)]
    for first, second in pairwise(beads):
        topology.add_bond(first, second)
    frames = mdtraj.Trajectory(positions, topology, time=10.0 * np.arange(12))
    frames.save_xtc(str(tmp_path / "md.xtc"))
    frames[0].save_pdb(str(tmp_path / "md.pdb"))
    return frames, tmp_path / "md.xtc", tmp_path / "md.pdb"


def test_atoms_become_beads(cgml, atoms, tmp_path):
    frames, trajectory, topology = atoms
    out = tmp_path / "beads"
    result = cgml("prepare", trajectory, "--topology", topology, "--output", out)
    assert result.exit_code == 0, result.output
    beads = read_beads(out / "md.h5md")
    runs = frames.xyz.reshape(12, 4, 5, 3).mean(axis=2)  # equal masses, runs of five
    np.testing.assert_allclose(beads.positions, runs, atol=2e-3)  # XTC: 0.001 nm
    np.testing.assert_allclose(beads.times, frames.time)
    squares = ((frames.xyz - frames.xyz.mean(axis=1, keepdims=True)) ** 2).sum(axis=2)
    np.testing.assert_allclose(
        beads.observables["rg2"], squares.mean(axis=1), atol=5e-3
    )
    saved = Mapping.load(out / "mapping.json")
    assert saved.hash() == beads.mapping.hash()
    universe = MDAnalysis.coordinates.H5MD.H5MDReader(
        str(out / "md.h5md"), convert_units=False
    )
    assert [frame.time for frame in universe] == pytest.approx(list(frames.time))
    universe.close()


def test_a_mapping_of_ones_own(cgml, atoms, tmp_path):
    _, trajectory, topology = atoms
    by_metis = tmp_path / "tens"
    cgml(
        *("prepare", trajectory, "--topology", topology, "--output", by_metis),
        *("--atoms-per-bead", 10),
    )
    again = tmp_path / "again"
    result = cgml(
        *("prepare", trajectory, "--topology", topology, "--output", again),
        *("--mapping", by_metis / "mapping.json"),
    )
    assert result.exit_code == 0, result.output
    assert read_beads(again / "md.h5md").mapping.n_beads == 2


def test_reference_arrays(cgml, chains, tmp_path):
    assert cgml("prepare", chains, "--output", tmp_path).exit_code == 0
    for system in read_reference(chains):
        found = read_beads(tmp_path / f"{system.name}.h5md")
        np.testing.assert_array_equal(found.positions, system.positions)
        assert found.mapping.hash() == system.mapping.hash()


def test_an_element_that_the_model_does_not_know(cgml, atoms, tiny_model, tmp_path):
    _, _, pdb = atoms
    for line in (text := pdb.read_text()).splitlines():
        assert not line.startswith("ATOM") or line[77] == "C"
    pdb.write_text(text.replace("           C  \n", "           N  \n"))
    output = tmp_path / "run"
    result = cgml("run", tiny_model, pdb, "--time", 20.0, "--output", output)
    assert result.exit_code == 1
    assert "unknown particle type 'N'" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ((), "pass the file that has them as the topology"),
        (("--atoms-per-bead", 0.5), "atoms_per_bead must be 1 or more, got 0.5"),
        (("--mass", "A"), "a mass is given as NAME=NUMBER"),
        (("--mass", "A=-1"), "masses must be positive, the mass of 'A' is -1 Da"),
    ],
)
def test_bad_options(cgml, atoms, tmp_path, changed, text):
    result = cgml("prepare", atoms[1], "--output", tmp_path / "out", *changed)
    assert result.exit_code == 1
    assert text in " ".join(result.output.split())


def test_atom_count_differs(cgml, atoms, tmp_path):
    frames, trajectory, _ = atoms
    other = tmp_path / "short.pdb"
    frames[0].atom_slice(range(10)).save_pdb(str(other))
    result = cgml("prepare", trajectory, "--topology", other, "--output", tmp_path)
    assert result.exit_code == 1
    assert "20 atoms" in " ".join(result.output.split())
    assert "10" in result.output


def test_two_systems_of_one_name(cgml, chains, tmp_path):
    result = cgml("prepare", chains, chains, "--output", tmp_path)
    assert result.exit_code == 1
    assert "'pair_000'" in result.output


def test_a_truncated_trajectory(cgml, atoms, tmp_path):
    _, trajectory, topology = atoms
    trajectory.write_bytes(trajectory.read_bytes()[:-50])
    result = cgml("prepare", trajectory, "--topology", topology, "--output", tmp_path)
    assert result.exit_code == 1
    assert "md.xtc" in result.output


def test_values():
    assert parse_values(["A=1", "Li=6.94"], "mass") == {"A": 1.0, "Li": 6.94}
