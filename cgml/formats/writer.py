"""Writing bead trajectories and the file to open them with."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from mdtraj.formats import XTCTrajectoryFile
from numpy.typing import NDArray

from cgml.files import replacing
from cgml.formats import dcd, h5md
from cgml.molecules.box import Box, check_box
from cgml.molecules.frames import spacing
from cgml.molecules.mapping import Mapping
from cgml.units import ANGSTROM

_PDB_LARGEST = 999.0  # Angstrom: eight columns with three decimals and a sign
_PDB_CHAINS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class _Sink(Protocol):
    """Where frames go."""

    def append(self, positions: NDArray[Any], times: NDArray[np.float64]) -> None:
        """Write frames, (n_frames, n, 3), nm, at times, (n_frames,), ps."""

    def close(self) -> None:
        """Complete the file."""


class TrajectoryWriter:
    """Writes frames of beads to a DCD, XTC or H5MD file, whole or not at all.

    The file takes its name when the `with` block ends without an error. The frame
    times are right for MDAnalysis in all three formats, and for mdtraj in XTC;
    mdtraj numbers the frames of any DCD file 0, 1, ... instead of reading times.

    Example:
        >>> import tempfile
        >>> from cgml.molecules.graph import MolecularGraph
        >>> graph = MolecularGraph.create("AA", [1.0, 1.0], [[0, 1]])
        >>> path = Path(tempfile.mkdtemp()) / "a.dcd"
        >>> with TrajectoryWriter(path, Mapping.from_labels(graph, [0, 1])) as writer:
        ...     writer.append(np.zeros((3, 2, 3)), np.array([0.0, 5.0, 10.0]))
        >>> dcd.read(path).times.tolist()
        [0.0, 5.0, 10.0]
    """

    def __init__(
        self,
        path: Path | str,
        mapping: Mapping,
        *,
        box: Box | None = None,
        name: str = "",
    ) -> None:
        """Choose file and format.

        Args:
            path: the file; its suffix is the format, .dcd, .xtc or .h5md.
            mapping: of the beads.
            box: row vectors, (3, 3), nm; None for open boundaries.
            name: of the system (H5MD).

        Raises:
            ValueError: another suffix.
        """
        self._path = Path(path)
        self._mapping = mapping
        self._box = None if box is None else check_box(box)
        self._name = name
        self._last: list[float] = []
        if self._path.suffix not in {".dcd", ".xtc", ".h5md"}:
            raise ValueError(
                "a trajectory is written as .dcd, .xtc or .h5md, got "
                f"{self._path.name!r}"
            )

    def __enter__(self) -> Self:
        """Open the file beside its place."""
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self._path))
            self._sink = self._open(temporary)
            stack.callback(self._sink.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file and give it its name, or remove it after an error."""
        self._stack.__exit__(kind, error, trace)

    def _open(self, path: Path) -> _Sink:
        """Open the writer of the suffix."""
        if path.suffix == ".dcd":
            return dcd.Writer(path, self._mapping.n_beads, self._box)
        if path.suffix == ".xtc":
            return _XTC(path, self._box)
        return h5md.Writer(path, self._mapping, self._box, self._name)

    def append(self, positions: NDArray[Any], times: NDArray[np.float64]) -> None:
        """Write frames.

        Args:
            positions: (n_frames, n_beads, 3), nm.
            times: (n_frames,), ps, evenly spaced over all calls.

        Raises:
            ValueError: shapes that do not match, positions that are not finite, or
                uneven times.
        """
        n_beads = self._mapping.n_beads
        if positions.shape != (len(times), n_beads, 3):
            raise ValueError(
                f"positions of shape ({len(times)}, {n_beads}, 3) are required, got "
                f"{positions.shape}"
            )
        if not np.isfinite(positions).all():
            raise ValueError(f"positions must be finite to be written to {self._path}")
        known = np.array([*self._last, *times], dtype=np.float64)
        if len(known) > 1:
            spacing(known, str(self._path))
        self._last = known[-2:].tolist()
        self._sink.append(positions, np.asarray(times, dtype=np.float64))


class _XTC:
    """Writes an XTC file; it stores times in single precision."""

    def __init__(self, path: Path, box: Box | None) -> None:
        self._path = path
        self._file = XTCTrajectoryFile(str(path), "w")
        self._box = box
        self._n_frames = 0

    def append(self, positions: NDArray[Any], times: NDArray[np.float64]) -> None:
        n = len(positions)
        box = None
        if self._box is not None:
            box = np.broadcast_to(self._box, (n, 3, 3)).astype(np.float32)
        self._file.write(
            np.asarray(positions, np.float32),
            np.asarray(times, np.float32),
            np.arange(self._n_frames, self._n_frames + n, dtype=np.int32),
            box,
        )
        self._n_frames += n

    def close(self) -> None:
        """Close the file and read its end: its library hides a failed last write."""
        self._file.close()
        if not self._n_frames:
            return
        try:
            with XTCTrajectoryFile(str(self._path)) as file:
                file.seek(self._n_frames - 1)
                file.read(1)
        except Exception as error:
            raise OSError(f"{self._path} was not written whole: {error}") from error


def write_topology(path: Path | str, mapping: Mapping, positions: NDArray[Any]) -> None:
    """Write beads and their bonds as a PDB file, to open a trajectory with.

    A bead is a residue CG with one atom CG, a molecule is a chain.

    Args:
        path: the file, .pdb.
        mapping: of the beads.
        positions: (n_beads, 3), nm.

    Raises:
        ValueError: the bead count does not match, or a position does not fit in the
            columns of the format.
    """
    frame = np.asarray(positions, dtype=np.float64) / ANGSTROM
    if frame.shape != (mapping.n_beads, 3):
        raise ValueError(
            f"positions of shape ({mapping.n_beads}, 3) are required, got {frame.shape}"
        )
    if not (abs(frame) < _PDB_LARGEST).all():
        raise ValueError(
            f"a PDB file takes positions within {_PDB_LARGEST * ANGSTROM:g} nm of the "
            f"origin, got up to {abs(frame).max() * ANGSTROM:g} nm: centre them first"
        )
    lines = [
        f"ATOM  {(i + 1) % 100_000:5d}  CG   CG {_PDB_CHAINS[molecule % 26]}"
        f"{(i + 1) % 10_000:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
        for i, (molecule, (x, y, z)) in enumerate(
            zip(mapping.molecule_index, frame, strict=True)
        )
    ]
    lines += [
        f"CONECT{(i + 1) % 100_000:5d}{(j + 1) % 100_000:5d}"
        for i, j in mapping.bead_bonds
    ]
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*lines, "END", ""]), encoding="ascii")
