"""What a page needs to show paths of beads: positions, bonds, box, kinds.

The page is one file that needs nothing else: positions are rounded to 1/65535 of the
extent of a path and travel in the page itself.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import mdtraj
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cgml.files import existing, replacing
from cgml.formats import table
from cgml.formats.format import LammpsOptions, check_finite, reading
from cgml.formats.h5md import read_beads
from cgml.formats.pdb import bead_names
from cgml.molecules.centres import centres_of_mass
from cgml.ranges import at_least

MOST_NUMBERS = 3_000_000
"""Coordinates in a page, all paths together: 8 MB."""

ATOMS = "_atoms"  # at the end of the names of files of atoms
MARK = b'content="cgml view"'
LARGEST = 65_535  # of an unsigned number of two bytes


@dataclass(frozen=True, eq=False)
class Scene:
    """A path to be shown.

    Attributes:
        name: of the path.
        positions: (n_frames, n_beads, 3) nm.
        times: (n_frames,) ps.
        bonds: (n_bonds, 2).
        kinds: of the beads, by name, (n_beads,).
        box: row vectors, (3, 3) nm; None: open boundaries.
    """

    name: str
    positions: NDArray[np.float64]
    times: NDArray[np.float64]
    bonds: NDArray[np.int64]
    kinds: Sequence[str]
    box: NDArray[np.float64] | None = None

    @classmethod
    def read(cls, path: Path, n_frames: int) -> "Scene":
        """Read frames of beads, evenly over the file.

        Args:
            path: .h5md, or another trajectory of `cgml run` with the PSF file of its
                system beside it.
            n_frames: at most.

        Raises:
            ValueError: there is no such PSF file, or one of the two is damaged.
        """
        with reading(path):
            return cls._read(path, n_frames)

    @classmethod
    def _read(cls, path: Path, n_frames: int) -> "Scene":
        if path.suffix == ".h5md":
            found = read_beads(path)
            kept = _evenly(len(found.times), n_frames)
            mapping = found.mapping
            positions, times = found.positions[kept], found.times[kept]
            bonds, kinds, box = mapping.bead_bonds, bead_names(mapping), found.box
        else:
            topology = _structure(path)
            positions, times, box = _frames(path)
            kept = _evenly(len(positions), n_frames)
            positions, times = positions[kept], times[kept]
            check_finite(path, 0, positions, times, None if box is None else box[None])
            if positions.shape[1] != topology.n_atoms:
                raise ValueError(
                    f"{path} has {positions.shape[1]} beads, the PSF file of its "
                    f"system {topology.n_atoms}: run the same command again"
                )
            bonds = np.array([[a.index, b.index] for a, b in topology.bonds], dtype=int)
            kinds = [atom.residue.name for atom in topology.atoms]
        own = np.asarray(positions, dtype=np.float64)
        return cls(
            path.stem,
            gathered(own, bonds, box),
            np.asarray(times, dtype=np.float64),
            np.reshape(bonds, (-1, 2)),
            kinds,
            box,
        )

    def as_json(self) -> dict[str, Any]:
        """Return what the page reads."""
        corner = self.positions.min(axis=(0, 1))
        extent = max(float(np.ptp(self.positions, axis=(0, 1)).max()), 1e-9)
        scaled = np.round((self.positions - corner) / extent * LARGEST)
        names = list(dict.fromkeys(self.kinds))
        return {
            "name": self.name,
            "corner": corner.tolist(),
            "extent": extent,
            "n": int(self.positions.shape[1]),
            "times": self.times.tolist(),
            "frames": base64.b64encode(scaled.astype("<u2").tobytes()).decode("ascii"),
            "bonds": self.bonds.ravel().tolist(),
            "names": names,
            "kinds": [names.index(kind) for kind in self.kinds],
            "box": None if self.box is None else self.box.tolist(),
        }


def gathered(
    positions: NDArray[np.float64],
    bonds: NDArray[np.int64],
    box: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Put the centre of every molecule into the box, or the system around its own.

    Args:
        positions: (n_frames, n_beads, 3) nm, molecules whole.
        bonds: (n_bonds, 2).
        box: row vectors, (3, 3) nm; None: open boundaries.
    """
    if box is None:
        return np.asarray(positions - positions.mean(axis=1, keepdims=True))
    n = positions.shape[1]
    pairs = np.reshape(bonds, (-1, 2))
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, molecules = connected_components(graph, directed=False)
    centres = centres_of_mass(positions, molecules, np.ones(n))
    shifts = np.floor(centres @ np.linalg.inv(box)) @ box
    return np.asarray(positions - shifts[:, molecules])


def paths_of(run: Path) -> list[Path]:
    """Find the trajectories of a run, or a file by itself.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: there are none.
    """
    if not run.is_dir():
        return [existing(run)]
    suffixes = {".dcd", ".xtc", ".h5md"}
    found = [p for p in sorted(run.glob("*_r*")) if p.suffix in suffixes]
    found = [p for p in found if not p.stem.endswith(ATOMS)]
    if not found:
        raise ValueError(
            "the folder of a finished `cgml run`, or a file of bead frames (.h5md), is "
            f"required, {run} has no trajectories"
        )
    return found


def write(path: Path, trajectories: Sequence[Path], n_frames: int) -> None:
    """Write a page that shows paths, in any browser, without a network.

    Args:
        path: the file, .html.
        trajectories: to be shown.
        n_frames: of each, evenly over the file; fewer where the page would grow beyond
            `MOST_NUMBERS`.

    Raises:
        ValueError: the file is no page, or one of others.
    """
    at_least(n_frames, 1, "the number of frames")
    _check_page(path)
    scenes = list(_scenes(trajectories, n_frames))
    source = resources.files("cgml.runs").joinpath("view.html.jinja")
    template = jinja2.Environment(autoescape=True).from_string(
        source.read_text(encoding="utf-8")
    )
    data = json.dumps([item.as_json() for item in scenes], allow_nan=False)
    text = template.render(data=data.replace("<", "\\u003c"))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _check_page(path: Path) -> None:
    """Refuse to write over what this command has not written."""
    if path.suffix not in (".html", ".htm"):
        raise ValueError(
            f"the page is an .html file, got {path}: give --output another"
        )
    if not path.exists():
        return
    with existing(path).open("rb") as stream:
        if MARK not in stream.read(200):
            raise ValueError(
                f"{path} is there, and not written by cgml view: move it, or give "
                "--output another name"
            )


def _scenes(trajectories: Sequence[Path], n_frames: int) -> Iterator[Scene]:
    """Read the paths, thinned out so that all fit into a page."""
    share = MOST_NUMBERS // max(len(trajectories), 1)
    for path in trajectories:
        scene = Scene.read(path, n_frames)
        most = max(share // (3 * scene.positions.shape[1]), 1)
        kept = _evenly(len(scene.times), most)
        yield Scene(
            scene.name,
            scene.positions[kept],
            scene.times[kept],
            scene.bonds,
            scene.kinds,
            scene.box,
        )


def _structure(path: Path) -> mdtraj.Topology:
    """Read the PSF file of a path's system: NAME.psf beside NAME_r0.dcd."""
    kind = ATOMS if path.stem.endswith(ATOMS) else ""
    name = path.stem.removesuffix(ATOMS).rpartition("_r")[0]
    psf = path.with_name(f"{name}{kind}.psf")
    if not psf.exists():
        raise ValueError(
            f"{psf.name} beside {path.name} is required, as `cgml run` writes it; "
            "bead frames (.h5md) need none"
        )
    with reading(existing(psf)):
        return mdtraj.load_psf(str(psf))


def _frames(
    path: Path,
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64] | None]:
    """Read positions (nm), times (ps) and the box of a file of frames."""
    row = table.of_frames(path)
    if row.pieces is None:
        raise ValueError(f"frames of beads are required, {path} is {row.name}")
    pieces = list(row.pieces(path, 1000, LammpsOptions()))
    positions = np.concatenate([piece.positions for piece in pieces])
    found = [piece.times for piece in pieces if piece.times is not None]
    times = np.concatenate(found) if found else np.arange(float(len(positions)))
    boxes = pieces[0].boxes
    return positions, times, None if boxes is None else boxes[0]


def _evenly(n: int, most: int) -> NDArray[np.int64]:
    """Return at most so many places, evenly from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))
