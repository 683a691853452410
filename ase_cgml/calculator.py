"""The model as an ASE calculator: it knows the system and makes the dynamics."""

# mypy: allow-untyped-calls

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ase_cgml.beads import check_beads
from ase_cgml.checks import check_atoms, check_order
from ase_cgml.convert import (
    NM,
    box_from_atoms,
    graph_from_atoms,
    graph_from_mdtraj,
    naming_guess,
)
from ase_cgml.dynamics import LearnedCGMD
from ase_cgml.record import KEY, unpack_mapping
from cgml.dynamics.noise import checked_seed
from cgml.dynamics.passengers import (
    known_mapping,
    lacks_hands,
    resolve_mapping,
    with_hands,
)
from cgml.dynamics.potential import MADE_BY, Potential
from cgml.dynamics.propagator import EnsembleWay, GuardPolicy, Propagator
from cgml.models.file import load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.seen import Unseen
from cgml.molecules.whole import whole_beads
from cgml.network.model import LearnedModel
from cgml.spec import FAST, Execution

if TYPE_CHECKING:
    import mdtraj

REASONS = {
    "energy": "it has learned where beads go in one step, not a potential energy "
    f"({MADE_BY})",
    "stress": f"without a potential energy there is no virial ({MADE_BY})",
}
REASONS["free_energy"] = REASONS["energy"]


class CGMLDynamics(Calculator):
    """A model file in ASE.

    It gives the dynamics. Of Atoms that are the beads (`bead_atoms`) it also gives
    mean forces, kT times the gradient of the logarithm of the equilibrium distribution
    (`Propagator.mean_forces`): stock Langevin dynamics with them samples that
    distribution, but on a time scale of its own. There is no energy and no stress.

    A model with a potential (`cgml train-potential`) gives these beads its energy,
    free_energy and conservative forces instead, and in boxes the stress.

    Units are those of ASE: positions Å, energies eV, forces eV/Å, stress eV/Å^3.

    Args:
        model: path of a model file, name of a bundled model, or a loaded model.
        topology: types and bonds of all atoms, where the Atoms do not have them,
            or a Mapping, which says where the beads are, too.
        bonds: "guess": bonds from covalent radii, where nothing else has them.
        type_names: LAMMPS type -> particle type name, as in {1: "A", 2: "B"};
            None: element symbols.
        seed: None: the seed of the run that the atoms continue, else 0.
        device: torch device.
        guard: what to do when a step leaves the range of the training data: "raise"
            a GuardError ("stop" is the same here), "redraw" the step, or "record" it
            in the log.
        n_pairs: pairs of steps that a mean force averages over.
        ensemble: how the members of a model that has several move the beads,
            "mixture" (the seed says which one does) or "average".
        execution: how the networks are evaluated; by default the fast, exact way.
        unseen: "refuse" kinds of beads that the model has not seen, only "warn", or
            "allow" all (see Propagator).

    Raises:
        ValueError: bonds is neither None nor "guess", or the file is no model.

    Example:
        >>> def run(atoms, model):
        ...     atoms.calc = CGMLDynamics(model, type_names={1: "A", 2: "B"})
        ...     atoms.calc.dynamics(atoms, trajectory="run.traj").run(1000)
    """

    implemented_properties = ["forces"]  # noqa: RUF012 (ASE's own way)

    def __init__(  # noqa: PLR0913 (every option has a name and a default)
        self,
        model: str | Path | LearnedModel,
        *,
        topology: "MolecularGraph | Mapping | mdtraj.Topology | None" = None,
        bonds: Literal["guess"] | None = None,
        type_names: dict[int, str] | None = None,
        seed: int | None = None,
        device: str = "cpu",
        guard: GuardPolicy = "raise",
        n_pairs: int = 2,
        ensemble: EnsembleWay = "mixture",
        execution: Execution = FAST,
        unseen: Unseen = "refuse",
    ) -> None:
        super().__init__()
        if bonds not in ("guess", None):
            raise ValueError(f"bonds must be 'guess' or None, got {bonds!r}")
        self.model: LearnedModel = (
            model if isinstance(model, LearnedModel) else load_model(model, device)
        )
        self.topology = topology
        self.bonds = bonds
        self.type_names = type_names
        self.seed = None if seed is None else checked_seed(seed)
        self.device = device
        self.guard = guard
        self.n_pairs = n_pairs
        self.ensemble: EnsembleWay = ensemble
        self.execution = execution
        self.unseen: Unseen = unseen
        self._propagator: Propagator | None = None  # of the mean forces
        self._potential: Potential | None = None
        if self.model.spec.has_potential:
            stress = ["stress"] if self.model.spec.periodic else []
            self.implemented_properties = ["energy", "free_energy", "forces", *stress]

    def get_property(
        self,
        name: str,
        atoms: Atoms | None = None,
        allow_calculation: bool = True,  # noqa: FBT001, FBT002
    ) -> Any:
        """Give the forces of beads, eV/Å, and what a potential gives; refuse all else.

        Raises:
            PropertyNotImplementedError: Another property, or Atoms that are not beads.
        """
        if name in self.implemented_properties:
            return super().get_property(name, atoms, allow_calculation)
        reason = REASONS.get(name, "it has learned where beads go, and nothing else")
        raise PropertyNotImplementedError(
            f"model {self.model.spec.name!r} gives no {name}: {reason}; to move the "
            "atoms, use atoms.calc.dynamics(atoms).run(steps)"
        )

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("forces",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute the forces of the beads, and with a potential the energy, eV.

        Raises:
            PropertyNotImplementedError: The Atoms are not the beads.
            ValueError: as `mapping`; a box of the wrong kind.
        """
        super().calculate(atoms, properties, system_changes)
        beads: Any = self.atoms  # a copy that ASE has made
        box = box_from_atoms(beads, self.model.spec)
        if set(system_changes) - {"positions"}:
            self._propagator = self._potential = None
        if self._propagator is None and self._potential is None:
            mapping = self.mapping(beads)
            if self.model.spec.has_potential:
                self._potential = Potential(
                    self.model,
                    known_mapping(mapping, self.model.spec),
                    box=box,
                    unseen=self.unseen,
                    device=self.device,
                )
            else:
                self._propagator = self._bind(beads, mapping, box)
        bound: Any = self._potential or self._propagator
        mapping = bound.mappings[0]
        if len(beads) != mapping.n_beads:
            raise PropertyNotImplementedError(
                f"forces act on beads, {mapping.n_beads} of them, got Atoms of "
                f"length {len(beads)}: use bead_atoms(atoms, mapping)"
            )
        check_beads(beads, mapping)
        places = whole_beads(mapping, beads.positions[None] / NM, box)[0]
        self.results.update(self._compute(places))

    def _compute(self, places: NDArray[np.float64]) -> dict[str, Any]:
        """Results in ASE's units at (n_beads, 3) nm."""
        energy_unit = units.kJ / units.mol
        if self._potential is None:
            propagator: Any = self._propagator
            forces = propagator.mean_forces(places, n_pairs=self.n_pairs)
            return {"forces": forces * energy_unit / NM}
        found = self._potential(places)
        energy = float(found.energy[0]) * energy_unit
        results = {
            "energy": energy,
            "free_energy": energy,
            "forces": found.forces * energy_unit / NM,
        }
        if "stress" in self.implemented_properties:
            virial: Any = found.virial[0] * energy_unit
            atoms: Any = self.atoms
            results["stress"] = full_3x3_to_voigt_6_stress(virial / atoms.cell.volume)
        return results

    def _bind(
        self, atoms: Atoms, mapping: Mapping, box: NDArray[np.float64] | None
    ) -> Propagator:
        """Make the propagator of some atoms."""
        seed = self.seed
        if seed is None:
            seed = atoms.info[KEY]["seed"] if KEY in atoms.info else 0
        return Propagator(
            self.model,
            known_mapping(mapping, self.model.spec),
            seed=seed,
            box=box,
            guard="raise" if self.guard == "stop" else self.guard,
            ensemble=self.ensemble,
            execution=self.execution,
            unseen=self.unseen,
            device=self.device,
        )

    def _guesses(self, atoms: Atoms) -> bool:
        """Tell whether bonds are those of covalent radii."""
        has_bonds = "bonds" in atoms.arrays or KEY in atoms.info
        return self.bonds is not None and self.topology is None and not has_bonds

    def mapping(self, atoms: Atoms) -> Mapping:
        """Find the beads of some atoms.

        The chemistry comes from topology=, else from LAMMPS bonds in the atoms, else
        from the run that the atoms continue (atoms.info), else from covalent radii.
        Hands, where the model needs them, from the same, else from the positions.

        Raises:
            ValueError: no bonds, or the atoms have been edited, so that bonds which
                know atoms by their place may be others now.
        """
        check_order(atoms)
        spec = self.model.spec
        topology = self.topology
        if topology is None and "bonds" not in atoms.arrays and KEY in atoms.info:
            topology = unpack_mapping(atoms.info[KEY]["mapping"])
        if topology is None:
            topology = graph_from_atoms(
                atoms,
                spec,
                type_names=self.type_names,
                guess=self.bonds is not None,
            )
        elif not isinstance(topology, MolecularGraph | Mapping):
            topology = graph_from_mdtraj(topology, atoms, spec)
        with naming_guess(is_guess=self._guesses(atoms)):
            mapping = resolve_mapping(topology, spec)
        check_atoms(atoms, mapping.graph, self.type_names)
        if len(atoms) != mapping.graph.n_atoms or not lacks_hands(mapping, spec):
            return mapping
        box = box_from_atoms(atoms, spec)
        return with_hands(mapping, atoms.positions / NM, box)

    def dynamics(
        self,
        atoms: Atoms,
        *,
        timestep: float | None = None,
        trajectory: Any = None,
        logfile: IO[str] | str | Path | None = None,
        loginterval: int = 1,
        append_trajectory: bool = False,
    ) -> LearnedCGMD:
        """Make the dynamics of some atoms; its run(steps) moves them.

        To continue a run in a new process: atoms = ase.io.read("run.traj"), set
        atoms.calc anew, and call this with append_trajectory=True.

        Args:
            atoms: atoms, or the beads of topology=; positions unwrapped.
            timestep: ASE time; only to be checked against the model's.
            trajectory: .traj file, or an open Trajectory.
            logfile: path (appended to), open file, or "-" for standard output.
            loginterval: steps between frames and between log lines.
            append_trajectory: continue the .traj file, do not replace it.

        Raises:
            ValueError: as LearnedCGMD and `mapping`; an unknown particle type; a
                box given to an open-boundary model or the reverse.
        """
        mapping = self.mapping(atoms)
        box = box_from_atoms(atoms, self.model.spec)
        with naming_guess(is_guess=self._guesses(atoms)):
            propagator = self._bind(atoms, mapping, box)
        return LearnedCGMD(
            atoms,
            propagator,
            mapping=mapping,
            timestep=timestep,
            trajectory=trajectory,
            logfile=logfile,
            loginterval=loginterval,
            append_trajectory=append_trajectory,
        )
