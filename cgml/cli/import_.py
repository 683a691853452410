"""cgml import: a published checkpoint to a model file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cgml.cli import options
from cgml.cli.answers import model_written
from cgml.cli.console import say


def import_model(
    layout: Annotated[
        Literal["graphwm"], typer.Argument(help="Layout of the checkpoint.")
    ],
    checkpoint: options.File,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Model file.", parser=options.path)
    ],
    frame_spacing: Annotated[
        float,
        typer.Option(help="Time between recorded training frames, ps."),
    ] = 2.0,
    temperature: Annotated[
        float, typer.Option(help="Of the training data, K.")
    ] = 353.0,
    periodic: Annotated[
        bool, typer.Option("--periodic/--open", help="Boundaries of the training data.")
    ] = True,
    length_unit: Annotated[
        float | None,
        typer.Option(help="Unit of length inside, nm; default: an Angstrom."),
    ] = None,
    single_bead_limit: options.SingleBeadLimit = 0,
    name: Annotated[
        str | None,
        typer.Option(help="Of the model; default: that of the (first) file."),
    ] = None,
) -> None:
    """Turn a published CHECKPOINT of the paper's authors into a model file.

    No code in the checkpoint is run. What it does not say of itself (time between
    frames in ps, temperature in K, boundaries) is to be given; the defaults are those
    of the authors' polymer electrolytes.

    For example:
        cgml import graphwm electrolyte.ckpt -o electrolyte.pt
    """
    from cgml.models.conversion import Origin, import_checkpoint

    del layout  # there is but one
    origin = Origin(
        frame_spacing=frame_spacing,
        temperature=temperature,
        periodic=periodic,
        length_unit=length_unit,
        name=name,
        single_bead_limit=single_bead_limit,
    )
    spec = import_checkpoint(checkpoint, output, origin)
    model_written(
        output,
        f": step {spec.time_step:g} ps, {spec.n_history} "
        f"earlier displacements, cutoff {spec.cutoff:g} nm, "
        f"{spec.atoms_per_bead:g} atoms per bead",
    )
    say(f"types: {' '.join(spec.particle_types)}")
