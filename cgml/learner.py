"""What one training step minimises, and what validation looks at."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch

from cgml.config import ModelSpec, TrainingConfig
from cgml.dataset import Batch
from cgml.model import LearnedModel, Model
from cgml.noise import generator
from cgml.observables import bond_lengths, squared_radius_of_gyration
from cgml.predictor import gaussian_loss, project, whiten
from cgml.propagator import Propagator
from cgml.refiner import denoising_loss
from cgml.trajectory import BeadTrajectory

LOG_SIGMA_MEAN, LOG_SIGMA_DEVIATION = -0.9, 1.2  # noise levels seen in training
PROPERTY_WEIGHT = 10.0
TRAINING, VALIDATION = 0, 1  # streams of noise


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
