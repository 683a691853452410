"""An ensemble in training: each member is a run of its own, with seed and folder."""

from collections.abc import Sequence

import numpy as np

from cgml.molecules.frames import BeadTrajectory
from cgml.network.model import LearnedModel
from cgml.training.config import TrainingConfig

FOLDER = "members"


def members_of(config: TrainingConfig) -> list[TrainingConfig]:
    """Return the runs of the members, in folders members/0 and so on.

    Raises:
        ValueError: batches are to be shared among devices.
    """
    sizes = config.optimiser
    if sizes.n_devices > 1:
        raise ValueError(
            "members of an ensemble are trained on one device, one after the other; "
            f"n_devices = {sizes.n_devices}: leave it out, or train each by itself and "
            "join them with cgml join"
        )
    return [
        config.model_copy(
            update={
                "ensemble": 1,
                "output": config.output / FOLDER / str(number),
                "optimiser": sizes.model_copy(update={"seed": sizes.seed + number}),
            }
        )
        for number in range(config.ensemble)
    ]


def origins_of(
    config: TrainingConfig, origin: LearnedModel | None
) -> Sequence[LearnedModel | None]:
    """Return the model that each member goes on from.

    Raises:
        ValueError: that is an ensemble of another size.
    """
    if origin is None or origin.spec.n_members == 1:
        return [origin] * config.ensemble
    if origin.spec.n_members != config.ensemble:
        raise ValueError(
            f"{origin.spec.name!r} has {origin.spec.n_members} members, the training "
            f"file asks for {config.ensemble}: write ensemble = {origin.spec.n_members}"
        )
    return origin.members


def resample(
    systems: Sequence[BeadTrajectory], config: TrainingConfig
) -> list[BeadTrajectory]:
    """Return as many systems drawn with replacement, if the config asks for it."""
    if not config.data.bootstrap:
        return list(systems)
    stream = np.random.default_rng((config.optimiser.seed, len(systems)))
    return [systems[n] for n in stream.integers(len(systems), size=len(systems))]
