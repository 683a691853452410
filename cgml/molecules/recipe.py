"""How molecules are cut into beads: one recipe for frames, training and users.

`cgml prepare` stores it with the bead frames, training takes it from there into the
model's spec, and whoever runs the model cuts other molecules by it.
"""

from collections.abc import Mapping as Table
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from cgml.ranges import at_least, number
from cgml.spec import BaseSpec
from cgml.texts import short

GIVEN = "given"
RUNS = "runs"
_MOST_ATOMS = 1e6  # of a bead


@dataclass(frozen=True)
class Recipe:
    """How molecules are cut into beads.

    Attributes:
        atoms_per_bead: atoms in a bead, on average; 1 or more. The nominal number:
            13 atoms cut at 5 make 3 beads, and the recipe still says 5.
        method: how METIS divides, "recursive" (bisection) or "kway"; "runs": an
            unbranched chain is cut after every atoms_per_bead atoms from its first
            end on, so that chains of any number of repeat units are cut at the same
            bonds; what is left, if it is half a bead or more, is a bead of its own,
            and all other molecules are cut as by "recursive"; "given": beads were
            assigned by hand, and other molecules cannot be cut like them.
        single_bead_limit: a molecule of at most so many atoms is one bead, whatever
            atoms_per_bead says (ions, solvents); 0 for none. Unbranched chains that
            are cut in runs are, however short; so are chains of groups that
            keep_groups keeps whole, as TFSI is one.
        keep_hydrogens: whether hydrogens stay with their heavy atom (groups.py). Off
            where nothing is said, as in older files and models.
        keep_groups: whether small groups (CF3, SO2, CH3) and rings stay whole, too.

    Raises:
        ValueError: atoms_per_bead below 1 or not finite, a negative limit, or an
            unknown method.
    """

    atoms_per_bead: float = 5.0
    method: Literal["recursive", "kway", "runs", "given"] = "recursive"
    single_bead_limit: int = 0
    keep_hydrogens: bool = False
    keep_groups: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 1.0 <= number(self.atoms_per_bead, "atoms_per_bead") <= _MOST_ATOMS:
            raise ValueError(
                f"atoms_per_bead must be 1 or more, got {self.atoms_per_bead:g}"
                + (f"; {_MOST_ATOMS:g} are the most" if self.atoms_per_bead > 1 else "")
            )
        if self.method not in {"recursive", "kway", RUNS, GIVEN}:
            raise ValueError(
                f"method must be 'recursive', 'kway' or 'runs', got {self.method!r}"
            )
        at_least(self.single_bead_limit, 0, "single_bead_limit")

    @classmethod
    def from_spec(cls, spec: BaseSpec) -> Self:
        """Return what a model was trained with."""
        return cls(
            spec.atoms_per_bead,
            spec.partition,
            spec.single_bead_limit,
            spec.keep_hydrogens,
            spec.keep_groups,
        )

    def __str__(self) -> str:
        """Say all of it in words."""
        how = {GIVEN: "assigned by hand", "runs": "chains cut in runs"}
        words = [f"{self.atoms_per_bead:g} atoms per bead"]
        words.append(how.get(self.method, f"METIS {self.method}"))
        if self.single_bead_limit:
            which = "other molecules" if self.method == RUNS else "molecules"
            words.append(f"{which} of up to {self.single_bead_limit} atoms are one")
        words += ["hydrogens with their heavy atom"] if self.keep_hydrogens else []
        words += ["groups whole"] if self.keep_groups else []
        return ", ".join(words)

    @property
    def options(self) -> str:
        """Say it in options of `cgml prepare`; of beads by hand there are none."""
        words = [f"--atoms-per-bead {self.atoms_per_bead:g} --method {self.method}"]
        words += [f"--single-bead-limit {self.single_bead_limit}"]
        words += [f"--{'' if self.keep_hydrogens else 'no-'}keep-hydrogens"]
        words += ["--keep-groups"] if self.keep_groups else []
        return " ".join(words)

    def n_beads(self, n_atoms: int) -> int:
        """Number of beads of a molecule, more than it has units left aside."""
        if n_atoms <= self.single_bead_limit:
            return 1
        return max(1, round(n_atoms / self.atoms_per_bead))

    def require(self, asked: Table[str, Any], source: str) -> None:
        """Refuse another wish: attribute -> value; source: what the recipe is of.

        Raises:
            ValueError: a value is not that of the recipe; both are named.
        """
        own = asdict(self)
        for name, value in asked.items():
            if value != own[name]:
                key = "partition" if name == "method" else name  # in files of users
                raise ValueError(
                    f"{key} = {short(value)} is asked for, {source} were cut with "
                    f"{key} = {short(own[name])}: leave it out, or prepare the "
                    "frames with it"
                )
