"""Trained on chains that wind one way, a chiral model winds; another one cannot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.network.gaussian import gaussian_loss
from cgml.network.inputs import build_system
from cgml.network.pairs import PairSearch, lay_out
from cgml.network.predictor import History
from cgml.observables.chains import signed_volumes
from cgml.spec import NetworkConfig
from cgml.training.config import DataConfig, OptimiserConfig, TrainingConfig
from cgml.training.data import WindowModule
from cgml.training.fit import make_spec
from cgml.training.learner import Learner

BONDS = [[0, 1], [1, 2], [2, 3]]
MAPPING = replace(
    Mapping.from_labels(MolecularGraph.create("AAAA", np.ones(4), BONDS), range(4)),
    recipe=Recipe(1),
)
BEND = np.radians(110.0)


def places(angles: np.ndarray) -> np.ndarray:
    """Return chains of unit bonds with these dihedral angles, (n, 4, 3) nm."""
    frames = np.zeros((len(angles), 4, 3))
    frames[:, 0] = [np.sin(BEND), 0.0, np.cos(BEND)]
    frames[:, 2, 2] = 1.0
    around = np.sin(BEND) * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    frames[:, 3, :2], frames[:, 3, 2] = around, 1.0 - np.cos(BEND)
    return frames


def winding(seed: int, n: int = 300) -> BeadTrajectory:
    """Return a chain whose dihedral angle is about 60 degrees, with a memory."""
    stream, angles = np.random.default_rng(seed), np.zeros(n)
    for k in range(1, n):
        angles[k] = 0.5 * angles[k - 1] + 0.52 * stream.normal()
    noise = 0.05 * stream.normal(size=(n, 4, 3))
    frames = (places(np.radians(60.0) + angles) + noise).astype(np.float32)
    return BeadTrajectory(MAPPING, frames, np.arange(float(n)), name=str(seed))


def trained(*, chiral: bool, n_steps: int) -> Learner:
    """Train the dynamics network of a small model for a few seconds."""
    data = [winding(seed) for seed in range(6)]
    config = TrainingConfig(
        name="screw",
        output=Path("nowhere"),
        time_step=1.0,
        temperature=300.0,
        friction=1.0,
        data=DataConfig(train=["none"], split="time"),
        network=NetworkConfig(
            n_node=24,
            n_edge=24,
            n_vectors=8,
            chiral=chiral,
            n_predictor_layers=1,
            n_refiner_layers=1,
        ),
        optimiser=OptimiserConfig(n_steps=n_steps, n_molecules=6, n_windows=8),
    )
    spec = make_spec(config, data)
    windows = WindowModule(data, data, spec, config)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learner = Learner(spec, config, data)
    model = learner.model
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, n_steps)
    for step in range(n_steps):
        batch = windows._train[step]
        embedding = model.embedding(batch.atoms)[batch.embedding_rows]
        given = (batch.beads, batch.layout, embedding, batch.history)
        loss = gaussian_loss(model.predictor(*given), batch.target, batch.beads)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return learner


def expected_volume(learner: Learner, start: np.ndarray) -> float:
    """Signed volume that a model expects one step after a frame without a past."""
    system = build_system(MAPPING, learner.spec)
    here = torch.tensor(start - start.mean(axis=0)).float()
    layout = lay_out(
        PairSearch(system.beads, [4], None, None)(here), 4, is_periodic=False
    )
    unknown = History(here, torch.zeros(1, 4, 3), torch.zeros(1, 4, 1))
    with torch.no_grad():
        embedding = learner.model.embedding(system.atoms)
        found = learner.model.predictor(system.beads, layout, embedding, unknown)
    return float(signed_volumes(found.mean.numpy(), [[0, 1, 2, 3]])[1][0])


@pytest.mark.parametrize("chiral", [True, False])
def test_a_flat_chain_winds_where_a_model_can_tell_left_from_right(chiral):
    """Half way to 60 degrees in a step is 0.44; without `chiral` it must stay flat."""
    learner = trained(chiral=chiral, n_steps=250 if chiral else 2)
    volume = expected_volume(learner, places(np.zeros(1))[0])
    if chiral:
        assert volume > 0.1
    else:
        assert abs(volume) < 1e-5
