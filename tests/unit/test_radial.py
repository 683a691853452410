"""Functions of the distance are placed where distributions of distances change."""

import numpy as np
import pytest
import torch
from core_systems import chain, learned, small_spec

from cgml.molecules.frames import BeadTrajectory
from cgml.network.blocks import PlacedRadialBasis, RadialBasis
from cgml.spec import ModelSpec
from cgml.training.radial import place_functions

BOX = np.diag([6.0, 6.0, 6.0])


def walks(bond: float, spread: float) -> BeadTrajectory:
    """Chains of straight bonds of one length, well known, in a box."""
    mapping, rng = chain("ABCD" * 6), np.random.default_rng(0)
    steps = np.zeros((30, mapping.n_beads, 3))
    steps[..., 0] = bond + spread * rng.normal(size=steps.shape[:2])
    positions = np.cumsum(steps, axis=1).astype(np.float32)
    return BeadTrajectory(mapping, positions, np.arange(30.0), BOX, "walks")


def test_more_functions_at_the_bond():
    centres = np.array(place_functions([walks(0.5, 0.02)], 40, 0.5, 1.2))
    assert len(centres) == 40
    assert centres[0] == 0.0
    assert centres[-1] == pytest.approx(1.2, abs=0.01)
    assert (np.diff(centres) > 0.0).all()
    at_bond = np.count_nonzero(np.abs(centres - 0.5) < 0.06)
    elsewhere = np.count_nonzero(np.abs(centres - 0.25) < 0.06)
    assert at_bond > 2 * elsewhere


def test_open_boundaries_are_refused():
    walk = walks(0.5, 0.02)
    open_walk = BeadTrajectory(walk.mapping, walk.positions, walk.times)
    with pytest.raises(ValueError, match='write radial = "even"'):
        place_functions([open_walk], 10, 0.5, 1.2)


def test_even_centres_give_the_even_functions():
    even = RadialBasis(12, 1.5)
    placed = PlacedRadialBasis(even.centres.double().tolist())
    lengths = torch.linspace(0.0, 3.0, 64)
    torch.testing.assert_close(placed(lengths), even(lengths), rtol=1e-4, atol=1e-6)


def test_a_model_takes_them_and_says_which():
    shape = {"n_radial": 4, "radial": "data"}
    centres = (0.0, 0.4, 0.5, 1.0)
    spec = small_spec(network=shape, cutoff=1.0, radial_centres=centres)
    assert learned(spec).module.predictor.radial.centres.tolist() == pytest.approx(
        np.log1p(np.array(centres) / spec.statistics.length_scale).tolist()
    )
    for wrong in ((), (0.0, 0.5, 0.4, 1.0), (0.0, 0.5, 1.0)):
        with pytest.raises(ValueError, match="radial_centres must be 4 ascending"):
            ModelSpec.model_validate(spec.model_dump() | {"radial_centres": wrong})


@pytest.mark.parametrize("kind", ["even", "placed"])
def test_functions_are_gaussians_and_no_denormal_numbers(kind):
    even = RadialBasis(48, 1.2)
    basis = PlacedRadialBasis(even.centres.tolist()) if kind == "placed" else even
    lengths = torch.linspace(0.0, 4.0, 400)
    values = basis(lengths).double()
    steps = (torch.log1p(lengths.double()) - basis.centres.double()[:, None]) * 47 / 1.2
    exact = torch.exp(-0.5 * steps.square())
    torch.testing.assert_close(values, exact, rtol=1e-4, atol=1e-20)
    assert (exact < 1e-40).any()
    assert values.min() >= torch.finfo(torch.float32).tiny
