"""What one training step minimises, and what validation looks at."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from numpy.typing import NDArray

from cgml.dynamics.guards import GuardError
from cgml.dynamics.noise import generator
from cgml.dynamics.propagator import Propagator
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.molecules.frames import BeadTrajectory, boxes_of
from cgml.network.denoiser import denoising_loss
from cgml.network.gaussian import gaussian_loss, project, whiten
from cgml.network.model import LearnedModel, Model
from cgml.observables.chains import bond_lengths
from cgml.spec import ModelSpec
from cgml.training.config import TrainingConfig
from cgml.training.scales import stride_of
from cgml.training.stationarity import stationarity_loss
from cgml.training.windows import Batch

LOG_SIGMA_MEAN, LOG_SIGMA_DEVIATION = -0.9, 1.2  # noise levels seen in training
PROPERTY_WEIGHT = 10.0
TRAINING, VALIDATION = 0, 1  # streams of noise


class Learner(lightning.LightningModule):
    """Losses and optimiser of one model.

    Args:
        spec: of the model.
        config: of the run.
        validation: molecules of the validation rollout.

    Attributes:
        rollouts: the last one: molecules, and frames (n_frames, n_beads, 3) nm.
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
        self.rollouts: list[tuple[BeadTrajectory, NDArray[np.float64]]] = []

    def losses(self, batch: Batch, stream: torch.Generator) -> dict[str, torch.Tensor]:
        """Loss terms of one batch, each ().

        A device that has a share of the batch draws the noise of the whole and takes
        its own; its terms are such that their mean over the devices is that of the
        whole batch, and so are the gradients.

        Args:
            batch: windows.
            stream: source of noise levels and noise.
        """
        share = batch.share
        portion = share.n_ranks * len(batch.target) / share.n_beads
        model = self.model
        area = self.spec.statistics.displacement_scale**2 / 3.0  # nm^2 per coordinate
        embedding = model.embedding(batch.atoms).index_select(0, batch.embedding_rows)
        prediction = model.predictor(
            batch.beads, batch.layout, embedding, batch.history
        )
        error = batch.target - prediction.mean
        terms = {
            "likelihood": portion
            * gaussian_loss(prediction, batch.target, batch.beads),
            "drift": portion * 0.5 * error.square().mean() / area,
        }
        fixed = prediction._replace(
            mean=prediction.mean.detach(), spread=prediction.spread.detach()
        )
        target = whiten(batch.target, fixed.mean, fixed.spread, batch.beads)
        condition = model.conditioner(batch.layout, batch.history.positions, fixed)
        sigma, noise = self._noise(batch, stream)
        noise = project(noise, fixed.spread, batch.beads)
        denoised = model.denoise(
            (batch.beads, batch.layout, batch.far),
            embedding,
            condition,
            target + sigma * noise,
            sigma,
        )
        white, space = denoising_loss(
            denoised, target, fixed.spread, sigma, batch.beads
        )
        terms["score"] = portion * 0.5 * white
        terms["spatial score"] = portion * 0.5 * space / area
        if self.spec.has_property:
            radius = model.radius_head(
                batch.beads, batch.history.positions, prediction.nodes
            )
            offset = (radius - batch.radius) / self.spec.statistics.length_scale
            own = share.n_ranks * len(radius) / share.n_radii
            terms["property"] = own * PROPERTY_WEIGHT * offset.square().mean()
        if batch.slow.size(1) > 0:
            n_windows = self.config.optimiser.n_windows
            terms["stationarity"] = self.config.stationarity.weight * stationarity_loss(
                model, batch, prediction, self.spec, n_windows, stream
            )
        terms["total"] = torch.stack(list(terms.values())).sum()
        return terms

    def _noise(
        self, batch: Batch, stream: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise levels (n_beads, 1), one per window, and white noise (n_beads, 3)."""
        share, device = batch.share, batch.target.device
        refinement = self.spec.refinement
        logs = LOG_SIGMA_MEAN + LOG_SIGMA_DEVIATION * torch.randn(
            (share.n_systems, 1), generator=stream
        )
        noise = torch.randn((share.n_beads, 3), generator=stream)
        levels = logs.exp().clamp(refinement.sigma_min, refinement.sigma_max)
        sigma = levels[share.first_system :].to(device).index_select(0, batch.systems)
        return sigma, noise[share.first_bead :][: len(batch.target)].to(device)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of one batch; noise is a function of (seed, step)."""
        del batch_idx
        seed = self.config.optimiser.seed
        terms = self.losses(batch, generator(seed, TRAINING, self.global_step))
        self.log_dict(
            {f"train/{name}": value for name, value in terms.items()}, sync_dist=True
        )
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
            sync_dist=True,
        )

    def rollout(self) -> dict[str, torch.Tensor]:
        """Run the validation systems and compare with their reference.

        One-step likelihood does not see drift; this does.

        Returns:
            "rollout_rg2": mean absolute relative error of <Rg^2> of the molecules of
            several beads; "rollout_bond": relative error of the median bond length at
            the end; "rollout_msd": mean absolute error of log10 of the mean squared
            displacement over the second half of the run, held centres apart.
        """
        propagator = Propagator(
            LearnedModel(self.spec, self.model),
            [item.mapping for item in self.validation],
            seed=self.config.optimiser.seed,
            box=boxes_of(self.validation),
            guard="record",
            unseen="allow",  # molecules of the validation data may be others
            device=str(self.device),
        )
        state = propagator.start(
            np.concatenate([item.positions[0] for item in self.validation])
        )
        frames = []
        for _ in range(self.config.optimiser.rollout_steps):
            with suppress(GuardError):  # all have stopped
                state = propagator.step(state)
            frames.append(state.positions.cpu().numpy())
        learned = np.stack(frames)
        for place in propagator.stopped:  # a figure that is none
            learned[:, propagator.slices[place]] = np.nan
        self.rollouts = [
            (item, learned[:, part])
            for item, part in zip(self.validation, propagator.slices, strict=True)
        ]
        rows = [_deviations(*item, self.spec) for item in self.rollouts]
        names = ("rollout_rg2", "rollout_bond", "rollout_msd")
        means = np.mean(rows, axis=0)
        return {
            name: torch.tensor(mean, dtype=torch.float32)
            for name, mean in zip(names, means, strict=True)
        }

    def configure_optimizers(self) -> Any:
        """Adam with warm-up and cosine decay to a thousandth of its peak."""
        sizes = self.config.optimiser
        optimiser = torch.optim.AdamW(
            [values for values in self.parameters() if values.requires_grad],
            lr=sizes.learning_rate,
            weight_decay=sizes.weight_decay,
            fused=self.device.type == "cuda",
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


def _deviations(
    reference: BeadTrajectory, learned: NDArray[np.float64], spec: ModelSpec
) -> tuple[float, float, float]:
    """How far a rollout (n_frames, n_beads, 3) is off; see `Learner.rollout`."""
    mapping = reference.mapping
    masses, pairs = mapping.bead_masses, mapping.bead_bonds
    sizes = []  # learned and true, of each molecule of several beads
    for molecule in np.unique(mapping.molecule_index[pairs]):
        inside = mapping.molecule_index == molecule
        sizes.append(
            [
                squared_radius_of_gyration(path[:, inside], masses[inside]).mean()
                for path in (learned, reference.positions)
            ]
        )
    size = np.divide(*np.mean(sizes, axis=0)) if sizes else 1.0
    median = np.median(bond_lengths(learned[-10:], pairs)) if len(pairs) else 1.0
    right = np.median(bond_lengths(reference.positions, pairs)) if len(pairs) else 1.0
    half = len(learned) // 2
    lag = half * stride_of(reference, spec.time_step, 0)
    ratio = 1.0
    if spec.friction is None and 0 < lag < len(reference.positions):
        moved = np.square(learned[half:] - learned[:-half]).sum(axis=-1).mean()
        steps = reference.positions[lag:] - reference.positions[:-lag]
        ratio = moved / np.square(steps).sum(axis=-1).mean()
    return abs(float(size) - 1.0), float(median / right) - 1.0, abs(np.log10(ratio))
