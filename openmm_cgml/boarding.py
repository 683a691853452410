"""Taking the particles of a System on board of a model, with all checks."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from cgml.dynamics.passengers import (
    Passengers,
    known_mapping,
    lacks_hands,
    with_hands,
)
from cgml.dynamics.propagator import Propagator
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.masses import UnknownMassesError
from cgml.spec import BaseSpec
from openmm_cgml import checks, convert
from openmm_cgml.forces import check_forces
from openmm_cgml.systems import atoms_of, graph_from_system


class Boarding:
    """What an integrator was told of its particles, and what Systems have added.

    Args:
        spec: of the model that shall move them.
        topology: atoms and bonds, or the mapping; None: read from a System.
        ignore: forces that may be lost.
        bind: makes the propagator of a mapping, with seed= and box=.

    Attributes:
        mapping: atoms -> beads; None: to be read from a System.
        atoms: places of the particles with mass, (n_atoms,).
        is_periodic: whether they are in a box.
        lacks_hands: whether positions must tell hands that the model needs.
    """

    def __init__(
        self,
        spec: BaseSpec,
        topology: app.Topology | MolecularGraph | Mapping | None,
        ignore: Sequence[str],
        bind: Callable[..., Propagator],
    ) -> None:
        self._spec, self._bind = spec, bind
        self._ignore = [ignore] if isinstance(ignore, str) else list(ignore)
        self._topology = topology if isinstance(topology, app.Topology) else None
        self.mapping: Mapping | None = None
        try:
            if topology is not None:
                self.mapping = convert.resolve_mapping(topology, spec)
        except UnknownMassesError:  # of united atoms: the System will tell
            if self._topology is None:
                raise
        self._has_box = (
            self._topology is not None
            and self._topology.getPeriodicBoxVectors() is not None
        )
        self.atoms = np.zeros(0, dtype=np.int64)
        self.is_periodic = self.lacks_hands = False

    def board(
        self,
        system: openmm.System,
        box: NDArray[np.float64],
        places: NDArray[np.float64],
        seed: int,
    ) -> Passengers:
        """Check a System and take its particles on board.

        Args:
            system: of the particles.
            box: row vectors, (3, 3), nm.
            places: of all particles, (n_particles, 3), nm, where hands are lacking;
                zeros or none: not known yet.
            seed: of all noise.
        """
        spec = self._spec
        checks.check_particles(system, self._topology, spec.particle_types)
        mapping = convert.mapping_of(system, self.mapping, self._topology, spec)
        if mapping is None:
            graph = graph_from_system(system, spec.particle_types)
            mapping = convert.resolve_mapping(graph, spec)
        self.atoms = atoms = atoms_of(system)
        constraints = check_forces(system, mapping, atoms, self._ignore)
        self.is_periodic = self._has_box or system.usesPeriodicBoundaryConditions()
        checks.check_boundaries(spec, is_periodic=self.is_periodic)
        known_box = box if self.is_periodic else None
        are_atoms = len(atoms) == mapping.graph.n_atoms
        self.lacks_hands = are_atoms and lacks_hands(mapping, spec)
        if self.lacks_hands and places.any():
            mapping = with_hands(mapping, places[atoms], known_box)
            self.lacks_hands = False
        if self.mapping is not None:
            self.mapping = mapping
        if self.lacks_hands:  # until positions are set, a propagator to check with
            mapping = replace(mapping, hands=np.zeros(len(atoms), dtype=np.int8))
        known = known_mapping(mapping, spec)
        propagator = self._bind(known, seed=seed, box=known_box)
        return Passengers(
            *(propagator, len(atoms), known_box),
            mapping=mapping,
            constraints=constraints,
        )
