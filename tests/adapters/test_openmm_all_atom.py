"""All-atom scripts as they are: PME, constraints, rigid water, sites, biases."""

import logging
import sys
from functools import cache

import numpy as np
import openmm
import pytest
from core_systems import learned, small_spec
from openmm import app, unit
from openmm_systems import positions_of, velocities_of

from cgml.molecules.graph import MolecularGraph, components
from cgml.molecules.mapping import Mapping
from openmm_cgml import LearnedCGIntegrator
from openmm_cgml.forces import check_forces
from openmm_cgml.testsystems.alanine import alanine_chain, is_l

EDGE = 2.4
MASSES = {"C": 12.011, "H": 1.008, "N": 14.007, "O": 15.999}
MODEL = learned(
    small_spec(
        particle_types=MASSES,
        bond_types=["bond"],
        atoms_per_bead=5.0,
        single_bead_limit=4,
        keep_hydrogens=True,
        periodic=True,
        cutoff=0.9,
        friction=None,
        has_property=False,
        prior={"rate": 0.5, "variance": 0.002},
        statistics={"length_scale": 0.3, "displacement_scale": 0.02},
        rotation=[{"atoms": {"H": 2, "O": 1}, "time": 50.0}],
    )
)


def script(constraints=app.HBonds, water="tip4pew") -> tuple:
    """Topology, System and positions of a chain of alanine in a little water."""
    topology, system, positions = build(constraints, water)
    return topology, openmm.XmlSerializer.clone(system), positions


@cache
def build(constraints, water) -> tuple:
    chain = alanine_chain(4)
    modeller = app.Modeller(chain.topology, (chain.positions + 0.4) * unit.nanometer)
    field = app.ForceField("amber14-all.xml", f"amber14/{water}.xml")
    grid = app.Topology()
    places = []
    oxygen, hydrogen = app.element.oxygen, app.element.hydrogen
    for x in (0.3, 1.0, 1.7):
        for y in (1.4, 2.0):
            residue = grid.addResidue("HOH", grid.addChain())
            atoms = [grid.addAtom("O", oxygen, residue)]
            atoms += [grid.addAtom(f"H{i}", hydrogen, residue) for i in (1, 2)]
            grid.addBond(atoms[0], atoms[1])
            grid.addBond(atoms[0], atoms[2])
            place = np.array([x, y, 1.5])
            shape = [[0.0, 0.0, 0.0], [0.09572, 0.0, 0.0], [-0.024, 0.0927, 0.0]]
            places += [place + np.array(offset) for offset in shape]
    modeller.add(grid, np.array(places) * unit.nanometer)
    modeller.topology.setPeriodicBoxVectors(EDGE * np.eye(3) * unit.nanometer)
    modeller.addExtraParticles(field)
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.9 * unit.nanometer,
        constraints=constraints,
        rigidWater=True,
    )
    return modeller.topology, system, modeller.positions


def simulate(parts, platform="Reference", **options):
    topology, system, positions = parts
    integrator = LearnedCGIntegrator(
        MODEL, topology=topology, guard="record", **options
    )
    simulation = app.Simulation(
        topology, system, integrator, openmm.Platform.getPlatformByName(platform)
    )
    simulation.context.setPositions(positions)
    return simulation


def errors(system, positions) -> np.ndarray:
    """How far constraints are off, relative to their lengths."""
    rows = [
        system.getConstraintParameters(i) for i in range(system.getNumConstraints())
    ]
    pairs = np.array([row[:2] for row in rows])
    lengths = np.array([row[2]._value for row in rows])
    ways = positions[pairs[:, 1]] - positions[pairs[:, 0]]
    return abs(np.linalg.norm(ways, axis=1) / lengths - 1.0)


@pytest.mark.parametrize("constraints", [app.HBonds, app.AllBonds, app.HAngles])
def test_constraints_hold_in_every_frame(constraints):
    parts = script(constraints)
    simulation = simulate(parts)
    start = positions_of(simulation)
    for _ in range(5):
        simulation.step(1)
        assert errors(parts[1], positions_of(simulation)).max() < 1e-5
    moved = positions_of(simulation) - start
    assert np.abs(moved).max() > 1e-3
    assert is_l(parts[0], positions_of(simulation)).all()


def test_rigid_water_turns():
    """So far in a step of 20 ps; the model states a rotation time of 50 ps."""
    topology, system, positions = plain()
    simulation = simulate((topology, system, positions))
    waters = [list(r.atoms()) for r in topology.residues() if r.name == "HOH"]
    places = np.array([[atom.index for atom in water] for water in waters])

    def ways() -> np.ndarray:
        atoms = positions_of(simulation)[places]
        found = atoms[:, 1:].mean(axis=1) - atoms[:, 0]
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    before = ways()
    simulation.step(1)
    cosines = (ways() * before).sum(axis=1)
    assert cosines.max() < 0.999
    assert 0.2 < cosines.mean() < 0.98


def test_virtual_sites_are_where_the_context_computes_them():
    parts = script()
    simulation = simulate(parts)
    mapping = simulation.integrator.getMapping()
    system = parts[1]
    sites = [i for i in range(system.getNumParticles()) if system.isVirtualSite(i)]
    assert len(sites) == 6
    assert mapping.graph.n_atoms == system.getNumParticles() - len(sites)
    simulation.step(3)
    there = positions_of(simulation)
    simulation.context.computeVirtualSites()
    np.testing.assert_array_equal(positions_of(simulation), there)
    for site in sites:
        oxygen = system.getVirtualSite(site).getParticle(0)
        distance = np.linalg.norm(there[site] - there[oxygen])
        assert distance == pytest.approx(0.0125, abs=1e-4)
    np.testing.assert_array_equal(velocities_of(simulation)[sites], 0.0)


def test_a_virtual_site_may_be_bonded_to_its_atom():
    """As topologies of AMBER have it."""
    topology, system, positions = script()
    modeller = app.Modeller(topology, positions)
    sites = [atom for atom in modeller.topology.atoms() if atom.element is None]
    for site in sites:
        modeller.topology.addBond(next(site.residue.atoms()), site)
    simulation = simulate((modeller.topology, system, positions))
    graph = simulation.integrator.getMapping().graph
    assert graph.n_atoms == system.getNumParticles() - len(sites)
    simulation.step(1)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_restart_goes_on_to_the_bit(tmp_path, platform):
    one = simulate(script(), platform, seed=4)
    one.step(2)
    one.saveCheckpoint(str(tmp_path / "run.chk"))
    one.saveState(str(tmp_path / "run.xml"))
    one.step(3)
    for load in ("loadCheckpoint", "loadState"):
        other = simulate(script(), platform)
        path = tmp_path / ("run.chk" if load == "loadCheckpoint" else "run.xml")
        getattr(other, load)(str(path))
        other.step(3)
        np.testing.assert_array_equal(positions_of(other), positions_of(one))


def test_a_history_of_all_particles():
    simulation = simulate(script())
    now = positions_of(simulation)
    simulation.integrator.setHistory(now[None] - 0.01)
    simulation.step(1)
    match = r"earlier frames of shape \(n_frames, \d+, 3\) are required"
    with pytest.raises(ValueError, match=match):
        simulation.integrator.setHistory(now[None, :7])


def test_a_motion_remover_is_no_bias():
    parts = script()
    assert any(isinstance(f, openmm.CMMotionRemover) for f in parts[1].getForces())
    simulate(parts).step(1)


def test_heavy_hydrogens():
    """Masses moved to hydrogens, as longer MD steps have it: the same molecules."""
    topology, system, positions = plain()
    for one, other in topology.bonds():
        light, heavy = sorted((one, other), key=lambda atom: atom.element.mass._value)
        if light.element.symbol == "H" and heavy.residue.name != "HOH":
            for atom, move in ((light, 2.0), (heavy, -2.0)):
                mass = system.getParticleMass(atom.index)._value
                system.setParticleMass(atom.index, mass + move)
    simulation = simulate((topology, system, positions))
    simulation.step(2)
    assert errors(system, positions_of(simulation)).max() < 1e-5


def test_what_scripts_do_before_and_between_steps(capsys):
    """They minimise, set velocities, and report: each new start is carried on."""
    parts = script(water="opc")
    simulation = simulate(parts)
    simulation.minimizeEnergy(maxIterations=3)
    simulation.context.setVelocitiesToTemperature(300)
    simulation.reporters.append(
        app.StateDataReporter(sys.stdout, 1, step=True, volume=True, temperature=True)
    )
    simulation.step(2)
    simulation.minimizeEnergy(maxIterations=3)
    simulation.step(1)
    assert errors(parts[1], positions_of(simulation)).max() < 1e-5
    assert capsys.readouterr().out.splitlines()[-1].startswith("3,300.0,")


def test_a_barostat_that_comes_later_is_refused():
    parts = plain()
    simulation = simulate(parts)
    simulation.step(1)
    simulation.system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    with pytest.raises(ValueError, match="has the force MonteCarloBarostat"):
        simulation.context.reinitialize(preserveState=True)
    with pytest.raises(ValueError, match="has the force MonteCarloBarostat"):
        simulation.step(1)


def exchange(system):
    """A bias in the place of what a script has at that number."""
    last = system.getNumForces() - 1
    system.removeForce(last)
    external(system)


def rebind(system):
    bonds = next(f for f in system.getForces() if f.getName() == "HarmonicBondForce")
    bonds.setBondParameters(0, 0, 40, 0.5, 100.0)


def restrain(system):
    _, _, length = system.getConstraintParameters(0)
    system.setConstraintParameters(0, 0, 40, length)


def freeze(system):
    """An atom of water, which no constraint may hold then."""
    for place in range(system.getNumConstraints()):
        system.setConstraintParameters(place, 0, 1, 0.1)
    system.setParticleMass(system.getNumParticles() - 1, 0.0)


LATER = {
    exchange: "has the force CustomExternalForce",
    rebind: "has the force HarmonicBondForce",
    restrain: "holds particles 0 and 40",
    freeze: "fixed by a mass of zero",
}


@pytest.mark.parametrize("change", LATER)
def test_as_many_forces_and_constraints_may_be_others(change):
    """A Context that is made anew looks at each, their numbers tell nothing."""
    simulation = simulate(plain())
    simulation.step(1)
    change(simulation.system)
    with pytest.raises(ValueError, match=LATER[change]):
        simulation.context.reinitialize(preserveState=True)
    with pytest.raises(ValueError, match=LATER[change]):
        simulation.step(1)


def test_constraints_that_come_later_hold():
    parts = plain()
    kept = [
        parts[1].getConstraintParameters(i) for i in range(parts[1].getNumConstraints())
    ]
    while parts[1].getNumConstraints():
        parts[1].removeConstraint(0)
    simulation = simulate(parts)
    simulation.step(1)
    for row in kept:
        simulation.system.addConstraint(*row)
    simulation.context.reinitialize(preserveState=True)
    simulation.step(1)
    assert errors(simulation.system, positions_of(simulation)).max() < 1e-5


def external(system):
    system.addForce(openmm.CustomExternalForce("x^2"))


def cv(system):
    inner = openmm.CustomBondForce("r")
    inner.addBond(0, 40)
    force = openmm.CustomCVForce("d^2")
    force.addCollectiveVariable("d", inner)
    system.addForce(force)


def metadynamics(system):
    inner = openmm.CustomTorsionForce("theta")
    inner.addTorsion(0, 1, 6, 8)
    variable = app.BiasVariable(inner, -np.pi, np.pi, 0.3, periodic=True)
    app.Metadynamics(system, [variable], 300.0, 5.0, 1.0, 100)


def centroids(system):
    force = openmm.CustomCentroidBondForce(2, "distance(g1, g2)^2")
    force.addGroup([0, 1])
    force.addGroup([20, 21])
    force.addBond([0, 1])
    system.addForce(force)


def rmsd(system):
    n = system.getNumParticles()
    system.addForce(openmm.RMSDForce(np.zeros((n, 3)), list(range(10))))


def gyration(system):
    system.addForce(openmm.RGForce())


def compound(system):
    force = openmm.CustomCompoundBondForce(2, "distance(p1, p2)")
    force.addBond([0, 1])
    system.addForce(force)


def far_spring(system):
    force = openmm.HarmonicBondForce()
    force.addBond(0, 40, 0.5, 100.0)
    system.addForce(force)


def far_custom_spring(system):
    force = openmm.CustomBondForce("(r-1)^2")
    force.addBond(4, 50)
    system.addForce(force)


def far_torsion(system):
    force = openmm.PeriodicTorsionForce()
    force.addTorsion(0, 10, 20, 30, 1, 0.0, 5.0)
    system.addForce(force)


def second_torsion(system):
    own = next(f for f in system.getForces() if "PeriodicTorsion" in f.getName())
    force = openmm.CustomTorsionForce("(theta-1)^2")
    force.addTorsion(*own.getTorsionParameters(0)[:4])
    system.addForce(force)


def first_torsion(system):
    """The same, before those of the force field."""
    forces = [openmm.XmlSerializer.clone(force) for force in system.getForces()]
    while system.getNumForces():
        system.removeForce(0)
    own = next(f for f in forces if "PeriodicTorsion" in f.getName())
    force = openmm.CustomTorsionForce("(theta-1)^2")
    force.addTorsion(*own.getTorsionParameters(0)[:4])
    for item in (force, *forces):
        system.addForce(item)


def stock_torsion(system):
    own = next(f for f in system.getForces() if "PeriodicTorsion" in f.getName())
    force = openmm.RBTorsionForce()
    force.addTorsion(*own.getTorsionParameters(0)[:4], 1, 0, 0, 0, 0, 0)
    system.addForce(force)


def second_bond(system):
    """Within the force of the bonds."""
    own = next(f for f in system.getForces() if f.getName() == "HarmonicBondForce")
    one, other, *_ = own.getBondParameters(0)
    own.addBond(other, one, 0.5, 10.0)


def ends_of_a_torsion(system):
    own = next(f for f in system.getForces() if "PeriodicTorsion" in f.getName())
    one, _, _, last, *_ = own.getTorsionParameters(0)
    force = openmm.HarmonicBondForce()
    force.addBond(one, last, 0.3, 100.0)
    system.addForce(force)


def bent_angle(system):
    """Its middle is an end."""
    own = next(f for f in system.getForces() if f.getName() == "HarmonicAngleForce")
    one, middle, other, *_ = own.getAngleParameters(0)
    force = openmm.HarmonicAngleForce()
    force.addAngle(middle, one, other, 1.0, 10.0)
    system.addForce(force)


def turned_torsion(system):
    """Four atoms of a torsion, in an order that is no way along bonds."""
    own = next(f for f in system.getForces() if "PeriodicTorsion" in f.getName())
    one, two, three, four, *_ = own.getTorsionParameters(0)
    force = openmm.PeriodicTorsionForce()
    force.addTorsion(two, one, four, three, 1, 0.0, 5.0)
    system.addForce(force)


def far_map(system):
    force = openmm.CMAPTorsionForce()
    force.addMap(2, [0.0] * 4)
    force.addTorsion(0, 0, 10, 20, 30, 10, 20, 30, 31)
    system.addForce(force)


def nonbonded(system):
    return next(f for f in system.getForces() if f.getName() == "NonbondedForce")


def other_molecule(system):
    nonbonded(system).addException(0, system.getNumParticles() - 1, 0.0, 1.0, 0.0)


def far_pair(system):
    nonbonded(system).addException(0, 40, 0.0, 0.5, 9.0)


def charged_water(system):
    """One of six."""
    nonbonded(system).setParticleParameters(system.getNumParticles() - 3, -1, 0.3, 0.6)


def held_water(system):
    """A true angle, of one water of six."""
    n = system.getNumParticles()
    force = openmm.HarmonicAngleForce()
    force.addAngle(n - 2, n - 3, n - 1, 1.8, 100.0)
    system.addForce(force)


def chosen(system):
    """Between chosen particles, by a parameter of theirs."""
    force = openmm.CustomNonbondedForce("a1*a2*(r-0.5)^2")
    force.addPerParticleParameter("a")
    n = system.getNumParticles()
    for i in range(n):
        force.addParticle([float(i in (n - 3, n - 6))])
    pairs = nonbonded(system)
    for i in range(pairs.getNumExceptions()):
        force.addExclusion(*pairs.getExceptionParameters(i)[:2])
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    system.addForce(force)


def group(system):
    force = openmm.CustomNonbondedForce("1/r")
    for _ in range(system.getNumParticles()):
        force.addParticle([])
    pairs = nonbonded(system)
    for i in range(pairs.getNumExceptions()):
        force.addExclusion(*pairs.getExceptionParameters(i)[:2])
    force.addInteractionGroup([0, 1, 2], [30, 31])
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    system.addForce(force)


def many_particles(system, types, values):
    force = openmm.CustomManyParticleForce(2, "a1*distance(p1, p2)")
    force.addPerParticleParameter("a")
    for i in range(system.getNumParticles()):
        force.addParticle([float(i in values)], int(i in types))
    if types:
        force.setTypeFilter(0, {1})
    system.addForce(force)


def many_of_one_water(system):
    many_particles(system, [], [system.getNumParticles() - 3])


def many_of_a_chosen_type(system):
    """An atom of a chain that is alone."""
    many_particles(system, [0], [])


def by_place(force, *values, other):
    """All particles alike, but for an atom of the last water."""

    def bias(system):
        n = system.getNumParticles()
        own = force()
        add = getattr(own, "addMultipole", None) or own.addParticle
        for i in range(n):
            add(*(other if i == n - 3 else values))
        system.addForce(own)

    bias.__name__ = force.__name__
    return bias


def drude(system):
    """Of waters, whose hydrogens stand for Drude particles; one is stiffer."""
    n = system.getNumParticles()
    force = openmm.DrudeForce()
    for first in range(n - 18, n, 3):
        size = 0.002 if first == n - 3 else 0.001
        force.addParticle(first + 1, first, -1, -1, -1, -1.0, size, 1.0, 1.0)
    system.addForce(force)


def axes_of_another(system):
    force = openmm.GayBerneForce()
    n = system.getNumParticles()
    for i in range(n):
        x = 0 if i == n - 3 else -1
        force.addParticle(0.3, 0.1, x, -1, 0.1, 0.1, 0.1, 1.0, 1.0, 1.0)
    system.addForce(force)


def excluded(system):
    """Van der Waals forces of AMOEBA, not between one atom and one water."""
    n = system.getNumParticles()
    force = openmm.AmoebaVdwForce()
    for i in range(n):
        force.addParticle(i, 0.3, 0.1, 1.0)
    force.setParticleExclusions(0, [0, n - 3])
    system.addForce(force)


def far_torsions(system):
    force = openmm.AmoebaTorsionTorsionForce()
    force.addTorsionTorsion(0, 10, 20, 30, 40, -1, 0)
    system.addForce(force)


def compound_of_amoeba(system):
    """By its name alone."""
    compound(system)
    force = system.getForces()[-1]
    force.setBondParameters(0, [0, 40], [])
    force.setName("AmoebaStretchBendForce")


NONE, MOMENTS = (-1, -1, -1), ((0.0,) * 3, (0.0,) * 9)
MULTIPOLES = (*MOMENTS, 5, *NONE, 0.39, 0.3, 0.001)
HIPPO = (*MOMENTS, *(1.0,) * 9, 5, *NONE)
ONE_OF_ALL = [
    by_place(openmm.LCPOForce, 0.1, 1, 1, 1, 1, other=(0.1, 9, 1, 1, 1)),
    by_place(openmm.AmoebaVdwForce, 0, 0.3, 0.1, 1, other=(0, 0.3, 9, 1)),
    by_place(openmm.AmoebaWcaDispersionForce, 0.1, 0.1, other=(0.1, 9)),
    by_place(openmm.AmoebaMultipoleForce, 0, *MULTIPOLES, other=(9, *MULTIPOLES)),
    by_place(openmm.HippoNonbondedForce, 0, *HIPPO, other=(9, *HIPPO)),
    by_place(openmm.AmoebaGeneralizedKirkwoodForce, 0.1, 0.2, 0.7, other=(9, 0.2, 0.7)),
]


def barostat(system):
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))


def python_force(system):
    system.addForce(openmm.PythonForce(lambda state: (0.0, np.zeros((1, 3)))))


BIASES = {
    external: "CustomExternalForce",
    cv: "CustomCVForce",
    metadynamics: "CustomCVForce",
    centroids: "CustomCentroidBondForce",
    rmsd: "RMSDForce",
    gyration: "RGForce",
    compound: "CustomCompoundBondForce",
    far_spring: "HarmonicBondForce",
    far_custom_spring: "CustomBondForce",
    far_torsion: "PeriodicTorsionForce",
    second_torsion: "CustomTorsionForce",
    first_torsion: "CustomTorsionForce",
    stock_torsion: "RBTorsionForce",
    second_bond: "HarmonicBondForce",
    ends_of_a_torsion: "HarmonicBondForce",
    bent_angle: "HarmonicAngleForce",
    turned_torsion: "PeriodicTorsionForce",
    far_map: "CMAPTorsionForce",
    other_molecule: "NonbondedForce",
    far_pair: "NonbondedForce",
    charged_water: "NonbondedForce",
    held_water: "HarmonicAngleForce",
    chosen: "CustomNonbondedForce",
    group: "CustomNonbondedForce",
    many_of_one_water: "CustomManyParticleForce",
    many_of_a_chosen_type: "CustomManyParticleForce",
    drude: "DrudeForce",
    axes_of_another: "GayBerneForce",
    excluded: "AmoebaVdwForce",
    far_torsions: "AmoebaTorsionTorsionForce",
    compound_of_amoeba: "CustomCompoundBondForce",
    **{bias: bias.__name__ for bias in ONE_OF_ALL},
    barostat: "MonteCarloBarostat",
    python_force: "PythonForce",
}


def plain() -> tuple:
    return script(water="tip3p")


@pytest.mark.parametrize("bias", BIASES)
def test_a_bias_is_refused(bias):
    parts = plain()
    bias(parts[1])
    name = BIASES[bias]
    title = parts[1].getForces()[-1].getName() if bias is compound_of_amoeba else name
    match = f"has the force {name}.* as .*removeForce.*ignore=\\['{title}'\\]"
    with pytest.raises(ValueError, match=match):
        simulate(parts)


@pytest.mark.parametrize(
    "files", [["amoeba2018", "amoeba2018_gk"], ["swm4ndp"]], ids=["AMOEBA", "Drude"]
)
def test_force_fields_with_multipoles_have_no_biases(files):
    """Many molecules of a kind, with axes, maps of covalent atoms, Drude particles."""
    chain = alanine_chain(1)
    water, *_ = build(app.HBonds, "tip3p")
    modeller = app.Modeller(water, np.zeros((water.getNumAtoms(), 3)) * unit.nanometer)
    modeller.delete([c for c in water.chains() if len(list(c.residues())) > 1])
    if "amoeba2018" in files:
        for _ in range(12):
            modeller.add(chain.topology, chain.positions * unit.nanometer)
    field = app.ForceField(*(f"{name}.xml" for name in files))
    modeller.addExtraParticles(field)
    system = field.createSystem(modeller.topology)
    atoms = [atom for atom in modeller.topology.atoms() if atom.element is not None]
    place = {atom: number for number, atom in enumerate(atoms)}
    bonds = [[place[i], place[j]] for i, j in modeller.topology.bonds() if i in place]
    masses = [atom.element.mass._value for atom in atoms]
    graph = MolecularGraph.create([a.element.symbol for a in atoms], masses, bonds)
    mapping = Mapping.from_labels(graph, components(graph.n_atoms, graph.bonds))
    check_forces(system, mapping, np.array([atom.index for atom in atoms]), [])


def own_spring(system):
    """Beside the bonds of the force field, in their force."""
    bonds = next(f for f in system.getForces() if f.getName() == "HarmonicBondForce")
    bonds.addBond(0, 40, 0.5, 100.0)


def test_a_spring_among_bonds_is_not_removed_with_them():
    parts = plain()
    own_spring(parts[1])
    bonds = parts[1].getForce(0)
    advice = r"without that term \(system.removeForce\(0\) takes away all {} "
    match = advice.format(bonds.getNumBonds())
    with pytest.raises(ValueError, match=match):
        simulate(parts)
    simulate(parts, ignore=["HarmonicBondForce"]).step(1)


@pytest.mark.parametrize("bias", [group, many_of_a_chosen_type])
def test_a_force_between_chosen_particles_is_removed_whole(bias):
    parts = plain()
    bias(parts[1])
    number = parts[1].getNumForces() - 1
    match = rf"chosen particles, .*: remove it with system.removeForce\({number}\)"
    with pytest.raises(ValueError, match=match):
        simulate(parts)


def test_a_force_that_has_a_name_is_told_by_it():
    parts = plain()
    far_spring(parts[1])
    parts[1].getForces()[-1].setName("pull")
    number = parts[1].getNumForces() - 1
    match = (
        "has the force HarmonicBondForce named 'pull', .*: remove it with "
        rf"system.removeForce\({number}\), .*ignore=\['pull'\]"
    )
    with pytest.raises(ValueError, match=match):
        simulate(parts)
    own_spring(parts[1])
    with pytest.raises(ValueError, match="without that term"):
        simulate(parts, ignore=["pull"])


@pytest.mark.parametrize("bias", [external, barostat, far_torsion])
def test_a_bias_is_ignored_on_demand_and_the_log_says_so(bias, caplog):
    parts = plain()
    bias(parts[1])
    name = parts[1].getForces()[-1].getName()
    with caplog.at_level(logging.WARNING):
        simulate(parts, ignore=[name]).step(1)
    assert f"the force {name} of the System is ignored" in caplog.text


def test_what_is_ignored_is_there():
    with pytest.raises(ValueError, match="'Barostat' is none of them: there are CMM"):
        simulate(plain(), ignore="Barostat")


def test_a_constraint_that_is_a_restraint_is_refused():
    parts = plain()
    parts[1].addConstraint(0, 40, 0.8)
    with pytest.raises(ValueError, match=r"particles 0 and 40 at 0.8 nm.*removeConst"):
        simulate(parts)


def test_a_frozen_atom_is_refused():
    parts = plain()
    system = parts[1]
    place = system.getNumParticles() - 1
    while system.getNumConstraints():
        system.removeConstraint(0)
    system.setParticleMass(place, 0.0)
    with pytest.raises(
        ValueError, match=f"particle {place} is fixed by a mass of zero"
    ):
        simulate(parts)


@pytest.mark.parametrize("charge", [0.0, 1.0])
def test_a_particle_without_mass_and_element_stays(caplog, charge):
    topology, system, positions = plain()
    modeller = app.Modeller(topology, positions)
    marker = app.Topology()
    residue = marker.addResidue("MRK", marker.addChain())
    marker.addAtom("X", None, residue)
    modeller.add(marker, np.ones((1, 3)) * unit.nanometer)
    system.addParticle(0.0)
    nonbonded(system).addParticle(charge, 1.0, 0.0)
    with caplog.at_level(logging.WARNING):
        simulation = simulate((modeller.topology, system, modeller.positions))
    assert "1 particles without mass and element stay where they are" in caplog.text
    assert ("1 have charge or Lennard-Jones" in caplog.text) == (charge != 0.0)
    simulation.step(2)
    np.testing.assert_array_equal(positions_of(simulation)[-1], 1.0)
