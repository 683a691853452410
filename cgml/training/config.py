"""What a training run says of itself: one TOML file, validated."""

import os
import tomllib
from difflib import get_close_matches
from glob import escape
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from cgml.fields import (
    Count,
    Integer,
    Length,
    NonNegative,
    Positive,
    Rate,
    Real,
    Section,
    Temperature,
    Time,
)
from cgml.files import component, read_text
from cgml.spec import NetworkConfig, Refinement, check_reach

FILES = ("train", "validation", "corrections")
"""Keys under [data] that name files."""


class DataConfig(Section):
    """Where the bead frames are.

    Attributes:
        train: files or glob patterns of training molecules (.h5md, or .npz in the
            reference layout).
        validation: other molecules, never the same; in a split in time, runs of their
            own, or nothing: the last frames of the training files.
        split: "molecule": no molecule is in both lists, and the model is seen to
            transfer. "time": both have the same molecules (a melt, a single kind of
            molecule), and the model claims to interpolate, no more.
        gap: ps between training and validation frames of a split in time; None: 5
            relaxation times, of Rg^2 or of the first mode.
        validation_fraction: of the frames, the last ones, of a split in time.
        bootstrap: train on as many systems drawn at random, with replacement, so that
            members of an ensemble differ in what they saw; scales are those of all.
        corrections: short MD that began at frames of a model's own runs, back-mapped:
            what follows where a model goes and MD does not. Half of the systems of a
            batch are from here, no more than there are others, never backwards in
            time; as it is no equilibrium, scales and prior are those of the others.
    """

    train: list[str]
    validation: list[str] = Field(default=[])
    split: Literal["molecule", "time"] = "molecule"
    gap: NonNegative | None = None
    validation_fraction: Annotated[Real, Field(gt=0.0, lt=1.0)] = 0.2
    bootstrap: bool = False
    corrections: list[str] = Field(default=[])

    @model_validator(mode="after")
    def _agree(self) -> Self:
        used = self.model_fields_set & {"gap", "validation_fraction"}
        if self.split == "molecule" and not self.validation:
            raise ValueError(
                "validation molecules are required, none are given: name files of "
                'other molecules, or write split = "time" to validate with the last '
                "frames of the same ones"
            )
        if used and (self.split == "molecule" or self.validation):
            raise ValueError(
                f"{', '.join(sorted(used))} only says something with split = "
                '"time" and without validation files: leave it out'
            )
        if set(self.train) & set(self.validation):
            both = sorted(set(self.train) & set(self.validation))
            raise ValueError(
                f"{both[0]} stands under train and under validation: leave validation "
                'out and write split = "time"'
            )
        twice = set(self.corrections) & {*self.train, *self.validation}
        if twice:
            raise ValueError(
                f"{min(twice)} stands under corrections and elsewhere: name it once"
            )
        return self


class OptimiserConfig(Section):
    """How the weights are found.

    Attributes:
        n_steps: optimiser steps.
        learning_rate: peak of the one-cycle schedule (linear warm-up, cosine decay).
        weight_decay: of the weights (AdamW).
        n_molecules: molecules per batch.
        n_windows: windows of each molecule per batch.
        clip: largest norm of the gradient.
        average_decay: decay of the moving average of the weights.
        validate_every: steps between validations; a checkpoint each. The last step is
            validated, too.
        save_minutes: between two checkpoints, besides those at validation: what a
            kill can cost.
        patience: validations without improvement before training stops.
        rollout_steps: length of the validation rollout, model steps.
        accelerator: where: "auto" takes CUDA where it is.
        n_devices: to share each batch among, with the result of one: GPUs of this
            machine, or processes on the CPU.
        n_threads: CPU threads of each process; None: those of `cgml --threads`.
        n_workers: processes beside, that prepare batches; of use where the networks
            are on a GPU, and faster than what prepares their batches.
        seed: seed of the weights and of the batches.
        frozen: networks whose weights stay those of the model that the run goes on
            from (`cgml train --from`).
        readouts_only: whether of the other networks, too, only the last layers learn:
            shift and spread of the prediction, and the correction of the score network.
    """

    n_steps: Count = 20_000
    learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 1e-4
    n_molecules: Count = 16
    n_windows: Count = 4
    clip: Positive = 1.0
    average_decay: Annotated[Real, Field(ge=0.0, lt=1.0)] = 0.999
    validate_every: Count = 1000
    save_minutes: Positive = 5.0
    patience: Count = 20
    rollout_steps: Count = 100
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    n_devices: Annotated[Count, Field(le=1024)] = 1
    n_threads: Annotated[Count, Field(le=1024)] | None = None
    n_workers: Annotated[Integer, Field(ge=0, le=1024)] = 0
    seed: Annotated[Integer, Field(ge=0)] = 0
    frozen: list[
        Literal[
            "embedding",
            "predictor",
            "conditioner",
            "denoiser",
            "arrivals",
            "radius_head",
        ]
    ] = Field(default=[])
    readouts_only: bool = False


class StationarityConfig(Section):
    """Whether a step leaves the equilibrium distribution as it is, beside all else.

    Attributes:
        weight: of the mean square relative error, to first order, of the stationary
            means of slow functions (sizes of molecules, their slowest modes, pairs of
            beads) in the loss; 0: not looked at. It costs two steps of the model, and
            their gradient, in every step of the optimiser.
    """

    weight: NonNegative = 0.0


class AugmentationConfig(Section):
    """Symmetries of the data and noise on the history.

    Rotations and reflections need no augmentation: the networks are equivariant.

    Attributes:
        reverse_time: use every window backwards too (equilibrium data of a
            reversible dynamics obey detailed balance).
        exchange: groups of particle types that may be exchanged for each other
            throughout a molecule (for example charge conjugation of cations and
            anions of equal size).
        history_dropout: probability that a window hides its earlier displacements.
        history_noise: standard deviation of the noise on earlier displacements, in
            units of the displacement scale.
    """

    reverse_time: bool = True
    exchange: list[tuple[str, str]] = Field(default=[])
    history_dropout: Annotated[Real, Field(ge=0.0, le=1.0)] = 0.3
    history_noise: NonNegative = 0.05


def _plain(name: str) -> str:
    return component(name, "a model")


def _given(output: object) -> object:
    if output == "":
        raise ValueError("the folder of the run must not be empty")
    return output


Name = Annotated[str, AfterValidator(_plain)]
Output = Annotated[Path, BeforeValidator(_given)]


class TrainingConfig(Section):
    """One training run, as it stands in a TOML file.

    How atoms become beads (atoms_per_bead, partition, single_bead_limit,
    keep_hydrogens, keep_groups) stands with the frames; what is written here too must
    agree.

    Attributes:
        name: of the model, a plain one.
        output: folder of the run; relative to that of the file.
        time_step: of one model step, ps; a multiple of the spacing of the frames.
        n_history: displacements of earlier steps that the model sees.
        atoms_per_bead: mean number of atoms in a bead; none: as the frames say.
        partition: how METIS divides, "given" for beads by hand; none: likewise.
        single_bead_limit: molecules of at most so many atoms are one bead; none:
            likewise.
        keep_hydrogens: whether hydrogens stay with their heavy atom; none: likewise.
        keep_groups: whether small groups and rings stay whole; none: likewise.
        cutoff: neighbour cutoff, nm, as boxes need it; none: all pairs of beads of a
            molecule, and molecules do not see each other.
        reach: nm, beyond the cutoff: the score network sees pairs of beads up to here,
            where they come within the cutoff in a step; half as far again is enough.
            None: pairs that were beyond the cutoff before a step end it wherever
            chance puts them, on top of each other now and then.
        temperature: of the training data, K.
        friction: of the thermostat, 1/ps, from which the diffusion of whole molecules
            follows; none: the networks move the centres of mass, as in boxes.
        remove_drift: whether the centre of mass of the whole system is held at rest.
        ensemble: members of the model: networks trained one after the other from seeds
            one apart, in one file; what they disagree on they do not know.
    """

    name: Name
    output: Output
    time_step: Time
    n_history: Annotated[Integer, Field(ge=0)] = 1
    atoms_per_bead: Positive | None = None
    partition: Literal["recursive", "kway", "runs", "given"] | None = None
    single_bead_limit: Annotated[Integer, Field(ge=0)] | None = None
    keep_hydrogens: bool | None = None
    keep_groups: bool | None = None
    cutoff: Length | None = None
    reach: Length | None = None
    temperature: Temperature
    friction: Rate | None = None
    remove_drift: bool = False
    ensemble: Annotated[Integer, Field(ge=1, le=64)] = 1
    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    refinement: Refinement = Refinement()
    augmentation: AugmentationConfig = AugmentationConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    stationarity: StationarityConfig = StationarityConfig()

    @model_validator(mode="after")
    def _correct(self) -> Self:
        if self.data.corrections and self.optimiser.n_molecules < 2:
            raise ValueError(
                "with data.corrections a batch has systems of both kinds: "
                f"optimiser.n_molecules of 2 or more is required, got "
                f"{self.optimiser.n_molecules}"
            )
        if self.data.corrections and self.stationarity.weight > 0.0:
            raise ValueError(
                "stationarity.weight looks at equilibrium, which data.corrections are "
                "not: use one after the other (cgml train --from)"
            )
        return self

    @model_validator(mode="after")
    def _reach_farther(self) -> Self:
        if self.cutoff is not None:  # that of the model, where a run goes on from one
            check_reach(self.reach, self.cutoff)
        return self

    @property
    def recipe(self) -> dict[str, Any]:
        """What the file says of the beads: attribute of a Recipe -> value."""
        items = {
            "atoms_per_bead": self.atoms_per_bead,
            "method": self.partition,
            "single_bead_limit": self.single_bead_limit,
            "keep_hydrogens": self.keep_hydrogens,
            "keep_groups": self.keep_groups,
        }
        return {name: value for name, value in items.items() if value is not None}

    @classmethod
    def from_toml(cls, path: Path) -> "TrainingConfig":
        """Read and check a TOML file; relative paths start at the file's folder.

        Raises:
            ValueError: The file is no TOML, lacks a key, or has one too many.
        """
        try:
            raw = tomllib.loads(read_text(path))
            config = cls.model_validate(raw)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not valid TOML: {error}") from error
        except ValidationError as error:
            lines = [
                "  " + ": ".join(filter(None, (_place(item), _fault(item))))
                for item in error.errors()
            ]
            text = "\n".join(lines)
            raise ValueError(f"{path} cannot be used:\n{text[:3000]}") from error
        folder = path.resolve().parent
        own = config.data
        data = own.model_copy(
            update={
                name: [_pattern(folder, item) for item in getattr(own, name)]
                for name in FILES
            }
        )
        output = folder / os.path.expanduser(config.output)
        return config.model_copy(update={"output": output, "data": data})


def _place(item: Any) -> str:
    """Key of an entry; "" where several do not agree."""
    return ".".join(str(part) for part in item["loc"])


def _fault(item: Any) -> str:
    """Say what is wrong with an entry; name the known keys beside an unknown one."""
    if item["type"] != "extra_forbidden":
        is_said = item["type"] in {"missing", "value_error"}
        said = str(item["msg"])
        if not item["loc"]:  # of keys that do not agree
            said = said.removeprefix("Value error, ")
        return said if is_said else f"{said}, got {item['input']!r}"
    section: Any = TrainingConfig
    *tables, key = item["loc"]
    for name in tables:
        section = section.model_fields[name].annotation
    known = list(section.model_fields)
    near = get_close_matches(str(key), known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown key; {hint}known are {', '.join(known)}"


def _pattern(folder: Path, item: str) -> str:
    """Return the glob pattern of files named in a folder whose name is no pattern."""
    item = os.path.expanduser(item)
    if (folder / item).exists():
        return escape(str(folder / item))
    return os.path.join(escape(str(folder)), item)
