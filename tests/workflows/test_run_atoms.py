"""`cgml run --atoms`: the atoms beside the beads."""

import json
from dataclasses import replace

import mdtraj
import numpy as np
import pytest

from cgml.formats.trajectory import read_beads, read_reference
from cgml.molecules.carriage import Carriage
from cgml.runs import simulation
from cgml.runs.plan import RunOptions

STEP = 20.0  # ps, of the tiny model


def options(**changes) -> RunOptions:
    values = {"n_steps": 6, "n_part": 2, "guard": "record", "atoms": True}
    return RunOptions(**values | changes)


def angstroms(path) -> np.ndarray:
    with mdtraj.formats.DCDTrajectoryFile(str(path)) as file:
        return file.read()[0]


def test_atoms_are_those_carried_with_the_beads(cgml, tiny_model, chains, tmp_path):
    result = cgml(
        *("run", tiny_model, chains, "--time", 4 * STEP, "--output", tmp_path),
        *("--guard", "record", "--format", "dcd", "--replicas", 2, "--atoms"),
    )
    assert result.exit_code == 0, result.output
    for system in read_reference(chains):
        for copy in range(2):
            beads = angstroms(tmp_path / f"{system.name}_r{copy}.dcd") / 10.0
            atoms = angstroms(tmp_path / f"{system.name}_r{copy}_atoms.dcd") / 10.0
            assert len(atoms) == len(beads) == 4
            centres = system.mapping.positions(atoms)
            np.testing.assert_allclose(centres, beads, atol=1e-4)
            carriage = Carriage(system.mapping, system.first_atoms)
            expected = carriage.place(beads[0].astype(float))  # rounded to 1e-6 nm
            np.testing.assert_allclose(atoms[0], expected, atol=1e-3)
    assert {"pair_001_r0_atoms.dcd"} <= set(
        json.loads((tmp_path / "run.json").read_text())["files"]
    )


def test_atoms_after_a_kill_are_the_same(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    broken, whole = tmp_path / "broken", tmp_path / "whole"

    def stop(n_frames: int) -> None:
        if n_frames >= 2 * 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulation.run(tiny_model, systems, broken, options(), stop)
    for folder in (broken, whole):
        simulation.run(tiny_model, systems, folder, options())
    for path in sorted(whole.glob("*_atoms.dcd")):
        assert path.read_bytes() == (broken / path.name).read_bytes()


def test_a_lost_file_of_atoms_is_told(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    simulation.run(tiny_model, systems, tmp_path, options())
    (tmp_path / f"{systems[0].name}_r0_atoms.dcd").unlink()
    with pytest.raises(ValueError, match=r"_r0_atoms.dcd there are missing"):
        simulation.run(tiny_model, systems, tmp_path, options())


def test_a_run_without_atoms_is_another_run(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    simulation.run(tiny_model, systems, tmp_path, options(atoms=False))
    with pytest.raises(ValueError, match="holds a run with atoms"):
        simulation.run(tiny_model, systems, tmp_path, options())


def test_beads_alone_have_no_atoms(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    path = simulation.run(
        tiny_model, systems, tmp_path, options(atoms=False, file_format="h5md")
    ).trajectories[0]
    with pytest.raises(ValueError, match=r"has beads alone: start from a trajectory"):
        simulation.run(tiny_model, [read_beads(path)], tmp_path / "again", options())


def test_a_format_of_beads_is_refused():
    with pytest.raises(ValueError, match=r"atoms are written as dcd or xtc.*'h5md'"):
        options(file_format="h5md")


def test_names_of_files_of_atoms_are_no_names_of_systems(tiny_model, chains, tmp_path):
    one, other = read_reference(chains)[:2]
    named = [replace(one, name="a"), replace(other, name="a_atoms")]
    with pytest.raises(ValueError, match="atoms of 'a' are written as a_atoms"):
        simulation.run(tiny_model, named, tmp_path, options())
    assert not list(tmp_path.iterdir())
