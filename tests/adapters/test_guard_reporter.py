"""GuardReporter: what the guards did, as other reporters write what they know."""

import csv
import io

import openmm
import pytest
from openmm import app
from openmm_systems import chain, simulate

from openmm_cgml import GuardReporter


def test_counts_beside_step_and_time(tiny_model, tmp_path):
    simulation, own = simulate(tiny_model), io.StringIO()
    path = tmp_path / "guards.csv"
    simulation.reporters.append(GuardReporter(path, 2))
    simulation.reporters.append(GuardReporter(own, 3, separator="\t"))
    simulation.step(6)
    simulation.reporters.clear()
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row['#"Step"'] for row in rows] == ["2", "4", "6"]
    assert [row["Time (ps)"] for row in rows] == ["40", "80", "120"]
    counts = simulation.integrator.getGuardCounts()
    assert [int(n) for n in list(rows[-1].values())[2:]] == list(counts.values())
    assert own.getvalue().count("\n") == 3
    assert own.getvalue().splitlines()[-1].startswith("6\t120\t")
    simulation.reporters.append(GuardReporter(path, 2, append=True))
    simulation.step(2)
    simulation.reporters.clear()
    assert len(list(csv.DictReader(path.read_text().splitlines()))) == 4


@pytest.mark.parametrize("interval", [0, -1, 1.5])
def test_intervals_that_are_none_are_refused(tmp_path, interval):
    with pytest.raises(ValueError, match=r"reportInterval must be .*, got"):
        GuardReporter(tmp_path / "a.csv", interval)
    assert not (tmp_path / "a.csv").exists()


def test_another_integrator_is_refused(tmp_path):
    built = chain()
    langevin = openmm.VerletIntegrator(0.001)
    reference = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(built.topology, built.system, langevin, reference)
    simulation.context.setPositions(built.positions)
    simulation.reporters.append(GuardReporter(tmp_path / "a.csv", 1))
    with pytest.raises(TypeError, match="a LearnedCGIntegrator, got Verlet"):
        simulation.step(1)
