"""A reporter of OpenMM that writes back-mapped atoms while a model runs."""

import warnings
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from openmm import app, unit

from cgml.files import check_file
from cgml.molecules.whole import whole_beads
from cgml.ranges import at_least
from openmm_cgml.backmapper import Backmapper, FrameReport
from openmm_cgml.convert import in_nanometers
from openmm_cgml.systems import atoms_of


class BackmappedReporter:
    """Writes atoms, relaxed by a force field, to an XTC file.

    The particles of the Simulation are the atoms, carried along with their beads, or
    the beads; what is carried is not what is written. Particles without mass (virtual
    sites) are not looked at. A frame that cannot be relaxed is left out, with a
    warning; the times of the others stay right. Atoms of other hands than the
    Backmapper's are refused at the first frame.

    Args:
        file: to write, .xtc; one that is there is overwritten.
        interval: steps of the model between frames.
        backmapper: puts the atoms in the place of the beads.

    Attributes:
        reports: what was found of each frame so far.

    Raises:
        ValueError: another suffix, a folder that is not there, or an interval below 1.

    Example:
        backmapper = Backmapper.from_model("peo-litfsi", topology, system)
        simulation.reporters.append(BackmappedReporter("atoms.xtc", 10, backmapper))
    """

    def __init__(self, file: Path | str, interval: int, backmapper: Backmapper) -> None:
        path = Path(file)
        if path.suffix != ".xtc":
            raise ValueError(
                f"back-mapped atoms are written as .xtc, got {path.name!r}"
            )
        check_file(path)
        self._interval = at_least(interval, 1, "interval")
        self._backmapper = backmapper
        self._file = mdtraj.formats.XTCTrajectoryFile(str(path), "w")
        self.reports: list[FrameReport] = []

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:  # noqa: N802
        """Say when the next report is due, and what it takes."""
        left = self._interval - simulation.currentStep % self._interval
        return {"steps": left, "periodic": False, "include": ["positions"]}

    def report(self, simulation: app.Simulation, state: Any) -> None:
        """Back-map the present frame and write it."""
        mapping = self._backmapper.ingredients.mapping
        box = None
        if simulation.system.usesPeriodicBoundaryConditions():
            box = in_nanometers(state.getPeriodicBoxVectors(asNumpy=True))
        particles = self._moved(simulation, state)
        beads = whole_beads(mapping, particles[None], box)[0]
        if not self.reports and len(particles) == mapping.graph.n_atoms:
            self._backmapper.check_hands(particles, box)
        step = simulation.currentStep
        atoms, found = self._backmapper.map(beads, box, number=step)
        self.reports.append(found)
        if found.problem:
            warnings.warn(f"step {step} is left out: {found.problem}", stacklevel=2)
            return
        self._file.write(
            atoms[None].astype(np.float32),
            time=np.array([state.getTime().value_in_unit(unit.picosecond)], np.float32),
            step=np.array([step], np.int32),
            box=None if box is None else box[None].astype(np.float32),
        )
        self._file.flush()

    def _moved(self, simulation: app.Simulation, state: Any) -> Any:
        """Positions of the particles that have a mass, nm.

        Raises:
            ValueError: they are neither the atoms of the Backmapper nor its beads.
        """
        positions = in_nanometers(state.getPositions(asNumpy=True))
        moved = positions[atoms_of(simulation.system)]
        mapping = self._backmapper.ingredients.mapping
        if len(moved) not in (mapping.graph.n_atoms, mapping.n_beads):
            raise ValueError(
                f"a Simulation of the {mapping.graph.n_atoms} atoms of the Backmapper, "
                f"or of its {mapping.n_beads} beads, is required, this one has "
                f"{len(moved)} particles with mass"
            )
        return moved
