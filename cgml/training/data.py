"""The data of a training run: its files, frames, and batches."""

from collections.abc import Sequence
from glob import glob
from pathlib import Path

import lightning.pytorch as lightning
from torch.utils.data import DataLoader

from cgml import memory
from cgml.formats.trajectory import BeadTrajectory
from cgml.molecules.recipe import Recipe
from cgml.spec import ModelSpec
from cgml.training.agreement import shared_recipe
from cgml.training.config import FILES, DataConfig, OptimiserConfig, TrainingConfig
from cgml.training.preparation import read_prepared
from cgml.training.split import CLAIM, Splits, check_disjoint, split_in_time
from cgml.training.stationarity import slow_weights
from cgml.training.windows import Batch, WindowDataset

N_VALIDATION_BATCHES = 20


class WindowModule(lightning.LightningDataModule):
    """Batches of a run; a resumed run goes on with the next batch of the stream.

    Args:
        train: training molecules.
        validation: other molecules.
        spec: of the model.
        config: of the run.
        corrections: of training molecules, not in equilibrium.

    Raises:
        ValueError: frames that this model cannot be trained on, or batches that are too
            large, or too small for the devices.
    """

    def __init__(
        self,
        train: Sequence[BeadTrajectory],
        validation: Sequence[BeadTrajectory],
        spec: ModelSpec,
        config: TrainingConfig,
        corrections: Sequence[BeadTrajectory] = (),
    ) -> None:
        super().__init__()
        self._sizes = sizes = config.optimiser
        for item in (*train, *validation, *corrections):
            _check_frames(item, spec)
        self._train = WindowDataset(
            train,
            spec,
            config.augmentation,
            n_molecules=sizes.n_molecules,
            n_windows=sizes.n_windows,
            n_batches=min(sizes.validate_every, sizes.n_steps),
            seed=sizes.seed,
            corrections=corrections,
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
        if config.stationarity.weight > 0.0:
            _check_pairs(sizes)
            weights = slow_weights(train, validation, spec)
            self._train.slow, self._validation.slow = weights
        n_beads = min(item.mapping.n_beads for item in [*train, *validation])
        _check_memory(self._train.n_systems, n_beads, spec, sizes)
        n_systems = min(self._train.n_systems, self._validation.n_systems)
        if n_systems < sizes.n_devices:
            raise ValueError(
                "each device needs a window of every batch: n_molecules x n_windows, "
                f"with the molecules that there are, is {n_systems}, for n_devices = "
                f"{sizes.n_devices}"
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the present step to the next validation, or to the end.

        Validation comes at multiples of `validate_every` and at the end, wherever a
        run was interrupted; this is called anew after each.
        """
        if self.trainer is not None:
            first, every = self.trainer.global_step, self._sizes.validate_every
            self._train.first = first
            self._train.n_batches = max(
                min(every - first % every, self._sizes.n_steps - first), 1
            )
        return self._loader(self._train)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The same batches every time."""
        return self._loader(self._validation)

    def _loader(self, dataset: WindowDataset) -> DataLoader[Batch]:
        if self.trainer is not None:
            dataset.rank = self.trainer.global_rank
            dataset.n_ranks = self.trainer.world_size
        return DataLoader(
            dataset, batch_size=None, shuffle=False, num_workers=self._sizes.n_workers
        )


def _check_frames(item: BeadTrajectory, spec: ModelSpec) -> None:
    """Refuse boundaries unlike the model's, and frames without what it predicts."""
    has_box = item.box is not None
    if has_box != spec.periodic:
        words = {True: "a box", False: "none"}
        raise ValueError(
            f"all frames of a run must have a box, or none: {item.name!r} has "
            f"{words[has_box]}, the training frames {words[spec.periodic]}: "
            "prepare it as these (cgml prepare, --box or --no-box)"
        )
    n_molecules = item.mapping.graph.n_molecules
    if spec.has_property and (n_molecules > 1 or "rg2" not in item.observables):
        known = ", ".join(item.observables) or "none"
        raise ValueError(
            "the training frames are of single molecules with the observable rg2, so "
            f"that is required of all: {item.name!r} has {n_molecules} molecules, "
            f"observables: {known}; prepare it from its atoms with cgml prepare"
        )


def _check_memory(
    n_windows: int, n_beads: int, spec: ModelSpec, sizes: OptimiserConfig
) -> None:
    """Refuse batches and rollouts that cannot fit, before any is made."""
    n_edges = n_windows * n_beads * spec.statistics.mean_degree
    memory.require(
        4.0 * n_edges * spec.network.n_edge * spec.network.n_predictor_layers,
        f"batches of {n_windows} windows",
        "ask for fewer, n_molecules or n_windows",
    )
    memory.require(
        24.0 * sizes.rollout_steps * n_beads,
        f"rollouts of {sizes.rollout_steps} steps",
        "ask for shorter ones, rollout_steps",
    )


def _check_pairs(sizes: OptimiserConfig) -> None:
    """Refuse batches in which no two windows of a system meet."""
    if sizes.n_windows < 2 or sizes.n_devices > 1:
        raise ValueError(
            "stationarity.weight takes two windows of a system or more, on one device: "
            f"optimiser.n_windows is {sizes.n_windows}, n_devices {sizes.n_devices}"
        )


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Find the files of glob patterns, in order.

    Raises:
        FileNotFoundError: A pattern matches nothing.
    """
    paths: list[Path] = []
    for pattern in patterns:
        found = sorted(Path(name) for name in glob(pattern))
        if not found:
            raise FileNotFoundError(f"no bead frames match {pattern!r}")
        paths.extend(found)
    return paths


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
    return read_prepared(find_files(patterns), recipe)


def _find_all(data: DataConfig) -> list[list[Path]]:
    """Find the files of all keys; refuse one that patterns of two keys match."""
    keys: dict[Path, str] = {}
    files = [find_files(getattr(data, key)) for key in FILES]
    for key, found in zip(FILES, files, strict=True):
        for path in found:
            other = keys.setdefault(path.resolve(), key)
            if other != key:
                raise ValueError(
                    f"a file must be for one use, {path} is found under {other} and "
                    f"under {key} of [data]: narrow one of the two patterns"
                )
    return files


def load_splits(config: TrainingConfig) -> Splits:
    """Read what a run trains on and what it is validated with.

    Raises:
        FileNotFoundError: A pattern matches nothing.
        ValueError: The two share a molecule (split = "molecule") or a file, a run is
            too short to be split in time, or beads are others than each other's or
            than the config says.
    """
    data = config.data
    files = _find_all(data)
    recipe = Recipe(**config.recipe) if "atoms_per_bead" in config.recipe else None
    train, validation, corrections = (read_prepared(paths, recipe) for paths in files)
    shared_recipe([*train, *validation, *corrections], config.recipe)
    if data.split == "molecule":
        check_disjoint([*train, *corrections], validation)
        return Splits(train, validation, "", corrections)
    if not validation:
        parts = split_in_time(train, data.gap, data.validation_fraction)
        return parts._replace(corrections=corrections)
    note = f"runs of their own for validation; {CLAIM}"
    return Splits(train, validation, note, corrections)
