"""`cgml view`, and the files that other programs open a run with."""

import base64
import json
import math
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest
from ase.io import read as read_with_ase

from cgml.formats.h5md import read_beads
from cgml.formats.pdb import (
    bead_names,
    write_data,
    write_structure,
    write_topology,
)
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.runs import scene

BOX = np.array([[3.0, 0.0, 0.0], [1.0, 2.8, 0.0], [0.0, -0.7, 2.5]])


@pytest.fixture(scope="module")
def run(tmp_path_factory, chains, tiny_model):
    """A run in DCD and in H5MD."""
    from typer.testing import CliRunner

    from cgml.cli.app import app

    folders = []
    for form in ("dcd", "h5md"):
        folder = tmp_path_factory.mktemp(form) / "run"
        words = ["run", tiny_model, chains, "--time", 100, "--replicas", 2]
        words += ["--output", folder, "--format", form, "--guard", "record"]
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        folders.append(folder)
    return folders


def data_of(page: str) -> list:
    (text,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page)
    return json.loads(text)


def test_a_run_is_shown(cgml, run, tmp_path):
    """Both forms show the same; the page asks for nothing else."""
    shown = []
    for folder in run:
        result = cgml("view", folder)
        assert result.exit_code == 0, result.output
        page = (folder / "view.html").read_text(encoding="utf-8")
        assert "http" not in page
        shown.append(data_of(page))
    for one, other in zip(*shown, strict=True):
        assert one["bonds"] == other["bonds"]
        assert one["kinds"] == other["kinds"]
        assert one["times"] == pytest.approx([20.0, 40.0, 60.0, 80.0, 100.0])
    assert len(shown[0]) == 4
    first = shown[1][0]
    beads = read_beads(run[1] / f"{first['name']}.h5md")
    assert first["n"] == beads.mapping.n_beads
    raw = np.frombuffer(base64.b64decode(first["frames"]), "<u2").reshape(5, -1, 3)
    positions = np.array(first["corner"]) + raw / 65535.0 * first["extent"]
    expected = beads.positions - beads.positions.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(positions, expected, atol=first["extent"] / 65535.0)
    some = cgml("view", run[1] / f"{first['name']}.h5md", "--frames", 2)
    assert some.exit_code == 0, some.output
    assert len(data_of((run[1] / "view.html").read_text())[0]["times"]) == 2
    cgml("view", run[0], "-o", tmp_path / "a.html", "--paths", 1)
    assert len(data_of((tmp_path / "a.html").read_text())) == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_page_draws(cgml, run, tmp_path):
    """Its script, without a browser: every draw has all beads and bonds."""
    page = tmp_path / "a.html"
    cgml("view", run[1], "-o", page, "--paths", 1)
    (item,) = data_of(page.read_text(encoding="utf-8"))
    script = Path(__file__).with_name("draw_view.js")
    done = subprocess.run(
        ["node", str(script), str(page)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, calls, *time = done.stdout.split()
    each = 4 * item["n"] + 4 * len(item["bonds"]) // 2
    assert (int(first), int(calls)) == (each, 4 * each)
    assert time == ["40", "ps"]


def test_what_cannot_be_shown(cgml, run, tmp_path):
    nothing = cgml("view", tmp_path)
    assert nothing.exit_code == 1
    assert "the folder of a finished `cgml run`" in nothing.output
    lonely = tmp_path / "a_r0.dcd"
    lonely.write_bytes(next(run[0].glob("*.dcd")).read_bytes())
    result = cgml("view", lonely)
    assert result.exit_code == 1
    assert "a.psf beside a_r0.dcd is required" in result.output
    missing = cgml("view", tmp_path / "nosuch")
    assert missing.exit_code == 1
    assert "there is no file" in missing.output


def test_nothing_but_a_page_of_its_own_is_written_over(cgml, run, tmp_path):
    """Neither a trajectory of the run nor a page of others."""
    trajectory = shutil.copy(next(run[0].glob("*.dcd")), tmp_path / "a.dcd")
    page = tmp_path / "mine.html"
    page.write_text("<html></html>")
    for path, words in ((trajectory, "an .html file, got"), (page, "not written by")):
        before = path.read_bytes()
        result = cgml("view", run[0], "-o", path)
        assert result.exit_code == 1
        assert words in " ".join(result.output.split())
        assert path.read_bytes() == before
    assert cgml("view", run[0]).exit_code == 0
    assert cgml("view", run[0]).exit_code == 0


def test_damaged_files_of_a_run(cgml, run, tmp_path):
    """A frame without numbers, structures cut, of others, or a pipe."""

    def error_of(change) -> str:
        folder = shutil.copytree(run[0], tmp_path / "run", dirs_exist_ok=True)
        trajectory = sorted(folder.glob("*_r0.dcd"))[0]
        change(trajectory, trajectory.with_name(f"{trajectory.stem[:-3]}.psf"))
        result = cgml("view", folder)
        shutil.rmtree(folder)
        assert result.exit_code == 1
        assert "--debug" not in result.output
        assert not (folder / "view.html").exists()
        return " ".join(result.output.split())

    def without_numbers(trajectory, psf) -> None:
        content = trajectory.read_bytes()
        trajectory.write_bytes(content[:-12] + struct.pack("<f", math.nan) * 3)

    def pipe(trajectory, psf) -> None:
        psf.unlink()
        os.mkfifo(psf)

    for change in (
        without_numbers,
        pipe,
        lambda trajectory, psf: psf.write_text(psf.read_text()[:300]),
        lambda trajectory, psf: psf.write_text(psf.read_text().replace("!N", "!M")),
        lambda trajectory, psf: trajectory.write_bytes(b"x"),
    ):
        assert "_r0.dcd" in (text := error_of(change)) or ".psf" in text


def test_molecules_are_whole_in_the_box():
    bonds = np.array([[0, 1]])
    positions = np.array([[[5.9, 0.1, 0.1], [6.1, 0.1, 0.1], [-1.0, 0.1, 0.1]]])
    found = scene.gathered(positions, bonds, 3.0 * np.eye(3))
    np.testing.assert_allclose(found[0, 1] - found[0, 0], [0.2, 0.0, 0.0])
    assert 0.0 <= found[0, :2, 0].mean() < 3.0
    assert found[0, 2, 0] == pytest.approx(2.0)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_structures_open_with_bonds_and_box(tmp_path):
    """PDB, PSF and LAMMPS data in both readers: bonds, kinds, masses, box."""
    bonds = [[i, i + 1] for i in range(11)] + [[i, i + 1] for i in range(12, 23)]
    types = ["A", "B", "B"] * 8
    graph = MolecularGraph.create(types, np.full(24, 2.5), bonds)
    mapping = Mapping.from_labels(graph, np.arange(24) // 3)
    positions = np.random.default_rng(0).normal(size=(8, 3))
    write_topology(tmp_path / "a.pdb", mapping, positions, BOX)
    write_structure(tmp_path / "a.psf", mapping)
    write_data(tmp_path / "a.data", mapping, positions, BOX)
    expected = {(i, i + 1) for i in range(7) if i != 3}
    styled = {"atom_style": "id resid type x y z"}
    for name, more in (("a.psf", {}), ("a.pdb", {}), ("a.data", styled)):
        universe = MDAnalysis.Universe(tmp_path / name, **more)
        assert {tuple(bond) for bond in universe.bonds.indices.tolist()} == expected
    lines = (tmp_path / "a.psf").read_text().splitlines()
    assert min(map(len, lines[6:14])) > 50  # or VMD and PyMOL find them too short
    assert all(max(map(len, line.split()[1:6])) < 8 for line in lines[6:14])
    psf = MDAnalysis.Universe(tmp_path / "a.psf")
    assert psf.atoms.masses.tolist() == [7.5] * 8
    assert psf.residues.resnames.tolist() == ["AB2"] * 8
    assert sorted(set(psf.segments.segids)) == ["M1", "M2"]
    read = mdtraj.load_psf(str(tmp_path / "a.psf"))
    assert {(a.index, b.index) for a, b in read.bonds} == expected
    pdb = mdtraj.load(str(tmp_path / "a.pdb"))
    assert {(a.index, b.index) for a, b in pdb.topology.bonds} == expected
    np.testing.assert_allclose(pdb.unitcell_vectors[0], BOX, atol=2e-3)
    for name, more in (("a.pdb", {}), ("a.data", styled)):
        frame = MDAnalysis.Universe(tmp_path / name, **more).trajectory.ts
        np.testing.assert_allclose(frame.triclinic_dimensions / 10.0, BOX, atol=2e-3)
        np.testing.assert_allclose(frame.positions / 10.0, positions, atol=1e-4)
    data = read_with_ase(tmp_path / "a.data", format="lammps-data", units="metal")
    np.testing.assert_allclose(data.cell / 10.0, BOX, atol=1e-5)
    assert data.arrays["mol-id"].tolist() == [1] * 4 + [2] * 4
    np.testing.assert_allclose(data.get_masses(), 7.5)


def test_a_structure_of_single_beads_in_the_open(tmp_path):
    """No bonds, no box: the file has the smallest that holds them."""
    graph = MolecularGraph.create(["A", "B"], [1.0, 2.0], [])
    alone = Mapping.from_labels(graph, [0, 1])
    positions = np.array([[-1.0, 0.0, 0.0], [2.0, 0.5, 0.0]])
    write_data(tmp_path / "a.data", alone, positions)
    found = read_with_ase(tmp_path / "a.data", format="lammps-data", units="metal")
    np.testing.assert_allclose(found.positions / 10.0, positions, atol=1e-4)
    np.testing.assert_allclose(np.diag(found.cell), [32.0, 7.0, 2.0])
    np.testing.assert_allclose(found.get_masses(), [1.0, 2.0])


def test_long_names_become_short_ones():
    graph = MolecularGraph.create(
        ["CH2", "CH3", "O", "Li"], np.ones(4), [[0, 1], [1, 2]]
    )
    mapping = Mapping.from_labels(graph, [0, 0, 0, 1])
    assert bead_names(mapping) == ["B1", "Li"]
