"""Topologies of GROMACS (.top, .itp): atoms, types, masses, bonds.

Sections moleculetype, atoms, bonds, constraints, settles, atomtypes and molecules are
read, #include, #define, #ifdef and #ifndef followed; included files are looked for
beside the file that names them, and beside the topology.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.formats.columns import symbol_of
from cgml.formats.format import LammpsOptions
from cgml.memory import require
from cgml.molecules.atoms import AtomTable

_MOST_ATOMS = 10_000_000
_OF_AN_ATOM = 500  # bytes in memory, about
_DEEPEST = 32  # files that include one another
_CHEMICAL = {"bonds": {"1", "2", "3", "4", "5", "7", "8", "9"}, "constraints": {"1"}}
"""Section -> function types that make a bond; the others only restrain."""


class _Line(NamedTuple):
    """A line that says something: its words, and where it stands."""

    section: str
    words: list[str]
    place: str


class _Type(NamedTuple):
    """A row of section atomtypes."""

    element: str
    mass: float


class _Atom(NamedTuple):
    """A row of section atoms; the mass is NaN where it has none."""

    kind: str
    residue: str
    residue_number: str
    name: str
    mass: float


@dataclass
class _Molecule:
    """A kind of molecule: its atoms, and bonds between them, numbered from 0."""

    atoms: list[_Atom] = field(default_factory=list)
    bonds: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class _Topology:
    """What has been read so far."""

    path: Path
    defined: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    types: dict[str, _Type] = field(default_factory=dict)
    kinds: dict[str, _Molecule] = field(default_factory=dict)
    counts: list[tuple[str, int]] = field(default_factory=list)
    current: _Molecule | None = None

    def hint(self) -> str:
        """Say which included files would perhaps tell more."""
        if not self.missing:
            return ""
        return (
            f" (not found: {', '.join(self.missing)}; copy them beside it, or let "
            "GROMACS write all into one file: gmx grompp -pp all.top)"
        )


def read_atoms(path: Path, options: LammpsOptions) -> AtomTable:
    """Read a topology; an .itp file without section molecules is one of each.

    Raises:
        ValueError: no topology of GROMACS, or it names what it does not define.
    """
    del options
    topology = _Topology(path)
    place = str(path)
    try:
        for line in _lines(path, topology, 0):
            place = line.place
            _SECTIONS.get(line.section, _skip)(line, topology)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        text = "too few words" if isinstance(error, IndexError) else error
        raise ValueError(
            f"{place} cannot be read as a topology of GROMACS: {text}{topology.hint()}"
        ) from error
    return _assemble(topology)


def is_topology(head: bytes) -> bool:
    """Tell a topology by its first bytes: sections in brackets."""
    text = head.decode("utf-8", errors="replace").splitlines()
    sections = {line.strip(" \t[]") for line in text if line.strip().startswith("[")}
    return not sections.isdisjoint({"defaults", "moleculetype", "atomtypes", "system"})


def _lines(path: Path, topology: _Topology, depth: int) -> Iterator[_Line]:
    """Yield the lines that count, of this file and of those it includes."""
    if depth > _DEEPEST:
        raise ValueError(f"{path} is included by itself")
    section = ""
    conditions: list[bool] = []
    for number, text in _joined(path):
        if text.startswith("#"):
            words = text.split()
            if words[0] in _CONDITIONS:
                _take_condition(words, conditions, topology)
            elif all(conditions):
                yield from _directive(words, path, topology, depth)
        elif text.startswith("["):
            section = text.strip("[] \t").lower() if all(conditions) else section
        elif all(conditions):
            yield _Line(section, text.split(), f"{path}, line {number}")


_CONDITIONS = ("#ifdef", "#ifndef", "#else", "#endif")


def _take_condition(
    words: list[str], conditions: list[bool], topology: _Topology
) -> None:
    """Keep account of what the lines that follow depend on."""
    if words[0] == "#else":
        conditions[-1] = not conditions[-1]
    elif words[0] == "#endif":
        conditions.pop()
    else:
        conditions.append((words[1] in topology.defined) == (words[0] == "#ifdef"))


def _joined(path: Path) -> Iterator[tuple[int, str]]:
    """Yield numbers and texts of lines, without comments, continued ones joined."""
    before = ""
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            text = before + line.partition(";")[0].strip()
            if number == 1 and text.startswith("%VERSION"):
                raise ValueError("it is one of AMBER, call it NAME.prmtop")
            before = text[:-1] + " " if text.endswith("\\") else ""
            if text and not before:
                yield number, text


def _directive(
    words: list[str], path: Path, topology: _Topology, depth: int
) -> Iterator[_Line]:
    """Follow #define, #undef and #include."""
    if words[0] == "#define":
        topology.defined.add(words[1])
    elif words[0] == "#undef":
        topology.defined.discard(words[1])
    elif words[0] == "#include":
        name = words[1].strip('"<>')
        for folder in (path.parent, topology.path.parent):
            if (folder / name).is_file():
                yield from _lines(folder / name, topology, depth + 1)
                return
        topology.missing.append(name)


def _skip(line: _Line, topology: _Topology) -> None:
    """Leave out what is no concern of ours."""


def _atom_type(line: _Line, topology: _Topology) -> None:
    """Read name, perhaps bonded name and atomic number, mass, charge, A or V or ..."""
    words = line.words
    place = next(
        (
            i
            for i in range(3, len(words))
            if words[i] in set("ASVD") and _is_number(words[i - 1])
        ),
        None,
    )
    if place is None:
        raise ValueError(f"the particle type (A) is missing in {' '.join(words)!r}")
    number = words[place - 3] if place > 3 and words[place - 3].isdecimal() else "0"
    mass = float(words[place - 2])
    topology.types[words[0]] = _Type(symbol_of(int(number)), mass)


def _molecule_type(line: _Line, topology: _Topology) -> None:
    topology.current = topology.kinds[line.words[0]] = _Molecule()


def _atom(line: _Line, topology: _Topology) -> None:
    words = line.words
    mass = float(words[7]) if len(words) > 7 else float("nan")
    molecule = _current(topology)
    if int(words[0]) != len(molecule.atoms) + 1:
        raise ValueError(f"atoms must be numbered from 1 on, got {words[0]}")
    molecule.atoms.append(_Atom(words[1], words[3], words[2], words[4], mass))


def _bond(line: _Line, topology: _Topology) -> None:
    kind = line.words[2] if len(line.words) > 2 else "1"
    if kind in _CHEMICAL[line.section]:
        one, other = (int(word) - 1 for word in line.words[:2])
        _current(topology).bonds.append((one, other))


def _settle(line: _Line, topology: _Topology) -> None:
    """A rigid water: the first atom is bonded to the two behind it."""
    first = int(line.words[0]) - 1
    _current(topology).bonds.extend([(first, first + 1), (first, first + 2)])


def _count(line: _Line, topology: _Topology) -> None:
    name, count = line.words[0], int(line.words[1])
    if name not in topology.kinds:
        raise ValueError(
            f"{name!r} is no moleculetype, there are "
            f"{', '.join(topology.kinds) or 'none'}"
        )
    topology.counts.append((name, count))


_SECTIONS = {
    "atomtypes": _atom_type,
    "moleculetype": _molecule_type,
    "atoms": _atom,
    "bonds": _bond,
    "constraints": _bond,
    "settles": _settle,
    "molecules": _count,
}


def _current(topology: _Topology) -> _Molecule:
    if topology.current is None:
        raise ValueError("a section moleculetype is required before")
    return topology.current


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _assemble(topology: _Topology) -> AtomTable:
    """Put all molecules behind one another."""
    counts = topology.counts or [(name, 1) for name in topology.kinds]
    n_atoms = sum(len(topology.kinds[name].atoms) * count for name, count in counts)
    if not 0 < n_atoms <= _MOST_ATOMS or min(count for _, count in counts) < 0:
        raise ValueError(
            f"1 to {_MOST_ATOMS} atoms are required, {topology.path} has {n_atoms}: "
            f"give a topology with sections moleculetype and atoms{topology.hint()}"
        )
    require(n_atoms * _OF_AN_ATOM, f"the atoms of {topology.path}", "check molecules")
    atoms: list[_Atom] = []
    bonds: list[NDArray[np.int64]] = [np.zeros((0, 2), dtype=np.int64)]
    groups: list[str] = []
    for place, (name, count) in enumerate(counts):
        kind = topology.kinds[name]
        n, first = len(kind.atoms), len(atoms)
        shifts = np.arange(count)[:, None]  # (count, 1)
        pairs = np.array(kind.bonds, dtype=np.int64).reshape(-1, 2)
        if ((pairs < 0) | (pairs >= n)).any():
            raise ValueError(
                f"bonds must join the {n} atoms of their molecule, those of {name!r} "
                f"in {topology.path} join atoms {pairs.min() + 1} to {pairs.max() + 1}"
            )
        bonds.append((pairs[None] + first + n * shifts[..., None]).reshape(-1, 2))
        n_before = sum(copies for _, copies in counts[:place])
        groups += [
            f"residue {atom.residue} {atom.residue_number} (molecule {n_before + k})"
            for k in range(1, count + 1)
            for atom in kind.atoms
        ]
        atoms.extend(kind.atoms * count)
    types = [topology.types.get(atom.kind, _NOTHING) for atom in atoms]
    masses = np.array([atom.mass for atom in atoms])
    unknown = np.isnan(masses)
    masses[unknown] = np.array([kind.mass for kind in types])[unknown]
    if np.isnan(masses).any():
        atom = atoms[int(np.isnan(masses).argmax())]
        raise ValueError(
            f"masses are required, {topology.path} has none of atom {atom.name} of "
            f"{atom.residue} and none of its type {atom.kind}{topology.hint()}"
        )
    return AtomTable(
        source=str(topology.path),
        names=[atom.name for atom in atoms],
        bonds=np.concatenate(bonds),
        elements=[kind.element for kind in types],
        masses=masses,
        kinds=[atom.kind for atom in atoms],
        residues=[atom.residue for atom in atoms],
        groups=groups,
    )


_NOTHING = _Type("", float("nan"))
