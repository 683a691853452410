"""Reference MD of PEO with LiTFSI in segments: a kill costs one segment at most.

A box has a folder:

| file | content |
|---|---|
| state.json | the box, its times and how far it is, positions, velocities, history |
| topology.pdb | atoms and bonds, as packed |
| production/0000.xtc, ... | a segment each: unwrapped atoms, box, times from 0 |

A segment is written before the state behind it, each under another name first: where a
kill comes between, the segment is simulated again and replaces its file.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import mdtraj
import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from cgml import units
from cgml.files import replacing
from openmm_cgml.testsystems.peo import PeoSystem, peo_litfsi
from openmm_cgml.testsystems.peo_parameters import FORCE_FIELDS
from openmm_cgml.testsystems.peo_protocol import (
    compressed,
    peo_simulation,
    placement,
    rescaled,
    set_edge,
)

TEMPERATURE = 423.0  # K
PRESSURE = 1.0  # bar

Stage = Literal["pressing", "ageing", "production"]


@dataclass(frozen=True)
class PeoBox:
    """What to simulate.

    Attributes:
        role: what the frames are for; the first part of the name.
        n_chains: number of chains, all alike.
        n_oxygens: ether oxygens of a chain.
        ratio: ether oxygens to a cation, about.
        kept: time of production, ns.
        seed: of the start, the thermostat and the barostat.
        force_field: "united" or "all-atom".
    """

    role: str
    n_chains: int
    n_oxygens: int
    ratio: int
    kept: float
    seed: int
    force_field: str = "united"

    @property
    def n_salt(self) -> int:
        """Number of cations, and of anions."""
        return round(self.n_chains * self.n_oxygens / self.ratio)

    @property
    def name(self) -> str:
        """Name of the folder: role, chains x oxygens, ratio, seed."""
        size = f"{self.n_chains}x{self.n_oxygens}_{self.ratio}"
        return f"{self.role}_{size}_{self.seed}"

    def build(self) -> PeoSystem:
        """Pack the box; the same at every call."""
        return peo_litfsi(
            [self.n_oxygens] * self.n_chains,
            self.n_salt,
            force_field=self.force_field,
            generator=np.random.default_rng(self.seed),
        )


@dataclass(frozen=True)
class PeoTimes:
    """How long each stage takes, ps, all multiples of a segment.

    Attributes:
        segment: what is simulated between two states.
        interval: time between frames.
        pressing: at PRESSURE; the mean edge of its second half is kept.
        ageing: at that edge, thrown away.
        kept: production.

    Raises:
        ValueError: a stage is no multiple of the segment, or that none of the interval.
    """

    segment: float
    interval: float
    pressing: float
    ageing: float
    kept: float

    def __post_init__(self) -> None:
        """Check that whole segments and frames make up the times."""
        for name, unit in (
            *((stage, "segment") for stage in ("pressing", "ageing", "kept")),
            ("segment", "interval"),
        ):
            value, step = asdict(self)[name], asdict(self)[unit]
            if value <= 0.0 or abs(value / step - round(value / step)) > 1e-6:
                raise ValueError(
                    f"{name} must be a multiple of {unit}, {step:g} ps, got {value:g} "
                    "ps"
                )

    @classmethod
    def of(cls, box: PeoBox) -> "PeoTimes":
        """Return the times of a box of training or test data."""
        ageing = 1500.0 if box.force_field == "united" else 1000.0  # six times the cost
        return cls(50.0, 2.0, 500.0, ageing, 1000.0 * box.kept)

    @property
    def n_segments(self) -> int:
        """Number of segments of all stages."""
        return round((self.pressing + self.ageing + self.kept) / self.segment)

    @property
    def n_unkept(self) -> int:
        """Number of segments before production."""
        return round((self.pressing + self.ageing) / self.segment)

    def stage(self, segment: int) -> Stage:
        """Return the stage that a segment, counted from 0, belongs to."""
        if segment < round(self.pressing / self.segment):
            return "pressing"
        return "ageing" if segment < self.n_unkept else "production"


class PeoRun:
    """A box under way. What a kill must not lose is in `record`, the state file.

    Attributes:
        box: what is simulated.
        times: how long.
        folder: where it is written.
        system: the box as packed; its edge is that of the stage.
        record: content of the state file.
    """

    def __init__(
        self,
        box: PeoBox,
        times: PeoTimes,
        folder: Path,
        platform: str = "CPU",
        n_threads: int = 1,
    ) -> None:
        """Go on with the folder, or start there: pack and compress.

        Args:
            box: what to simulate.
            times: how long.
            folder: where to, made if need be.
            platform: OpenMM platform name.
            n_threads: threads of the CPU platform.

        Raises:
            ValueError: the folder holds another box, or other times; a production
                longer than the one there goes on with it.
        """
        self.box, self.times, self.folder = box, times, folder
        self.system = box.build()
        self._time_step = FORCE_FIELDS[box.force_field].time_step
        self._platform, self._n_threads = platform, n_threads
        self._simulation: app.Simulation | None = None
        self._simulated_stage = ""
        self.record = self._read() if self._state.exists() else self._begin()

    @property
    def n_done(self) -> int:
        """Number of segments that are done."""
        return int(self.record["n_done"])

    @property
    def is_finished(self) -> bool:
        """Whether all segments are done."""
        return self.n_done >= self.times.n_segments

    @property
    def edge(self) -> float:
        """Edge of the box, its mean in the last segment under a barostat, nm."""
        edges = self.record["edges"]
        return float(np.mean(edges[-1]) if edges else self.record["edge"])

    def advance(self) -> Stage:
        """Simulate a segment; write its frames, then the state; return its stage."""
        stage = self.times.stage(self.n_done)
        if self._simulation is None or stage != self._simulated_stage:
            self._simulation, self._simulated_stage = self._prepared(stage), stage
        frames, edges, means = self._segment(self._simulation)
        if stage == "production":
            self._write_frames(frames, edges[-1])
        elif stage == "pressing":
            self.record["edges"].append(edges)
        self.record["history"].append(means)
        self._write_state(self._simulation)
        return stage

    @property
    def _state(self) -> Path:
        """The state file."""
        return self.folder / "state.json"

    def _read(self) -> dict[str, Any]:
        """Read the state; require that it is of this box; production may be longer."""
        record: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        box, times = PeoBox(**record["box"]), PeoTimes(**record["times"])
        for name, there, wanted in (
            ("box", box, self.box),
            ("times", times, self.times),
        ):
            if there.kept > wanted.kept or replace(there, kept=wanted.kept) != wanted:
                raise ValueError(
                    f"{self._state} is there, its {name} is {asdict(there)}, not "
                    f"{asdict(wanted)}: take another folder"
                )
        return record | {"box": asdict(self.box), "times": asdict(self.times)}

    def _begin(self) -> dict[str, Any]:
        """Compress the box; nothing but the topology is written yet."""
        (self.folder / "production").mkdir(parents=True, exist_ok=True)
        positions, edge = compressed(
            self.system, TEMPERATURE, seed=self.box.seed, platform=self._platform
        )
        with (
            replacing(self.folder / "topology.pdb") as path,
            path.open("w", encoding="utf-8") as stream,
        ):
            app.PDBFile.writeFile(
                self.system.topology, self.system.positions, stream, keepIds=True
            )
        return {
            "box": asdict(self.box),
            "times": asdict(self.times),
            "temperature": TEMPERATURE,
            "time_step": self._time_step,
            "openmm": openmm.version.version,
            "n_done": 0,
            "edge": edge,  # nm, of the System: compressed, later the mean
            "edges": [],  # nm, under the barostat: by segment and frame
            "history": [],  # by segment: mean temperature, K, and energy, kJ/mol
            "positions": positions.tolist(),
            "velocities": None,
        }

    def _prepared(self, stage: Stage) -> app.Simulation:
        """Make the Simulation of a stage from the record, with noise of its own."""
        is_pressed = stage == "pressing"
        if not is_pressed and self.record["edges"]:
            self._fix_edge()
        set_edge(self.system, self.record["edge"])
        simulation = peo_simulation(
            self.system,
            TEMPERATURE,
            pressure=PRESSURE if is_pressed else None,
            seed=1000 * self.box.seed + self.n_done,
            platform=self._platform,
            n_threads=self._n_threads,
        )
        context = simulation.context
        if self.record["edges"]:
            context.setPeriodicBoxVectors(*self.record["edges"][-1][-1] * np.eye(3))
        context.setPositions(self.record["positions"])
        if self.record["velocities"] is None:
            context.setVelocitiesToTemperature(TEMPERATURE, 1 + self.box.seed)
        else:
            context.setVelocities(self.record["velocities"])
        return simulation

    def _fix_edge(self) -> None:
        """Bring the box to its mean edge under the barostat."""
        edges = np.concatenate(self.record["edges"])
        mean = float(edges[len(edges) // 2 :].mean())
        positions = np.array(self.record["positions"])
        self.record |= {
            "positions": rescaled(self.system, positions, edges[-1], mean).tolist(),
            "pressed_edges": edges.tolist(),
            "edges": [],
            "edge": mean,
        }

    def _segment(
        self, simulation: app.Simulation
    ) -> tuple[NDArray[np.float32], list[float], list[float]]:
        """Simulate a segment.

        Returns:
            Frames (n_frames, n_atoms, 3), nm; the edge in each, nm; mean temperature,
            K, and potential energy, kJ/mol.
        """
        n_frames = round(self.times.segment / self.times.interval)
        n_steps = round(self.times.interval / self._time_step)
        n_atoms = len(self.system.types)
        n_freedoms = 3 * n_atoms - self.system.system.getNumConstraints() - 3
        frames = np.empty((n_frames, n_atoms, 3), dtype=np.float32)
        edges, energies = [], np.empty((n_frames, 2))
        for frame in range(n_frames):
            simulation.step(n_steps)
            frames[frame], edge = placement(simulation)
            edges.append(edge)
            state = simulation.context.getState(energy=True)
            kinetic = 2.0 * state.getKineticEnergy()._value / n_freedoms
            energies[frame] = (
                kinetic / units.BOLTZMANN,
                state.getPotentialEnergy()._value,
            )
        return frames, edges, energies.mean(axis=0).round(3).tolist()

    def _write_frames(self, frames: NDArray[np.float32], edge: float) -> None:
        """Write a segment; its first frame is one interval after the one before."""
        index = self.n_done - self.times.n_unkept
        numbers = 1 + np.arange(len(frames)) + index * len(frames)
        boxes = np.tile(edge * np.eye(3, dtype=np.float32), (len(frames), 1, 1))
        with (
            replacing(self.folder / "production" / f"{index:04d}.xtc") as path,
            mdtraj.formats.XTCTrajectoryFile(str(path), "w") as stream,
        ):
            stream.write(
                frames,
                time=(self.times.interval * numbers).astype(np.float32),
                step=numbers.astype(np.int32),
                box=boxes,
            )

    def _write_state(self, simulation: app.Simulation) -> None:
        """Write the state after a segment."""
        state = simulation.context.getState(positions=True, velocities=True)
        self.record |= {
            "positions": state.getPositions(asNumpy=True)._value.tolist(),
            "velocities": state.getVelocities(asNumpy=True)._value.tolist(),
            "n_done": self.n_done + 1,
        }
        with replacing(self._state) as path:
            path.write_text(json.dumps(self.record), encoding="utf-8")
