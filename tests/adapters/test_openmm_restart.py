import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from openmm import XmlSerializer, app
from openmm_systems import LEVELS, PLATFORMS, positions_of, simulate, velocities_of

everywhere = pytest.mark.parametrize("name", PLATFORMS)
on_both_levels = pytest.mark.parametrize("level", LEVELS)

GO_ON = """
import sys
from pathlib import Path
import numpy as np
from openmm_systems import LEVELS, positions_of, simulate
model, folder, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
for level in LEVELS:
    for suffix in ("chk", "xml"):
        simulation = simulate(model, level, name, start=False, seed=99)
        load = {"chk": simulation.loadCheckpoint, "xml": simulation.loadState}[suffix]
        load(str(folder / f"{level}.{suffix}"))
        simulation.step(7)
        assert simulation.integrator.getRandomNumberSeed() == 6
        assert simulation.currentStep == 12
        np.save(folder / f"{level}-{suffix}.npy", positions_of(simulation))
"""


def in_a_new_process(*arguments):
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", GO_ON, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@everywhere
def test_restart_in_a_new_process_is_bit_identical(tiny_model, tmp_path, name):
    expected = {}
    for level in LEVELS:
        simulation = simulate(tiny_model, level, name, seed=6)
        simulation.step(5)
        simulation.saveCheckpoint(str(tmp_path / f"{level}.chk"))
        simulation.saveState(str(tmp_path / f"{level}.xml"))
        simulation.step(7)
        expected[level] = positions_of(simulation)
    in_a_new_process(tiny_model, tmp_path, name)
    for level in LEVELS:
        for suffix in ("chk", "xml"):
            again = np.load(tmp_path / f"{level}-{suffix}.npy")
            np.testing.assert_array_equal(again, expected[level])


@on_both_levels
def test_load_goes_back_in_the_same_simulation(tiny_model, tmp_path, level):
    simulation = simulate(tiny_model, level)
    simulation.saveState(str(tmp_path / "start.xml"))
    simulation.step(4)
    simulation.saveCheckpoint(str(tmp_path / "four.chk"))
    velocities = velocities_of(simulation)
    simulation.step(5)
    nine = positions_of(simulation)
    simulation.loadCheckpoint(str(tmp_path / "four.chk"))
    np.testing.assert_array_equal(velocities_of(simulation), velocities)
    simulation.step(5)
    np.testing.assert_array_equal(positions_of(simulation), nine)
    simulation.loadState(str(tmp_path / "start.xml"))
    simulation.step(9)
    np.testing.assert_array_equal(positions_of(simulation), nine)


def test_moved_after_a_restart_is_a_new_start(tiny_model, tmp_path):
    simulation = simulate(tiny_model)
    simulation.step(4)
    simulation.saveState(str(tmp_path / "four.xml"))
    moved = positions_of(simulation) + np.array([0.5, 0.0, 0.0])
    ends = []
    for load in (True, False):
        if load:
            simulation = simulate(tiny_model, start=False)
            simulation.loadState(str(tmp_path / "four.xml"))
        simulation.context.setPositions(moved)
        if load:
            with pytest.warns(UserWarning, match="not those that the run .* step 4"):
                simulation.step(1)
            simulation.step(1)
        else:
            simulation.step(2)
        ends.append(positions_of(simulation))
    simulation.loadState(str(tmp_path / "four.xml"))
    simulation.step(2)
    kept = positions_of(simulation) + np.array([0.5, 0.0, 0.0])
    assert np.abs(kept - ends[0]).max() > 1e-3
    simulation = simulate(tiny_model)
    simulation.step(4)
    simulation.context.setPositions(moved)
    simulation.step(2)
    np.testing.assert_array_equal(ends[0], positions_of(simulation))


def test_state_file_goes_from_platform_to_platform(tiny_model, tmp_path):
    expected = None
    simulation = simulate(tiny_model, "beads", PLATFORMS[0])
    simulation.step(3)
    simulation.saveState(str(tmp_path / "three.xml"))
    simulation.step(3)
    expected = positions_of(simulation)
    for name in PLATFORMS[1:]:
        simulation = simulate(tiny_model, "beads", name, start=False)
        simulation.loadState(str(tmp_path / "three.xml"))
        simulation.step(3)
        np.testing.assert_allclose(positions_of(simulation), expected, rtol=1e-6)


def test_checkpoint_reporter_writes_restarts(tiny_model, tmp_path):
    path = str(tmp_path / "last.chk")
    simulation = simulate(tiny_model)
    simulation.reporters.append(app.CheckpointReporter(path, 4))
    simulation.step(6)
    simulation.reporters.clear()
    simulation.step(4)
    again = simulate(tiny_model, start=False)
    again.loadCheckpoint(path)
    assert again.currentStep == 4
    again.step(6)
    np.testing.assert_array_equal(positions_of(again), positions_of(simulation))


def test_reporters_leave_the_path_alone(tiny_model, tmp_path):
    plain, reported = (simulate(tiny_model) for _ in range(2))
    reported.reporters.append(app.CheckpointReporter(str(tmp_path / "a.xml"), 3, True))
    reported.reporters.append(app.DCDReporter(str(tmp_path / "a.dcd"), 2))
    for simulation in (plain, reported):
        simulation.step(7)
    reported.reporters.clear()
    np.testing.assert_array_equal(positions_of(plain), positions_of(reported))


def test_history_of_another_mapping_is_refused(tiny_model, tmp_path):
    simulation = simulate(tiny_model)
    mapping = simulation.integrator.getMapping()
    simulation.step(3)
    simulation.saveState(str(tmp_path / "three.xml"))
    labels = mapping.n_beads - 1 - mapping.bead_index
    other = type(mapping).from_labels(mapping.graph, labels)
    again = simulate(tiny_model, topology=other, start=False)
    again.loadState(str(tmp_path / "three.xml"))
    with pytest.raises(ValueError, match="written for another model or mapping"):
        again.step(1)
    again.integrator.setHistory([])
    again.step(1)
    assert again.currentStep == 4


def test_state_without_history_is_a_new_start(tiny_model):
    simulation = simulate(tiny_model)
    start = positions_of(simulation)
    state = simulation.context.getState(positions=True)
    simulation.step(3)
    text = XmlSerializer.serialize(state)
    other = simulate(tiny_model)
    other.step(3)
    for one in (simulation, other):
        if one is simulation:
            one.context.setState(XmlSerializer.deserialize(text))
        else:
            one.context.setPositions(start)
        one.step(2)
    np.testing.assert_array_equal(positions_of(simulation), positions_of(other))
