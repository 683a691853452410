"""What can be said of a molecule without simulating it with a model.

Every baseline predicts the mean squared radius of gyration and its relaxation time,
from the bond graph and what the training molecules showed, or from a short run of
molecular dynamics. The regressions are functions of one kind (`Regression`), trained
on the same molecules as the model; the validation molecules only stop them early.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgml.evaluation.regression import (
    NetworkOptions,
    fit_graph_network,
    fit_sequence_network,
)
from cgml.files import replacing
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.observables import chains as observables
from cgml.observables import statistics
from cgml.observables.statistics import (
    Estimate,
    log10_error,
    median_factor,
    r_squared,
    relative_error,
    spearman,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Molecules with what is to be predicted of them.

    Attributes:
        graphs: (n_molecules,).
        targets: mean squared radius of gyration, nm^2, and decimal logarithm of its
            integrated relaxation time in ps, (n_molecules, 2).
    """

    graphs: list[MolecularGraph]
    targets: Floats


Regression = Callable[[Labelled, Labelled, Sequence[MolecularGraph]], Floats]
"""(train, validation, graphs to predict) -> (n_graphs, 2), columns as in Labelled."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one baseline says of the test molecules.

    Attributes:
        name: of the baseline.
        molecules: names of the test molecules, (n_molecules,).
        rg2: mean squared radius of gyration, (n_draws, n_molecules) nm^2; more than
            one draw where the baseline is a matter of chance (short runs).
        tau: integrated relaxation time, (n_draws, n_molecules) ps.
    """

    name: str
    molecules: list[str]
    rg2: Floats
    tau: Floats

    def scores(self, rg2: Floats, tau: Floats) -> dict[str, Estimate]:
        """Score the prediction, draws averaged.

        Args:
            rg2: reference, (n_molecules,) nm^2.
            tau: reference, (n_molecules,) ps.

        Returns:
            The figures of `comparison.summarise` that a baseline has, with the
            standard error over draws (NaN for a single one).
        """
        figures = {
            "rg2_relative_error": (relative_error, rg2, self.rg2),
            "rg2_r2": (r_squared, rg2, self.rg2),
            "tau_log10_error": (log10_error, tau, self.tau),
            "tau_factor_median": (median_factor, tau, self.tau),
            "tau_spearman": (spearman, tau, self.tau),
        }
        return {
            name: _over_draws(np.array([score(right, draw) for draw in draws]))
            for name, (score, right, draws) in figures.items()
        }


def label(trajectories: Sequence[BeadTrajectory]) -> Labelled:
    """Measure the targets of each trajectory.

    Args:
        trajectories: one molecule each; observable "rg2" where there is one, else
            the beads.
    """
    targets = []
    for item in trajectories:
        series = squared_radius(item)
        frames = statistics.integrated_time(series).value
        targets.append([series.mean(), np.log10(frames * item.time_step)])
    graphs = [item.mapping.graph for item in trajectories]
    return Labelled(graphs, np.array(targets, dtype=np.float64).reshape(-1, 2))


def squared_radius(trajectory: BeadTrajectory) -> Floats:
    """Return the squared radius of gyration of all atoms, else of the beads, nm^2."""
    if "rg2" in trajectory.observables:
        return np.asarray(trajectory.observables["rg2"], dtype=np.float64)
    return observables.squared_radius_of_gyration(
        trajectory.positions, trajectory.mapping.bead_masses
    )


def fit_mean(
    train: Labelled, validation: Labelled, graphs: Sequence[MolecularGraph]
) -> Floats:
    """Predict the mean of the training molecules."""
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
        train: molecules to fit.
        validation: not used.
        graphs: molecules to predict.
        charges: particle type -> charge, e, of the charged ones. None: linear in the
            fractions. Else quadratic: the fractions, the squares of the fractions of
            neutral types, and the square of the net charge per atom; with no charged
            types that is every square.

    Returns:
        (n_graphs, 2).
    """
    del validation
    names = sorted({name for graph in train.graphs for name in graph.types})
    design, wanted = (
        _composition(molecules, names, charges) for molecules in (train.graphs, graphs)
    )
    coefficients = np.linalg.lstsq(design, train.targets, rcond=None)[0]
    return np.asarray(wanted @ coefficients)


def short_runs(trajectories: Sequence[BeadTrajectory], duration: float) -> Prediction:
    """Take pieces of reference dynamics as long as a training run, as they are.

    Args:
        trajectories: the test molecules, all of one length.
        duration: length of a piece, ps.

    Returns:
        One draw for each piece of the reference, the first piece first.

    Raises:
        ValueError: the reference is shorter than a piece, or a piece has fewer than
            10 frames.
    """
    pieces = []
    for item in trajectories:
        n_frames = round(duration / item.time_step)
        series = squared_radius(item)
        if not 10 <= n_frames <= len(series):
            raise ValueError(
                f"a short run needs 10 frames or more and at most the "
                f"{len(series)} of {item.name!r}, {duration:g} ps are {n_frames}"
            )
        n_pieces = len(series) // n_frames
        pieces.append(
            [
                (piece.mean(), statistics.integrated_time(piece).value * item.time_step)
                for piece in np.split(series[: n_pieces * n_frames], n_pieces)
            ]
        )
    n_draws = min(len(piece) for piece in pieces)
    table = np.array([piece[:n_draws] for piece in pieces])  # (molecules, draws, 2)
    return Prediction(
        f"short MD, {duration:g} ps",
        [item.name for item in trajectories],
        table[:, :, 0].T,
        table[:, :, 1].T,
    )


def measure(
    train: Sequence[BeadTrajectory],
    validation: Sequence[BeadTrajectory],
    test: Sequence[BeadTrajectory],
    *,
    charges: Mapping[str, float] | None = None,
    options: NetworkOptions | None = None,
    on_baseline: Callable[[str], None] | None = None,
) -> list[Prediction]:
    """Train every baseline and predict the test molecules.

    Args:
        train: trajectories of the training molecules, one length.
        validation: other molecules, for early stopping.
        test: other molecules again; only the short runs look at their frames.
        charges: particle type -> charge, e.
        options: of the two networks.
        on_baseline: called with the name of each baseline before it starts.

    Returns:
        Mean, composition (linear, quadratic), graph network, sequence network, and
        short runs of the length of a training run.
    """
    known, stop = label(train), label(validation)
    settings = options or NetworkOptions()
    regressions: dict[str, Regression] = {
        "mean": fit_mean,
        "composition, linear": fit_composition,
        "composition, quadratic": partial(fit_composition, charges=charges or {}),
        "graph network": partial(_network, fit_graph_network, settings),
        "sequence network (LSTM)": partial(_network, fit_sequence_network, settings),
    }
    predictions = []
    for name, regression in regressions.items():
        if on_baseline is not None:
            on_baseline(name)
        values = regression(known, stop, [item.mapping.graph for item in test])
        predictions.append(
            Prediction(
                name,
                [item.name for item in test],
                np.maximum(values[None, :, 0], 1e-3),  # a square is positive
                10.0 ** values[None, :, 1],
            )
        )
    duration = len(train[0].times) * train[0].time_step
    return [*predictions, short_runs(test, duration)]


def save(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions as JSON, for `cgml evaluate --baselines`."""
    content = [
        {
            "name": item.name,
            "molecules": item.molecules,
            "rg2": item.rg2.tolist(),
            "tau": item.tau.tolist(),
        }
        for item in predictions
    ]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"baselines": content}), encoding="utf-8")


def load(path: Path) -> list[Prediction]:
    """Read what `save` wrote.

    Raises:
        ValueError: the file is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["baselines"]
        return [
            Prediction(
                item["name"],
                item["molecules"],
                np.array(item["rg2"], dtype=np.float64),
                np.array(item["tau"], dtype=np.float64),
            )
            for item in content
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"a file written by `cgml baseline` is required, {path} is not: {error}"
        ) from error


def _network(
    fit: Callable[..., Floats],
    options: NetworkOptions,
    train: Labelled,
    validation: Labelled,
    graphs: Sequence[MolecularGraph],
) -> Floats:
    """Give a network the shape of a regression; sizes are learned as logarithms."""
    logarithms = [
        np.column_stack((np.log10(some.targets[:, 0]), some.targets[:, 1]))
        for some in (train, validation)
    ]
    result = fit(
        (train.graphs, logarithms[0]),
        (validation.graphs, logarithms[1]),
        graphs,
        options,
    )
    return np.column_stack((10.0 ** result[:, 0], result[:, 1]))


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


def _over_draws(values: Floats) -> Estimate:
    n = len(values)
    error = values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return Estimate(float(values.mean()), float(error))
