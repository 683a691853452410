"""From trajectory files to bead frames on disk: the first stage of training."""

import math
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from cgml.formats.trajectory import (
    BeadTrajectory,
    LammpsOptions,
    coarsen,
    is_data_file,
    read,
    read_beads,
    read_reference,
    read_topology,
    write_beads,
)
from cgml.molecules.graph import BOND, MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.spec import BaseSpec

ARRAYS = ".npz"
BEADS = ".h5md"


@dataclass(frozen=True)
class Coarsening:
    """How atoms become beads.

    Attributes:
        atoms_per_bead: atoms in a bead, on average.
        method: how METIS divides, "recursive" or "kway".
        single_bead_limit: a molecule of at most so many atoms is one bead.
        mapping: file of an assignment to use instead (`Mapping.save`).
        masses: particle type -> mass, Da, of the particles that are no element.
        time_step: time between frames, ps, for formats that do not tell; None: the
            file's.
        lammps: what LAMMPS files do not say of themselves.

    Raises:
        ValueError: atoms_per_bead is below 1, or a mass is not positive.
    """

    atoms_per_bead: float = 5.0
    method: Literal["recursive", "kway"] = "recursive"
    single_bead_limit: int = 0
    mapping: Path | None = None
    masses: Table[str, float] = field(default_factory=dict)
    time_step: float | None = None
    lammps: LammpsOptions = field(default_factory=LammpsOptions)

    @classmethod
    def from_spec(cls, spec: BaseSpec) -> Self:
        """Return what a model was trained with."""
        return cls(
            atoms_per_bead=spec.atoms_per_bead,
            method=spec.partition,
            single_bead_limit=spec.single_bead_limit,
            masses=spec.particle_types,
            lammps=LammpsOptions(keep_bond_types=spec.bond_types != [BOND]),
        )

    def __post_init__(self) -> None:
        """Check the size of a bead."""
        if not self.atoms_per_bead >= 1.0:
            raise ValueError(
                f"atoms_per_bead must be 1 or more, got {self.atoms_per_bead:g}"
            )
        for name, mass in self.masses.items():
            if not 0.0 < mass < math.inf:
                raise ValueError(
                    f"masses must be positive, the mass of {name!r} is {mass:g} Da"
                )

    def map(self, graph: MolecularGraph) -> Mapping:
        """Return the mapping of a system's atoms."""
        if self.mapping is not None:
            return Mapping.load(self.mapping)
        return Mapping.from_partition(
            graph,
            self.atoms_per_bead,
            self.method,
            single_bead_limit=self.single_bead_limit,
        )


def read_systems(
    paths: Sequence[Path], topology: Path | None, coarsening: Coarsening
) -> Iterator[BeadTrajectory]:
    """Read bead frames from files of any kind, one system after the other.

    Args:
        paths: bead frames (.h5md), arrays in the reference layout (.npz), or
            trajectories of atoms (DCD, XTC, TRR, HDF5, PDB, LAMMPS dump or data).
        topology: file with the atoms and bonds of the trajectories of atoms; a PDB or
            a LAMMPS data file has its own.
        coarsening: how those atoms become beads.

    Yields:
        The systems, files in the order given.

    Raises:
        ValueError: trajectories of atoms without a topology, or a file that cannot
            be used.
    """
    mapping: Mapping | None = None
    graphs: dict[Path, MolecularGraph] = {}
    for path in paths:
        if path.suffix == BEADS:
            yield read_beads(path)
        elif path.suffix == ARRAYS:
            yield from read_reference(path, group=round(coarsening.atoms_per_bead))
        else:
            source = _topology_of(path, topology)
            if source not in graphs:
                graphs[source] = read_topology(
                    source, masses=coarsening.masses, lammps=coarsening.lammps
                )
            atoms = read(
                path,
                graphs[source],
                time_step=coarsening.time_step,
                lammps=coarsening.lammps,
            )
            if mapping is None or mapping.graph is not atoms.graph:
                mapping = coarsening.map(atoms.graph)
            yield coarsen(atoms, mapping)


def prepare(
    paths: Sequence[Path],
    topology: Path | None,
    output: Path,
    coarsening: Coarsening,
) -> list[Path]:
    """Map trajectories to beads and write one H5MD file per system.

    Args:
        paths: trajectories of atoms, or arrays in the reference layout.
        topology: file with the atoms and bonds of the trajectories.
        output: folder, made if need be.
        coarsening: how atoms become beads.

    Returns:
        The files written, `output/NAME.h5md`; each holds its mapping. The mapping of
        trajectories of atoms is also written as `output/mapping.json`.

    Raises:
        ValueError: two systems would have the same file name, or a file cannot be
            used.
    """
    output.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for system in read_systems(paths, topology, coarsening):
        target = output / f"{system.name}{BEADS}"
        if target in written:
            raise ValueError(
                f"two systems are named {system.name!r}: prepare them into different "
                "folders, or rename a file"
            )
        write_beads(target, system)
        written.append(target)
        if system.first_atoms is not None:
            system.mapping.save(output / "mapping.json")
    return written


def parse_values(items: Iterable[str], quantity: str) -> dict[str, float]:
    """Read numbers given as NAME=NUMBER.

    Args:
        items: for example "A=1.0".
        quantity: what the numbers are, for the error text.

    Raises:
        ValueError: an item has another form.

    Example:
        >>> parse_values(["C=1", "D=-1"], "charge")
        {'C': 1.0, 'D': -1.0}
    """
    values = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            values[name] = float(text)
        except ValueError:
            name = ""
        if not name:
            raise ValueError(
                f"a {quantity} is given as NAME=NUMBER, for example A=1.5, got {item!r}"
            )
    return values


def parse_type_names(items: Iterable[str]) -> dict[int, str]:
    """Read names of LAMMPS atom types given as NUMBER=NAME.

    Args:
        items: for example "1=C".

    Raises:
        ValueError: an item has another form.

    Example:
        >>> parse_type_names(["1=C", "2=CH2"])
        {1: 'C', 2: 'CH2'}
    """
    names = {}
    for item in items:
        number, _, name = item.partition("=")
        if not (number.isdecimal() and name):
            raise ValueError(
                "the name of an atom type is given as NUMBER=NAME, for example 1=C, "
                f"got {item!r}"
            )
        names[int(number)] = name
    return names


def _topology_of(path: Path, topology: Path | None) -> Path:
    """Return the file with the bonds: the one given, or a file that has them itself."""
    if topology is not None:
        return topology
    if path.suffix == ".pdb" or is_data_file(path):
        return path
    raise ValueError(
        f"{path} holds atoms without their bonds: pass the file that has them as the "
        "topology (for example a PDB file with CONECT records, or a LAMMPS data file)"
    )
