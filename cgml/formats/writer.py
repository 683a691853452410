"""Writing bead trajectories, whatever the format."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cgml.files import replacing
from cgml.formats import table
from cgml.molecules.box import Box, check_box
from cgml.molecules.frames import spacing
from cgml.molecules.mapping import Mapping


class TrajectoryWriter:
    """Writes frames of beads to a file, whole or not at all.

    The file takes its name when the `with` block ends without an error. The frame
    times are right for MDAnalysis in DCD, XTC and H5MD, and for mdtraj in XTC; mdtraj
    numbers the frames of any DCD file 0, 1, ... instead of reading times.

    Example:
        >>> import tempfile
        >>> from cgml.formats.h5md import read_beads
        >>> from cgml.molecules.graph import MolecularGraph
        >>> graph = MolecularGraph.create("AA", [1.0, 1.0], [[0, 1]])
        >>> path = Path(tempfile.mkdtemp()) / "a.h5md"
        >>> with TrajectoryWriter(path, Mapping.from_labels(graph, [0, 1])) as writer:
        ...     writer.append(np.zeros((3, 2, 3)), np.array([0.0, 5.0, 10.0]))
        >>> read_beads(path).times.tolist()
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
        """Choose file and format: by the suffix, .dcd, .xtc or .h5md (table.py).

        The box is row vectors, (3, 3), nm; None for open boundaries.
        """
        self._path = Path(path)
        self._mapping = mapping
        self._box = None if box is None else check_box(box)
        self._name = name
        self._last: list[float] = []
        self._open = table.sink_opener(self._path)

    def __enter__(self) -> Self:
        """Open the file beside its place."""
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self._path))
            self._sink = self._open(temporary, self._mapping, self._box, self._name)
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

    def append(self, positions: NDArray[Any], times: NDArray[np.float64]) -> None:
        """Write frames, (n_frames, n_beads, 3) nm, at even times, (n_frames,) ps.

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
