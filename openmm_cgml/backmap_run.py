"""Back-mapping of many frames: shared by processes, on disk whole, on after a kill.

Beside the trajectory stands a folder, NAME.backmap:

| file | content |
|---|---|
| plan.json | what is back-mapped and how: a repeat is the same or refused |
| report.csv | what was found of each frame |
| parts/ | frames that are done, while it goes on |
"""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from cgml import plans
from cgml.files import check_file, replacing
from cgml.formats import table
from cgml.locks import exclusive
from cgml.molecules.box import Box
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.mapping import Mapping
from cgml.npz import read_arrays
from cgml.runs import campaign
from openmm_cgml.backmapper import Backmapper, FrameReport, Ingredients

PLAN, REPORT, PARTS = "plan.json", "report.csv", "parts"
WRITTEN = "written"
"""Beside the plan: digest of the trajectory, once it is whole."""

FORMATS = (".xtc", ".h5md")
"""Of the trajectory. They tell the time of each frame: those that fail are left out."""

_UNITS = {
    "energy": "kJ/mol",
    "largest_force": "kJ/mol/nm",
    **dict.fromkeys(("deviation", "farthest", "moved"), "nm"),
}


_OTHER = {
    "frames": "other frames (--start, --stop, --stride, or of another run)",
    "atoms": "other atoms (--topology)",
    "fragments": "other fragments (--fragments, --model)",
    "reference": "other positions that show the hands (--topology)",
    "system": "another System (--system)",
}
"""What differs where a digest in the plan does."""


@dataclass(frozen=True)
class Outcome:
    """What was written.

    Attributes:
        trajectory: frames of atoms, molecules whole, those that failed left out.
        report: a line for each frame (CSV).
        frames: what was found of each frame.
    """

    trajectory: Path
    report: Path
    frames: list[FrameReport]

    @property
    def good(self) -> list[FrameReport]:
        """Frames that are in the trajectory."""
        return [row for row in self.frames if not row.problem]

    @property
    def failed(self) -> list[FrameReport]:
        """Frames that are left out."""
        return [row for row in self.frames if row.problem]


def run(
    ingredients: Ingredients,
    beads: BeadTrajectory,
    output: Path,
    on_frame: Callable[[int], None] = lambda _: None,
    *,
    n_part: int = 10,
    n_workers: int | None = None,
    scheduler: str | None = None,
) -> Outcome:
    """Back-map frames to a file; start again with the same call after a kill.

    Args:
        ingredients: of the Backmapper.
        beads: the frames.
        output: file to write, .xtc or .h5md.
        on_frame: called with the number of frames done.
        n_part: frames between saves: what a kill can cost.
        n_workers: processes to start here; None: this one.
        scheduler: address of a dask scheduler to share the work, whose workers see the
            folder of the output under the same path.

    Returns:
        The same files bit for bit, whoever does the work (on processors of one kind).

    Raises:
        ValueError: the folder is of other frames or another way; each value that
            differs is named. Or the file is there and was not written by it, or the
            format is none of these.
        RuntimeError: another process works there, or a worker was lost.
    """
    output = output.resolve()
    if output.suffix not in FORMATS:
        raise ValueError(
            f"atoms are written as {' or '.join(FORMATS)}, which tell the time of each "
            f"frame, got {output.name!r}"
        )
    check_file(output)
    folder = output.with_suffix(".backmap")
    with exclusive(folder, "backmap"):
        plan = _plan(ingredients, beads)
        if _claim(folder, plan, output) and (folder / REPORT).exists():
            return Outcome(output, folder / REPORT, _read_report(folder / REPORT))
        parts = folder / PARTS
        parts.mkdir(exist_ok=True)
        starts = range(0, len(beads.times), n_part)
        jobs = [
            _Part(start, beads.positions[start : start + n_part], beads.box, parts)
            for start in starts
        ]
        todo = [job for job in jobs if job.rows(ingredients.mapping) is None]
        n_done = len(beads.times) - sum(len(job.beads) for job in todo)
        on_frame(n_done)
        done = _shared if scheduler or (n_workers or 1) > 1 else _alone
        for job in done(ingredients, todo, n_workers, scheduler):
            n_done += len(job.beads)
            on_frame(n_done)
        return _assemble(ingredients.mapping, jobs, beads, output, folder, plan)


@dataclass(frozen=True, eq=False)
class _Part:
    """Some frames.

    Attributes:
        first: number of the first one.
        beads: (n_frames, n_beads, 3), nm.
        box: of all.
        folder: of the parts.
    """

    first: int
    beads: NDArray[np.float32]
    box: Box | None
    folder: Path

    @property
    def path(self) -> Path:
        """Its file."""
        return self.folder / f"{self.first:09d}.npz"

    def work(self, backmapper: Backmapper) -> None:
        """Back-map the frames and write them, whole or not at all."""
        found = [
            backmapper.map(beads, self.box, number=self.first + k)
            for k, beads in enumerate(self.beads)
        ]
        rows = json.dumps([report for _, report in found])
        atoms = np.array([atoms for atoms, _ in found], dtype=np.float32)
        with replacing(self.path) as temporary:
            np.savez(temporary, allow_pickle=False, atoms=atoms, rows=np.array(rows))

    def rows(self, mapping: Mapping) -> list[FrameReport] | None:
        """Read the reports; None: it is not done, or damaged."""
        try:
            arrays = read_arrays(self.path)
            rows = [FrameReport(*row) for row in json.loads(str(arrays["rows"]))]
            shape = (len(self.beads), mapping.graph.n_atoms, 3)
            is_whole = arrays["atoms"].shape == shape and len(rows) == shape[0]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return rows if is_whole else None

    def atoms(self) -> NDArray[np.float32]:
        """Read the atoms, (n_frames, n_atoms, 3), nm."""
        atoms: NDArray[np.float32] = read_arrays(self.path)["atoms"]
        return atoms


def _alone(
    ingredients: Ingredients, parts: Sequence[_Part], *_: object
) -> Iterator[_Part]:
    """Work in this process."""
    if not parts:
        return
    backmapper = Backmapper.of(ingredients)
    for part in parts:
        part.work(backmapper)
        yield part


def _shared(
    ingredients: Ingredients,
    parts: Sequence[_Part],
    n_workers: int | None,
    scheduler: str | None,
) -> Iterator[_Part]:
    """Have workers do it."""
    with campaign.client(n_workers or 1, scheduler) as client:
        from distributed import CancelledError, KilledWorker, as_completed

        futures = {
            client.submit(_work, ingredients, part, pure=False): part for part in parts
        }
        try:
            for future in as_completed(list(futures)):
                future.result()
                yield futures[future]
        except (KilledWorker, CancelledError) as error:
            raise RuntimeError(
                "a part lost its worker again and again, or the scheduler is gone (is "
                "there enough memory?): what is done is kept, run the same command "
                "again to go on"
            ) from error
        finally:
            client.cancel(list(futures))


def _work(ingredients: Ingredients, part: _Part) -> None:
    part.work(Backmapper.of(ingredients))


def _plan(ingredients: Ingredients, beads: BeadTrajectory) -> dict[str, Any]:
    """Say what makes it these atoms and no others."""
    digest = hashlib.sha256(np.ascontiguousarray(beads.positions).tobytes())
    digest.update(beads.times.tobytes())
    digest.update(b"" if beads.box is None else beads.box.tobytes())
    fragments, reference = ingredients.fragments, ingredients.reference
    return {
        "frames": digest.hexdigest(),
        "atoms": ingredients.mapping.hash(),
        "fragments": fragments.digest(),
        "reference": reference is not None
        and hashlib.sha256(reference.tobytes()).hexdigest(),
        "system": hashlib.sha256(ingredients.system.encode()).hexdigest(),
        "temperature": ingredients.temperature,
        "relaxation": asdict(ingredients.relaxation),
        "seed": ingredients.seed,
        "platform": ingredients.platform,
        "openmm": openmm.version.version,
    }


def _claim(folder: Path, plan: dict[str, Any], output: Path) -> bool:
    """Take a folder and a file for a plan; True: the file is written already.

    Raises:
        ValueError: the folder is that of another plan, or the file is another one.
    """
    path = folder / PLAN
    found = plans.read_plan(path) if path.exists() else {"plan": plan}
    changed = plans.changes(found["plan"], plan)
    has_come = (folder / REPORT).exists() or any((folder / PARTS).glob("*.npz"))
    if changed and has_come:
        others = [text for key, text in _OTHER.items() if key in changed]
        rest = {key: pair for key, pair in changed.items() if key not in _OTHER}
        texts = [*others, plans.describe(rest)] if rest else others
        raise ValueError(
            f"{folder} is of a back-mapping with {'; '.join(texts)}: choose another "
            "output, or delete that folder"
        )
    is_there = output.exists()
    is_of_old = WRITTEN not in found and (folder / REPORT).exists()  # version 0.2
    if is_there and not is_of_old and plans.digest(output) != found.get(WRITTEN):
        raise ValueError(
            f"{output} is there, and this back-mapping has not written it: choose "
            "another output, or delete that file"
        )
    if changed or not path.exists():
        plans.write_plan(path, {"plan": plan})
    return is_there


def _assemble(
    mapping: Mapping,
    parts: Sequence[_Part],
    beads: BeadTrajectory,
    output: Path,
    folder: Path,
    plan: dict[str, Any],
) -> Outcome:
    """Write trajectory and report from the parts; then these go."""
    rows: list[FrameReport] = []
    each = Mapping.from_labels(mapping.graph, np.arange(mapping.graph.n_atoms))
    with replacing(output) as temporary:
        opened = table.sink_opener(output)
        sink = opened(temporary, each, beads.box, beads.name)
        try:
            for part in parts:
                own = part.rows(mapping)
                if own is None:
                    raise OSError(
                        f"{part.path} is missing or damaged: run the same command again"
                    )
                good = np.array([not row.problem for row in own], dtype=np.bool_)
                times = beads.times[part.first : part.first + len(own)]
                if good.any():
                    sink.append(part.atoms()[good], times[good])
                rows += own
        finally:
            sink.close()
        digest = plans.digest(temporary)
        plans.write_plan(folder / PLAN, {"plan": plan, WRITTEN: digest})
    _write_report(folder / REPORT, rows, beads.times)
    shutil.rmtree(folder / PARTS)
    return Outcome(output, folder / REPORT, rows)


def _write_report(
    path: Path, rows: Sequence[FrameReport], times: NDArray[np.float64]
) -> None:
    names = [
        f"{name}/{_UNITS[name]}" if name in _UNITS else name
        for name in FrameReport._fields
    ]
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow([*names, "time/ps"])
        for row, time in zip(rows, times.tolist(), strict=True):
            lines.writerow([*row, f"{time:.7g}"])


def _read_report(path: Path) -> list[FrameReport]:
    kinds = FrameReport.__annotations__
    with path.open(encoding="utf-8", newline="") as stream:
        _, *lines = csv.reader(stream)
    return [
        FrameReport(
            *(kind(text) for kind, text in zip(kinds.values(), line, strict=False))
        )
        for line in lines
    ]
