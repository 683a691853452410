"""Whether a model may be used for the systems at hand, asked before anything runs."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cgml.cli import console

if TYPE_CHECKING:
    from cgml.molecules.frames import BeadTrajectory
    from cgml.spec import BaseSpec

Allow = Annotated[
    bool,
    typer.Option(
        "--allow-unseen", help="Go on with molecules that the model has not seen."
    ),
]


def check(
    spec: "BaseSpec", systems: Sequence["BeadTrajectory"], *, is_allowed: bool
) -> list[str]:
    """Print what is beyond what a model has seen of the systems to be moved.

    Returns:
        What would have been refused, had it not been allowed.

    Raises:
        ValueError: a system has other boundaries than the model, or beads that the
            model has not seen and may not move.
    """
    from cgml.dynamics.passengers import known_mapping
    from cgml.molecules.seen import ALLOWED, check_seen

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for system in systems:
            try:
                spec.check_boundaries(is_periodic=system.box is not None)
            except ValueError as error:
                raise ValueError(f"{system.name}: {error}") from error
            check_seen(
                spec,
                [known_mapping(system.mapping, spec)],
                system.box,
                "warn" if is_allowed else "refuse",
            )
    texts = list(dict.fromkeys(str(item.message) for item in said))
    for text in texts:
        console.warn(f"warning: {text}")
    return [text for text in texts if ALLOWED in text]
