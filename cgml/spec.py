"""What a model says of itself, validated; nothing heavy is imported to read it."""

import math
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from cgml.calibration import Calibration
from cgml.fields import (
    Integer,
    Length,
    Mass,
    NonNegative,
    Positive,
    Rate,
    Rounds,
    Section,
    Temperature,
    Time,
    Whole,
    Width,
)
from cgml.mean_force import PotentialSpec
from cgml.sampling import FAST, Execution, Precision, Refinement
from cgml.training_data import Rotation, RousePrior, Seen, Statistics

__all__ = [  # known to all as parts of the spec
    "FAST",
    "Execution",
    "PotentialSpec",
    "Precision",
    "Refinement",
    "Rotation",
    "RousePrior",
    "Seen",
    "Statistics",
]


FARTHEST = 3.0  # cutoffs: from farther away nothing comes within it in a step


def check_reach(reach: float | None, cutoff: float | None) -> None:
    """Refuse a reach that is not beyond the cutoff, or far beyond.

    Raises:
        ValueError: it is, or there is no cutoff.
    """
    if reach is not None and cutoff is None:
        raise ValueError(
            f"a reach of {reach:g} nm is about pairs beyond a cutoff, and there is "
            "none: give a cutoff, or leave the reach out"
        )
    if reach is not None and cutoff and not cutoff < reach <= FARTHEST * cutoff:
        raise ValueError(
            f"a reach beyond the cutoff of {cutoff:g} nm is required, up to "
            f"{FARTHEST * cutoff:g} nm, got {reach:g} nm: half as long again as the "
            "cutoff is enough; nearer pairs are seen anyway"
        )


class NetworkConfig(Section):
    """Sizes of the four networks.

    Attributes:
        n_embedding: width of the bead embedding.
        n_embedding_steps: rounds of messages over the bonds of the atoms.
        n_node: width of node features.
        n_edge: width of edge features.
        n_radial: functions of the distance that edges carry.
        radial: where they are: "even" on a logarithmic axis, or more of them where
            the distances of the training "data" have structure (bonds, first shells).
        atom_places: whether the networks see where in a bead the atoms of each type
            are expected (ideal_chain.py), not only how many there are.
        n_vectors: vectors of a bead, with which messages know angles, four, eight and
            so on (other widths give other bits in a batch); 0: none.
        chiral: whether messages know triple products of these vectors, and beads the
            hands of their stereocentres (stereocentres.py), without which a molecule
            and its mirror image are the same.
        n_predictor_layers: rounds of messages of the predictor.
        n_refiner_layers: rounds of messages of the score network.
    """

    n_embedding: Width = 16
    n_embedding_steps: Rounds = 0
    atom_places: bool = False
    n_node: Width = 96
    n_edge: Width = 64
    n_radial: Annotated[Width, Field(ge=2)] = 10
    radial: Literal["even", "data"] = "even"
    n_vectors: Annotated[Integer, Field(ge=0, le=65536, multiple_of=4)] = 0
    chiral: bool = False
    n_predictor_layers: Annotated[Rounds, Field(ge=1)] = 2
    n_refiner_layers: Annotated[Rounds, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _have_vectors(self) -> Self:
        if self.chiral and not self.n_vectors:
            raise ValueError(
                "chiral = true is about the vectors of beads, n_vectors is 0: write "
                "n_vectors = 8, or leave chiral out"
            )
        return self


class BaseSpec(Section):
    """What every model file says of itself, whatever moves the beads.

    Attributes:
        format: version of the file layout.
        kind: row of the table of kinds (models/kinds.py).
        name: short name of the model.
        time_step: time of one propagator call, ps.
        n_history: displacements of earlier steps that the model sees.
        particle_types: name -> mass (Da) of every particle type the model knows.
        bond_types: names of the bond types the model knows; empty: any.
        atoms_per_bead: number of atoms in a bead of a molecule that is cut.
        partition: METIS variant of the mapping; "given": beads were assigned by hand.
        single_bead_limit: molecules of at most so many atoms are one bead.
        keep_hydrogens: hydrogens were kept with their heavy atom.
        keep_groups: small groups and rings were kept whole.
        cutoff: neighbour cutoff, nm; None: all pairs of beads of a molecule, and
            molecules do not see each other.
        periodic: whether the model was trained in periodic boxes.
        temperature: temperature of the training data, K.
        friction: friction of the thermostat, 1/ps, from which the centre-of-mass
            diffusion of every molecule follows (Einstein, D = kT / (M friction));
            None: the centre of mass is moved by the network like the rest.
        remove_drift: whether the centre of mass of the whole system is held at rest.
        has_property: whether the radius-of-gyration head is trained.
        provenance: what produced the weights (command, data, version).
        seen: what molecules the training data had; None: the model does not say.
        n_members: sets of weights in the file, of networks of one size.
        rotation: of molecules of one bead in the training data; those of kinds that
            are not there are carried without turning (dynamics/tumbling.py).
    """

    format: Literal[1] = 1
    kind: str
    name: str
    time_step: Time
    n_history: Rounds
    particle_types: dict[str, Mass]
    bond_types: list[str]
    atoms_per_bead: Positive
    partition: Literal["recursive", "kway", "runs", "given"]
    single_bead_limit: Whole = 0
    keep_hydrogens: bool = False
    keep_groups: bool = False
    cutoff: Length | None
    periodic: bool
    temperature: Temperature
    friction: Rate | None
    remove_drift: bool = False
    has_property: bool
    provenance: dict[str, str]
    seen: Seen | None = None
    n_members: Annotated[Integer, Field(ge=1, le=64)] = 1
    rotation: list[Rotation] = Field(default=[])

    @model_serializer(mode="wrap")
    def _leave_out(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write nothing that older versions do not know and need not."""
        absent: dict[str, Any] = {
            "n_members": 1,
            "calibration": None,
            "rotation": [],
            "potential": None,
            "reach": None,
        }
        said: dict[str, Any] = write(self)
        return {
            key: value for key, value in said.items() if absent.get(key, ...) != value
        }

    def with_members(self, n: int) -> Self:
        """Say the same of n sets of weights, which are not calibrated yet."""
        return self.model_copy(update={"n_members": n})

    @property
    def limits(self) -> Statistics | None:
        """What the training data looked like; None: the model does not say."""
        return None

    @property
    def calibrated(self) -> Calibration | None:
        """How unsure it is of new molecules; None: that was not measured."""
        return None

    @property
    def is_compilable(self) -> bool:
        """Whether `cgml compile` can make anything of the networks."""
        return False

    @property
    def has_free_sampler(self) -> bool:
        """Whether the score network can be sampled in another way, or left out."""
        return False

    @property
    def is_chiral(self) -> bool:
        """Whether the networks tell left from right."""
        return False

    @property
    def has_potential(self) -> bool:
        """Whether there is an energy of the beads."""
        return False

    def check_time_step(self, time_step: float) -> None:
        """Refuse a time step that is not the model's.

        Args:
            time_step: time step asked for, ps.

        Raises:
            ValueError: The two differ; both are named.
        """
        if not math.isclose(time_step, self.time_step, rel_tol=1e-6):
            raise ValueError(
                f"the time step of model {self.name!r} is {self.time_step:g} ps and "
                f"cannot be changed, got {time_step:g} ps: leave it out or pass the "
                "model's"
            )

    def check_boundaries(self, *, is_periodic: bool) -> None:
        """Refuse a box for an open-boundary model and the reverse.

        Args:
            is_periodic: whether the system at hand has a periodic box.

        Raises:
            ValueError: The model was trained under the other kind of boundaries.
        """
        if is_periodic != self.periodic:
            words = {True: "periodic boxes", False: "open boundaries"}
            raise ValueError(
                f"model {self.name!r} was trained in {words[self.periodic]}, the "
                f"system has {words[is_periodic]}: "
                + (
                    "remove the box (--no-box)"
                    if is_periodic
                    else "give the system its box (--box)"
                )
            )


class ModelSpec(BaseSpec):
    """The contents of spec.json in a file of a model trained here.

    Attributes:
        kind: not written, since files were so before there were several kinds.
        network: sizes.
        prior: Rouse relaxation fitted to the training data.
        refinement: default sampler.
        statistics: scales and guard limits.
        radial_centres: of the functions of the distance, nm, n_radial of them,
            ascending; empty: even on a logarithmic axis.
        reach: nm; the score network sees pairs of beads beyond the cutoff, up to here,
            where they come within it in a step (arrivals.py); None: it does not look.
        calibration: how unsure the model is of new molecules; None: not measured.
        potential: an energy of the beads; None: there is none. It has no part in steps.
    """

    kind: Literal["cgml"] = Field(default="cgml", exclude=True)
    network: NetworkConfig
    prior: RousePrior
    refinement: Refinement
    statistics: Statistics
    radial_centres: tuple[NonNegative, ...] = ()
    reach: Length | None = None
    calibration: Calibration | None = None
    potential: PotentialSpec | None = None

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        centres = self.radial_centres
        wanted = self.network.n_radial if self.network.radial == "data" else 0
        if len(centres) != wanted or any(a >= b for a, b in pairwise(centres)):
            raise ValueError(
                f"radial_centres must be {wanted} ascending distances, got "
                f"{list(centres)}"
            )
        return self

    @model_validator(mode="after")
    def _reach_farther(self) -> Self:
        check_reach(self.reach, self.cutoff)
        return self

    @model_validator(mode="after")
    def _know_own_latent(self) -> Self:
        found = self.calibration
        if found is None:
            return self
        if (found.latent is None) != (self.n_members > 1):
            raise ValueError("a calibration has a latent range where there is 1 member")
        if found.latent is not None and len(found.latent.mean) != self.network.n_node:
            raise ValueError(
                f"a latent range of {self.network.n_node} numbers is required, got "
                f"{len(found.latent.mean)}"
            )
        return self

    def with_members(self, n: int) -> Self:
        """Say the same of n sets of weights, which are not calibrated yet."""
        return self.model_copy(update={"n_members": n, "calibration": None})

    @property
    def limits(self) -> Statistics:
        """What the training data looked like."""
        return self.statistics

    @property
    def calibrated(self) -> Calibration | None:
        """How unsure it is of new molecules."""
        return self.calibration

    @property
    def farthest(self) -> float | None:
        """How far apart pairs are looked for, nm; None: all pairs of a molecule."""
        return self.cutoff if self.reach is None else self.reach

    @property
    def has_free_sampler(self) -> bool:
        """It can."""
        return True

    @property
    def is_compilable(self) -> bool:
        """They can be compiled."""
        return True

    @property
    def is_chiral(self) -> bool:
        """Whether they are."""
        return self.network.chiral

    @property
    def has_potential(self) -> bool:
        """Whether there is an energy of the beads."""
        return self.potential is not None
