"""cgml baseline: what a model has to beat."""

from pathlib import Path
from typing import Annotated

import typer

from cgml.cli import options
from cgml.cli.console import say, tell


def baseline(
    train: Annotated[
        list[Path],
        typer.Option(help="Frames of training molecules.", parser=options.path),
    ],
    validation: Annotated[
        list[Path], typer.Option(help="Of other molecules.", parser=options.path)
    ],
    reference: Annotated[
        list[Path], typer.Option(help="Of the test molecules.", parser=options.path)
    ],
    output: Annotated[
        Path, typer.Option(help="JSON file to write.", parser=options.path)
    ],
    charge: options.Charges = None,
) -> None:
    """Predict the test molecules without simulating: what a model has to beat.

    Mean, fits of the composition, a graph network, an LSTM, and MD as long as a
    training run, all for the mean squared radius of gyration (nm^2) and its relaxation
    time (ps); for boxes mean, composition, a graph network, and short MD, as it is and
    shifted, for the diffusivities (nm^2/ps). Files are bead frames (.h5md) or reference
    arrays (.npz).

    For example:

        cgml baseline --train chain_train.npz --validation chain_val.npz
        --reference chain_devtest.npz --charge C=1 --charge D=-1 --output baselines.json
    """
    from cgml.evaluation import baselines
    from cgml.evaluation import box_baselines as electrolyte_baselines
    from cgml.evaluation import box_evaluation as electrolyte_evaluation
    from cgml.training.preparation import Coarsening, parse_values, read_systems

    parts = [
        list(read_systems(paths, None, Coarsening()))
        for paths in (train, validation, reference)
    ]
    charges = parse_values(charge or [], "charge")

    def on_baseline(name: str) -> None:
        tell(f"baseline: {name}")

    if parts[2][0].box is None:
        found = baselines.measure(*parts, charges=charges, on_baseline=on_baseline)
        baselines.save(output, found)
        n_found = len(found)
    else:
        known = electrolyte_evaluation.measure_baselines(
            *parts, charges=charges, on_baseline=on_baseline
        )
        electrolyte_baselines.save(output, known)
        n_found = len(known)
    say(f"{n_found} baselines written to {output}")
