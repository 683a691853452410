"""cgml evaluate: a model against reference trajectories."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cgml.cli import console, guards, options, unseen


@options.reads_atoms
def evaluate(
    reader: options.FramesReader,
    model: options.Model,
    reference: options.Reference,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder of figures and page.", parser=options.folder
        ),
    ],
    time: Annotated[
        float | None,
        typer.Option(
            help="Simulated time of each path, ps, 20 model steps or more; default: "
            "that of the reference."
        ),
    ] = None,
    replicas: options.Replicas = 1,
    seed: options.Seed = 0,
    baselines: Annotated[
        Path | None,
        typer.Option(help="File that cgml baseline wrote.", parser=options.path),
    ] = None,
    md_cost: Annotated[
        float | None,
        typer.Option(help="Wall time of MD of all runs, measured here, s per ps."),
    ] = None,
    longest_lag: Annotated[
        float,
        typer.Option(
            help="Largest lag of displacements, ps; at most half of a run is used."
        ),
    ] = 500.0,
    charge: options.Charges = None,
    species: options.Species = None,
    ablation: Annotated[
        bool | None,
        typer.Option(help="Also run without the score network; default: boxes only."),
    ] = None,
    device: options.Device = "cpu",
    precision: options.Precision = "float32",
    allow_unseen: unseen.Allow = False,
) -> None:
    """Run MODEL from the first frame of each reference, and compare the two.

    References are bead frames (.h5md), reference arrays (.npz), or trajectories of
    atoms with a topology: single molecules, or boxes of any kinds of molecules if the
    model is of boxes. The folder gets all figures with their errors as JSON, plots and
    one HTML page. Lengths in nm, times in ps, charges in e.

    Species are kinds of molecules, named by formula (A20B30) or by --species; figures
    are averaged over the boxes that have a species of one name, and those of chains
    are of its molecules of several beads. With --charge, the only kind of positive
    molecules is called cation, the only negative one anion.

    For example:
        cgml evaluate copolymer-chain --reference chain_devtest.npz --output judged
    """
    from cgml.cli import overview
    from cgml.cli.values import parse_values
    from cgml.evaluation import evaluation, provenance, report, simulation
    from cgml.evaluation.predictions import load
    from cgml.evaluation.results import EvaluationOptions
    from cgml.evaluation.subject import parse_names
    from cgml.files import check_folder
    from cgml.models.file import find_model, load_model
    from cgml.molecules.summary import of_frames
    from cgml.progress import progress
    from cgml.training.coarsening import Coarsening
    from cgml.training.preparation import read_systems

    check_folder(output)
    learned = load_model(model, device)
    coarsening = reader.complete(Coarsening.from_spec(learned.spec))
    systems = list(read_systems(reference, reader.topology, coarsening))
    overview.show([of_frames(system) for system in systems])
    unseen.check(learned.spec, systems, is_allowed=allow_unseen)
    evaluation.check_references(learned.spec, systems)
    subjects = evaluation.describe_references(
        learned.spec,
        systems,
        charges=parse_values(charge or [], "charge"),
        names=parse_names(species or []),
    )
    chosen = EvaluationOptions(
        length=time,
        n_replicas=replicas,
        seed=seed,
        device=device,
        precision=precision,
        md_seconds_per_ps=md_cost,
        unseen="allow",  # or else refused above
        longest_lag=longest_lag,
    )
    n_steps = max(
        simulation.count_steps(item, learned.spec, chosen) for item in systems
    )
    step = len(systems) * replicas * learned.spec.time_step
    with progress(console.working(), "steps", n_steps, step) as show:
        found = evaluation.evaluate(
            learned,
            systems,
            chosen,
            subjects,
            predictions=load(baselines) if baselines else [],
            ablate=ablation,
            on_step=lambda step: _follow(step, n_steps, show),
        )
    made = provenance.of_command(
        model=[find_model(model)],
        reference=reference,
        baselines=[baselines],
        topology=[reader.topology],
        system=[reader.system],
        types=[reader.types],
        mapping=[reader.mapping],
    )
    page = report.write(found, output, made)
    _show(report.table(found))
    counts = found.guard_counts
    for name in found.failed:
        console.warn(f"left out: {name}: positions did not stay finite")
    is_stopped = " (recorded; none was stopped)" if any(counts.values()) else ""
    console.say(guards.tripped(counts) + is_stopped)
    console.say(f"report written to {page}")
    console.emit({"report": str(page)} | report.content(found, made))


def _follow(step: int, n_steps: int, show: Callable[[int], None]) -> None:
    """Move the bar; after the last step, say what takes the time."""
    show(step)
    if step == n_steps:
        console.tell("the steps are done: computes figures and errors")


def _show(lines: Sequence[tuple[str, ...]]) -> None:
    """Print the figures: learned over reference, its halves over each other."""
    from rich.table import Column, Table
    from rich.text import Text

    from cgml.evaluation.verdict import WORDS

    verdict = Column("verdict", min_width=max(map(len, WORDS)))
    table = Table("", "learned", "halves", verdict)
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    console.show(table)
