"""cgml baseline: what a model has to beat."""

from pathlib import Path
from typing import Annotated

import typer

from cgml.cli import options
from cgml.cli.console import emit, say, tell
from cgml.texts import counted


def baseline(
    train: Annotated[list[Path], options.TRAIN],
    validation: Annotated[list[Path], options.VALIDATION],
    reference: options.Reference,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="JSON file to write.", parser=options.path),
    ],
    charge: options.Charges = None,
    species: options.Species = None,
) -> None:
    """Predict the test molecules without simulating: what a model has to beat.

    Mean, fits of the composition, a graph network, for unbranched chains an LSTM, and
    MD as long as a training run, as it is and shifted by one constant. What they
    predict is the mean squared radius of gyration of molecules (nm^2) and its
    relaxation time (ps), or the diffusivities of the species of boxes (nm^2/ps). Files
    are bead frames (.h5md) or reference arrays (.npz).

    For example:
        cgml baseline --train chain_train.npz --validation chain_val.npz
        --reference chain_devtest.npz --charge C=1 --charge D=-1 --output baselines.json
    """
    from cgml.cli.values import parse_values
    from cgml.evaluation import baselines, predictions
    from cgml.evaluation.subject import parse_names
    from cgml.files import check_file
    from cgml.training.preparation import read_prepared

    check_file(output)
    parts = [read_prepared(paths) for paths in (train, validation, reference)]
    both = sorted({*train, *validation} & {*reference})
    if both:
        raise ValueError(
            f"references must be others than the frames to train on, {both[0]} is "
            "given for both: leave it out of one"
        )
    found = baselines.measure(
        *parts,
        charges=parse_values(charge or [], "charge"),
        names=parse_names(species or []),
        on_baseline=lambda name: tell(f"baseline: {name}"),
    )
    predictions.save(output, found)
    say(f"{counted(len(found), 'baseline')} written to {output}")
    emit({"predictions": str(output), "baselines": [item.name for item in found]})
