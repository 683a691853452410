"""Beads by hand: a small file that names the atoms of each bead.

In TOML (or the same in JSON, {"bead": [{...}, ...]}):

    [[bead]]
    name = "EO"                  # for messages
    residue = "PEO"              # name of the residue; left out: any
    atoms = ["C1", "O", "C2"]    # names of its atoms in that residue

Residue and atoms may have the wildcards *, ? and [...]. Each residue that fits gets a
bead of its own. A hydrogen that no bead names goes with its heavy atom. Where a file
has no names of atoms, those of their types stand for them.
"""

import json
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from cgml.fields import Section, faults
from cgml.files import read_text
from cgml.molecules.graph import MolecularGraph, numbered
from cgml.molecules.groups import is_hydrogen, partners
from cgml.molecules.mapping import FORMAT, Mapping, check_connected


class Bead(Section):
    """One entry of the file: a name for messages, patterns of residue and atoms."""

    name: str
    residue: str = "*"
    atoms: list[str] = Field(min_length=1)


class _File(Section):
    """The whole file."""

    bead: list[Bead] = Field(min_length=1)


def read_mapping(path: Path, graph: MolecularGraph) -> Mapping:
    """Read which bead each atom belongs to: a saved mapping, or a file as above.

    Raises:
        ValueError: the file is neither, or its beads do not fit the atoms.
    """
    text = read_text(path)
    try:
        is_toml = path.suffix.lower() == ".toml"
        content = tomllib.loads(text) if is_toml else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is neither TOML nor JSON: {error}") from error
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return Mapping.load(path)
    try:
        beads = _File.model_validate(content).bead
    except ValidationError as error:
        raise ValueError(
            f"{path} cannot be used: {faults(error)}; a mapping is a file that "
            "cgml prepare wrote, or [[bead]] entries with name, residue and atoms"
        ) from error
    return assign(graph, beads, str(path))


def assign(graph: MolecularGraph, beads: Sequence[Bead], source: str) -> Mapping:
    """Put every atom into the bead that names it; source: the file, for messages.

    Raises:
        ValueError: an atom in no bead or in two, a name that several atoms of a residue
            have, a bead in pieces, or an entry that fits nothing.
    """
    names, groups, residues = _names(graph)
    entry = np.full(graph.n_atoms, -1, dtype=np.int64)
    for number, bead in enumerate(beads):
        mine = _fitting(bead, names, groups, residues, source)
        taken = [atom for atom in mine if entry[atom] >= 0]
        if taken:
            other = beads[entry[taken[0]]].name
            raise ValueError(
                f"an atom belongs to one bead, {source} puts "
                f"{graph.name(taken[0])} into {other!r} and into {bead.name!r}"
            )
        entry[mine] = number
    follows = np.flatnonzero(is_hydrogen(graph) & (entry < 0))
    partner = partners(graph)
    entry[follows] = entry[partner[follows]]
    groups = groups.copy()
    groups[follows] = groups[partner[follows]]
    lost = np.flatnonzero(entry < 0)
    if len(lost):
        raise ValueError(
            f"every atom belongs to a bead, {len(lost)} of {graph.n_atoms} are in "
            f"none of {source}, the first is {graph.name(int(lost[0]))}"
        )
    labels = numbered(groups * len(beads) + entry)
    check_connected(
        *(graph, labels),
        lambda atom: f"bead {beads[entry[atom]].name!r} of {source}",
    )
    return Mapping.from_labels(graph, labels)


def _names(
    graph: MolecularGraph,
) -> tuple[Sequence[str], NDArray[np.int64], list[str]]:
    """Name of each atom, its residue's number, and the name of each residue."""
    labels = graph.labels
    if labels is None:
        return graph.types, graph.molecule_index, [""] * graph.n_molecules
    residues = []
    for title in labels.group_names:
        kind, _, rest = title.partition(" ")
        residues.append(rest.rsplit(" (", 1)[0].rsplit(" ", 1)[0])
        if kind != "residue":
            residues[-1] = ""
    groups = labels.groups.copy()
    alone = groups < 0  # no residue: the molecule stands for it
    groups[alone] = len(residues) + graph.molecule_index[alone]
    residues += [""] * graph.n_molecules
    return labels.names if any(labels.names) else graph.types, groups, residues


def _fitting(
    bead: Bead,
    names: Sequence[str],
    groups: NDArray[np.int64],
    residues: Sequence[str],
    source: str,
) -> list[int]:
    """Atoms of all beads of an entry."""
    fits = np.array([fnmatchcase(name, bead.residue) for name in residues])
    known: dict[str, list[str]] = {}
    found: list[int] = []
    seen: dict[tuple[int, str], int] = {}
    used: set[str] = set()
    for atom in np.flatnonzero(fits[groups]).tolist():
        name = names[atom]
        if name not in known:
            known[name] = [text for text in bead.atoms if fnmatchcase(name, text)]
        if not known[name]:
            continue
        used.update(known[name])
        if name in bead.atoms and seen.setdefault((groups[atom], name), atom) != atom:
            raise ValueError(
                f"bead {bead.name!r} of {source} names atom {name}, which residue "
                f"{residues[groups[atom]] or groups[atom]} has several times (atoms "
                f"{seen[groups[atom], name]} and {atom}): give atoms names of their "
                "own, or the beads by number in a mapping as cgml prepare writes it"
            )
        found.append(atom)
    unused = [text for text in bead.atoms if text not in used]
    if unused:
        there = sorted({names[i] for i in np.flatnonzero(fits[groups]).tolist()})
        raise ValueError(
            f"bead {bead.name!r} of {source} names atom {unused[0]}, which no residue "
            f"{bead.residue} has: "
            + (
                f"there are {', '.join(there[:12])}"
                if there
                else f"residues are {', '.join(sorted(set(residues) - {''})) or 'none'}"
            )
        )
    return found
