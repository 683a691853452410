"""The model as an ASE calculator: it knows the system and makes the dynamics."""

# mypy: allow-untyped-calls

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from ase_cgml.convert import box_from_atoms, graph_from_atoms
from ase_cgml.dynamics import KEY, LearnedCGMD, unpack_mapping
from cgml.export import load_model
from cgml.mapping import Mapping
from cgml.model import LearnedModel
from cgml.propagator import GuardPolicy, Propagator
from cgml.topology import MolecularGraph, from_mdtraj

if TYPE_CHECKING:
    import mdtraj

REASONS = {
    "energy": "it has learned where beads go in one step, not a potential energy",
    "forces": "its step holds friction and noise, too, and is no force",
    "stress": "without a potential energy there is no virial",
}
REASONS["free_energy"] = REASONS["energy"]


class CGMLDynamics(Calculator):
    """A model file in ASE.

    It gives no energy, forces or stress; it gives the dynamics.

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
            a GuardError, "redraw" the step, or "record" it in the log.

    Raises:
        ValueError: bonds is neither None nor "guess", or the file is no model.

    Example:
        >>> def run(atoms, model):
        ...     atoms.calc = CGMLDynamics(model, type_names={1: "A", 2: "B"})
        ...     atoms.calc.dynamics(atoms, trajectory="run.traj").run(1000)
    """

    def __init__(
        self,
        model: str | Path | LearnedModel,
        *,
        topology: "MolecularGraph | Mapping | mdtraj.Topology | None" = None,
        bonds: Literal["guess"] | None = None,
        type_names: dict[int, str] | None = None,
        seed: int | None = None,
        device: str = "cpu",
        guard: GuardPolicy = "raise",
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
        self.seed = seed
        self.device = device
        self.guard = guard

    def get_property(
        self,
        name: str,
        atoms: Atoms | None = None,
        allow_calculation: bool = True,  # noqa: FBT001, FBT002
    ) -> Any:
        """Refuse, with the reason.

        Raises:
            PropertyNotImplementedError: Always.
        """
        reason = REASONS.get(name, "it has learned where beads go, and nothing else")
        raise PropertyNotImplementedError(
            f"model {self.model.spec.name!r} gives no {name}: {reason}; to move the "
            "atoms, use atoms.calc.dynamics(atoms).run(steps)"
        )

    def mapping(self, atoms: Atoms) -> Mapping:
        """Find the beads of some atoms.

        The chemistry comes from topology=, else from LAMMPS bonds in the atoms, else
        from the run that the atoms continue (atoms.info), else from covalent radii.

        Raises:
            ValueError: no bonds.
        """
        spec = self.model.spec
        topology = self.topology
        if topology is None and "bonds" not in atoms.arrays and KEY in atoms.info:
            topology = unpack_mapping(atoms.info[KEY]["mapping"])
        if isinstance(topology, Mapping):
            return topology
        if topology is None:
            graph = graph_from_atoms(
                atoms,
                spec,
                type_names=self.type_names,
                guess=self.bonds is not None,
            )
        elif isinstance(topology, MolecularGraph):
            graph = topology
        else:
            graph = from_mdtraj(topology, spec.particle_types)
        return Mapping.from_partition(graph, spec.atoms_per_bead, spec.partition)

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
        box = box_from_atoms(atoms, self.model.spec)
        mapping = self.mapping(atoms)
        seed = self.seed
        if seed is None:
            seed = atoms.info[KEY]["seed"] if KEY in atoms.info else 0
        propagator = Propagator(
            self.model,
            mapping,
            seed=seed,
            box=box,
            guard=self.guard,
            device=self.device,
        )
        return LearnedCGMD(
            atoms,
            propagator,
            timestep=timestep,
            trajectory=trajectory,
            logfile=logfile,
            loginterval=loginterval,
            append_trajectory=append_trajectory,
        )
