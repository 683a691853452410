"""What a model cannot move: fixed atoms, other boundaries, no positions."""

import logging
from collections.abc import Container

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from cgml.spec import BaseSpec
from openmm_cgml.systems import particle_masses

LOGGER = logging.getLogger(__name__)

_FARTHEST = 1.0e6  # nm


def check_particles(
    system: openmm.System, topology: app.Topology | None, types: Container[str]
) -> None:
    """Refuse atoms that are fixed; say so of other particles without mass.

    Args:
        system: that shall be moved.
        topology: of its particles; None: all of them count as atoms.
        types: of particles that the model knows.

    Raises:
        ValueError: an atom is fixed by a mass of zero.
    """
    is_extra = np.zeros(system.getNumParticles(), dtype=np.bool_)
    if topology is not None and topology.getNumAtoms() == len(is_extra):
        is_extra[:] = [
            atom.element is None and atom.name not in types for atom in topology.atoms()
        ]
    is_site = np.array([system.isVirtualSite(i) for i in range(len(is_extra))])
    fixed = np.flatnonzero((particle_masses(system) == 0.0) & ~is_site)
    if not is_extra[fixed].all():
        raise ValueError(
            f"particles of positive mass are required, particle "
            f"{fixed[~is_extra[fixed]][0]} is fixed by a mass of zero: a model moves "
            "all atoms"
        )
    if len(fixed):
        n_acting = _n_acting(system, fixed)
        lost = ""
        if n_acting:
            lost = f"; {n_acting} have charge or Lennard-Jones forces, which are lost"
        LOGGER.warning(
            "%d particles without mass and element stay where they are, as in MD: a "
            "model knows nothing of them%s",
            len(fixed),
            lost,
        )


def _n_acting(system: openmm.System, particles: NDArray[np.int64]) -> int:
    """Count the particles that a NonbondedForce lets act on others."""
    acts = np.zeros(system.getNumParticles(), dtype=np.bool_)
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            for i in particles.tolist():
                charge, _, depth = force.getParticleParameters(i)
                acts[i] |= charge._value != 0.0 or depth._value != 0.0
    return int(acts.sum())


def check_boundaries(spec: BaseSpec, *, is_periodic: bool) -> None:
    """Refuse a box for an open-boundary model and the reverse, and say how to go on.

    Raises:
        ValueError: the model was trained under the other kind of boundaries.
    """
    try:
        spec.check_boundaries(is_periodic=is_periodic)
    except ValueError as error:
        hint = (
            "force.setUsesPeriodicBoundaryConditions(True) for a force of the System, "
            "or topology= an app.Topology with setPeriodicBoxVectors"
            if spec.periodic
            else "nonbondedMethod=NoCutoff, topology.setPeriodicBoxVectors(None)"
        )
        raise ValueError(f"{error} (in OpenMM: {hint})") from error


def check_box(before: NDArray[np.float64], box: NDArray[np.float64]) -> None:
    """Refuse a box that is not that of the steps done."""
    if not np.allclose(before, box, rtol=0.0, atol=1e-6):
        raise ValueError(
            f"a fixed box is required, it was {before.tolist()} nm and is "
            f"{box.tolist()} nm: make a new Simulation for the new box, and remove "
            "barostats"
        )


def check_start(particles: NDArray[np.float64]) -> None:
    """Refuse to start where no model can."""
    if not particles.any():  # OpenMM gives zeros
        raise ValueError(
            "positions are required, all are zero: call context.setPositions first"
        )
    n_lost = int((~particles.any(axis=1)).sum())
    if n_lost > 1:
        raise ValueError(
            f"positions of all particles are required, {n_lost} of {len(particles)} "
            "are at the origin, as after a checkpoint that was cut short: call "
            "context.setPositions"
        )
    if not np.isfinite(particles).all():
        i, k = np.argwhere(~np.isfinite(particles))[0]
        raise ValueError(
            f"positions must be finite, positions[{i}, {k}] = {particles[i, k]} nm"
        )
    farthest = float(np.abs(particles).max())
    if farthest > _FARTHEST:
        raise ValueError(
            f"positions within {_FARTHEST:g} nm are required, one is {farthest:.3g} "
            "nm, as after a minimisation or dynamics that have exploded: call "
            "context.setPositions"
        )
