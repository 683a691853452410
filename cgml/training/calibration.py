"""How unsure a model is of molecules that it was not trained on: measured, kept."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from cgml.calibration import Calibration, LatentRange
from cgml.contract.stepper import Forecast
from cgml.dynamics import extrapolation
from cgml.dynamics.propagator import Propagator
from cgml.molecules.frames import BeadTrajectory, boxes_of
from cgml.molecules.systems import Systems
from cgml.network.model import LearnedModel
from cgml.spec import ModelSpec

N_FRAMES = 8  # of each system
N_AXES = 16  # directions of the latents with a variance of their own
MOST_BEADS = 4000  # looked at together
LEAST_MOLECULES = 10  # of validation: fewer do not say how far scores scatter


def count(validation: Sequence[BeadTrajectory]) -> int:
    """Count the molecules that a calibration can be made with."""
    return sum(item.mapping.graph.n_molecules for item in validation)


def calibrate(
    model: LearnedModel,
    train: Sequence[BeadTrajectory],
    validation: Sequence[BeadTrajectory],
) -> LearnedModel:
    """Measure the extrapolation scores of validation molecules.

    Args:
        model: with one set of weights or several.
        train: training molecules; not looked at for several sets of weights.
        validation: molecules, or frames, that no member was trained on.

    Returns:
        The model with a `Calibration` in its spec; a kind of model without scores as
        it is.
    """
    spec = model.spec
    if not isinstance(spec, ModelSpec):
        return model
    latent = None
    if spec.n_members == 1:
        rows = [
            extrapolation.latents(found[0], systems).numpy()
            for found, systems in _forecasts(model, train)
        ]
        latent = latent_range(np.concatenate(rows))
    scores = [
        extrapolation.scores(found, latent, systems).numpy()
        for found, systems in _forecasts(model, validation)
    ]
    found = np.concatenate(scores)
    calibration = Calibration(
        n_molecules=count(validation),
        typical=_short(np.median(found)),
        largest=_short(found.max()),
        latent=latent,
    )
    told = spec.model_copy(update={"calibration": calibration})
    return replace(model, spec=told)


def latent_range(rows: NDArray[np.float64]) -> LatentRange:
    """Fit the Gaussian of probabilistic principal components.

    Args:
        rows: latents of molecules, (n_rows, n).
    """
    mean, n = rows.mean(axis=0), rows.shape[1]
    variances, vectors = np.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    variances = np.maximum(variances[::-1], 1e-6 * variances[-1] + 1e-12)
    n_axes = max(0, min(N_AXES, len(rows) - 2, n - 1))
    axes = vectors[:, ::-1][:, :n_axes].T
    return LatentRange(
        mean=[_short(value) for value in mean],
        axes=[[_short(value) for value in axis] for axis in axes],
        variances=[_short(value) for value in variances[:n_axes]],
        rest=_short(variances[n_axes:].mean()),
    )


def _forecasts(
    model: LearnedModel, items: Sequence[BeadTrajectory]
) -> Iterator[tuple[list[Forecast], Systems]]:
    """What the members say of frames of systems, some systems at a time."""
    ends = np.cumsum([item.mapping.n_beads for item in items])
    for group in np.unique(ends // MOST_BEADS):
        own = (ends // MOST_BEADS == group).tolist()
        some = [item for item, is_own in zip(items, own, strict=True) if is_own]
        propagator = Propagator(
            model,
            [item.mapping for item in some],
            box=boxes_of(some),
            unseen="allow",
        )
        for share in np.linspace(0.0, 1.0, N_FRAMES):
            places = [round(share * (len(item.positions) - 1)) for item in some]
            frames = [x.positions[n] for x, n in zip(some, places, strict=True)]
            here = torch.from_numpy(np.concatenate(frames).astype(np.float64))
            yield propagator.forecasts(here), propagator.systems


def _short(value: float) -> float:
    """Six digits, as they stand in the file."""
    return float(f"{value:.6g}")
