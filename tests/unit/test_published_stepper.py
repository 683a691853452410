"""Published models behind the propagator, and what their files say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from core_systems import small_spec
from graphwm_files import CHAIN, MELT, hyper_parameters, random_weights, write
from reference_published import Array, Reference

from cgml import units
from cgml.dynamics.guards import GuardError
from cgml.dynamics.propagator import Propagator
from cgml.models.conversion import Origin, import_checkpoint
from cgml.models.file import ModelFileError, load_model, read_spec
from cgml.models.kinds import KINDS
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel
from cgml.published.checkpoint import CheckpointError
from cgml.published.model import build_published_system
from cgml.published.spec import PublishedSpec
from cgml.spec import BaseSpec, Refinement

UNIT = units.ANGSTROM
BOX = np.array([[1.6, 0.0, 0.0], [0.3, 1.5, 0.0], [-0.4, 0.2, 1.7]])
MELT_ORIGIN = Origin(frame_spacing=2.0, temperature=353.0, periodic=True)
CHAIN_ORIGIN = Origin(
    frame_spacing=5.0, temperature=300.0, periodic=False, length_unit=1.0
)


def mapping(*, is_single: bool = False) -> Mapping:
    """Return a molecule of four beads, and two ions unless it is to be alone."""
    names = ["H", "C", "O", "C", "H", "N", "S", "C", "Li", "Li"][
        : 8 if is_single else 10
    ]
    masses = {"H": 1.008, "C": 12.011, "O": 15.999, "N": 14.007, "S": 32.06, "Li": 6.94}
    bonds = [(i, i + 1) for i in range(7)]
    kinds = [str(i) for i in range(7)]
    graph = MolecularGraph.create(names, [masses[n] for n in names], bonds, kinds)
    return Mapping.from_labels(graph, [0, 0, 1, 1, 2, 2, 3, 3, 4, 5][: len(names)])


def chain(n_atoms: int = 12) -> Mapping:
    bonds = [(i, i + 1) for i in range(n_atoms - 1)]
    graph = MolecularGraph.create(["1"] * n_atoms, np.ones(n_atoms), bonds)
    return Mapping.from_labels(graph, np.arange(n_atoms) // 3)


def imported(folder: Path, parameters: dict[str, Any], origin: Origin) -> LearnedModel:
    """Import random weights."""
    content = random_weights(parameters)
    source = write(
        folder / "source.ckpt",
        {"state_dict": content, "hyper_parameters": hyper_parameters(parameters)},
    )
    import_checkpoint(source, folder / "model.pt", origin)
    return load_model(folder / "model.pt")


@pytest.fixture
def melt(tmp_path: Path) -> LearnedModel:
    return imported(tmp_path, MELT, MELT_ORIGIN)


def places(n_beads: int = 6) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.0, 1.5, (n_beads, 3))


def moves(n_beads: int = 6) -> np.ndarray:
    return 0.05 * np.random.default_rng(1).normal(size=(3, n_beads, 3))


def test_the_spec_names_its_kind_and_comes_back(melt, tmp_path):
    spec = read_spec(tmp_path / "model.pt")
    assert isinstance(spec, PublishedSpec)
    assert spec == melt.spec
    assert '"kind": "graphwm"' in spec.model_dump_json(indent=1)
    own = small_spec()
    assert "kind" not in own.model_dump()
    assert isinstance(own, BaseSpec)


def test_a_kind_of_the_future_is_refused(melt, tmp_path, monkeypatch):
    monkeypatch.delitem(KINDS, "graphwm")
    with pytest.raises(ModelFileError, match="kind 'graphwm', this version of cgml kn"):
        load_model(tmp_path / "model.pt")


def embedding(model: LearnedModel) -> Array:
    system = build_published_system(mapping(), model.spec)
    return model.module.embedding(system.atoms).numpy()


def test_a_step_is_that_of_the_reference(melt):
    propagator = Propagator(melt, mapping(), box=BOX, seed=4)
    state = propagator.start(places(), displacements=moves(), step=7)
    after = propagator.step(state)
    draws = propagator._noise.draw(7, state.step, [0]).draws
    frames = np.cumsum([places() - moves().sum(axis=0), *moves()[::-1]], axis=0)
    expected = UNIT * Reference(MELT, random_weights(MELT)).step(
        *(frames / UNIT, embedding(melt), mapping().bead_masses),
        *(mapping().bead_bonds, BOX / UNIT, draws.numpy()),
    )
    np.testing.assert_allclose(after.positions, expected, atol=1e-5)


def test_displacements_that_are_not_known_count_as_zero(melt):
    propagator = Propagator(melt, mapping(), box=BOX)
    rest = moves()
    rest[1:] = 0.0
    given = propagator.start(places(), displacements=moves(), n_known=[1])
    zeroed = propagator.start(places(), displacements=rest)
    known = propagator.start(places(), displacements=moves())
    first, second, third = (
        propagator.step(state).positions for state in (given, zeroed, known)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_a_replica_alone_gives_the_bits_of_the_batch(tmp_path):
    """Two systems in two boxes, three steps; latents as wide as whole registers."""
    wide = {"latent_dim": 16, "units": 32, "layers": 2, "mp_steps": 2}
    parts = ("embedding", "dynamics", "score")
    parameters = MELT | {f"{part}_gn_hparams": wide for part in parts}
    melt = imported(tmp_path, parameters, MELT_ORIGIN)
    systems, boxes = [mapping(), mapping(is_single=True)], np.stack([BOX, 1.2 * BOX])
    starts = [places(6), places(4)]
    both = Propagator(melt, systems, box=boxes, seed=1)
    together = both.start(np.concatenate(starts))
    for _ in range(3):
        together = both.step(together)
    for number in range(2):
        alone = Propagator(
            melt, systems[number], box=boxes[number], seed=1, replica_ids=[number]
        )
        state = alone.start(starts[number])
        for _ in range(3):
            state = alone.step(state)
        assert torch.equal(state.positions, together.positions[both.slices[number]])


def test_a_restart_goes_on_to_the_bit(melt, tmp_path):
    first = Propagator(melt, mapping(), box=BOX, seed=2)
    state = first.step(first.step(first.start(places())))
    other = Propagator(load_model(tmp_path / "model.pt"), mapping(), box=BOX, seed=2)
    again = other.start(
        state.positions,
        displacements=state.displacements,
        n_known=state.n_known,
        step=state.step,
    )
    for _ in range(3):
        state, again = first.step(state), other.step(again)
    assert torch.equal(state.positions, again.positions)


def test_mean_forces_are_the_authors_score(melt):
    """KT x output / smallest sigma, Angstrom to nm, at rest at these positions."""
    propagator = Propagator(melt, mapping(), box=BOX)
    found = propagator.mean_forces(places())
    reference, masses = Reference(MELT, random_weights(MELT)), mapping().bead_masses
    rest = np.tile(places() / UNIT, (4, 1, 1))
    edges = reference.edges(rest[0], mapping().bead_bonds, BOX / UNIT)
    latent = reference.accelerate(rest, embedding(melt), masses, edges)[2]
    output = reference.score(latent, masses, edges)
    slope = output / 0.1 / UNIT  # sigma_end is 0.1 Angstrom
    expected = 8.314462618e-3 * 353.0 * slope
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=2e-5 * scale, rtol=0.0)
    halved = propagator.mean_forces(places(), noise_scale=2.0)
    np.testing.assert_allclose(2.0 * halved, found, rtol=1e-6)
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="noise_scale must be positive, got"):
            propagator.mean_forces(places(), noise_scale=scale)


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_no_mean_forces_without_a_score_network(tmp_path, scale):
    model = imported(tmp_path, CHAIN, CHAIN_ORIGIN)
    propagator = Propagator(model, chain())
    with pytest.raises(ValueError, match="score network is required for forces"):
        propagator.mean_forces(places(4), noise_scale=scale)


@pytest.mark.parametrize("guard", ["raise", "redraw"])
def test_positions_that_run_away_trip_the_guard(tmp_path, guard):
    model = imported(tmp_path, MELT, MELT_ORIGIN)
    model.module.dynamics.network.decode.rest[1].bias.fill_(3.4e38)
    propagator = Propagator(model, mapping(), box=BOX, guard=guard)
    with pytest.raises(GuardError, match="guard 'finite' stopped replica 0 at step 1"):
        propagator.step(propagator.start(places()))
    assert propagator.guard_counts["finite"] >= 1


def test_the_head_is_one_of_single_molecules(tmp_path):
    model = imported(tmp_path, CHAIN, CHAIN_ORIGIN)
    assert model.spec.has_property
    propagator = Propagator(model, [chain(), chain(9)])
    state = propagator.start(np.random.default_rng(0).normal(size=(7, 3)))
    assert propagator.radius_of_gyration(state).shape == (2,)
    pair = MolecularGraph.create(["1"] * 4, np.ones(4), [(0, 1), (2, 3)])
    two = Propagator(model, Mapping.from_labels(pair, [0, 0, 1, 1]))
    with pytest.raises(ValueError, match="single molecules, got 2 of them"):
        two.radius_of_gyration(two.start(np.eye(2, 3)))


def test_a_head_of_something_else_is_left_alone(tmp_path):
    head = {"property_net_hparams": {"units": 5, "layers": 1, "out_dim": 2}}
    model = imported(tmp_path, CHAIN | head, CHAIN_ORIGIN)
    assert not model.spec.has_property


def test_the_sampler_is_the_authors(melt):
    with pytest.raises(ValueError, match="the sampler of the published model 'source'"):
        Propagator(melt, mapping(), box=BOX, refinement=Refinement())


def test_what_the_checkpoint_says_reaches_the_spec(tmp_path):
    parameters = MELT | {"dilation": 3, "remove_com": True, "cg_tfsi": True}
    with pytest.raises(ValueError, match="every anion as one bead: pass the number of"):
        imported(tmp_path, parameters, MELT_ORIGIN)
    assert not (tmp_path / "model.pt").exists()
    origin = Origin(2.0, 353.0, periodic=True, single_bead_limit=15, name="melt")
    spec = imported(tmp_path, parameters, origin).spec
    assert (spec.name, spec.time_step, spec.remove_drift) == ("melt", 6.0, True)
    assert (spec.single_bead_limit, spec.atoms_per_bead) == (15, 3.0)
    assert spec.friction is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"frame_spacing": 0.0}, "the frame spacing must be positive, got 0 ps"),
        ({"temperature": -3.0}, "the temperature must be positive, got -3 K"),
        (
            {"length_unit": float("inf")},
            "length unit must be positive and finite, got inf",
        ),
        ({"single_bead_limit": -1}, "single-bead limit must be 0 or more, got -1"),
    ],
)
def test_origins_that_cannot_be(changes, text):
    values = {"frame_spacing": 2.0, "temperature": 300.0, "periodic": True} | changes
    with pytest.raises(ValueError, match=text):
        Origin(**values)


def test_a_broken_checkpoint_writes_nothing(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"no zip")
    with pytest.raises(CheckpointError, match="truncated or not an archive"):
        import_checkpoint(tmp_path / "a.ckpt", tmp_path / "a.pt", MELT_ORIGIN)
    assert not (tmp_path / "a.pt").exists()
