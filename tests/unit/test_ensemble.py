"""Several sets of weights in one model: the file, who moves what, what they tell."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from core_systems import chain, coil, learned, mixture, small_spec

from cgml.dynamics.propagator import Propagator
from cgml.models.file import ModelFileError, load_model, read_spec, save_model
from cgml.models.joining import join
from cgml.network.model import LearnedModel
from cgml.training.potential import PotentialConfig, fit_potential

MAPPINGS = [chain(), mixture(), chain(), chain()]


def singles(**changes) -> list[LearnedModel]:
    return [learned(small_spec(**changes), seed) for seed in range(3)]


@pytest.fixture(scope="module")
def model() -> LearnedModel:
    return join(singles())


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path, two = tmp_path_factory.mktemp("ensemble") / "two.pt", join(singles()[:2])
    save_model(path, two.spec, two.module)
    return path


def places(mappings=MAPPINGS) -> np.ndarray:
    return np.concatenate([coil(item, n) for n, item in enumerate(mappings)])


def path_of(model: LearnedModel, mappings, n_steps: int = 3) -> torch.Tensor:
    propagator = Propagator(model, mappings)
    state = propagator.start(places(mappings))
    for _ in range(n_steps):
        state = propagator.step(state)
    return state.positions


def test_a_replica_is_moved_by_the_member_that_seed_and_number_choose(model):
    """Bit for bit as by that member alone, wherever else replicas are moved."""
    batch = Propagator(model, MAPPINGS, seed=5)
    state = batch.start(places())
    for _ in range(3):
        state = batch.step(state)
    members = singles()
    for n, mapping in enumerate(MAPPINGS):
        own = batch.slices[n]
        alone = Propagator(members[(5 + n) % 3], mapping, seed=5, replica_ids=[n])
        other = Propagator(model, mapping, seed=5, replica_ids=[n])
        for propagator in (alone, other):
            found = propagator.start(places()[own])
            for _ in range(3):
                found = propagator.step(found)
            assert torch.equal(found.positions, state.positions[own])
    assert np.array_equal(
        batch.radius_of_gyration(state)[0],
        Propagator(members[2], MAPPINGS[0]).radius_of_gyration(
            Propagator(members[2], MAPPINGS[0]).start(
                state.positions[batch.slices[0]],
                displacements=state.displacements[:, batch.slices[0]],
            )
        )[0],
    )


def test_another_seed_chooses_other_members(model):
    """A restart sets the seed of its file after the propagator was made."""
    one, other = (Propagator(model, MAPPINGS, seed=seed) for seed in (1, 2))
    start = one.start(places())
    expected = other.step(start).positions
    assert not torch.equal(one.step(start).positions, expected)
    one.seed = 2
    assert torch.equal(one.step(start).positions, expected)


def test_averaged_is_the_mean_of_what_the_members_make_of_one_noise(model):
    start = Propagator(model, MAPPINGS).start(places())
    moves = [
        Propagator(one, MAPPINGS, seed=4).step(start).positions - start.positions
        for one in singles()
    ]
    found = Propagator(model, MAPPINGS, seed=4, ensemble="average").step(start)
    expected = start.positions + torch.stack(moves).mean(dim=0)
    assert torch.allclose(found.positions, expected, atol=1e-9)
    with pytest.raises(ValueError, match="'mixture' or 'average', got 'best'"):
        Propagator(model, MAPPINGS, ensemble="best")


def test_boxes_and_mean_forces():
    spec = {"cutoff": 3.0, "periodic": True, "friction": None}
    members = singles(**spec)
    boxes = np.stack([np.eye(3) * length for length in (9.0, 10.0)])
    mappings = [mixture(), mixture()]
    both = Propagator(join(members), mappings, seed=0, box=boxes)
    state = both.step(both.start(places(mappings)))
    forces = both.mean_forces(state.positions)
    for n, member in enumerate(members[:2]):
        own = both.slices[n]
        alone = Propagator(member, mappings[n], seed=0, box=boxes[n], replica_ids=[n])
        found = alone.step(alone.start(places(mappings)[own]))
        assert torch.equal(found.positions, state.positions[own])
        assert np.allclose(alone.mean_forces(found.positions), forces[own], atol=1e-6)


def test_one_file_holds_all_members(saved):
    loaded, made = load_model(saved), join(singles()[:2])
    assert loaded.spec.n_members == len(loaded.members) == 2
    assert [one.digest for one in loaded.members] == [
        one.digest for one in singles()[:2]
    ]
    assert torch.equal(path_of(loaded, MAPPINGS), path_of(made, MAPPINGS))
    assert join([loaded.members[0], *singles()[1:2]]).digest == loaded.digest


def test_a_file_of_one_member_says_nothing_of_members(tmp_path: Path):
    path, alone = tmp_path / "one.pt", singles()[0]
    save_model(path, alone.spec, alone.module)
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("spec.json"))
        said = json.loads(archive.read(name))
    assert not {"n_members", "calibration"} & said.keys()
    assert read_spec(path).n_members == 1


def test_a_file_of_fewer_weights_than_members_is_refused(saved, tmp_path):
    path = tmp_path / "less.pt"
    spec = read_spec(saved).with_members(3)
    content = {}
    with zipfile.ZipFile(saved) as archive:
        for info in archive.infolist():
            content[info.filename] = archive.read(info)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            is_spec = name.endswith("spec.json")
            archive.writestr(name, spec.model_dump_json() if is_spec else data)
    with pytest.raises(ModelFileError, match=r"no members\.2\.embedding"):
        load_model(path)


def test_programs_move_a_system_by_the_member_that_embedded_it(saved, tmp_path):
    alone = tmp_path / "one.pt"
    save_model(alone, singles()[1].spec, singles()[1].module)
    both = torch.jit.load(str(saved)), torch.jit.load(str(alone))
    assert both[0].n_members == 2
    assert both[0].particle_types == both[1].particle_types
    atoms = torch.arange(8)
    given = (
        atoms % 4,
        torch.tensor([1.0, 2.0, 1.5, 3.0], dtype=torch.float64).repeat(2),
        torch.stack((atoms[:-1], atoms[1:]), dim=1),
        torch.zeros(7, dtype=torch.int64),
        atoms // 2,
    )
    stream = torch.Generator().manual_seed(0)
    here = 2.0 * torch.randn(4, 3, generator=stream, dtype=torch.float64)
    ends = torch.combinations(torch.arange(4)).t()
    ends = torch.cat((ends, ends.flip(0)), dim=1)
    frame = (
        here,
        torch.zeros(2, 4, 3, dtype=torch.float64),
        0,
        *ends,
        torch.zeros(12, 3, dtype=torch.float64),
        torch.randn(both[0].n_draws, 4, 3, generator=stream),
        torch.zeros(1, 3, dtype=torch.float64),
    )
    found, expected = (
        program.step(program.embed(*given, None, *member), *frame)[0]
        for program, member in zip(both, ((1,), ()), strict=True)
    )
    assert torch.equal(found, expected)
    other = both[0].step(both[0].embed(*given), *frame)[0]
    assert not torch.equal(other, expected)
    with pytest.raises(Exception, match="member must be 0 to 1, got 2"):
        both[0].embed(*given, None, 2)


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ({"time_step": 10.0}, "member 1 .* has time_step = 10.0, the first has 20.0"),
        ({"prior": {"rate": 0.9}}, r"has prior\.rate = 0.9, the first has 0.7"),
    ],
    ids=["step", "prior"],
)
def test_members_of_other_kinds_are_refused(others, text):
    with pytest.raises(ValueError, match=text):
        join([learned(small_spec()), learned(small_spec(**others))])


def test_members_are_several_and_differ():
    one = learned(small_spec())
    with pytest.raises(ValueError, match="2 to 64 members, got 1"):
        join([one])
    with pytest.raises(ValueError, match="two of these 2 are the same model"):
        join([one, learned(small_spec(name="other"))])


def test_a_potential_is_of_one_set_of_weights(model):
    with pytest.raises(ValueError, match=r"of one set of weights, .* has 3: give one"):
        fit_potential(model, [], [], PotentialConfig())
