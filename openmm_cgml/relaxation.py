"""Atoms that were placed for beads, relaxed by the force field of a System.

1. Minimised with the bonded forces and a soft repulsion that two atoms can pass: what
   is caught in something comes out. Where constraints cannot be met from there, bonds
   take their place in this stage.
2. Minimised with all forces.
3. Some ps of Langevin dynamics at the temperature.

All the while springs hold the centres of the beads, stiff at first and softer in the
end. On the CPU platform with one thread the result depends on the positions, the seed
and the version of OpenMM alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import openmm

from cgml import units
from cgml.molecules.box import Box
from cgml.molecules.fragments import Floats, Fragments
from cgml.molecules.mapping import Mapping
from cgml.ranges import positive
from openmm_cgml.bond_ranges import Ranges
from openmm_cgml.convert import positions_of
from openmm_cgml.relaxation_forces import (
    BONDED,
    is_left_out,
    loosened,
    selected,
    soft_pairs,
    springs,
)

_SOFT_STEPS, _FULL_STEPS = 80, 100  # of minimisation, at most
_HARDEST, _STAGES = 16.0, 8  # springs at first, of those in the end
_ENOUGH = 10.0  # kJ/mol/nm, of the forces that are left
_GENTLE = 100  # steps of a quarter of the time step, to begin with
_SHARES = (1.0, 0.5, 0.25)  # of the time step, one after the other where it explodes


@dataclass(frozen=True)
class Relaxation:
    """How atoms are relaxed.

    Attributes:
        time: of the dynamics, ps.
        time_step: ps.
        friction: 1/ps.
        heat: temperature at the beginning of the dynamics, of that in the end; it falls
            evenly in the first half, so that torsions come over their barriers.
        spread: rms distance of a free bead from its place, nm, under the springs of
            the end: their stiffness is 3 kT / spread^2.
        tolerance: largest rms distance of the centres of beads from their places, nm,
            of a frame that is good; a few that had to move (`reach`) do not count.

    Raises:
        ValueError: a number that is not positive and finite.
    """

    time: float = 4.0
    time_step: float = 0.002
    friction: float = 5.0
    heat: float = 2.0
    spread: float = 0.0235
    tolerance: float = 0.05

    @property
    def reach(self) -> float:
        """Distance from its place that shows a bead was pushed there: 3 spread, nm.

        A free bead is farther away in 6 of 1,000,000 frames.
        """
        return 3.0 * self.spread

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, unit in (
            *(("time", "ps"), ("time_step", "ps"), ("friction", "1/ps")),
            *(("heat", ""), ("spread", "nm"), ("tolerance", "nm")),
        ):
            positive(getattr(self, name), name, unit)


class Relaxed(NamedTuple):
    """Atoms that were relaxed.

    Attributes:
        atoms: (n_atoms, 3), nm.
        energy: in the System, kJ/mol.
        largest_force: of the System on an atom, kJ/mol/nm.
        gaps: distances of the centres of beads from their places, (n_beads,), nm.
        bonds_outside: bonds, constraints and distances across an atom outside the range
            of the force field or the fragments.
    """

    atoms: Floats
    energy: float
    largest_force: float
    gaps: Floats
    bonds_outside: int

    @property
    def is_finite(self) -> bool:
        """Whether positions and energy are numbers."""
        return bool(np.isfinite(self.atoms).all() and np.isfinite(self.energy))


class Relaxer:
    """Relaxes atoms in the forces of a System.

    Args:
        system: of the atoms; it is copied. Barostats, thermostats and removers of
            drift are left out.
        mapping: atoms -> beads.
        fragments: with the contacts of the soft repulsion.
        temperature: K.
        relaxation: how.
        platform: OpenMM platform name.

    Raises:
        ValueError: the System has more particles than atoms, or fewer, lacks bonds, or
            is of other atoms.
    """

    def __init__(
        self,
        system: openmm.System,
        mapping: Mapping,
        fragments: Fragments,
        temperature: float,
        relaxation: Relaxation,
        platform: str,
    ) -> None:
        n_atoms = mapping.graph.n_atoms
        if system.getNumParticles() != n_atoms:
            raise ValueError(
                f"the System of the {n_atoms} atoms is required, it has "
                f"{system.getNumParticles()} particles: back-mapping knows no extra "
                "ones"
            )
        self._mapping, self._temperature = mapping, temperature
        self._options = relaxation
        self._platform = openmm.Platform.getPlatformByName(platform)
        self._ranges = Ranges(system, mapping.graph, fragments, temperature)
        self._is_periodic = system.usesPeriodicBoundaryConditions()
        self._full = selected(system, lambda force: not is_left_out(force))
        self._soft = selected(system, lambda force: isinstance(force, BONDED))
        self._soft.addForce(
            soft_pairs(mapping, fragments, is_periodic=self._is_periodic)
        )
        for force in self._full.getForces():
            force.setForceGroup(0)
        self._springs = [
            own.addForce(springs(mapping)) for own in (self._soft, self._full)
        ]
        has_constraints = self._soft.getNumConstraints() > 0
        self._loose = [loosened(self._soft)] if has_constraints else []
        self._stiffness = 3.0 * units.BOLTZMANN * temperature / relaxation.spread**2

    def relax(
        self, atoms: Floats, beads: Floats, box: Box | None, seed: int
    ) -> Relaxed:
        """Relax a frame; not a number where the dynamics explode.

        Args:
            atoms: placed, molecules whole, (n_atoms, 3), nm.
            beads: where their centres shall be, (n_beads, 3), nm.
            box: row vectors, (3, 3), nm; None: open boundaries.
            seed: of velocities and thermostat, 1 to 2^31 - 1.

        Raises:
            ValueError: a System in a box and none given, or the reverse.
        """
        if self._is_periodic != (box is not None):
            has = ("no box", "a box")
            raise ValueError(
                f"the System has {has[self._is_periodic]}, the frames of beads have "
                f"{has[box is not None]}: give the System and the frames of one run"
            )
        full = self._context(self._full, beads, box, seed)
        for system in (self._soft, *self._loose):
            soft = self._context(system, beads, box, seed)
            soft.setPositions(atoms)
            if not _endured(_minimize, soft, full):
                continue
            calm = full.getState(positions=True).getPositions()
            for share in _SHARES:
                full.setPositions(calm)
                if _endured(self._simulate, full, seed, share):
                    return self._result(full, beads)
        nan = float("nan")
        return Relaxed(np.full_like(atoms, nan), nan, nan, np.full(len(beads), nan), 0)

    def _context(
        self, system: openmm.System, beads: Floats, box: Box | None, seed: int
    ) -> openmm.Context:
        """Make a Context with stiff springs to where the beads are."""
        springs = system.getForce(self._springs[system is self._full])
        for bead, centre in enumerate(beads.tolist()):
            springs.setBondParameters(bead, [bead], centre)
        if box is not None:
            system.setDefaultPeriodicBoxVectors(*box)
        integrator = openmm.LangevinMiddleIntegrator(
            self._temperature, self._options.friction, self._options.time_step
        )
        integrator.setRandomNumberSeed(seed)
        is_cpu = self._platform.getName() == "CPU"
        properties = {"Threads": "1", "DeterministicForces": "true"} if is_cpu else {}
        context = openmm.Context(system, integrator, self._platform, properties)
        context.setParameter("stiffness", _HARDEST * self._stiffness)
        return context

    def _simulate(self, context: openmm.Context, seed: int, share: float) -> None:
        """Let the atoms move while the springs soften and the heat falls.

        Args:
            context: minimised.
            seed: of velocities.
            share: of the time step.
        """
        options, integrator = self._options, context.getIntegrator()
        time_step = share * options.time_step
        context.setParameter("stiffness", _HARDEST * self._stiffness)
        context.setVelocitiesToTemperature(self._temperature, seed)
        integrator.setStepSize(0.25 * time_step)
        integrator.step(_GENTLE)
        integrator.setStepSize(time_step)
        n_steps = max(1, round(options.time / time_step / _STAGES))
        for stage in range(_STAGES):
            heat = 1.0 + (options.heat - 1.0) * max(0.0, 1.0 - 2.0 * stage / _STAGES)
            hardness = _HARDEST ** max(0.0, 1.0 - 4.0 * (stage + 1) / _STAGES)
            integrator.setTemperature(heat * self._temperature)
            context.setParameter("stiffness", hardness * self._stiffness)
            integrator.step(n_steps)

    def _result(self, context: openmm.Context, beads: Floats) -> Relaxed:
        """Measure what came out."""
        state = context.getState(energy=True, forces=True, groups={0})
        atoms = positions_of(context)
        forces = np.asarray(state.getForces(asNumpy=True)._value)
        gaps = np.linalg.norm(self._mapping.positions(atoms) - beads, axis=1)
        return Relaxed(
            atoms,
            float(state.getPotentialEnergy()._value),
            float(np.linalg.norm(forces, axis=1).max()),
            gaps,
            self._ranges.n_outside(atoms),
        )


def _endured(work: Callable[..., None], *arguments: Any) -> bool:
    """Do it; False: positions are no numbers any more."""
    try:
        work(*arguments)
    except openmm.OpenMMException as error:
        if "nan" not in str(error).lower():
            raise
        return False
    return True


def _minimize(soft: openmm.Context, full: openmm.Context) -> None:
    """Minimise with the soft repulsion, then from there with all forces."""
    minimize = openmm.LocalEnergyMinimizer.minimize
    minimize(soft, _ENOUGH, _SOFT_STEPS)
    full.setPositions(soft.getState(positions=True).getPositions())
    minimize(full, _ENOUGH, _FULL_STEPS)
