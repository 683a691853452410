"""From frames of beads to frames of atoms in the force field of a System."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openmm
from numpy.typing import ArrayLike
from openmm import app

from cgml.models.file import find_model, read_spec
from cgml.molecules.box import Box, check_box
from cgml.molecules.fragments import Floats, Fragments, beside
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.placing import Placer
from cgml.molecules.rings import small_rings, threaded
from cgml.molecules.whole import Unwrapper
from cgml.ranges import at_least, positive
from openmm_cgml.convert import in_nanometers, resolve_mapping
from openmm_cgml.relaxation import Relaxation, Relaxed, Relaxer

TRIES = 3
"""Placings of a frame before it is given up."""

LARGEST_FORCE = 5.0e4
"""Force on an atom, kJ/mol/nm, above which it is caught in something."""


class FrameReport(NamedTuple):
    """What was found of a back-mapped frame.

    Attributes:
        frame: number.
        energy: potential energy in the System, kJ/mol.
        largest_force: on an atom, kJ/mol/nm.
        deviation: rms distance of the centres of beads from their places, nm.
        farthest: largest of these distances, nm.
        moved: beads that had to move (farther than `Relaxation.reach`), the farthest
            first, each with its distance in nm: "58:0.110 10:0.092"; empty: none.
        changed_hands: atoms whose handedness is not the one it shall be.
        threaded_rings: bonds that go through rings.
        bonds_outside: bonds, constraints and distances across an atom outside the range
            of the force field or the fragments.
        tries: placings that it took.
        problem: why the frame is not good; empty: it is.
    """

    frame: int
    energy: float
    largest_force: float
    deviation: float
    farthest: float
    moved: str
    changed_hands: int
    threaded_rings: int
    bonds_outside: int
    tries: int
    problem: str


@dataclass(frozen=True, eq=False)
class Ingredients:
    """What a Backmapper is made of; can be sent to other processes.

    Attributes:
        fragments: the library.
        mapping: atoms -> beads.
        system: of the atoms, OpenMM's XML.
        reference: atoms with the right hands, whole, (n_atoms, 3), nm; None: the hands
            are those of the library.
        temperature: K.
        relaxation: how atoms are relaxed.
        seed: of all randomness.
        platform: OpenMM platform name.
    """

    fragments: Fragments
    mapping: Mapping
    system: str
    reference: Floats | None
    temperature: float
    relaxation: Relaxation
    seed: int
    platform: str


class Backmapper:
    """Puts atoms in the place of beads.

    Fragments from MD are placed, then relaxed by the force field while the centres of
    the beads are held (relaxation.py). A frame whose handedness changed, whose rings
    are threaded, whose bonds, forces or centres are out of range is placed anew, at
    most `TRIES` times. Centres are out of range if their rms distance from their places
    exceeds the tolerance; of the beads that had to move, two or a tenth of all, at most
    half, do not count. The atoms of a frame depend on beads, number and seed, not on
    frames before.

    Args:
        fragments: conformers of all kinds of beads: a file that `cgml prepare` wrote,
            or its content.
        mapping: atoms -> beads.
        system: of these atoms; its masses need not be theirs.
        temperature: of the relaxed atoms, K.
        reference: positions of the atoms that show which hands they have, molecules
            whole, (n_atoms, 3), Quantity or nm; None: as in the fragments.
        relaxation: how long, how stiff.
        seed: of all randomness.
        platform: OpenMM platform name; on "CPU", one thread, results are
            reproducible to the last bit, with others they may not be.

    Raises:
        ValueError: there are no conformers of a bead or none of its hands, or the
            System is not of these atoms or lacks some of their bonds.

    Example:
        backmapper = Backmapper("beads/fragments.npz", mapping, system, 423.0)
        atoms, report = backmapper.map(beads, box)
    """

    def __init__(  # noqa: PLR0913 (every option has a name and a default)
        self,
        fragments: Fragments | Path | str,
        mapping: Mapping,
        system: openmm.System,
        temperature: float,
        *,
        reference: Any = None,
        relaxation: Relaxation | None = None,
        seed: int = 0,
        platform: str = "CPU",
    ) -> None:
        if not isinstance(fragments, Fragments):
            fragments = Fragments.load(fragments)
        shown = None if reference is None else in_nanometers(reference)
        if shown is not None and shown.shape != (mapping.graph.n_atoms, 3):
            raise ValueError(
                f"the positions of the {mapping.graph.n_atoms} atoms of the mapping "
                f"are required as reference, ({mapping.graph.n_atoms}, 3), got "
                f"{shown.shape}"
            )
        self.ingredients = Ingredients(
            fragments,
            mapping,
            openmm.XmlSerializer.serialize(system),
            shown,
            positive(temperature, "the temperature", "K"),
            relaxation or Relaxation(),
            at_least(seed, 0, "seed"),
            platform,
        )
        self._placer = Placer(fragments, mapping, shown)
        self._relaxer = Relaxer(
            system,
            mapping,
            fragments,
            temperature,
            self.ingredients.relaxation,
            platform,
        )
        self._rings = small_rings(mapping.graph)

    @classmethod
    def from_model(
        cls,
        model: str | Path,
        topology: app.Topology | MolecularGraph | Mapping,
        system: openmm.System,
        **options: Any,
    ) -> "Backmapper":
        """Take beads, temperature and, unless they are given, fragments from a model.

        Args:
            model: path of a model file, or name of a bundled model.
            topology: atoms and bonds, or the mapping itself.
            system: of these atoms.
            options: `fragments`, and those of a Backmapper.

        Raises:
            ValueError: as a Backmapper; or there are no fragments beside the model.
        """
        path = find_model(model)
        spec = read_spec(path)
        fragments = options.pop("fragments", None) or beside(path)
        mapping = resolve_mapping(topology, spec, system)
        return cls(fragments, mapping, system, spec.temperature, **options)

    @classmethod
    def of(cls, ingredients: Ingredients) -> "Backmapper":
        """Make one anew, perhaps in another process."""
        return cls(
            ingredients.fragments,
            ingredients.mapping,
            openmm.XmlSerializer.deserialize(ingredients.system),
            ingredients.temperature,
            reference=ingredients.reference,
            relaxation=ingredients.relaxation,
            seed=ingredients.seed,
            platform=ingredients.platform,
        )

    def check_hands(self, atoms: Floats, box: ArrayLike | None = None) -> None:
        """Refuse atoms of other hands than those that are put in the place of beads.

        Args:
            atoms: (n_atoms, 3), nm.
            box: row vectors, (3, 3), nm; None: open boundaries.

        Raises:
            ValueError: so many stereocentres are of the other hand.
        """
        wrapped = np.asarray(atoms, dtype=np.float64)[None]
        cell = None if box is None else check_box(box)
        whole = Unwrapper(self.ingredients.mapping.graph, cell, are_carried=True)
        n = self._placer.changed_hands(whole(wrapped)[0])
        if n:
            raise ValueError(
                f"{n} stereocentres of the Simulation are of the other hand than those "
                "that the Backmapper makes: make it with reference=, the positions of "
                "these atoms"
            )

    def map(
        self, beads: ArrayLike, box: ArrayLike | None = None, *, number: int = 0
    ) -> tuple[Floats, FrameReport]:
        """Put atoms in the place of the beads of a frame.

        Args:
            beads: centres of mass, molecules whole, (n_beads, 3), nm.
            box: row vectors, (3, 3), nm; None: open boundaries.
            number: of the frame; another one draws other noise.

        Returns:
            Atoms, molecules whole, (n_atoms, 3), nm, and what was found of them. Where
            the report names a problem, the atoms are those of the last try.

        Raises:
            ValueError: beads of another shape or not finite, or no box.
        """
        mapping = self.ingredients.mapping
        centres = np.asarray(beads, dtype=np.float64)
        if centres.shape != (mapping.n_beads, 3) or not np.isfinite(centres).all():
            raise ValueError(
                f"finite positions of shape ({mapping.n_beads}, 3) are required for "
                f"the beads, got shape {centres.shape}"
            )
        cell = None if box is None else check_box(box)
        for attempt in range(TRIES - 1):
            atoms, report = self._tried(centres, cell, number, attempt)
            if not report.problem:
                return atoms, report
        return self._tried(centres, cell, number, TRIES - 1)

    def _tried(
        self, centres: Floats, box: Box | None, number: int, attempt: int
    ) -> tuple[Floats, FrameReport]:
        """Place and relax once; from the second attempt on with noise."""
        generator = np.random.default_rng([self.ingredients.seed, number, attempt])
        atoms = self._placer.place(centres, box, generator, heat=float(attempt))
        seed = int(generator.integers(1, 1 << 31))
        relaxed = self._relaxer.relax(atoms, centres, box, seed)
        return relaxed.atoms, self._judged(relaxed, box, number, attempt + 1)

    def _judged(
        self, relaxed: Relaxed, box: Box | None, number: int, tries: int
    ) -> FrameReport:
        """Find what is wrong with relaxed atoms."""
        hands = rings = 0
        if relaxed.is_finite:
            hands = self._placer.changed_hands(relaxed.atoms)
            bonds = self.ingredients.mapping.graph.bonds
            rings = len(threaded(self._rings, bonds, relaxed.atoms, box))
        gaps, options = relaxed.gaps, self.ingredients.relaxation
        order = np.argsort(-gaps, kind="stable")
        moved = [bead for bead in order.tolist() if gaps[bead] > options.reach]
        n_spared = min(len(moved), max(2, len(gaps) // 10), len(gaps) // 2)
        rest, others = _rms(gaps[order[n_spared:]]), " other" if n_spared else ""
        problems = {
            "positions or energy are not finite": not relaxed.is_finite,
            f"{hands} atoms changed their handedness": hands > 0,
            f"{rings} bonds go through rings": rings > 0,
            f"{relaxed.bonds_outside} bonds or angles are outside their range": (
                relaxed.bonds_outside > 0
            ),
            f"the largest force is {relaxed.largest_force:.3g} kJ/mol/nm, more than "
            f"{LARGEST_FORCE:g}": relaxed.largest_force > LARGEST_FORCE,
            f"the centres of the{others} beads are {rest:.3f} nm away (rms), more than "
            f"{options.tolerance:g}": rest > options.tolerance,
        }
        return FrameReport(
            number,
            relaxed.energy,
            relaxed.largest_force,
            _rms(gaps),
            float(gaps.max()),
            " ".join(f"{bead}:{gaps[bead]:.3f}" for bead in moved),
            hands,
            rings,
            relaxed.bonds_outside,
            tries,
            ", ".join(text for text, is_so in problems.items() if is_so),
        )


def _rms(gaps: Floats) -> float:
    return float(np.sqrt((gaps**2).mean()))
