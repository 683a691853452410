"""What files hold, before anything is made of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cgml.formats import table
from cgml.molecules.mapping import Mapping
from cgml.molecules.sketch import MOST_PANELS, Picture
from cgml.molecules.summary import Summary, describe, follow
from cgml.training.coarsening import Coarsening
from cgml.training.preparation import read_graphs, read_pieces


def inspect(
    paths: Sequence[Path], topology: Path | None, coarsening: Coarsening
) -> Iterator[tuple[Mapping, Summary]]:
    """Read files to the end, as `cgml prepare` does, and describe what they hold.

    Arguments are those of `read_systems`; files of atoms and bonds alone will do, too.

    Yields:
        The mapping and the summary of each system, those with frames first.
    """
    moving = [path for path in paths if table.has_frames(path)]
    if topology is not None and not moving:
        raise ValueError(
            f"--topology is of frames, {paths[0]} holds atoms and bonds alone: leave "
            "one of the two out"
        )
    for pieces in read_pieces(moving, topology, coarsening) if moving else ():
        yield follow(pieces)
    alone = [path for path in paths if path not in moving]
    for path, (graph, _) in read_graphs(alone, coarsening).items() if alone else ():
        mapping = coarsening.map(graph)
        yield mapping, describe(mapping, path.stem)


def pictures(found: Sequence[tuple[Mapping, Summary]]) -> list[Picture]:
    """Choose the kinds of molecules to draw: each once, in all systems."""
    chosen: dict[str, Picture] = {}
    for mapping, summary in found:
        for kind in summary.kinds:
            chosen.setdefault(f"{kind.formula} {kind.beads}", Picture(mapping, kind))
        if len(chosen) >= MOST_PANELS:
            break
    return list(chosen.values())[:MOST_PANELS]
