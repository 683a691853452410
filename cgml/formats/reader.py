"""Frames of atoms as a file has them -> whole molecules in one box."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgml.formats.format import (
    Format,
    Frames,
    LammpsOptions,
    check_finite,
    uncompressed,
)
from cgml.formats.selection import FrameOptions, part_of, within
from cgml.molecules.box import Box, reduce, widths
from cgml.molecules.frames import Trajectory, cut
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.scaling import Rescaler, largest_change
from cgml.molecules.whole import Unwrapper
from cgml.ranges import positive

_NARROWEST = 1.0e-3  # nm, of a box
_CONSTANT = 1.0e-4  # of a vector: boxes come from files with rounded numbers


class Reader:
    """Frames of a file as they come: chosen, counted, checked, made whole.

    Args:
        path: the file.
        row: its format.
        graph: the atoms that are kept.
        time_step: time between frames, ps; None: the file's.
        chosen: frames, atoms and box.
    """

    def __init__(
        self,
        path: Path,
        row: Format,
        graph: MolecularGraph,
        time_step: float | None,
        chosen: FrameOptions,
    ) -> None:
        if chosen.select is not None:
            raise ValueError("to select atoms by name, give the file that names them")
        self._path, self._row, self._graph = path, row, graph
        self._time_step, self._chosen = time_step, chosen
        if time_step is not None:
            positive(time_step, "time_step", "ps")
        self._last = -np.inf  # ps
        self._first_box: NDArray[np.float64] | None = None
        self._box: Box | None = None
        self._scaling = 0.0
        self._whole: Callable[[Frames], NDArray[np.float32]] | None = None
        self._is_scaled = False

    def read(
        self, pieces: Iterator[Frames], n: int, options: LammpsOptions
    ) -> Iterator[Trajectory]:
        """Take all frames, from the pieces of the file from its beginning, n each.

        Raises:
            ValueError: a file without frames, or one that cannot be used.
        """
        chosen = self._chosen
        n_frames = None
        if chosen.counts_from_end and self._row.pieces is not None:
            again = self._row.pieces(self._path, n, options)
            n_frames = sum(len(frames.positions) for frames in again)
        start, stop = chosen.bounds(n_frames, self._path)
        is_empty = True
        for number, frames in within(
            pieces, start, stop, lambda some: len(some.positions), part_of
        ):
            if self._whole is None:
                boxes = partial(self._boxes, frames, start, stop, options)
                self._prepare(frames, boxes, start)
            whole = self._take(number, frames)
            is_empty = False
            part = slice(-(number - start) % chosen.stride, None, chosen.stride)
            if len(whole.times[part]):
                yield cut(whole, part)
        if is_empty:
            which = f" from frame {start} on" if start else ""
            raise ValueError(f"{self._path} holds no frames{which}")

    def _boxes(
        self, frames: Frames, start: int, stop: int | None, options: LammpsOptions
    ) -> Iterator[NDArray[np.float64]]:
        """Read the boxes of all chosen frames; they must be numbers.

        A piece alone tells them where the format is read at once.
        """
        reader, found = self._row.boxes, iter([(start, self._all(frames.boxes))])
        if reader is not None and stop != start + 1:
            chunks = reader(self._path, options)
            found = within(chunks, start, stop, len, lambda some, part: some[part])
        for number, some in found:
            check_finite(self._path, number, boxes=some)
            yield some

    def _prepare(
        self,
        frames: Frames,
        boxes: Callable[[], Iterator[NDArray[np.float64]]],
        start: int,
    ) -> None:
        """Decide from the boxes of all frames how these are made whole."""
        source = str(self._path)
        graph, given = self._graph, self._chosen.box
        is_unwrapped = frames.is_unwrapped or self._chosen.is_unwrapped
        first = None if frames.boxes is None else frames.boxes[0]
        one = first if given is None else given
        self._first_box = first
        if first is not None:
            mean, is_constant = _mean(boxes(), first, self._chosen.stride)
            one = given if given is not None else first if is_constant else mean
            self._is_scaled = not (is_constant and _is_constant(one[None], first))
        self._box = None if one is None else reduce(one)
        if self._box is not None and not widths(self._box).min() > _NARROWEST:
            raise ValueError(f"a box is required, {source} has {self._box.tolist()} nm")
        if self._is_scaled and one is not None:
            self._check_scaling(boxes(), one, start)
            rescaler = Rescaler(
                graph, one, is_unwrapped=is_unwrapped, source=source, first=start
            )
            self._whole = lambda frames: rescaler(
                frames.positions, self._all(frames.boxes), frames.corners
            )
        else:
            unwrapper = Unwrapper(
                graph, self._box, is_unwrapped=is_unwrapped, source=source, first=start
            )
            self._whole = lambda frames: unwrapper(frames.positions)

    def _check_scaling(
        self, boxes: Iterator[NDArray[np.float64]], one: Box, start: int
    ) -> None:
        """Require boxes that fluctuate, and do not shrink or grow."""
        frame, found = start, []
        for some in boxes:
            changes = largest_change(some, one)
            worst = int(changes.argmax())
            found.append((float(changes[worst]), frame + worst, some[worst]))
            frame += len(some)
        self._scaling, number, box = max(found, key=lambda item: item[0])
        if not self._scaling <= self._chosen.max_scaling:
            name = "mean box" if self._chosen.box is None else "box given"
            raise ValueError(
                f"box vectors that change by at most {self._chosen.max_scaling:.3g} "
                f"are required, those of {self._path} in frame {number}, "
                f"{box.round(4).tolist()} nm, differ from the {name}, "
                f"{one.round(4).tolist()} nm, by {self._scaling:.3g}: leave out the "
                "frames before the density is steady (start), or allow it "
                "(--max-scaling); --box is in nm"
            )

    def _take(self, number: int, frames: Frames) -> Trajectory:
        """Check and unwrap the next frames."""
        path, n_atoms = self._path, frames.positions.shape[1]
        kept = self._chosen.selection
        if kept is not None and n_atoms == kept.n_atoms:
            frames = frames._replace(positions=frames.positions[:, kept.atoms])
        elif n_atoms != self._graph.n_atoms:
            n_known = self._graph.n_atoms if kept is None else kept.n_atoms
            raise ValueError(
                f"atom count differs: {path} has {n_atoms} atoms, its topology has "
                f"{n_known}: give the topology of the atoms that were stored"
            )
        if self._whole is None:
            raise RuntimeError("frames are read by Reader.read")
        times = self._times(number, frames)
        check_finite(path, number, frames.positions, times, frames.boxes)
        if not self._is_scaled and self._chosen.box is None:
            self._check_boxes(number, frames.boxes)
        positions = self._whole(frames)
        self._last = times[-1]
        box = None if self._chosen.is_open else self._box
        name = uncompressed(path).stem
        return Trajectory(
            self._graph, positions, times, box, name, scaling=self._scaling
        )

    def _times(self, number: int, frames: Frames) -> NDArray[np.float64]:
        """Return times, ps, and refuse those that do not go on."""
        n = len(frames.positions)
        if self._time_step is not None:
            return np.arange(number, number + n, dtype=np.float64) * self._time_step
        if frames.times is None:
            raise ValueError(
                f"{self._path} does not tell the times of its frames: pass time_step, "
                f"in ps (--time-step){self._row.clock}"
            )
        check_finite(self._path, number, times=frames.times)
        known = np.concatenate(([self._last], frames.times))
        wrong = np.flatnonzero(~(np.diff(known) > 0.0))
        if len(wrong):
            place, frame = int(wrong[0]), number + int(wrong[0])
            raise ValueError(
                f"times must increase, {self._path} has {known[place + 1]:g} ps in "
                f"frame {frame} after {known[place]:g} ps: pass time_step, in ps "
                "(--time-step), or put the runs in files of their own"
            )
        return frames.times

    def _check_boxes(self, number: int, boxes: NDArray[np.float64] | None) -> None:
        """Require the one box of all frames."""
        first = self._first_box
        if boxes is None and first is None:
            return
        boxes, first = self._all(boxes), self._all(first)
        if not _is_constant(boxes, first):
            changes = abs(boxes - first).max(axis=(1, 2))
            raise ValueError(
                f"a constant box is required, the box vectors of {self._path} change "
                f"by up to {changes.max():g} nm from frame {number} on"
            )

    def _all(self, boxes: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Require boxes."""
        if boxes is None:
            raise ValueError(
                f"a box in all frames is required, {self._path} has one in some only"
            )
        return boxes


def _mean(
    boxes: Iterator[NDArray[np.float64]], first: Box, stride: int
) -> tuple[Box, bool]:
    """Return the mean of every stride-th box, and whether all are the first one."""
    total, n, place, is_constant = np.zeros((3, 3)), 0, 0, True
    for some in boxes:
        part = some[-place % stride :: stride]
        total, n, place = total + part.sum(axis=0), n + len(part), place + len(some)
        is_constant = is_constant and _is_constant(some, first)
    return total / n, is_constant


def _is_constant(boxes: NDArray[np.float64], first: NDArray[np.float64]) -> bool:
    change = abs(boxes - first).max(initial=0.0)
    return bool(change <= _CONSTANT * abs(first).max())
