"""Fragments: how the atoms of each kind of bead lie in MD, for back-mapping.

A conformer is a bead of one frame: its atoms, the atoms they are bonded to in other
beads (anchors) and the centres of those beads, all relative to its own centre of mass.
A library has some conformers of each kind, as unlike each other as may be, and how near
atoms of two types come to each other without bonds between them.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.files import replacing
from cgml.molecules.sites import Kind, Site
from cgml.npz import read_arrays

NAME = "fragments.npz"
"""Of the file in a folder of bead frames; beside NAME.pt it is NAME.fragments.npz."""

VERSION = 1
FARTHEST_CONTACT = 0.35
"""Distance, nm, beyond which two atoms are never too near."""

Floats = NDArray[np.float64]
Pair = tuple[str, str]


class Conformers(NamedTuple):
    """Conformers of a kind of bead, relative to the centre of mass, nm.

    Attributes:
        points: of its atoms and anchors, (n, n_points, 3).
        beads: centre of the bead of each anchor, (n, n_anchors, 3).
        shares: of the beads seen that are most like each of them, (n,); sum 1.
    """

    points: Floats
    beads: Floats
    shares: Floats


@dataclass(frozen=True, eq=False)
class Fragments:
    """A library of conformers.

    Attributes:
        conformers: by kind of bead.
        contacts: types, sorted -> distance, nm, that atoms of these two types which are
            more than three bonds apart keep.
    """

    conformers: dict[Kind, Conformers]
    contacts: dict[Pair, float]

    def of(self, site: Site, bead: int) -> Conformers:
        """Return the conformers of a bead.

        Raises:
            ValueError: there are none of its kind.
        """
        if site.kind not in self.conformers:
            known = "; ".join(str(kind) for kind in self.conformers)
            raise ValueError(
                f"conformers of all beads are required, there are none of bead {bead} "
                f"({site.kind}), only of {known}: prepare trajectories of such "
                "molecules, cut by the same recipe, and take their fragments.npz"
            )
        return self.conformers[site.kind]

    def contact_table(self, types: Sequence[str]) -> Floats:
        """Return the contact of each pair of types, (n_types, n_types), nm."""
        rows = [
            [self.contacts.get(pair(a, b), FARTHEST_CONTACT) for b in types]
            for a in types
        ]
        return np.array(rows, dtype=np.float64).reshape(len(types), len(types))

    def digest(self) -> str:
        """Return a fingerprint (sha256) of the content."""
        digest = hashlib.sha256(json.dumps(sorted(self.contacts.items())).encode())
        for kind, found in self.conformers.items():
            digest.update(kind.key().encode())
            for item in found:
                digest.update(item.astype("<f4").tobytes())
        return digest.hexdigest()

    def save(self, path: Path | str) -> None:
        """Write a file, whole or not at all."""
        arrays: dict[str, NDArray[Any]] = {
            "version": np.array(VERSION),
            "kinds": np.array(json.dumps([kind.key() for kind in self.conformers])),
            "contact_types": np.array(json.dumps(list(self.contacts))),
            "contacts": np.array(list(self.contacts.values()), dtype=np.float64),
        }
        for number, found in enumerate(self.conformers.values()):
            arrays[f"points_{number}"] = found.points.astype(np.float32)
            arrays[f"beads_{number}"] = found.beads.astype(np.float32)
            arrays[f"shares_{number}"] = found.shares.astype(np.float32)
        with replacing(path) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path | str) -> "Fragments":
        """Read a file that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: not such a file, a damaged one, or one of a newer version.
        """
        arrays = read_arrays(Path(path), kind="fragments")
        try:
            if int(arrays["version"]) > VERSION:
                raise ValueError(f"version {arrays['version']} is newer than {VERSION}")
            conformers = dict(_read_conformers(arrays))
            pairs = json.loads(str(arrays["contact_types"]))
            contacts = _distances(arrays["contacts"])
            read = {pair(a, b): d for (a, b), d in zip(pairs, contacts, strict=True)}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no file of fragments: {error}") from error
        return cls(conformers, read)


def beside(model: Path) -> Path:
    """Find the fragments of a model: the file beside its own.

    Raises:
        ValueError: there is none.
    """
    path = model.with_suffix(f".{NAME}")
    if not path.is_file():
        raise ValueError(
            f"there are no fragments beside {model} ({path.name}): name the {NAME} "
            "that was written with the training frames (--fragments)"
        )
    return path


def carry(folders: Iterable[Path], model: Path) -> None:
    """Put the fragments in folders of bead frames, where there are any, beside a model.

    Args:
        folders: with or without a file `NAME`.
        model: file, written or not.
    """
    found = [folder / NAME for folder in sorted(folders) if (folder / NAME).is_file()]
    if found:
        together = joined([Fragments.load(path) for path in found])
        together.save(model.with_suffix(f".{NAME}"))


def joined(libraries: Sequence[Fragments]) -> Fragments:
    """Put libraries together; each counts alike."""
    conformers: dict[Kind, Conformers] = {}
    contacts: dict[Pair, float] = {}
    for library in libraries:
        for kind, own in library.conformers.items():
            parts = [conformers[kind], own] if kind in conformers else [own]
            whole = Conformers(
                *(np.concatenate(same) for same in zip(*parts, strict=True))
            )
            conformers[kind] = whole._replace(shares=whole.shares / whole.shares.sum())
        for types, distance in library.contacts.items():
            contacts[types] = min(distance, contacts.get(types, distance))
    return Fragments(conformers, contacts)


def pair(one: str, other: str) -> Pair:
    """Sort two types."""
    return (one, other) if one <= other else (other, one)


def _read_conformers(arrays: dict[str, NDArray[Any]]) -> list[tuple[Kind, Conformers]]:
    """Read and check the conformers of all kinds."""
    found = []
    for number, key in enumerate(json.loads(str(arrays["kinds"]))):
        kind = Kind.of_key(key)
        n_points, n_anchors = len(kind.types), len(kind.types) - kind.n_atoms
        own = Conformers(
            *(
                np.asarray(arrays[f"{name}_{number}"], dtype=np.float64)
                for name in Conformers._fields
            )
        )
        n = len(own.points)
        shapes = ((n, n_points, 3), (n, n_anchors, 3), (n,))
        is_whole = n > 0 and tuple(item.shape for item in own) == shapes
        is_sound = all(np.isfinite(item).all() for item in own)
        if not (is_whole and is_sound and own.shares.min() > 0.0):
            raise ValueError(f"the conformers of kind {number} are damaged")
        found.append((kind, own))
    return found


def _distances(values: NDArray[Any]) -> list[float]:
    """Require positive distances."""
    distances = np.asarray(values, dtype=np.float64)
    if not (distances > 0.0).all():
        raise ValueError("contacts must be positive")
    found: list[float] = distances.tolist()
    return found
