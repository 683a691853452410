"""Training: predictor, score network and property head together, with Lightning."""

import logging
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from cgml.config import ModelSpec, TrainingConfig
from cgml.dataset import Batch, WindowDataset, check_disjoint, fit_prior, measure
from cgml.export import save_model
from cgml.files import replacing
from cgml.model import LearnedModel, Model
from cgml.noise import generator
from cgml.observables import bond_lengths, squared_radius_of_gyration
from cgml.predictor import gaussian_loss, project, whiten
from cgml.preparation import Coarsening, read_systems
from cgml.propagator import Propagator
from cgml.refiner import denoising_loss
from cgml.trajectory import BeadTrajectory

LOG_SIGMA_MEAN, LOG_SIGMA_DEVIATION = -0.9, 1.2  # noise levels seen in training
PROPERTY_WEIGHT = 10.0
TRAINING, VALIDATION = 0, 1  # streams of noise
N_VALIDATION_BATCHES = 20


class Learner(lightning.LightningModule):
    """Losses and optimiser of one model.

    Args:
        spec: of the model.
        config: of the run.
        validation: molecules of the validation rollout.
    """

    def __init__(
        self,
        spec: ModelSpec,
        config: TrainingConfig,
        validation: Sequence[BeadTrajectory],
    ) -> None:
        super().__init__()
        self.validation = validation
        self.spec = spec
        self.config = config
        self.model = Model(spec)

    def losses(self, batch: Batch, stream: torch.Generator) -> dict[str, torch.Tensor]:
        """Loss terms of one batch, each ().

        Args:
            batch: windows.
            stream: source of noise levels and noise.
        """
        model, refinement = self.model, self.spec.refinement
        area = self.spec.statistics.displacement_scale**2 / 3.0  # nm^2 per coordinate
        embedding = model.embedding(batch.atoms).index_select(0, batch.embedding_rows)
        prediction = model.predictor(batch.beads, batch.edges, embedding, batch.history)
        error = batch.target - prediction.mean
        terms = {
            "likelihood": gaussian_loss(prediction, batch.target, batch.beads),
            "drift": 0.5 * error.square().mean() / area,
        }
        fixed = prediction._replace(
            mean=prediction.mean.detach(), spread=prediction.spread.detach()
        )
        target = whiten(batch.target, fixed.mean, fixed.spread, batch.beads)
        condition = model.conditioner(batch.edges, batch.history.positions, fixed)
        logs = LOG_SIGMA_MEAN + LOG_SIGMA_DEVIATION * torch.randn(
            batch.beads.molecule_masses.shape, generator=stream
        )
        levels = logs.exp().clamp(refinement.sigma_min, refinement.sigma_max)
        sigma = levels.to(target.device).index_select(0, batch.beads.molecules)
        noise = torch.randn(target.shape, generator=stream).to(target.device)
        noise = project(noise, fixed.spread, batch.beads)
        denoised = model.denoiser(
            batch.beads, batch.edges, condition, target + sigma * noise, sigma
        )
        white, space = denoising_loss(
            denoised, target, fixed.spread, sigma, batch.beads
        )
        terms["score"] = 0.5 * white
        terms["spatial score"] = 0.5 * space / area
        if self.spec.has_property:
            radius = model.radius_head(
                batch.beads, batch.history.positions, prediction.nodes
            )
            offset = (radius - batch.radius) / self.spec.statistics.length_scale
            terms["property"] = PROPERTY_WEIGHT * offset.square().mean()
        terms["total"] = torch.stack(list(terms.values())).sum()
        return terms

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of one batch; noise is a function of (seed, step)."""
        del batch_idx
        seed = self.config.optimiser.seed
        terms = self.losses(batch, generator(seed, TRAINING, self.global_step))
        self.log_dict({f"train/{name}": value for name, value in terms.items()})
        return terms["total"]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss of one validation batch, the same noise every time; one rollout."""
        seed = self.config.optimiser.seed
        terms = self.losses(batch, generator(seed, VALIDATION, batch_idx))
        if batch_idx == 0:
            terms.update(self.rollout())
        self.log_dict(
            {f"validation/{name}": value for name, value in terms.items()},
            batch_size=1,
        )

    def rollout(self) -> dict[str, torch.Tensor]:
        """Run the validation molecules and compare with their reference.

        One-step likelihood does not see drift; this does.

        Returns:
            "rollout_rg2": mean absolute relative error of <Rg^2> of the beads;
            "rollout_bond": relative error of the median bond length at the end.
        """
        mappings = [item.mapping for item in self.validation]
        propagator = Propagator(
            LearnedModel(self.spec, self.model),
            mappings,
            seed=self.config.optimiser.seed,
            guard="record",
            device=str(self.device),
        )
        state = propagator.start(
            np.concatenate([item.positions[0] for item in self.validation])
        )
        frames = []
        for _ in range(self.config.optimiser.rollout_steps):
            state = propagator.step(state)
            frames.append(state.positions.cpu().numpy())
        learned = np.stack(frames)
        errors, bonds = [], []
        for item, part in zip(self.validation, propagator.slices, strict=True):
            masses = item.mapping.bead_masses
            mean = squared_radius_of_gyration(learned[:, part], masses).mean()
            truth = squared_radius_of_gyration(item.positions, masses).mean()
            errors.append(abs(mean / truth - 1.0))
            pairs = item.mapping.bead_bonds
            median = np.median(bond_lengths(learned[-10:, part], pairs))
            bonds.append(median / np.median(bond_lengths(item.positions, pairs)) - 1.0)
        return {
            "rollout_rg2": torch.tensor(np.mean(errors), dtype=torch.float32),
            "rollout_bond": torch.tensor(np.mean(bonds), dtype=torch.float32),
        }

    def configure_optimizers(self) -> Any:
        """Adam with warm-up and cosine decay to a hundredth."""
        sizes = self.config.optimiser
        optimiser = torch.optim.AdamW(
            self.parameters(), lr=sizes.learning_rate, weight_decay=1e-4
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=sizes.learning_rate,
            total_steps=sizes.n_steps + 1,
            pct_start=0.05,
            cycle_momentum=False,
            div_factor=20.0,
            final_div_factor=50.0,
        )
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


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
            n_batches=sizes.validate_every,
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

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the present step on; called anew after each validation."""
        if self.trainer is not None:
            self._train.first = self.trainer.global_step
        return DataLoader(self._train, batch_size=None, shuffle=False)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The same batches every time."""
        return DataLoader(self._validation, batch_size=None, shuffle=False)


class WholeFileCheckpoints(TorchCheckpointIO):
    """Checkpoints are written beside and renamed, and read without running code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write whole or not at all."""
        del storage_options
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


def load_frames(patterns: Sequence[str]) -> list[BeadTrajectory]:
    """Read bead frames from files or glob patterns.

    Args:
        patterns: `.h5md` files, or `.npz` files of the reference layout.

    Raises:
        FileNotFoundError: A pattern matches nothing.
    """
    paths: list[Path] = []
    for pattern in patterns:
        found = sorted(Path(name) for name in glob(pattern))
        if not found:
            raise FileNotFoundError(f"no bead frames match {pattern!r}")
        paths.extend(found)
    return list(read_systems(paths, None, Coarsening()))


def make_spec(config: TrainingConfig, train: Sequence[BeadTrajectory]) -> ModelSpec:
    """Vocabulary, scales and prior from the training molecules.

    Args:
        config: of the run.
        train: training molecules.

    Raises:
        ValueError: A particle type has two masses, or the boundaries differ.
    """
    types: dict[str, float] = {}
    bond_types: set[str] = set()
    n_atoms = n_beads = 0
    for item in train:
        graph = item.mapping.graph
        for name, mass in zip(graph.types, graph.masses.tolist(), strict=True):
            if types.setdefault(name, mass) != mass:
                raise ValueError(
                    f"particle type {name!r} must have one mass, got {types[name]:g} "
                    f"and {mass:g} Da (in {item.name!r})"
                )
        bond_types.update(graph.bond_types)
        n_atoms += graph.n_atoms
        n_beads += item.mapping.n_beads
    if any(item.box is not None for item in train):
        raise ValueError(
            "training frames must have open boundaries in this version, got a box"
        )
    has_property = all(
        "rg2" in item.observables and item.mapping.molecule_index.max() == 0
        for item in train
    )
    return ModelSpec(
        name=config.name,
        time_step=config.time_step,
        n_history=config.n_history,
        particle_types=dict(sorted(types.items())),
        bond_types=sorted(bond_types),
        atoms_per_bead=n_atoms / n_beads,
        partition=config.partition,
        cutoff=config.cutoff,
        periodic=False,
        temperature=config.temperature,
        friction=config.friction,
        network=config.network,
        prior=fit_prior(train, config.time_step),
        refinement=config.refinement,
        statistics=measure(train, config.time_step, config.cutoff),
        has_property=has_property,
        provenance={
            "training data": ", ".join(Path(item).name for item in config.data.train),
            "molecules": str(len(train)),
            "frames": str(sum(len(item.positions) for item in train)),
            "steps": str(config.optimiser.n_steps),
            "seed": str(config.optimiser.seed),
            "torch": torch.__version__,
        },
    )


def fit(config: TrainingConfig, *, resume: bool = True) -> Path:
    """Train a model and write its file.

    The run folder holds checkpoints/, logs of TensorBoard and CSV, and at the end
    model.pt. The same call after a kill goes on from the last checkpoint.

    Args:
        config: of the run.
        resume: go on from a checkpoint in the run folder if there is one.

    Returns:
        Path of the model file.

    Raises:
        ValueError: The splits share a molecule, or the data do not fit the config.
    """
    torch.set_num_threads(config.optimiser.n_threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    train, validation = (
        load_frames(config.data.train),
        load_frames(config.data.validation),
    )
    check_disjoint(train, validation)
    spec = make_spec(config, train)
    lightning.seed_everything(config.optimiser.seed, verbose=False)
    learner = Learner(spec, config, validation)
    folder = config.output / "checkpoints"
    checkpoints = ModelCheckpoint(
        dirpath=folder,
        filename="best",
        monitor="validation/total",
        save_last=True,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    trainer = _trainer(config, checkpoints)
    last = folder / "last.ckpt"
    trainer.fit(
        learner,
        datamodule=WindowModule(train, validation, spec, config),
        ckpt_path=str(last) if resume and last.is_file() else None,
        weights_only=True,
    )
    return _write_model(config, spec, Path(checkpoints.best_model_path))


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
    spec = make_spec(config, load_frames(config.data.train))
    return _write_model(config, spec, source)


def _write_model(config: TrainingConfig, spec: ModelSpec, checkpoint: Path) -> Path:
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    learner = Learner(spec, config, [])
    learner.load_state_dict(content["state_dict"])  # the averaged weights
    path = config.output / "model.pt"
    save_model(path, spec, learner.model)
    return path


def _trainer(config: TrainingConfig, checkpoints: ModelCheckpoint) -> lightning.Trainer:
    sizes = config.optimiser
    return lightning.Trainer(
        max_steps=sizes.n_steps,
        accelerator="auto",
        devices=1,
        plugins=[WholeFileCheckpoints()],
        logger=[
            CSVLogger(config.output, name="logs"),  # a new version on resuming
            TensorBoardLogger(config.output, name="logs"),
        ],
        callbacks=[
            checkpoints,
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
