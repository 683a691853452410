import numpy as np
import openmm
import pytest
from openmm import app, unit
from openmm_systems import chain, loaded, positions_of

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from openmm_cgml import bead_simulation, convert, systems
from openmm_cgml.beads import bead_system, bead_topology

MASSES = {"C": 12.011, "H": 1.008, "X": 40.0}


def ethane_like() -> app.Topology:
    """H-C-X and a second molecule, C-H."""
    topology = app.Topology()
    carbon, hydrogen = (app.Element.getBySymbol(s) for s in "CH")
    residue = topology.addResidue("ONE", topology.addChain())
    atoms = [
        topology.addAtom("H1", hydrogen, residue),
        topology.addAtom("C1", carbon, residue),
        topology.addAtom("X", None, residue),
    ]
    residue = topology.addResidue("TWO", topology.addChain())
    atoms.append(topology.addAtom("C1", carbon, residue))
    atoms.append(topology.addAtom("H2", hydrogen, residue))
    for i, j in [(2, 1), (0, 1), (4, 3)]:
        topology.addBond(atoms[i], atoms[j])
    return topology


def system_of(masses, bonds) -> openmm.System:
    system = openmm.System()
    for mass in masses:
        system.addParticle(mass)
    harmonic = openmm.HarmonicBondForce()
    custom = openmm.CustomBondForce("r^2")
    for k, (i, j) in enumerate(bonds):
        if k % 2:
            harmonic.addBond(i, j, 0.1, 1.0)
        else:
            custom.addBond(i, j)
    system.addForce(harmonic)
    system.addForce(custom)
    return system


def test_graph_from_topology():
    graph = convert.graph_from_topology(ethane_like(), MASSES)
    assert graph.types == ("H", "C", "X", "C", "H")
    np.testing.assert_allclose(graph.masses, [1.008, 12.011, 40.0, 12.011, 1.008])
    assert graph.bonds.tolist() == [[0, 1], [1, 2], [3, 4]]
    assert graph.n_molecules == 2


def test_masses_of_a_topology_are_a_table():
    match = r"must be a table of particle types, .*, got list: .* system="
    with pytest.raises(TypeError, match=match):
        convert.graph_from_topology(app.Topology(), [12.0, 1.0])


def test_graph_from_system_is_the_same():
    system = system_of([1.00794, 12.0107, 40.0, 12.01, 1.0], [(2, 1), (0, 1), (4, 3)])
    graph = systems.graph_from_system(system, MASSES)
    expected = convert.graph_from_topology(ethane_like(), MASSES)
    assert graph.types == expected.types
    assert graph.bonds.tolist() == expected.bonds.tolist()


@pytest.mark.parametrize(
    ("system", "masses", "match"),
    [
        (system_of([12.0, 12.0], []), MASSES, "2 particles has no bonds.*topology="),
        (
            system_of([12.0, 14.0], [(0, 1)]),
            MASSES,
            "particle 1 of 14 Da may be none of C .*pass topology=",
        ),
        (
            system_of([1.0, 1.0], [(0, 1)]),
            dict.fromkeys("AB", 1.0),
            "particle 0 of 1 Da may be A or B of A .*pass topology=",
        ),
    ],
)
def test_systems_that_do_not_tell_the_types(system, masses, match):
    with pytest.raises(ValueError, match=match):
        systems.graph_from_system(system, masses)


def test_unknown_particle_type():
    masses = {"C": 12.011, "H": 1.008}
    message = "unknown particle type 'X' .atom 2.: the model knows C, H"
    with pytest.raises(ValueError, match=message):
        convert.graph_from_topology(ethane_like(), masses)


def test_positions_in_any_unit():
    values = [[1.0, 2.0, 3.0]]
    np.testing.assert_array_equal(convert.in_nanometers(values), values)
    scaled = convert.in_nanometers(np.array(values) * unit.angstrom)
    np.testing.assert_allclose(scaled, np.array(values) / 10.0)


@pytest.fixture
def mapping() -> Mapping:
    graph = MolecularGraph.create(
        "AAAAAA", np.ones(6), [[0, 1], [1, 2], [3, 4], [4, 5]]
    )
    return Mapping.from_labels(graph, [0, 0, 1, 2, 3, 3])


def test_beads_in_openmm(mapping):
    box = np.diag([5.0, 6.0, 7.0])
    topology, system = bead_topology(mapping, box), bead_system(mapping, box)
    assert [bond[0].index for bond in topology.bonds()] == [0, 2]
    assert topology.getNumChains() == 2
    assert systems.particle_masses(system).tolist() == [2.0, 1.0, 1.0, 2.0]
    assert system.usesPeriodicBoundaryConditions()
    np.testing.assert_allclose(convert.default_box(system), box)
    vectors = topology.getPeriodicBoxVectors()
    np.testing.assert_allclose(convert.in_nanometers(vectors), box)
    open_system = bead_system(mapping)
    assert not open_system.usesPeriodicBoundaryConditions()
    assert bead_topology(mapping).getPeriodicBoxVectors() is None
    context = openmm.Context(open_system, openmm.VerletIntegrator(1.0))
    assert [len(molecule) for molecule in context.getMolecules()] == [2, 2]
    context.setPositions(np.arange(12.0).reshape(4, 3))
    assert (
        np.abs(context.getState(forces=True).getForces(asNumpy=True)._value).max() == 0
    )


def test_beads_out_of_order_cannot_be_described(mapping):
    mixed = Mapping.from_labels(mapping.graph, [0, 0, 2, 1, 3, 3])
    with pytest.raises(ValueError, match="ordered by molecule are required"):
        bead_topology(mixed)


def test_bead_simulation_is_one_call_away(tiny_model):
    built = chain()
    simulation = bead_simulation(
        loaded(tiny_model),
        built.topology,
        built.positions * 10 * unit.angstrom,
        seed=2,
        guard="record",
        platform=openmm.Platform.getPlatformByName("Reference"),
    )
    mapping = simulation.integrator.getMapping()
    np.testing.assert_allclose(
        positions_of(simulation), mapping.positions(built.positions), atol=1e-12
    )
    simulation.step(2)
    assert simulation.system.getNumParticles() == 12
    assert simulation.currentStep == 2


def test_a_spring_that_excludes_nothing_may_be_a_restraint():
    system = system_of([12.011] * 4, [(0, 1), (1, 2), (0, 3)])
    nonbonded = openmm.NonbondedForce()
    for _ in range(4):
        nonbonded.addParticle(0.0, 0.3, 0.1)
    nonbonded.addException(0, 1, 0.0, 0.3, 0.0)
    nonbonded.addException(1, 2, 0.0, 0.3, 0.0)
    system.addForce(nonbonded)
    match = "particles 0 and 3 of the System are held by a bond, .* pass topology="
    with pytest.raises(ValueError, match=match):
        systems.graph_from_system(system, {"C": 12.011})
    nonbonded.addException(0, 3, 0.0, 0.3, 0.0)
    assert systems.graph_from_system(system, {"C": 12.011}).n_molecules == 1


def test_a_virtual_site_is_no_atom_of_a_system():
    system = system_of([12.011] * 3, [(0, 1), (1, 2)])
    system.addParticle(0.0)
    system.setVirtualSite(3, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    graph = systems.graph_from_system(system, {"C": 12.011})
    assert (graph.n_atoms, graph.n_molecules) == (3, 1)
