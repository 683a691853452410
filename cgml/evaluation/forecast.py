"""Frames and what becomes of them in a few steps: by a model, or in a trajectory.

A Markov chain of the right one-step law has the right law of several steps, too
(Chapman and Kolmogorov); what a model leaves out, or does a little wrong each time,
shows in the second before it does in long runs.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cgml.dynamics.guards import GuardError
from cgml.dynamics.propagator import Propagator
from cgml.evaluation.results import EvaluationOptions
from cgml.evaluation.subject import Forecast, Run
from cgml.molecules.frames import BeadTrajectory, boxes_of
from cgml.molecules.seen import Unseen
from cgml.molecules.united import as_known
from cgml.network.model import LearnedModel

STEPS = (1, 4)
N_STARTS, LEAST_STARTS = 64, 10
ENOUGH_BEADS = 4096  # of all starts: large systems need fewer
MOST_BEADS = 8192  # that are moved together

Floats = NDArray[np.floating]


def _stride(spacing: float, time_step: float) -> int:
    """Frames in a step; 0: a step is no whole number of them."""
    stride = round(time_step / spacing)
    return stride if abs(stride * spacing - time_step) < 1e-3 * spacing else 0


def starts(n_frames: int, n_beads: int, stride: int) -> NDArray[np.int64]:
    """Choose frames with as many steps before them as behind, evenly; perhaps none."""
    margin = max(STEPS) * stride
    last = n_frames - 1 - margin
    if stride == 0 or last - margin < LEAST_STARTS:
        return np.zeros(0, dtype=np.int64)
    n = int(np.clip(ENOUGH_BEADS // n_beads, LEAST_STARTS, N_STARTS))
    return np.unique(np.linspace(margin, last, n).astype(np.int64))


def of_frames(positions: Floats, spacing: float, time_step: float) -> Forecast | None:
    """What became of frames in the trajectory itself.

    Args:
        positions: (n_frames, n_beads, 3) nm, unwrapped.
        spacing: of the frames, ps.
        time_step: of a step, ps.

    Returns:
        None where the trajectory is too short, or a step no multiple of the spacing.
    """
    stride = _stride(spacing, time_step)
    chosen = starts(len(positions), positions.shape[1], stride)
    if not len(chosen):
        return None
    return Forecast(
        positions[chosen], {n: positions[chosen + n * stride] for n in STEPS}
    )


def of_model(
    model: LearnedModel,
    reference: BeadTrajectory,
    *,
    seed: int = 0,
    unseen: Unseen = "refuse",
    device: str = "cpu",
) -> Forecast | None:
    """What a model makes of the same frames, their true history given.

    Args:
        model: from `cgml.load_model`.
        reference: trajectory that the frames are of.
        seed: of all noise.
        unseen: see Propagator.
        device: torch device.

    Returns:
        None where there are no such frames, the model asks for more history than four
        steps, or nothing stayed finite.
    """
    stride = _stride(reference.time_step, model.spec.time_step)
    chosen = starts(len(reference.positions), reference.mapping.n_beads, stride)
    if not len(chosen) or model.spec.n_history > max(STEPS):
        return None
    n_parts = -(-len(chosen) * reference.mapping.n_beads // MOST_BEADS)
    parts = []
    mapping = as_known(reference.mapping, model.spec.particle_types)
    for numbers in np.array_split(np.arange(len(chosen)), n_parts):
        propagator = Propagator(
            model,
            [mapping] * len(numbers),
            seed=seed,
            replica_ids=numbers.tolist(),
            box=boxes_of([reference] * len(numbers)),
            guard="record",
            unseen=unseen,
            device=device,
        )
        parts.append(_ahead(propagator, reference, chosen[numbers], stride))
    after = {n: np.concatenate([part[n] for part in parts]) for n in STEPS}
    good = np.isfinite(np.stack(list(after.values()))).all(axis=(0, 2, 3))
    if not good.any():
        return None
    kept = {n: every[good] for n, every in after.items()}
    return Forecast(reference.positions[chosen[good]], kept)


def _ahead(
    propagator: Propagator,
    reference: BeadTrajectory,
    chosen: NDArray[np.int64],
    stride: int,
) -> dict[int, Floats]:
    """Move some frames of a reference on; number of steps -> positions."""
    frames = reference.positions
    ages = range(propagator.spec.n_history + 1)
    past = [frames[chosen - age * stride].astype(np.float64) for age in ages]
    moves = [now - before for now, before in pairwise(past)]
    flat = np.reshape(moves, (len(moves), propagator.n_beads, 3))
    state = propagator.start(past[0].reshape(-1, 3), displacements=flat)
    found = {}
    for step in range(1, max(STEPS) + 1):
        with suppress(GuardError):  # all have stopped
            state = propagator.step(state)
        if step in STEPS:
            found[step] = state.positions.cpu().numpy().reshape(past[0].shape)
    return found


def added(
    model: LearnedModel,
    references: Sequence[BeadTrajectory],
    runs: Sequence[Run | None],
    options: EvaluationOptions,
) -> list[Run | None]:
    """Add to the runs of references what the model makes of their frames."""
    return [
        run
        and replace(
            run,
            forecast=of_model(
                model,
                item,
                seed=options.seed,
                unseen=options.unseen,
                device=options.device,
            ),
        )
        for run, item in zip(runs, references, strict=True)
    ]
