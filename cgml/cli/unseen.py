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
) -> None:
    """Print what is beyond what a model has seen.

    Args:
        spec: of the model.
        systems: to be moved.
        is_allowed: whether kinds of beads that it has not seen are not refused.

    Raises:
        ValueError: they are.
    """
    from cgml.molecules.seen import check_seen

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for system in systems:
            check_seen(
                spec,
                [system.mapping],
                system.box,
                "warn" if is_allowed else "refuse",
            )
    for text in dict.fromkeys(str(item.message) for item in said):
        console.tell(f"warning: {text}")
