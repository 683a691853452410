"""Run a model beside reference boxes of several species and judge it.

evaluation = evaluate(load_model("polymer-electrolyte"), references, options, charges)
report.write(evaluation, Path("evaluation"))
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.evaluation import box_comparison as comparison
from cgml.evaluation.box_baselines import (
    Labelled,
    Prediction,
    fit_composition,
    fit_graph_network,
    fit_mean,
    log10_diffusivities,
    shift_by_others,
    short_runs,
)
from cgml.evaluation.box_comparison import Comparison, ComparisonOptions
from cgml.evaluation.boxes import BoxRun, Electrolyte
from cgml.evaluation.comparison import common_strides
from cgml.evaluation.evaluation import (
    Cost,
    EvaluationOptions,
    Paths,
    check_mappings,
    run,
)
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.network.model import LearnedModel
from cgml.observables.statistics import Estimate, as_json
from cgml.observables.transport import Window
from cgml.spec import BaseSpec, Refinement

Floats = NDArray[np.float64]
ABLATED = "without score network"


@dataclass(frozen=True, eq=False)
class BoxEvaluation:
    """All that an evaluation found.

    Attributes:
        spec: of the model.
        options: how it was run.
        comparisons: one for each box that stayed finite.
        failed: names of the boxes that did not.
        summary: figures over all boxes, `electrolyte_comparison.summarise`.
        floor: the same figures of the first half of each reference against its
            second: what sampling alone makes at half the length.
        predictions: the baselines.
        ablation: the same boxes moved by the predictor's Gaussian alone.
        guard_counts: how often each guard tripped.
        cost: wall time.
    """

    spec: BaseSpec
    options: EvaluationOptions
    comparisons: list[Comparison]
    failed: list[str]
    summary: dict[str, Estimate]
    floor: dict[str, Estimate]
    predictions: list[Prediction]
    ablation: list[Comparison]
    guard_counts: dict[str, int]
    cost: Cost

    def baseline_scores(self) -> dict[str, dict[str, Estimate]]:
        """Return column name -> figures: baselines and the ablation."""
        table = comparison.columns(self.comparisons)
        species = list(self.comparisons[0].electrolyte.groups)
        right = [table[f"log10_d_{name}_reference"] for name in species]
        scores = {
            item.name: item.scores(np.stack(right, axis=1)) for item in self.predictions
        }
        if self.ablation:
            generator = np.random.default_rng(self.options.seed)
            scores[ABLATED] = comparison.summarise(self.ablation, generator)
        return scores

    def as_json(self) -> dict[str, Any]:
        """Return all figures with their errors; NaN is null."""
        return {
            "format": 1,
            "model": self.spec.model_dump(mode="json"),
            "run": self.options.as_json(),
            "summary": as_json(self.summary),
            "reference_halves": as_json(self.floor),
            "baselines": {
                name: as_json(scores) for name, scores in self.baseline_scores().items()
            },
            "guard_trips": self.guard_counts,
            "failed": self.failed,
            "cost": self.cost.as_json(),
            "boxes": {
                item.electrolyte.name: as_json(item.figures)
                for item in self.comparisons
            },
        }


def describe(
    trajectory: BeadTrajectory,
    charges: Mapping[str, float],
    temperature: float | None = None,
) -> Electrolyte:
    """Say what is in a box.

    Molecules of one bead are a species by their particle types, named cation or anion
    where their charge says so and only one kind has it; all others are "polymer".

    Args:
        trajectory: bead frames in a box.
        charges: particle type -> charge, e; types that are missing have none.
        temperature: K; None: no conductivity.

    Raises:
        ValueError: open boundaries.
    """
    mapping = trajectory.mapping
    if trajectory.box is None:
        raise ValueError(
            f"a periodic box is required, {trajectory.name!r} has open boundaries"
        )
    graph, beads = mapping.graph, mapping.bead_index
    charge = np.zeros(mapping.n_beads)
    np.add.at(charge, beads, [charges.get(name, 0.0) for name in graph.types])
    n_in_molecule = np.bincount(mapping.molecule_index)[mapping.molecule_index]
    members: dict[str, list[int]] = {}
    kinds = _kinds(graph, beads)
    for bead in range(mapping.n_beads):
        name = kinds[bead] if n_in_molecule[bead] == 1 else "polymer"
        members.setdefault(name, []).append(bead)
    groups = {name: np.array(items) for name, items in members.items()}
    for word, sign in (("cation", 1.0), ("anion", -1.0)):
        names = [
            name
            for name, items in groups.items()
            if name != "polymer" and (sign * charge[items] > 0.0).all()
        ]
        if len(names) == 1:
            groups[word] = groups.pop(names[0])
    first = ("cation", "anion")
    names = sorted(groups, key=lambda name: first.index(name) if name in first else 2)
    pairs = [(one, other) for k, one in enumerate(names) for other in names[k:]]
    return Electrolyte(
        name=trajectory.name,
        box=trajectory.box,
        masses=mapping.bead_masses,
        molecules=mapping.molecule_index,
        bonds=mapping.bead_bonds,
        groups={name: groups[name] for name in names},
        chains=("polymer",) if "polymer" in groups else (),
        pairs=tuple(pair for pair in pairs if pair != ("polymer", "polymer")),
        charges=charge if charge.any() else None,
        temperature=temperature,
    )


def evaluate(
    model: LearnedModel,
    references: Sequence[BeadTrajectory],
    options: EvaluationOptions,
    charges: Mapping[str, float],
    *,
    predictions: Sequence[Prediction] = (),
    ablate: bool = True,
    on_step: Callable[[int], None] | None = None,
) -> BoxEvaluation:
    """Run the model from the first frame of every box and compare.

    Guards are recorded and do not stop the runs.

    Args:
        model: from `cgml.load_model`, trained in boxes.
        references: boxes, mapped as the model's.
        options: length, replicas, seed.
        charges: particle type -> charge, e.
        predictions: baselines for the same boxes, from `electrolyte_baselines.load`.
        ablate: also run without the score network.
        on_step: called with the number of model steps done.

    Raises:
        ValueError: references that cannot be compared with this model, baselines of
            other boxes, too few steps, or no run that stayed finite.
    """
    spec = model.spec
    check_mappings(spec, references)
    boxes = [describe(item, charges, spec.temperature) for item in references]
    chosen = [_select(item, boxes) for item in predictions]
    paths = run(model, references, options, on_step)
    comparisons, failed = _compare(boxes, references, paths, spec.time_step)
    if not comparisons:
        raise ValueError(
            "a run that stays finite is required, the positions of all boxes became "
            f"NaN or infinite: {', '.join(failed)}"
        )
    halves = []
    for box, item in zip(boxes, references, strict=True):
        one, other = _reference_run(item).pieces(2)
        halves.append(comparison.compare(box, one, other))
    ablation: list[Comparison] = []
    if ablate:
        plain = Refinement(sampler="none")
        without = run(model, references, options, None, refinement=plain)
        ablation, _ = _compare(boxes, references, without, spec.time_step)
    generator = np.random.default_rng(options.seed)
    kept = [k for k, box in enumerate(boxes) if box.name not in failed]
    return BoxEvaluation(
        spec=spec,
        options=options,
        comparisons=comparisons,
        failed=failed,
        summary=comparison.summarise(comparisons, generator),
        floor=comparison.summarise(halves, generator),
        predictions=[_take(item, kept) for item in chosen],
        ablation=ablation,
        guard_counts=paths.guard_counts,
        cost=paths.cost,
    )


def measure_baselines(
    train: Sequence[BeadTrajectory],
    validation: Sequence[BeadTrajectory],
    test: Sequence[BeadTrajectory],
    *,
    charges: Mapping[str, float],
    on_baseline: Callable[[str], None] = lambda name: None,
) -> list[Prediction]:
    """Predict log10 D of test boxes without a model of their dynamics.

    Fits of training boxes and of short pieces take lags from a tenth to three tenths
    of the length of a training run.

    Args:
        train: boxes to fit.
        validation: other boxes, for early stopping.
        test: boxes to predict.
        charges: particle type -> charge, e.
        on_baseline: called with the name of each baseline before it is fitted.
    """
    duration = min(len(item.times) * item.time_step for item in train)
    window = (0.1 * duration, 0.3 * duration)
    boxes = [(describe(item, charges), _reference_run(item)) for item in test]
    known, other, wanted = (
        label(items, charges, window) for items in (train, validation, test)
    )
    on_baseline("short MD")
    short = short_runs(boxes, duration, window)
    found = [short]
    if len(boxes) > 1:
        long = [
            comparison.compare(box, one, one, options=ComparisonOptions())
            for box, one in boxes
        ]
        table = comparison.columns(long)
        right = [table[f"log10_d_{name}_reference"] for name in boxes[0][0].groups]
        found.append(shift_by_others(short, np.stack(right, axis=1)))
    on_baseline("mean")
    found.append(fit_mean(known, wanted))
    on_baseline("composition")
    found.append(fit_composition(known, wanted))
    on_baseline("graph network")
    found.append(fit_graph_network(known, other, wanted))
    return found


def label(
    trajectories: Sequence[BeadTrajectory], charges: Mapping[str, float], window: Window
) -> Labelled:
    """Measure what baselines learn from.

    Args:
        trajectories: boxes.
        charges: particle type -> charge, e.
        window: first and last lag of the fits, ps.
    """
    boxes = [describe(item, charges) for item in trajectories]
    runs = [_reference_run(item) for item in trajectories]
    types = sorted({name for item in trajectories for name in item.mapping.graph.types})
    shares = [
        [np.mean([name == kind for name in item.mapping.graph.types]) for kind in types]
        for item in trajectories
    ]
    return Labelled(
        names=[box.name for box in boxes],
        species=list(boxes[0].groups),
        log10_d=np.array(
            [
                log10_diffusivities(box, one, window)
                for box, one in zip(boxes, runs, strict=True)
            ]
        ),
        composition=np.array(shares),
        graphs=[item.mapping.graph for item in trajectories],
    )


def _kinds(graph: MolecularGraph, beads: NDArray[np.int64]) -> list[str]:
    """Name every bead by its particle types, in order."""
    names: list[list[str]] = [[] for _ in range(int(beads.max()) + 1)]
    for name, bead in zip(graph.types, beads.tolist(), strict=True):
        names[bead].append(name)
    return ["".join(dict.fromkeys(items)) for items in names]


def _reference_run(trajectory: BeadTrajectory) -> BoxRun:
    return BoxRun(trajectory.positions[None], trajectory.time_step)


def _compare(
    boxes: Sequence[Electrolyte],
    references: Sequence[BeadTrajectory],
    paths: Paths,
    time_step: float,
) -> tuple[list[Comparison], list[str]]:
    """Compare every box; return the comparisons and the names of failed boxes."""
    found, failed = [], []
    for box, reference, frames in zip(boxes, references, paths.positions, strict=True):
        if not np.isfinite(frames).all():
            failed.append(box.name)
            continue
        found.append(
            comparison.compare(
                box,
                _reference_run(reference),
                BoxRun(frames, time_step),
                common_strides(reference.time_step, time_step),
            )
        )
    return found, failed


def _select(prediction: Prediction, boxes: Sequence[Electrolyte]) -> Prediction:
    """Put a baseline's boxes into the order of the references."""
    places = {name: place for place, name in enumerate(prediction.boxes)}
    missing = [box.name for box in boxes if box.name not in places]
    if missing or prediction.species != list(boxes[0].groups):
        raise ValueError(
            f"baseline {prediction.name!r} must know every box and species, it lacks "
            f"{', '.join(missing) or 'species'}: run `cgml baseline` with the same "
            "files and charges"
        )
    return _take(prediction, [places[box.name] for box in boxes])


def _take(prediction: Prediction, places: Sequence[int]) -> Prediction:
    """Keep some boxes of a baseline."""
    index = list(places)
    return Prediction(
        prediction.name,
        [prediction.boxes[k] for k in index],
        prediction.species,
        prediction.log10_d[:, index],
    )
