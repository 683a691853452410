"""`cgml prepare`: atoms in files -> beads in files."""

import gzip
from itertools import pairwise
from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest

from cgml.cli.options import FramesReader
from cgml.cli.values import parse_type_names, parse_values
from cgml.formats.trajectory import read_beads, read_reference
from cgml.models.file import read_spec
from cgml.molecules.mapping import Mapping
from cgml.training.coarsening import Coarsening

N_ATOMS = 20


@pytest.fixture
def atoms(chains, tmp_path) -> tuple[mdtraj.Trajectory, str, str]:
    """A chain as a stranger has it: an XTC file and a PDB file with CONECT records."""
    with np.load(chains) as arrays:
        positions = arrays["x"][0]
    topology = mdtraj.Topology()
    residue = topology.add_residue("POL", topology.add_chain())
    sulfur = mdtraj.element.sulfur
    beads = [topology.add_atom(f"S{i}", sulfur, residue) for i in range(N_ATOMS)]
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


def racemate(path: Path, turned_at: int | None = None) -> tuple[Path, Path]:
    """Write two mirror images of CHFClBr; the first turns over in a frame, if asked."""
    topology = mdtraj.Topology()
    for k in range(2):
        residue = topology.add_residue("MOL", topology.add_chain(), k + 1)
        names = ("C", "H", "F", "Cl", "Br")
        atoms = [
            topology.add_atom(name, mdtraj.element.get_by_symbol(name), residue)
            for name in names
        ]
        for other in atoms[1:]:
            topology.add_bond(atoms[0], other)
    one = 0.1 * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    positions = np.repeat(np.concatenate((one, 2.0 - one))[None], 6, axis=0)
    if turned_at is not None:
        positions[turned_at, :5] = -one
    frames = mdtraj.Trajectory(positions, topology, time=np.arange(6.0))
    frames.save_xtc(str(path / "md.xtc"))
    frames[0].save_pdb(str(path / "md.pdb"))
    return path / "md.xtc", path / "md.pdb"


@pytest.mark.parametrize(
    ("turned_at", "hands"), [(None, "1 R, 1 S"), (3, "1 R, 1 unsettled")]
)
def test_hands_are_told_and_kept(cgml, tmp_path, turned_at, hands, caplog):
    trajectory, topology = racemate(tmp_path, turned_at)
    out = tmp_path / "beads"
    result = cgml("prepare", trajectory, "--topology", topology, "--output", out)
    assert result.exit_code == 0, result.output
    assert f"2 stereocentres in 2 beads: {hands}" in result.output
    assert "warning: these molecules are chiral" in result.output
    kept = read_beads(out / "md.h5md").mapping
    counted = (item.split() for item in hands.split(", "))
    assert kept.hand_counts == {name: int(n) for n, name in counted}
    np.testing.assert_array_equal(Mapping.load(out / "mapping.json").hands, kept.hands)
    is_said = "stereocentres turn over in the frames of md: 1 of 2" in caplog.text
    assert is_said is (turned_at is not None)


def test_rotation_of_molecules_of_one_bead_is_measured(cgml, tmp_path):
    """Two that spin evenly, a turn in 40 ps: cos is 1/e after 7.6 ps."""
    trajectory, topology = racemate(tmp_path)
    frames = mdtraj.load(str(trajectory), top=str(topology))
    frames = frames.slice(np.zeros(60, dtype=int))
    frames.time = np.arange(60.0)
    for k, angle in enumerate(2.0 * np.pi * np.arange(60) / 40.0):
        turn = np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
        frames.xyz[k, :, :2] = frames.xyz[k, :, :2] @ turn.T
    frames.save_xtc(str(trajectory))
    result = cgml("prepare", trajectory, "--topology", topology, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    (row,) = read_beads(tmp_path / "md.h5md").rotation
    assert row.atoms == {"Br": 1, "C": 1, "Cl": 1, "F": 1, "H": 1}
    assert row.time == pytest.approx(10.5, abs=3.0)  # what is along the axis stays
    assert f"1 Br 1 C 1 Cl 1 F 1 H: {row.time:.3g} ps" in result.output


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
        assert not line.startswith("ATOM") or line[77] == "S"
    pdb.write_text(text.replace("           S  \n", "           N  \n"))
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
        (("--mass", "A=-1"), "the mass of 'A' must be positive, got -1 Da"),
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
    assert parse_values(["A=1", "A=1.0"], "mass") == {"A": 1.0}
    with pytest.raises(ValueError, match="one mass of A is required, got 1 and 2"):
        parse_values(["A=1", "A=2"], "mass")


# LAMMPS: two polymers of 12 atoms, two anions of 5, two lithium ions, in a box

BOX = 14.0  # Angstrom


def write_lammps(folder, n_frames: int = 4) -> tuple[np.ndarray, list[np.ndarray]]:
    """Write run.data and run.lammpstrj.gz; returns true paths, Angstrom, and bonds."""
    rng = np.random.default_rng(0)
    sizes = [12, 12, 5, 5, 1, 1]
    kinds = {12: [1] * 12, 5: [4, *[3] * 4], 1: [5]}
    types = [kind for size in sizes for kind in kinds[size]]
    starts = np.cumsum([0, *sizes])
    bonds = [(i + k, i + k + 1) for i in starts[:2] for k in range(11)]
    bonds += [(i, i + k) for i in starts[2:4] for k in range(1, 5)]
    molecule = np.repeat(np.arange(6), sizes)
    true = np.zeros((n_frames, len(types), 3))
    for first, size in zip(starts, sizes, strict=False):
        steps = rng.normal(scale=0.8, size=(n_frames, size, 3))
        chain = np.cumsum(steps, axis=1) if size == 12 else steps
        true[:, first : first + size] = chain + rng.uniform(0, BOX, 3)
    true += np.cumsum(rng.normal(scale=2.0, size=(n_frames, 6, 3)), axis=0)[:, molecule]
    flags = np.floor(true / BOX).astype(int)
    inside = true - BOX * flags

    def rows(frame: int, columns: list) -> str:
        table = zip(*columns, inside[frame].tolist(), flags[frame], strict=True)
        order = rng.permutation(len(types))
        text = [" ".join(map(str, [*row[:-2], *row[-2], *row[-1]])) for row in table]
        return "\n".join(text[i] for i in order)

    number = np.arange(1, len(types) + 1).tolist()
    masses = "1 14.027\n2 1.0\n3 18.9984\n4 30.9738\n5 6.941"
    edges = "\n".join(f"{n + 1} 1 {a + 1} {b + 1}" for n, (a, b) in enumerate(bonds))
    atoms = rows(0, [number, (molecule + 1).tolist(), types, [0.0] * len(types)])
    sides = "\n".join(f"0.0 {BOX} {k}lo {k}hi" for k in "xyz")
    (folder / "run.data").write_text(
        f"title\n\n{len(types)} atoms\n{len(bonds)} bonds\n5 atom types\n{sides}\n\n"
        f"Masses\n\n{masses}\n\nAtoms # full\n\n{atoms}\n\nBonds\n\n{edges}\n"
    )
    head = f"ITEM: NUMBER OF ATOMS\n{len(types)}\nITEM: BOX BOUNDS pp pp pp\n"
    head += 3 * f"0.0 {BOX}\n" + "ITEM: ATOMS id type x y z ix iy iz\n"
    text = "".join(
        f"ITEM: TIMESTEP\n{1000 * k}\n{head}{rows(k, [number, types])}\n"
        for k in range(n_frames)
    )
    (folder / "run.lammpstrj.gz").write_bytes(gzip.compress(text.encode()))
    return true, [np.flatnonzero(molecule == k) for k in range(6)]


def prepare_lammps(cgml, folder, *options):
    return cgml(
        *("prepare", folder / "run.lammpstrj.gz", "--topology", folder / "run.data"),
        *("--output", folder / "beads", "--atoms-per-bead", 3, *options),
    )


def test_lammps_files_become_beads(cgml, tmp_path):
    true, molecules = write_lammps(tmp_path)
    options = ("--md-step", 2.0, "--mass", "CH2=14.027", "--single-bead-limit", 5)
    result = prepare_lammps(cgml, tmp_path, *options)
    assert result.exit_code == 0, result.output
    beads = read_beads(tmp_path / "beads" / "run.h5md")
    np.testing.assert_allclose(beads.times, [0.0, 2.0, 4.0, 6.0])
    np.testing.assert_allclose(beads.box, 0.1 * BOX * np.eye(3), rtol=1e-12)
    graph = beads.mapping.graph
    assert list(graph.types) == ["CH2"] * 24 + ["P", *"FFFF"] * 2 + ["Li"] * 2
    assert graph.masses[0] == 14.027
    assert np.bincount(beads.mapping.bead_index).tolist() == [3] * 8 + [5, 5, 1, 1]
    runs = true[:, :24].reshape(4, 8, 3, 3).mean(axis=2)  # equal masses, runs of three
    anions = [
        np.average(true[:, atoms], axis=1, weights=graph.masses[atoms])[:, None]
        for atoms in molecules[2:4]
    ]
    expected = 0.1 * np.concatenate([runs, *anions, true[:, 34:]], axis=1)
    np.testing.assert_allclose(beads.positions, expected, atol=2e-6)


def test_lammps_type_names_and_bond_types(cgml, tmp_path):
    write_lammps(tmp_path)
    options = ("--md-step", 0.002, "--units", "metal", "--bond-types")
    result = prepare_lammps(cgml, tmp_path, *options, "--type-name", "1=CH2")
    assert result.exit_code == 0, result.output
    beads = read_beads(tmp_path / "beads" / "run.h5md")
    np.testing.assert_allclose(beads.times, [0.0, 2.0, 4.0, 6.0])
    assert set(beads.mapping.graph.bond_types) == {"1"}
    assert np.bincount(beads.mapping.bead_index).tolist()[8:] == [4, 1, 4, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--md-step", 2.0), "atom type 1 of"),
        (("--mass", "CH2=14.027"), "pass time_step, in ps (--time-step), or md_step"),
        (("--type-name", "CH2=1"), "an atom type is given as NUMBER=NAME"),
        (("--type-name", "1="), "an atom type is given as NUMBER=NAME"),
        (("--md-step", -1.0), "md_step must be positive, got -1"),
        (("--mass", "CH2=14.027", "--single-bead-limit", -1), "must be 0 or more"),
    ],
)
def test_bad_lammps_options(cgml, tmp_path, options, text):
    write_lammps(tmp_path)
    if "--single-bead-limit" in options:
        options = (*options, "--md-step", 2.0)
    result = prepare_lammps(cgml, tmp_path, *options)
    assert result.exit_code == 1
    assert text in " ".join(result.output.split())


def test_type_names():
    assert parse_type_names(["1=C", "22=CH2"]) == {1: "C", 22: "CH2"}
    with pytest.raises(ValueError, match=r"one name of atom type 1 .* C and CH2"):
        parse_type_names(["1=C", "1=CH2"])


def test_one_clock():
    with pytest.raises(ValueError, match="give one of the two"):
        FramesReader(time_step=1.0, md_step=2.0).complete(Coarsening())


def test_a_model_knows_how_its_molecules_were_cut(tiny_model):
    spec = read_spec(tiny_model)
    chosen = spec.model_copy(update={"single_bead_limit": 15, "bond_types": ["1", "2"]})
    assert Coarsening.from_spec(spec).recipe.single_bead_limit == 0
    assert not Coarsening.from_spec(spec).lammps.keep_bond_types
    assert Coarsening.from_spec(chosen).recipe.single_bead_limit == 15
    assert Coarsening.from_spec(chosen).lammps.keep_bond_types
