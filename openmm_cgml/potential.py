"""A model's potential of mean force as an OpenMM force, for stock integrators."""

from pathlib import Path
from typing import Any

import openmm
from openmm import app, unit

from cgml.dynamics.potential import Potential
from cgml.models.file import load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.seen import Unseen
from cgml.molecules.whole import whole_beads
from cgml.network.model import LearnedModel
from openmm_cgml.convert import in_nanometers, resolve_mapping


class _Computation:
    """Energy and forces of the beads in a State.

    Args:
        model: with a potential.
        mapping: atoms to beads.
        unseen: as of a Propagator.
        device: torch device.
    """

    def __init__(
        self, model: LearnedModel, mapping: Mapping, unseen: Unseen, device: str
    ) -> None:
        self._model, self._mapping = model, mapping
        self._unseen: Unseen = unseen
        self._device = device
        self._bound: tuple[bytes, Potential] | None = None

    def potential(self, box: Any) -> Potential:
        """Bind the potential to a box, (3, 3) nm; it is kept while the box is."""
        key = b"" if box is None else box.tobytes()
        if self._bound is None or self._bound[0] != key:
            bound = Potential(
                self._model,
                self._mapping,
                box=box,
                unseen=self._unseen,
                device=self._device,
            )
            self._bound = key, bound
        return self._bound[1]

    def __call__(self, state: openmm.State) -> tuple[float, Any]:
        """Energy, kJ/mol, and forces, (n_beads, 3) kJ/mol/nm."""
        positions = in_nanometers(state.getPositions(asNumpy=True))
        box = None
        if self._model.spec.periodic:
            vectors = state.getPeriodicBoxVectors(asNumpy=True)
            box = vectors.value_in_unit(unit.nanometer)
        places = whole_beads(self._mapping, positions[None], box)[0]
        found = self.potential(box)(places)
        return float(found.energy[0]), found.forces


def cgml_force(
    model: str | Path | LearnedModel,
    topology: app.Topology | MolecularGraph | Mapping,
    *,
    system: openmm.System | None = None,
    device: str = "cpu",
    unseen: Unseen = "refuse",
) -> openmm.PythonForce:
    """Make the force of a model's potential, for a System of beads.

    Args:
        model: path of a model file, or a loaded model; with a potential
            (`cgml train-potential`).
        topology: atoms and bonds, or the mapping of atoms to beads itself; the
            particles of the System are its beads (`openmm_cgml.beads.bead_system`).
        system: of the atoms: it has the masses of united atoms.
        device: torch device.
        unseen: "refuse" kinds of beads that the model has not seen, only "warn", or
            "allow" all (see Propagator).

    Returns:
        A PythonForce in kJ/mol and nm; it cannot be written to XML.

    Raises:
        ValueError: The model has no potential, or a particle type is unknown.
    """
    loaded = model if isinstance(model, LearnedModel) else load_model(model, device)
    mapping = resolve_mapping(topology, loaded.spec, system)
    compute = _Computation(loaded, mapping, unseen, device)
    if not loaded.spec.periodic or not loaded.spec.has_potential:
        compute.potential(None)  # refuses at once what it must
    force = openmm.PythonForce(compute)
    force.setName("cgml potential")
    force.setUsesPeriodicBoundaryConditions(loaded.spec.periodic)
    return force
