"""Extrapolation grades: what a model has not learned is said before it goes wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from core_systems import chain, coil, learned, mixture, small_spec

from cgml.calibration import Calibration, LatentRange
from cgml.contract.stepper import Forecast
from cgml.dynamics import extrapolation
from cgml.dynamics.guards import EVERY, GRADE_MARGIN, GuardError
from cgml.dynamics.propagator import Propagator
from cgml.models.joining import join
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.mapping import Mapping
from cgml.molecules.systems import Systems
from cgml.network.model import LearnedModel
from cgml.spec import ModelSpec
from cgml.training.calibration import calibrate, latent_range

CPU = torch.device("cpu")


def frames(mapping: Mapping, name: str, seed: int, n: int = 12) -> BeadTrajectory:
    """Return independent conformations."""
    places = np.stack([coil(mapping, 100 * seed + k) for k in range(n)])
    times = 20.0 * np.arange(n)
    return BeadTrajectory(mapping, places.astype(np.float32), times, name=name)


def calibrated(n_members: int) -> LearnedModel:
    members = [learned(small_spec(), seed) for seed in range(n_members)]
    model = members[0] if n_members == 1 else join(members)
    train = [frames(chain(), f"train {n}", n) for n in range(4)]
    return calibrate(model, train, [frames(chain(), "validation", 9)])


@pytest.fixture(scope="module", params=[1, 3], ids=["one", "ensemble"])
def model(request) -> LearnedModel:
    return calibrated(request.param)


def strict(model: LearnedModel, largest: float) -> LearnedModel:
    """Return the model with another unit of the grade."""
    found = model.spec.calibration.model_copy(update={"largest": largest})
    return replace(model, spec=model.spec.model_copy(update={"calibration": found}))


def test_distance_is_that_of_the_gaussian_behind():
    """Mahalanobis: its square has the dimension as its mean, and no preferred axis."""
    stream = np.random.default_rng(0)
    scales = np.array([5.0, 2.0, *[0.3] * 18])
    turn = np.linalg.qr(stream.normal(size=(20, 20)))[0]
    rows = 1.0 + (scales * stream.normal(size=(4000, 20))) @ turn
    known = latent_range(rows)
    square = extrapolation.distance(torch.from_numpy(rows), known).square()
    assert abs(float(square.mean()) - 20.0) < 4.0 * float(square.std()) / 4000**0.5
    for axis, scale in zip(turn, scales, strict=True):
        far = torch.from_numpy(1.0 + 3.0 * scale * axis)[None]
        assert float(extrapolation.distance(far, known)) == pytest.approx(3.0, rel=0.2)


def test_disagreement_in_closed_form():
    """Two members that differ by d of a predicted deviation: variance d^2 / 2."""
    systems = Systems([chain(), mixture()], CPU)
    n = len(systems.molecules)
    spread = torch.full((n, 1), 2.0).log()
    first = Forecast(torch.zeros(n, 3), spread, torch.zeros(n, 4))
    force = 2.0 * 0.1 * (1.0 + systems.molecules.double())[:, None].expand(n, 3)
    found = extrapolation.disagreement([first, first._replace(force=force)], systems)
    numbers = torch.arange(len(found), dtype=torch.float64)
    assert torch.allclose(found, 0.1 * (1.0 + numbers) / 2.0**0.5)
    wider = first._replace(log_spread=spread + 0.2)
    found = extrapolation.disagreement([first, wider], systems)
    assert torch.allclose(found, torch.full_like(found, 0.2 / 2.0**0.5))


def test_worst_validation_frame_has_grade_one(model):
    validation = frames(chain(), "validation", 9)
    propagator = Propagator(model, chain())
    found = [float(propagator.grades(frame)[0]) for frame in validation.positions]
    assert model.spec.calibration.n_molecules == 1
    assert max(found) == pytest.approx(1.0, rel=1e-4)
    assert min(found) > 0.0


def test_grades_are_a_function_of_the_positions(model):
    """Whatever was before, and whoever is beside: what a restart needs."""
    mappings = [chain(), mixture()]
    here = [coil(item, 3) for item in mappings]
    both = Propagator(model, mappings, seed=3)
    found = both.grades(np.concatenate(here))
    alone = [
        Propagator(model, m).grades(x) for m, x in zip(mappings, here, strict=True)
    ]
    assert np.allclose(found, np.concatenate(alone), rtol=1e-5)


def test_models_that_are_not_calibrated_say_so():
    propagator = Propagator(learned(small_spec()), chain())
    with pytest.raises(ValueError, match=r"'small' is not calibrated.*cgml join"):
        propagator.grades(coil(chain()))
    state = propagator.start(coil(chain()))
    propagator.step(state)
    assert propagator.guard_counts["extrapolation"] == 0


def test_members_taken_alone_are_not_calibrated():
    assert [m.spec.calibrated for m in calibrated(3).members] == [None] * 3


@pytest.mark.parametrize("policy", ["raise", "stop", "redraw"])
def test_guard_stops_what_was_not_learned_before_it_moves(model, policy):
    start = coil(chain(), 5)
    here = Propagator(model, chain()).grades(start)[0]
    inside = strict(model, model.spec.calibration.largest * 10.0)
    beyond = strict(model, model.spec.calibration.largest * here / (2 * GRADE_MARGIN))
    propagator = Propagator(inside, chain(), guard=policy)
    propagator.step(propagator.start(start))
    assert propagator.guard_counts["extrapolation"] == 0
    propagator = Propagator(beyond, chain(), guard=policy)
    with pytest.raises(GuardError, match=r"'extrapolation' stopped replica 0 .* grade"):
        propagator.step(propagator.start(start))
    if policy != "raise":
        trip = propagator.stopped[0].trip
        assert (trip.step, trip.place, trip.n) == (1, "molecule 0", 1)
        assert trip.value == pytest.approx(2.0 * GRADE_MARGIN, rel=1e-3)
        assert " nm" not in str(trip)


def test_record_counts_every_look_and_goes_on(model):
    beyond = strict(model, model.spec.calibration.largest / 1e3)
    propagator = Propagator(beyond, [chain()] * 2, guard="record")
    state = propagator.start(np.concatenate([coil(chain())] * 2), step=[EVERY - 1, 0])
    for _ in range(3):
        state = propagator.step(state)
    assert [own["extrapolation"] for own in propagator.guard_trips] == [1, 1]


def test_a_good_replica_goes_on_beside_one_that_is_stopped(model):
    """The stopped one stays; the other takes its own path."""
    mappings, here = [chain(), mixture()], [coil(chain(), 3), coil(mixture(), 3)]
    both = zip(mappings, here, strict=True)
    grades = [Propagator(model, m).grades(x).max() for m, x in both]
    good, bad = int(np.argmin(grades)), int(np.argmax(grades))
    assert grades[bad] > 1.05 * grades[good]
    middle = 0.5 * sum(grades) / GRADE_MARGIN
    told = strict(model, model.spec.calibration.largest * middle)
    propagator = Propagator(told, mappings, guard="stop", seed=3)
    start = propagator.start(np.concatenate(here))
    state = propagator.step(start)
    assert list(propagator.stopped) == [bad]
    parts = propagator.slices
    assert torch.equal(state.positions[parts[bad]], start.positions[parts[bad]])
    alone = Propagator(told, mappings[good], seed=3, replica_ids=[good])
    expected = alone.step(alone.start(here[good])).positions
    assert torch.equal(state.positions[parts[good]], expected)


def latent(n: int) -> LatentRange:
    """Return a range of n numbers."""
    return LatentRange(mean=[0.0] * n, axes=[[0.0] * n], variances=[1.0], rest=1.0)


@pytest.mark.parametrize(
    ("members", "own", "text"),
    [
        (1, None, "has a latent range where there is 1 member"),
        (2, latent(32), "has a latent range where there is 1 member"),
        (1, latent(31), "of 32 numbers is req"),
    ],
    ids=["none", "ensemble", "width"],
)
def test_calibrations_of_other_models_are_refused(members, own, text):
    found = Calibration(n_molecules=1, typical=1.0, largest=2.0, latent=own)
    said = small_spec().model_dump() | {"n_members": members, "calibration": found}
    with pytest.raises(ValueError, match=text):
        ModelSpec.model_validate(said)


def test_ranges_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="a variance for each axis of 2 numbers"):
        LatentRange(mean=[0.0, 1.0], axes=[[1.0]], variances=[1.0], rest=1.0)
