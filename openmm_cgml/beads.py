"""Systems, Topologies and Simulations of the beads alone."""

from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import ArrayLike
from openmm import app, unit

from cgml.dynamics.propagator import GuardPolicy
from cgml.models.file import load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel
from openmm_cgml.convert import in_nanometers, resolve_mapping
from openmm_cgml.integrator import LearnedCGIntegrator


def bead_topology(mapping: Mapping, box: ArrayLike | None = None) -> app.Topology:
    """Describe beads to OpenMM: a chain per molecule, a residue per bead.

    Args:
        mapping: atoms to beads.
        box: row vectors, (3, 3), nm; None: open boundaries.

    Returns:
        A Topology of atoms without element, all called "X" (whoever guesses elements
        from names finds none), bonded like the beads.

    Raises:
        ValueError: the beads are not ordered by molecule.
    """
    if (np.diff(mapping.molecule_index) < 0).any():
        raise ValueError(
            "beads ordered by molecule are required, as OpenMM numbers the atoms of a "
            "chain in one run: make the mapping with Mapping.from_partition"
        )
    topology = app.Topology()
    n_molecules = int(mapping.molecule_index.max(initial=-1)) + 1
    chains = [topology.addChain() for _ in range(n_molecules)]
    # one residue per bead: PDB files know no two atoms of one name in a residue
    atoms = [
        topology.addAtom("X", None, topology.addResidue("CG", chains[molecule]))
        for molecule in mapping.molecule_index.tolist()
    ]
    for i, j in mapping.bead_bonds.tolist():
        topology.addBond(atoms[i], atoms[j])
    if box is not None:
        topology.setPeriodicBoxVectors(np.asarray(box) * unit.nanometer)
    return topology


def bead_system(mapping: Mapping, box: ArrayLike | None = None) -> openmm.System:
    """Make a System of beads with masses and without interactions.

    The bonds have no stiffness: they only tell OpenMM the molecules, so that
    reporters keep them whole.

    Args:
        mapping: atoms to beads.
        box: row vectors, (3, 3), nm; None: open boundaries.
    """
    system = openmm.System()
    for mass in mapping.bead_masses.tolist():
        system.addParticle(mass)
    force = openmm.HarmonicBondForce()
    for i, j in mapping.bead_bonds.tolist():
        force.addBond(i, j, 0.0, 0.0)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*np.asarray(box, dtype=float))
        force.setUsesPeriodicBoundaryConditions(True)
    system.addForce(force)
    return system


def bead_simulation(  # noqa: PLR0913 (every option has a name and a default)
    model: str | Path | LearnedModel,
    topology: app.Topology | MolecularGraph | Mapping,
    positions: Any,
    *,
    system: openmm.System | None = None,
    seed: int = 0,
    device: str = "cpu",
    guard: GuardPolicy = "raise",
    platform: openmm.Platform | None = None,
) -> app.Simulation:
    """Make a Simulation of the beads alone, positions set.

    Args:
        model: path of a model file, name of a bundled model, or a loaded model.
        topology: atoms and bonds, or the mapping itself.
        positions: of the atoms, unwrapped, (n_atoms, 3), Quantity or nm.
        system: of the atoms: it has the masses of united atoms.
        seed: seed of all noise.
        device: torch device of the model.
        guard: "raise" (or "stop"), "redraw" or "record".
        platform: OpenMM platform; None: the fastest present.

    Raises:
        ValueError: as LearnedCGIntegrator; or positions that do not fit.
    """
    loaded = model if isinstance(model, LearnedModel) else load_model(model, device)
    mapping = resolve_mapping(topology, loaded.spec, system)
    integrator = LearnedCGIntegrator(
        loaded, topology=mapping, seed=seed, device=device, guard=guard
    )
    beads = mapping.positions(in_nanometers(positions))
    box = (
        topology.getPeriodicBoxVectors() if isinstance(topology, app.Topology) else None
    )
    if box is not None:
        box = in_nanometers(box)
    simulation = app.Simulation(
        bead_topology(mapping, box),
        bead_system(mapping, box),
        integrator,
        platform,
    )
    simulation.context.setPositions(beads)
    return simulation
