"""Between OpenMM's Topology, System and Quantity and the core's arrays."""

import warnings
from collections.abc import Iterator
from collections.abc import Mapping as Table
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from cgml.dynamics import passengers
from cgml.molecules.atoms import AtomTable
from cgml.molecules.chemistry import Chemistry, check_carbons, describe
from cgml.molecules.graph import Labels, MolecularGraph, components
from cgml.molecules.mapping import Mapping
from cgml.molecules.masses import differing, elements, names_of, of_elements
from cgml.spec import BaseSpec

_IGNORED_BY_A_PROPAGATOR = (
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloMembraneBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.AndersenThermostat,
)


def in_nanometers(positions: Any) -> NDArray[np.float64]:
    """Take positions as OpenMM's users give them.

    Args:
        positions: Quantity, or numbers in nm; (..., 3).

    Returns:
        (..., 3), nm.
    """
    if unit.is_quantity(positions):
        positions = positions.value_in_unit(unit.nanometer)
    return np.asarray(positions, dtype=np.float64)


def graph_from_topology(
    topology: app.Topology,
    masses: Table[str, float],
    system: openmm.System | None = None,
) -> MolecularGraph:
    """Read a molecular graph off an OpenMM Topology.

    An atom's type is its element symbol, or its name where it has no element; united
    atoms are known by their masses in the System.

    Args:
        topology: with bonds.
        masses: mass of particle types, Da, those of the model; what is not named
            takes the mass of its element.
        system: with the masses of the atoms; None: those of their elements.

    Raises:
        ValueError: there are no bonds, an atom has neither an element nor a name
            in masses, or the name of a united atom and no mass.
    """
    atoms = list(topology.atoms())
    for atom in atoms:
        if system is None and atom.element is None and atom.name not in masses:
            raise ValueError(
                f"unknown particle type {atom.name!r} (atom {atom.index}): the model "
                f"knows {', '.join(masses)}"
            )
    bonds = [(bond.atom1.index, bond.atom2.index) for bond in topology.bonds()]
    if not bonds:
        raise ValueError(
            f"the topology of {len(atoms)} atoms has no bonds, a model needs them: add "
            "them with topology.addBond() or topology.createStandardBonds()"
        )
    if system is not None and system.getNumParticles() != len(atoms):
        raise ValueError(
            f"the System of the topology is required, it has {len(atoms)} atoms, the "
            f"System {system.getNumParticles()} particles"
        )
    table = AtomTable(
        source="the topology",
        names=[atom.name for atom in atoms],
        bonds=np.array(bonds, dtype=np.int64),
        elements=[atom.element.symbol if atom.element else "" for atom in atoms],
        masses=None if system is None else particle_masses(system),
        residues=[atom.residue.name for atom in atoms],
        groups=_groups(topology),
    )
    graph = describe(table, Chemistry(known=masses))
    check_carbons(table, Chemistry())
    return graph


def _groups(topology: app.Topology) -> list[str]:
    """Name residues by atom; two residues of one name and id are told apart."""
    titles, seen = list[str](), set[str]()
    for residue in topology.residues():
        place = f"chain {residue.chain.id}"
        title = f"residue {residue.name} {residue.id} ({place})"
        if title in seen:
            place = f"{place}, number {residue.index} of all"
            title = f"residue {residue.name} {residue.id} ({place})"
        seen.add(title)
        titles += [title] * len(residue)
    return titles


def graph_from_system(
    system: openmm.System, masses: Table[str, float]
) -> MolecularGraph:
    """Read a molecular graph off the bonded forces and masses of a System.

    Args:
        system: with HarmonicBondForce or CustomBondForce.
        masses: mass of particle types, Da, those of the model.

    Raises:
        ValueError: there are no bonds, or a mass belongs to no type or to several.
    """
    bonds = [
        force.getBondParameters(i)[:2]
        for force in system.getForces()
        if isinstance(force, openmm.HarmonicBondForce | openmm.CustomBondForce)
        for i in range(force.getNumBonds())
    ]
    if not bonds:
        raise ValueError(
            f"the System of {system.getNumParticles()} particles has no bonds to read "
            "the molecules from: pass topology="
        )
    weights = particle_masses(system)
    types = [_type_of_mass(i, mass, masses) for i, mass in enumerate(weights.tolist())]
    groups = components(len(types), np.array([*bonds, *_related(system)]))
    names = [f"what exclusions and angles join to particle {i}" for i in groups]
    labels = Labels.create([""] * len(types), names)
    return MolecularGraph.create(types, weights, bonds, labels=labels)


def _related(system: openmm.System) -> Iterator[tuple[int, int]]:
    """Name pairs of particles of one molecule, as far as the forces tell."""
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicAngleForce | openmm.CustomAngleForce):
            for i in range(force.getNumAngles()):
                one, middle, other = force.getAngleParameters(i)[:3]
                yield from ((one, middle), (middle, other))
        elif isinstance(force, openmm.NonbondedForce):
            for i in range(force.getNumExceptions()):
                yield tuple(force.getExceptionParameters(i)[:2])
        elif isinstance(force, openmm.CustomNonbondedForce):
            for i in range(force.getNumExclusions()):
                yield tuple(force.getExclusionParticles(i))


def _type_of_mass(particle: int, mass: float, masses: Table[str, float]) -> str:
    """Find the one particle type that has this mass."""
    found = names_of(mass, masses)
    if len(found) != 1:
        listed = ", ".join(f"{name} ({known:g} Da)" for name, known in masses.items())
        raise ValueError(
            "the System's masses do not determine the particle types: particle "
            f"{particle} of {mass:g} Da may be {' or '.join(found) or 'none'} of "
            f"{listed}: pass topology= (a Topology, MolecularGraph or Mapping of the "
            "atoms)"
        )
    return found[0]


def particle_masses(system: openmm.System) -> NDArray[np.float64]:
    """Return the masses of a System's particles, (n_particles,), Da."""
    return np.array(
        [
            system.getParticleMass(i).value_in_unit(unit.dalton)
            for i in range(system.getNumParticles())
        ]
    )


def resolve_mapping(
    topology: app.Topology | MolecularGraph | Mapping,
    spec: BaseSpec,
    system: openmm.System | None = None,
) -> Mapping:
    """Turn any description of the atoms into the model's mapping.

    Args:
        topology: atoms and bonds, or the mapping itself.
        spec: of the model: particle types, and how atoms become beads.
        system: with the masses of the atoms of a Topology; None: their elements'.

    Raises:
        TypeError: topology is something else.
        ValueError: no bonds, or a particle type that the model does not know.
    """
    if isinstance(topology, app.Topology):
        topology = graph_from_topology(topology, spec.particle_types, system)
    if not isinstance(topology, MolecularGraph | Mapping):
        raise TypeError(
            "topology must be an openmm.app.Topology, a cgml MolecularGraph or a cgml "
            f"Mapping, got {type(topology).__name__}"
        )
    return passengers.resolve_mapping(topology, spec)


def mapping_of(
    system: openmm.System,
    mapping: Mapping | None,
    topology: app.Topology | None,
    spec: BaseSpec,
) -> Mapping | None:
    """Return the mapping of a System's atoms; None: it is to be read from its forces.

    The masses of a System decide over the elements of a topology.

    Raises:
        ValueError: the mapping is of atoms of other masses.
    """
    masses = particle_masses(system)
    if mapping is None or len(masses) != mapping.graph.n_atoms:
        wrong = np.zeros(int(mapping is None), dtype=np.int64)
    else:
        graph = mapping.graph
        symbols = [name if name in elements() else "" for name in graph.types]
        masses = of_elements(symbols, masses, graph.bonds)
        wrong = differing(masses, graph.masses)
    if topology is not None and len(wrong):
        return resolve_mapping(topology, spec, system)
    if mapping is not None and len(wrong):
        i, known = int(wrong[0]), mapping.graph
        raise ValueError(
            f"atom {i} ({known.types[i]}) has {known.masses[i]:g} Da in the topology "
            f"and {masses[i]:g} Da in the System: pass topology= of these atoms in "
            "their order, or correct the masses"
        )
    return mapping


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


def check_system(system: openmm.System) -> None:
    """Refuse what a learned propagator cannot honour.

    Args:
        system: the System that shall be moved.

    Raises:
        ValueError: a barostat or thermostat, virtual sites, or particles fixed by a
            mass of zero.
    """
    for number, force in enumerate(system.getForces()):
        if isinstance(force, _IGNORED_BY_A_PROPAGATOR):
            raise ValueError(
                f"the System has the force {type(force).__name__}, which a learned "
                "propagator cannot honour, as the model keeps its own ensemble: remove "
                f"it with system.removeForce({number})"
            )
    for i in range(system.getNumParticles()):
        if system.isVirtualSite(i):
            raise ValueError(
                f"a System without virtual sites is required, particle {i} is one: "
                "model the molecules without extra points"
            )
    fixed = np.flatnonzero(particle_masses(system) == 0.0)
    if len(fixed):
        raise ValueError(
            f"particles of positive mass are required, particle {fixed[0]} is fixed "
            "by a mass of zero: a model moves all particles"
        )


def check_constraints(system: openmm.System, mapping: Mapping | None) -> None:
    """Say which constraints a model does not keep.

    The atoms of a bead move as one: a constraint among them is kept.

    Args:
        system: the System that shall be moved, its atoms or its beads.
        mapping: atoms -> beads; None: it is to be read from the System.

    Raises:
        ValueError: constraints stand for bonds that the System's forces do not tell.

    Warns:
        UserWarning: constraints join two beads.
    """
    n_constraints = system.getNumConstraints()
    if n_constraints and mapping is None:
        raise ValueError(
            f"the System has {n_constraints} constraints, which hide bonds from those "
            "who read the molecules from its forces: pass topology="
        )
    if not n_constraints or mapping is None:
        return
    n_particles = system.getNumParticles()
    bead_of = mapping.bead_index
    if n_particles == mapping.n_beads:
        bead_of = np.arange(n_particles)
    ends = [system.getConstraintParameters(i)[:2] for i in range(n_constraints)]
    pairs = np.array(ends)[np.max(ends, axis=1) < len(bead_of)]
    across = pairs[bead_of[pairs[:, 0]] != bead_of[pairs[:, 1]]]
    if len(across):
        i, j = across[0]
        warnings.warn(
            f"{len(across)} of {n_constraints} constraints join two beads, as that of "
            f"particles {i} and {j} beads {bead_of[i]} and {bead_of[j]}: a model moves "
            "beads, these distances are not kept",
            stacklevel=2,
        )


def in_picoseconds(time: Any) -> float:
    """Take a time as OpenMM's users give it, ps."""
    if unit.is_quantity(time):
        time = time.value_in_unit(unit.picosecond)
    return float(time)


def positions_of(context: openmm.Context) -> NDArray[np.float64]:
    """Read the positions in a Context, (n_particles, 3), nm."""
    state = context.getState(positions=True)
    return in_nanometers(state.getPositions(asNumpy=True))


def default_box(system: openmm.System) -> NDArray[np.float64]:
    """Return the box a new Context gets, as row vectors, (3, 3), nm."""
    return np.array([in_nanometers(v) for v in system.getDefaultPeriodicBoxVectors()])


def periodic_box(context: openmm.Context) -> NDArray[np.float64]:
    """Return the box of a Context as row vectors, (3, 3), nm."""
    vectors = context.getState().getPeriodicBoxVectors(asNumpy=True)
    return np.asarray(vectors.value_in_unit(unit.nanometer), dtype=np.float64)
