"""Mean forces: the force of the equilibrium distribution of the beads."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.md.langevin import Langevin
from core_systems import chain, coil, learned, mixture, rouse_only, small_spec

from ase_cgml import CGMLDynamics
from cgml.dynamics.propagator import Propagator
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.ideal_chain import laplacian_modes
from cgml.molecules.mapping import Mapping
from cgml.units import thermal_energy

KJ = units.kJ / units.mol


def springs(mapping: Mapping) -> np.ndarray:
    """Return the Laplacian K of the bond graph of the beads, (n, n)."""
    matrix = np.zeros((mapping.n_beads, mapping.n_beads))
    for first, second in mapping.bead_bonds:
        matrix[first, second] = matrix[second, first] = -1.0
    return matrix - np.diag(matrix.sum(axis=1))


@pytest.mark.parametrize("mapping", [chain(), mixture()], ids=["chain", "mixture"])
@pytest.mark.parametrize("n_pairs", [1, 3])
def test_the_rouse_model_gives_its_springs(mapping, n_pairs):
    """F = -(kT / c) K x: any step length, any number of pairs, no noise."""
    spec = small_spec()
    propagator = Propagator(rouse_only(spec), mapping, seed=4)
    positions = coil(mapping)
    forces = propagator.mean_forces(positions, n_pairs=n_pairs)
    stiffness = thermal_energy(spec.temperature) / spec.prior.variance
    expected = -stiffness * springs(mapping) @ positions
    scale = np.abs(expected).max()
    np.testing.assert_allclose(forces, expected, atol=2e-3 * scale)


def test_forces_are_a_function_of_the_positions():
    mapping = chain()
    one, other = (
        Propagator(learned(small_spec()), mapping, seed=4).mean_forces(coil(mapping))
        for _ in range(2)
    )
    assert np.array_equal(one, other)
    propagator = Propagator(learned(small_spec()), mapping, seed=4)
    shifted = propagator.mean_forces(coil(mapping) + np.array([50.0, 0.0, -20.0]))
    np.testing.assert_allclose(shifted, one, atol=1e-3 * np.abs(one).max())


def beads_of(mapping: Mapping, spec) -> Atoms:
    atoms = Atoms("X" * mapping.n_beads, coil(mapping) * 10.0)
    atoms.set_masses(mapping.bead_masses)
    atoms.calc = CGMLDynamics(rouse_only(spec), topology=mapping, n_pairs=1)
    return atoms


def test_ase_units():
    mapping, spec = chain(), small_spec()
    atoms = beads_of(mapping, spec)
    propagator = Propagator(rouse_only(spec), mapping, seed=0)
    expected = propagator.mean_forces(coil(mapping), n_pairs=1) * KJ / 10.0
    np.testing.assert_allclose(atoms.get_forces(), expected, rtol=1e-4, atol=1e-7)


def copies(types: str, n: int) -> Mapping:
    """Return n equal chains, which do not see each other without a cutoff."""
    one = chain(types)
    size = len(types)
    starts = size * np.arange(n)[:, None, None]
    graph = MolecularGraph.create(
        list(one.graph.types) * n,
        np.tile(one.graph.masses, n),
        (one.graph.bonds + starts).reshape(-1, 2),
    )
    labels = one.bead_index + one.n_beads * np.arange(n)[:, None]
    return Mapping.from_labels(graph, labels.reshape(-1))


def test_stock_langevin_samples_the_beads():
    """Modes of the chains get the variance c / lambda, within 4 standard errors."""
    n_chains, spec = 60, small_spec(refinement={"n_levels": 2})
    one = chain("ABCDAB")
    atoms = beads_of(copies("ABCDAB", n_chains), spec)
    langevin = Langevin(
        atoms,
        timestep=300.0 * units.fs,
        temperature_K=spec.temperature,
        friction=1.0 / (1000.0 * units.fs),
        rng=np.random.default_rng(1),
        fixcm=False,
    )
    values, vectors = laplacian_modes(one.bead_masses, one.bead_bonds)
    weights = np.sqrt(one.bead_masses / one.bead_masses.mean())
    langevin.run(30)
    samples = []
    for _ in range(20):
        langevin.run(5)
        places = atoms.positions.reshape(n_chains, -1, 3) / 10.0
        samples.append(np.einsum("bk,cbd->ckd", vectors * weights[:, None], places))
    found = np.square(np.array(samples)[:, :, 1:]).mean(axis=(0, 1, 3))
    expected = spec.prior.variance / values[1:]
    # samples 1.5 ps apart, correlation times below 1.5 ps: two samples count as one
    error = np.sqrt(2.0 / (3 * n_chains * len(samples) / 2))
    assert (np.abs(found / expected - 1.0) < 4.0 * error).all()
