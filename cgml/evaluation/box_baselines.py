"""What can be said of the diffusivities of a box without a model of its dynamics.

Every baseline predicts log10 D of each species: from a short piece of reference
dynamics, as it is or shifted by one constant, or from what the training boxes showed,
with the composition, or with the graph of the box, or with nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import PolynomialFeatures

from cgml.evaluation import regression
from cgml.evaluation.boxes import BoxRun, Electrolyte, displacements
from cgml.evaluation.regression import NetworkOptions
from cgml.files import replacing
from cgml.molecules.graph import MolecularGraph
from cgml.observables import transport
from cgml.observables.statistics import Estimate, log10_error
from cgml.observables.transport import Window

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Boxes with what is to be predicted of them.

    Attributes:
        names: of the boxes, (n_boxes,).
        species: (n_species,).
        log10_d: D in nm^2/ps, (n_boxes, n_species).
        composition: what the fit knows of a box, (n_boxes, n_variables), any unit.
        graphs: atoms and bonds of each box, (n_boxes,); none where no network asks.
            The network averages over atoms, so that of a box that repeats one unit
            (a chain and its ions) may be the unit alone.
    """

    names: list[str]
    species: list[str]
    log10_d: Floats
    composition: Floats
    graphs: list[MolecularGraph] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one baseline says of the test boxes.

    Attributes:
        name: of the baseline.
        boxes: names of the test boxes, (n_boxes,).
        species: (n_species,).
        log10_d: (n_draws, n_boxes, n_species); more than one draw where the baseline
            is a matter of chance (short runs).
    """

    name: str
    boxes: list[str]
    species: list[str]
    log10_d: Floats

    def of(self, species: str) -> Floats:
        """Return the first draw of one species, (n_boxes,)."""
        return np.asarray(self.log10_d[0, :, self.species.index(species)])

    def scores(self, log10_d: Floats) -> dict[str, Estimate]:
        """Score the prediction, draws averaged.

        Args:
            log10_d: reference, (n_boxes, n_species).

        Returns:
            log10_d_{s}_error: mean absolute error, with its standard error over draws
            (NaN for a single one).
        """
        result = {}
        for k, name in enumerate(self.species):
            draws = [
                log10_error(10.0 ** log10_d[:, k], 10.0 ** draw[:, k])
                for draw in self.log10_d
            ]
            n = len(draws)
            error = float(np.std(draws, ddof=1) / np.sqrt(n)) if n > 1 else np.nan
            result[f"log10_d_{name}_error"] = Estimate(float(np.mean(draws)), error)
        return result


def log10_diffusivities(
    electrolyte: Electrolyte, run: BoxRun, window: Window
) -> Floats:
    """Return log10 D of every species from one window of lags.

    Args:
        electrolyte: species.
        run: frames.
        window: first and last lag of the fit, ps.

    Returns:
        (n_species,); NaN where the fitted D is not positive.
    """
    curves = displacements(electrolyte, run, window[1])
    fits = [transport.diffusivity(curve, window=window) for curve in curves.values()]
    return np.array([fit.log10.value for fit in fits])


def short_runs(
    boxes: Sequence[tuple[Electrolyte, BoxRun]], duration: float, window: Window
) -> Prediction:
    """Take pieces of reference dynamics as long as a training run, as they are.

    Args:
        boxes: the test boxes, all of one length.
        duration: length of a piece, ps.
        window: first and last lag of the fits, ps, within half a piece.

    Returns:
        One draw for each piece of the reference, the first piece first.

    Raises:
        ValueError: a piece that is longer than the reference, or than half of which
            the window reaches.
    """
    draws = []
    for electrolyte, run in boxes:
        n_frames = round(duration / run.time_step)
        if not 2.0 * window[1] <= duration <= run.duration * (1.0 + 1e-9):
            raise ValueError(
                f"pieces of at least twice the last lag, {window[1]:g} ps, and at most "
                f"the {run.duration:g} ps of {electrolyte.name!r} are required, got "
                f"{duration:g} ps"
            )
        n_pieces = run.positions.shape[1] // n_frames
        whole = BoxRun(run.positions[:, : n_pieces * n_frames], run.time_step)
        draws.append(
            [
                log10_diffusivities(electrolyte, piece, window)
                for piece in whole.pieces(n_pieces)
            ]
        )
    n_draws = min(len(item) for item in draws)
    table = np.array([item[:n_draws] for item in draws])  # (boxes, draws, species)
    return Prediction(
        f"short MD, {duration:g} ps",
        [electrolyte.name for electrolyte, _ in boxes],
        list(boxes[0][0].groups),
        table.transpose(1, 0, 2),
    )


def shift(prediction: Prediction, constants: Floats) -> Prediction:
    """Move every log10 D by one constant for each species.

    Args:
        prediction: short runs.
        constants: (n_species,), fitted on boxes known both short and long: the mean
            of long less short.
    """
    return Prediction(
        f"{prediction.name}, shifted",
        prediction.boxes,
        prediction.species,
        prediction.log10_d + constants,
    )


def shift_by_others(prediction: Prediction, log10_d: Floats) -> Prediction:
    """Move log10 D of each box by the mean error of all other boxes.

    For want of long training runs: each box is judged by a constant it had no part in.

    Args:
        prediction: short runs.
        log10_d: of the long runs, (n_boxes, n_species).

    Raises:
        ValueError: a single box.
    """
    error = log10_d - prediction.log10_d.mean(axis=0)  # (n_boxes, n_species)
    n = len(error)
    if n < 2:
        raise ValueError(f"two boxes or more are required to shift by others, got {n}")
    return shift(prediction, (error.sum(axis=0) - error) / (n - 1))


def fit_mean(train: Labelled, test: Labelled) -> Prediction:
    """Predict the mean of the training boxes."""
    mean = train.log10_d.mean(axis=0)
    return _prediction("mean", test, np.tile(mean, (len(test.names), 1)))


def fit_composition(train: Labelled, test: Labelled, degree: int = 2) -> Prediction:
    """Fit a polynomial of the composition by least squares.

    Args:
        train: boxes to fit.
        test: boxes to predict; its log10_d is not looked at.
        degree: of the polynomial, all products included. Variables that add up to a
            constant do no harm: the smallest coefficients are taken.
    """
    features = PolynomialFeatures(degree)
    design = features.fit_transform(train.composition)
    coefficients = np.linalg.lstsq(design, train.log10_d, rcond=None)[0]
    wanted = features.transform(test.composition) @ coefficients
    words = {1: "linear", 2: "quadratic"}
    kind = words.get(degree, f"degree {degree}")
    return _prediction(f"composition, {kind}", test, wanted)


def fit_graph_network(
    train: Labelled,
    validation: Labelled,
    test: Labelled,
    options: NetworkOptions | None = None,
) -> Prediction:
    """Train a network on the graphs of boxes.

    Args:
        train: boxes to fit, with graphs.
        validation: other boxes, for early stopping.
        test: boxes to predict; its log10_d is not looked at.
        options: of the network.
    """
    values = regression.fit_graph_network(
        (train.graphs, train.log10_d),
        (validation.graphs, validation.log10_d),
        test.graphs,
        options or NetworkOptions(),
    )
    return _prediction("graph network", test, values)


def save(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions as JSON."""
    content = [
        {
            "name": item.name,
            "boxes": item.boxes,
            "species": item.species,
            "log10_d": item.log10_d.tolist(),
        }
        for item in predictions
    ]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"diffusivities": content}), encoding="utf-8")


def load(path: Path) -> list[Prediction]:
    """Read what `save` wrote.

    Raises:
        ValueError: the file is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["diffusivities"]
        return [
            Prediction(
                item["name"],
                item["boxes"],
                item["species"],
                np.array(item["log10_d"], dtype=np.float64),
            )
            for item in content
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"a file of diffusivities that baselines predict is required, {path} is "
            f"not: {error}"
        ) from error


def _prediction(name: str, test: Labelled, log10_d: Floats) -> Prediction:
    return Prediction(name, test.names, test.species, np.asarray(log10_d)[None])
