"""From trajectory files to bead frames on disk: the first stage of training."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from cgml.files import component
from cgml.formats import table, trajectory
from cgml.formats.h5md import write_pieces
from cgml.formats.selection import FrameOptions, selected
from cgml.locks import exclusive
from cgml.molecules.checks import check_topology
from cgml.molecules.chemistry import check_used, describe
from cgml.molecules.collecting import Collector
from cgml.molecules.fragments import NAME
from cgml.molecules.frames import BeadTrajectory, Trajectory, coarsen, join
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.molecules.stereocentres import LETTERS
from cgml.molecules.turning import Turning
from cgml.training.coarsening import Coarsening
from cgml.training.sources import check_options, topology_of

BEADS = ".h5md"
LOGGER = logging.getLogger(__name__)


def read_systems(
    paths: Sequence[Path],
    topology: Path | None,
    coarsening: Coarsening,
    *,
    n_frames: int | None = None,
    are_timed: bool = True,
) -> Iterator[BeadTrajectory]:
    """Read bead frames from files of any kind, one system after the other.

    Args:
        paths: frames of beads (.h5md), arrays in the reference layout (.npz), or
            trajectories of atoms (formats/table.py).
        topology: file with the atoms and bonds of the trajectories of atoms; those
            that have them themselves (as PDB and LAMMPS data files) need none.
        coarsening: how those atoms become beads.
        n_frames: the first ones of each system, which alone are read; None: all.
        are_timed: False: times do not matter, and files of atoms need not tell them.

    Raises:
        ValueError: trajectories of atoms without a topology, or a file that cannot
            be used.
    """
    frames = coarsening.frames
    if n_frames is not None and frames.start >= 0 and frames.stop is None:
        last = frames.start + n_frames * frames.stride
        coarsening = replace(coarsening, frames=replace(frames, stop=last))
    for pieces in read_pieces(
        paths, topology, coarsening, n_frames=n_frames, are_timed=are_timed
    ):
        yield join(pieces)


def read_prepared(
    paths: Sequence[Path], recipe: Recipe | None = None
) -> list[BeadTrajectory]:
    """Read files of beads (.h5md, .npz), where atoms will not do."""
    for path in paths:
        if table.of_frames(path).beads is None:
            raise ValueError(
                f"bead frames (.h5md) or reference arrays (.npz) are required, {path} "
                f"holds atoms: map them first, with cgml prepare {path.name} "
                "--topology FILE --output FOLDER"
            )
    return list(read_systems(paths, None, Coarsening(recipe)))


def read_pieces(
    paths: Sequence[Path],
    topology: Path | None,
    coarsening: Coarsening,
    *,
    n_frames: int | None = None,
    are_timed: bool = True,
    collector: Collector | None = None,
) -> Iterator[Iterator[BeadTrajectory]]:
    """Read bead frames piece by piece: memory does not grow with a file of atoms.

    Arguments are those of `read_systems`; n_frames: in a piece; None: a few megabytes;
    collector: of fragments, to look at the atoms.

    Yields:
        Of each system its pieces, to be taken before the next system.
    """
    rows = [(path, table.of_frames(path)) for path in paths]
    sources = {
        path: topology_of(path, row, topology)
        for path, row in rows
        if row.beads is None
    }
    check_options(dict(rows), topology, coarsening)
    graphs = read_graphs(list(dict.fromkeys(sources.values())), coarsening)
    mappings: dict[Path, Mapping] = {}
    for path, row in rows:
        if row.beads is not None:
            n = coarsening.frames.n_first
            for system in row.beads(path, coarsening.recipe, n):
                yield iter([coarsening.frames.of_beads(system, path)])
            continue
        source = sources[path]
        atoms = trajectory.read_pieces(
            path,
            graphs[source][0],
            n_frames=n_frames if coarsening.frames.start == 0 else None,
            time_step=coarsening.time_step if are_timed else 1.0,
            lammps=coarsening.lammps,
            frames=graphs[source][1],
        )
        if source not in mappings:
            mappings[source] = coarsening.map(graphs[source][0])
        if collector is not None:
            atoms = collector.watch(atoms, mappings[source])
        yield _coarsened(atoms, mappings[source])


def _coarsened(pieces: Iterable[Trajectory], cut: Mapping) -> Iterator[BeadTrajectory]:
    """Beads of the pieces of a system; they know hands and rotation up to there."""
    turning = Turning(cut)
    mapping = cut if cut.hands is None else replace(cut, hands=None)
    n_unsettled = 0
    for piece in pieces:
        mapping = mapping.with_hands(piece.positions)
        n = mapping.hand_counts.get(LETTERS[0], 0)
        if n > n_unsettled:
            LOGGER.warning(
                "stereocentres turn over in the frames of %s: %d of %d have no hand "
                "that stays, and none is taken; are these frames of one molecule?",
                *(piece.name or "a system", n, len(mapping.stereocentres.atoms)),
            )
        n_unsettled = n
        turning.take(piece.positions, piece.times)
        yield replace(coarsen(piece, mapping), rotation=turning.found())


def read_graphs(
    sources: Sequence[Path], coarsening: Coarsening
) -> dict[Path, tuple[MolecularGraph, FrameOptions]]:
    """Read topologies, and find the atoms that are selected in each.

    What the user says of a name must serve in one of them.
    """
    used: set[str] = set()
    lammps, system = coarsening.lammps, coarsening.system
    tables = [
        trajectory.read_atoms(source, lammps=lammps, system=system)
        for source in sources
    ]
    chosen = [selected(atoms, coarsening.frames) for atoms in tables]
    graphs = [describe(atoms, coarsening.chemistry, used) for atoms, _ in chosen]
    check_used(coarsening.chemistry, used, tables)
    for source, graph, (atoms, _) in zip(sources, graphs, chosen, strict=True):
        check_topology(graph, str(source))
        trajectory.say_carbons(atoms, coarsening.chemistry)
    pairs = zip(graphs, (options for _, options in chosen), strict=True)
    return dict(zip(sources, pairs, strict=True))


def prepare(
    paths: Sequence[Path],
    topology: Path | None,
    output: Path,
    coarsening: Coarsening,
) -> list[Path]:
    """Map trajectories to beads and write one H5MD file per system.

    Arguments are those of `read_systems`; output: folder, made if need be.

    Returns:
        The files written, `output/NAME.h5md`; each holds its mapping. The mapping of
        trajectories of atoms is also written as `output/mapping.json`, and how their
        atoms lie as `output/fragments.npz`, for back-mapping.

    Raises:
        ValueError: two systems would have the same file name, or a file cannot be
            used.
        RuntimeError: another process works in the folder.
    """
    written, saved = list[Path](), None
    collector = Collector()
    with exclusive(output, "prepare"):
        for pieces in read_pieces(paths, topology, coarsening, collector=collector):
            first = next(pieces)
            name = component(first.name, "a system")
            target = output / f"{name}{BEADS}"
            if target in written:
                raise ValueError(
                    f"two systems are named {first.name!r}: prepare them into "
                    "different folders, or rename a file"
                )
            mapping = write_pieces(target, chain([first], pieces))
            written.append(target)
            if first.first_atoms is None:
                continue
            if saved is not None and saved.hash() != mapping.hash():
                mapping = replace(mapping, hands=None)  # each system has its own
            mapping.save(output / "mapping.json")
            saved = mapping
        fragments = collector.fragments()
        if fragments.conformers:
            fragments.save(output / NAME)
    return written
