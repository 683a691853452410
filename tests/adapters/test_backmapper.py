"""Back-mapping in OpenMM: hands, places, bits, failures."""

import warnings
from dataclasses import replace

import mdtraj
import numpy as np
import openmm
import pytest
from backmap_systems import MASSES, TEMPERATURE, chain, library, md, two_chains
from core_systems import rouse_only, small_spec
from openmm import app

from openmm_cgml import (
    BackmappedReporter,
    Backmapper,
    LearnedCGIntegrator,
    relaxation,
)
from openmm_cgml import backmapper as module
from openmm_cgml.relaxation import Relaxation

N_UNITS = 6
FAST = Relaxation(time=0.2, time_step=0.001)


def backmapper(**options) -> Backmapper:
    mapping, system, start = chain(N_UNITS)
    options = {"reference": start, "relaxation": FAST, "seed": 3} | options
    return Backmapper(library(), mapping, system, TEMPERATURE, **options)


@pytest.fixture(scope="module")
def beads() -> np.ndarray:
    """Frames of beads of a chain that is not in the library, (3, n_beads, 3) nm."""
    frames = md(N_UNITS, n_frames=3).positions
    return chain(N_UNITS)[0].positions(frames.astype(float))


@pytest.fixture(scope="module")
def mapped(beads):
    return backmapper().map(beads[0], number=4)


def test_hands_bonds_and_centres_are_kept(beads, mapped):
    mapping, system, _ = chain(N_UNITS)
    atoms, report = mapped
    assert report.problem == ""
    assert (report.changed_hands, report.bonds_outside, report.tries) == (0, 0, 1)
    gaps = mapping.positions(atoms) - beads[0]
    assert report.deviation == pytest.approx(np.sqrt((gaps**2).sum(axis=1).mean()))
    assert report.deviation < FAST.tolerance
    kind_of = {site.members[0]: site for site in backmapper()._placer.sites}
    reference = md(N_UNITS, n_frames=3).positions[0].astype(float)
    for site in kind_of.values():
        now, then = (site.kind.signs(item[site.members]) for item in (atoms, reference))
        assert now.tolist() == then.tolist()
    context = openmm.Context(system, openmm.VerletIntegrator(0.001))
    context.setPositions(atoms)
    energy = context.getState(energy=True).getPotentialEnergy()._value
    assert report.energy == pytest.approx(energy, rel=1e-4, abs=0.1)


def test_the_same_seed_and_number_are_the_same_bits(beads, mapped):
    atoms, report = mapped
    other = backmapper()
    other.map(beads[1], number=0)  # frames before do not matter
    again, same = other.map(beads[0], number=4)
    assert (again == atoms).all()
    assert same == report
    assert not np.allclose(other.map(beads[0], number=5)[0], atoms, atol=1e-3)
    assert not np.allclose(
        backmapper(seed=4).map(beads[0], number=4)[0], atoms, atol=1e-3
    )


def test_mirrored_beads_do_not_mirror_atoms(beads):
    """The hands are those of the reference, whatever the beads look like."""
    _, report = backmapper().map(beads[0] * [1, 1, -1])
    assert report.changed_hands == 0


def test_a_frame_that_fails_is_tried_anew_and_named(beads, monkeypatch):
    strict = backmapper(relaxation=replace(FAST, tolerance=1e-5))
    _, report = strict.map(beads[0])
    assert report.tries == module.TRIES
    assert "the centres of the beads are" in report.problem
    monkeypatch.setattr(module, "LARGEST_FORCE", 1.0)
    assert "the largest force is" in backmapper().map(beads[0])[1].problem
    monkeypatch.setattr(module, "TRIES", 1)
    wrong = backmapper(reference=chain(N_UNITS)[2])
    wrong._placer.hands = [-hands for hands in wrong._placer.hands]
    assert "changed their handedness" in wrong.map(beads[0])[1].problem


def test_what_explodes_is_named(beads):
    """A time step that no bond endures gives a report, no traceback."""
    _, report = backmapper(relaxation=replace(FAST, time_step=0.1, time=10.0)).map(
        beads[0]
    )
    assert report.problem


def test_what_explodes_is_relaxed_in_smaller_steps(beads, monkeypatch):
    """10 fs are too much for bonds to H, a quarter is not."""
    hasty = replace(FAST, time_step=0.01, time=4.0)
    assert backmapper(relaxation=hasty).map(beads[0])[1].problem == ""
    monkeypatch.setattr(relaxation, "_SHARES", (1.0,))
    monkeypatch.setattr(module, "TRIES", 1)
    found = backmapper(relaxation=hasty).map(beads[0])[1]
    assert "not finite" in found.problem


def test_bonds_take_the_place_of_constraints_that_cannot_be_met(beads, monkeypatch):
    """In the soft stage alone: in the end constraints hold."""
    mapping, system, start = chain(N_UNITS)
    force = system.getForce(0)
    for k in range(force.getNumBonds()):
        i, j, length, _ = force.getBondParameters(k)
        system.addConstraint(i, j, length)
    system.removeForce(0)
    loose = relaxation.loosened(system)
    assert loose.getNumConstraints() == 0
    bonds = loose.getForce(loose.getNumForces() - 1)
    assert bonds.getNumBonds() == system.getNumConstraints()
    tried = []

    def endured(work, *arguments):
        tried.append(arguments[0].getSystem().getNumConstraints())
        return len(tried) > 1 and whole(work, *arguments)

    whole = relaxation._endured
    monkeypatch.setattr(relaxation, "_endured", endured)
    options = {"reference": start, "relaxation": FAST, "seed": 3}
    _, report = Backmapper(library(), mapping, system, TEMPERATURE, **options).map(
        beads[0]
    )
    assert tried == [system.getNumConstraints(), 0, system.getNumConstraints()]
    assert report.problem == ""
    assert report.bonds_outside == 0


@pytest.mark.parametrize(
    ("gaps", "moved", "problem"),
    [
        ([0.02] * 12, "", ""),
        ([0.02] * 10 + [0.09, 0.11], "11:0.110 10:0.090", ""),
        ([0.09, 0.1, 0.11, *[0.02] * 37], "2:0.110 1:0.100 0:0.090", ""),
        ([0.2, *[0.06] * 11], "0:0.200", "the other beads are 0.060 nm away"),
        ([0.2, 0.2, 0.2, *[0.02] * 9], "0:0.200 1:0.200 2:0.200", "more than 0.05"),
        ([0.2, 0.2], "0:0.200 1:0.200", "more than 0.05"),
        ([0.06] * 12, "", "the centres of the beads are 0.060 nm away"),
    ],
)
def test_a_few_beads_that_had_to_move_are_named(gaps, moved, problem):
    """Two beads, or a tenth; at most half."""
    atoms = md(N_UNITS, n_frames=3).positions[0].astype(float)
    found = backmapper()._judged(
        relaxation.Relaxed(atoms, 0.0, 1.0, np.array(gaps), 0), None, 5, 1
    )
    assert found.moved == moved
    assert found.deviation == pytest.approx(np.sqrt(np.mean(np.square(gaps))))
    assert found.farthest == max(gaps)
    assert problem in found.problem
    assert bool(problem) == bool(found.problem)


def test_beads_that_overlap_come_apart(beads):
    """Two chains that cross 0.15 nm from each other, as models leave them at times."""
    mapping, system, start = two_chains(N_UNITS)
    cross = beads[0] @ np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    frame = np.concatenate((beads[0], cross + beads[0][1] - cross[1] + [0, 0, 0.15]))
    options = {"reference": start, "relaxation": replace(FAST, time=2.0)}
    mapper = Backmapper(library(), mapping, system, TEMPERATURE, **options)
    atoms, report = mapper.map(frame, number=1)
    assert report.problem == ""
    centres = mapping.positions(atoms)
    assert np.linalg.norm(centres[1] - centres[4]) > 0.25
    assert {item.split(":")[0] for item in report.moved.split()} == {"1", "4"}


def test_bonds_outside_their_range_are_counted():
    _, system, start = chain(2)
    system.addConstraint(1, 4, 0.153)
    bonds = module.Relaxer(
        system, chain(2)[0], library(), TEMPERATURE, FAST, "Reference"
    )._ranges
    context = openmm.Context(system, openmm.VerletIntegrator(0.001))
    context.setPositions(start)
    openmm.LocalEnergyMinimizer.minimize(context)
    context.applyConstraints(1e-6)
    good = context.getState(positions=True).getPositions(asNumpy=True)._value
    assert bonds.n_outside(good) == 0
    longer = good + [0.0, 0.0, 0.03] * (np.arange(len(good)) == 2)[:, None]
    assert bonds.n_outside(longer) == 1
    assert bonds.n_outside(1.01 * good) >= 1  # of the constraint


def without(system, *kinds):
    """Take forces out of a System."""
    for number in reversed(range(system.getNumForces())):
        if isinstance(system.getForce(number), kinds):
            system.removeForce(number)
    return system


@pytest.mark.parametrize("force", [None, openmm.CustomBondForce("(r-0.2)^2")])
def test_a_system_without_a_bond_of_the_topology_is_refused(force):
    mapping, system, start = chain(N_UNITS)
    without(system, openmm.HarmonicBondForce)
    if force is not None:
        for one, other in mapping.graph.bonds[:-2].tolist():
            force.addBond(one, other)
        system.addForce(force)
    n = 2 if force is not None else len(mapping.graph.bonds)
    match = rf"none for {n} of {len(mapping.graph.bonds)} bonds, the first is that of a"
    with pytest.raises(ValueError, match=match):
        Backmapper(library(), mapping, system, TEMPERATURE, reference=start)


def test_bonds_and_angles_are_those_of_the_fragments(beads):
    """Where the force field tells nothing of them: no angles, and bonds of its own."""
    mapping, system, start = chain(N_UNITS)
    options = {"reference": start, "relaxation": FAST}
    without(system, openmm.HarmonicAngleForce)
    bent = Backmapper(library(), mapping, system, TEMPERATURE, **options)
    assert "bonds or angles are outside" in bent.map(beads[0])[1].problem
    mapping, system, _ = chain(N_UNITS)
    force = openmm.CustomBondForce("100000*(r-r0)^2")
    force.addPerBondParameter("r0")
    for k in range(len(mapping.graph.bonds)):
        one, other, length, _ = system.getForce(0).getBondParameters(k)
        force.addBond(one, other, [length._value])
    system.removeForce(0)
    system.addForce(force)
    good = Backmapper(library(), mapping, system, TEMPERATURE, **options)
    atoms, report = good.map(beads[0])
    assert report.problem == ""
    atoms[0] += [0.0, 0.2, 0.0]
    assert good._relaxer._ranges.n_outside(atoms) >= 1


def test_parameters_in_another_order_are_refused():
    mapping, system, start = two_chains(N_UNITS)
    pairs = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    pairs.setParticleParameters(3, 0.0, 0.31, 0.2)
    with pytest.raises(ValueError, match="in their order, is required: its Nonbonded"):
        Backmapper(library(), mapping, system, TEMPERATURE, reference=start)


def test_other_systems_are_refused(beads):
    mapping, system, start = chain(N_UNITS)
    system.addParticle(1.0)
    with pytest.raises(ValueError, match="20 atoms is required, it has 21 particles"):
        Backmapper(library(), mapping, system, TEMPERATURE, reference=start)
    with pytest.raises(ValueError, match="has no box, the frames of beads have a box"):
        backmapper().map(beads[0], 3.0 * np.eye(3))
    with pytest.raises(ValueError, match=r"shape \(3, 3\) are required for the beads"):
        backmapper().map(beads[0][:2])
    with pytest.raises(ValueError, match="time_step must be positive"):
        Relaxation(time_step=0.0)


@pytest.mark.parametrize(
    "kind",
    [
        name
        for name in dir(openmm)
        if name.endswith(("Barostat", "Thermostat")) and not name.startswith("RPMD")
    ],
)
def test_barostats_and_thermostats_do_not_act(kind):
    """In the dynamics, whichever there are in XML."""
    mapping, system, start = chain(N_UNITS)
    arguments = {
        "AndersenThermostat": (3000.0, 100.0),
        "MonteCarloAnisotropicBarostat": (openmm.Vec3(1, 1, 1), 300.0),
        "MonteCarloMembraneBarostat": (1.0, 0.0, 300.0, 0, 0),
    }
    system.addForce(getattr(openmm, kind)(*arguments.get(kind, (1.0, 300.0))))
    system.addForce(openmm.CMMotionRemover())
    options = {"reference": start, "relaxation": FAST, "seed": 3}
    relaxer = Backmapper(library(), mapping, system, TEMPERATURE, **options)._relaxer
    names = {type(force).__name__ for force in relaxer._full.getForces()}
    assert {"HarmonicBondForce", "NonbondedForce"} < names
    assert names.isdisjoint({kind, "CMMotionRemover"})


def molecular_dynamics(positions: np.ndarray, *more: float) -> app.Simulation:
    """A Simulation of the atoms, and of particles of these masses."""
    mapping, system, _ = chain(N_UNITS)
    topology = app.Topology()
    residue = topology.addResidue("A", topology.addChain())
    for name in mapping.graph.types:
        topology.addAtom(name, app.Element.getBySymbol(name), residue)
    for mass in more:
        topology.addAtom("X", None, residue)
        system.addParticle(mass)
        for force in system.getForces():
            if isinstance(force, openmm.NonbondedForce):
                force.addParticle(0.0, 1.0, 0.0)
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 1.0, 0.001)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(positions)
    return simulation


def test_a_reporter_refuses_atoms_of_the_other_hand(tmp_path):
    """Of the mirror image of what it would write: at the first frame, before it."""
    right = md(N_UNITS, n_frames=3).positions[0]
    simulation = molecular_dynamics(right * [1.0, 1.0, -1.0])
    reporter = BackmappedReporter(tmp_path / "a.xtc", 1, backmapper())
    simulation.reporters.append(reporter)
    with pytest.raises(ValueError, match=r"of the other hand .* with reference="):
        simulation.step(1)
    assert reporter.reports == []
    backmapper().check_hands(right)


@pytest.mark.parametrize("mass", [0.0, 1.0])
def test_particles_of_a_reporter_without_mass_are_passed_over(tmp_path, mass):
    """One more than the Backmapper knows; with a mass it is another molecule."""
    start = md(N_UNITS, n_frames=3).positions[0]
    simulation = molecular_dynamics(np.concatenate((start, [[3.0, 3.0, 3.0]])), mass)
    reporter = BackmappedReporter(tmp_path / "a.xtc", 1, backmapper())
    simulation.reporters.append(reporter)
    if mass > 0.0:
        with pytest.raises(ValueError, match=r"20 atoms .* has 21 particles with mass"):
            simulation.step(1)
    else:
        simulation.step(1)
        assert [report.problem for report in reporter.reports] == [""]


def test_a_reference_is_of_all_atoms():
    mapping, system, start = chain(N_UNITS)
    with pytest.raises(ValueError, match=r"as reference, \(20, 3\), got \(17"):
        Backmapper(library(), mapping, system, TEMPERATURE, reference=start[:-3])


def test_a_reporter_writes_atoms(tmp_path):
    """Of a Simulation of the atoms: times, centres and the number of frames."""
    mapping = chain(N_UNITS)[0]
    simulation = molecular_dynamics(md(N_UNITS, n_frames=3).positions[0])
    reporter = BackmappedReporter(tmp_path / "a.xtc", 5, backmapper())
    simulation.reporters.append(reporter)
    simulation.step(10)
    assert [report.frame for report in reporter.reports] == [5, 10]
    found = mdtraj.formats.XTCTrajectoryFile(str(tmp_path / "a.xtc")).read()
    assert found[0].shape == (2, mapping.graph.n_atoms, 3)
    assert found[1] == pytest.approx([0.005, 0.01])
    state = simulation.context.getState(positions=True)
    now = mapping.positions(state.getPositions(asNumpy=True)._value)
    gaps = mapping.positions(found[0][-1].astype(float)) - now
    assert np.sqrt((gaps**2).sum(axis=1).mean()) < FAST.tolerance
    reporter._backmapper = backmapper(relaxation=replace(FAST, tolerance=1e-5))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simulation.step(5)
    assert any("step 15 is left out" in str(item.message) for item in caught)
    assert len(mdtraj.formats.XTCTrajectoryFile(str(tmp_path / "a.xtc"))) == 2
    with pytest.raises(ValueError, match=r"written as \.xtc"):
        BackmappedReporter(tmp_path / "a.dcd", 1, backmapper())


def test_a_reporter_goes_on_after_a_restart(tmp_path):
    """Of a model, its atoms carried: frames are those of a run without a break."""
    mapping, system, _ = chain(N_UNITS)
    model = rouse_only(
        small_spec(
            particle_types=MASSES,
            bond_types=["bond"],
            atoms_per_bead=6.0,
            keep_hydrogens=True,
            prior={"rate": 0.01, "variance": 1e-4},
            statistics={"length_scale": 0.3, "displacement_scale": 0.01},
            has_property=False,
            friction=None,
        )
    )

    def simulation(name: str) -> app.Simulation:
        integrator = LearnedCGIntegrator(
            model, topology=mapping, guard="record", unseen="allow"
        )
        topology = app.Topology()
        residue = topology.addResidue("A", topology.addChain())
        for kind in mapping.graph.types:
            topology.addAtom(kind, app.Element.getBySymbol(kind), residue)
        platform = openmm.Platform.getPlatformByName("Reference")
        made = app.Simulation(topology, system, integrator, platform)
        made.context.setPositions(md(N_UNITS, n_frames=3).positions[0])
        reporter = BackmappedReporter(tmp_path / name, 2, backmapper())
        made.reporters.append(reporter)
        return made

    whole = simulation("whole.xtc")
    whole.step(5)
    first = simulation("first.xtc")
    first.step(3)
    first.saveCheckpoint(str(tmp_path / "run.chk"))
    second = simulation("second.xtc")
    second.loadCheckpoint(str(tmp_path / "run.chk"))
    second.step(2)
    one, *others = (
        mdtraj.formats.XTCTrajectoryFile(str(tmp_path / f"{name}.xtc")).read()
        for name in ("whole", "first", "second")
    )
    assert one[2].tolist() == [2, 4]
    for place in range(3):
        joined = np.concatenate([found[place] for found in others])
        np.testing.assert_array_equal(one[place], joined)
    both = [*first.reporters[0].reports, *second.reporters[0].reports]
    assert whole.reporters[0].reports == both
