from pathlib import Path

import numpy as np
import openmm
import pytest

from openmm_cgml import testsystems
from openmm_cgml.testsystems import chain_runs as reference_md
from openmm_cgml.testsystems.chain_runs import Protocol

DATA = Path(__file__).parents[1] / "data"
PLATFORMS = [
    openmm.Platform.getPlatform(i).getName()
    for i in range(openmm.Platform.getNumPlatforms())
]


@pytest.fixture(scope="module")
def reference():
    with np.load(DATA / "chain_energies.npz") as content:
        return dict(content)


def context_of(chains, platform):
    simulation = reference_md.reference_simulation(chains, platform=platform)
    return simulation.context


def potential_energy(context, group=None):
    groups = -1 if group is None else {group}
    state = context.getState(energy=True, groups=groups)
    return state.getPotentialEnergy()._value


def forces_on(context):
    return context.getState(forces=True).getForces(asNumpy=True)._value


@pytest.mark.parametrize("platform", PLATFORMS)
def test_energies_by_term_are_those_of_the_reference(reference, platform):
    # the CPU platform computes pairs in single precision
    tolerance = {"Reference": 1e-6}.get(platform, 1e-4)
    for i, types in enumerate(reference["types"]):
        chain = testsystems.copolymer_chain("".join("ABCD"[t] for t in types))
        for group, force in enumerate(chain.system.getForces()):
            force.setForceGroup(group)
        context = context_of(chain, platform)
        context.setPositions(reference["positions"][i])
        for group, term in enumerate(["energy_bond", "energy_nonbonded"]):
            np.testing.assert_allclose(
                potential_energy(context, group), reference[term][i], rtol=tolerance
            )


def test_forces_are_those_of_the_reference(reference):
    types = reference["types"][-1]
    chain = testsystems.copolymer_chain("".join("ABCD"[t] for t in types))
    context = context_of(chain, "Reference")
    context.setPositions(reference["positions"][-1])
    expected = reference["forces_last"]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(forces_on(context), expected, rtol=0, atol=1e-6 * scale)


def test_packed_chains_do_not_feel_each_other():
    sequences = ["CCDDAABB", "ABCD", "DDDDDDDD"]
    packed = testsystems.packed_chains(sequences)
    single = 0.0
    start = 0
    for sequence in sequences:
        chain = testsystems.copolymer_chain(sequence)
        context = context_of(chain, "Reference")
        context.setPositions(packed.positions[start : start + len(sequence)])
        single += potential_energy(context)
        start += len(sequence)
    together = potential_energy(context_of(packed, "Reference"))
    assert together == pytest.approx(single, rel=1e-9)


def test_tether_pulls_centres_and_leaves_internal_motion_alone():
    sequences = ["CCDDAABB", "ABCDABCD"]
    free = testsystems.packed_chains(sequences, tether=0.0)
    bound = testsystems.packed_chains(sequences, tether=3.0)
    moved = free.positions.reshape(2, 8, 3) + np.array([[[1.0, -2.0, 0.5]], [[0] * 3]])
    forces = []
    for chains in (free, bound):
        context = context_of(chains, "Reference")
        context.setPositions(moved.reshape(-1, 3))
        forces.append(forces_on(context).reshape(2, 8, 3))
    extra = forces[1] - forces[0]
    expected = -3.0 / 8 * np.array([1.0, -2.0, 0.5])  # k r / 8 atoms of equal mass
    np.testing.assert_allclose(extra[0], np.tile(expected, (8, 1)), atol=1e-9)
    np.testing.assert_allclose(extra[1], 0.0, atol=1e-9)


def test_dumbbells_obey_the_boltzmann_distribution():
    # two bonded atoms have no other interaction: p(r) ~ r^2 exp(-k (r - r0)^2 / 2 kT)
    chains = testsystems.packed_chains(["AB"] * 64, generator=np.random.default_rng(5))
    protocol = Protocol(n_frames=100, equilibration=10.0, seed=7, platform="CPU")
    frames = reference_md.simulate(chains, protocol)
    separation = frames.positions[:, :, 1] - frames.positions[:, :, 0]
    measured = np.square(separation).sum(axis=-1).mean(axis=1)  # (n_chains,)
    r = np.linspace(0.2, 1.8, 20001)
    weight = r**2 * np.exp(-100.0 * (r - 1.0) ** 2)
    expected = (weight * r**2).sum() / weight.sum()
    error = measured.std(ddof=1) / np.sqrt(len(measured))
    assert error < 0.01 * expected
    assert abs(measured.mean() - expected) < 4.0 * error


def test_starts_have_bonds_of_one_and_no_overlap():
    chain = testsystems.copolymer_chain("A" * 100)
    distances = np.linalg.norm(chain.positions[:, None] - chain.positions, axis=-1)
    np.testing.assert_allclose(np.diag(distances, 1), 1.0)
    assert distances[np.triu_indices(100, 2)].min() > 0.85


def test_written_frames_read_back(tmp_path):
    chains = testsystems.packed_chains(["ABCD", "DDBA"])
    protocol = Protocol(n_frames=3, equilibration=1.0, platform="CPU", interval=0.5)
    frames = reference_md.simulate(chains, protocol)
    frames.write(tmp_path / "frames.npz")
    with np.load(tmp_path / "frames.npz", allow_pickle=False) as content:
        np.testing.assert_array_equal(content["x"], frames.positions)
        np.testing.assert_array_equal(content["types"], [[0, 1, 2, 3], [3, 3, 1, 0]])
        expected = np.square(frames.positions).sum(-1).mean(-1)
        np.testing.assert_allclose(content["rg2"], expected, rtol=1e-6)
        assert '"frame": 0.5' in str(content["meta"])
    np.testing.assert_allclose(frames.positions.mean(axis=2), 0.0, atol=1e-5)


def test_class_one_repeats_a_motif_and_class_two_follows_its_composition():
    rng = np.random.default_rng(11)
    for _ in range(20):
        sequence = testsystems.random_sequence(100, "I", rng)
        assert any(sequence[p:] == sequence[:-p] for p in range(1, 49))
    shares = np.array(
        [
            testsystems.random_sequence(100, "II", rng).count("A") / 100
            for _ in range(2000)
        ]
    )
    assert abs(shares.mean() - 0.25) < 4.0 * shares.std(ddof=1) / np.sqrt(2000)
    # a share of the flat Dirichlet law of four, then 100 draws:
    # variance 3/80 + (1/4 - 1/16 - 3/80) / 100 = 0.0390
    squares = np.square(shares - 0.25)
    assert abs(squares.mean() - 0.0390) < 4.0 * squares.std(ddof=1) / np.sqrt(2000)


@pytest.mark.parametrize("kind", ["I", "II"])
def test_sequences_follow_the_generator(kind):
    one, two, other = (
        testsystems.random_sequence(60, kind, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert one == two
    assert one != other
    assert len(one) == 60


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: testsystems.copolymer_chain("AXB"), "sequence 0 has X"),
        (lambda: testsystems.packed_chains(["A", ""]), "sequence 1 is empty"),
        (lambda: testsystems.packed_chains("AB"), "a list of sequences is required"),
        (
            lambda: testsystems.packed_chains(["AB"], tether=-1.0),
            "tether must be zero or positive, got -1.0",
        ),
        (
            lambda: testsystems.random_sequence(0, "I", np.random.default_rng(0)),
            "at least one atom, got n_atoms = 0",
        ),
        (
            lambda: testsystems.random_sequence(5, "X", np.random.default_rng(0)),
            "'I' or 'II', got 'X'",
        ),
        (
            lambda: reference_md.simulate(
                testsystems.packed_chains(["AB", "ABC"]), Protocol(n_frames=1)
            ),
            r"chains of one length are required, got lengths \[2, 3\]",
        ),
        (
            lambda: reference_md.simulate(
                testsystems.packed_chains(["AB"]),
                Protocol(n_frames=1, interval=0.015, equilibration=0.0),
            ),
            "multiples of 0.01 ps, got 0.015 ps",
        ),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
