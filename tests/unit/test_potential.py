"""The potential of mean force: derivatives, symmetries, the file, a fit."""

import builtins
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from core_systems import (
    BOX,
    chain,
    coil,
    energetic,
    frames_of,
    learned,
    mixture,
    random_orthogonal,
    rouse_frames,
    small_spec,
)

from cgml.dynamics.potential import Potential
from cgml.dynamics.propagator import Propagator
from cgml.models.file import load_model, save_model
from cgml.network.potential import envelope, prior_energy
from cgml.spec import PotentialSpec
from cgml.training.potential import PotentialConfig, fit_potential, loss
from cgml.training.potential_batches import Batches
from cgml.training.potential_likelihood import Energy, Walkers
from cgml.training.potential_prior import spring
from cgml.units import thermal_energy


def bound(*, is_periodic: bool, network: str = "messages") -> tuple[Potential, Any]:
    mapping = mixture()
    box = BOX if is_periodic else None
    model = energetic(is_periodic=is_periodic, network=network)
    return Potential(model, mapping, box=box, unseen="allow"), coil(mapping, bond=1.1)


def slopes(energy: Any, x: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Return central differences of a function of an array."""
    found = np.empty_like(x)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        found[place] = (energy(x + moved) - energy(x - moved)) / (2.0 * step)
    return found


@pytest.mark.parametrize("is_periodic", [False, True])
def test_forces_are_the_gradient(is_periodic):
    potential, places = bound(is_periodic=is_periodic)
    found = potential(places)
    expected = -slopes(lambda x: potential(x).energy[0], places)
    np.testing.assert_allclose(found.forces, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.forces.sum(axis=0), 0.0, atol=1e-9)


def test_the_virial_is_the_derivative_by_the_strain():
    potential, places = bound(is_periodic=True)
    model, mapping = energetic(is_periodic=True), potential.mappings[0]

    def strained(strain):
        whole = np.eye(3) + np.tril(strain)  # reduced vectors stay so
        moved = Potential(model, mapping, box=BOX @ whole, unseen="allow")
        return moved(places @ whole).energy[0]

    expected = np.tril(slopes(strained, np.zeros((3, 3))))
    virial = potential(places).virial[0]
    np.testing.assert_allclose(np.tril(virial), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(virial, virial.T, atol=1e-9)


@pytest.mark.parametrize("reflect", [False, True])
def test_turned_and_moved_beads_have_the_same_energy(reflect):
    potential, places = bound(is_periodic=False)
    turn = random_orthogonal(3, reflect=reflect)
    found, moved = potential(places), potential(places @ turn + [3.0, -50.0, 1.0])
    assert moved.energy == pytest.approx(found.energy, rel=1e-9)
    np.testing.assert_allclose(moved.forces, found.forces @ turn, atol=1e-8)


def test_wrapped_molecules_have_the_same_energy():
    potential, places = bound(is_periodic=True)
    moved = places + BOX[1] * (potential.mappings[0].molecule_index == 1)[:, None]
    assert potential(moved).energy == pytest.approx(potential(places).energy, rel=1e-9)


def test_replicas_are_apart():
    model, mapping = energetic(), chain()
    one, other = coil(mapping), coil(mapping, 1)
    alone = [Potential(model, mapping)(x).energy[0] for x in (one, other)]
    both = Potential(model, [mapping] * 2)(np.concatenate((one, other)))
    np.testing.assert_allclose(both.energy, alone, rtol=1e-9)


def test_nothing_jumps_at_the_cutoff():
    lengths = torch.tensor([2.999, 3.0, 3.5], dtype=torch.float64)
    values = envelope(lengths, 3.0)
    assert 0.0 < values[0] < 1e-5
    assert values[1] < 1e-15
    assert values[2] < 1e-15


def test_the_file_keeps_the_energy_and_the_steps(tmp_path):
    model, mapping = energetic(), chain()
    save_model(tmp_path / "m.pt", model.spec, model.module)
    again = load_model(tmp_path / "m.pt")
    places = coil(mapping)
    found, expected = (Potential(m, mapping)(places).energy for m in (again, model))
    np.testing.assert_array_equal(found, expected)
    plain = learned(small_spec())
    assert plain.digest == again.digest  # of what decides a step
    steps = [Propagator(m, mapping, seed=2) for m in (plain, again)]
    one, other = (p.step(p.start(places)).positions for p in steps)
    assert torch.equal(one, other)


def test_a_model_without_says_what_makes_one():
    with pytest.raises(ValueError, match="no potential energy: cgml train-potential"):
        Potential(learned(small_spec()), chain())


def test_the_prior_of_ideal_chains_is_their_spring():
    lengths = np.linalg.norm(np.random.default_rng(0).normal(size=(20_000, 3)), axis=1)
    stiffness, rest = spring(lengths)  # of kT / 1 nm^2, at no length
    assert abs(stiffness - 1.0) < 0.1
    assert abs(rest) < 0.15


def test_noise_moves_all_modes_of_an_ideal_chain_alike():
    """So do frames: an ideal chain with noise is one without."""
    spec, mapping = small_spec(prior={"variance": 0.7}), chain("ABCDABCDAB")
    frames = rouse_frames(mapping, spec, 900, 0)
    batches = Batches(
        [frames_of(mapping, frames, spacing=20.0)], learned(spec), None, 0.6, 300, 0
    )
    batch, n = batches(0), mapping.n_beads
    moved = torch.zeros(300 * n, 3)
    is_bond = (batch.edges.static[:, 0] > 0.5) & (batch.edges.sender < 300 * n)
    for one, other, vector in zip(
        batch.edges.receiver[is_bond],
        batch.edges.sender[is_bond],
        batch.edges.vectors[is_bond],
        strict=True,
    ):
        moved[other] = moved[one] - vector  # chains, bond by bond
    modes = np.linalg.eigh(np.diff(np.eye(n), axis=0).T @ np.diff(np.eye(n), axis=0))
    found = np.einsum("ka,bad->bkd", modes[1].T[1:], moved.reshape(300, n, 3).numpy())
    widths = np.square(found).mean(axis=(0, 2)) * modes[0][1:]
    np.testing.assert_allclose(widths, 0.7, rtol=0.2)
    sizes = batch.sizes.reshape(300, n)
    assert torch.equal(sizes, sizes[:, :1].expand(-1, n))
    assert 0.2 <= float(sizes.min()) < 0.21
    assert 0.58 < float(sizes.max()) <= 0.6


def test_the_loss_is_in_the_metric_of_the_ideal_chain():
    """Forces of one spring potential, by hand, of beads with unequal masses."""
    model, mapping = energetic(), chain("ABCDABCDA")
    spec = model.spec
    frames = [frames_of(mapping, rouse_frames(mapping, spec, 9, 0), spacing=20.0)]
    batch = Batches(frames, model, None, 0.3, 1, 0)(0)
    prior = spec.potential
    found = loss(Energy(None, spec, prior), batch, is_training=False)
    n, root = mapping.n_beads, batch.beads.kinds.root[0][0].numpy()
    halves = []
    for half in (0, 1):
        force = np.zeros((n, 3))
        edges = batch.edges
        vectors = edges.vectors.requires_grad_()
        energy = prior_energy(spec, prior, edges._replace(vectors=vectors)).sum()
        (slope,) = torch.autograd.grad(energy, vectors)
        for one, other, value in zip(edges.receiver, edges.sender, slope, strict=True):
            if int(one) // n == half:
                force[int(one) - half * n] -= value.numpy()
                force[int(other) - half * n] += value.numpy()
        halves.append(float(batch.sizes[0]) * root.T @ force)
    plus, minus = halves
    expected = 0.5 * (plus**2 + minus**2) + (plus - minus) * batch.noise.numpy()
    assert float(found) == pytest.approx(expected.mean(), rel=1e-4)


def test_a_fit_finds_the_springs_of_ideal_chains():
    """F = -(kT / c) K x of the Rouse chains that it is fitted to, but for noise."""
    spec, mapping = small_spec(prior={"variance": 0.7}), chain("ABCDABCDAB")
    frames = rouse_frames(mapping, spec, 400, 0)
    tests = rouse_frames(mapping, spec, 40, 1)
    config = PotentialConfig(n_steps=30, n_likelihood=2, n_systems=8, n_node=8)
    lines: list[str] = []
    made = (frames_of(mapping, x, spacing=20.0) for x in (frames, tests))
    train, validation = ([item] for item in made)
    model = fit_potential(
        learned(spec), train, validation, config, on_status=lines.append
    )
    assert [line.split(":")[0] for line in lines] == ["step 30", "likelihood step 2"]
    laplacian = np.zeros((mapping.n_beads, mapping.n_beads))
    for first, second in mapping.bead_bonds:
        laplacian[first, second] = laplacian[second, first] = -1.0
    laplacian -= np.diag(laplacian.sum(axis=1))
    stiffness = thermal_energy(spec.temperature) / spec.prior.variance
    potential = Potential(model, mapping)
    found = np.array([potential(x).forces for x in tests])
    expected = -stiffness * laplacian @ tests
    error = np.sqrt(np.square(found - expected).mean() / np.square(expected).mean())
    assert error < 0.15, error
    said = model.spec.potential.provenance
    assert float(said["validation loss"].split()[0]) < 0.0


class Springs(torch.nn.Module):
    """An energy of k/2 r^2 kT a bond: an ideal chain, of which k is to be found."""

    def __init__(self, stiffness: float) -> None:
        super().__init__()
        self.stiffness = torch.nn.Parameter(torch.tensor(stiffness))

    def energies(self, _: torch.Tensor, edges: Any) -> torch.Tensor:
        is_bond = edges.static[:, 0] > 0.5
        return 0.5 * self.stiffness * edges.vectors[is_bond].square().sum(dim=1)


def ideal_chains(n_walkers: int, variance: float = 0.7) -> Batches:
    """Return frames of one ideal chain, as so many systems."""
    spec, mapping = small_spec(prior={"variance": variance}), chain("ABCDABCDAB")
    frames = frames_of(mapping, rouse_frames(mapping, spec, 300, 0), spacing=20.0)
    return Batches([frames] * n_walkers, learned(spec), None, 0.3, n_walkers, 0)


def springs(stiffness: float) -> Energy:
    """Return the energy without a prior."""
    prior = {"bond_stiffness": 0.0, "wall_distance": 0.0}
    spec = energetic().spec
    potential = spec.potential.model_copy(update=prior)
    return Energy(Springs(stiffness), spec, potential)


def test_walkers_come_to_the_equilibrium_of_the_potential():
    """<r^2> = 3 / k of all bonds, from frames of another k."""
    energy, batches, n = springs(1.0 / 0.35), ideal_chains(60), 60
    walkers = Walkers(batches, n, 0)
    for _ in range(12):  # 60 steps
        walkers.loss(energy)
    ends = np.arange(4)[:, None] + [0, 1]  # of the bonds
    places = torch.stack([walker.positions for walker in walkers.all]).numpy()
    bonds = np.square(np.diff(places[:, ends], axis=2)).sum(axis=-1)
    assert abs(bonds.mean() / (3.0 * 0.35) - 1.0) < 4.0 * np.sqrt(2.0 / 3.0 / (4 * n))


def test_the_likelihood_finds_a_spring_that_it_was_not_told():
    """Frames have <r^2> = 3 (0.7 nm^2); the energy starts at twice the stiffness."""
    energy, walkers = springs(2.0 / 0.7), Walkers(ideal_chains(20), 20, 0)
    optimiser, found = torch.optim.Adam(energy.network.parameters(), lr=0.1), []
    for _ in range(70):
        optimiser.zero_grad()
        walkers.loss(energy).backward()
        optimiser.step()
        found.append(energy.network.stiffness.item())
    assert abs(np.mean(found[-40:]) * 0.7 - 1.0) < 0.15, found[::10]


@pytest.mark.parametrize("stiffness", [-1e30, -30.0])
def test_a_walker_that_leaves_is_said(stiffness):
    energy, walkers = springs(stiffness), Walkers(ideal_chains(2), 2, 0)
    with pytest.raises(ValueError, match=r"left all bounds: choose a lower learning"):
        walkers.loss(energy)


def test_functions_of_the_distance_in_boxes_stand_where_pairs_are(tmp_path):
    """Those of the file, ascending to the cutoff, close together at the one bond."""
    model, mapping = energetic(is_periodic=True), chain("AABBCDDCABCC")
    frames = np.stack([coil(mapping, k, bond=1.1 + 0.002 * k) for k in range(20)])
    train = replace(frames_of(mapping, frames), box=BOX)
    config = PotentialConfig(n_node=8, n_steps=1, n_systems=1)
    fitted = fit_potential(model, [train], [], config)
    centres = np.array(fitted.spec.potential.radial_centres)
    assert len(centres) == 24
    assert (centres[0], centres[-1]) == pytest.approx((0.0, 3.0), abs=0.01)
    near = np.abs(centres - 1.1).argmin()
    assert np.diff(centres)[near - 1 : near + 1].max() < 0.5 * np.diff(centres).mean()
    save_model(tmp_path / "m.pt", fitted.spec, fitted.module)
    energies = [
        Potential(one, mapping, box=BOX, unseen="allow")(frames[0]).energy
        for one in (fitted, load_model(tmp_path / "m.pt"))
    ]
    np.testing.assert_array_equal(*energies)


def test_functions_of_the_distance_must_ascend():
    content = energetic().spec.potential.model_dump() | {"radial_centres": (0.2, 0.1)}
    with pytest.raises(ValueError, match=r"two or more ascending.*\[0.2, 0.1\]"):
        PotentialSpec.model_validate(content)


def test_without_torchmd_net_a_text_says_so(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **others):
        if name.startswith("torchmdnet"):
            raise ImportError(name)
        return real(name, *args, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    config = PotentialConfig(network="tensornet", n_steps=1)
    frames = frames_of(chain(), np.random.default_rng(0).normal(size=(9, 5, 3)))
    with pytest.raises(ValueError, match=r"not installed: pip install .*equivariant"):
        fit_potential(learned(small_spec()), [frames], [], config)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tensornet(tmp_path):
    """The same promises with TensorNet, where torchmd-net is installed."""
    pytest.importorskip("torchmdnet", reason="the extra equivariant")
    for is_periodic in (False, True):
        potential, places = bound(is_periodic=is_periodic, network="tensornet")
        found = potential(places)
        expected = -slopes(lambda x: potential(x).energy[0], places)  # noqa: B023
        np.testing.assert_allclose(found.forces, expected, rtol=1e-5, atol=1e-5)
    model, mapping = energetic(network="tensornet"), chain()
    save_model(tmp_path / "m.pt", model.spec, model.module)
    frames = [frames_of(mapping, rouse_frames(mapping, model.spec, 40, 0))]
    config = PotentialConfig(network="tensornet", n_node=8, n_steps=3, n_systems=2)
    fitted = fit_potential(load_model(tmp_path / "m.pt"), frames, [], config)
    save_model(tmp_path / "n.pt", fitted.spec, fitted.module)
    energies = [
        Potential(m, mapping)(coil(mapping)).energy[0]
        for m in (fitted, load_model(tmp_path / "n.pt"))
    ]
    assert energies[0] == pytest.approx(energies[1], rel=1e-5)
