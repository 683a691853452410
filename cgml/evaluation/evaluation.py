"""Run a model beside its reference and judge it.

evaluation = evaluate(load_model("copolymer-chain"), references, EvaluationOptions())
report.write(evaluation, Path("evaluation"))
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cgml.dynamics.propagator import Propagator
from cgml.evaluation import comparison
from cgml.evaluation.baselines import Prediction, squared_radius
from cgml.evaluation.comparison import Comparison, Molecule, Run
from cgml.molecules.frames import BeadTrajectory, boxes_of
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel
from cgml.observables.chains import squared_radius_of_gyration
from cgml.observables.statistics import Estimate, as_json
from cgml.spec import BaseSpec, Refinement

MIN_STEPS = 20

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EvaluationOptions:
    """How the model is run.

    Attributes:
        length: simulated time of every run, ps; None: that of each reference.
        n_replicas: runs of every molecule, each with randomness of its own.
        seed: seed of the runs and of the bootstrap.
        device: of the networks, "cpu" or "cuda".
        md_seconds_per_ps: wall time of reference dynamics for 1 ps of all runs
            together (molecules times replicas), measured on this machine in this
            process, s/ps; None: not measured.

    Raises:
        ValueError: a number that makes no sense.
    """

    length: float | None = None
    n_replicas: int = 1
    seed: int = 0
    device: str = "cpu"
    md_seconds_per_ps: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.n_replicas < 1:
            raise ValueError(f"n_replicas must be 1 or more, got {self.n_replicas}")
        times = {"length": self.length, "md_seconds_per_ps": self.md_seconds_per_ps}
        for name, number in times.items():
            if number is not None and not (number > 0.0 and math.isfinite(number)):
                raise ValueError(f"{name} must be positive, got {number:g}")

    def as_json(self) -> dict[str, Any]:
        """Return what decides the runs."""
        content = asdict(self)
        del content["md_seconds_per_ps"]
        return content


@dataclass(frozen=True)
class Cost:
    """Wall time of the runs.

    Attributes:
        length: of the longest run, ps.
        n_paths: molecules times replicas, moved together.
        n_threads: CPU threads of torch.
        seconds_per_ps: model, s per ps of all paths together.
        md_seconds_per_ps: reference dynamics, likewise; None: not measured.
    """

    length: float
    n_paths: int
    n_threads: int
    seconds_per_ps: float
    md_seconds_per_ps: float | None

    @property
    def speedup(self) -> float | None:
        """How much faster than the reference; None where that was not measured."""
        if self.md_seconds_per_ps is None:
            return None
        return self.md_seconds_per_ps / self.seconds_per_ps

    def as_json(self) -> dict[str, float | None]:
        """Return all numbers."""
        return asdict(self) | {"speedup": self.speedup}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that an evaluation found.

    Attributes:
        spec: of the model.
        options: how it was run.
        rg2_source: what the squared radius of gyration was taken from, on both
            sides: all "atoms" (property head), or the "beads".
        comparisons: one for each molecule that stayed finite.
        failed: names of the molecules that did not.
        summary: figures over all molecules, `comparison.summarise`.
        floor: the same figures of the first half of each reference against its
            second: what sampling alone makes at half the length.
        predictions: the baselines.
        guard_counts: how often each guard tripped.
        cost: wall time.
    """

    spec: BaseSpec
    options: EvaluationOptions
    rg2_source: Literal["atoms", "beads"]
    comparisons: list[Comparison]
    failed: list[str]
    summary: dict[str, Estimate]
    floor: dict[str, Estimate]
    predictions: list[Prediction]
    guard_counts: dict[str, int]
    cost: Cost

    def baseline_scores(self) -> dict[str, dict[str, Estimate]]:
        """Return baseline name -> figures, against the reference of this evaluation."""
        table = comparison.columns(self.comparisons)
        return {
            item.name: item.scores(
                table["rg2_reference"], table["tau_reference_own_spacing"]
            )
            for item in self.predictions
        }

    def as_json(self) -> dict[str, Any]:
        """Return all figures with their errors; NaN is null."""
        return {
            "format": 1,
            "model": self.spec.model_dump(mode="json"),
            "run": self.options.as_json() | {"rg2_source": self.rg2_source},
            "summary": as_json(self.summary),
            "reference_halves": as_json(self.floor),
            "baselines": {
                name: as_json(scores) for name, scores in self.baseline_scores().items()
            },
            "guard_trips": self.guard_counts,
            "failed": self.failed,
            "cost": self.cost.as_json(),
            "molecules": {
                item.molecule.name: as_json(item.figures) for item in self.comparisons
            },
        }


def evaluate(
    model: LearnedModel,
    references: Sequence[BeadTrajectory],
    options: EvaluationOptions,
    *,
    predictions: Sequence[Prediction] = (),
    on_step: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run the model from the first frame of every reference and compare.

    Guards are recorded and do not stop the runs.

    Args:
        model: from `cgml.load_model`.
        references: one molecule each, mapped as the model's.
        options: length, replicas, seed.
        predictions: baselines for the same molecules, from `baselines.load`.
        on_step: called with the number of model steps done.

    Raises:
        ValueError: references that cannot be compared with this model, baselines of
            other molecules, too few steps, or no run that stayed finite.
    """
    _check(model.spec, references)
    chosen = [_select(item, references) for item in predictions]
    uses_atoms = model.spec.has_property and all(
        "rg2" in item.observables for item in references
    )
    paths = run(model, references, options, on_step)
    comparisons, halves, failed, kept = [], [], [], []
    for place, reference in enumerate(references):
        frames, learned_rg2 = paths.positions[place], paths.rg2[place]
        if not np.isfinite(frames).all():
            failed.append(reference.name)
            continue
        molecule = _molecule(reference)
        if not uses_atoms:
            learned_rg2 = squared_radius_of_gyration(frames, molecule.masses)
        right = _reference_run(reference, uses_atoms=uses_atoms)
        learned = Run(frames, learned_rg2, model.spec.time_step)
        comparisons.append(comparison.compare(molecule, right, learned))
        halves.append(comparison.compare(molecule, *right.halves()))
        kept.append(place)
    if not comparisons:
        raise ValueError(
            "a run that stays finite is required, the positions of all molecules "
            f"became NaN or infinite: {', '.join(failed)}"
        )
    return Evaluation(
        spec=model.spec,
        options=options,
        rg2_source="atoms" if uses_atoms else "beads",
        comparisons=comparisons,
        failed=failed,
        summary=comparison.summarise(comparisons, np.random.default_rng(options.seed)),
        floor=comparison.summarise(halves, np.random.default_rng(options.seed)),
        predictions=[_take(item, kept) for item in chosen],
        guard_counts=paths.guard_counts,
        cost=paths.cost,
    )


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
            f"{length:g} ps for {reference.name!r} are {n_steps}: pass a longer length"
        )
    return n_steps


@dataclass(frozen=True, eq=False)
class Paths:
    """What a model did from the first frames of references.

    Attributes:
        positions: of each reference, (n_replicas, n_steps, n_beads, 3) nm.
        rg2: of each reference, (n_replicas, n_steps) nm^2, from the property head;
            zero without one.
        guard_counts: how often each guard tripped.
        cost: wall time.
    """

    positions: list[NDArray[np.float32]]
    rg2: list[Floats]
    guard_counts: dict[str, int]
    cost: Cost


def run(
    model: LearnedModel,
    references: Sequence[BeadTrajectory],
    options: EvaluationOptions,
    on_step: Callable[[int], None] | None,
    *,
    refinement: Refinement | None = None,
) -> Paths:
    """Run all references and replicas in one batch; guards are recorded.

    Args:
        model: from `cgml.load_model`.
        references: where to start.
        options: length, replicas, seed.
        on_step: called with the number of model steps done.
        refinement: sampler other than the model's own.
    """
    n_replicas, spec = options.n_replicas, model.spec
    n_steps = [count_steps(item, spec, options) for item in references]
    systems = [item for item in references for _ in range(n_replicas)]
    propagator = Propagator(
        model,
        [item.mapping for item in systems],
        seed=options.seed,
        box=boxes_of(systems),
        guard="record",
        refinement=refinement,
        device=options.device,
    )
    state = propagator.start(np.concatenate([item.positions[0] for item in systems]))
    positions = np.empty((max(n_steps), propagator.n_beads, 3), dtype=np.float32)
    rg2 = np.zeros((max(n_steps), len(systems)))
    seconds = 0.0
    for step in range(max(n_steps)):
        begin = time.perf_counter()
        state = propagator.step(state)
        positions[step] = state.positions.cpu().numpy()
        seconds += time.perf_counter() - begin
        if spec.has_property:
            rg2[step] = propagator.radius_of_gyration(state) ** 2
        if on_step is not None:
            on_step(step + 1)
    paths = [positions[:, part] for part in propagator.slices]
    groups = [
        slice(k * n_replicas, (k + 1) * n_replicas) for k in range(len(references))
    ]
    return Paths(
        [
            np.stack(paths[group])[:, :n]
            for group, n in zip(groups, n_steps, strict=True)
        ],
        [rg2[:n, group].T for group, n in zip(groups, n_steps, strict=True)],
        dict(propagator.guard_counts),
        Cost(
            length=max(n_steps) * spec.time_step,
            n_paths=len(systems),
            n_threads=torch.get_num_threads(),
            seconds_per_ps=seconds / (max(n_steps) * spec.time_step),
            md_seconds_per_ps=options.md_seconds_per_ps,
        ),
    )


def check_mappings(spec: BaseSpec, references: Sequence[BeadTrajectory]) -> None:
    """Refuse references that the model cannot be compared with.

    Raises:
        ValueError: no references, other boundaries, or beads that the model does not
            know.
    """
    if not references:
        raise ValueError("at least one reference trajectory is required, got none")
    for item in references:
        spec.check_boundaries(is_periodic=item.box is not None)
        if spec.partition == "given":
            continue
        wanted = Mapping.from_spec(item.mapping.graph, spec)
        if wanted.n_beads != item.mapping.n_beads:
            raise ValueError(
                f"model {spec.name!r} has {spec.atoms_per_bead:g} atoms in a bead, "
                f"{wanted.n_beads} beads for {item.name!r}, which has "
                f"{item.mapping.n_beads}: prepare the reference with the model's "
                "coarse-graining"
            )
        comparison.common_strides(item.time_step, spec.time_step)


def _check(spec: BaseSpec, references: Sequence[BeadTrajectory]) -> None:
    """Refuse references of several molecules, too."""
    check_mappings(spec, references)
    for item in references:
        n_molecules = item.mapping.graph.n_molecules
        if n_molecules != 1:
            raise ValueError(
                "a reference of one molecule is required, "
                f"{item.name!r} has {n_molecules}"
            )


def _molecule(reference: BeadTrajectory) -> Molecule:
    mapping = reference.mapping
    return Molecule(reference.name, mapping.bead_masses, mapping.bead_bonds)


def _reference_run(reference: BeadTrajectory, *, uses_atoms: bool) -> Run:
    """Reference frames as one run."""
    beads = reference.mapping.bead_masses
    rg2 = (
        squared_radius(reference)
        if uses_atoms
        else squared_radius_of_gyration(reference.positions, beads)
    )
    return Run(reference.positions[None], rg2[None], reference.time_step)


def _select(prediction: Prediction, references: Sequence[BeadTrajectory]) -> Prediction:
    """Put a baseline's molecules into the order of the references."""
    places = {name: place for place, name in enumerate(prediction.molecules)}
    missing = [item.name for item in references if item.name not in places]
    if missing:
        raise ValueError(
            f"baseline {prediction.name!r} must know every molecule, it lacks "
            f"{', '.join(missing)}: run `cgml baseline` with the same files"
        )
    return _take(prediction, [places[item.name] for item in references])


def _take(prediction: Prediction, places: Sequence[int]) -> Prediction:
    """Keep some molecules of a baseline."""
    index = list(places)
    return Prediction(
        prediction.name,
        [prediction.molecules[k] for k in index],
        prediction.rg2[:, index],
        prediction.tau[:, index],
    )
