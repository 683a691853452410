"""What a new model is: vocabulary, scales and prior of its training molecules."""

from collections.abc import Sequence

import torch

from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.seen import survey
from cgml.molecules.turning import joined
from cgml.network.model import REACH, LearnedModel
from cgml.spec import ModelSpec
from cgml.training.agreement import shared_recipe
from cgml.training.config import TrainingConfig
from cgml.training.radial import place_functions
from cgml.training.scales import fit_prior, measure
from cgml.training.tuning import spec_from

N_NAMES = 8  # of systems, in a card


def make_spec(
    config: TrainingConfig,
    train: Sequence[BeadTrajectory],
    note: str = "",
    origin: LearnedModel | None = None,
) -> ModelSpec:
    """Vocabulary, scales and prior from the training molecules, or from a model.

    Args:
        config: of the run.
        train: training molecules.
        note: how they were split off, where validation has the same.
        origin: model to go on from; None: a new one.

    Raises:
        ValueError: A particle type has two masses, the boundaries differ, the frames
            were not cut by one recipe, that of the config, or the model to go on from
            is another one than config and frames ask for.
    """
    made = _provenance(config, train, note)
    if origin is not None:
        spec = spec_from(origin, config, train)
        return spec.model_copy(update={"provenance": made | spec.provenance})
    types: dict[str, float] = {}
    bond_types: set[str] = set()
    for item in train:
        graph = item.mapping.graph
        for name, mass in zip(graph.types, graph.masses.tolist(), strict=True):
            if types.setdefault(name, mass) != mass:
                raise ValueError(
                    f"particle type {name!r} must have one mass, got {types[name]:g} "
                    f"and {mass:g} Da (in {item.name!r})"
                )
        bond_types.update(graph.bond_types)
    boundaries = {item.box is not None for item in train}
    if len(boundaries) != 1:
        raise ValueError(
            "training frames must all have a periodic box or all have none, got both"
        )
    has_property = all(
        "rg2" in item.observables and item.mapping.molecule_index.max() == 0
        for item in train
    )
    recipe = shared_recipe(train, config.recipe)
    statistics = measure(train, config.time_step, config.cutoff)
    centres: tuple[float, ...] = ()
    if config.network.radial == "data":
        reach = REACH * (config.cutoff or 0.0)
        scale = statistics.length_scale
        centres = place_functions(train, config.network.n_radial, scale, reach)
    return ModelSpec(
        name=config.name,
        time_step=config.time_step,
        n_history=config.n_history,
        particle_types=dict(sorted(types.items())),
        bond_types=sorted(bond_types),
        atoms_per_bead=recipe.atoms_per_bead,
        partition=recipe.method,
        single_bead_limit=recipe.single_bead_limit,
        keep_hydrogens=recipe.keep_hydrogens,
        keep_groups=recipe.keep_groups,
        cutoff=config.cutoff,
        reach=config.reach,
        periodic=boundaries.pop(),
        temperature=config.temperature,
        friction=config.friction,
        remove_drift=config.remove_drift,
        network=config.network,
        prior=fit_prior(train, config.time_step),
        refinement=config.refinement,
        statistics=statistics,
        radial_centres=centres,
        has_property=has_property,
        provenance=made,
        seen=survey(
            ((item.mapping, item.box) for item in train),
            is_chiral=config.network.chiral,
        ),
        rotation=joined(item.rotation for item in train),
    )


def _listed(names: Sequence[str]) -> str:
    """Join names, the first few of many."""
    rest = len(names) - N_NAMES
    return ", ".join(names[:N_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _provenance(
    config: TrainingConfig, train: Sequence[BeadTrajectory], note: str
) -> dict[str, str]:
    """Where weights come from, for the card."""
    return {
        "training data": _listed([item.name for item in train]),
        "systems": str(len(train)),
        "molecules": str(sum(item.mapping.graph.n_molecules for item in train)),
        "frames": str(sum(len(item.positions) for item in train)),
        "steps": str(config.optimiser.n_steps),
        "seed": str(config.optimiser.seed),
        "torch": torch.__version__,
        **({"split": note} if note else {}),
    }
