"""Run a model beside its reference and judge it.

evaluation = evaluate(load_model("copolymer-chain"), references, EvaluationOptions())
report.write(evaluation, Path("evaluation"))
"""

from collections.abc import Callable, Mapping, Sequence

from cgml import memory
from cgml.evaluation import comparison, forecast
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.results import (
    Comparison,
    ComparisonOptions,
    Evaluation,
    EvaluationOptions,
    common_strides,
)
from cgml.evaluation.simulation import count_steps, simulate
from cgml.evaluation.subject import Run, Subject, describe
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.mapping import Mapping as BeadMapping
from cgml.molecules.united import as_known
from cgml.network.model import LearnedModel
from cgml.spec import BaseSpec, Refinement

MIN_FRAMES = 10  # of a half of a reference: figures look at tenths
_OF_A_PATH = 1000  # bytes of what is known of a path, at least


def evaluate(
    model: LearnedModel,
    references: Sequence[BeadTrajectory],
    options: EvaluationOptions,
    subjects: Sequence[Subject] | None = None,
    *,
    predictions: Sequence[Prediction] = (),
    ablate: bool | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run the model from the first frame of every reference and compare.

    Guards are recorded and do not stop the runs; a run whose positions became NaN or
    infinite is left out whole, and named.

    Args:
        model: from `cgml.load_model`.
        references: molecules or boxes, mapped as the model's.
        options: length, replicas, seed.
        subjects: what the references are, from `describe_references`; None: without
            charges, species named by formula.
        predictions: baselines for the same subjects, from `baselines.load`.
        ablate: also run without the score network; None: in boxes, where it can be.
        on_step: called with the number of model steps done; from 1 again in the runs
            without the score network.

    Raises:
        ValueError: references that cannot be compared with this model, baselines of
            other subjects, too few steps, or no run that stayed finite.
    """
    spec = model.spec
    check_references(spec, references)
    check_memory(spec, references, options)
    subjects = subjects or describe_references(spec, references)
    for item in predictions:
        item.take([subject.name for subject in subjects])
    uses_atoms = spec.has_property and all(
        "rg2" in item.observables for item in references
    )
    right = [Run.of(item, uses_atoms=uses_atoms) for item in references]
    cut = [run.pieces(2) for run in right]
    firsts, seconds = [one for one, _ in cut], [other for _, other in cut]
    comparing = ComparisonOptions(longest=options.longest_lag, step=spec.time_step)
    halves = _compare(subjects, firsts, seconds, comparing)  # what fails, fails at once
    can_ablate = spec.has_free_sampler
    if ablate and not can_ablate:
        raise ValueError(
            f"the sampler of the published model {spec.name!r} is fixed, it does not "
            "run without its score network: leave --ablation out"
        )
    paths = simulate(model, references, options, on_step, uses_atoms=uses_atoms)
    runs = forecast.added(model, references, paths.runs, options)
    comparisons = _compare(subjects, right, runs, comparing)
    kept = {item.subject.name for item in comparisons}
    if not comparisons:
        raise ValueError(
            "a run that stays finite is required, the positions of all subjects "
            f"became NaN or infinite: {', '.join(item.name for item in subjects)}"
        )
    ablation: list[Comparison] = []
    if spec.periodic and can_ablate if ablate is None else ablate:
        plain = Refinement(sampler="none")
        without = simulate(model, references, options, on_step, refinement=plain)
        ablation = _compare(subjects, right, without.runs, comparing)
    return Evaluation(
        spec=spec,
        options=options,
        rg2_source="atoms" if uses_atoms else "beads",
        comparisons=comparisons,
        failed=[item.name for item in subjects if item.name not in kept] + paths.lost,
        summary=comparison.summarise(comparisons, options.seed),
        floor=comparison.summarise(
            [item for item in halves if item.subject.name in kept], options.seed
        ),
        predictions=[
            item.take([c.subject.name for c in comparisons]) for item in predictions
        ],
        ablation=ablation,
        guard_counts=paths.guard_counts,
        cost=paths.cost,
    )


def describe_references(
    spec: BaseSpec,
    references: Sequence[BeadTrajectory],
    *,
    charges: Mapping[str, float] | None = None,
    names: Mapping[str, str] | None = None,
) -> list[Subject]:
    """Say what the references of a model are.

    Args:
        spec: of the model; gives the temperature.
        references: molecules or boxes.
        charges: particle type -> charge, e.
        names: formula or pattern -> name of a species, as for `subject.describe`.

    Raises:
        ValueError: charges of types that the model does not know, names of nothing.
    """
    unknown = sorted(set(charges or {}) - set(spec.particle_types))
    if unknown:
        raise ValueError(
            f"charges of particle types {', '.join(spec.particle_types)} are "
            f"required, got one of {', '.join(unknown)}"
        )
    return describe(
        references, charges=charges, names=names, temperature=spec.temperature
    )


def check_references(spec: BaseSpec, references: Sequence[BeadTrajectory]) -> None:
    """Refuse references that the model cannot be compared with.

    Raises:
        ValueError: no references, two of one name, other boundaries, few frames,
            several molecules without a box, or beads that the model does not know.
    """
    if not references:
        raise ValueError("at least one reference trajectory is required, got none")
    names = [item.name for item in references]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            "references with names of their own are required, several are called "
            f"{', '.join(twice)}"
        )
    for item in references:
        spec.check_boundaries(is_periodic=item.box is not None)
        stride, _ = common_strides(item.time_step, spec.time_step)
        n_frames = len(item.times) // 2 // stride
        if n_frames < MIN_FRAMES:
            raise ValueError(
                f"{2 * MIN_FRAMES} frames or more at multiples of the model's step of "
                f"{spec.time_step:g} ps are required of a reference, {item.name!r} has "
                f"{2 * n_frames}: give a longer one"
            )
        n_molecules = item.mapping.graph.n_molecules
        if item.box is None and n_molecules != 1:
            raise ValueError(
                "a reference of one molecule is required, "
                f"{item.name!r} has {n_molecules}"
            )
        if spec.partition == "given":
            continue
        known = as_known(item.mapping, spec.particle_types)
        wanted = BeadMapping.from_spec(known.graph, spec)
        if wanted.n_beads != item.mapping.n_beads:
            raise ValueError(
                f"model {spec.name!r} has {spec.atoms_per_bead:g} atoms in a bead, "
                f"{wanted.n_beads} beads for {item.name!r}, which has "
                f"{item.mapping.n_beads}: prepare the reference with the model's "
                "coarse-graining"
            )


def check_memory(
    spec: BaseSpec, references: Sequence[BeadTrajectory], options: EvaluationOptions
) -> None:
    """Refuse runs whose frames do not fit.

    Raises:
        ValueError: they need more memory than there is.
    """
    steps = max(count_steps(item, spec, options) for item in references)
    n_beads = sum(item.mapping.n_beads for item in references)
    memory.require(
        options.n_replicas * (12.0 * steps * n_beads + _OF_A_PATH * len(references)),
        f"{options.n_replicas} runs of {steps} steps from {len(references)} references",
        "ask for fewer replicas (n_replicas, --replicas) or a shorter time",
    )


def _compare(
    subjects: Sequence[Subject],
    right: Sequence[Run],
    runs: Sequence[Run | None],
    options: ComparisonOptions,
) -> list[Comparison]:
    """Compare every subject whose run stayed finite."""
    return [
        comparison.compare(subject, reference, learned, options)
        for subject, reference, learned in zip(subjects, right, runs, strict=True)
        if learned is not None
    ]
