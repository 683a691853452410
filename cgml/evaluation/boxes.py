"""Periodic boxes of several species, and what is measured of one run by itself.

Species are groups of beads with a name; nothing here knows which one is an ion.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.box import Box, check_box
from cgml.observables import conductivity, residence, statistics, transport
from cgml.observables.conductivity import Carrier, Conditions
from cgml.observables.residence import Residence
from cgml.observables.statistics import Estimate
from cgml.observables.transport import Diffusivity, Displacement

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Electrolyte:
    """What stays the same.

    Attributes:
        name: of the box.
        box: row vectors, (3, 3) nm, reduced triclinic.
        masses: (n,) Da.
        molecules: molecule of each bead, (n,), 0 or more.
        bonds: (n_bonds, 2).
        groups: name of a species -> its beads.
        chains: species that diffuse as the centres of mass of their molecules, not
            bead by bead.
        pairs: species whose radial distribution and contacts are compared.
        charges: (n,) e; None: no conductivity.
        temperature: K; None: no conductivity.

    Raises:
        ValueError: arrays or names that do not belong together.
    """

    name: str
    box: Box
    masses: Floats
    molecules: Index
    bonds: Index
    groups: dict[str, Index]
    chains: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    charges: Floats | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        """Check arrays and names."""
        check_box(self.box)
        n = len(self.masses)
        sizes = {"molecules": len(self.molecules)}
        if self.charges is not None:
            sizes["charges"] = len(self.charges)
        for name, size in sizes.items():
            if size != n:
                raise ValueError(f"{n} {name} are required, as masses, got {size}")
        asked = {*self.chains, *(name for pair in self.pairs for name in pair)}
        unknown = sorted(asked - set(self.groups))
        if unknown or not self.groups:
            raise ValueError(
                f"species among {sorted(self.groups)} are required, got {unknown}"
            )

    @property
    def volume(self) -> float:
        """Volume of the box, nm^3."""
        return float(abs(np.linalg.det(self.box)))

    def pair(self, names: Pair) -> tuple[Index, Index]:
        """Return the beads of two species."""
        return self.groups[names[0]], self.groups[names[1]]


@dataclass(frozen=True, eq=False)
class BoxRun:
    """Frames of one box from one run, or from several of the same length.

    Attributes:
        positions: unwrapped, (n_runs, n_frames, n, 3) nm.
        time_step: time between frames, ps.
    """

    positions: NDArray[np.floating]
    time_step: float

    def __post_init__(self) -> None:
        """Refuse what is no run."""
        if self.positions.ndim != 4 or self.positions.shape[-1] != 3:
            raise ValueError(
                "positions (n_runs, n_frames, n, 3) are required, got "
                f"{self.positions.shape}"
            )
        if not np.isfinite(self.positions).all():
            raise ValueError("positions of a run must be finite, got NaN")

    @property
    def duration(self) -> float:
        """Length of each run, ps."""
        return float(self.positions.shape[1] * self.time_step)

    def every(self, stride: int) -> "BoxRun":
        """Take every stride-th frame."""
        return BoxRun(self.positions[:, ::stride], self.time_step * stride)

    def pieces(self, n_pieces: int) -> list["BoxRun"]:
        """Cut every run into pieces in time."""
        return [
            replace(self, positions=piece)
            for piece in np.array_split(self.positions, n_pieces, axis=1)
        ]


def displacements(
    electrolyte: Electrolyte, run: BoxRun, longest: float
) -> dict[str, Displacement]:
    """Return the mean squared displacement of every species, drift removed.

    Args:
        electrolyte: species.
        run: frames.
        longest: largest lag, ps.
    """
    positions = transport.remove_drift(run.positions, electrolyte.masses)
    result = {}
    for name, beads in electrolyte.groups.items():
        paths = positions[:, :, beads]
        if name in electrolyte.chains:
            paths = transport.centres_of_mass(
                paths, electrolyte.molecules[beads], electrolyte.masses[beads]
            )
        result[name] = transport.mean_squared_displacement(
            paths, run.time_step, longest=longest
        )
    return result


def contacts(
    electrolyte: Electrolyte, run: BoxRun, pair: Pair, cutoff: float
) -> tuple[Residence | None, Estimate]:
    """Follow the contacts of two species.

    Args:
        electrolyte: species.
        run: frames.
        pair: names of two species.
        cutoff: nm.

    Returns:
        Intermittent residence (None where the two never meet), and the coordination
        number of the first species by the second.
    """
    found = residence.find_contacts(
        run.positions, electrolyte.box, cutoff=cutoff, pair=electrolyte.pair(pair)
    )
    n_runs, n_frames = run.positions.shape[:2]
    numbers = found.numbers.reshape(n_runs, -1, n_frames).mean(axis=1)
    mean = statistics.mean_estimate(numbers)
    if not numbers.any():
        return None, mean
    return residence.intermittent(found, run.time_step), mean


def conduction(
    electrolyte: Electrolyte,
    run: BoxRun,
    diffusivities: dict[str, Diffusivity],
    longest: float,
) -> dict[str, Estimate]:
    """Return conductivities and transference numbers.

    Ions are the species whose beads all carry a charge and diffuse bead by bead.

    Args:
        electrolyte: species, with charges and a temperature, or without.
        run: frames.
        diffusivities: of all species.
        longest: largest lag of the collective conductivity, ps; at most half a block.

    Returns:
        conductivity_self and conductivity_collective, S/m, transference_{s} (self) of
        each ion; nothing without charges, temperature or ions.
    """
    charges, temperature = electrolyte.charges, electrolyte.temperature
    if charges is None or temperature is None:
        return {}
    ions = [
        name
        for name, beads in electrolyte.groups.items()
        if name not in electrolyte.chains and np.abs(charges[beads]).min() > 0.0
    ]
    if not ions:
        return {}
    conditions = Conditions(electrolyte.volume, temperature)
    carriers = [
        Carrier(
            float(charges[electrolyte.groups[name]].mean()),
            len(electrolyte.groups[name]),
            Estimate(diffusivities[name].value, diffusivities[name].error),
        )
        for name in ions
    ]
    shares = {
        f"transference_{name}": conductivity.self_transference(carriers, kind)
        for kind, name in enumerate(ions)
    }
    return {
        "conductivity_self": conductivity.nernst_einstein(carriers, conditions),
        "conductivity_collective": _collective(
            electrolyte, run, charges, conditions, longest
        ),
        **shares,
    }


def _collective(
    electrolyte: Electrolyte,
    run: BoxRun,
    charges: Floats,
    conditions: Conditions,
    longest: float,
    n_blocks: int = 5,
) -> Estimate:
    """Conductivity of the dipole, fitted over the second half of the lags."""
    positions = transport.remove_drift(run.positions, electrolyte.masses)
    dipole = conductivity.charge_dipole(positions, charges)
    reach = min(longest, 0.5 * run.duration / n_blocks)
    moved = conductivity.dipole_displacement(
        dipole, run.time_step, longest=reach, n_blocks=n_blocks
    )
    return conductivity.collective_conductivity(
        moved, conditions, window=(0.5 * reach, reach)
    )
