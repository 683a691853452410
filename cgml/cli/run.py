"""cgml run: trajectories of many systems and replicas."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cgml.cli import console, guards, options, unseen
from cgml.texts import counted

if TYPE_CHECKING:
    from cgml.runs.simulation import Outcome

STOPPED = 3  # exit code: guards stopped some replicas


@options.reads_atoms
def run(
    reader: options.StartReader,
    model: options.Model,
    starts: options.Files,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder of the run.", parser=options.folder
        ),
    ],
    time: options.Time,
    replicas: options.Replicas = 1,
    seed: options.Seed = 0,
    stride: Annotated[int, typer.Option(help="Model steps per stored frame.")] = 1,
    part: Annotated[
        int, typer.Option(help="Frames between saves: what a kill can cost.")
    ] = 100,
    guard: Annotated[
        Literal["stop", "raise", "redraw", "record"],
        typer.Option(
            help="When a step leaves the range of the training data: stop that replica "
            "(what is rare is drawn anew), raise (end all), always redraw, or record. "
            "A calibrated model also stops molecules unlike those it has learned."
        ),
    ] = "stop",
    ensemble: Annotated[
        Literal["mixture", "average"],
        typer.Option(
            help="Model of several members: each replica is moved by one of them, or "
            "all are averaged, at the cost of all."
        ),
    ] = "mixture",
    file_format: Annotated[
        str, typer.Option("--format", help="Trajectories: dcd, xtc or h5md.")
    ] = "dcd",
    atoms: Annotated[
        bool,
        typer.Option(
            "--atoms", help="Also write the atoms, carried with their beads; dcd, xtc."
        ),
    ] = False,
    device: options.Device = "cpu",
    precision: options.Precision = "float32",
    compiled: Annotated[
        bool, typer.Option(help="Use what cgml compile made of the model, if anything.")
    ] = True,
    capture: Annotated[
        bool, typer.Option("--capture", help="CUDA graphs; for few replicas.")
    ] = False,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    allow_unseen: unseen.Allow = False,
) -> None:
    """Run MODEL from a frame of STARTS, all systems and replicas at once.

    STARTS are bead frames (.h5md), reference arrays (.npz), or trajectories of atoms
    with a topology. After a kill, repeat the command: the run goes on where it was
    saved, bit for bit. Trajectories hold nm (H5MD) or Å (DCD), times are in ps;
    results.csv has a line for each. A replica whose step leaves the range of the
    training data is stopped, its frames up to there are kept, the others go on; the
    command then ends with exit code 3.

    With --workers the paths are divided among processes of this machine, with
    --scheduler among those of a dask cluster, which must see MODEL and the output
    folder under the same paths; each has the CPU threads of `cgml --threads`. The files
    are the same, and a lost worker's work is done again.

    With --atoms there is a second file for each path, NAME_rR_atoms.dcd, of the atoms
    of the start; open it with your own topology.

    For example:
        cgml run copolymer-chain beads/*.h5md --time 20000 --replicas 4 --output long
    """
    from cgml.cli import overview
    from cgml.models.file import find_model, read_spec
    from cgml.molecules.summary import of_frames
    from cgml.progress import progress
    from cgml.runs import campaign, simulation
    from cgml.runs.plan import RunOptions
    from cgml.spec import Execution
    from cgml.training.coarsening import Coarsening
    from cgml.training.preparation import read_systems

    spec = read_spec(find_model(model))
    coarsening = reader.complete(Coarsening.from_spec(spec))
    systems = list(
        read_systems(starts, reader.topology, coarsening, n_frames=1, are_timed=False)
    )
    frames = f"1, number {coarsening.frames.start}"  # its time is not read
    seen = [of_frames(system) for system in systems]
    overview.show(seen, frames)
    allowed = unseen.check(spec, systems, is_allowed=allow_unseen)
    chosen = RunOptions(
        n_steps=simulation.count_steps(spec, time),
        n_replicas=replicas,
        seed=seed,
        stride=stride,
        n_part=part,
        guard=guard,
        ensemble=ensemble,
        file_format=file_format,
        atoms=atoms,
        device=device,
        execution=Execution(compiled=compiled, capture=capture, precision=precision),
        unseen="allow",  # or else refused above
        allowed=tuple(allowed),
    )
    n_paths = len(systems) * replicas
    n_frames, frame = n_paths * chosen.n_frames, stride * spec.time_step  # ps
    with progress(console.working(), "frames", n_frames, frame) as show:
        outcome = campaign.run(
            model,
            systems,
            output,
            chosen,
            show,
            n_workers=workers,
            scheduler=scheduler,
        )
    console.say(f"trajectories of {counted(n_paths, 'path')} in {output}")
    _tell_guards(outcome, guard)
    console.emit(
        {
            "systems": [item.as_json() for item in seen],
            "trajectories": [str(path) for path in outcome.trajectories],
            "results": str(outcome.results),
            "guard_trips": outcome.guard_counts,
            "stopped": outcome.stopped,
        }
    )
    if outcome.stopped:
        console.warn(
            f"{len(outcome.stopped)} of {n_paths} replicas were stopped; their files "
            "end before that step, results.csv says why; another --guard needs another "
            "--output"
        )
        raise typer.Exit(STOPPED)


def _tell_guards(outcome: "Outcome", policy: str) -> None:
    """Say what the guards did: kinds, draws repeated, replicas stopped."""
    counts = outcome.guard_counts
    n_anew = sum(counts.values()) - len(outcome.stopped)
    is_redrawn = n_anew > 0 and policy in {"stop", "redraw"}
    anew = f"; drawn anew {counted(n_anew, 'time')}" if is_redrawn else ""
    console.say(guards.tripped(counts) + anew)
    for line in outcome.stopped:
        console.warn(f"stopped: {line}")
