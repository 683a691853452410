"""Between OpenMM's Topology, System and Quantity and the core's arrays."""

from collections import Counter
from collections.abc import Mapping as Table
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from cgml.dynamics import passengers
from cgml.molecules.atoms import AtomTable
from cgml.molecules.chemistry import Chemistry, check_carbons, describe
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.masses import (
    UnknownMassesError,
    differing,
    elements,
    of_elements,
)
from cgml.spec import BaseSpec
from cgml.texts import counted
from openmm_cgml.systems import atom_masses, atoms_of


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
    atoms are known by their masses in the System. Particles without mass (virtual
    sites) are left out.

    Args:
        topology: with bonds.
        masses: mass of particle types, Da, those of the model; what is not named
            takes the mass of its element.
        system: with the masses of the atoms; None: those of their elements.

    Raises:
        TypeError: masses is no table.
        ValueError: there are no bonds, an atom has neither an element nor a name
            in masses, or the name of a united atom and no mass.
    """
    if not isinstance(masses, Table):
        raise TypeError(
            "masses must be a table of particle types, such as {'CH2': 14.027} or {}, "
            f"got {type(masses).__name__}: masses of the atoms one by one are those of "
            "the System, system="
        )
    atoms = list(topology.atoms()) if system is None else _massive(topology, system)
    if system is None:
        _check_names(atoms, masses)
    place = {atom.index: i for i, atom in enumerate(atoms)}
    ends = [(bond.atom1.index, bond.atom2.index) for bond in topology.bonds()]
    bonds = [(place[i], place[j]) for i, j in ends if i in place and j in place]
    if not bonds:
        raise ValueError(
            f"the topology of {counted(len(atoms), 'atom')} has no bonds, a "
            "model needs them: add them with topology.addBond() or "
            "topology.createStandardBonds()"
        )
    groups = _groups(topology)
    table = AtomTable(
        source="the topology",
        names=[atom.name for atom in atoms],
        bonds=np.array(bonds, dtype=np.int64),
        elements=[atom.element.symbol if atom.element else "" for atom in atoms],
        masses=None if system is None else atom_masses(system),
        residues=[atom.residue.name for atom in atoms],
        groups=[groups[atom.index] for atom in atoms],
    )
    graph = describe(table, Chemistry(known=masses))
    check_carbons(table, Chemistry())
    return graph


def _massive(topology: app.Topology, system: openmm.System) -> list[app.topology.Atom]:
    """List the atoms of a Topology that have mass in its System.

    Raises:
        ValueError: the System is that of another Topology, or what has no mass joins
            atoms.
    """
    atoms = list(topology.atoms())
    if system.getNumParticles() != len(atoms):
        raise ValueError(
            f"the System of the topology is required, it has {len(atoms)} atoms, the "
            f"System {system.getNumParticles()} particles"
        )
    degrees = Counter(atom.index for bond in topology.bonds() for atom in bond)
    kept = atoms_of(system).tolist()
    rest = sorted(set(range(len(atoms))).difference(kept))
    joining = [index for index in rest if degrees[index] > 1]
    if joining:
        raise ValueError(
            "particles without mass are not moved by a model, and must not join atoms: "
            f"atom {joining[0]} of the topology has no mass and two bonds or more"
        )
    return [atoms[index] for index in kept]


def _check_names(atoms: Sequence[app.topology.Atom], masses: Table[str, float]) -> None:
    """Refuse atoms that have neither an element nor a name that is known.

    Raises:
        UnknownMassesError: others have elements: a System will tell whether these
            have mass at all.
        ValueError: they do not.
    """
    is_of_elements = any(atom.element is not None for atom in atoms)
    for atom in atoms:
        if atom.element is not None or atom.name in masses:
            continue
        text = (
            f"unknown particle type {atom.name!r} (atom {atom.index}): the model "
            f"knows {', '.join(masses)}"
        )
        if is_of_elements:
            raise UnknownMassesError(f"{text}; if it is a virtual site, pass system=")
        raise ValueError(text)


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
            "topology must be an openmm.app.Topology (of mdtraj: "
            "topology.to_openmm()), a cgml MolecularGraph or a cgml Mapping, got "
            f"{type(topology).__module__}.{type(topology).__name__}"
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
    masses = atom_masses(system)
    if mapping is None or len(masses) != mapping.graph.n_atoms:
        is_whole = (
            topology is not None and system.getNumParticles() == topology.getNumAtoms()
        )
        wrong = np.zeros(int(mapping is None or is_whole), dtype=np.int64)
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


def in_picoseconds(time: Any) -> float:
    """Take a time as OpenMM's users give it, ps."""
    if unit.is_quantity(time):
        time = time.value_in_unit(unit.picosecond)
    return float(time)


def check_temperature(spec: BaseSpec, temperature: Any) -> None:
    """Refuse a temperature, Quantity or K, that is not the model's.

    Raises:
        ValueError: the two differ.
    """
    if unit.is_quantity(temperature):
        temperature = temperature.value_in_unit(unit.kelvin)
    if not abs(float(temperature) - spec.temperature) <= 1e-6 * spec.temperature:
        raise ValueError(
            f"the temperature of model {spec.name!r} is {spec.temperature:g} K and "
            f"cannot be changed, got {float(temperature):g} K: leave it out, or use a "
            "model of that temperature"
        )


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
