"""ASE Atoms to molecular graphs, boxes and beads. Å becomes nm here, and back."""

# mypy: allow-untyped-calls

import re
from collections.abc import Iterator
from collections.abc import Mapping as Dictionary
from contextlib import contextmanager
from typing import Any

import mdtraj
import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols
from ase.neighborlist import build_neighbor_list, natural_cutoffs
from numpy.typing import NDArray

from cgml.formats.topology import from_mdtraj
from cgml.molecules.checks import METALS
from cgml.molecules.graph import BOND, Labels, MolecularGraph
from cgml.molecules.masses import (
    MASS_TOLERANCE,
    differing,
    elements,
    type_of,
    united_hint,
)
from cgml.spec import BaseSpec

NM: float = units.nm
"""One nanometre in ASE's unit of length (Å)."""

PS: float = 1000.0 * units.fs
"""One picosecond in ASE's unit of time."""

INDEX = "cgml_index"
"""Array that numbers the atoms in the order in which they were first moved."""

GUESS_TOLERANCE = 1.15
"""Longest guessed bond over the sum of the covalent radii."""


def graph_from_atoms(
    atoms: Atoms,
    spec: BaseSpec,
    *,
    type_names: Dictionary[int, str] | None = None,
    guess: bool = False,
) -> MolecularGraph:
    """Read the molecular graph off ASE atoms.

    Bonds come from the array "bonds" that ASE's LAMMPS data reader leaves, else,
    where asked for, from covalent radii. Masses are those the model knows.

    Args:
        atoms: all atoms, not beads.
        spec: what the model knows.
        type_names: LAMMPS type -> particle type name; None: element symbols.
        guess: join atoms closer than 1.15 times the sum of their covalent radii, but
            for metals that are ions.

    Raises:
        ValueError: no bonds, atoms that are no more in the order of the file that
            the bonds are of, LAMMPS types without a name, or masses that are not those
            of the model.
    """
    types = particle_types(atoms, type_names, spec.particle_types)
    masses = _model_masses(atoms, types, spec)
    if "bonds" in atoms.arrays:
        _check_ids(atoms)
        bonds, numbers = lammps_bonds(atoms)
        if len(spec.bond_types) == 1:
            names = spec.bond_types * len(bonds)
        else:
            names = [str(number) for number in numbers]
        return MolecularGraph.create(types, masses, bonds, names, _labels(atoms))
    if not guess:
        raise ValueError(
            "bonds are required and the atoms have none: read a LAMMPS data file "
            "with its Bonds section, pass topology=, or ask for covalent radii with "
            'bonds="guess"'
        )
    bonds = guessed_bonds(atoms)
    names = [BOND] * len(bonds)
    return MolecularGraph.create(types, masses, bonds, names, _labels(atoms))


def graph_from_mdtraj(
    topology: mdtraj.Topology, atoms: Atoms, spec: BaseSpec
) -> MolecularGraph:
    """Read the molecular graph off an mdtraj topology.

    Args:
        topology: with bonds.
        atoms: whose masses, if they were set, tell the united atoms of the model.
        spec: what the model knows.

    Raises:
        TypeError: the topology is something else.
    """
    if not isinstance(topology, mdtraj.Topology):
        raise TypeError(
            "topology must be an mdtraj.Topology (of OpenMM: "
            "mdtraj.Topology.from_openmm(topology)), a cgml MolecularGraph or a cgml "
            f"Mapping, got {type(topology).__module__}.{type(topology).__name__}"
        )
    known = spec.particle_types
    is_united = any(united_hint(symbol, known) for symbol in set(atoms.symbols))
    if is_united and atoms.has("masses") and len(atoms) == topology.n_atoms:
        return from_mdtraj(topology, known, atoms.get_masses())
    return from_mdtraj(topology, known)


def _labels(atoms: Atoms) -> Labels:
    """Name atoms and their residues or molecule ids, where a file had them."""
    n, arrays = len(atoms), atoms.arrays
    names = [str(name) for name in arrays.get("atomtypes", [""] * n)]
    if "mol-id" in arrays:
        ids = arrays["mol-id"].tolist()
        return Labels.create(names, [f"molecule {i}" if i else "" for i in ids])
    if "residuenumbers" not in arrays:
        return Labels.create(names, [""] * n)
    numbers = arrays["residuenumbers"]
    kinds = arrays.get("residuenames", np.full(n, ""))
    begins = (numbers[1:] != numbers[:-1]) | (kinds[1:] != kinds[:-1])
    place = np.concatenate(([0], np.cumsum(begins)))  # numbers recur: chains have none
    rows = zip(kinds, numbers, place, strict=True)
    return Labels.create(names, [f"residue {k} {i} (number {p})" for k, i, p in rows])


def particle_types(
    atoms: Atoms,
    type_names: Dictionary[int, str] | None = None,
    known: Dictionary[str, float] | None = None,
) -> list[str]:
    """Name the particle type of each atom, (n_atoms,).

    Args:
        atoms: all atoms.
        type_names: LAMMPS type (array "type") -> name; None: element symbols, and for
            masses that are not those of the elements, united atoms.
        known: name -> mass, Da, of particles that are no element.

    Raises:
        ValueError: type_names without LAMMPS types, or a type it does not name.
    """
    if type_names is None:
        symbols = [chemical_symbols[number] for number in atoms.numbers]
        if not atoms.has("masses"):
            return symbols
        return [
            type_of(symbol, mass, known) if symbol in elements() else symbol
            for symbol, mass in zip(symbols, atoms.get_masses().tolist(), strict=True)
        ]
    if "type" not in atoms.arrays:
        raise ValueError(
            'type_names names the LAMMPS types in the array "type" of the atoms, '
            f"which have only {', '.join(sorted(atoms.arrays))}: read a LAMMPS data "
            "file or leave type_names out"
        )
    numbers = atoms.arrays["type"].tolist()
    missing = sorted(set(numbers) - set(type_names))
    if missing:
        raise ValueError(
            f"type_names must name every LAMMPS type, got {dict(type_names)} and no "
            f"name for type {missing[0]}"
        )
    return [type_names[number] for number in numbers]


def lammps_bonds(atoms: Atoms) -> tuple[NDArray[np.int64], list[int]]:
    """Read the bonds that ASE's LAMMPS data reader leaves as text.

    Args:
        atoms: with an array "bonds": "5(1),7(2)" joins an atom to atom 5 by a bond
            of type 1 and to atom 7 by one of type 2; "_" joins nothing.

    Returns:
        Atom indices (n_bonds, 2), and LAMMPS bond types (n_bonds,).
    """
    found = [
        (i, int(j), int(number))
        for i, text in enumerate(atoms.arrays["bonds"].tolist())
        for j, number in re.findall(r"(\d+)\((\d+)\)", text)
    ]
    table = np.array(found, dtype=np.int64).reshape(-1, 3)
    return table[:, :2], table[:, 2].tolist()


def guessed_bonds(atoms: Atoms) -> NDArray[np.int64]:
    """Join atoms that lie within 1.15 times the sum of their covalent radii.

    Metals that are ions (`METALS`) are joined to nothing.

    Returns:
        Atom indices, (n_bonds, 2), i < j.

    Raises:
        ValueError: no two atoms are that close.
    """
    neighbors = build_neighbor_list(
        atoms,
        natural_cutoffs(atoms, mult=GUESS_TOLERANCE),
        skin=0.0,
        self_interaction=False,
        bothways=False,
    )
    found = neighbors.get_connectivity_matrix(sparse=True).keys()
    free = {i for i, symbol in enumerate(atoms.symbols) if symbol in METALS}
    chosen = {(min(pair), max(pair)) for pair in found if free.isdisjoint(pair)}
    pairs = np.array(sorted(chosen), dtype=np.int64)
    if not len(pairs):
        raise ValueError(
            f"no two of the {len(atoms)} atoms lie within {GUESS_TOLERANCE} times "
            "the sum of their covalent radii, so no bond can be guessed: pass "
            "topology="
        )
    return pairs


@contextmanager
def naming_guess(*, is_guess: bool) -> Iterator[None]:
    """Have errors of a topology say that its bonds were guessed."""
    try:
        yield
    except ValueError as error:
        if is_guess:
            text = "bonds were guessed from covalent radii: pass topology= with bonds"
            error.args = (f"{error}; {text}",)
        raise


def box_from_atoms(atoms: Atoms, spec: BaseSpec) -> NDArray[np.float64] | None:
    """Return the periodic box as row vectors, (3, 3), nm; None: open boundaries.

    Raises:
        ValueError: the model was trained under the other kind of boundaries, or
            the atoms are periodic along some directions only.
    """
    if atoms.pbc.any() and not atoms.pbc.all():
        raise ValueError(
            "periodic boundaries are required along all three directions or none, "
            f"got atoms.pbc = {atoms.pbc.tolist()}"
        )
    try:
        spec.check_boundaries(is_periodic=bool(atoms.pbc.all()))
    except ValueError as error:
        hint = (
            "atoms.pbc = True and atoms.cell" if spec.periodic else "atoms.pbc = False"
        )
        raise ValueError(f"{error} ({hint})") from error
    return np.array(atoms.cell.array) / NM if spec.periodic else None


def _check_ids(atoms: Atoms) -> None:
    """Require the ids of a whole LAMMPS file, 1 to n in this order."""
    expected = np.arange(1, len(atoms) + 1)
    ids = atoms.arrays.get("id")
    if ids is None or np.array_equal(ids, expected):  # without ids: made by hand
        return
    place = int(np.flatnonzero(ids != expected)[0])
    raise ValueError(
        'bonds in atoms.arrays["bonds"] know atoms by their place in the LAMMPS file, '
        f"and these atoms are not in its order: atom {place} has id {ids[place]}, "
        f"required is {place + 1}; pass topology= in the order of the atoms (sorted, "
        "cut, repeated or joined), or read the file anew (with ids 1 to n, and "
        "sort_by_id=True)"
    )


def _model_masses(atoms: Atoms, types: list[str], spec: BaseSpec) -> NDArray[Any]:
    """Return the model's masses, (n_atoms,), Da, checked against those given.

    A type that the model does not know has the mass of its element, or its own: the
    core names it.
    """
    own = atoms.get_masses()
    usual = np.array([elements().get(name, np.nan) for name in types])
    masses = np.where(abs(usual - own) <= MASS_TOLERANCE, usual, own)
    known = [spec.particle_types.get(name, np.nan) for name in types]
    masses = np.where(np.isnan(known), masses, known)
    wrong = differing(own, masses)
    if atoms.has("masses") and len(wrong):
        i = wrong[0]
        raise ValueError(
            f"the mass of particle type {types[i]!r} is {masses[i]:g} Da in model "
            f"{spec.name!r}, atom {i} has {own[i]:g} Da: check type_names, or correct "
            "the masses"
        )
    return masses
