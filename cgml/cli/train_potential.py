"""cgml train-potential: an energy of the beads for a model that has none."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cgml.cli import options
from cgml.cli.answers import model_written
from cgml.cli.console import tell


def train_potential(
    model: options.Model,
    frames: options.Files,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Model file.", parser=options.path),
    ],
    validation: Annotated[list[Path] | None, options.VALIDATION] = None,
    network: Annotated[
        Literal["messages", "tensornet"],
        typer.Option(help='Ours, or TensorNet of torchmd-net ("cgml[equivariant]").'),
    ] = "messages",
    width: Annotated[int, typer.Option(min=1, help="Features of a bead.")] = 48,
    noise: Annotated[
        float,
        typer.Option(help="On the frames, over fluctuations of the ideal chain."),
    ] = 0.3,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 4000,
    likelihood_steps: Annotated[
        int, typer.Option(min=0, help="Steps for the likelihood afterwards.")
    ] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Frames in a batch.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="At the start.")] = 2e-3,
    seed: options.Seed = 0,
    time_limit: Annotated[
        float | None, typer.Option(help="Minutes, in which as many steps are done.")
    ] = None,
) -> None:
    """Fit a potential of mean force for MODEL to the equilibrium FRAMES of beads.

    The file written moves beads as MODEL does, bit by bit, and has an energy (kJ/mol)
    besides, for stock optimisers and thermostats of ASE and OpenMM. Frames are those
    that the model was trained on (.h5md, or .npz in the reference layout), cut as it
    says and at its temperature; --validation takes other molecules, or other times. The
    loss falls, below zero, where forces (in kT) are those of the distribution; the
    figures are kept in the file. See docs/potential.md.

    For example:
        cgml train-potential model.pt beads/*.h5md -o with-potential.pt
    """
    from pydantic import ValidationError

    from cgml.cli.values import seconds
    from cgml.fields import faults
    from cgml.files import check_file
    from cgml.models.file import load_model, save_model
    from cgml.molecules.recipe import Recipe
    from cgml.training.potential import PotentialConfig, fit_potential
    from cgml.training.preparation import read_prepared

    check_file(output)
    try:
        config = PotentialConfig(
            network=network,
            n_node=width,
            noise=noise,
            n_steps=steps,
            n_likelihood=likelihood_steps,
            n_systems=batch,
            learning_rate=learning_rate,
            seed=seed,
            time_limit=seconds(time_limit),
        )
    except ValidationError as error:
        raise ValueError(f"no potential can be fitted so: {faults(error)}") from error
    both = sorted(set(frames) & set(validation or []))
    if both:
        raise ValueError(
            f"frames for --validation must be others than those to fit, {both[0]} is "
            "given for both: leave it out of one"
        )
    loaded = load_model(model)
    recipe = Recipe.from_spec(loaded.spec)
    found = fit_potential(
        loaded,
        read_prepared(frames, recipe),
        read_prepared(validation, recipe) if validation else [],
        config,
        on_status=tell,
        provenance={"frames": " ".join(path.name for path in frames[:8])},
    )
    save_model(output, found.spec, found.module)
    model_written(output, " with its potential")
