"""A kind of model is one row of a table: file, propagator and guards need no more."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from core_systems import chain, coil, small_spec
from torch import nn

from cgml.contract.state import State
from cgml.dynamics.propagator import Propagator
from cgml.models.file import load_model, save_model
from cgml.models.kinds import KINDS, Kind
from cgml.spec import BaseSpec


class DriftSpec(BaseSpec):
    """Every bead moves along one learned vector."""

    kind: Literal["drift"] = "drift"


class DriftStepper:
    n_draws = 1

    def __init__(self, module: Any, *_: Any) -> None:
        self.step = module.bias.double()

    def displacement(self, state: State, _: torch.Tensor) -> torch.Tensor:
        return self.step.expand_as(state.positions)

    def mean_score(self, state: State, *_: Any) -> torch.Tensor:
        return -state.positions

    def view(self, positions: torch.Tensor) -> None:
        del positions


@pytest.fixture
def drift(monkeypatch) -> DriftSpec:
    row = Kind(
        spec=DriftSpec,
        networks=lambda _: nn.Linear(1, 3),
        program=lambda _, module: module,
        stepper=DriftStepper,
    )
    monkeypatch.setitem(KINDS, "drift", row)
    content = small_spec(friction=None, has_property=False).model_dump()
    return DriftSpec(**{k: content[k] for k in BaseSpec.model_fields if k in content})


def test_a_kind_is_one_row(drift, tmp_path):
    module = nn.Linear(1, 3)
    save_model(tmp_path / "drift.pt", drift, module)
    model = load_model(tmp_path / "drift.pt")
    assert model.spec == drift
    mapping = chain()
    propagator = Propagator(model, mapping)
    start = coil(mapping)
    state = propagator.step(propagator.start(start))
    moved = np.broadcast_to(module.bias.detach().numpy(), start.shape)
    np.testing.assert_allclose(state.positions.numpy() - start, moved, atol=1e-12)
    forces = propagator.mean_forces(start)
    np.testing.assert_allclose(forces / forces[0, 0], start / start[0, 0], rtol=1e-9)
