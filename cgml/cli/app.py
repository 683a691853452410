"""The command line: prepare, train, export, import, run, evaluate, baseline, models.

Each command reads its options, calls one function of the package, and prints what came
out. Heavy libraries are imported by the command that needs them, so help is quick.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Column, Table
from rich.text import Text

from cgml.memory import keep_freed_memory
from cgml.progress import progress

app = typer.Typer(
    name="cgml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)
_out = Console()
_err = Console(stderr=True)

Files = Annotated[list[Path], typer.Argument(show_default=False)]
Model = Annotated[
    str,
    typer.Argument(
        help="Model file, or name of a bundled model (see cgml models).",
        show_default=False,
    ),
]
Topology = Annotated[
    Path | None,
    typer.Option(
        help="File with atoms and bonds (PDB with CONECT, PRMTOP, LAMMPS data...)."
    ),
]


Charges = Annotated[
    list[str] | None, typer.Option(help="TYPE=CHARGE in e of charged particle types.")
]


@app.callback()
def main(
    threads: Annotated[
        int,
        typer.Option(
            min=1,
            envvar="OMP_NUM_THREADS",
            help="CPU threads of each process. More than one pays for large systems on "
            "idle cores only; share replicas among --workers instead.",
        ),
    ] = 1,
) -> None:
    """Learned coarse-grained molecular dynamics. Units: nm, ps, Da, K, kJ/mol."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # both read when torch is imported
    # threads that spin while they wait stop each other where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Print an expected error as one line and leave with code 1."""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        _err.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        raise typer.Exit(1) from error


@app.command(no_args_is_help=True)
@_plain_errors()
def prepare(
    trajectories: Files,
    output: Annotated[Path, typer.Option(help="Folder of the bead frames.")],
    topology: Topology = None,
    atoms_per_bead: Annotated[float, typer.Option(help="Atoms in a bead, mean.")] = 5.0,
    method: Annotated[
        Literal["recursive", "kway"], typer.Option(help="How METIS divides.")
    ] = "recursive",
    single_bead_limit: Annotated[
        int, typer.Option(help="Molecules of at most so many atoms are one bead.")
    ] = 0,
    mapping: Annotated[
        Path | None, typer.Option(help="Use this mapping (JSON), not METIS.")
    ] = None,
    mass: Annotated[
        list[str] | None,
        typer.Option(help="NAME=MASS in Da of particles that are no element."),
    ] = None,
    time_step: Annotated[
        float | None,
        typer.Option(help="Time between frames, ps, where the file does not tell."),
    ] = None,
    units: Annotated[
        Literal["real", "metal"], typer.Option(help="Units of a LAMMPS dump.")
    ] = "real",
    md_step: Annotated[
        float | None,
        typer.Option(help="The timestep of LAMMPS: fs (real) or ps (metal)."),
    ] = None,
    type_name: Annotated[
        list[str] | None,
        typer.Option(help="NUMBER=NAME of a LAMMPS atom type; else by mass."),
    ] = None,
    bond_types: Annotated[
        bool,
        typer.Option("--bond-types", help="Keep LAMMPS' numbers of bond types."),
    ] = False,
) -> None:
    """Map TRAJECTORIES of atoms to beads: one H5MD file per system.

    Reads DCD, XTC, TRR, HDF5 and PDB files and LAMMPS dumps (.lammpstrj, perhaps .gz)
    with a topology, and .npz arrays in the reference layout without. Positions in the
    files written are in nm, times in ps.

    For example:
        cgml prepare run1.xtc run2.xtc --topology chain.pdb --output beads
        cgml prepare run.lammpstrj.gz --topology run.data --md-step 2 --output beads
    """
    from cgml.formats.trajectory import LammpsOptions
    from cgml.training import preparation

    written = preparation.prepare(
        trajectories,
        topology,
        output,
        preparation.Coarsening(
            atoms_per_bead=atoms_per_bead,
            method=method,
            single_bead_limit=single_bead_limit,
            mapping=mapping,
            masses=preparation.parse_values(mass or [], "mass"),
            time_step=time_step,
            lammps=LammpsOptions(
                units=units,
                md_step=md_step,
                type_names=preparation.parse_type_names(type_name or []),
                keep_bond_types=bond_types,
            ),
        ),
    )
    _out.print(f"{len(written)} systems written to {output}", soft_wrap=True)


@app.command(no_args_is_help=True)
@_plain_errors()
def train(
    config: Annotated[Path, typer.Argument(help="TOML file.", show_default=False)],
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint of this run.")
    ] = True,
) -> None:
    """Train the model that CONFIG describes; after a kill, repeat the command.

    Times in the file are in ps, lengths in nm, the temperature in K. Checkpoints, the
    CSV and TensorBoard logs and at the end model.pt lie in the folder it names.

    For example:
        cgml train chain.toml
    """
    from cgml.training.config import TrainingConfig
    from cgml.training.fit import fit

    path = fit(TrainingConfig.from_toml(config), resume=resume)
    _out.print(f"model written to {path}", soft_wrap=True)


@app.command(no_args_is_help=True)
@_plain_errors()
def export(
    config: Annotated[Path, typer.Argument(help="TOML file.", show_default=False)],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Default: the best one so far.")
    ] = None,
) -> None:
    """Write the model file of a training run, also of one that still goes on.

    The file, model.pt in the folder of the run, holds the networks and all that a
    user of the model needs to know: time step (ps), types, masses (Da), limits (nm).

    For example:

        cgml export chain.toml --checkpoint runs/chain/checkpoints/last.ckpt
    """
    from cgml.training import fit as training
    from cgml.training.config import TrainingConfig

    settings = TrainingConfig.from_toml(config)
    path = training.export_checkpoint(settings, checkpoint)
    _out.print(f"model written to {path}", soft_wrap=True)


@app.command("import", no_args_is_help=True)
@_plain_errors()
def import_model(
    layout: Annotated[
        Literal["graphwm"], typer.Argument(help="Layout of the checkpoint.")
    ],
    checkpoint: Annotated[Path, typer.Argument(help="File.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file.")],
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
    single_bead_limit: Annotated[
        int, typer.Option(help="Molecules of at most so many atoms are one bead.")
    ] = 0,
    name: Annotated[
        str | None, typer.Option(help="Of the model; default: that of the file.")
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
    _out.print(
        f"model written to {output}: step {spec.time_step:g} ps, {spec.n_history} "
        f"earlier displacements, cutoff {spec.cutoff:g} nm, "
        f"{spec.atoms_per_bead:g} atoms per bead",
        soft_wrap=True,
    )
    _out.print(f"types: {' '.join(spec.particle_types)}", soft_wrap=True)


@app.command(no_args_is_help=True)
@_plain_errors()
def run(
    model: Model,
    starts: Files,
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    time: Annotated[float, typer.Option(help="Simulated time, ps.")],
    topology: Topology = None,
    replicas: Annotated[int, typer.Option(help="Copies of every system.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of all randomness.")] = 0,
    stride: Annotated[int, typer.Option(help="Model steps per stored frame.")] = 1,
    part: Annotated[
        int, typer.Option(help="Frames between saves: what a kill can cost.")
    ] = 100,
    guard: Annotated[
        Literal["raise", "redraw", "record"],
        typer.Option(help="When a step leaves the range of the training data."),
    ] = "raise",
    file_format: Annotated[
        Literal["dcd", "xtc", "h5md"], typer.Option("--format", help="Trajectories.")
    ] = "dcd",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    precision: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option(help="Of the products inside the networks."),
    ] = "float32",
    plain: Annotated[
        bool, typer.Option("--plain", help="As the equations stand: slow, to compare.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option(help="Use what cgml compile made of the model, if anything.")
    ] = True,
    capture: Annotated[
        bool, typer.Option("--capture", help="CUDA graphs; not yet tried on a GPU.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes, or tasks for --scheduler, that share it."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a dask scheduler; its workers share the files."),
    ] = None,
) -> None:
    """Run MODEL from the first frame of STARTS, all systems and replicas at once.

    STARTS are bead frames (.h5md), reference arrays (.npz), or trajectories of atoms
    with a topology. After a kill, repeat the command: the run goes on where it was
    saved, bit for bit. Trajectories hold nm (H5MD) or Å (DCD), times are in ps;
    results.csv has a line for each.

    With --workers the paths are divided among processes of this machine, with
    --scheduler among those of a dask cluster, which must see MODEL and the output
    folder under the same paths; each has the CPU threads of `cgml --threads`. The files
    are the same, and a lost worker's work is done again.

    For example:
        cgml run copolymer-chain beads/*.h5md --time 20000 --replicas 4 --output long
    """
    from cgml.models.file import find_model, read_spec
    from cgml.runs import campaign, simulation
    from cgml.runs.plan import RunOptions
    from cgml.spec import Execution
    from cgml.training.preparation import Coarsening, read_systems

    spec = read_spec(find_model(model))
    # of the starts the first frame counts: any time between frames will do
    coarsening = replace(Coarsening.from_spec(spec), time_step=spec.time_step)
    systems = list(read_systems(starts, topology, coarsening))
    options = RunOptions(
        n_steps=simulation.count_steps(spec, time),
        n_replicas=replicas,
        seed=seed,
        stride=stride,
        n_part=part,
        guard=guard,
        file_format=file_format,
        device=device,
        execution=Execution(
            plain=plain, compiled=compiled, capture=capture, precision=precision
        ),
    )
    n_paths = len(systems) * replicas
    n_frames, frame = n_paths * options.n_frames, stride * spec.time_step  # ps
    with progress(_err, "frames", n_frames, frame) as show:
        outcome = campaign.run(
            model,
            systems,
            output,
            options,
            show,
            n_workers=workers,
            scheduler=scheduler,
        )
    trips = ", ".join(f"{key} {n}" for key, n in outcome.guard_counts.items() if n)
    _out.print(f"{n_paths} trajectories in {output}", soft_wrap=True)
    _out.print(f"guards tripped: {trips or 'none'}")


@app.command(no_args_is_help=True)
@_plain_errors()
def evaluate(
    model: Model,
    reference: Annotated[list[Path], typer.Option(help="File of reference frames.")],
    output: Annotated[Path, typer.Option(help="Folder of figures and page.")],
    topology: Topology = None,
    time: Annotated[
        float | None,
        typer.Option(help="Length of each run, ps; default: the reference's."),
    ] = None,
    replicas: Annotated[int, typer.Option(help="Runs of every molecule.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of all randomness.")] = 0,
    baselines: Annotated[
        Path | None, typer.Option(help="File that cgml baseline wrote.")
    ] = None,
    md_cost: Annotated[
        float | None,
        typer.Option(help="Wall time of MD of all runs, measured here, s per ps."),
    ] = None,
    charge: Charges = None,
    ablation: Annotated[
        bool, typer.Option(help="Boxes: also run without the score network.")
    ] = True,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
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
    from cgml.training.preparation import Coarsening, parse_values, read_systems

    learned = load_model(model, device)
    coarsening = Coarsening.from_spec(learned.spec)
    systems = list(read_systems(reference, topology, coarsening))
    options = evaluation.EvaluationOptions(
        length=time,
        n_replicas=replicas,
        seed=seed,
        device=device,
        md_seconds_per_ps=md_cost,
    )
    n_steps = max(
        evaluation.count_steps(item, learned.spec, options) for item in systems
    )
    step = len(systems) * replicas * learned.spec.time_step
    with progress(_err, "steps", n_steps, step) as show:
        found: evaluation.Evaluation | electrolyte_evaluation.BoxEvaluation
        if learned.spec.periodic:
            found = electrolyte_evaluation.evaluate(
                learned,
                systems,
                options,
                parse_values(charge or [], "charge"),
                predictions=electrolyte_baselines.load(baselines) if baselines else [],
                ablate=ablation,
                on_step=show,
            )
        else:
            found = evaluation.evaluate(
                learned,
                systems,
                options,
                predictions=chain_baselines.load(baselines) if baselines else [],
                on_step=show,
            )
    page = report.write(found, output)
    for name, figure in found.summary.items():
        _out.print(f"{name:40s} {figure.value:10.4g} ± {figure.error:.2g}")
    _out.print(f"report written to {page}", soft_wrap=True)


@app.command(no_args_is_help=True)
@_plain_errors()
def baseline(
    train: Annotated[list[Path], typer.Option(help="Frames of training molecules.")],
    validation: Annotated[list[Path], typer.Option(help="Of other molecules.")],
    reference: Annotated[list[Path], typer.Option(help="Of the test molecules.")],
    output: Annotated[Path, typer.Option(help="JSON file to write.")],
    charge: Charges = None,
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

    def tell(name: str) -> None:
        _err.print(f"baseline: {name}")

    if parts[2][0].box is None:
        found = baselines.measure(*parts, charges=charges, on_baseline=tell)
        baselines.save(output, found)
        n_found = len(found)
    else:
        known = electrolyte_evaluation.measure_baselines(
            *parts, charges=charges, on_baseline=tell
        )
        electrolyte_baselines.save(output, known)
        n_found = len(known)
    _out.print(f"{n_found} baselines written to {output}", soft_wrap=True)


@app.command("compile", no_args_is_help=True)
@_plain_errors()
def compile_networks(model: Model) -> None:
    """Compile a model for this machine: the same numbers to single precision, sooner.

    It needs a C++ compiler and a minute or two. What comes out is kept in your cache
    and used from then on, on the CPU and in single precision. Compiling again
    replaces it; other weights, another version of cgml or torch, and another
    processor need their own.

    For example:
        cgml compile polymer-electrolyte
    """
    from cgml.models.file import load_model
    from cgml.network.compiled import compile_model

    with _err.status("compiling"):
        folder = compile_model(load_model(model))
    _out.print(f"compiled networks in {folder}", soft_wrap=True)


@app.command()
@_plain_errors()
def models(
    name: Annotated[str | None, typer.Argument(help="Show this model's card.")] = None,
) -> None:
    """List the bundled models, or show the card of one.

    Time steps in ps, temperatures in K. Published checkpoints become model files by
    cgml import.

    For example:
        cgml models copolymer-chain
    """
    from cgml.models.file import bundled_models, read_spec

    bundled = bundled_models()
    if name is not None:
        if name not in bundled:
            known = ", ".join(bundled) or "none"
            raise ValueError(f"no bundled model is named {name!r}, there are: {known}")
        card = bundled[name].with_suffix(".md")
        _out.print(Markdown(card.read_text(encoding="utf-8")))
        return
    name_column = Column("name", no_wrap=True)
    table = Table(name_column, "step / ps", "atoms per bead", "types", "box", "T / K")
    for key, path in bundled.items():
        spec = read_spec(path)
        table.add_row(
            key,
            f"{spec.time_step:g}",
            f"{spec.atoms_per_bead:g}",
            " ".join(spec.particle_types),
            "periodic" if spec.periodic else "open",
            f"{spec.temperature:g}",
        )
    _out.print(table)
    _out.print("cgml models NAME shows a model's card")
