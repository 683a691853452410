"""The worked examples of docs/extending.md, in order, as a reader would add them."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from core_systems import chain, coil, small_spec
from torch import nn

from cgml.dynamics.propagator import Propagator
from cgml.evaluation import comparison, measures
from cgml.evaluation.subject import Run, describe
from cgml.formats import table
from cgml.formats.format import LammpsOptions
from cgml.models.file import load_model, save_model
from cgml.models.kinds import KINDS
from cgml.molecules.frames import BeadTrajectory

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)


def run(block: str) -> dict:
    space: dict = {"__name__": "example"}
    exec(compile(block, str(PAGE), "exec"), space)
    return space


def test_a_measure(tmp_path, monkeypatch):
    (tmp_path / "reach.py").write_text(BLOCKS[0])
    monkeypatch.setattr(measures, "__path__", [*measures.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "cgml.evaluation.measures.reach", raising=False)
    mapping = chain()
    frames = np.random.default_rng(0).normal(size=(60, mapping.n_beads, 3))
    item = BeadTrajectory(mapping, frames.astype(np.float32), np.arange(60.0))
    (subject,) = describe([item])
    found = comparison.compare(subject, Run.of(item), Run(2.0 * frames[None], 1.0))
    ratio = (
        found.figures["reach_learned"].value / found.figures["reach_reference"].value
    )
    assert ratio == pytest.approx(2.0)
    assert comparison.summarise([found], 0)["reach_error"].value == pytest.approx(1.0)


def test_a_format(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "FORMATS", list(table.FORMATS))
    run(BLOCKS[1])
    frames = np.arange(60.0).reshape(5, 4, 3)
    np.save(tmp_path / "a.npy", frames)
    row = table.of_frames(tmp_path / "a.npy")
    read = list(row.pieces(tmp_path / "a.npy", 2, LammpsOptions()))
    assert [len(piece.positions) for piece in read] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([p.positions for p in read]), frames)


def test_a_kind_and_an_engine(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "drift", None)  # and taken out at the end
    spec_of = run(BLOCKS[2])["DriftSpec"]
    content = small_spec(friction=None, has_property=False).model_dump()
    spec = spec_of(**{k: content[k] for k in spec_of.model_fields if k in content})
    module = nn.Linear(1, 3)
    save_model(tmp_path / "drift.pt", spec, module)
    model, mapping = load_model(tmp_path / "drift.pt"), chain()
    start = coil(mapping)
    engine = run(BLOCKS[3])["Engine"](model, mapping, 10.0 * start, seed=1)
    engine.step(2)
    assert engine.time == 2.0 * spec.time_step
    moved = 2.0 * module.bias.detach().double().numpy()
    np.testing.assert_allclose(
        engine.positions - 10.0 * start, 10.0 * moved + 0 * start
    )
    same = Propagator(model, [mapping], seed=1)
    state = same.step(same.step(same.start(start)))
    assert torch.allclose(state.positions, torch.from_numpy(engine.positions / 10.0))
