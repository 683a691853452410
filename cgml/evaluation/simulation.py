"""Move references by a model, all in one batch, and say what it cost."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cgml.dynamics.guards import EVERY, GuardError
from cgml.dynamics.propagator import Propagator, State
from cgml.evaluation.results import Cost, EvaluationOptions
from cgml.evaluation.subject import Run
from cgml.molecules.frames import BeadTrajectory, boxes_of
from cgml.molecules.united import as_known
from cgml.network.model import LearnedModel
from cgml.spec import BaseSpec, Execution, Refinement

MIN_STEPS = 20

Floats = NDArray[np.float64]


def count_steps(
    reference: BeadTrajectory, spec: BaseSpec, options: EvaluationOptions
) -> int:
    """Return the model steps that one reference asks for.

    Raises:
        ValueError: fewer than 20.
    """
    length = options.length
    if length is None:
        length = len(reference.times) * reference.time_step
    n_steps = round(length / spec.time_step)
    if n_steps < MIN_STEPS:
        raise ValueError(
            f"{MIN_STEPS} model steps of {spec.time_step:g} ps or more are required, "
            f"{length:g} ps for {reference.name!r} are {n_steps}: pass a longer time "
            "(--time)"
        )
    return n_steps


@dataclass(frozen=True, eq=False)
class Paths:
    """What a model did from the first frames of references.

    Attributes:
        runs: of each reference, all replicas that stayed finite; None: there is none.
        lost: the other replicas, of references that kept some.
        guard_counts: how often each guard tripped.
        cost: wall time.
    """

    runs: list[Run | None]
    lost: list[str]
    guard_counts: dict[str, int]
    cost: Cost


def simulate(
    model: LearnedModel,
    references: Sequence[BeadTrajectory],
    options: EvaluationOptions,
    on_step: Callable[[int], None] | None,
    *,
    refinement: Refinement | None = None,
    uses_atoms: bool = False,
) -> Paths:
    """Run all references and replicas in one batch; guards are recorded.

    Args:
        model: from `cgml.load_model`.
        references: where to start.
        options: length, replicas, seed.
        on_step: called with the number of model steps done.
        refinement: sampler other than the model's own.
        uses_atoms: also ask for the squared radius of gyration of all atoms, of
            systems of one molecule.
    """
    n_replicas, spec = options.n_replicas, model.spec
    n_steps = [count_steps(item, spec, options) for item in references]
    systems = [item for item in references for _ in range(n_replicas)]
    propagator = Propagator(
        model,
        [as_known(item.mapping, spec.particle_types) for item in systems],
        seed=options.seed,
        box=boxes_of(systems),
        guard="record",
        refinement=refinement,
        unseen=options.unseen,
        device=options.device,
        execution=Execution(precision=options.precision),
    )
    state = propagator.start(np.concatenate([item.positions[0] for item in systems]))
    positions = np.empty((max(n_steps), propagator.n_beads, 3), dtype=np.float32)
    rg2 = np.zeros((max(n_steps), len(systems)))
    grades: list[Floats] = []
    seconds = 0.0
    for step in range(max(n_steps)):
        begin = time.perf_counter()
        with suppress(GuardError):  # all have stopped
            state = propagator.step(state)
        positions[step] = state.positions.cpu().numpy()
        seconds += time.perf_counter() - begin
        if uses_atoms:
            rg2[step] = propagator.radius_of_gyration(state) ** 2
        grades += _worst(propagator, state, step)
        if on_step is not None:
            on_step(step + 1)
    for place, error in propagator.stopped.items():
        positions[error.trip.step - 1 :, propagator.slices[place]] = np.nan
    runs: list[Run | None] = []
    lost: list[str] = []
    for k, n in enumerate(n_steps):
        replicas = slice(k * n_replicas, (k + 1) * n_replicas)
        frames = np.stack([positions[:n, part] for part in propagator.slices[replicas]])
        good = np.isfinite(frames).all(axis=(1, 2, 3))
        size = rg2[:n, replicas].T[good] if uses_atoms else None
        unsure = _mean(grades[: -(-n // EVERY)], replicas, good)
        run = Run(frames[good], spec.time_step, size, unsure) if good.any() else None
        runs.append(run)
        if good.any():
            name, numbers = references[k].name, np.flatnonzero(~good).tolist()
            lost += [f"{name} (replica {number})" for number in numbers]
    cost = Cost(
        length=max(n_steps) * spec.time_step,
        n_paths=len(systems),
        n_threads=torch.get_num_threads(),
        seconds_per_ps=seconds / (max(n_steps) * spec.time_step),
        md_seconds_per_ps=options.md_seconds_per_ps,
    )
    return Paths(runs, lost, dict(propagator.guard_counts), cost)


def _mean(
    grades: list[Floats], replicas: slice, good: NDArray[np.bool_]
) -> Floats | None:
    """Mean grades of the replicas that are good, (n,); None: there are none."""
    return np.mean(grades, axis=0)[replicas][good] if grades else None


def _worst(propagator: Propagator, state: State, step: int) -> list[Floats]:
    """Grade of the worst molecule of each replica, (n_replicas,), now and then."""
    if propagator.spec.calibrated is None or step % EVERY:
        return []
    ends = np.cumsum(propagator.systems.n_molecules)[:-1]
    parts = np.split(propagator.grades(state.positions), ends)
    return [np.array([part.max() for part in parts])]
