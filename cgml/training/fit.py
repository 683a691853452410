"""A training run: from data to checkpoints, logs, and the model file at its end."""

import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from glob import glob
from pathlib import Path

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    LearningRateMonitor,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from cgml.files import make_folder
from cgml.interrupts import noted
from cgml.locks import exclusive
from cgml.models.file import load_model, save_model
from cgml.models.joining import join
from cgml.molecules.fragments import carry
from cgml.network.model import LearnedModel, Model
from cgml.plans import write_plan
from cgml.ranges import positive
from cgml.spec import ModelSpec
from cgml.training.calibration import LEAST_MOLECULES, calibrate, count
from cgml.training.card import write_card
from cgml.training.checkpoint import (
    BEST,
    WEIGHTS,
    WholeFileCheckpoints,
    read_checkpoint,
)
from cgml.training.chirality import warnings_of
from cgml.training.config import FILES, TrainingConfig
from cgml.training.data import WindowModule, find_files, load_splits
from cgml.training.keeper import BEST_SO_FAR, LAST, PREVIOUS, Keeper
from cgml.training.learner import Learner
from cgml.training.making import make_spec
from cgml.training.members import members_of, origins_of, resample
from cgml.training.plan import (
    CHECKPOINTS,
    FILE,
    check_settings,
    describe,
    find_start,
    spec_of,
)
from cgml.training.tuning import begin, check_start
from cgml.training.watcher import Status, Watcher

PAGE, MODEL = "progress.html", "model.pt"


def fit(
    config: TrainingConfig,
    *,
    resume: bool = True,
    on_note: Callable[[str], None] | None = None,
    on_status: Callable[[Status], None] | None = None,
    callbacks: Sequence[Callback] = (),
    time_limit: float | None = None,
    origin: LearnedModel | None = None,
) -> Path:
    """Train a model and write its file.

    The run folder holds train.json, which says what is trained on what, checkpoints/,
    logs of TensorBoard and CSV, progress.html (losses, and the model over the reference
    on validation systems), and at the end model.pt. The same call after a kill
    goes on from the last checkpoint; it may ask for more steps, also of a run that is
    finished, and change what plan.FREE names. Other changes are refused.

    The members of an ensemble are runs like this one, one after the other, in
    members/0 and so on; model.pt has them all.

    For several devices the program is started again, as it was started, once for each
    further one; such a process helps, writes nothing, and ends here.

    Args:
        config: of the run.
        resume: go on from a checkpoint in the run folder if there is one; else those
            there are deleted.
        on_note: told in one line each how the frames were split, where that claims
            less than transfer, where the run goes on, what was changed, and that a
            model will not tell left from right where the data do.
        on_status: told now and then, and after each validation, how the run is going.
        callbacks: of Lightning, further ones.
        time_limit: s; after so long the run saves and leaves, as on SIGALRM. None:
            it goes on to its end.
        origin: model whose weights are the first ones (tuning.py); None: random ones.

    Returns:
        Path of the model file.

    Raises:
        ValueError: The splits share what they must not, the data do not fit the
            config, the folder holds another run, or the time limit is none.
        RuntimeError: Another process works in the folder.
        Interrupted: SIGINT or SIGTERM came, or the time is over; a checkpoint is saved.
    """
    note = on_note or (lambda _: None)
    if time_limit is not None:
        positive(time_limit, "time limit")
    deadline = math.inf if time_limit is None else time.monotonic() + time_limit
    members = [config] if config.ensemble == 1 else members_of(config)
    origins = origins_of(config, origin)

    def train(number: int) -> Path:
        member = members[number]
        steps = member.optimiser.n_steps
        extras = [Watcher(member.output / PAGE, steps, on_status), *callbacks]
        return _fit(member, note, extras, deadline, origins[number], resume=resume)

    is_first = os.environ.get("LOCAL_RANK", "0") == "0"  # it has the folder
    with exclusive(config.output, "train") if is_first else nullcontext():
        if config.ensemble == 1:
            return train(0)
        for number in range(config.ensemble):
            note(f"member {number + 1} of {config.ensemble}")
            make_folder(members[number].output)
            train(number)
        return _join(config, members, note)


def _fit(
    config: TrainingConfig,
    note: Callable[[str], None],
    extras: Sequence[Callback],
    deadline: float,
    origin: LearnedModel | None,
    *,
    resume: bool,
) -> Path:
    if config.optimiser.n_threads is not None:
        torch.set_num_threads(config.optimiser.n_threads)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    files = [find_files(getattr(config.data, name)) for name in FILES]
    check_start(config, origin)
    plan = describe(config, files, origin.digest if origin else None)
    folder = config.output / CHECKPOINTS
    if not resume:
        for name in (LAST, PREVIOUS, BEST_SO_FAR):
            (folder / name).unlink(missing_ok=True)
    start = find_start(config, plan, note)
    if start is not None and start.is_finished(config):
        return _write_model(config, start.spec, start.content[BEST]["weights"])
    torch.set_num_threads(plan["threads"])
    train, validation, split, corrections = load_splits(config)
    said = [f"split {split}"] if split else []
    for text in said + warnings_of(train, is_chiral=config.network.chiral):
        note(text)
    spec = start.spec if start else make_spec(config, train, split, origin)
    made = _made(config, len(corrections))
    spec = spec.model_copy(update={"provenance": spec.provenance | made})
    lightning.seed_everything(config.optimiser.seed, verbose=False)
    systems = resample(train, config)
    data = WindowModule(systems, validation, spec, config, corrections)
    write_plan(config.output / FILE, {"plan": plan})
    with noted() as flag, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # about its own ways
        flag.deadline = deadline
        keeper = Keeper(folder, spec, json.dumps(plan), config.optimiser, flag, note)
        trainer = _trainer(config, spec, [*extras, keeper])
        learner = Learner(spec, config, validation)
        begin(learner.model, origin, config.optimiser)
        trainer.fit(
            learner,
            datamodule=data,
            ckpt_path=str(start.path) if start else None,
            weights_only=True,
        )
    if not trainer.is_global_zero:
        raise SystemExit(0)
    return _write_model(config, spec, keeper.best)


def _made(config: TrainingConfig, n_corrections: int) -> dict[str, str]:
    """What a run adds to the provenance."""
    made = {"steps": str(config.optimiser.n_steps)}
    if n_corrections:
        made["corrections"] = f"{n_corrections} runs of MD from frames of a model"
    return made


def export_checkpoint(config: TrainingConfig, checkpoint: Path | None = None) -> Path:
    """Write the model file of a run, also of one that still goes on.

    What the file says of the weights is what they were trained with.

    Args:
        config: of the run.
        checkpoint: written during the run; None: the best so far.

    Returns:
        Path of the model file, model.pt in the run folder.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: It is damaged, or of another run than the config describes.
    """
    if config.ensemble > 1:
        if checkpoint is not None:
            raise ValueError(
                "the best weights of each member are exported, not one checkpoint: "
                "give none"
            )
        members = members_of(config)
        for member in members:
            export_checkpoint(member)
        return _join(config, members, lambda _: None)
    source = checkpoint or config.output / CHECKPOINTS / BEST_SO_FAR
    if not source.exists():
        raise FileNotFoundError(f"no checkpoint at {source}: train first")
    content = read_checkpoint(source)
    check_settings(config, content, source)
    return _write_model(config, spec_of(content, source), content[WEIGHTS])


def _write_model(
    config: TrainingConfig, spec: ModelSpec, weights: dict[str, torch.Tensor] | None
) -> Path:
    if weights is None:
        raise ValueError(
            f"no model is written: no validation gave a finite loss, see the logs in "
            f"{config.output}"
        )
    model = Model(spec)
    own = {name.removeprefix("model."): values for name, values in weights.items()}
    try:
        model.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(
            "the weights in the checkpoint are not those of the networks it names: "
            "choose another checkpoint"
        ) from error
    return _save(config, LearnedModel(spec, model))


def _join(
    config: TrainingConfig,
    members: Sequence[TrainingConfig],
    note: Callable[[str], None],
) -> Path:
    """Write the model file of an ensemble from those of its members."""
    model = join([load_model(one.output / MODEL) for one in members])
    validation = load_splits(config).validation
    n = count(validation)
    if n >= LEAST_MOLECULES:
        model = calibrate(model, [], validation)
    else:
        note(
            f"the model is not calibrated, {n} validation molecules do not say how far "
            f"scores scatter: {LEAST_MOLECULES} or more are required"
        )
    return _save(config, model)


def _save(config: TrainingConfig, model: LearnedModel) -> Path:
    """Write a model file and what belongs to it."""
    path = config.output / MODEL
    save_model(path, model.spec, model.module)
    places = {Path(found).parent for item in config.data.train for found in glob(item)}
    carry(places, path)  # the data may be gone by now
    write_card(path.with_suffix(".md"), model.spec)
    return path


def _trainer(
    config: TrainingConfig, spec: ModelSpec, callbacks: Sequence[Callback]
) -> lightning.Trainer:
    sizes = config.optimiser
    shared = DDPStrategy(find_unused_parameters=not spec.has_property)
    return lightning.Trainer(
        max_steps=sizes.n_steps,
        accelerator=sizes.accelerator,
        devices=sizes.n_devices,
        strategy=shared if sizes.n_devices > 1 else "auto",
        use_distributed_sampler=False,  # a rank knows its windows
        plugins=[WholeFileCheckpoints()],
        logger=[
            CSVLogger(config.output, name="logs"),  # a new version on resuming
            TensorBoardLogger(config.output, name="logs"),
        ],
        callbacks=[
            EMAWeightAveraging(decay=sizes.average_decay),
            *callbacks,
            LearningRateMonitor("step"),
        ],
        enable_progress_bar=False,
        enable_checkpointing=False,  # the keeper does it
        gradient_clip_val=sizes.clip,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )
