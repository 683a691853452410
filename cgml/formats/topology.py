"""Atoms and bonds from the files that mdtraj reads (PDB, mmCIF, PRMTOP, PSF, GRO ...).

Also the frames of those that have some, among them HDF5 files in mdtraj's layout, which
are read without PyTables.
"""

import json
from collections.abc import Iterator
from collections.abc import Mapping as Table
from dataclasses import replace
from pathlib import Path

import h5py
import mdtraj
import numpy as np
from mdtraj.utils import lengths_and_angles_to_box_vectors
from numpy.typing import NDArray

from cgml.formats import columns
from cgml.formats.columns import Columns
from cgml.formats.format import (
    Frames,
    LammpsOptions,
    check_packed,
    foreign,
    real_boxes,
    suffix_of,
)
from cgml.formats.hdf5 import dataset, opened
from cgml.molecules.atoms import AtomTable
from cgml.molecules.chemistry import Chemistry, describe
from cgml.molecules.graph import MolecularGraph, neighbours

_N_BOXES = 1000  # at a time

HDF5 = (".h5", ".hdf5")
_WITH_CONSTRAINTS = (".psf", ".prmtop", ".parm7", ".prm7")
"""Suffixes of files that call the constraint inside rigid water a bond."""

_HYDROGEN = 4.1  # Da, the heaviest: three times its mass and more is repartitioned
_WITH_ELEMENTS = (*HDF5, ".cif", ".pdbx")
"""Suffixes of files whose elements mdtraj reads and does not guess."""


def from_mdtraj(
    topology: mdtraj.Topology,
    masses: Table[str, float] | None = None,
    of_atoms: NDArray[np.float64] | None = None,
) -> MolecularGraph:
    """Read a molecular graph off an mdtraj topology.

    An atom's type is its element symbol, or its name where it has no element. All
    bonds are of one type: few files know their order.

    Args:
        topology: mdtraj topology with bonds. Its elements are taken as they are:
            mdtraj guesses those of GRO files, and of PDB files without such a column,
            which are therefore read by `cgml.formats.trajectory.read_topology`.
        masses: mass of particle types, Da, for instance those of a model; what is
            not named takes the mass of its element.
        of_atoms: mass of each atom, Da, (n_atoms,); None: those above.
    """
    symbols = [_symbol(atom) for atom in topology.atoms]
    table = replace(_table("the topology", topology, symbols), masses=of_atoms)
    return describe(table, Chemistry(known=masses or {}))


def _groups(topology: mdtraj.Topology) -> list[str]:
    """Name residues by atom; two of one name and number are told apart."""
    titles, seen = list[str](), set[str]()
    for residue in topology.residues:
        title = f"residue {residue.name} {residue.resSeq}"
        if title in seen:
            title = f"{title} (number {residue.index} of all)"
        seen.add(title)
        titles += [title] * residue.n_atoms
    return titles


def read_atoms(path: Path, options: LammpsOptions) -> AtomTable:
    """Read atoms and bonds; a file of atoms without any bond is refused."""
    del options
    suffix = suffix_of(path)
    try:
        check_packed(path)
        if suffix in HDF5:
            topology = _hdf5_topology(path)
        else:
            topology = mdtraj.load_topology(str(path))
        symbols = [""] * topology.n_atoms
        if suffix in _WITH_ELEMENTS:
            symbols = [_symbol(atom) for atom in topology.atoms]
        atoms = _table(str(path), topology, symbols)
        if suffix in columns.READERS:
            atoms = _as_written(atoms, topology, columns.READERS[suffix](path))
        if suffix in _WITH_CONSTRAINTS:
            atoms = _without_constraints(atoms)
    except Exception as error:  # its parsers raise anything
        raise ValueError(f"{path} cannot be read as a topology: {error}") from error
    if atoms.n_atoms > 1 and not len(atoms.bonds):
        raise ValueError(
            f"no bonds: {path} names {atoms.n_atoms} atoms and no bond between them; "
            "give a file that has them (a PDB file needs CONECT records; GROMACS has "
            "them in the .top file), or a MolecularGraph"
        )
    return atoms


def _symbol(atom: mdtraj.core.topology.Atom) -> str:
    """Return the symbol of an atom's element, "" where it has none."""
    is_virtual = atom.element is None or atom.element.atomic_number == 0
    return "" if is_virtual else str(atom.element.symbol)


def _table(source: str, topology: mdtraj.Topology, symbols: list[str]) -> AtomTable:
    bonds = [(bond.atom1.index, bond.atom2.index) for bond in topology.bonds]
    return AtomTable(
        source=source,
        names=[atom.name for atom in topology.atoms],
        bonds=np.array(bonds, dtype=np.int64).reshape(-1, 2),
        elements=symbols,
        residues=[atom.residue.name for atom in topology.atoms],
        groups=_groups(topology),
        chains=[atom.residue.chain.index for atom in topology.atoms],
    )


def _as_written(
    atoms: AtomTable, topology: mdtraj.Topology, found: Columns
) -> AtomTable:
    """Put what the file says in place of what mdtraj made of it."""
    places = list(range(len(found.names)))
    if len(places) != atoms.n_atoms:  # alternate places of an atom are left out
        by_serial = {text: i for i, text in enumerate(found.serials)}
        places = [by_serial[str(atom.serial)] for atom in topology.atoms]
    residues = [found.residues[i] for i in places]
    titles = zip(atoms.residues, residues, atoms.groups, strict=True)
    return replace(
        atoms,
        names=[found.names[i] for i in places],
        residues=residues,
        groups=[text.replace(f" {old} ", f" {new} ", 1) for old, new, text in titles],
        elements=[found.elements[i] for i in places] if found.elements else (),
        kinds=[found.kinds[i] for i in places] if found.kinds else (),
        masses=None if found.masses is None else found.masses[places],
    )


def _without_constraints(atoms: AtomTable) -> AtomTable:
    """Leave out bonds between two hydrogens of one atom, those of rigid water."""
    if atoms.masses is None:
        return atoms
    near = neighbours(atoms.n_atoms, atoms.bonds)
    is_light = atoms.masses < _HYDROGEN
    kept = [
        not is_light[[i, j]].all()
        or all(is_light[k] for k in set(near[i]).intersection(near[j]))
        for i, j in atoms.bonds.tolist()
    ]
    return replace(atoms, bonds=atoms.bonds[kept])


def structure_pieces(
    path: Path, n_frames: int, options: LammpsOptions
) -> Iterator[Frames]:
    """Read the models of a PDB, mmCIF, MOL2 or GRO file, all at once."""
    del n_frames, options
    with foreign(path, "a file of atoms and their positions"):
        check_packed(path)
        loaded = mdtraj.load(str(path))
        times = np.zeros(1) if loaded.n_frames == 1 else None
        if suffix_of(path) == ".gro" and times is None:
            times = loaded.time.astype("f8")
        yield Frames(loaded.xyz, times, real_boxes(loaded.unitcell_vectors))


def hdf5_pieces(path: Path, n_frames: int, options: LammpsOptions) -> Iterator[Frames]:
    """Read the layout of mdtraj, n_frames at a time."""
    del options
    with foreign(path, "an HDF5 trajectory"), opened(path) as file:
        stored = dataset(file, "coordinates", "f")
        clock = dataset(file, "time", "iuf") if "time" in file else None
        for start in range(0, len(stored), n_frames):
            part = slice(start, start + n_frames)
            times = None if clock is None else np.asarray(clock[part], float)
            positions = np.asarray(stored[part], np.float32)
            yield Frames(positions, times, _hdf5_boxes(file, part))


def hdf5_boxes(path: Path, options: LammpsOptions) -> Iterator[NDArray[np.float64]]:
    """Read the boxes alone, (n, 3, 3) nm at a time; none where the file has none."""
    del options
    with foreign(path, "an HDF5 trajectory"), opened(path) as file:
        for start in range(0, len(dataset(file, "coordinates", "f")), _N_BOXES):
            found = _hdf5_boxes(file, slice(start, start + _N_BOXES))
            if found is not None:
                yield found


def _hdf5_boxes(file: h5py.File, part: slice) -> NDArray[np.float64] | None:
    if "cell_lengths" not in file:
        return None
    sides = dataset(file, "cell_lengths", "f")[part]
    angles = dataset(file, "cell_angles", "f")[part]
    cells = np.concatenate([sides, angles], axis=1)
    vectors = lengths_and_angles_to_box_vectors(*cells.T)
    return real_boxes(np.stack(vectors, axis=1))


def _hdf5_topology(path: Path) -> mdtraj.Topology:
    """Read the atoms and bonds of an HDF5 file in the layout of mdtraj."""
    with opened(path) as file:
        content = json.loads(dataset(file, "topology", "SO")[0])
    topology = mdtraj.Topology()
    for chain in content["chains"]:
        added = topology.add_chain()
        for residue in chain["residues"]:
            place = topology.add_residue(residue["name"], added)
            for atom in residue["atoms"]:
                element = mdtraj.element.get_by_symbol(atom["element"] or "VS")
                topology.add_atom(atom["name"], element, place)
    atoms = list(topology.atoms)
    for i, j in content["bonds"]:
        topology.add_bond(atoms[i], atoms[j])
    return topology
