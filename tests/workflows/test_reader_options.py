"""Options that commands share: which frames, which atoms, which box, which beads."""

from itertools import pairwise

import mdtraj
import numpy as np
import pytest

from cgml.formats.trajectory import read_beads, read_reference

N = 20


@pytest.fixture
def files(chains, tmp_path):
    """A chain of sulfur and a water in a box that breathes: XTC and PDB."""
    with np.load(chains) as arrays:
        chain = arrays["x"][0][:12]
    topology = mdtraj.Topology()
    residue = topology.add_residue("POL", topology.add_chain())
    element = mdtraj.element
    atoms = [topology.add_atom(f"C{i}", element.sulfur, residue) for i in range(N)]
    for first, second in pairwise(atoms):
        topology.add_bond(first, second)
    water = topology.add_residue("HOH", topology.add_chain())
    trio = [
        topology.add_atom(name, kind, water)
        for name, kind in (
            ("O", element.oxygen),
            *[(f"H{k}", element.hydrogen) for k in (1, 2)],
        )
    ]
    topology.add_bond(trio[0], trio[1])
    topology.add_bond(trio[0], trio[2])
    steps = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]])
    chain = chain * 0.14 / np.linalg.norm(np.diff(chain, axis=1), axis=-1).mean()
    chain -= chain.mean(axis=1, keepdims=True)
    xyz = np.concatenate([chain, np.broadcast_to(steps + 2.0, (12, 3, 3))], axis=1)
    frames = mdtraj.Trajectory(xyz, topology, time=10.0 * np.arange(12))
    edges = 8.0 + 0.05 * np.sin(np.arange(12.0))
    frames.unitcell_vectors = np.eye(3) * edges[:, None, None]
    frames.save_xtc(str(tmp_path / "md.xtc"))
    frames[0].save_pdb(str(tmp_path / "md.pdb"))
    return tmp_path / "md.xtc", tmp_path / "md.pdb", edges


def prepare(cgml, files, output, *options):
    return cgml(
        "prepare", files[0], "--topology", files[1], "--output", output, *options
    )


def test_constant_pressure(cgml, files, tmp_path):
    done = prepare(cgml, files, tmp_path / "out")
    assert done.exit_code == 0, done.output
    beads = read_beads(tmp_path / "out" / "md.h5md")
    assert beads.box[0, 0] == pytest.approx(files[2].mean(), abs=1e-5)
    assert beads.scaling > 0.0
    assert "frames scaled by up to 0.6" in " ".join(done.output.split())
    given = prepare(cgml, files, tmp_path / "own", "--box", "8.1")
    assert given.exit_code == 0, given.output
    assert read_beads(tmp_path / "own" / "md.h5md").box[1, 1] == 8.1
    refused = prepare(cgml, files, tmp_path / "no", "--max-scaling", 0.001)
    assert refused.exit_code == 1
    assert "by at most 0.001 are required" in " ".join(refused.output.split())


def test_frames_and_atoms(cgml, files, tmp_path):
    options = ("--start", 2, "--stop", -1, "--stride", 4, "--select", "not water")
    done = prepare(cgml, files, tmp_path / "out", *options, "--no-box")
    assert done.exit_code == 0, done.output
    beads = read_beads(tmp_path / "out" / "md.h5md")
    assert beads.times.tolist() == [20.0, 60.0, 100.0]
    assert beads.mapping.graph.n_atoms == N
    assert beads.box is None
    again = cgml(*("inspect", tmp_path / "out" / "md.h5md", "--start", -2, "--json"))
    assert again.exit_code == 0, again.output
    assert '"n_frames": 2' in again.output
    refused = cgml("inspect", tmp_path / "out" / "md.h5md", "--select", "water")
    assert refused.exit_code == 1
    assert "holds beads" in " ".join(refused.output.split())


def test_beads_by_hand(cgml, files, tmp_path):
    by_hand = tmp_path / "beads.toml"
    by_hand.write_text(
        '[[bead]]\nname = "ten"\nresidue = "POL"\natoms = ["C?"]\n'
        '[[bead]]\nname = "rest"\nresidue = "POL"\natoms = ["C1?"]\n'
        '[[bead]]\nname = "water"\nresidue = "HOH"\natoms = ["O"]\n'
    )
    done = prepare(cgml, files, tmp_path / "out", "--mapping", by_hand)
    assert done.exit_code == 0, done.output
    mapping = read_beads(tmp_path / "out" / "md.h5md").mapping
    assert mapping.bead_index.tolist() == [0] * 10 + [1] * 10 + [2] * 3
    by_hand.write_text(by_hand.read_text().replace('"C1?"', '"C1[1-9]"'))
    refused = prepare(cgml, files, tmp_path / "no", "--mapping", by_hand)
    assert refused.exit_code == 1
    assert "10 (C10)" in " ".join(refused.output.split())


def test_hydrogens_are_kept(cgml, files, tmp_path):
    done = prepare(cgml, files, tmp_path / "kept", "--atoms-per-bead", 1)
    assert done.exit_code == 0, done.output
    kept = read_beads(tmp_path / "kept" / "md.h5md").mapping
    assert kept.n_beads == N + 1
    assert kept.recipe.keep_hydrogens
    options = ("--atoms-per-bead", 1, "--no-keep-hydrogens")
    assert prepare(cgml, files, tmp_path / "cut", *options).exit_code == 0
    assert read_beads(tmp_path / "cut" / "md.h5md").mapping.n_beads == N + 3


def test_a_run_starts_from_the_frame_asked_for(cgml, chains, tiny_model, tmp_path):
    done = cgml(
        *("run", tiny_model, chains, "--time", 20.0, "--output", tmp_path / "run"),
        *("--frame", -1, "--guard", "record", "--format", "h5md"),
    )
    assert done.exit_code in (0, 3), done.output
    for system in read_reference(chains):
        path = tmp_path / "run" / f"{system.name}_r0.h5md"
        moved = read_beads(path).positions[0] - system.positions[-1]
        away = read_beads(path).positions[0] - system.positions[0]
        assert np.abs(moved - moved.mean(axis=0)).max() < np.abs(away).max()


def test_a_mapping_that_nothing_uses_is_refused(cgml, chains, tmp_path):
    (tmp_path / "beads.toml").write_text("[[bead]]\n")
    options = ("--mapping", tmp_path / "beads.toml", "--output", tmp_path / "out")
    refused = cgml("prepare", chains, *options)
    assert refused.exit_code == 1
    assert "all files given hold beads" in " ".join(refused.output.split())
