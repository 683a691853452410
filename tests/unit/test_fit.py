from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from core_systems import chain, coil, frames_of, rouse_frames, small_spec

from cgml.formats.trajectory import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.spec import ModelSpec, Rotation
from cgml.training import page
from cgml.training.checkpoint import WholeFileCheckpoints, read_checkpoint
from cgml.training.config import TrainingConfig
from cgml.training.data import WindowModule, load_frames
from cgml.training.learner import Learner
from cgml.training.making import make_spec
from cgml.training.windows import Batch, WindowDataset

MOLECULES = [chain("AABBCCDD"), chain("ABCDABCD"), chain("DDCCBBAADD")]


def config(**changes: object) -> TrainingConfig:
    content = {
        "name": "short",
        "output": "run",
        "time_step": 20.0,
        "n_history": 2,
        "temperature": 300.0,
        "friction": 0.5,
        "data": {"train": ["here/train.h5md"], "validation": ["there/a.h5md"]},
        "network": small_spec().network.model_dump(),
        "optimiser": {"seed": 1, "rollout_steps": 3},
    }
    return TrainingConfig.model_validate(content | changes)


def frames(mapping: Mapping, seed: int, n_frames: int = 20) -> BeadTrajectory:
    positions = rouse_frames(mapping, small_spec(), n_frames, seed)
    square = (positions**2).mean(axis=(1, 2))
    return frames_of(mapping, positions, name=f"chain {seed}", rg2=square, spacing=20.0)


@pytest.fixture(scope="module")
def trajectories() -> list[BeadTrajectory]:
    return [frames(item, seed) for seed, item in enumerate(MOLECULES)]


@pytest.fixture(scope="module")
def spec(trajectories) -> ModelSpec:
    return make_spec(config(), trajectories)


@pytest.fixture
def learner(spec, trajectories) -> Learner:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Learner(spec, config(), trajectories[:2])


@pytest.fixture(scope="module")
def batch(spec, trajectories) -> Batch:
    dataset = WindowDataset(
        trajectories, spec, None, n_molecules=3, n_windows=4, n_batches=1, seed=0
    )
    return dataset[0]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- spec


def test_the_spec_of_a_run(spec, trajectories):
    assert (spec.name, spec.time_step, spec.n_history) == ("short", 20.0, 2)
    assert spec.particle_types == {"A": 1.0, "B": 2.0, "C": 1.5, "D": 3.0}
    assert spec.bond_types == ["bond"]
    assert spec.atoms_per_bead == pytest.approx(2.0)
    assert (spec.periodic, spec.has_property, spec.friction) == (False, True, 0.5)
    assert spec.network == small_spec().network
    assert 0.3 < spec.prior.rate < 1.5  # made with 0.7 and 1.3
    assert 0.8 < spec.prior.variance < 2.0
    longest = max(
        np.linalg.norm(np.diff(item.positions, axis=1), axis=-1).max()
        for item in trajectories
    )
    assert spec.statistics.bond_length_range[1] == pytest.approx(longest)
    assert spec.provenance["training data"] == "chain 0, chain 1, chain 2"
    counts = [spec.provenance[key] for key in ("systems", "molecules", "frames")]
    assert counts == ["3", "3", "60"]


def test_the_property_needs_data_for_all_molecules(trajectories):
    without = frames_of(chain(), np.stack([coil(chain())] * 9), spacing=20.0)
    assert not make_spec(config(), [*trajectories, without]).has_property


def test_one_type_has_one_mass(trajectories):
    graph = MolecularGraph.create("AAAA", [2.0] * 4, [[0, 1], [1, 2], [2, 3]])
    heavy = Mapping.from_labels(graph, [0, 0, 1, 1])
    places = np.random.default_rng(0).normal(size=(9, 2, 3))
    other = frames_of(heavy, places, spacing=20.0, name="heavy")
    message = "'A' must have one mass, got 1 and 2 Da .in 'heavy'."
    with pytest.raises(ValueError, match=message):
        make_spec(config(), [*trajectories, other])


def test_boxes_are_all_or_none(trajectories):
    boxed = [
        BeadTrajectory(item.mapping, item.positions, item.times, 50.0 * np.eye(3))
        for item in trajectories
    ]
    assert make_spec(config(), boxed).periodic
    with pytest.raises(ValueError, match="all have a periodic box or all have none"):
        make_spec(config(), [*boxed, trajectories[0]])


def test_missing_frames_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no bead frames match '.*/none\*'"):
        load_frames([str(tmp_path / "none*")])


# --- losses


def test_losses(learner, batch):
    terms = learner.losses(batch, stream())
    assert {"likelihood", "score", "property", "total"} <= set(terms)
    assert all(bool(torch.isfinite(value)) for value in terms.values())
    values = {name: float(value.detach()) for name, value in terms.items()}
    total = values.pop("total")
    assert total == pytest.approx(sum(values.values()))


def test_losses_are_a_function_of_batch_and_stream(learner, batch):
    before = torch.get_rng_state()
    one, same, other = (learner.losses(batch, stream(i)) for i in (0, 0, 1))
    assert torch.equal(one["total"], same["total"])
    assert not torch.equal(one["score"], other["score"])
    assert torch.equal(one["likelihood"], other["likelihood"])
    assert torch.equal(torch.get_rng_state(), before)


def test_every_weight_learns(learner, batch):
    learner.losses(batch, stream())["total"].backward()
    for name, weight in learner.model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0.0, name


def test_the_score_leaves_the_predictors_gaussian_alone(learner, batch):
    """Mean and spread are made by the likelihood; the score works around them."""
    learner.losses(batch, stream())["score"].backward()
    predictor = learner.model.predictor
    for layer in (predictor.spread.second, predictor.shift.edge):
        assert layer.weight.grad is None
    assert predictor.node_encoder.first.weight.grad.abs().max() > 0.0


def test_without_a_property_there_is_no_loss_of_it(spec, trajectories, batch):
    bare = spec.model_copy(update={"has_property": False})
    terms = Learner(bare, config(), trajectories).losses(batch, stream())
    assert {"likelihood", "score", "total"} <= set(terms)
    assert "property" not in terms


def test_rotation_times_are_the_mean_of_the_data(trajectories):
    rows = [[Rotation(atoms={"A": 2}, time=time)] for time in (2.0, 3.0)]
    first, second, *rest = trajectories
    data = [
        replace(first, rotation=tuple(rows[0])),
        replace(second, rotation=tuple(rows[1])),
        *rest,
    ]
    assert make_spec(config(), data).rotation == [Rotation(atoms={"A": 2}, time=2.5)]


def test_a_few_steps_lower_the_loss(learner, batch):
    optimiser = torch.optim.Adam(learner.parameters(), lr=3e-3)
    totals = []
    for _ in range(15):
        optimiser.zero_grad()
        total = learner.losses(batch, stream())["total"]
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    assert totals[-1] < totals[0] - 0.1


def test_the_rollout_is_scored(learner):
    one, other = learner.rollout(), learner.rollout()
    assert set(one) == {"rollout_rg2", "rollout_bond", "rollout_msd"}
    assert all(bool(torch.isfinite(value)) for value in one.values())
    assert one == other
    assert one["rollout_rg2"] >= 0.0


def test_every_validation_batch_has_noise_of_its_own(learner, batch, monkeypatch):
    """And the same one every time."""
    seen = []

    def losses(batch: Batch, stream: torch.Generator) -> dict[str, torch.Tensor]:
        seen.append(float(torch.rand(1, generator=stream)))
        return {}

    monkeypatch.setattr(learner, "losses", losses)
    monkeypatch.setattr(learner, "rollout", dict)
    monkeypatch.setattr(learner, "log_dict", lambda *args, **options: None)
    for _ in range(2):
        for index in range(4):
            learner.validation_step(batch, index)
    assert seen[:4] == seen[4:]
    assert len(set(seen)) == 4


# --- several devices


@pytest.mark.parametrize("n_ranks", [2, 5])
def test_shares_of_a_batch_are_the_batch(spec, trajectories, batch, n_ranks):
    dataset = WindowDataset(
        trajectories, spec, None, n_molecules=3, n_windows=4, n_batches=1, seed=0
    )
    shares = []
    for dataset.rank in range(n_ranks):
        dataset.n_ranks = n_ranks
        shares.append(dataset[0])
    for name in ("target", "radius"):
        joined = torch.cat([getattr(share, name) for share in shares])
        assert torch.equal(joined, getattr(batch, name))
    moves = [share.history.displacements for share in shares]
    assert torch.equal(torch.cat(moves, dim=1), batch.history.displacements)
    n_edges = sum(len(item.layout.arrivals) for item in shares)
    assert n_edges == len(batch.layout.arrivals)
    assert [int(item.systems[-1]) + 1 for item in shares] == {
        2: [6, 6],
        5: [2, 2, 3, 2, 3],
    }[n_ranks]


@pytest.mark.parametrize("n_ranks", [2, 5])
def test_devices_average_to_the_gradient_of_one(
    learner, spec, trajectories, batch, n_ranks
):
    """Also where their shares have molecules of different sizes."""

    def gradients(batch: Batch) -> tuple[dict[str, float], list[torch.Tensor]]:
        learner.zero_grad()
        terms = learner.losses(batch, stream(7))
        terms["total"].backward()
        weights = list(learner.model.parameters())
        values = {name: float(value.detach()) for name, value in terms.items()}
        return values, [weight.grad.clone() for weight in weights]

    dataset = WindowDataset(
        trajectories, spec, None, n_molecules=3, n_windows=4, n_batches=1, seed=0
    )
    dataset.n_ranks = n_ranks
    found = []
    for dataset.rank in range(n_ranks):
        found.append(gradients(dataset[0]))
    values, expected = gradients(batch)
    for name, value in values.items():
        mean = np.mean([terms[name] for terms, _ in found])
        assert mean == pytest.approx(value, rel=1e-5, abs=1e-6), name
    for place, gradient in enumerate(expected):
        mean = torch.stack([one[place] for _, one in found]).mean(dim=0)
        scale = float(gradient.abs().max())
        torch.testing.assert_close(mean, gradient, rtol=0.0, atol=2e-5 * scale)


def test_every_device_needs_a_window(spec, trajectories):
    many = {"n_molecules": 2, "n_windows": 1, "n_devices": 3}
    wide = config(optimiser=many)
    with pytest.raises(ValueError, match="is 2, for n_devices = 3"):
        WindowModule(trajectories, trajectories, spec, wide)


@pytest.mark.parametrize("place", [1, 2])  # validation, corrections
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"box": 5.0 * np.eye(3)},
            "'chain 0' has a box, the training frames none",
        ),
        ({"observables": {}}, "'chain 0' has 1 molecules, observables: none; prepare"),
    ],
)
def test_all_frames_have_what_the_training_frames_have(
    spec, trajectories, place, changes, text
):
    lists = [list(trajectories) for _ in range(3)]
    lists[place][0] = replace(trajectories[0], **changes)
    train, validation, corrections = lists
    with pytest.raises(ValueError, match=text):
        WindowModule(train, validation, spec, config(), corrections)


@pytest.mark.parametrize("sizes", [{"n_windows": 1}, {"n_devices": 2}])
def test_stationarity_takes_pairs_of_windows(spec, trajectories, sizes):
    wide = config(optimiser=sizes, stationarity={"weight": 1.0})
    with pytest.raises(ValueError, match="two windows of a system or more, on one"):
        WindowModule(trajectories, trajectories, spec, wide)


@pytest.mark.parametrize(
    ("size", "text"),
    [("n_windows", "batches of 3000000000 windows"), ("rollout_steps", "rollouts of")],
)
def test_what_cannot_fit_is_refused(spec, trajectories, size, text):
    large = config(optimiser={size: 10**9})
    with pytest.raises(
        ValueError, match=rf"{text}.* GiB of memory, .*: ask for .*{size}"
    ):
        WindowModule(trajectories, trajectories, spec, large)


# --- checkpoints


def test_checkpoints_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "last.ckpt"
    writer = WholeFileCheckpoints()
    writer.save_checkpoint({"step": 1}, path)

    def fail(checkpoint: object, target: object) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"no space left to write .*last\.ckpt"):
        writer.save_checkpoint({"step": 2}, path)
    assert [item.name for item in path.parent.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=True) == {"step": 1}


def checkpoint(path: Path, **changes: object) -> Path:
    weights = {"a.weight": torch.randn(40, 3), "a.bias": torch.zeros(40)}
    content = {
        "state_dict": weights,
        "optimizer_states": [{"state": {0: torch.ones(2)}}],
    }
    scores = {"callbacks": {"stop": {"best": torch.tensor(torch.inf)}}}
    WholeFileCheckpoints().save_checkpoint(content | scores | changes, path)
    return path


def test_a_checkpoint_comes_back(tmp_path):
    path = checkpoint(tmp_path / "last.ckpt", averaged={"n": torch.tensor(3)})
    expected = torch.load(path, weights_only=True)
    found = WholeFileCheckpoints().load_checkpoint(path)
    assert found.keys() == expected.keys()
    for name, values in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], values)
    assert found["averaged"]["n"] == 3
    assert found["callbacks"]["stop"]["best"] == torch.inf


def test_a_checkpoint_that_is_cut_or_changed_is_named(tmp_path):
    path = checkpoint(tmp_path / "last.ckpt")
    content, stream = path.read_bytes(), np.random.default_rng(0)
    for place in stream.integers(0, 8 * len(content), 60):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << (place % 8)
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"^\S*last.ckpt [^\n]* delete it"):
            read_checkpoint(path)
    for n in stream.integers(0, len(content), 10):
        path.write_bytes(content[:n])
        with pytest.raises(ValueError, match=r"^\S*last.ckpt [^\n]* delete it"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"state_dict": {"w": torch.tensor([1.0, torch.nan])}},
            "finite in state_dict.w",
        ),
        (
            {"optimizer_states": [{"s": (torch.tensor(torch.inf),)}]},
            "finite in optimizer_states.0.s.0",
        ),
        ({"state_dict": [1]}, "is not a checkpoint of a training run"),
        ({"size": slice(3)}, "it names builtins.slice"),
    ],
)
def test_a_checkpoint_of_other_things_is_refused(tmp_path, changes, message):
    path = tmp_path / "last.ckpt"
    checkpoint(path, **changes)
    with pytest.raises(ValueError, match=rf"last.ckpt .*{message}"):
        read_checkpoint(path)


@pytest.mark.parametrize("n_molecules", [1, 2])
def test_a_box_of_one_molecule_has_no_pairs_to_draw(n_molecules):
    """And no reason to end a run for that."""
    types, bonds = "AABB" * n_molecules, [[0, 1], [1, 2], [2, 3]]
    bonds = [[i + 4 * k, j + 4 * k] for k in range(n_molecules) for i, j in bonds]
    graph = MolecularGraph.create(types, [1.0] * len(types), bonds)
    mapping = Mapping.from_labels(graph, np.arange(len(types)) // 2)
    stream = np.random.default_rng(0)
    places = stream.normal(size=(20, mapping.n_beads, 3))
    item = replace(frames_of(mapping, places), box=6.0 * np.eye(3))
    figure = page._compare(item, places)
    assert len(figure.axes) == 1 + n_molecules
