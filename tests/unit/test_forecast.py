"""Frames a few steps later: in a trajectory, and by a model."""

import numpy as np
import pytest
from core_systems import (
    chain,
    frames_of,
    learned,
    rouse_frames,
    rouse_only,
    small_spec,
)

from cgml.dynamics.propagator import Propagator
from cgml.evaluation import forecast
from cgml.evaluation.measures.forecast import MEASURE
from cgml.evaluation.results import Comparison, ComparisonOptions
from cgml.evaluation.subject import Forecast, Run, describe
from cgml.network.model import LearnedModel

SPEC = small_spec()


def reference(n_frames: int = 600, seed: int = 0):
    mapping = chain()
    return frames_of(
        mapping, rouse_frames(mapping, SPEC, n_frames, seed), spacing=SPEC.time_step
    )


def ahead(model: LearnedModel, item) -> Forecast:
    found = forecast.of_model(model, item, seed=1, unseen="allow")
    assert found is not None
    return found


def figures(item, model: LearnedModel | None) -> dict[str, float]:
    """Of a model, or of one half of the frames against the other."""
    right, *rest = (
        [Run.of(item), Run.of(item, uses_atoms=False)]
        if model is not None
        else Run.of(item).pieces(2)
    )
    found = rest[0]
    if model is not None:
        found = Run(found.positions, found.time_step, forecast=ahead(model, item))
    (subject,) = describe([item])
    options = ComparisonOptions(step=SPEC.time_step)
    made = MEASURE.compute(Comparison(subject, right, found, options))
    return {name: estimate.value for name, estimate in made.items()}


def test_frames_of_a_trajectory_and_what_became_of_them():
    numbers = np.arange(100.0)[:, None, None] * np.ones((1, 4, 3))
    found = forecast.of_frames(numbers, 5.0, 10.0)
    start = found.start[:, 0, 0]
    assert (start[0], start[-1]) == (8.0, 91.0)  # four steps of two frames about each
    assert len(start) == forecast.N_STARTS
    for n in forecast.STEPS:
        np.testing.assert_array_equal(found.after[n][:, 0, 0], start + 2 * n)


def test_large_systems_need_fewer_frames():
    numbers = [len(forecast.starts(1000, n, 1)) for n in (20, 256, 10_000)]
    assert numbers == [forecast.N_STARTS, 16, forecast.LEAST_STARTS]


@pytest.mark.parametrize(("n", "spacing", "step"), [(100, 3.0, 10.0), (17, 5.0, 10.0)])
def test_none_where_there_are_no_such_frames(n, spacing, step):
    assert forecast.of_frames(np.zeros((n, 2, 3)), spacing, step) is None


def test_a_model_begins_where_the_frames_are_with_their_history(monkeypatch):
    item, model = reference(60), learned(SPEC)
    monkeypatch.setattr(forecast, "MOST_BEADS", 100)  # in parts
    found = ahead(model, item)
    places = forecast.starts(60, item.mapping.n_beads, 1)
    np.testing.assert_array_equal(found.start, item.positions[places])
    wide = item.positions.astype(np.float64)
    propagator = Propagator(
        model,
        [item.mapping] * len(places),
        seed=1,
        guard="record",
        unseen="allow",
    )
    moves = [wide[places - age] - wide[places - age - 1] for age in range(2)]
    state = propagator.start(
        wide[places].reshape(-1, 3), displacements=np.reshape(moves, (2, -1, 3))
    )
    after = propagator.step(state).positions.numpy()
    np.testing.assert_array_equal(found.after[1].reshape(-1, 3), after)


def test_the_right_model_is_within_the_halves_and_a_faster_one_is_not():
    item = reference()
    halves, right = figures(item, None), figures(item, rouse_only(SPEC))
    faster = rouse_only(small_spec(prior={"rate": 2.0}))
    wrong = figures(item, faster)
    name = "forecast_1_displacement_emd"
    assert max(right[name], halves[name]) < 0.3  # noise of 64 frames of 5 beads
    assert right["forecast_4_displacement_emd"] < 0.3
    assert wrong[name] > 0.5
    assert set(right) == {
        f"forecast_{n}_{what}_emd" for n in (1, 4) for what in ("displacement", "rg2")
    }


def test_not_a_number_without_a_step_of_a_model():
    item = reference(60)
    (subject,) = describe([item])
    made = MEASURE.compute(Comparison(subject, Run.of(item), Run.of(item)))
    assert np.isnan([estimate.value for estimate in made.values()]).all()
