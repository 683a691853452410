"""What is evaluated: a system of beads, its kinds of molecules, and runs of it."""

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cgml.molecules.box import Box, check_box
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.mapping import Mapping
from cgml.molecules.summary import formula

MAX_SPECIES = 8
"""Kinds of molecules that are told apart in one system: all their pairs are shown."""

NEUTRAL = 1e-6  # e; sums of charges below are rounding

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Subject:
    """One molecule, or one box of any kinds of molecules.

    Attributes:
        name: of the system.
        mapping: atoms -> beads.
        species: name of a kind of molecule -> its beads, ascending; of whole
            molecules.
        box: row vectors, (3, 3) nm, reduced triclinic; None: open boundaries.
        charges: of the beads, (n_beads,) e; None: none is charged.
        temperature: K; None: not known, no conductivity.

    Raises:
        ValueError: species that are not all beads once, or charges of other beads.
    """

    name: str
    mapping: Mapping
    species: dict[str, Index]
    box: Box | None = None
    charges: Floats | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if self.box is not None:
            check_box(self.box)
        n = self.mapping.n_beads
        beads = np.sort(np.concatenate([*self.species.values(), np.empty(0, int)]))
        if not np.array_equal(beads, np.arange(n)):
            raise ValueError(
                f"species of all {n} beads are required, each bead in one, got "
                + ", ".join(f"{name}: {len(of)}" for name, of in self.species.items())
            )
        if self.charges is not None and len(self.charges) != n:
            raise ValueError(f"{n} charges are required, got {len(self.charges)}")

    @property
    def masses(self) -> Floats:
        """Masses of the beads, (n_beads,) Da."""
        return self.mapping.bead_masses

    @property
    def bonds(self) -> Index:
        """Bonded beads, (n_bonds, 2)."""
        return self.mapping.bead_bonds

    @property
    def molecules(self) -> Index:
        """Molecule of each bead, (n_beads,)."""
        return self.mapping.molecule_index

    @property
    def is_single(self) -> bool:
        """Whether there is but one molecule."""
        return int(self.molecules.max()) == 0

    @property
    def cell(self) -> Box:
        """The box, (3, 3) nm.

        Raises:
            ValueError: open boundaries.
        """
        if self.box is None:
            raise ValueError(
                f"a periodic box is required, {self.name!r} has open boundaries"
            )
        return self.box

    @property
    def volume(self) -> float:
        """Volume of the box, nm^3."""
        return float(abs(np.linalg.det(self.cell)))

    @cached_property
    def pairs(self) -> dict[str, Pair]:
        """All pairs of species that different molecules make, by name."""
        names = list(self.species)
        return {
            f"{one}-{other}": (one, other)
            for k, one in enumerate(names)
            for other in names[k:]
            if one != other or np.ptp(self.molecules[self.species[one]]) > 0
        }

    def chained(self, species: str) -> Index:
        """Beads of the molecules of several beads of a species; perhaps none."""
        beads = self.species[species]
        return beads[np.bincount(self.molecules)[self.molecules[beads]] > 1]

    def molecule_charges(self, species: str) -> Floats:
        """Net charge of each molecule of a species, (n_molecules,) e."""
        beads = self.species[species]
        if self.charges is None:
            return np.zeros(len(np.unique(self.molecules[beads])))
        _, place = np.unique(self.molecules[beads], return_inverse=True)
        sums = np.bincount(place, self.charges[beads])
        return np.where(np.abs(sums) > NEUTRAL, sums, 0.0)


@dataclass(frozen=True, eq=False)
class Forecast:
    """Frames, and the same some steps later.

    Attributes:
        start: (n_starts, n_beads, 3) nm.
        after: number of steps -> likewise, unwrapped.
    """

    start: NDArray[np.floating]
    after: dict[int, NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class Run:
    """Frames of one subject from one run, or from several of the same length.

    Attributes:
        positions: unwrapped, (n_runs, n_frames, n_beads, 3) nm.
        time_step: time between frames, ps.
        rg2: squared radius of gyration of all atoms, (n_runs, n_frames) nm^2; None:
            not known, of the beads then.
        grades: mean extrapolation grade of the worst molecule, (n_runs,); None: the
            runs are of no model, or of one that is not calibrated.
        forecast: what the model made of single frames of the reference; None: not
            asked, as of frames that are no model's.

    Raises:
        ValueError: arrays that do not belong together, or are not finite.
    """

    positions: NDArray[np.floating]
    time_step: float
    rg2: Floats | None = None
    grades: Floats | None = None
    forecast: Forecast | None = None

    def __post_init__(self) -> None:
        """Refuse what is no run."""
        shape = self.positions.shape
        if len(shape) != 4 or shape[-1] != 3:
            raise ValueError(
                f"positions (n_runs, n_frames, n_beads, 3) are required, got {shape}"
            )
        if self.rg2 is not None and self.rg2.shape != shape[:2]:
            raise ValueError(
                f"one rg2 for each frame is required, {shape[:2]}, got {self.rg2.shape}"
            )
        for name, values in (("positions", self.positions), ("rg2", self.rg2)):
            if values is not None and not np.isfinite(values).all():
                raise ValueError(f"{name} of a run must be finite, got NaN or infinity")

    @classmethod
    def of(cls, trajectory: BeadTrajectory, *, uses_atoms: bool = True) -> "Run":
        """Take frames as one run.

        Args:
            trajectory: the frames; observable "rg2" where there is one.
            uses_atoms: take that observable.
        """
        rg2 = trajectory.observables.get("rg2") if uses_atoms else None
        return cls(
            trajectory.positions[None],
            trajectory.time_step,
            None if rg2 is None else np.asarray(rg2, dtype=np.float64)[None],
        )

    @property
    def n_frames(self) -> int:
        """Frames of each run."""
        return int(self.positions.shape[1])

    @property
    def duration(self) -> float:
        """Length of each run, ps."""
        return float(self.n_frames * self.time_step)

    def every(self, stride: int) -> "Run":
        """Take every stride-th frame."""
        return replace(
            self._frames(slice(None, None, stride)), time_step=self.time_step * stride
        )

    def pieces(self, n_pieces: int) -> list["Run"]:
        """Cut every run into pieces in time, the longer ones first."""
        places = np.array_split(np.arange(self.n_frames), n_pieces)
        return [self._frames(slice(part[0], part[-1] + 1)) for part in places]

    def first(self, n_frames: int) -> "Run":
        """Take the first frames."""
        return self._frames(slice(n_frames))

    def _frames(self, part: slice) -> "Run":
        rg2 = None if self.rg2 is None else self.rg2[:, part]
        return replace(self, positions=self.positions[:, part], rg2=rg2)


def parse_names(items: Iterable[str]) -> dict[str, str]:
    """Read names of species given as FORMULA=NAME.

    Raises:
        ValueError: an item has another form.

    Example:
        >>> parse_names(["A*B*=polymer"])
        {'A*B*': 'polymer'}
    """
    names = {}
    for item in items:
        pattern, _, name = item.rpartition("=")
        if not (pattern and name):
            raise ValueError(
                "the name of a species is given as FORMULA=NAME, for example "
                f"A*B*=polymer, got {item!r}"
            )
        names[pattern] = name
    return names


def describe(
    trajectories: Sequence[BeadTrajectory],
    *,
    charges: Table[str, float] | None = None,
    names: Table[str, str] | None = None,
    temperature: float | None = None,
) -> list[Subject]:
    """Say what is in each system.

    A species is a kind of molecule, named by its formula unless the user names it.
    Where charges are given, the only kind of molecule of a system with a positive net
    charge is "cation", the only one with a negative net charge "anion", unless the user
    names it.

    Args:
        trajectories: bead frames; nothing is read off the positions.
        charges: particle type -> charge, e; types that are missing have none.
        names: formula, or a pattern of it with * and ?, -> name of the species; the
            first pattern that fits counts. Kinds of one name are one species.
        temperature: K; None: no conductivity.

    Raises:
        ValueError: a name for a formula that is nowhere, or too many species.
    """
    given = {} if names is None else dict(names)
    formulas = [
        [
            formula([item.mapping.graph.types[atom] for atom in atoms])
            for atoms in item.mapping.graph.molecules
        ]
        for item in trajectories
    ]
    known = sorted({kind for kinds in formulas for kind in kinds})
    for pattern, name in given.items():
        if not any(fnmatchcase(kind, pattern) for kind in known):
            raise ValueError(
                f"species {name!r} is named by the formula of its molecules, "
                f"{pattern!r} fits none of {', '.join(known[:MAX_SPECIES])}"
                + (" ..." if len(known) > MAX_SPECIES else "")
            )
    called = {kind: _call(kind, given) for kind in known}
    return [
        _subject(
            item,
            [called[kind] for kind in kinds],
            charges or {},
            temperature,
            set(given.values()),
        )
        for item, kinds in zip(trajectories, formulas, strict=True)
    ]


def _call(kind: str, names: Table[str, str]) -> str:
    """Return the user's name of a formula, else the formula."""
    fitting = (name for pattern, name in names.items() if fnmatchcase(kind, pattern))
    return next(fitting, kind)


def _subject(
    trajectory: BeadTrajectory,
    kinds: list[str],
    charges: Table[str, float],
    temperature: float | None,
    fixed: set[str],
) -> Subject:
    """Gather the beads of each kind; ions come first, `fixed` names stay."""
    mapping = trajectory.mapping
    groups = list(dict.fromkeys(kinds))
    if len(groups) > MAX_SPECIES:
        raise ValueError(
            f"at most {MAX_SPECIES} kinds of molecules are told apart, "
            f"{trajectory.name!r} has {len(groups)}, {', '.join(groups[:4])} ...: give "
            "several one name, as in --species 'A*B*=polymer'"
        )
    place = np.array([groups.index(kind) for kind in kinds])
    bead_kinds = place[mapping.molecule_index]
    charge = np.zeros(mapping.n_beads)
    types = mapping.graph.types
    np.add.at(charge, mapping.bead_index, [charges.get(name, 0.0) for name in types])
    plain = Subject(
        trajectory.name,
        mapping,
        {name: np.flatnonzero(bead_kinds == k) for k, name in enumerate(groups)},
        trajectory.box,
        charge if charge.any() else None,
        temperature,
    )
    return replace(plain, species=_name_ions(plain, fixed))


def _name_ions(subject: Subject, fixed: set[str]) -> dict[str, Index]:
    """Call the only cation and the only anion so but for `fixed`; put them first."""
    charges = {name: subject.molecule_charges(name) for name in subject.species}
    ions = {}
    for word, sign in (("cation", 1.0), ("anion", -1.0)):
        found = [name for name, q in charges.items() if (sign * q > 0.0).all()]
        if len(found) == 1 and (found[0] == word or word not in subject.species):
            ions[found[0]] = found[0] if found[0] in fixed else word
    order = {**ions, **{name: name for name in subject.species if name not in ions}}
    return {new: subject.species[old] for old, new in order.items()}
