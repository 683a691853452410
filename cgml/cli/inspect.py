"""cgml inspect: what files hold."""

from pathlib import Path
from typing import Annotated

import typer

from cgml.cli import console, options


@options.reads_atoms
def inspect(
    reader: options.FramesReader,
    files: options.Files,
    atoms_per_bead: options.AtomsPerBead = 5.0,
    method: options.Method = "recursive",
    single_bead_limit: options.SingleBeadLimit = 0,
    keep_hydrogens: options.KeepHydrogens = True,
    keep_groups: options.KeepGroups = False,
    drawing: Annotated[
        Path | None,
        typer.Option(help="PNG file: molecules and their beads.", parser=options.path),
    ] = None,
) -> None:
    """Show what FILES hold: molecules, types, masses, bonds, beads, frames, box.

    FILES are trajectories of atoms (with their topology) or of beads, or topologies
    alone. Nothing is written but the drawing. Lengths are in nm, times in ps, masses in
    Da. Look before you prepare: the molecules must be yours.

    For example:
        cgml inspect run1.xtc --topology chain.pdb --drawing chain.png
    """
    from cgml.cli import overview
    from cgml.molecules import sketch
    from cgml.molecules.recipe import Recipe
    from cgml.training import inspection
    from cgml.training.coarsening import Coarsening

    coarsening = Coarsening(
        recipe=Recipe(
            atoms_per_bead, method, single_bead_limit, keep_hydrogens, keep_groups
        )
    )
    found = list(
        inspection.inspect(files, reader.topology, reader.complete(coarsening))
    )
    summaries = [summary for _, summary in found]
    if console.for_machines.get():
        console.emit([item.as_json() for item in summaries])
    else:
        overview.show(summaries)
    if drawing is not None:
        sketch.draw(inspection.pictures(found), drawing)
        console.tell(f"molecules drawn in {drawing}")
