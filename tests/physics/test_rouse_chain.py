"""A propagator whose networks add nothing moves Rouse chains, and centres diffuse."""

import numpy as np
import pytest
import torch
from core_systems import chain, coil, learned, mixture, rouse_only, small_spec

from cgml import units
from cgml.dynamics.propagator import Propagator
from cgml.molecules.ideal_chain import laplacian_modes
from cgml.molecules.mapping import Mapping
from cgml.network.sampler import sample
from cgml.spec import ModelSpec, Refinement

N_REPLICAS = 300
PLAIN = Refinement(sampler="none")


def modes_of(positions: np.ndarray, mapping: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and mode coordinates of the internal modes, (..., n_modes, 3)."""
    masses = mapping.bead_masses
    values, vectors = laplacian_modes(masses, mapping.bead_bonds)
    right = vectors[:, 1:] * np.sqrt(masses / masses.mean())[:, None]
    return values[1:], np.einsum("bk,...bd->...kd", right, positions)


def replicas(
    spec: ModelSpec, mapping: Mapping, n_steps: int, refinement: Refinement
) -> np.ndarray:
    """Run from a stretched start, (n_steps + 1, N_REPLICAS, n_beads, 3)."""
    propagator = Propagator(
        rouse_only(spec), [mapping] * N_REPLICAS, refinement=refinement, seed=3
    )
    start = np.tile(3.0 * coil(mapping), (N_REPLICAS, 1))
    states = [propagator.start(start)]
    for _ in range(n_steps):
        states.append(propagator.step(states[-1]))
    frames = np.stack([state.positions.numpy() for state in states])
    return frames.reshape(n_steps + 1, N_REPLICAS, mapping.n_beads, 3)


def check_ornstein_uhlenbeck(
    frames: np.ndarray, mapping: Mapping, spec: ModelSpec
) -> None:
    """Mean and variance of every mode at every step within 4.5 standard errors.

    Replicas are independent, so the errors have closed forms. 4.5: with a hundred
    comparisons, 4 would fail for one in 100 choices of the seed.
    """
    values, modes = modes_of(frames, mapping)
    kept = np.exp(-spec.prior.rate * values)[:, None]
    variance = np.zeros_like(kept)
    mean = modes[0, 0]
    for found in modes[1:]:
        mean = kept * mean
        gained = spec.prior.variance * (1.0 - kept**2) / values[:, None]
        variance = kept**2 * variance + gained
        offset = found - mean
        error = np.sqrt(variance / N_REPLICAS)
        assert (np.abs(offset.mean(axis=0)) < 4.5 * error).all()
        square = (offset**2).mean(axis=0)
        error = variance * np.sqrt(2.0 / N_REPLICAS)
        assert (np.abs(square - variance) < 4.5 * error).all()


@pytest.mark.parametrize("friction", [None, 0.5], ids=["free", "held"])
def test_modes_relax_and_spread(friction):
    """Every mode is an Ornstein-Uhlenbeck process from a start far off."""
    spec, mapping = small_spec(friction=friction), chain()
    frames = replicas(spec, mapping, 4, PLAIN)
    check_ornstein_uhlenbeck(frames, mapping, spec)


@pytest.mark.parametrize("sampler", ["multistep", "heun"])
def test_the_sampler_keeps_the_stationary_variance(sampler):
    """The score network's own way: variance c / lambda, times what few levels lose."""
    spec, mapping = small_spec(), chain("ABCD")
    refinement = Refinement(sampler=sampler, n_levels=12)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    width = float(sample(lambda white, sigma: white / (1 + sigma**2), one, refinement))
    assert abs(width - 1.0) < 0.05
    frames = replicas(spec, mapping, 6, refinement)
    values, modes = modes_of(frames[-1], mapping)
    kept = np.exp(-2.0 * spec.prior.rate * values * 6)
    assert kept.max() < 1e-6  # the start is forgotten
    expected = width**2 * spec.prior.variance / values
    found = (modes**2).mean(axis=(0, 2))
    assert (np.abs(found / expected - 1) < 4 * np.sqrt(2 / (3 * N_REPLICAS))).all()


def test_the_mean_squared_bond_of_an_equal_chain_is_three_times_the_variance():
    """<b^2> = 3 c for every bond of the stationary chain (equipartition)."""
    spec = small_spec()
    mapping = chain("AAAA", atoms_per_bead=1)
    frames = replicas(spec, mapping, 8, PLAIN)
    bonds = frames[-1, :, 1:] - frames[-1, :, :-1]
    square = (bonds**2).mean(axis=(0, 2))
    error = spec.prior.variance * np.sqrt(2.0 / (3 * N_REPLICAS))
    assert (np.abs(square - spec.prior.variance) < 4.0 * error).all()


def centres(frames: np.ndarray, mapping: Mapping) -> np.ndarray:
    """Centre of mass of each molecule, (..., n_molecules, 3)."""
    molecules = np.arange(mapping.molecule_index.max() + 1)[:, None]
    share = (mapping.molecule_index == molecules) * mapping.bead_masses
    share = share / share.sum(axis=1, keepdims=True)
    return np.einsum("mb,...bd->...md", share, frames)


@pytest.mark.parametrize("make", [rouse_only, learned], ids=["rouse", "network"])
def test_centres_of_mass_diffuse_as_einstein_says(make):
    """D = kT / (M friction) for every molecule, chain or single bead, any weights."""
    spec, mapping, n_steps = small_spec(), mixture(), 4
    propagator = Propagator(make(spec), [mapping] * N_REPLICAS, seed=1)
    start = np.tile(coil(mapping), (N_REPLICAS, 1))
    state = first = propagator.start(start)
    for _ in range(n_steps):
        state = propagator.step(state)
    moved = (state.positions - first.positions).numpy()
    moved = centres(moved.reshape(N_REPLICAS, mapping.n_beads, 3), mapping)
    masses = np.bincount(mapping.molecule_index, weights=mapping.bead_masses)
    diffusion = units.thermal_energy(spec.temperature) / (masses * spec.friction)
    expected = 2.0 * diffusion * n_steps * spec.time_step  # per coordinate
    square = (moved**2).mean(axis=(0, 2))
    error = expected * np.sqrt(2.0 / (3 * N_REPLICAS))
    assert (np.abs(square - expected) < 4.0 * error).all()
    mean_error = np.sqrt(expected / N_REPLICAS)[:, None]
    assert (np.abs(moved.mean(axis=0)) < 4.0 * mean_error).all()


def test_kicks_of_successive_steps_and_molecules_are_independent():
    spec, mapping = small_spec(), mixture()
    propagator = Propagator(rouse_only(spec), [mapping] * N_REPLICAS, seed=2)
    state = propagator.start(np.tile(coil(mapping), (N_REPLICAS, 1)))
    frames = [state.positions.numpy()]
    for _ in range(2):
        state = propagator.step(state)
        frames.append(state.positions.numpy())
    steps = np.diff(np.stack(frames).reshape(3, N_REPLICAS, 7, 3), axis=0)
    kicks = centres(steps, mapping)  # (2, n_replicas, 3 molecules, 3)
    kicks = kicks / np.sqrt((kicks**2).mean(axis=(0, 1, 3)))[:, None]
    columns = kicks.transpose(0, 2, 3, 1).reshape(2 * 3 * 3, N_REPLICAS)
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(N_REPLICAS)


def test_without_friction_the_centre_is_moved_by_the_rouse_noise():
    """Free diffusion of the zero mode: variance 2 b c t / n for n equal beads."""
    spec = small_spec(friction=None)
    mapping = chain("AAAA", atoms_per_bead=1)
    frames = replicas(spec, mapping, 3, PLAIN)
    moved = (frames[-1] - frames[0]).mean(axis=1)
    expected = 3.0 * 2.0 * spec.prior.rate * spec.prior.variance / 4.0
    square = (moved**2).mean()
    assert abs(square / expected - 1.0) < 4.0 * np.sqrt(2.0 / (3 * N_REPLICAS))
