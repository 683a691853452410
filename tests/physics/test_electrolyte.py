import json
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from cgml.formats.arrays import read_reference
from cgml.formats.trajectory import read_topology
from openmm_cgml.convert import graph_from_topology
from openmm_cgml.testsystems import (
    electrolyte,
    electrolyte_sequence,
    polymer_electrolyte,
)
from openmm_cgml.testsystems import electrolyte_runs as reference_md
from openmm_cgml.testsystems.electrolyte_protocol import ElectrolyteProtocol

DATA = Path(__file__).parents[1] / "data" / "electrolyte_energies.npz"
SEQUENCE = "EEXXXEEXXX"
QUICK = ElectrolyteProtocol(
    n_frames=3, interval=0.2, pressing=3.0, equilibration=0.5, n_threads=1
)
FORCES = ["HarmonicBondForce", "NonbondedForce", "CustomNonbondedForce"]


@pytest.fixture(scope="module")
def melt():
    return polymer_electrolyte(SEQUENCE, n_chains=10, n_ion_pairs=12)


def energy_of(system, positions, edge, group=None):
    context = openmm.Context(
        system,
        openmm.VerletIntegrator(0.01),
        openmm.Platform.getPlatformByName("Reference"),
    )
    context.setPeriodicBoxVectors(*edge * np.eye(3))
    context.setPositions(positions)
    groups = -1 if group is None else {group}
    return context.getState(energy=True, groups=groups).getPotentialEnergy()._value


def distances_in(melt, positions):
    offsets = positions[:, None] - positions
    offsets = offsets - melt.edge * np.round(offsets / melt.edge)
    return np.linalg.norm(offsets, axis=-1)  # (n, n) nm


def naive_lennard_jones(types, distances, bonds):
    """Every pair by itself, from the table of the parameters."""
    sigma = {"E": 1.0, "X": 1.0, "+": 0.6, "-": 1.3}
    depth = {"E": 1.0, "X": 0.35, "+": 25.0, "-": 0.5}
    total = 0.0
    for i in range(len(types)):
        for j in range(i + 1, len(types)):
            r = distances[i, j]
            if r > 2.5 or (i, j) in bonds:
                continue
            a, b = types[i], types[j]
            well = 0.5 if a == b == "+" else np.sqrt(depth[a] * depth[b])
            sixth = (0.5 * (sigma[a] + sigma[b]) / r) ** 6
            x = max(0.0, (r - 2.2) / 0.3)
            switch = 1.0 - 10.0 * x**3 + 15.0 * x**4 - 6.0 * x**5
            total += 4.0 * well * (sixth**2 - sixth) * switch
    return total


@pytest.mark.parametrize("configuration", [0, 1, 2])
def test_energies_by_force_are_those_of_the_reference(configuration):
    with np.load(DATA) as content:
        sequence, edge, positions, *expected = (
            content[f"{name}_{configuration}"]
            for name in ["seq", "box", "positions"] + [f"energy_{f}" for f in FORCES]
        )
    system = polymer_electrolyte(str(sequence), edge=float(edge)).system
    assert [type(force).__name__ for force in system.getForces()] == FORCES
    for group, force in enumerate(system.getForces()):
        force.setForceGroup(group)
    bonds, pairs, cations = (
        energy_of(system, positions, float(edge), group) for group in range(3)
    )
    assert bonds == pytest.approx(float(expected[0]), rel=1e-6)
    # the tolerance of the mesh is of the forces; the energies agree far better
    assert pairs == pytest.approx(float(expected[1]), rel=1e-5)
    assert cations == pytest.approx(float(expected[2]), rel=1e-6)


def test_pairs_are_those_of_a_naive_sum(melt):
    bonds, pairs, cations = melt.system.getForces()
    neutral = openmm.System()
    for _ in melt.types:
        neutral.addParticle(1.0)
    neutral.setDefaultPeriodicBoxVectors(*melt.system.getDefaultPeriodicBoxVectors())
    uncharged = openmm.NonbondedForce(pairs)
    for i in range(uncharged.getNumParticles()):
        _, sigma, depth = uncharged.getParticleParameters(i)
        uncharged.setParticleParameters(i, 0.0, sigma, depth)
    neutral.addForce(uncharged)
    neutral.addForce(openmm.CustomNonbondedForce(cations))
    # pull cations together, so that the well between them counts
    positions = melt.positions.copy()
    ions = [i for i, name in enumerate(melt.types) if name == "+"]
    positions[ions[1::2]] = positions[ions[::2]] + [0.0, 0.55, 0.3]
    joined = {tuple(bonds.getBondParameters(i)[:2]) for i in range(bonds.getNumBonds())}
    expected = naive_lennard_jones(melt.types, distances_in(melt, positions), joined)
    computed = energy_of(neutral, positions, melt.edge)
    assert computed == pytest.approx(expected, rel=1e-9)


def test_composition_neutrality_and_exceptions(melt):
    assert melt.types == SEQUENCE * 10 + "+" * 12 + "-" * 12
    bonds, pairs, cations = melt.system.getForces()
    n_bonds = 10 * (len(SEQUENCE) - 1)
    assert bonds.getNumBonds() == melt.topology.getNumBonds() == n_bonds
    charges = [pairs.getParticleParameters(i)[0]._value for i in range(len(melt.types))]
    assert sum(charges) == pytest.approx(0.0, abs=1e-12)
    assert np.square(charges).sum() == pytest.approx(24 * 4.0 / 138.935456)
    joined = sorted(bonds.getBondParameters(i)[:2] for i in range(n_bonds))
    exceptions = [pairs.getExceptionParameters(i) for i in range(n_bonds)]
    assert pairs.getNumExceptions() == cations.getNumExclusions() == n_bonds
    assert sorted([i, j] for i, j, *_ in exceptions) == joined
    assert all(q._value == depth._value == 0.0 for _, _, q, _, depth in exceptions)
    assert sorted(map(list, map(cations.getExclusionParticles, range(n_bonds)))) == (
        joined
    )
    edges = np.array(melt.topology.getPeriodicBoxVectors()._value)
    np.testing.assert_allclose(edges, melt.edge * np.eye(3))
    assert len(melt.types) / melt.edge**3 == pytest.approx(electrolyte.START_DENSITY)


@pytest.mark.parametrize("seed", range(3))
def test_start_has_no_overlap_and_whole_chains(seed):
    rng = np.random.default_rng(seed)
    melt = polymer_electrolyte("EX" * 10, n_chains=16, n_ion_pairs=16, generator=rng)
    chains = melt.positions[: 16 * 20].reshape(16, 20, 3)
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(chains, axis=1), axis=-1), electrolyte.BOND_LENGTH
    )
    sigma = np.array([electrolyte.SPECIES[name].sigma for name in melt.types])
    mean = 0.5 * (sigma[:, None] + sigma)
    closest = (distances_in(melt, melt.positions) / mean)[
        np.triu_indices(len(melt.types), 1)
    ].min()
    assert closest > 0.6
    other = polymer_electrolyte("EX" * 10, n_chains=16, n_ion_pairs=16)
    assert np.array_equal(other.positions, melt.positions) == (seed == 0)


def test_types_and_bonds_survive_a_pdb_file(melt, tmp_path):
    masses = dict.fromkeys(electrolyte.SPECIES, electrolyte.MASS)
    graph = graph_from_topology(melt.topology, masses)
    assert "".join(graph.types) == melt.types
    assert graph.n_molecules == 10 + 24
    path = tmp_path / "melt.pdb"
    positions = (melt.positions % melt.edge) * unit.nanometer
    app.PDBFile.writeFile(melt.topology, positions, str(path))
    assert read_topology(path, masses=masses).hash() == graph.hash()
    again = graph_from_topology(app.PDBFile(str(path)).topology, masses)
    assert again.hash() == graph.hash()


def test_scaling_moves_centres_and_keeps_molecules(melt):
    scaled = reference_md._scaled(melt.positions, melt, 1.1)
    before, after = (x[:100].reshape(10, 10, 3) for x in (melt.positions, scaled))
    np.testing.assert_allclose(after.mean(axis=1), 1.1 * before.mean(axis=1))
    np.testing.assert_allclose(np.diff(after, axis=1), np.diff(before, axis=1))
    np.testing.assert_allclose(scaled[100:], 1.1 * melt.positions[100:])


def test_box_is_the_mean_of_the_second_half():
    assert reference_md._settled([9.0, 8.0, 7.0, 6.0]) == 6.5
    assert reference_md._settled([9.0, 7.0, 6.0]) == 6.5


def test_frames_of_a_run(melt, tmp_path):
    times = []
    frames = reference_md.simulate(melt, QUICK, report=times.append)
    n = len(melt.types)
    assert times == sorted(times)
    assert times[-1] == pytest.approx(QUICK.time) == 4.1
    assert frames.positions.shape == (3, n, 3)
    assert frames.edge != melt.edge
    assert frames.density == pytest.approx(n / frames.edge**3)
    centres = frames.positions.astype(float).mean(axis=1)
    np.testing.assert_allclose(centres, centres[[0, 0, 0]], atol=1e-5)
    # a frame that was shifted, or that belongs to another box, has another energy
    for positions, (potential, _) in zip(frames.positions, frames.energy, strict=True):
        again = energy_of(melt.system, positions, frames.edge) / n
        assert again == pytest.approx(potential, abs=1e-3)
    assert (frames.energy[:, 1] > 0.3).all()
    assert (frames.energy[:, 1] < 2.0).all()

    frames.write(tmp_path / "box_000.npz")
    with np.load(tmp_path / "box_000.npz", allow_pickle=False) as content:
        np.testing.assert_array_equal(content["x"], frames.positions)
        assert "".join(content["kind"]) == "P" * 100 + "+" * 12 + "-" * 12
        np.testing.assert_array_equal(content["chain"][:100], np.arange(100) // 10)
        assert (content["chain"][100:] == -1).all()
        assert content["frac_e"].tolist() == [1, 1, 0, 0, 0] * 20
        assert content["rho"] == frames.density
        np.testing.assert_array_equal(content["energy"], frames.energy)
        meta = json.loads(str(content["meta"]))
    assert (meta["group"], meta["frame"], meta["npt"]) == (1, 0.2, 3.0)
    (beads,) = read_reference(tmp_path / "box_000.npz")
    assert "".join(beads.mapping.graph.types) == melt.types
    assert beads.mapping.n_beads == 20 + 24
    assert beads.box is not None
    np.testing.assert_array_equal(beads.box, frames.edge * np.eye(3))


def test_boxes_go_on_where_they_were(tmp_path):
    def run(protocol=QUICK, sequences=("EEXXXEEXXX", "EEEEEXEEEE")):
        return reference_md.simulate_boxes(
            sequences,
            tmp_path,
            protocol,
            n_chains=10,
            n_ion_pairs=12,
            report=times.append,
        )

    times = []
    first, second = run()
    assert [first.name, second.name] == ["box_000.npz", "box_001.npz"]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(2 * QUICK.time)
    kept = first.stat().st_mtime_ns
    second.unlink()
    run()
    assert first.stat().st_mtime_ns == kept
    with np.load(second) as content:
        assert str(content["seq"]) == "EEEEEXEEEE"
        assert json.loads(str(content["meta"]))["seed"] == 1
    with pytest.raises(ValueError, match="holds another box, its seq is EEXXXEEXXX"):
        run(sequences=["EEEEEXXXXX"])
    other = ElectrolyteProtocol(n_frames=4, interval=0.2, pressing=3.0)
    with pytest.raises(ValueError, match=r"another box, its nvt is 0\.5, not 400\.0"):
        run(protocol=other)


def test_seeds_decide_the_velocities_and_the_thermostat(melt):
    def start(seed, offset):
        simulation = reference_md.electrolyte_simulation(
            melt,
            ElectrolyteProtocol(seed=seed, n_threads=1),
            positions=melt.positions,
            pressure=0.0,
            seed_offset=offset,
        )
        state = simulation.context.getState(velocities=True)
        barostat = simulation.system.getForces()[-1]
        seeds = (
            simulation.integrator.getRandomNumberSeed(),
            barostat.getRandomNumberSeed(),
        )
        return state.getVelocities(asNumpy=True)._value, seeds

    one, seeds = start(0, 0)
    again, same = start(0, 0)
    # OpenMM shifts velocities by forces, whose last bit depends on its threads
    np.testing.assert_allclose(one, again, atol=1e-6)
    assert seeds == same
    others = [start(seed, offset) for seed, offset in ((0, 1), (1, 0), (1, 1))]
    assert len({seeds, *(pair for _, pair in others)}) == 4
    assert all(abs(one - velocities).max() > 0.5 for velocities, _ in others)
    assert 0 not in seeds  # OpenMM would draw one


def test_sequences_are_blocks_or_random():
    rng = np.random.default_rng(3)
    for _ in range(50):
        blocks = electrolyte_sequence(60, "I", rng)
        assert any(blocks[p:] == blocks[:-p] for p in range(1, 17))
    shares = np.array(
        [electrolyte_sequence(100, "II", rng).count("E") / 100 for _ in range(400)]
    )
    # uniform in 0.4 to 1, then 100 draws: variance 0.6^2 / 12 + <p (1 - p)> / 100
    error = shares.std(ddof=1) / np.sqrt(400)
    assert abs(shares.mean() - 0.7) < 4.0 * error
    squares = np.square(shares - 0.7)
    assert abs(squares.mean() - 0.0318) < 4.0 * squares.std(ddof=1) / np.sqrt(400)
    assert len(electrolyte_sequence(7, "I", rng)) == 7


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: polymer_electrolyte("EXA"), "of E, X, it has A"),
        (lambda: polymer_electrolyte(""), "of E, X, it is empty"),
        (lambda: polymer_electrolyte("EX", n_chains=0), "n_chains must be 1 .* got 0"),
        (lambda: polymer_electrolyte("EX", n_ion_pairs=0), "n_ion_pairs must be 1 or"),
        (lambda: polymer_electrolyte("EX", edge=4.9), "cutoff of 2.5 nm .* 4.90 nm"),
        (
            lambda: polymer_electrolyte("EX", n_chains=2, n_ion_pairs=1),
            r"6 particles make one of 2\.05 nm",
        ),
        (
            lambda: electrolyte_sequence(0, "I", np.random.default_rng(0)),
            "got n_monomers = 0",
        ),
        (
            lambda: electrolyte_sequence(9, "III", np.random.default_rng(0)),
            "'I' or 'II', got 'III'",
        ),
        (lambda: ElectrolyteProtocol(n_frames=0), "n_frames must be 1 or more, got 0"),
        (lambda: ElectrolyteProtocol(interval=0.0), "interval must be 0.01 or more"),
        (lambda: ElectrolyteProtocol(pressing=1.0), "pressing must be 2 or more"),
        (lambda: ElectrolyteProtocol(seed=-1), "seed must be 0 or more, got -1"),
        (lambda: ElectrolyteProtocol(interval=0.015), "multiples of 0.01 ps, got"),
        (
            lambda: ElectrolyteProtocol(platform="Reference", n_threads=1),
            "n_threads = 1 with Reference",
        ),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
