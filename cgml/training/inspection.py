"""What files hold, before anything is made of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cgml.formats import table
from cgml.formats.trajectory import read_topology
from cgml.molecules.mapping import Mapping
from cgml.molecules.sketch import MOST_PANELS, Picture
from cgml.molecules.summary import Summary, describe, follow
from cgml.training.preparation import Coarsening, read_pieces


def inspect(
    paths: Sequence[Path], topology: Path | None, coarsening: Coarsening
) -> Iterator[tuple[Mapping, Summary]]:
    """Read files to the end, as `cgml prepare` does, and describe what they hold.

    Args:
        paths: trajectories of atoms or of beads, or files of atoms and bonds alone.
        topology: file with the atoms and bonds of trajectories of atoms.
        coarsening: how these become beads.

    Yields:
        The mapping and the summary of each system.

    Raises:
        ValueError: a file cannot be used.
    """
    for path in paths:
        if table.has_frames(path):
            for pieces in read_pieces([path], topology, coarsening):
                yield follow(pieces)
            continue
        graph = read_topology(path, masses=coarsening.masses, lammps=coarsening.lammps)
        mapping = coarsening.map(graph)
        yield mapping, describe(mapping, path.stem)


def pictures(found: Sequence[tuple[Mapping, Summary]]) -> list[Picture]:
    """Choose the kinds of molecules to draw: each once, in all systems.

    Args:
        found: the systems.
    """
    chosen: dict[str, Picture] = {}
    for mapping, summary in found:
        for kind in summary.kinds:
            chosen.setdefault(f"{kind.formula} {kind.beads}", Picture(mapping, kind))
        if len(chosen) >= MOST_PANELS:
            break
    return list(chosen.values())[:MOST_PANELS]
