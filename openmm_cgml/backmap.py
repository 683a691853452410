"""cgml backmap: frames of beads to frames of atoms."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cgml.cli import console, options
from cgml.texts import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cgml.molecules.box import Box
    from cgml.molecules.frames import BeadTrajectory
    from cgml.molecules.mapping import Mapping
    from cgml.training.coarsening import Coarsening
    from openmm_cgml.backmapper import FrameReport

FAILED = 3  # exit code: frames are left out
_SAME_BOX = 1e-3  # nm: PDB files have as many digits


@options.reads_atoms
def backmap(
    reader: options.FramesReader,
    frames: options.File,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Atoms: .xtc or .h5md.", parser=options.path
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Model file or name; default: that of the run.",
            parser=options.model_name,
        ),
    ] = None,
    fragments: Annotated[
        Path | None,
        typer.Option(
            help="File of cgml prepare; default: the one beside the model file.",
            parser=options.path,
        ),
    ] = None,
    seed: options.Seed = 0,
    relaxation_time: Annotated[float, typer.Option(help="Of the MD, ps.")] = 4.0,
    relaxation_step: Annotated[
        float, typer.Option(help="Time step of the MD, ps.")
    ] = 0.002,
    tolerance: Annotated[
        float,
        typer.Option(help="Largest rms distance of centres of beads, nm; or fails."),
    ] = 0.05,
    platform: Annotated[str, typer.Option(help="OpenMM platform.")] = "CPU",
    part: Annotated[
        int, typer.Option(min=1, help="Frames between saves: what a kill can cost.")
    ] = 10,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
) -> None:
    """Put atoms in the place of the beads of FRAMES, relaxed by your force field.

    FRAMES are the folder of a run, or one of its trajectories. --topology has atoms and
    bonds, in the order in which the run knew them, --system their forces (XML file of
    an OpenMM System); positions in the topology show the handedness of the atoms.
    Fragments of MD are placed, minimised and moved for some ps at the model's
    temperature while the beads stay where they are (rms 0.05 nm, or --tolerance).
    Lengths are in nm, times in ps. report.csv in the folder OUTPUT.backmap has a line
    for each frame, with the beads that atoms of others pushed away. A frame that cannot
    be relaxed is tried anew, then left out and named; the command ends with exit code
    3. After a kill, repeat the command.

    For example:
        cgml backmap long --system system.xml --topology box.pdb -o atoms.xtc
    """
    from cgml.progress import progress
    from openmm_cgml import backmap_run
    from openmm_cgml.backmapper import Ingredients
    from openmm_cgml.relaxation import Relaxation

    relaxation = Relaxation(
        time=relaxation_time, time_step=relaxation_step, tolerance=tolerance
    )
    beads, made_of = _read(reader, *_found(frames), model, fragments)
    ingredients = Ingredients(
        **made_of, relaxation=relaxation, seed=seed, platform=platform
    )
    n = len(beads.times)
    with progress(console.working(), "frames", n, relaxation_time) as show:
        outcome = backmap_run.run(
            ingredients,
            beads,
            output,
            show,
            n_part=part,
            n_workers=workers,
            scheduler=scheduler,
        )
    done = counted(n - len(outcome.failed), "frame")
    console.say(f"{done} in {output}, see {outcome.report}")
    console.say(_deviations(outcome.good))
    for row in outcome.failed:
        time = beads.times[row.frame]
        console.warn(f"left out: frame {row.frame} at {time:g} ps: {row.problem}")
    console.emit(
        {
            "trajectory": str(output),
            "report": str(outcome.report),
            "frames": [row._asdict() for row in outcome.frames],
        }
    )
    if outcome.failed:
        raise typer.Exit(FAILED)


def _deviations(rows: "list[FrameReport]") -> str:
    """Say how far beads are from their places."""
    if not rows:
        return "no frame is good"
    mean = sum(row.deviation for row in rows) / len(rows)
    most = max(rows, key=lambda row: row.farthest)
    n = sum(bool(row.moved) for row in rows)
    pushed = f"; some had to move in {counted(n, 'frame')} (moved)" if n else ""
    return (
        f"centres of beads are {mean:.3f} nm from their places (rms, mean of the "
        f"frames), at most {most.farthest:.3f} nm (frame {most.frame}){pushed}"
    )


def _found(frames: Path) -> tuple[Path, dict[str, Any]]:
    """Find the trajectory, and the plan of the run that it is of; empty: none."""
    from cgml.plans import read_plan
    from cgml.runs.plan import PLAN

    folder = frames if frames.is_dir() else frames.parent
    plan: dict[str, Any] = {}
    if (folder / PLAN).exists():
        content = read_plan(folder / PLAN)
        plan = {"file": content.get("model"), **content["plan"]}
    if not frames.is_dir():
        return frames, plan
    if not plan:
        raise ValueError(f"a run or a trajectory is required, {frames} has no {PLAN}")
    paths = [
        path
        for name, *_ in plan["systems"]
        for path in sorted(folder.glob(f"*_r*.{plan['file_format']}"))
        if re.fullmatch(rf"{re.escape(name)}_r\d+", path.stem)
    ]
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none, finish it first"
        raise ValueError(
            f"one trajectory is required, {folder} has {len(paths)} ({names}): name "
            "the file in place of the folder"
        )
    return paths[0], plan


def _model(given: str | None, plan: dict[str, Any]) -> Path:
    """Find the model file of a run."""
    from cgml.models.file import bundled_models, find_model, load_model

    if given is None and not plan:
        raise ValueError(
            "the frames are in no folder of a run, which would tell the model: name it "
            "with --model"
        )
    candidates = bundled_models() if given is None else {given: find_model(given)}
    own = Path(plan.get("file") or "") if given is None else Path()
    if own.is_file():
        candidates = {"": own} | candidates
    for path in candidates.values():
        if not plan or load_model(path).digest == plan["model"]:
            return path
    raise ValueError(
        f"the model of the run is not where it was ({own}) and not a bundled one: name "
        "its file with --model"
        if given is None
        else f"the run was made with another model than {given}: name that file "
        "with --model"
    )


def _read(
    reader: options.FramesReader,
    path: Path,
    plan: dict[str, Any],
    model: str | None,
    fragments: Path | None,
) -> "tuple[BeadTrajectory, dict[str, Any]]":
    """Read the frames, and what a Backmapper is made of besides the user's wishes."""
    from cgml.formats.openmm_xml import read_masses
    from cgml.models.file import read_spec
    from cgml.molecules.fragments import Fragments, beside
    from cgml.training.coarsening import Coarsening
    from cgml.training.preparation import read_graphs

    if reader.topology is None or reader.system is None:
        raise ValueError(
            "atoms and their forces are required: pass the file with atoms and bonds "
            "(--topology) and the XML file of their OpenMM System (--system)"
        )
    found = _model(model, plan)
    spec = read_spec(found)
    library = Fragments.load(fragments or beside(found))
    coarsening = reader.complete(Coarsening.from_spec(spec))
    graph, _ = read_graphs([reader.topology], coarsening)[reader.topology]
    mapping = coarsening.map(graph)
    known = [row[1] for row in plan.get("systems", [])]
    has_hands = len(mapping.stereocentres.atoms) > 0  # which the plan's mapping knows
    if known and not has_hands and mapping.hash() not in known:
        raise ValueError(
            f"the atoms of the run are required, {reader.topology} has other types, "
            "masses or bonds, or another order of atoms"
        )
    read_masses(reader.system)  # it is such a file
    beads = _frames(path, mapping, _of_run(coarsening) if plan else coarsening)
    system = reader.system.read_text(encoding="utf-8")
    boxes = {reader.topology: _box_of_file(reader.topology)}
    _compare_boxes(beads.box, boxes | {reader.system: _box_of_system(system)})
    made_of = {
        "fragments": library,
        "mapping": mapping,
        "system": system,
        "reference": _reference(reader.topology, mapping, beads),
        "temperature": spec.temperature,
    }
    return beads, made_of


def _of_run(coarsening: "Coarsening") -> "Coarsening":
    """Frames of a run do not jump at the box."""
    return replace(coarsening, frames=replace(coarsening.frames, is_unwrapped=True))


def _frames(
    path: Path, mapping: "Mapping", coarsening: "Coarsening"
) -> "BeadTrajectory":
    """Read the frames of beads."""
    from cgml.formats import table, trajectory
    from cgml.molecules.frames import BeadTrajectory

    row = table.of_frames(path)
    if row.beads is None:
        read = trajectory.read(
            path,
            mapping.bead_graph,
            time_step=coarsening.time_step,
            frames=coarsening.frames,
        )
        return BeadTrajectory(mapping, read.positions, read.times, read.box, read.name)
    system, *more = row.beads(path, coarsening.recipe, coarsening.frames.n_first)
    own = system.mapping
    is_same = own.graph.hash() == mapping.graph.hash()
    if more or not is_same or own.bead_index.tolist() != mapping.bead_index.tolist():
        raise ValueError(
            f"the beads of the atoms in the topology are required, {path} has those of "
            "others"
        )
    return coarsening.frames.of_beads(system, path)


def _box_of_file(topology: Path) -> "Box | None":
    """Read the box of a file with atoms; None: it has none."""
    from cgml.formats import table
    from cgml.formats.format import LammpsOptions

    row = table.of_frames(topology) if table.has_frames(topology) else None
    if row is None or row.pieces is None:
        return None
    boxes = next(iter(row.pieces(topology, 1, LammpsOptions()))).boxes
    return None if boxes is None else boxes[0]


def _box_of_system(system: str) -> "Box | None":
    """Read the box of a System's XML; None: it has none."""
    import openmm

    from openmm_cgml.convert import default_box

    found = openmm.XmlSerializer.deserialize(system)
    return default_box(found) if found.usesPeriodicBoundaryConditions() else None


def _compare_boxes(box: "Box | None", others: "dict[Path, Box | None]") -> None:
    """Say which file has another box than the frames, whose box it is done in."""
    import numpy as np

    for path, other in others.items():
        if box is None or other is None or np.allclose(box, other, atol=_SAME_BOX):
            continue
        own, frames = (
            " x ".join(f"{x:.3f}" for x in np.diagonal(item)) for item in (other, box)
        )
        console.warn(
            f"the box in {path} is {own} nm, that of the frames {frames} nm: atoms are "
            "relaxed in that of the frames"
        )


def _reference(
    topology: Path, mapping: "Mapping", beads: "BeadTrajectory"
) -> "NDArray[np.float64] | None":
    """Find atoms that show their hands; None: none has any, or there are none."""
    import numpy as np
    from numpy.typing import NDArray

    from cgml.formats import table, trajectory
    from cgml.molecules.sites import sites

    if not any(len(site.kind.centres) for site in sites(mapping)):
        return None
    if beads.first_atoms is not None:
        return beads.first_atoms.astype(np.float64)
    if not table.has_frames(topology):
        return None
    first = next(
        trajectory.read_pieces(topology, mapping.graph, n_frames=1, time_step=1.0)
    )
    shown: NDArray[np.float64] = first.positions[0].astype(np.float64)
    return shown
