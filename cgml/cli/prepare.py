"""cgml prepare: trajectories of atoms to bead frames."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cgml.cli import options
from cgml.cli.console import say


def prepare(
    trajectories: options.Files,
    output: Annotated[
        Path, typer.Option(help="Folder of the bead frames.", parser=options.folder)
    ],
    topology: options.Topology = None,
    atoms_per_bead: Annotated[float, typer.Option(help="Atoms in a bead, mean.")] = 5.0,
    method: Annotated[
        Literal["recursive", "kway"], typer.Option(help="How METIS divides.")
    ] = "recursive",
    single_bead_limit: options.SingleBeadLimit = 0,
    mapping: Annotated[
        Path | None,
        typer.Option(help="Use this mapping (JSON), not METIS.", parser=options.path),
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
    from cgml.cli import overview
    from cgml.formats.h5md import read_summary
    from cgml.formats.trajectory import LammpsOptions
    from cgml.molecules import sketch
    from cgml.molecules.recipe import Recipe
    from cgml.training import inspection, preparation

    written = preparation.prepare(
        trajectories,
        topology,
        output,
        preparation.Coarsening(
            recipe=Recipe(atoms_per_bead, method, single_bead_limit),
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
    found = [read_summary(path) for path in written]
    overview.show([summary for _, summary in found])
    drawing = output / "molecules.png"
    sketch.draw(inspection.pictures(found), drawing)
    say(f"molecules drawn in {drawing}")
    say(f"{len(written)} systems written to {output}")
