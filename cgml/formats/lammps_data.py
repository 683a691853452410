"""LAMMPS data files: atoms, bonds, box and one frame.

Own code, because the readers at hand leave out what a propagator needs: MDAnalysis
and mdtraj drop image flags or apply them in rectangular boxes only and take cut files
for whole, and ASE stays outside the core. Numbers are parsed by numpy; the tests
compare with MDAnalysis and ASE where those are right.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.formats.format import BROKEN, Frames, LammpsOptions, open_text
from cgml.molecules.atoms import AtomTable
from cgml.molecules.box import from_edges
from cgml.units import ANGSTROM

_STYLES = {
    "full": "id molecule type charge x y z",
    **dict.fromkeys(["molecular", "bond", "angle"], "id molecule type x y z"),
    "charge": "id type charge x y z",
    "atomic": "id type x y z",
}
_HINT = 'write its style behind the name of the section, for example "Atoms # bond"'
_PROMISED = ("atoms", "bonds", "angles", "dihedrals", "impropers")
_SECTION = re.compile(
    r"^[ \t]*([A-Za-z]\w*(?:[ \t]+[A-Za-z]\w*)*)[ \t]*(?:#[ \t]*(.*))?$", re.MULTILINE
)


@dataclass(frozen=True, eq=False)
class DataFile:
    """Contents of a data file; atoms are in order of their ids.

    Attributes:
        path: the file.
        types: number of the type of each atom, (n_atoms,).
        molecules: molecule id of each atom, (n_atoms,); 0 is none.
        positions: unwrapped by the image flags, if there are any, (n_atoms, 3), nm.
        type_masses: number of an atom type -> mass, Da.
        type_names: number of an atom type -> its label, or the comment behind its mass.
        bonds: atom indices, (n_bonds, 2).
        bond_types: number of the type of each bond, (n_bonds,).
        box: row vectors, (3, 3), nm.
    """

    path: Path
    types: NDArray[np.int64]
    molecules: NDArray[np.int64]
    positions: NDArray[np.float64]
    type_masses: dict[int, float]
    type_names: dict[int, str]
    bonds: NDArray[np.int64]
    bond_types: NDArray[np.int64]
    box: NDArray[np.float64]


class _Content(NamedTuple):
    """Text of a data file: header words -> numbers, section -> (hint, body)."""

    path: Path
    header: dict[str, list[str]]
    sections: dict[str, tuple[str, str]]

    def count(self, what: str) -> int:
        """Return a number of the header, 0 where it is not named."""
        return int(self.header.get(what, ["0"])[0])

    def labels(self, kind: str) -> dict[str, str]:
        """Return label -> number, as text, of the types of atoms or bonds."""
        _, body = self.sections.get(f"{kind} Type Labels", ("", ""))
        rows = [line.partition("#")[0].split() for line in body.splitlines()]
        if any(len(row) not in {0, 2} for row in rows):
            raise ValueError(
                f"a number and a label are required in each line of section {kind} "
                f"Type Labels of {self.path}"
            )
        return {row[1]: row[0] for row in rows if row}


def read_data(path: Path) -> DataFile:
    """Read a data file, sections and atoms in any order, perhaps compressed (.gz).

    The Atoms section is of style full unless it says another (atomic, charge, bond,
    angle, molecular) behind a #.

    Raises:
        ValueError: no data file, a cut one, an unknown style, or coordinates that
            are not finite.
    """
    content = _content(path)
    box = _box(content)
    columns = _atom_columns(content)
    ids = columns["id"].astype(np.int64)
    if len(np.unique(ids)) < len(ids):
        raise ValueError(f"each atom id must occur once in section Atoms of {path}")
    order = np.argsort(ids)
    positions = np.stack([columns[axis] for axis in "xyz"], axis=1) * ANGSTROM
    if "ix" in columns:
        images = np.stack([columns[axis] for axis in ("ix", "iy", "iz")], axis=1)
        positions = positions + images @ box
    molecules = columns.get("molecule", np.zeros(len(ids)))[order].astype(np.int64)
    bonds, bond_types = _bonds(content, ids[order])
    n_types = content.count("atom types")
    masses = _table(content, "Masses", n_types, content.labels("Atom"))
    return DataFile(
        path=path,
        types=columns["type"][order].astype(np.int64),
        molecules=molecules,
        positions=positions[order],
        type_masses={int(row[0]): float(row[1]) for row in masses},
        type_names=_type_names(content),
        bonds=bonds,
        bond_types=bond_types,
        box=box,
    )


def read_atoms(path: Path, options: LammpsOptions) -> AtomTable:
    """Read the atoms and bonds of a data file.

    Types have their numbers, masses, and names: labels, or comments behind the masses.
    """
    data = read_data(path)
    missing = sorted(set(data.types.tolist()) - set(data.type_masses))
    if missing:
        raise ValueError(f"section Masses of {path} has no mass of type {missing[0]}")
    numbers = data.types.tolist()
    kinds = [str(kind) for kind in data.bond_types] if options.keep_bond_types else None
    return AtomTable(
        source=str(path),
        names=[""] * len(numbers),
        bonds=data.bonds,
        bond_types=kinds,
        masses=np.array([data.type_masses[number] for number in numbers]),
        kinds=[data.type_names.get(number, "") for number in numbers],
        numbers=numbers,
        groups=[f"molecule {number}" if number else "" for number in data.molecules],
    )


def pieces(path: Path, n_frames: int, options: LammpsOptions) -> Iterator[Frames]:
    """Read the one frame of a data file, at time 0."""
    del n_frames, options
    data = read_data(path)
    positions = data.positions[None].astype(np.float32)
    yield Frames(positions, np.zeros(1), data.box[None], is_unwrapped=True)


def is_data(head: bytes) -> bool:
    """Tell a data file by its first lines: a title, and then the number of atoms."""
    return re.search(rb"\A[^\n]*\n\s*(#[^\n]*\s+)*\d+[ \t]+atoms\b", head) is not None


def _content(path: Path) -> _Content:
    """Take a file apart; its first line is a title."""
    try:
        with open_text(path) as stream:
            text = stream.read().partition("\n")[2]
    except BROKEN as error:
        raise ValueError(f"{path} is cut short: {error}; copy it again") from error
    found = list(_SECTION.finditer(text))
    begins = [match.start() for match in found] + [len(text)]
    sections = {
        " ".join(match[1].split()): ((match[2] or "").strip(), text[match.end() : end])
        for match, end in zip(found, begins[1:], strict=True)
    }
    header: dict[str, list[str]] = {}
    for line in text[: begins[0]].splitlines():
        words = line.partition("#")[0].split()
        n = next((i for i, word in enumerate(words) if word[0].isalpha()), len(words))
        header[" ".join(words[n:])] = words[:n]
    content = _Content(path, header, sections)
    _check_promises(content)
    return content


def _check_promises(content: _Content) -> None:
    """Require the sections that the header counts."""
    try:
        counts = {what: content.count(what) for what in _PROMISED}
    except (ValueError, IndexError) as error:
        raise ValueError(f"the header of {content.path} is damaged: {error}") from error
    if not counts["atoms"]:
        raise ValueError(
            f"{content.path} is not a LAMMPS data file: a header with the number of "
            "atoms is required behind the first line"
        )
    for what, count in counts.items():
        if count and what.capitalize() not in content.sections:
            raise ValueError(
                f"{content.path} is cut short: its header promises {count} {what}, "
                f"and it has no section {what.capitalize()}; write the file again"
            )


def _table(
    content: _Content, name: str, n_rows: int, labels: dict[str, str], place: int = 0
) -> NDArray[np.float64]:
    """Read the numbers of a section, (n_rows, n_columns).

    Labels of types stand for their numbers in the column of this place.
    """
    path = content.path
    if name not in content.sections:
        raise ValueError(
            f"a section {name} is required, {path} has "
            f"{', '.join(content.sections) or 'none'}: write the file with LAMMPS' "
            "write_data, or add the section"
        )
    body = content.sections[name][1].splitlines()
    lines = [text for line in body if (text := line.partition("#")[0].strip())]
    if len(lines) != n_rows:
        raise ValueError(
            f"section {name} of {path} must have {n_rows} lines as its header says, "
            f"got {len(lines)}: the file is cut short or damaged, write it again"
        )
    if labels:
        rows = [line.split() for line in lines]
        for row in rows:
            row[place] = labels.get(row[place], row[place])
        lines = [" ".join(row) for row in rows]
    try:
        return np.loadtxt(lines, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise ValueError(
            f"section {name} of {path} is cut short, or holds other things than "
            f"numbers and type labels: {error}"
        ) from error


def _type_names(content: _Content) -> dict[int, str]:
    """Read labels of types, or comments behind masses that are names: one word each."""
    labels = content.labels("Atom")
    if labels:
        return {int(number): label for label, number in labels.items()}
    parts = [line.partition("#") for line in content.sections["Masses"][1].splitlines()]
    found = [
        (values.split(), comment.strip())
        for values, _, comment in parts
        if values.strip() and len(comment.split()) == 1
    ]
    masses: dict[str, set[str]] = {}
    for values, name in found:
        masses.setdefault(name, set()).add(values[1])
    return {int(values[0]): name for values, name in found if len(masses[name]) == 1}


def _atom_columns(content: _Content) -> dict[str, NDArray[np.float64]]:
    """Read section Atoms by the columns of its style, each (n_atoms,)."""
    hint, _ = content.sections["Atoms"]
    style = hint.split()[0] if hint else "full"
    if style not in _STYLES:
        raise ValueError(
            f"atom styles {', '.join(_STYLES)} are read, {content.path} has {hint!r}: "
            "write the file with one of these"
        )
    names = [*_STYLES[style].split(), "ix", "iy", "iz"]
    labels, place = content.labels("Atom"), names.index("type")
    table = _table(content, "Atoms", content.count("atoms"), labels, place)
    n, n_all = table.shape[1], len(names)
    if n not in {n_all - 3, n_all}:
        raise ValueError(
            f"atom style {style} has {n_all - 3} columns, or {n_all} with image flags, "
            f"section Atoms of {content.path} has {n}: {_HINT}"
        )
    columns = dict(zip(names, table.T, strict=False))
    for name, values in columns.items():
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise ValueError(
                f"coordinates must be finite, {name} of atom "
                f"{columns['id'][wrong[0]]:g} in {content.path} is {values[wrong[0]]}"
            )
        if name not in {"charge", *"xyz"} and (values % 1.0).any():
            raise ValueError(
                f"whole numbers are required in column {name} of style {style}, got "
                f"{values[values % 1.0 > 0.0][0]:g} in {content.path}: {_HINT}"
            )
    return columns


def _box(content: _Content) -> NDArray[np.float64]:
    """Return the box as row vectors, (3, 3), nm."""
    try:
        low, high = np.array(
            [content.header[f"{axis}lo {axis}hi"] for axis in "xyz"], dtype=np.float64
        ).T
        tilts = np.array(content.header.get("xy xz yz", [0, 0, 0]), dtype=np.float64)
        return from_edges(high - low, tilts) * ANGSTROM
    except (KeyError, ValueError) as error:
        raise ValueError(
            "a box is required as lines xlo xhi, ylo yhi, zlo zhi (and xy xz yz) in "
            f"the header of {content.path}: {error}; general triclinic boxes "
            "(avec, bvec, cvec) are not read"
        ) from error


def _bonds(
    content: _Content, ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return bonds as atom indices, (n_bonds, 2), and their types, (n_bonds,)."""
    n_bonds = content.count("bonds")
    if not n_bonds and not content.sections.get("Bonds", ("", ""))[1].strip():
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64)
    labels = content.labels("Bond")
    table = _table(content, "Bonds", n_bonds, labels, 1).astype(np.int64)
    if table.shape[1] != 4:
        raise ValueError(
            f"section Bonds of {content.path} must have 4 columns (id, type, two "
            f"atoms), got {table.shape[1]}"
        )
    ends = table[:, 2:]
    index = np.minimum(np.searchsorted(ids, ends), len(ids) - 1)
    unknown = np.flatnonzero((ids[index] != ends).any(axis=1))
    if len(unknown):
        raise ValueError(
            f"bonds must join atoms of section Atoms, bond {table[unknown[0], 0]} of "
            f"{content.path} joins atoms {ends[unknown[0]].tolist()}"
        )
    return index, table[:, 1]
