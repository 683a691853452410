"""What can be said of a molecule or a box without a model of its dynamics.

Every baseline predicts the targets of the measures: the mean squared radius of
gyration of a molecule and its relaxation time, or the diffusivity of each species of a
box. The regressions are functions of one kind (`Regression`) of what the training
subjects showed, from their atoms and bonds alone; the others are short pieces of
reference dynamics, as they are or shifted by one constant.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cgml.evaluation import measures, regression
from cgml.evaluation.measure import Measure, Target
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.regression import GraphNetwork, NetworkOptions, SequenceNetwork
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject, describe
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph

MIN_FRAMES = 10
"""Frames in a short run."""

SMALLEST = 1e-3
"""Least prediction of a target that is positive, in its unit."""

Floats = NDArray[np.float64]
Case = tuple[Subject, Run]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Subjects with what is to be predicted of them.

    Attributes:
        graphs: atoms and bonds, (n_subjects,). Networks average over atoms, so that
            of a box that repeats one unit may be the unit alone.
        targets: (n_subjects, n_targets).
        is_positive: targets of which networks learn the logarithm, (n_targets,).
    """

    graphs: list[MolecularGraph]
    targets: Floats
    is_positive: NDArray[np.bool_]


Regression = Callable[[Labelled, Labelled, Sequence[MolecularGraph]], Floats]
"""(train, validation, graphs to predict) -> (n_graphs, n_targets)."""


@dataclass(frozen=True)
class Quantity:
    """A target of one part: a column of `Labelled`."""

    measure: Measure
    target: Target
    part: str

    @property
    def name(self) -> str:
        """In files and reports."""
        return self.target.name.format(self.part)

    def read(self, case: Case, duration: float) -> float:
        """Return the target from frames, in lags that a short run can serve."""
        return self.target.read(*case, duration, self.part)

    def truth(self, case: Case) -> float:
        """Return the target as the comparison of a long run has it."""
        subject, run = case
        figures = self.measure.compute(Comparison(subject, run, run))
        value = figures[self.target.reference.format(self.part)].value
        return float(np.log10(value)) if self.target.is_log10 else value


def quantities(subjects: Sequence[Subject]) -> list[Quantity]:
    """Return all that can be predicted of subjects.

    Raises:
        ValueError: it is not the same for all of them, or nothing.
    """
    found = [
        [
            Quantity(measure, target, part)
            for measure in measures.table()
            for part in measure.parts(subject)
            for target in measure.targets
        ]
        for subject in subjects
    ]
    names = [[item.name for item in some] for some in found]
    for subject, own in zip(subjects, names, strict=True):
        if set(own) != set(names[0]) or not own:
            raise ValueError(
                "molecules or boxes with the same numbers to predict are required, "
                f"{subject.name!r} has {', '.join(own) or 'none'}, "
                f"{subjects[0].name!r} {', '.join(names[0]) or 'none'}: give "
                "corresponding species one name, as in --species 'A*B*=polymer'"
            )
    return found[0]


def label(
    cases: Sequence[Case], wanted: Sequence[Quantity], duration: float
) -> Labelled:
    """Measure the targets.

    Args:
        cases: subjects and their frames.
        wanted: targets.
        duration: length of a training run, ps.
    """
    table = [[item.read(case, duration) for item in wanted] for case in cases]
    graphs = [subject.mapping.graph for subject, _ in cases]
    is_positive = np.array([item.target.is_positive for item in wanted])
    return Labelled(graphs, np.array(table, dtype=np.float64), is_positive)


def fit_mean(
    train: Labelled, validation: Labelled, graphs: Sequence[MolecularGraph]
) -> Floats:
    """Predict the mean of the training subjects."""
    del validation
    return np.tile(train.targets.mean(axis=0), (len(graphs), 1))


def fit_composition(
    train: Labelled,
    validation: Labelled,
    graphs: Sequence[MolecularGraph],
    *,
    charges: Mapping[str, float] | None = None,
) -> Floats:
    """Predict from the composition by least squares.

    Args:
        train: subjects to fit.
        validation: not used.
        graphs: subjects to predict.
        charges: particle type -> charge, e, of the charged ones. None: linear in the
            fractions. Else quadratic: the fractions, the squares of the fractions of
            neutral types, and the square of the net charge per atom; with no charged
            types that is every square.

    Returns:
        (n_graphs, n_targets).
    """
    del validation
    names = sorted({name for graph in train.graphs for name in graph.types})
    design, wanted = (
        _composition(some, names, charges) for some in (train.graphs, graphs)
    )
    coefficients = np.linalg.lstsq(design, train.targets, rcond=None)[0]
    return np.asarray(wanted @ coefficients)


def fit_network(
    kind: type[GraphNetwork] | type[SequenceNetwork],
    options: NetworkOptions,
    train: Labelled,
    validation: Labelled,
    graphs: Sequence[MolecularGraph],
) -> Floats:
    """Train networks of a kind and predict; sizes are learned as logarithms."""
    sizes, data = train.is_positive, []
    for some in (train, validation):
        table = some.targets.copy()
        table[:, sizes] = np.log10(table[:, sizes])
        data.append((some.graphs, table))
    result = regression.fit(kind, data[0], data[1], graphs, options)
    result[:, sizes] = 10.0 ** result[:, sizes]
    return result


def short_runs(
    cases: Sequence[Case], wanted: Sequence[Quantity], duration: float
) -> Prediction:
    """Take pieces of reference dynamics as long as a training run, as they are.

    Args:
        cases: the test subjects, their references of one length.
        wanted: targets.
        duration: length of a piece, ps.

    Returns:
        One draw for each piece of the reference, the first piece first.

    Raises:
        ValueError: the reference is shorter than a piece, or a piece has fewer than
            10 frames.
    """
    tables = []
    for subject, run in cases:
        n_frames = round(duration / run.time_step)
        if not MIN_FRAMES <= n_frames <= run.n_frames:
            raise ValueError(
                f"MD as long as a training run, {duration:g} ps, is among what a model "
                f"has to beat, so {MIN_FRAMES} frames or more of that length are "
                f"required of each reference; {duration:g} ps of {subject.name!r} are "
                f"{n_frames} frames, it has {run.n_frames}: give longer references, or "
                "others to train on"
            )
        n_pieces = run.n_frames // n_frames
        pieces = run.first(n_pieces * n_frames).pieces(n_pieces)
        tables.append(
            [[q.read((subject, piece), duration) for q in wanted] for piece in pieces]
        )
    n_draws = min(len(table) for table in tables)
    draws = np.array([table[:n_draws] for table in tables])  # (subject, draw, target)
    return _prediction(
        f"short MD, {duration:g} ps", cases, wanted, draws.transpose(1, 0, 2)
    )


def shift_by_others(
    prediction: Prediction, right: Mapping[str, Floats], targets: Mapping[str, Target]
) -> Prediction:
    """Move the targets of each subject by the mean error of all other subjects.

    For want of long training runs: each is judged by a constant it had no part in.
    Positive targets are moved by a factor.

    Args:
        prediction: short runs.
        right: targets of the long runs, name -> (n_subjects,).
        targets: name -> target.

    Raises:
        ValueError: a single subject.
    """
    n = len(prediction.subjects)
    if n < 2:
        raise ValueError(f"two subjects or more are required to shift, got {n}")
    moved = {}
    for name, draws in prediction.values.items():
        known, wanted = draws, right[name]
        if targets[name].is_positive:
            known, wanted = np.log10(draws), np.log10(wanted)
        error = wanted - known.mean(axis=0)  # (n_subjects,)
        shifted = known + (error.sum() - error) / (n - 1)
        moved[name] = 10.0**shifted if targets[name].is_positive else shifted
    return Prediction(f"{prediction.name}, shifted", prediction.subjects, moved)


def measure(
    train: Sequence[BeadTrajectory],
    validation: Sequence[BeadTrajectory],
    test: Sequence[BeadTrajectory],
    *,
    charges: Mapping[str, float] | None = None,
    names: Mapping[str, str] | None = None,
    options: NetworkOptions | None = None,
    on_baseline: Callable[[str], None] | None = None,
) -> list[Prediction]:
    """Train every baseline and predict the test subjects.

    Args:
        train: trajectories of the training subjects, one length.
        validation: others, for early stopping.
        test: others again; only the short runs look at their frames.
        charges: particle type -> charge, e.
        names: formula or pattern -> name of a species, as for `subject.describe`.
        options: of the two networks.
        on_baseline: called with the name of each baseline before it starts.

    Returns:
        Mean, composition (linear, quadratic), graph network, sequence network for
        unbranched chains, short runs of the length of a training run, and, of two
        subjects or more, those shifted.
    """
    tell = on_baseline or (lambda name: None)
    everything = [*train, *validation, *test]
    subjects = describe(everything, charges=charges, names=names)
    wanted = quantities(subjects)
    cases = [
        (subject, Run.of(item))
        for subject, item in zip(subjects, everything, strict=True)
    ]
    n_train, n_known = len(train), len(train) + len(validation)
    stop, asked = cases[n_train:n_known], cases[n_known:]
    duration = min(run.duration for _, run in cases[:n_train])
    labels = [label(some, wanted, duration) for some in (cases[:n_train], stop)]
    graphs = [subject.mapping.graph for subject, _ in asked]
    settings = options or NetworkOptions()
    fits: dict[str, Regression] = {
        "mean": fit_mean,
        "composition, linear": fit_composition,
        "composition, quadratic": partial(fit_composition, charges=charges or {}),
        "graph network": partial(fit_network, GraphNetwork, settings),
    }
    if all(regression.is_chain(subject.mapping.graph) for subject in subjects):
        fits["sequence network (LSTM)"] = partial(
            fit_network, SequenceNetwork, settings
        )
    predictions = []
    for name, fit in fits.items():
        tell(name)
        draws = fit(labels[0], labels[1], graphs)[None]
        predictions.append(_prediction(name, asked, wanted, draws))
    tell("short MD")
    short = short_runs(asked, wanted, duration)
    predictions.append(short)
    if len(asked) > 1:
        right = {q.name: np.array([q.truth(case) for case in asked]) for q in wanted}
        targets = {q.name: q.target for q in wanted}
        predictions.append(shift_by_others(short, right, targets))
    return predictions


def _prediction(
    name: str, cases: Sequence[Case], wanted: Sequence[Quantity], draws: Floats
) -> Prediction:
    """Name the columns of (n_draws, n_subjects, n_targets)."""
    values = {}
    for k, item in enumerate(wanted):
        column = draws[:, :, k]
        values[item.name] = (
            np.maximum(column, SMALLEST) if item.target.is_positive else column
        )
    return Prediction(name, [subject.name for subject, _ in cases], values)


def _composition(
    graphs: Sequence[MolecularGraph],
    names: Sequence[str],
    charges: Mapping[str, float] | None,
) -> Floats:
    """Return the design matrix, (n_graphs, n_terms)."""
    counts = np.array([[item.types.count(name) for name in names] for item in graphs])
    fractions = counts / counts.sum(axis=1, keepdims=True)
    if charges is None:
        return np.asarray(fractions)
    neutral = [k for k, name in enumerate(names) if not charges.get(name)]
    net = fractions @ np.array([charges.get(name, 0.0) for name in names])
    squares = fractions[:, neutral] ** 2
    if len(neutral) == len(names):
        return np.column_stack((fractions, squares))
    return np.column_stack((fractions, squares, net**2))
