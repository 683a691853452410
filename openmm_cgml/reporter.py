"""A reporter of what the guards did."""

from pathlib import Path
from typing import IO, Any

from openmm import app, unit

from cgml.ranges import at_least
from openmm_cgml.integrator import LearnedCGIntegrator

NAMES = {
    "finite": "Not Finite",
    "displacement": "Displacement Too Large",
    "bond": "Bond Too Long",
    "overlap": "Beads Too Close",
    "extrapolation": "Extrapolation",
}
"""Columns, as `StateDataReporter` writes its own."""


class GuardReporter:
    """Writes how often each guard tripped, beside step and time.

    It stands in `simulation.reporters`. Counts are those since the Context was made.
    With `guard="raise"`, the default, the first trip ends the run; with "redraw" or
    "record" the columns grow.

    Args:
        file: to write to, or its path.
        reportInterval: steps between reports.
        separator: between columns.
        append: go on with the file, without a new header.

    Raises:
        ValueError: an interval that is no whole number or below 1; nothing is written.
    """

    _owns = False  # the file; until it is open

    def __init__(
        self,
        file: IO[str] | str | Path,
        reportInterval: int,
        *,
        separator: str = ",",
        append: bool = False,
    ) -> None:
        self._interval = at_least(reportInterval, 1, "reportInterval")
        self._file: Any = file
        if isinstance(file, (str, Path)):
            mode = "a" if append else "w"
            self._file = Path(file).open(mode, encoding="utf-8")  # noqa: SIM115
            self._owns = True
        self._separator = separator
        self._has_header = append

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:  # noqa: N802
        """Return when the next report is due; it asks for nothing of the State."""
        steps = self._interval - simulation.currentStep % self._interval
        return {"steps": steps, "periodic": None, "include": []}

    def report(self, simulation: app.Simulation, state: Any) -> None:
        """Write a line.

        Raises:
            TypeError: the Simulation has another integrator.
        """
        integrator = simulation.integrator
        if not isinstance(integrator, LearnedCGIntegrator):
            raise TypeError(
                "a GuardReporter needs a Simulation with a LearnedCGIntegrator, got "
                f"{type(integrator).__name__}"
            )
        counts = integrator.getGuardCounts()
        if not self._has_header:
            columns = ["Step", "Time (ps)", *(NAMES[name] for name in counts)]
            words = self._separator.join(f'"{column}"' for column in columns)
            print(f"#{words}", file=self._file)
            self._has_header = True
        time = state.getTime().value_in_unit(unit.picosecond)
        row = [simulation.currentStep, f"{time:.10g}", *counts.values()]
        print(*row, sep=self._separator, file=self._file)
        self._file.flush()

    def __del__(self) -> None:
        if self._owns:
            self._file.close()
