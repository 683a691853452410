"""What atoms are: types and masses that someone states, never guessed from a name.

In this order: what the user says of a name or number; the mass that the file has, and
the type that belongs to it; the element, where the file truly has it. An atom of which
only a name is known is refused.
"""

import math
import re
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from cgml.molecules.atoms import AtomTable
from cgml.molecules.graph import Labels, MolecularGraph
from cgml.molecules.masses import (
    MASS_TOLERANCE,
    UnknownMassesError,
    check_element,
    check_mass,
    elements,
    names_of,
    of_elements,
    own_mass,
    type_of,
)
from cgml.molecules.valence import lack_hydrogens
from cgml.texts import listed

_LABEL = re.compile(r"[A-Za-z][\w+*'-]*")


class Row(NamedTuple):
    """What the user says of the atoms of a name: their type, their mass, Da."""

    type: str | None = None
    mass: float | None = None


@dataclass(frozen=True)
class Chemistry:
    """What is known of atoms besides their file.

    Attributes:
        rows: what the user says: RESIDUE:NAME, name of an atom, of a force field's
            type, number of a LAMMPS type, or type -> type and mass. A name with a mass
            alone also names what has this mass and no name.
        known: particle type -> mass, Da, of a model: what atoms probably are called.
    """

    rows: Table[str, Row] = field(default_factory=dict)
    known: Table[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the masses."""
        for name, row in self.rows.items():
            if row.mass is not None and not 0.0 < row.mass < np.inf:
                raise ValueError(
                    f"the mass of {name!r} must be positive, got {row.mass:g} Da"
                )

    @classmethod
    def of_masses(cls, masses: Table[str, float] | None) -> "Chemistry":
        """Return what masses given by name say, particle type -> Da."""
        return cls({name: Row(mass=mass) for name, mass in (masses or {}).items()})


class _Atom(NamedTuple):
    """All that is known of an atom; many atoms are the same."""

    residue: str
    name: str
    kind: str
    number: int
    element: str
    mass: float | None  # None: not known
    has_hydrogen: bool
    is_alone: bool

    @property
    def keys(self) -> list[str]:
        """What the user may call it, most special first."""
        special = f"{self.residue}:{self.name}" if self.name and self.residue else ""
        texts = (special, self.name, self.kind, str(self.number or ""))
        return [text for text in texts if text]

    def __str__(self) -> str:
        """Say which it is."""
        if self.number:
            return f"atom type {self.number}"
        return f"{self.residue}:{self.name}" if self.residue else self.name


class _Found(NamedTuple):
    """Type and mass, Da, of an atom, and whether the mass alone tells the element."""

    type: str
    mass: float
    is_by_mass: bool = False


def describe(
    atoms: AtomTable, chemistry: Chemistry, used: set[str] | None = None
) -> MolecularGraph:
    """Find types and masses of all atoms, and give them their bonds.

    The names of the user's rows that served are put into `used`; None: each must.

    Raises:
        UnknownMassesError: atoms of which only a name is known.
        ValueError: masses that fit no name or several, a type of two masses, an
            implausible element, an unused row.
    """
    served: set[str] = set() if used is None else used
    rows = _rows(atoms)
    found: dict[_Atom, _Found] = {}
    nameless: list[_Atom] = []
    for row in dict.fromkeys(rows):
        answer = _identify(row, chemistry, atoms.source, served)
        if answer is None:
            nameless.append(row)
        else:
            found[row] = answer
            check_mass(answer.mass, str(row), row.name or row.kind, atoms.source)
    if nameless:
        raise UnknownMassesError(_nameless(nameless, atoms.source))
    if used is None:
        check_used(chemistry, served, [atoms])
    masses = _one_mass_each(found.values(), atoms.source)
    _check_hydrogens(atoms, rows, found)
    types = [found[row].type for row in rows]
    return MolecularGraph.create(
        *(types, [masses[name] for name in types], atoms.bonds, atoms.bond_types),
        Labels.create(atoms.names, atoms.groups) if atoms.groups else None,
    )


def check_used(
    chemistry: Chemistry, used: set[str], tables: Sequence[AtomTable]
) -> None:
    """Require that each row of the user is of some atom, perhaps of one left out."""
    rest = chemistry.rows.keys() - used
    asked = tables if rest else ()
    there = [key for atoms in asked for row in _rows(atoms) for key in row.keys]
    unknown = sorted(rest - set(there))
    if unknown:
        raise ValueError(
            f"nothing is called {unknown[0]!r}, whose type or mass is given; in "
            f"{', '.join(atoms.source for atoms in tables)} there are "
            f"{listed(there)}: correct the name, or leave it out"
        )


def check_carbons(atoms: AtomTable, chemistry: Chemistry) -> None:
    """Refuse carbons, known by their element alone, that lack bonds and hydrogens.

    Raises:
        UnknownMassesError: there are some, and the user says nothing of them.
    """
    if not atoms.elements or "C" in chemistry.rows:
        return
    lacking = lack_hydrogens(atoms.elements, atoms.bonds)
    if atoms.masses is not None:
        lacking &= np.isnan(atoms.masses)
    rows = _rows(atoms.take(np.flatnonzero(lacking))) if lacking.any() else []
    found = [row for row in rows if chemistry.rows.keys().isdisjoint(row.keys)]
    if found:
        reason = (
            "with too few bonds and no hydrogen on any carbon of its molecule, as a "
            "united atom or one whose hydrogens are missing"
        )
        text = _nameless(found, atoms.source, reason)
        raise UnknownMassesError(f"{text}; if carbons are bare, --mass C=12.011")


def _rows(atoms: AtomTable) -> list[_Atom]:
    """Gather what is known of each atom, (n_atoms,)."""
    n = atoms.n_atoms
    blank: list[str] = [""] * n
    symbols = list(atoms.elements) or blank
    has_hydrogen = np.zeros(n, dtype=np.bool_)
    pairs = np.asarray(atoms.bonds, dtype=np.int64).reshape(-1, 2)
    own = np.full(n, np.nan) if atoms.masses is None else atoms.masses
    masses = of_elements(symbols, own, pairs).tolist()
    is_hydrogen = np.array([symbol == "H" for symbol in symbols], dtype=np.bool_)
    for one, other in (pairs.T, pairs.T[::-1]):
        has_hydrogen[one[is_hydrogen[other]]] = True
    is_alone = np.bincount(pairs.ravel(), minlength=n) == 0
    columns = (
        *(atoms.residues or blank, atoms.names, atoms.kinds or blank),
        *(atoms.numbers or [0] * n, symbols),
        [None if math.isnan(mass) else mass for mass in masses],
        *(has_hydrogen.tolist(), is_alone.tolist()),
    )
    return [_Atom(*row) for row in zip(*columns, strict=True)]


def _identify(
    atom: _Atom, chemistry: Chemistry, source: str, used: set[str]
) -> _Found | None:
    """Find type and mass of an atom; None where only its name is known."""
    key = next((key for key in atom.keys if key in chemistry.rows), None)
    said = Row() if key is None else chemistry.rows[key]
    if key is not None:
        used.add(key)
        if said.type is None and not key.isdecimal():
            said = said._replace(type=key.rpartition(":")[2])
    if said.type is not None:
        if said.type in chemistry.rows:
            used.add(said.type)
        usual = own_mass(atom.mass, {**elements(), **chemistry.known}.get(said.type))
        mass = said.mass or _masses(chemistry).get(said.type) or usual
        if mass is None:
            raise ValueError(
                f"a mass is required of type {said.type!r}, given to {atom} of "
                f"{source}: --mass {said.type}=NUMBER, or in --types"
            )
        return _Found(said.type, mass)
    found = _by_itself(atom, chemistry, source)
    if found is None:
        return None
    row = chemistry.rows.get(found.type, Row())
    if found.type in chemistry.rows:
        used.add(found.type)
    usual = own_mass(atom.mass and found.mass, chemistry.known.get(found.type))
    mass = said.mass or row.mass or usual or found.mass
    return _Found(row.type or found.type, mass, found.is_by_mass)


def _by_itself(atom: _Atom, chemistry: Chemistry, source: str) -> _Found | None:
    """Find type and mass of an atom of which the user says nothing."""
    named = {**chemistry.known, **_masses(chemistry)}
    mass = atom.mass
    is_nameless = mass is not None and not (atom.element or atom.kind)
    if is_nameless and re.fullmatch(r"C(H\d?)?", type_of("C", mass or 0.0)):
        atom = atom._replace(element="C" if atom.name.startswith("C") else "")
    if mass is not None and not atom.element:
        return _of_mass(atom, mass, named, source)
    if mass is not None:
        kind = type_of(atom.element, mass, named)
        if kind not in named or kind in elements():  # not that of another one
            check_element(atom.element, mass, str(atom), source)
        return _Found(kind, {**named, **elements()}.get(kind, mass))
    if atom.element:
        mass = elements()[atom.element]
        return None if _doubt(atom) else _Found(atom.element, mass)
    mass = named.get(atom.name, np.nan)  # the name of an element is no proof of it
    is_own = abs(mass - elements().get(atom.name, np.inf)) > MASS_TOLERANCE
    return _Found(atom.name, mass) if is_own else None


def _of_mass(atom: _Atom, mass: float, named: Table[str, float], source: str) -> _Found:
    """Name an atom of a mass: after the element of this mass, or as the file does."""
    known = {**elements(), **named}
    names = names_of(mass, known)
    own = next((text for text in (atom.kind, atom.name) if _LABEL.fullmatch(text)), "")
    is_round = mass == round(mass)  # perhaps in reduced units, and no element
    if len(names) == 1 and not (
        is_round and own and not own.lower().startswith(names[0].lower())
    ):
        return _Found(names[0], known[names[0]], names[0] not in named)
    if own and len(names) < 2:
        return _Found(own, mass)
    if own and own in names:
        return _Found(own, known[own])
    if own and is_round:
        return _Found(own, mass)
    fits = f"{' and '.join(sorted(names))} have" if names else "no element has"
    raise ValueError(
        f"names are required: {atom} of {source} has mass {mass:g} Da, which {fits}; "
        f"name it by its mass (--mass NAME={mass:g})"
        + (f" or by its number (--type-name {atom.number}=NAME)" if atom.number else "")
    )


def _doubt(atom: _Atom) -> str:
    """Say what speaks against an atom's element; "" if nothing does."""
    united = re.fullmatch(f"{atom.element}H[1-4]?", atom.name, re.IGNORECASE)
    if united and not atom.has_hydrogen:
        return "a united atom by its name, without a hydrogen beside it"
    symbol = re.sub(r"[^A-Za-z]", "", atom.name).capitalize()
    if atom.is_alone and symbol in elements() and symbol != atom.element:
        return f"{symbol} by its name"
    return ""


def _masses(chemistry: Chemistry) -> dict[str, float]:
    """Masses that the user gives to types by name alone."""
    return {
        name: row.mass
        for name, row in chemistry.rows.items()
        if row.type in {None, name} and row.mass is not None and not name.isdecimal()
    }


def _nameless(atoms: Sequence[_Atom], source: str, doubt: str = "") -> str:
    """Explain that names are no chemistry, nor is an element that is in doubt."""
    doubtful = next((atom for atom in atoms if atom.element), None)
    example = (doubtful or atoms[0]).name or str(atoms[0])
    reason = "of which the names alone are known"
    if doubtful is not None:
        doubt = doubt or _doubt(doubtful)
        reason = f"{doubtful} is {doubtful.element} by its element, {doubt}"
    return (
        f"types and masses are required of {listed(map(str, atoms))} in {source}, "
        f"{reason}: give the file of the force field (--system SYSTEM.xml of OpenMM, "
        "or a topology that has masses: GROMACS .top, PRMTOP, PSF, LAMMPS data), a "
        f'table (--types TABLE.toml with lines like "{example}" = {{ type = "NAME", '
        f"mass = 14.027 }}), --mass {example}=NUMBER, or leave atoms out (--select)"
    )


def _one_mass_each(found: Iterable[_Found], source: str) -> dict[str, float]:
    """Give each type its one mass, Da."""
    masses: dict[str, float] = {}
    for item in found:
        mass = masses.setdefault(item.type, item.mass)
        if not abs(mass - item.mass) <= MASS_TOLERANCE:
            raise ValueError(
                f"one mass of a type is required, {item.type!r} in {source} has "
                f"{mass:g} and {item.mass:g} Da: give them two names (--types TABLE)"
            )
    return masses


def _check_hydrogens(
    atoms: AtomTable, rows: Sequence[_Atom], found: Table[_Atom, _Found]
) -> None:
    """Refuse hydrogens by mass alone with two bonds, or with nothing heavier beside."""
    guessed = [found[row].is_by_mass and found[row].type == "H" for row in rows]
    if not any(guessed):
        return
    degree = np.bincount(np.asarray(atoms.bonds).ravel(), minlength=atoms.n_atoms)
    many = np.flatnonzero(np.array(guessed) & (degree > 1)).tolist()
    if many:
        i, why = many[0], f"has {degree[many[0]]} bonds"
    elif all(found[row].type == "H" for row in rows):
        i, why = 0, "stands beside nothing heavier"
    else:
        return
    hint = f"--type-name {rows[i].number}=NAME" if rows[i].number else "--types TABLE"
    raise ValueError(
        f"names are required: {rows[i]} of {atoms.source} has mass "
        f"{rows[i].mass:g} Da, that of hydrogen, but atom {i} {why}: masses in reduced "
        f"units are no elements; name the types ({hint}, or a comment of one word "
        "behind their masses)"
    )
