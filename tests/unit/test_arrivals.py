"""Pairs beyond the cutoff before a step that come within it."""

from typing import Any

import numpy as np
import pytest
import torch
from core_systems import chain, coil, learned, mixture, small_spec

from cgml.dynamics.propagator import Propagator
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.inputs import build_system
from cgml.network.model import LearnedModel, Model
from cgml.network.pairs import PairSearch, divide
from cgml.spec import ModelSpec
from cgml.training.config import OptimiserConfig, TrainingConfig
from cgml.training.tuning import begin, check_start

CUTOFF, REACH = 1.5, 4.0
PAIR = Mapping.from_labels(
    MolecularGraph.create("AA", [1.0, 1.0], np.empty((0, 2), dtype=int)), [0, 1]
)


def moved(model: LearnedModel, start: Any, mappings: list[Mapping]) -> Any:
    propagator = Propagator(model, mappings, seed=2, guard="record")
    return np.asarray(propagator.step(propagator.start(start)).positions)


def test_each_pair_is_near_or_far_and_bonds_are_near():
    mapping = mixture()
    spec = small_spec(cutoff=CUTOFF, reach=REACH, friction=None)
    beads = build_system(mapping, spec).beads
    places = torch.tensor(3.0 * coil(mapping))  # bonds are longer than the cutoff
    pairs = PairSearch(beads, [mapping.n_beads], 9.0, None)(places)
    near, far = divide(pairs, places, spec)
    every, here, there = (
        set(zip(some.receiver.tolist(), some.sender.tolist(), strict=True))
        for some in (pairs, near, far)
    )
    assert here | there == every
    assert not here & there
    assert {tuple(sorted(bond)) for bond in mapping.bead_bonds.tolist()} <= here
    lengths = (places[far.receiver] - places[far.sender]).norm(dim=1)
    assert len(lengths)
    assert (lengths >= CUTOFF).all()


@pytest.mark.parametrize("push", [0.03, -0.03])
def test_pairs_that_arrive_are_moved_along_their_line(push):
    """Two lone beads farther apart than the cutoff, 400 times; the same noise."""
    plain = learned(small_spec(cutoff=4.0, friction=None))
    told = learned(small_spec(cutoff=4.0, reach=9.0, friction=None))
    state = told.module.state_dict() | plain.module.state_dict()
    told.module.load_state_dict(state)
    strength = told.module.arrivals.strengths.second
    torch.nn.init.zeros_(strength.weight)
    torch.nn.init.constant_(strength.bias, push)
    start = np.tile([[0.0, 0.0, 0.0], [4.2, 0.0, 0.0]], (400, 1))
    ends = [
        moved(model, start, [PAIR] * 400).reshape(400, 2, 3) for model in (plain, told)
    ]
    one, other = (np.linalg.norm(end[:, 1] - end[:, 0], axis=1) for end in ends)
    arrived = np.minimum(one, other) < 3.0
    assert arrived.sum() > 20
    assert np.sign(other - one)[arrived].mean() == pytest.approx(np.sign(push), abs=0.1)
    assert np.array_equal(*(end[np.minimum(one, other) > 8.0] for end in ends))


def test_a_run_that_adds_a_reach_begins_where_it_goes_on_from():
    """Nothing is said at first: the same step, to the last bit."""
    origin = learned(small_spec(cutoff=CUTOFF))
    spec = small_spec(cutoff=CUTOFF, reach=REACH)
    model = Model(spec)
    begin(model, origin, OptimiserConfig(frozen=["denoiser"]))
    assert all(values.requires_grad for values in model.arrivals.parameters())
    mappings = [mixture(), chain()]
    start = np.concatenate([coil(item) for item in mappings])
    one, other = (
        moved(each, start, mappings)
        for each in (origin, LearnedModel(spec, model.eval()))
    )
    assert np.array_equal(one, other)
    again = Model(spec)
    begin(again, learned(spec, seed=3), OptimiserConfig())  # which has one: kept
    assert again.arrivals.strengths.second.weight.abs().min() > 0.0


@pytest.mark.parametrize(
    ("cutoff", "reach", "words"),
    [
        (1.5, 1.5, r"of 1\.5 nm is required, up to 4\.5 nm, got 1\.5 nm"),
        (1.5, 1.0, "got 1 nm"),
        (0.9, 13.5, r"up to 2\.7 nm, got 13\.5 nm"),
        (None, 2.0, "a reach of 2 nm .* there is none: give a cutoff"),
    ],
)
def test_a_reach_is_beyond_a_cutoff(cutoff, reach, words):
    with pytest.raises(ValueError, match=words):
        small_spec(cutoff=cutoff, reach=reach)


@pytest.mark.parametrize(
    ("frozen", "reach", "words"),
    [
        (["arrivals"], None, "names arrivals, and 'small' has no reach"),
        (["embedding", "predictor", "conditioner", "denoiser"], None, "leaves nothing"),
    ],
)
def test_something_is_left_to_learn(frozen, reach, words):
    config = TrainingConfig.model_validate(
        {
            "name": "a",
            "output": "a",
            "time_step": 20.0,
            "temperature": 300.0,
            "reach": reach,
            "data": {"train": ["a.npz"], "validation": ["b.npz"]},
            "optimiser": {"frozen": frozen},
        }
    )
    origin = learned(small_spec(cutoff=CUTOFF))
    with pytest.raises(ValueError, match=words):
        check_start(config, origin)
    if len(frozen) > 1:  # what sees pairs that arrive may learn alone
        check_start(config.model_copy(update={"reach": REACH}), origin)


def test_files_without_a_reach_do_not_speak_of_it():
    """Older versions read them."""
    spec = small_spec(cutoff=CUTOFF)
    assert "reach" not in spec.model_dump()
    longer = small_spec(cutoff=CUTOFF, reach=REACH)
    assert ModelSpec.model_validate(longer.model_dump()).reach == REACH
    assert learned(longer).digest != learned(spec).digest
