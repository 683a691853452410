"""Turn a published checkpoint into a model file."""

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from cgml import units
from cgml.fields import faults
from cgml.files import component
from cgml.models.file import save_model
from cgml.published.checkpoint import build_model, read_checkpoint
from cgml.published.model import bond_types, particle_types
from cgml.published.spec import HyperParameters, PublishedSpec
from cgml.ranges import at_least, positive


@dataclass(frozen=True)
class Origin:
    """What a checkpoint does not say of itself.

    Attributes:
        frame_spacing: time between the recorded frames of the training data, ps.
        temperature: of the training data, K.
        periodic: whether these were periodic boxes.
        length_unit: unit of length inside the model, nm; None: an Angstrom, which
            models of atomic numbers have.
        name: of the model; None: that of the file.
        single_bead_limit: molecules of at most so many atoms are one bead.

    Raises:
        ValueError: a number is not positive, or the limit below 0.
    """

    frame_spacing: float
    temperature: float
    periodic: bool
    length_unit: float | None = None
    name: str | None = None
    single_bead_limit: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        numbers = {
            "the frame spacing": (self.frame_spacing, "ps"),
            "the temperature": (self.temperature, "K"),
            "the length unit": (self.length_unit, "nm"),
        }
        for name, (value, unit) in numbers.items():
            if value is not None:
                positive(value, name, unit)
        at_least(self.single_bead_limit, 0, "the single-bead limit")
        if self.name is not None:
            component(self.name, "a model")


def import_checkpoint(path: Path, output: Path, origin: Origin) -> PublishedSpec:
    """Read a published checkpoint and write a model file.

    Args:
        path: the `.ckpt` file; no code in it is run.
        output: the model file, usually `.pt`.
        origin: what the checkpoint does not say.

    Returns:
        What the model file says of itself.

    Raises:
        CheckpointError: not such a file, or one with foreign classes in it.
        ValueError: a unit of length or a bead size is needed and missing.
    """
    checkpoint = read_checkpoint(path)
    parameters = checkpoint.parameters
    if parameters.cg_tfsi and origin.single_bead_limit == 0:
        raise ValueError(
            f"{path} was trained with every anion as one bead: pass the number of "
            "atoms of the anion as the single-bead limit (TFSI: 15)"
        )
    named = replace(origin, name=origin.name or path.stem)
    model = build_model(checkpoint, _length_unit(parameters, origin))
    provenance = {"imported from": path.name, "layout": "graphwm"}
    spec = describe(parameters, checkpoint.n_embedding, named, provenance)
    save_model(output, spec, model)
    return spec


def describe(
    parameters: HyperParameters,
    n_embedding: int,
    origin: Origin,
    provenance: dict[str, str],
) -> PublishedSpec:
    """What the file of a published model says of itself.

    Args:
        parameters: of the checkpoint.
        n_embedding: width of the beads' embedding.
        origin: what the checkpoint does not say, with a name.
        provenance: what produced the weights.

    Raises:
        ValueError: a unit of length is needed and missing.
    """
    unit = _length_unit(parameters, origin)
    try:
        return PublishedSpec(
            name=origin.name or "published",
            time_step=parameters.dilation * origin.frame_spacing,
            n_history=parameters.seq_len - 1,
            particle_types=particle_types(parameters),
            bond_types=bond_types(parameters),
            atoms_per_bead=parameters.cg_level,
            partition="recursive",
            single_bead_limit=origin.single_bead_limit,
            cutoff=parameters.radius * unit,
            periodic=origin.periodic,
            temperature=origin.temperature,
            friction=None,
            remove_drift=parameters.remove_com,
            has_property=_has_radius(parameters, origin),
            provenance=provenance,
            parameters=parameters,
            n_embedding=n_embedding,
            length_unit=unit,
        )
    except ValidationError as error:
        raise ValueError(f"no model file can say this: {faults(error)}") from error


def _has_radius(parameters: HyperParameters, origin: Origin) -> bool:
    """Whether the head is one of a single molecule's radius of gyration."""
    head = parameters.property_net_hparams
    return head is not None and head.out_dim == 1 and not origin.periodic


def _length_unit(parameters: HyperParameters, origin: Origin) -> float:
    if origin.length_unit is not None:
        return origin.length_unit
    if not parameters.use_atom_mass:
        raise ValueError(
            "a model without atomic numbers has a unit of length of its own: say what "
            "it is in nm as the length unit (1 for chains in reduced units)"
        )
    return units.ANGSTROM
