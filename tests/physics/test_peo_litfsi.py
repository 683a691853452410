import itertools
import json
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from cgml.formats.trajectory import read_topology
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from openmm_cgml.testsystems import peo_litfsi, peo_system
from openmm_cgml.testsystems.peo_beads import bead_positions, bead_types
from openmm_cgml.testsystems.peo_packing import placed, tfsi_shape
from openmm_cgml.testsystems.peo_parameters import FORCE_FIELDS, ION_TYPES, opls
from openmm_cgml.testsystems.peo_protocol import (
    compressed,
    density,
    peo_simulation,
    rescaled,
    set_edge,
)

DATA = Path(__file__).parents[1] / "data" / "peo_energies.npz"
FIELDS = sorted(FORCE_FIELDS)
CHAINS = [6, 1, 3]  # ether oxygens


@pytest.fixture(scope="module", params=FIELDS)
def small(request):
    return peo_litfsi(CHAINS, 2, force_field=request.param, edge=2.4)


def nonbonded_of(system):
    (force,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    return force


def paths_of(bonds, n_atoms):
    """Bonds between any two atoms, by a walk from each; far apart: 99."""
    neighbours = [set() for _ in range(n_atoms)]
    for i, j in bonds:
        neighbours[i].add(j)
        neighbours[j].add(i)
    distances = np.full((n_atoms, n_atoms), 99)
    for start in range(n_atoms):
        front, steps, seen = {start}, 0, set()
        while front:
            distances[start, list(front)] = steps
            seen |= front
            front = set().union(*(neighbours[i] for i in front)) - seen
            steps += 1
    return distances


def angle_of(a, b, c):
    one, other = a - b, c - b
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    return np.degrees(np.arccos(cosine))


@pytest.mark.parametrize("name", FIELDS)
def test_energies_by_term_are_those_of_the_reference(name):
    with np.load(DATA) as content:
        positions, types, bonds, box, charges = (
            content[f"{part}_{name}"]
            for part in ("x", "types", "bonds", "box", "charge")
        )
        expected = json.loads(str(content[f"energies_{name}"]))
    system = peo_system(
        types.tolist(),
        [tuple(bond) for bond in bonds.tolist()],
        force_field=name,
        ewald_tolerance=1e-6,
        has_tail_correction=False,
    )
    system.setDefaultPeriodicBoxVectors(*float(box) * np.eye(3))
    for group, force in enumerate(system.getForces()):
        force.setForceGroup(group)
    context = openmm.Context(
        system,
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName("Reference"),
    )
    context.setPositions(positions)
    found = {
        type(force).__name__: context.getState(energy=True, groups={group})
        .getPotentialEnergy()
        ._value
        for group, force in enumerate(system.getForces())
    }
    assert found.pop("HarmonicBondForce", 0.0) == pytest.approx(
        expected.pop("HarmonicBondForce"), rel=1e-5, abs=1e-9
    )
    assert found == pytest.approx(expected, rel=1e-5)
    force = nonbonded_of(system)
    own = [force.getParticleParameters(i)[0]._value for i in range(len(types))]
    np.testing.assert_allclose(own, charges, atol=1e-12)


def test_exceptions_halve_what_is_three_bonds_apart(small):
    force = nonbonded_of(small.system)
    table = FORCE_FIELDS[small.force_field].atom_types
    charges = [
        (0.8 if name in ION_TYPES else 1.0) * table[name].charge for name in small.types
    ]
    assert sum(charges) == pytest.approx(0.0, abs=1e-12)
    far = paths_of(small.bonds, len(small.types))
    found = {}
    for index in range(force.getNumExceptions()):
        i, j, *values = force.getExceptionParameters(index)
        found[min(i, j), max(i, j)] = [value._value for value in values]
    pairs = {(i, j) for i, j in np.argwhere(far <= 3).tolist() if i < j}
    assert set(found) == pairs
    for (i, j), (product, sigma, depth) in found.items():
        one, other = table[small.types[i]], table[small.types[j]]
        share = 0.5 if far[i, j] == 3 else 0.0
        assert product == pytest.approx(share * charges[i] * charges[j])
        assert depth == pytest.approx(share * np.sqrt(one.depth * other.depth))
        if share and small.force_field == "united":
            assert sigma == pytest.approx(0.5 * (one.sigma + other.sigma))
        elif share:
            assert sigma == pytest.approx(np.sqrt(one.sigma * other.sigma))


def test_terms_are_counted_and_masses_kept(small):
    far = paths_of(small.bonds, len(small.types))
    kinds = {type(force).__name__: force for force in small.system.getForces()}
    assert kinds["HarmonicAngleForce"].getNumAngles() == (far == 2).sum() // 2
    rigid = small.system.getNumConstraints()
    if small.force_field == "united":
        assert rigid == len(small.bonds)
        assert "HarmonicBondForce" not in kinds
    else:
        assert rigid == small.types.count("HC")
        assert kinds["HarmonicBondForce"].getNumBonds() == len(small.bonds) - rigid
        exclusions = kinds["CustomNonbondedForce"].getNumExclusions()
        assert exclusions == kinds["NonbondedForce"].getNumExceptions()
    masses = [
        small.system.getParticleMass(i)._value
        for i in range(small.system.getNumParticles())
    ]
    assert sum(masses) == pytest.approx(small.masses.sum())
    heavy = {
        mass for mass, name in zip(masses, small.types, strict=True) if name == "HC"
    }
    assert heavy <= {3.0}


def test_pairs_beyond_the_cutoff_count_on_average(small):
    without = peo_system(
        small.types,
        small.bonds,
        force_field=small.force_field,
        has_tail_correction=False,
    )
    without.setDefaultPeriodicBoxVectors(*2.4 * np.eye(3))
    energies = []
    for system in (small.system, without):
        context = openmm.Context(
            system,
            openmm.VerletIntegrator(0.001),
            openmm.Platform.getPlatformByName("Reference"),
        )
        context.setPositions(small.positions)
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    # -8 pi N^2 / V <eps sigma^6> / (3 r_cut^3), the repulsion beside it, naively
    table = FORCE_FIELDS[small.force_field].atom_types
    sigma, depth = np.array([table[name][3:] for name in small.types]).T
    if small.force_field == "united":
        mixed = 0.5 * (sigma[:, None] + sigma)
    else:
        mixed = np.sqrt(sigma[:, None] * sigma)
    well = np.sqrt(depth[:, None] * depth)
    tails = well * (mixed**12 / (9 * 0.9**9) - mixed**6 / (3 * 0.9**3))
    n = len(small.types)
    # OpenMM counts pairs of unlike particles: n (n + 1) / 2 of them
    mean = (tails.sum() + np.trace(tails)) / (n * (n + 1))
    expected = 8 * np.pi * n**2 / 2.4**3 * mean
    assert energies[0] - energies[1] == pytest.approx(expected, rel=1e-3)


def test_topology_names_what_is_there(small):
    topology, n_units = small.topology, sum(CHAINS)
    assert topology.getNumChains() == len(CHAINS) + 2 + 2
    residues = list(topology.residues())
    names = [residue.name for residue in residues]
    assert names == ["PEO"] * n_units + ["LI"] * 2 + ["TFS"] * 2
    for residue in residues:
        atoms = [atom.name for atom in residue.atoms()]
        assert len(set(atoms)) == len(atoms)
        assert max(map(len, atoms)) <= 4
    graph = MolecularGraph.create(small.types, small.masses, small.bonds)
    assert graph.n_molecules == topology.getNumChains()
    assert [len(m) for m in graph.molecules[-4:]] == [1, 1, 15, 15]
    table = FORCE_FIELDS[small.force_field].atom_types
    for atom, name in zip(topology.atoms(), small.types, strict=True):
        assert atom.element.symbol == table[name].element
    # H-[CH2-O-CH2]-H: 44.05 Da a unit, and 2.016 at the ends
    chains = graph.masses[: -2 * 16].sum()
    assert chains == pytest.approx(44.052 * n_units + 2.016 * len(CHAINS), abs=0.05)


def test_bonds_survive_a_pdb_file(small, tmp_path):
    path = tmp_path / "peo.pdb"
    with path.open("w") as stream:
        positions = small.positions * unit.nanometer
        app.PDBFile.writeFile(small.topology, positions, stream, keepIds=True)
    again = app.PDBFile(str(path)).topology
    expected = {tuple(sorted(bond)) for bond in small.bonds}
    assert {(b.atom1.index, b.atom2.index) for b in again.bonds()} == expected
    assert read_topology(path).n_molecules == len(CHAINS) + 4


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", FIELDS)
def test_start_has_the_shapes_of_the_force_field_and_no_overlap(name, seed):
    rng = np.random.default_rng(seed)
    box = peo_litfsi([8] * 8, 6, force_field=name, generator=rng)
    positions, n_atoms = box.positions, len(box.types)
    table = FORCE_FIELDS["united"]  # which the packing follows
    elements = [table.atom_types[t].element if t != "HC" else "H" for t in box.types]
    lengths = {name: bond.rest for name, bond in table.bonds.items()} | {"CH": 0.109}
    for i, j in box.bonds:
        rest = (
            lengths.get(elements[i] + elements[j]) or lengths[elements[j] + elements[i]]
        )
        length = np.linalg.norm(positions[i] - positions[j])
        assert length == pytest.approx(rest, abs=1e-9)
    far = paths_of(box.bonds, n_atoms)
    heavy = np.array([element != "H" for element in elements])
    for j in np.flatnonzero(heavy):
        ends = [i for i in np.flatnonzero(far[j] == 1) if heavy[i]]
        for i, k in itertools.combinations(ends, 2):
            kinds = elements[i] + elements[j] + elements[k]
            rest = (table.angles.get(kinds) or table.angles[kinds[::-1]]).rest
            angle = angle_of(positions[i], positions[j], positions[k])
            assert angle == pytest.approx(rest, abs=2.0)  # of TFSI, not all can be
    offsets = positions[:, None] - positions
    offsets -= box.edge * np.round(offsets / box.edge)
    distances = np.linalg.norm(offsets, axis=-1)
    is_ion = np.isin(box.types, list(ION_TYPES))
    backbone = heavy & ~is_ion
    assert distances[np.outer(backbone, backbone) & (far >= 3)].min() > 0.22
    assert distances[np.outer(is_ion, heavy) & (far >= 4)].min() > 0.22


def test_seeds_decide_the_start():
    def start(seed):
        rng = np.random.default_rng(seed)
        return peo_litfsi([4] * 4, 1, generator=rng).positions

    one = start(0)
    np.testing.assert_array_equal(one, start(0))
    np.testing.assert_array_equal(one, peo_litfsi([4] * 4, 1).positions)
    assert abs(one - start(1)).max() > 0.5


def test_torsions_of_the_start_follow_their_law():
    box = peo_litfsi([40] * 9, 0, generator=np.random.default_rng(1), edge=9.0)
    chains = box.positions.reshape(9, -1, 3)
    steps = np.diff(chains, axis=1)
    normals = np.cross(steps[:, :-1], steps[:, 1:])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    cosines = (normals[:, :-1] * normals[:, 1:]).sum(axis=-1)  # of torsions
    # atoms C O C | C O C | ...: torsion i begins at atom i; O C C O at atom 1, 4, ...
    trans = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0))) > 120.0
    is_occo = np.arange(cosines.shape[1]) % 3 == 1
    # by the law; the few that have no room are less than the error
    for found, share in ((trans[:, is_occo], 0.35), (trans[:, ~is_occo], 0.87)):
        error = np.sqrt(share * (1.0 - share) / found.size)
        assert abs(found.mean() - share) < 4.0 * error


def test_places_have_the_bond_the_angle_and_the_torsion():
    a, b, c = np.random.default_rng(5).normal(size=(3, 3))
    for torsion in (-150.0, -30.0, 0.0, 70.0, 180.0):
        d = placed(a, b, c, 0.3, 112.0, torsion)
        assert np.linalg.norm(d - c) == pytest.approx(0.3)
        assert angle_of(b, c, d) == pytest.approx(112.0)
        one, other = np.cross(b - a, c - b), np.cross(c - b, d - c)
        sine = np.linalg.norm(c - b) * (b - a) @ other
        turn = np.radians(torsion) - np.arctan2(sine, one @ other)
        assert np.cos(turn) == pytest.approx(1.0, abs=1e-12)
    several = placed(a, b, c, 0.3, 112.0, np.array([0.0, 70.0]))
    np.testing.assert_allclose(several[1], placed(a, b, c, 0.3, 112.0, 70.0))


def test_both_halves_of_tfsi_are_alike():
    shape = tfsi_shape()
    assert shape.shape == (15, 3)
    np.testing.assert_allclose(shape.mean(axis=0), 0.0, atol=1e-12)
    distances = np.linalg.norm(shape[:, None] - shape, axis=-1)
    halves = [0, 2, 1, 4, 3, 7, 8, 5, 6, 12, 13, 14, 9, 10, 11]
    np.testing.assert_allclose(distances, distances[halves][:, halves], atol=1e-9)
    assert (distances + np.eye(15)).min() > 0.13


def test_barriers_of_opls_are_cosines():
    terms = opls(1.0, -2.0, 3.0, unit=2.0)
    phi = np.linspace(0.0, 2.0 * np.pi, 9)
    energy = sum(k * (1 + np.cos(n * phi - np.radians(phase))) for n, k, phase in terms)
    expected = (1 + np.cos(phi)) - 2 * (1 - np.cos(2 * phi)) + 3 * (1 + np.cos(3 * phi))
    np.testing.assert_allclose(energy, expected, atol=1e-12)
    assert opls(0.0, 0.0, 1.0) == ((3, 0.5, 0.0),)


def test_beads_are_centres_of_mass_of_residues(small):
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(2, len(small.types), 3))
    beads = bead_positions(small, frames)
    graph = MolecularGraph.create(small.types, small.masses, small.bonds)
    mapping = Mapping.from_labels(graph, small.beads)
    np.testing.assert_allclose(beads, mapping.positions(frames), atol=1e-12)
    names = bead_types(small)
    chain = ["EO-end", *["EO"] * 4, "EO-end", "EO-both", "EO-end", "EO", "EO-end"]
    assert names == chain + ["Li"] * 2 + ["TFSI"] * 2
    masses = dict(zip(names, mapping.bead_masses, strict=True))
    expected = {"EO": 44.052, "EO-end": 45.06, "EO-both": 46.068, "Li": 6.941}
    for name, mass in expected.items():
        assert masses[name] == pytest.approx(mass, abs=0.005)
    assert masses["TFSI"] == pytest.approx(280.14, abs=0.02)


def test_scaling_moves_molecules_and_keeps_their_shapes(small):
    moved = rescaled(small, small.positions, 2.4, 2.5)
    graph = MolecularGraph.create(small.types, small.masses, small.bonds)
    for atoms in graph.molecules:
        before, after = small.positions[atoms], moved[atoms]
        np.testing.assert_allclose(after - after[0], before - before[0], atol=1e-12)
        centres = [
            np.average(x, axis=0, weights=small.masses[atoms]) for x in (before, after)
        ]
        np.testing.assert_allclose(centres[1], 2.5 / 2.4 * centres[0], atol=1e-12)


@pytest.mark.slow
def test_a_dilute_box_is_compressed_and_runs():
    box = peo_litfsi([4] * 20, 5, edge=2.6)
    positions, edge = compressed(box, 423.0, seed=1)
    assert 1.0 <= density(box, edge) < 1.3
    assert edge > 1.8
    set_edge(box, edge)
    simulation = peo_simulation(box, 423.0, seed=1)
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(423.0, 1)
    simulation.step(50)
    state = simulation.context.getState(positions=True, velocities=True)
    after = state.getPositions(asNumpy=True)._value
    for i, j in box.bonds:
        rest = np.linalg.norm(box.positions[i] - box.positions[j])
        assert np.linalg.norm(after[i] - after[j]) == pytest.approx(rest, rel=1e-4)
    momentum = box.masses @ state.getVelocities(asNumpy=True)._value
    thermal = np.sqrt(box.masses.sum() * 0.0083145 * 423.0)
    assert (abs(momentum) < 0.5 * thermal).all()  # removed every ten steps
    assert density(box, float(edge)) == pytest.approx(
        box.masses.sum() * 1.66053907e-3 / edge**3
    )


def test_seeds_and_pressure_reach_openmm():
    box = peo_litfsi([4] * 4, 1)
    simulation = peo_simulation(box, 423.0, pressure=1.0, seed=7)
    (barostat,) = (
        force
        for force in simulation.system.getForces()
        if isinstance(force, openmm.MonteCarloBarostat)
    )
    assert barostat.getDefaultPressure() == 1.0 * unit.bar
    assert barostat.getRandomNumberSeed() == 8
    assert simulation.integrator.getRandomNumberSeed() == 8
    assert simulation.integrator.getStepSize()._value == 0.005
    own = box.system.getForces()
    assert not any(isinstance(force, openmm.MonteCarloBarostat) for force in own)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: peo_litfsi([], 1), "at least one chain is required, got none"),
        (lambda: peo_litfsi([4, 0], 1), r"one ether oxygen, chains\[1\] = 0"),
        (lambda: peo_litfsi([4], -1), "n_salt must be 0 or more, got -1"),
        (lambda: peo_litfsi([4], 1, force_field="opls"), "united or all-atom, got 'op"),
        (lambda: peo_litfsi([4], 1), r"cutoff of 0\.9 nm wide, .* 1\.57 nm"),
        (lambda: peo_litfsi([4], 1, edge=1.7), r"cutoff of 0\.9 nm wide, .* 1\.70 nm"),
        (
            lambda: peo_system(["CT3"], [], force_field="x"),
            "united or all-atom, got 'x'",
        ),
        (lambda: peo_system(["CT3", "XX"], []), "OB, CF, F, there is also XX"),
        (lambda: peo_system(["F", "OS"], [(0, 1)]), r"atoms \(0, 1\) are FO"),
        (lambda: peo_system(["N", "S", "F"], [(0, 1), (1, 2)]), r"\(1, 2\) are SF"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_a_box_that_does_not_shrink_is_refused():
    with pytest.raises(RuntimeError, match=r"reach 1\.0 g/cm3, after 2 ps it has 0\."):
        compressed(peo_litfsi([4] * 4, 1, edge=4.0), 423.0, max_time=2.0)
