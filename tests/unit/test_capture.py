"""Padded steps against those that are not; recorded ones where there is a GPU."""

from typing import Any

import numpy as np
import pytest
import torch
from core_systems import chain, coil, learned, mixture, small_spec

from cgml.dynamics.propagator import Propagator
from cgml.molecules.mapping import Mapping
from cgml.network.capture import CapturedStep
from cgml.network.model import LearnedModel
from cgml.spec import Execution

CUBE = np.diag([6.0, 6.0, 6.0])
MAPPINGS = [chain(), mixture(), chain("ABCD" * 9)]
CASES: dict[str, dict[str, Any]] = {
    "all pairs": {},
    "cutoff": {"cutoff": 3.0},
    "box": {"cutoff": 2.5, "periodic": True, "friction": None},
    "pairs that arrive": {"cutoff": 1.5, "reach": 4.0},
    "angles and places": {
        "network": {"n_vectors": 4, "atom_places": True, "chiral": True}
    },
}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def starts(mappings: list[Mapping], factor: float = 1.0) -> np.ndarray:
    return np.concatenate([factor * coil(item) for item in mappings])


def bound(model: LearnedModel, **more: Any) -> Propagator:
    box = CUBE if model.spec.periodic else None
    return Propagator(model, MAPPINGS, seed=3, box=box, guard="record", **more)


def padded(propagator: Propagator, model: LearnedModel) -> CapturedStep:
    """Put the padded step in the place of the other one."""
    stepper: Any = propagator._stepper
    step = CapturedStep(
        stepper._module,
        stepper._beads,
        stepper._networks._embedding,
        stepper._networks.search,
        model.spec.refinement,
    )
    stepper._next = step
    return step


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_padding_changes_nothing(case):
    model = learned(small_spec(**case))
    usual, other = bound(model), bound(model)
    step = padded(other, model)
    one, two = usual.start(starts(MAPPINGS)), other.start(starts(MAPPINGS))
    for _ in range(3):
        one, two = usual.step(one), other.step(two)
        np.testing.assert_allclose(two.positions, one.positions, rtol=1e-6, atol=2e-5)
    assert step.n_captures >= 1
    assert (one.positions.numpy() - starts(MAPPINGS)).max() > 0.1


@pytest.mark.parametrize("reach", [None, 6.0])
def test_more_pairs_than_there_is_room_for_make_more_room(reach):
    """From far apart, where only bonds are seen, to close together."""
    model = learned(small_spec(cutoff=3.0, reach=reach))
    usual, other = bound(model), bound(model)
    step = padded(other, model)
    for factor, n_captures in ((1.0, 1), (1.0, 1), (0.05, 2), (1.0, 2)):
        expected = usual.step(usual.start(starts(MAPPINGS, factor)))
        found = other.step(other.start(starts(MAPPINGS, factor)))
        np.testing.assert_allclose(
            found.positions, expected.positions, rtol=1e-6, atol=2e-5
        )
        assert step.n_captures == n_captures


def test_capture_is_refused_without_a_gpu():
    with pytest.raises(ValueError, match="capture is for CUDA graphs"):
        bound(learned(small_spec()), execution=Execution(capture=True))


@needs_gpu
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_recorded_step_is_the_step(case):
    model = learned(small_spec(**case))
    usual = bound(model, device="cuda")
    recorded = bound(model, device="cuda", execution=Execution(capture=True))
    one, two = usual.start(starts(MAPPINGS)), recorded.start(starts(MAPPINGS))
    for _ in range(3):
        one, two = usual.step(one), recorded.step(two)
        np.testing.assert_allclose(
            two.positions.cpu(), one.positions.cpu(), rtol=1e-5, atol=1e-4
        )
