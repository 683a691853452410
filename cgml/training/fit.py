"""A training run: data, checkpoints, logs, and the model file at its end."""

import logging
from collections.abc import Callable, Sequence
from glob import glob
from pathlib import Path

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from cgml.files import make_folder
from cgml.formats.trajectory import BeadTrajectory
from cgml.models.file import save_model
from cgml.molecules.recipe import Recipe
from cgml.molecules.seen import survey
from cgml.spec import ModelSpec
from cgml.training.agreement import shared_recipe
from cgml.training.card import write_card
from cgml.training.checkpoint import WEIGHTS, WholeFileCheckpoints, read_checkpoint
from cgml.training.config import TrainingConfig
from cgml.training.learner import Learner
from cgml.training.preparation import read_prepared
from cgml.training.scales import fit_prior, measure
from cgml.training.split import CLAIM, Splits, check_disjoint, split_in_time
from cgml.training.windows import Batch, WindowDataset

N_VALIDATION_BATCHES = 20


class WindowModule(lightning.LightningDataModule):
    """Batches of a run; a resumed run goes on with the next batch of the stream.

    Args:
        train: training molecules.
        validation: other molecules.
        spec: of the model.
        config: of the run.
    """

    def __init__(
        self,
        train: Sequence[BeadTrajectory],
        validation: Sequence[BeadTrajectory],
        spec: ModelSpec,
        config: TrainingConfig,
    ) -> None:
        super().__init__()
        sizes = config.optimiser
        self._train = WindowDataset(
            train,
            spec,
            config.augmentation,
            n_molecules=sizes.n_molecules,
            n_windows=sizes.n_windows,
            n_batches=min(sizes.validate_every, sizes.n_steps),
            seed=sizes.seed,
        )
        self._validation = WindowDataset(
            validation,
            spec,
            None,
            n_molecules=sizes.n_molecules,
            n_windows=sizes.n_windows,
            n_batches=N_VALIDATION_BATCHES,
            seed=sizes.seed,
        )
        n_systems = min(self._train.n_systems, self._validation.n_systems)
        if n_systems < sizes.n_devices:
            raise ValueError(
                "each device needs a window of every batch: n_molecules x n_windows, "
                f"with the molecules that there are, is {n_systems}, for n_devices = "
                f"{sizes.n_devices}"
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the present step on; called anew after each validation."""
        if self.trainer is not None:
            self._train.first = self.trainer.global_step
        return self._loader(self._train)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The same batches every time."""
        return self._loader(self._validation)

    def _loader(self, dataset: WindowDataset) -> DataLoader[Batch]:
        if self.trainer is not None:
            dataset.rank = self.trainer.global_rank
            dataset.n_ranks = self.trainer.world_size
        return DataLoader(dataset, batch_size=None, shuffle=False)


def load_frames(
    patterns: Sequence[str], recipe: Recipe | None = None
) -> list[BeadTrajectory]:
    """Read bead frames from files or glob patterns.

    Args:
        patterns: `.h5md` files, or `.npz` files of the reference layout.
        recipe: how atoms in arrays become beads; None: see `read_reference`.

    Raises:
        FileNotFoundError: A pattern matches nothing.
    """
    paths: list[Path] = []
    for pattern in patterns:
        found = sorted(Path(name) for name in glob(pattern))
        if not found:
            raise FileNotFoundError(f"no bead frames match {pattern!r}")
        paths.extend(found)
    return read_prepared(paths, recipe)


def load_splits(config: TrainingConfig) -> Splits:
    """Read what a run trains on and what it is validated with.

    Raises:
        FileNotFoundError: A pattern matches nothing.
        ValueError: The two share a molecule (split = "molecule") or a file, a run is
            too short to be split in time, or beads are others than each other's or
            than the config says.
    """
    data = config.data
    recipe = Recipe(**config.recipe) if "atoms_per_bead" in config.recipe else None
    train, validation = (
        load_frames(patterns, recipe) for patterns in (data.train, data.validation)
    )
    shared_recipe([*train, *validation], config.recipe)
    if data.split == "molecule":
        check_disjoint(train, validation)
        return Splits(train, validation)
    if not validation:
        return split_in_time(train, data.gap, data.validation_fraction)
    return Splits(train, validation, f"runs of their own for validation; {CLAIM}")


def make_spec(
    config: TrainingConfig, train: Sequence[BeadTrajectory], note: str = ""
) -> ModelSpec:
    """Vocabulary, scales and prior from the training molecules.

    Args:
        config: of the run.
        train: training molecules.
        note: how they were split off, where validation has the same.

    Raises:
        ValueError: A particle type has two masses, the boundaries differ, or the
            frames were not cut by one recipe, that of the config.
    """
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
        periodic=boundaries.pop(),
        temperature=config.temperature,
        friction=config.friction,
        remove_drift=config.remove_drift,
        network=config.network,
        prior=fit_prior(train, config.time_step),
        refinement=config.refinement,
        statistics=measure(train, config.time_step, config.cutoff),
        has_property=has_property,
        provenance={
            "training data": ", ".join(Path(item).name for item in config.data.train),
            "systems": str(len(train)),
            "molecules": str(sum(item.mapping.graph.n_molecules for item in train)),
            "frames": str(sum(len(item.positions) for item in train)),
            "steps": str(config.optimiser.n_steps),
            "seed": str(config.optimiser.seed),
            "torch": torch.__version__,
            **({"split": note} if note else {}),
        },
        seen=survey((item.mapping, item.box) for item in train),
    )


def fit(
    config: TrainingConfig,
    *,
    resume: bool = True,
    on_note: Callable[[str], None] | None = None,
) -> Path:
    """Train a model and write its file.

    The run folder holds checkpoints/, logs of TensorBoard and CSV, and at the end
    model.pt. The same call after a kill goes on from the last checkpoint.

    For several devices the program is started again, as it was started, once for each
    further one; such a process helps, writes nothing, and ends here.

    Args:
        config: of the run.
        resume: go on from a checkpoint in the run folder if there is one.
        on_note: told how the frames were split, where that claims less than transfer.

    Returns:
        Path of the model file.

    Raises:
        ValueError: The splits share what they must not, or the data do not fit the
            config.
    """
    if config.optimiser.n_threads is not None:
        torch.set_num_threads(config.optimiser.n_threads)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    make_folder(config.output)
    train, validation, note = load_splits(config)
    if note and on_note is not None:
        on_note(f"split {note}")
    spec = make_spec(config, train, note)
    lightning.seed_everything(config.optimiser.seed, verbose=False)
    learner = Learner(spec, config, validation)
    folder = config.output / "checkpoints"
    best, newest = (
        ModelCheckpoint(
            dirpath=folder,
            filename=name,
            monitor=monitor,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        for name, monitor in (("best", "validation/total"), ("last", None))
    )
    trainer = _trainer(config, spec, [best, newest])
    last = folder / "last.ckpt"
    trainer.fit(
        learner,
        datamodule=WindowModule(train, validation, spec, config),
        ckpt_path=str(last) if resume and last.is_file() else None,
        weights_only=True,
    )
    if not trainer.is_global_zero:
        raise SystemExit(0)
    return _write_model(config, spec, Path(best.best_model_path))


def export_checkpoint(config: TrainingConfig, checkpoint: Path | None = None) -> Path:
    """Write the model file of a run, also of one that still goes on.

    Args:
        config: of the run.
        checkpoint: written during the run; None: the best so far.

    Returns:
        Path of the model file, model.pt in the run folder.

    Raises:
        FileNotFoundError: There is no such checkpoint.
    """
    source = checkpoint or config.output / "checkpoints" / "best.ckpt"
    if not source.is_file():
        raise FileNotFoundError(f"no checkpoint at {source}: train first")
    splits = load_splits(config)
    spec = make_spec(config, splits.train, splits.note)
    return _write_model(config, spec, source)


def _write_model(config: TrainingConfig, spec: ModelSpec, checkpoint: Path) -> Path:
    weights = read_checkpoint(checkpoint)[WEIGHTS]
    learner = Learner(spec, config, [])
    learner.load_state_dict(weights)
    path = config.output / "model.pt"
    save_model(path, spec, learner.model)
    write_card(path.with_suffix(".md"), spec)
    return path


def _trainer(
    config: TrainingConfig, spec: ModelSpec, checkpoints: Sequence[ModelCheckpoint]
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
            *checkpoints,
            EMAWeightAveraging(decay=sizes.average_decay),
            EarlyStopping(
                "validation/total",
                patience=sizes.patience,
                check_on_train_epoch_end=False,  # else a resumed run has no value yet
            ),
            LearningRateMonitor("step"),
            RichProgressBar(),
        ],
        gradient_clip_val=sizes.clip,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )
