"""What files and engines say of their atoms, before types and masses are settled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class AtomTable:
    """What a file, or an engine, says of its atoms; all of it per atom.

    Attributes:
        source: the file, for error texts.
        names: names of atoms, (n_atoms,); "" where there are none, as below.
        bonds: atom indices, (n_bonds, 2).
        bond_types: (n_bonds,); None: nothing more is known of them.
        elements: symbols that the file truly has.
        masses: Da, NaN where the file has none; None: it has none at all.
        kinds: names of types in the force field.
        numbers: numbers of types in the force field (LAMMPS), 0 where there are none.
        residues: names of residues.
        groups: residues or molecule ids, as "residue PEO 1"; "" for none.
        chains: numbers of chains.
    """

    source: str
    names: Sequence[str]
    bonds: NDArray[np.int64]
    bond_types: Sequence[str] | None = None
    elements: Sequence[str] = ()
    masses: NDArray[np.float64] | None = None
    kinds: Sequence[str] = ()
    numbers: Sequence[int] = ()
    residues: Sequence[str] = ()
    groups: Sequence[str] = ()
    chains: Sequence[int] = ()

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.names)

    def take(self, atoms: NDArray[np.int64]) -> "AtomTable":
        """Take some atoms, ascending, and the bonds among them, renumbered."""
        new = np.full(self.n_atoms, -1, dtype=np.int64)
        new[atoms] = np.arange(len(atoms))
        bonds = new[self.bonds].reshape(-1, 2)
        kept = np.flatnonzero((bonds >= 0).all(axis=1))
        kinds = self.bond_types

        def some(values: Sequence[T]) -> Sequence[T]:
            return [values[i] for i in atoms.tolist()] if len(values) else ()

        return replace(
            self,
            names=some(self.names),
            bonds=bonds[kept],
            bond_types=None if kinds is None else [kinds[i] for i in kept.tolist()],
            elements=some(self.elements),
            masses=None if self.masses is None else self.masses[atoms],
            kinds=some(self.kinds),
            numbers=some(self.numbers),
            residues=some(self.residues),
            groups=some(self.groups),
            chains=some(self.chains),
        )
