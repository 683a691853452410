"""cgml join: several models become one ensemble, or one is calibrated."""

from pathlib import Path
from typing import Annotated

import typer

from cgml.cli import options
from cgml.cli.answers import model_written
from cgml.texts import counted


def join(
    models: Annotated[
        list[str], typer.Argument(help="Model files, or names of bundled models.")
    ],
    validation: Annotated[
        list[str],
        typer.Option(help=options.VALIDATION.help),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Model file.", parser=options.path)
    ],
    train: Annotated[
        list[str] | None,
        typer.Option(help=options.TRAIN.help),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Of the model; default: that of the (first) file."),
    ] = None,
) -> None:
    """Make one model of MODELS that differ in their weights alone, and calibrate it.

    What the members of an ensemble disagree on they do not know. The file has all their
    weights and how far they disagree on the validation molecules, the unit of the
    extrapolation grade by which runs stop molecules unlike those learned.

    A single model is calibrated by its training frames: how far the molecules of a run
    are from these, as its networks see them.

    For example:
        cgml join a.pt b.pt c.pt --validation chain_val.npz -o three.pt
        cgml join a.pt --train chain_train.npz --validation chain_val.npz -o a2.pt
    """
    from cgml.files import component
    from cgml.models.file import load_model, save_model
    from cgml.models.joining import join as joined
    from cgml.molecules.recipe import Recipe
    from cgml.training.calibration import LEAST_MOLECULES, calibrate, count
    from cgml.training.data import load_frames
    from cgml.training.split import check_disjoint

    loaded = [load_model(model) for model in models]
    model = loaded[0] if len(loaded) == 1 else joined(loaded)
    if name is not None:
        told = model.spec.model_copy(update={"name": component(name, "a model")})
        model = type(model)(told, model.module)
    if model.spec.n_members == 1 and not train:
        raise ValueError(
            "a single model is calibrated by the frames that it was trained on: give "
            "them with --train, or give several models"
        )
    recipe = Recipe.from_spec(model.spec)
    known, new = (load_frames(some, recipe) for some in (train or [], validation))
    check_disjoint(known, new)
    if count(new) < LEAST_MOLECULES:
        raise ValueError(
            f"{LEAST_MOLECULES} validation molecules or more are required to know how "
            f"far scores scatter, got {count(new)}: give more files with --validation"
        )
    model = calibrate(model, known, new)
    if model.spec.calibrated is None:
        raise ValueError(
            f"a model that cgml train wrote is required, {model.spec.name!r} is of "
            f"kind {model.spec.kind!r}"
        )
    save_model(output, model.spec, model.module)
    model_written(
        output,
        f": {counted(model.spec.n_members, 'member')}, scores of "
        f"{model.spec.calibrated.n_molecules} validation molecules up to "
        f"{model.spec.calibrated.largest:.3g}, typically "
        f"{model.spec.calibrated.typical:.3g}",
    )
