"""Both engines in a periodic box: cut molecules, unwrapped paths, fixed boxes."""

import mdtraj
import numpy as np
import openmm
import pytest
from ase import Atoms
from core_systems import coil, learned, mixture, small_spec
from openmm import app, unit
from openmm_systems import positions_of

from ase_cgml import bead_atoms
from ase_cgml.calculator import CGMLDynamics
from cgml.dynamics.propagator import Propagator
from cgml.molecules.box import wrap
from cgml.molecules.carriage import Carriage
from openmm_cgml import LearnedCGIntegrator
from openmm_cgml.beads import bead_topology

BOX = np.array([[6.0, 0.0, 0.0], [2.0, 6.0, 0.0], [-1.0, 2.0, 6.0]])
MAPPING = mixture()
MODEL = learned(
    small_spec(periodic=True, cutoff=2.5, friction=None, has_property=False)
)


def start() -> np.ndarray:
    """Return whole molecules of atoms, bonds 1 nm long, (n_atoms, 3) nm."""
    stream = np.random.default_rng(0)
    positions = stream.uniform(2.0, 9.0, size=(MAPPING.graph.n_atoms, 3))
    for first, second in MAPPING.graph.bonds:
        step = stream.normal(size=3)
        positions[second] = positions[first] + step / np.linalg.norm(step)
    return positions


def system_of(box: np.ndarray = BOX) -> openmm.System:
    system = openmm.System()
    for mass in MAPPING.graph.masses:
        system.addParticle(mass)
    bonds = openmm.HarmonicBondForce()
    for first, second in MAPPING.graph.bonds.tolist():
        bonds.addBond(first, second, 1.0, 100.0)
    bonds.setUsesPeriodicBoundaryConditions(True)
    system.addForce(bonds)
    system.setDefaultPeriodicBoxVectors(*box)
    return system


def simulate(positions: np.ndarray, box: np.ndarray = BOX) -> app.Simulation:
    topology = app.Topology()
    chain = topology.addChain()
    for name in MAPPING.graph.types:
        topology.addAtom(name, None, topology.addResidue("MON", chain))
    topology.setPeriodicBoxVectors(box * unit.nanometer)
    integrator = LearnedCGIntegrator(MODEL, topology=MAPPING, seed=3)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system_of(box), integrator, platform)
    simulation.context.setPositions(positions)
    return simulation


def atoms_of(positions: np.ndarray) -> Atoms:
    atoms = Atoms("H" * len(positions), positions * 10.0, cell=BOX * 10.0, pbc=True)
    atoms.calc = CGMLDynamics(MODEL, topology=MAPPING, seed=3)
    return atoms


def test_molecules_cut_by_the_boundary_move_as_whole_ones():
    """The engines may hand over wrapped atoms; molecules come back whole."""
    whole = start()
    cut = wrap(whole, BOX)
    assert np.abs(cut - whole).max() > 1.0
    ends = []
    for positions in (whole, cut):
        simulation = simulate(positions)
        simulation.step(3)
        ends.append(positions_of(simulation))
    np.testing.assert_allclose(*(wrap(end, BOX) for end in ends), atol=1e-4)
    first, last = MAPPING.graph.bonds.T
    bonds = [end[last] - end[first] for end in ends]
    np.testing.assert_allclose(*bonds, atol=1e-4)


def test_both_engines_and_the_core_go_the_same_way():
    positions = wrap(start(), BOX)
    simulation = simulate(positions)
    simulation.step(3)
    atoms = atoms_of(positions)
    atoms.calc.dynamics(atoms).run(3)
    np.testing.assert_allclose(
        atoms.positions / 10.0, positions_of(simulation), atol=1e-5
    )
    propagator = Propagator(MODEL, MAPPING, box=BOX, seed=3)
    state = propagator.start(MAPPING.positions(start()))
    for _ in range(3):
        state = propagator.step(state)
    moved = Carriage(MAPPING, start()).place(state.positions.numpy())
    np.testing.assert_allclose(
        *(wrap(places, BOX) for places in (moved, positions_of(simulation))), atol=1e-4
    )


def test_positions_are_unwrapped_and_wrapped_on_demand(tmp_path):
    simulation = simulate(start())
    simulation.reporters.append(
        app.DCDReporter(str(tmp_path / "a.dcd"), 1, enforcePeriodicBox=True)
    )
    simulation.step(20)
    state = simulation.context.getState(positions=True, enforcePeriodicBox=True)
    wrapped = state.getPositions(asNumpy=True)._value
    shift = (wrapped - positions_of(simulation)) @ np.linalg.inv(BOX)
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-4)
    assert np.abs(np.round(shift)).max() >= 1.0  # some molecule has left the cell
    for molecule in range(MAPPING.graph.n_molecules):
        inside = MAPPING.graph.molecule_index == molecule
        assert np.ptp(np.round(shift[inside]), axis=0).max() == 0.0
    simulation.reporters.clear()
    topology = mdtraj.Topology.from_openmm(simulation.topology)
    frames = mdtraj.load_dcd(str(tmp_path / "a.dcd"), top=topology)
    np.testing.assert_allclose(frames.xyz[-1], wrapped, atol=1e-3)
    np.testing.assert_allclose(frames.unitcell_vectors[-1], BOX, atol=1e-4)


def test_restart_from_a_checkpoint_to_the_bit(tmp_path):
    simulation = simulate(wrap(start(), BOX))
    simulation.step(2)
    simulation.saveCheckpoint(str(tmp_path / "a.chk"))
    simulation.step(3)
    other = simulate(start())
    other.loadCheckpoint(str(tmp_path / "a.chk"))
    other.step(3)
    assert np.array_equal(positions_of(other), positions_of(simulation))


def test_restart_from_an_ase_trajectory_to_the_bit(tmp_path):
    from ase.io import read

    atoms = atoms_of(wrap(start(), BOX))
    atoms.calc.dynamics(atoms, trajectory=str(tmp_path / "a.traj")).run(2)
    atoms.calc.dynamics(atoms).run(3)
    again = read(tmp_path / "a.traj")
    again.calc = CGMLDynamics(MODEL, topology=MAPPING, seed=3)
    again.calc.dynamics(again).run(3)
    assert np.array_equal(again.positions, atoms.positions)


def test_a_box_that_changes_is_refused():
    simulation = simulate(start())
    simulation.context.setPeriodicBoxVectors(*(1.5 * BOX))  # before the first step
    simulation.step(1)
    simulation.context.setPeriodicBoxVectors(*BOX)
    with pytest.raises(ValueError, match="a fixed box is required, it was"):
        simulation.step(1)
    atoms = atoms_of(start())
    dynamics = atoms.calc.dynamics(atoms)
    dynamics.run(1)
    atoms.set_cell(atoms.cell * 1.1)
    with pytest.raises(ValueError, match="a fixed cell is required, it was"):
        dynamics.run(1)


def test_beads_in_a_box():
    """A System of the beads themselves; its topology shows the box."""
    topology = bead_topology(MAPPING, BOX)
    assert topology.getPeriodicBoxVectors() is not None
    positions = coil(MAPPING)
    propagator = Propagator(MODEL, MAPPING, box=BOX, seed=3)
    after = propagator.step(propagator.start(positions)).positions.numpy()
    from openmm_cgml.beads import bead_system

    integrator = LearnedCGIntegrator(MODEL, topology=MAPPING, seed=3)
    simulation = app.Simulation(topology, bead_system(MAPPING, BOX), integrator)
    simulation.context.setPositions(positions)
    simulation.step(1)
    assert np.abs(positions_of(simulation) - after).max() < 1e-5


@pytest.mark.parametrize("how", ["wrap", "scaled", "whole boxes"])
@pytest.mark.parametrize("beads", [False, True])
def test_wrapping_between_steps_is_no_move_in_ase(beads, how):
    """Positions that differ by whole box vectors are the same positions."""
    paths = []
    for is_wrapped in (False, True):
        atoms = atoms_of(start())
        if beads:
            atoms = bead_atoms(atoms, MAPPING)
            atoms.calc = CGMLDynamics(MODEL, topology=MAPPING, seed=3)
        dynamics = atoms.calc.dynamics(atoms)
        move = {
            "wrap": atoms.wrap,
            "scaled": lambda a=atoms: a.set_scaled_positions(a.get_scaled_positions()),
            "whole boxes": lambda a=atoms: a.translate(a.cell.array[0] - a.cell[2]),
        }[how]
        if is_wrapped:
            dynamics.attach(move, interval=1)
        dynamics.run(4)
        dynamics.step()
        assert atoms.info["cgml"]["n_known"] == MODEL.spec.n_history
        paths.append(atoms.positions)
    np.testing.assert_allclose(paths[0], paths[1], atol=1e-9)


def test_wrapped_atoms_continue_from_a_file_and_moved_ones_do_not(tmp_path):
    from ase.io import read

    atoms = atoms_of(start())
    dynamics = atoms.calc.dynamics(atoms, trajectory=str(tmp_path / "a.traj"))
    dynamics.attach(atoms.wrap, interval=1)
    dynamics.run(1)
    again = read(tmp_path / "a.traj")
    again.calc = CGMLDynamics(MODEL, topology=MAPPING, seed=3)
    again.wrap()
    for some in (atoms, again):
        some.calc.dynamics(some).run(1)
    assert np.array_equal(again.positions, atoms.positions)
    again.positions[3] += again.cell.array[1] + [0.0, 0.0, 1e-3]
    dynamics = again.calc.dynamics(again)
    assert again.info["cgml"]["n_known"] == 0


@pytest.mark.parametrize("how", ["each atom", "enforcePeriodicBox", "whole boxes"])
def test_wrapping_between_steps_is_no_move_in_openmm(how):
    plain, wrapped = simulate(start()), simulate(start())
    for _ in range(4):
        plain.step(1)
        wrapped.step(1)
        context = wrapped.context
        if how == "each atom":
            context.setPositions(wrap(positions_of(wrapped), BOX))
        elif how == "whole boxes":
            context.setPositions(positions_of(wrapped) + BOX[0] - 2.0 * BOX[2])
        else:
            context.setState(context.getState(positions=True, enforcePeriodicBox=True))
    for simulation in (plain, wrapped):
        simulation.step(1)
    assert np.array_equal(positions_of(plain), positions_of(wrapped))


def test_wrapped_state_file_continues_and_moved_one_does_not(tmp_path):
    simulation = simulate(start())
    simulation.step(2)
    simulation.saveCheckpoint(str(tmp_path / "a.chk"))
    simulation.step(2)
    ends = []
    for shift in (0.0, 0.01):
        other = simulate(start())
        other.loadCheckpoint(str(tmp_path / "a.chk"))
        places = wrap(positions_of(other), BOX)
        places[0] += shift
        other.context.setPositions(places)
        if shift:
            with pytest.warns(UserWarning, match="without history"):
                other.step(2)
        else:
            other.step(2)
        ends.append(positions_of(other))
    assert np.array_equal(ends[0], positions_of(simulation))
    assert np.abs(wrap(ends[1], BOX) - wrap(ends[0], BOX)).max() > 1e-3


def test_a_state_file_whose_box_was_changed_is_refused(tmp_path):
    simulation, path = simulate(start()), tmp_path / "a.xml"
    simulation.step(2)
    simulation.saveState(str(path))
    text = path.read_text()
    assert '<A x="6"' in text
    path.write_text(text.replace('<A x="6"', '<A x="6.5"'))
    other = simulate(start())
    other.loadState(str(path))
    with pytest.raises(ValueError, match="this topology and box, or its file is dam"):
        other.step(1)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("beads", [False, True])
def test_another_cell_is_a_new_start_in_ase(beads, scaled, caplog):
    """The history was that of another density; what positions say is not enough."""
    atoms = atoms_of(start())
    if beads:
        atoms = bead_atoms(atoms, MAPPING)
        atoms.calc = CGMLDynamics(MODEL, topology=MAPPING, seed=3)
    atoms.calc.dynamics(atoms).run(2)
    atoms.set_cell(atoms.cell.array, scale_atoms=scaled)
    again = atoms.copy()
    atoms.calc.dynamics(atoms)
    assert not caplog.records
    assert atoms.info["cgml"]["n_known"] == MODEL.spec.n_history
    again.set_cell(again.cell * 1.02, scale_atoms=scaled)
    again.calc = atoms.calc
    dynamics = again.calc.dynamics(again)
    (line,) = caplog.messages
    assert "the cell was changed after the run" in line
    assert line.endswith("new start without history at step 2")
    assert again.info["cgml"]["n_known"] == 0
    dynamics.run(1)
    assert len(caplog.messages) == 1
    assert dynamics.nsteps == 3


def test_a_run_in_another_kind_of_box_or_of_other_atoms_is_refused():
    atoms = atoms_of(start())
    atoms.calc.dynamics(atoms).run(1)
    kept = atoms.copy()
    for change, match in (
        (lambda a: setattr(a, "pbc", False), "atoms.pbc = True"),
        (lambda a: setattr(a, "pbc", [True, True, False]), "all three directions"),
        (lambda a: a.set_masses(np.full(len(a), 3.0)), "correct the masses"),
    ):
        atoms = kept.copy()
        change(atoms)
        with pytest.raises(ValueError, match=match):
            CGMLDynamics(MODEL).dynamics(atoms)
