"""cgml evaluate: a model against reference trajectories."""

from pathlib import Path
from typing import Annotated

import typer

from cgml.cli import console, options


def evaluate(
    model: options.Model,
    reference: Annotated[
        list[Path], typer.Option(help="File of reference frames.", parser=options.path)
    ],
    output: Annotated[
        Path, typer.Option(help="Folder of figures and page.", parser=options.folder)
    ],
    topology: options.Topology = None,
    time: Annotated[
        float | None,
        typer.Option(help="Length of each run, ps; default: the reference's."),
    ] = None,
    replicas: Annotated[int, typer.Option(help="Runs of every molecule.")] = 1,
    seed: options.Seed = 0,
    baselines: Annotated[
        Path | None,
        typer.Option(help="File that cgml baseline wrote.", parser=options.path),
    ] = None,
    md_cost: Annotated[
        float | None,
        typer.Option(help="Wall time of MD of all runs, measured here, s per ps."),
    ] = None,
    charge: options.Charges = None,
    ablation: Annotated[
        bool, typer.Option(help="Boxes: also run without the score network.")
    ] = True,
    device: options.Device = "cpu",
) -> None:
    """Run MODEL from the first frame of each reference, and compare the two.

    References are bead frames (.h5md), reference arrays (.npz), or trajectories of
    atoms with a topology: single molecules, or boxes of several species if the model is
    of boxes. The folder gets all figures with their errors as JSON, plots and one HTML
    page. Lengths in nm, times in ps, charges in e.

    For example:

        cgml evaluate copolymer-chain --reference chain_devtest.npz --output judged
    """
    from cgml.evaluation import baselines as chain_baselines
    from cgml.evaluation import box_baselines as electrolyte_baselines
    from cgml.evaluation import box_evaluation as electrolyte_evaluation
    from cgml.evaluation import evaluation, report
    from cgml.models.file import load_model
    from cgml.progress import progress
    from cgml.training.preparation import Coarsening, parse_values, read_systems

    learned = load_model(model, device)
    coarsening = Coarsening.from_spec(learned.spec)
    systems = list(read_systems(reference, topology, coarsening))
    chosen = evaluation.EvaluationOptions(
        length=time,
        n_replicas=replicas,
        seed=seed,
        device=device,
        md_seconds_per_ps=md_cost,
    )
    n_steps = max(
        evaluation.count_steps(item, learned.spec, chosen) for item in systems
    )
    step = len(systems) * replicas * learned.spec.time_step
    with progress(console.err, "steps", n_steps, step) as show:
        found: evaluation.Evaluation | electrolyte_evaluation.BoxEvaluation
        if learned.spec.periodic:
            found = electrolyte_evaluation.evaluate(
                learned,
                systems,
                chosen,
                parse_values(charge or [], "charge"),
                predictions=electrolyte_baselines.load(baselines) if baselines else [],
                ablate=ablation,
                on_step=show,
            )
        else:
            found = evaluation.evaluate(
                learned,
                systems,
                chosen,
                predictions=chain_baselines.load(baselines) if baselines else [],
                on_step=show,
            )
    page = report.write(found, output)
    for name, figure in found.summary.items():
        console.say(f"{name:40s} {figure.value:10.4g} ± {figure.error:.2g}")
    console.say(f"report written to {page}")
