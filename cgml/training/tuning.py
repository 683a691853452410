"""A model that goes on learning from other data: fine-tuning.

The networks keep their sizes, scales and vocabulary, or the weights would mean nothing;
name, temperature and what the model has seen are those of the new data, too.
"""

from collections.abc import Sequence
from dataclasses import asdict

from torch import nn

from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.recipe import Recipe
from cgml.molecules.seen import survey
from cgml.molecules.turning import joined
from cgml.network.model import LearnedModel, Model
from cgml.spec import ModelSpec, check_reach
from cgml.texts import short
from cgml.training.agreement import shared_recipe
from cgml.training.config import OptimiserConfig, TrainingConfig

FIXED = "time_step", "n_history", "cutoff", "friction", "remove_drift"
SECTIONS = "network", "refinement"
READOUTS = "predictor.shift.", "predictor.spread.", "denoiser.readout.", "arrivals."


def spec_from(
    origin: LearnedModel, config: TrainingConfig, train: Sequence[BeadTrajectory]
) -> ModelSpec:
    """Say what a model is that goes on from another.

    Args:
        origin: where it begins.
        config: of the run; what it leaves out is as in the origin.
        train: training molecules.

    Raises:
        ValueError: the file asks for other networks, steps or beads than the origin
            has, or the frames have types, boundaries or observables unlike its own;
            each is named.
    """
    spec = origin.spec
    if not isinstance(spec, ModelSpec):
        raise ValueError(
            "a model that cgml train wrote is required to "
            f"go on from, {spec.name!r} is of kind {spec.kind!r}"
        )
    differences = _differences(config, spec)
    if differences:
        raise ValueError(
            f"a run from {spec.name!r} keeps its networks and steps, "
            f"{'; '.join(differences)}: leave these out, or train anew without --from"
        )
    reach = spec.reach if config.reach is None else config.reach
    check_reach(reach, spec.cutoff)
    recipe = shared_recipe(train, config.recipe)
    Recipe.from_spec(spec).require(asdict(recipe), f"the beads of {spec.name!r}")
    for item in train:
        _check(item, spec)
    history = (
        f"{spec.name} ({origin.digest[:12]}), {spec.provenance.get('steps')} steps"
    )
    return spec.with_members(1).model_copy(
        update={
            "name": config.name,
            "temperature": config.temperature,
            "reach": reach,
            "seen": survey(
                ((one.mapping, one.box) for one in train),
                spec.seen,
                is_chiral=spec.is_chiral,
            ),
            "rotation": joined((one.rotation for one in train), spec.rotation),
            "provenance": {"goes on from": history},
        }
    )


def check_start(config: TrainingConfig, origin: LearnedModel | None) -> None:
    """Refuse to freeze random weights or all that there are, and a reach alone.

    Raises:
        ValueError: the file does, or has a reach without a cutoff.
    """
    sizes = config.optimiser
    if origin is None:
        check_reach(config.reach, config.cutoff)
    elif isinstance(origin.spec, ModelSpec):
        _check_left(config, origin.spec)
    for name in ("frozen", "readouts_only"):
        if getattr(sizes, name) and origin is None:
            raise ValueError(
                f"optimiser.{name} is about a model that the run goes on from: give "
                "one with --from, or leave it out"
            )


def _check_left(config: TrainingConfig, spec: ModelSpec) -> None:
    """Require that of a model with some networks frozen others learn."""
    frozen = set(config.optimiser.frozen)
    if "arrivals" in frozen and spec.reach is None:
        raise ValueError(
            f"optimiser.frozen names arrivals, and {spec.name!r} has no reach: leave "
            "arrivals out, or it would say nothing for good"
        )
    learns = {"embedding", "predictor", "conditioner", "denoiser"}
    if config.reach is not None or spec.reach is not None:
        learns.add("arrivals")
    if learns <= frozen:
        raise ValueError(
            "optimiser.frozen leaves nothing to learn: take one of "
            f"{', '.join(sorted(learns))} out"
        )


def begin(model: Model, origin: LearnedModel | None, sizes: OptimiserConfig) -> None:
    """Give a model the weights of the origin, if any; what is frozen stays so.

    But for rounding in the last place, where the average of the weights is taken. A run
    may add a reach, whose network says nothing at first.
    """
    if origin is None:
        return
    weights = origin.module.state_dict()
    if model.arrivals is not None and origin.module.arrivals is None:
        for values in model.arrivals.strengths.second.parameters():
            nn.init.zeros_(values)
        own = model.state_dict()
        weights |= {name: own[name] for name in own if name.startswith("arrivals.")}
    model.load_state_dict(weights)
    for name, values in model.named_parameters():
        is_frozen = name.partition(".")[0] in sizes.frozen
        is_last = name.startswith(READOUTS)
        values.requires_grad_(not is_frozen and (is_last or not sizes.readouts_only))


def _differences(config: TrainingConfig, spec: ModelSpec) -> list[str]:
    """What the file says unlike the model; what it leaves out is no difference."""
    asked = {name: (config, spec, name) for name in FIXED}
    for section in SECTIONS:
        if section in config.model_fields_set:
            mine, its = getattr(config, section), getattr(spec, section)
            for name in mine.model_fields_set:
                asked[f"{section}.{name}"] = mine, its, name
    found = []
    for key, (mine, its, name) in asked.items():
        if name not in mine.model_fields_set:
            continue
        wanted, there = getattr(mine, name), getattr(its, name)
        if wanted != there:
            found.append(f"{key} = {short(wanted)} is asked for, it has {short(there)}")
    return found


def _check(item: BeadTrajectory, spec: ModelSpec) -> None:
    """Refuse frames that the networks of a model have no place for."""
    graph = item.mapping.graph
    masses = dict(zip(graph.types, graph.masses.tolist(), strict=True))
    for name, mass in masses.items():
        if spec.particle_types.get(name) != mass:
            known = ", ".join(f"{k} {v:g}" for k, v in spec.particle_types.items())
            raise ValueError(
                f"particle types and masses (Da) of {spec.name!r} are required, "
                f"{known}; {item.name!r} has {name} {mass:g}"
            )
    others = sorted(set(graph.bond_types) - set(spec.bond_types))
    if spec.bond_types and others:
        raise ValueError(
            f"bond types of {spec.name!r} are required, {', '.join(spec.bond_types)}; "
            f"{item.name!r} has {', '.join(others)}"
        )
    spec.check_boundaries(is_periodic=item.box is not None)
    if spec.has_property and "rg2" not in item.observables:
        raise ValueError(
            f"{spec.name!r} predicts radii of gyration, so frames with the observable "
            f"rg2 are required, which cgml prepare writes; {item.name!r} has none"
        )
