import functools
import io
import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import read, write
from ase.io.trajectory import Trajectory
from ase.md import MDLogger
from ase.md.md import MolecularDynamics
from ase_systems import (
    EXAMPLES,
    N_ATOMS,
    N_BEADS,
    NAMES,
    make_dynamics,
    path_of,
    read_chain,
)

from ase_cgml import CGMLDynamics
from ase_cgml.dynamics import LearnedCGMD
from cgml.dynamics.guards import GuardError
from cgml.models.file import load_model
from cgml.molecules.carriage import Carriage
from cgml.network.model import LearnedModel

PS = 1000 * units.fs


def test_time_and_steps(tiny_model):
    dynamics = make_dynamics(tiny_model)
    spec = dynamics.propagator.spec
    assert isinstance(dynamics, MolecularDynamics)
    assert dynamics.run(3)
    assert dynamics.get_number_of_steps() == 3
    assert dynamics.get_time() == pytest.approx(3 * spec.time_step * PS, rel=1e-12)
    assert dynamics.todict()["time_step_ps"] == spec.time_step
    assert dynamics.todict()["timestep"] == pytest.approx(spec.time_step * PS)


@pytest.mark.parametrize("beads", [False, True])
def test_velocities_are_displacement_over_time_step(tiny_model, beads):
    dynamics = make_dynamics(tiny_model, beads=beads)
    before = dynamics.atoms.get_positions()
    assert (dynamics.atoms.get_velocities() == 0.0).all()
    dynamics.run(1)
    moved = dynamics.atoms.get_positions() - before  # (n, 3), Å
    assert np.abs(moved).min() > 0.0
    if not beads:  # that of its bead, though it may turn
        moved = moved.reshape(N_BEADS, -1, 3).mean(axis=1).repeat(5, axis=0)
    velocities = dynamics.atoms.get_velocities()
    np.testing.assert_allclose(velocities * dynamics.dt, moved, rtol=1e-9, atol=1e-9)


def test_every_atom_moves_with_its_bead(tiny_model):
    dynamics = make_dynamics(tiny_model)
    beads = make_dynamics(tiny_model, beads=True)
    start = dynamics.atoms.get_positions()
    of_atoms, of_beads = path_of(dynamics, 5), path_of(beads, 5)
    assert of_atoms.shape == (5, N_ATOMS, 3)
    assert of_beads.shape == (5, N_BEADS, 3)
    centres = of_atoms.reshape(5, N_BEADS, -1, 3).mean(axis=2)
    # rounding of sums of a few hundred Å in float64
    np.testing.assert_allclose(centres, of_beads, rtol=0, atol=1e-11)
    carriage = Carriage(dynamics.mapping, start / 10.0)
    expected = 10.0 * carriage.place(of_beads[-1] / 10.0)
    np.testing.assert_allclose(of_atoms[-1], expected, atol=1e-6)


def test_observers_see_every_interval_and_the_start(tiny_model):
    dynamics = make_dynamics(tiny_model)
    seen, kinetic = [], []
    dynamics.attach(lambda: seen.append(dynamics.nsteps), interval=2)
    dynamics.attach(lambda: kinetic.append(dynamics.atoms.get_kinetic_energy()))
    assert list(dynamics.irun(5)) == [False] * 5 + [True]
    assert seen == [0, 2, 4]
    assert len(kinetic) == 6
    assert kinetic[0] == 0.0 < kinetic[1]
    dynamics.run(1)
    assert seen == [0, 2, 4, 6]


def test_seed_makes_the_path(tiny_model):
    one = path_of(make_dynamics(tiny_model, seed=1), 3)
    again = path_of(make_dynamics(tiny_model, seed=1), 3)
    other = path_of(make_dynamics(tiny_model, seed=2), 3)
    assert np.array_equal(one, again)
    assert not np.isclose(one[0], other[0]).any()


CONTINUE = """
import sys
from ase.io import read, write
from ase_cgml import CGMLDynamics
for file in ("atoms.traj", "beads.traj"):
    atoms = read(file)
    atoms.calc = CGMLDynamics(sys.argv[1], guard="record")
    atoms.calc.dynamics(atoms, trajectory=file, append_trajectory=True).run(3)
"""


def test_traj_continues_in_a_new_process_to_the_last_bit(tiny_model, tmp_path):
    kinds = {"atoms.traj": False, "beads.traj": True}
    for file, beads in kinds.items():
        make_dynamics(tiny_model, beads=beads, trajectory=tmp_path / file).run(4)
    command = [sys.executable, "-c", CONTINUE, str(Path(tiny_model).resolve())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    for file, beads in kinds.items():
        whole = path_of(make_dynamics(tiny_model, beads=beads), 7)
        frames = read(tmp_path / file, index=":")
        assert [frame.info["cgml"]["step"] for frame in frames] == list(range(8))
        path = np.array([frame.positions for frame in frames[1:]])
        assert np.array_equal(path, whole)
        with Trajectory(tmp_path / file) as trajectory:
            assert trajectory.description["md-type"] == "LearnedCGMD"


def test_any_frame_continues_and_a_new_seed_branches(tiny_model, tmp_path):
    file = tmp_path / "run.traj"
    whole = path_of(make_dynamics(tiny_model, trajectory=file), 4)
    for index in (0, 2):
        for seed, same in ((None, True), (7, True), (8, False)):
            atoms = read(file, index=index)
            atoms.calc = CGMLDynamics(tiny_model, seed=seed, guard="record")
            dynamics = atoms.calc.dynamics(atoms)
            assert dynamics.nsteps == index
            path = path_of(dynamics, 4 - index)
            assert np.array_equal(path, whole[index:]) == same
            assert dynamics.get_time() == 4 * dynamics.dt


def test_runs_in_pieces_are_one_run(tiny_model):
    whole = path_of(make_dynamics(tiny_model), 4)
    dynamics = make_dynamics(tiny_model)
    dynamics.run(1)
    second = dynamics.atoms.calc.dynamics(dynamics.atoms)
    second.run(2)
    dynamics.run(1)  # finds that another object has moved on
    assert dynamics.nsteps == 4
    assert np.array_equal(dynamics.atoms.positions, whole[-1])


@pytest.mark.filterwarnings("ignore:Skipping unhashable information")
def test_a_lost_state_is_said(tiny_model, tmp_path, caplog):
    """Extended XYZ keeps velocities and the places of atoms, and no state."""

    def again() -> LearnedCGMD:
        write(tmp_path / "a.extxyz", dynamics.atoms)
        atoms = read(tmp_path / "a.extxyz")
        atoms.calc = CGMLDynamics(tiny_model, type_names=NAMES, guard="record")
        return atoms.calc.dynamics(atoms)

    dynamics = make_dynamics(tiny_model)
    again().run(1)
    assert not caplog.records  # there was nothing to lose
    dynamics.run(2)
    found = again()
    text = "no atoms.info['cgml'], which .traj files keep and extended XYZ does not"
    assert text in caplog.text
    found.run(1)
    assert len(caplog.records) == found.nsteps == 1  # said once


def test_positions_set_by_hand_are_a_new_start(tiny_model, caplog):
    dynamics = make_dynamics(tiny_model)
    dynamics.run(2)
    atoms = dynamics.atoms
    assert atoms.info["cgml"]["n_known"] == 1
    atoms.positions[3, 1] = np.nextafter(atoms.positions[3, 1], np.inf)
    moved = atoms.copy()
    with caplog.at_level(logging.INFO, logger="ase_cgml"):
        list(dynamics.irun(0))
    assert "new start without history at step 2" in caplog.text
    assert atoms.info["cgml"]["n_known"] == 0
    assert not atoms.info["cgml"]["displacements"].any()
    dynamics.run(1)
    assert dynamics.nsteps == 3

    kept = moved.info["cgml"]
    start = dynamics.mapping.positions(moved.positions / units.nm)
    core = dynamics.propagator.start(start, step=kept["step"])
    expected = dynamics.propagator.step(core).positions.numpy()
    assert np.array_equal(atoms.info["cgml"]["positions"], expected)


def test_untouched_positions_keep_the_history(tiny_model, caplog):
    dynamics = make_dynamics(tiny_model)
    dynamics.run(2)
    whole = path_of(make_dynamics(tiny_model), 3)[-1]
    atoms = dynamics.atoms
    atoms.positions = atoms.get_positions() + 0.0
    with caplog.at_level(logging.INFO, logger="ase_cgml"):
        dynamics.run(1)
    assert not caplog.records
    assert np.array_equal(atoms.positions, whole)


def test_forgetting_the_state_starts_from_step_0(tiny_model):
    dynamics = make_dynamics(tiny_model)
    start = dynamics.atoms.get_positions()
    first = path_of(dynamics, 2)
    dynamics.atoms.positions = start
    del dynamics.atoms.info["cgml"]
    assert np.array_equal(path_of(dynamics, 2), first)
    assert dynamics.nsteps == 2


@pytest.mark.parametrize("beads", [False, True])
def test_true_earlier_frames_are_used(tiny_model, beads):
    reference = make_dynamics(tiny_model, beads=beads)
    frames = path_of(reference, 4)
    fresh = make_dynamics(tiny_model, beads=beads)
    fresh.atoms.positions = frames[-1]
    fresh.set_history(frames[:-1])
    known = reference.atoms.info["cgml"]
    given = fresh.atoms.info["cgml"]
    assert given["n_known"] == known["n_known"] == 1
    np.testing.assert_allclose(
        given["displacements"], known["displacements"], rtol=0, atol=1e-13
    )
    fresh.run(1)
    assert fresh.atoms.info["cgml"]["n_known"] == 1


def test_log_has_a_line_each_interval(tiny_model):
    file = io.StringIO()
    make_dynamics(tiny_model, logfile=file, loginterval=2).run(4)
    header, *lines = file.getvalue().splitlines()
    assert header.split() == ["Time[ps]", "Step", "Move[Å]", "Guards", "ns/day"]
    table = np.array([line.split() for line in lines], dtype=float)
    time_step = load_model(tiny_model).spec.time_step
    assert table[:, 0].tolist() == [0.0, 2 * time_step, 4 * time_step]
    assert table[:, 1].tolist() == [0, 2, 4]
    assert (table[1:, 2] > 0.0).all()
    assert table[0, 4] == 0.0 < table[2, 4]


def test_the_logger_of_ase_begins_alike_and_says_why_it_stops(tiny_model):
    """Its line of names, up to energies, of which there are none, is that of ours."""
    ours, theirs = io.StringIO(), io.StringIO()
    dynamics = make_dynamics(tiny_model, logfile=ours)
    dynamics.attach(MDLogger(dynamics, dynamics.atoms, theirs))
    with pytest.raises(PropertyNotImplementedError, match="gives no energy: it has"):
        dynamics.run(1)
    names = [text.getvalue().split()[0] for text in (ours, theirs)]
    assert names == ["Time[ps]", "Time[ps]"]
    assert theirs.getvalue().count("\n") == 1  # no line with an energy


def test_log_file_is_appended_to(tiny_model, tmp_path):
    for _ in range(2):
        make_dynamics(tiny_model, logfile=tmp_path / "run.log").run(1)
    assert len((tmp_path / "run.log").read_text().splitlines()) == 2 * 3


def test_tripped_guard_leaves_the_frame_before(tiny_model, tmp_path):
    model = load_model(tiny_model)
    limits = model.spec.statistics.model_copy(update={"max_displacement": 1e-9})
    spec = model.spec.model_copy(update={"statistics": limits})
    atoms = read_chain()
    start = atoms.get_positions()
    atoms.calc = CGMLDynamics(LearnedModel(spec, model.module), type_names=NAMES)
    dynamics = atoms.calc.dynamics(atoms, trajectory=tmp_path / "run.traj")
    with pytest.raises(GuardError):
        dynamics.run(5)
    assert np.array_equal(atoms.positions, start)
    assert len(read(tmp_path / "run.traj", index=":")) == 1


def test_example_runs_and_continues(tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lenient = functools.partial(CGMLDynamics, guard="record")  # untrained model
    monkeypatch.setattr("ase_cgml.CGMLDynamics", lenient)
    example = runpy.run_path(str(EXAMPLES / "4_run_in_ase.py"))
    example["main"](tiny_model, steps=10)
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "40", "80", "120", "160", "200"]
    assert last.startswith("5 frames, mean radius of gyration ")
    assert [frame.info["cgml"]["step"] for frame in read("copolymer.traj", ":")] == [
        0,
        5,
        10,
        15,
        20,
    ]
