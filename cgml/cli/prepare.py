"""cgml prepare: trajectories of atoms to bead frames."""

from pathlib import Path
from typing import Annotated

import typer

from cgml.cli import options
from cgml.cli.console import emit, say, tell
from cgml.texts import counted


@options.reads_atoms
def prepare(
    reader: options.FramesReader,
    trajectories: options.Files,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder of the bead frames.", parser=options.folder
        ),
    ],
    atoms_per_bead: options.AtomsPerBead = 5.0,
    method: options.Method = "recursive",
    single_bead_limit: options.SingleBeadLimit = 0,
    keep_hydrogens: options.KeepHydrogens = True,
    keep_groups: options.KeepGroups = False,
    bond_types: Annotated[
        bool,
        typer.Option("--bond-types", help="Keep LAMMPS' numbers of bond types."),
    ] = False,
) -> None:
    """Map TRAJECTORIES of atoms to beads: one H5MD file per system.

    Reads DCD, XTC, TRR, GRO, AMBER NetCDF, HDF5, PDB and mmCIF files and LAMMPS dumps
    (.lammpstrj, perhaps .gz) with a topology, and .npz arrays in the reference layout.
    Positions in the files written are in nm, times in ps.

    Frames of constant pressure are put into their mean box (or --box): the centres of
    molecules are scaled, their shapes stay. METIS makes the beads, hydrogens go with
    their heavy atom; --mapping takes beads by hand: [[bead]] entries with name, residue
    and atoms, wildcards allowed.

    For example:
        cgml prepare run1.xtc run2.xtc --topology chain.pdb --output beads
        cgml prepare run.lammpstrj.gz --topology run.data --md-step 2 --output beads
        cgml prepare run.xtc --topology run.pdb --system system.xml --output beads
    """
    from cgml.cli import overview
    from cgml.formats.h5md import read_summary
    from cgml.formats.trajectory import LammpsOptions
    from cgml.molecules import sketch
    from cgml.molecules.recipe import Recipe
    from cgml.training import inspection, preparation
    from cgml.training.coarsening import Coarsening

    coarsening = Coarsening(
        recipe=Recipe(
            atoms_per_bead, method, single_bead_limit, keep_hydrogens, keep_groups
        ),
        lammps=LammpsOptions(keep_bond_types=bond_types),
    )
    written = preparation.prepare(
        trajectories, reader.topology, output, reader.complete(coarsening)
    )
    found = [read_summary(path) for path in written]
    overview.show([summary for _, summary in found])
    if any(summary.is_chiral for _, summary in found):
        tell(
            "warning: these molecules are chiral; a model tells left from right only "
            "if it is trained with chiral = true and n_vectors = 8 under [network]"
        )
    drawing = output / "molecules.png"
    sketch.draw(inspection.pictures(found), drawing)
    say(f"molecules drawn in {drawing}")
    say(f"{counted(len(written), 'system')} written to {output}")
    emit(
        {
            "systems": [summary.as_json() for _, summary in found],
            "files": [str(path) for path in written],
            "drawing": str(drawing),
        }
    )
