"""Left and right: dihedral angles of consecutive beads with their sign."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cgml.evaluation import drawing
from cgml.evaluation.measure import (
    WHOLE,
    Entry,
    Measure,
    Picture,
    exact,
    magnitude,
    noise,
)
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Run, Subject
from cgml.observables import chains, statistics
from cgml.observables.statistics import Estimate

N_BINS = 36
N_BLOCKS = 8
MAX_ANGLES = 10_000_000
"""Angles of a side that are looked at; of more, evenly spaced frames."""
MAX_SUBJECTS = 3
MIN_MOLECULES = 6
"""Of so many the scatter is an error that needs no correlation time."""

Floats = NDArray[np.float64]


class Handedness(NamedTuple):
    """What one side shows.

    Attributes:
        volumes: mean signed volume, (n_runs, n_frames).
        density: of dihedral angles, (N_BINS,) 1/rad.
        errors: standard errors of the density, from blocks in time, (N_BINS,).
        scatter: standard error of the mean volume by what molecules differ, all runs
            together; NaN for fewer than `MIN_MOLECULES`.
        memory: frames that one molecule is like itself (integrated), from how much
            less than in single frames the means of molecules differ; NaN as above.
    """

    volumes: Floats
    density: Floats
    errors: Floats
    scatter: float
    memory: float

    @property
    def mean(self) -> Estimate:
        """Mean volume; conformations that outlive the run differ between molecules."""
        value, error = statistics.mean_estimate(self.volumes)
        return Estimate(value, float(np.fmax(error, self.scatter)))


def has_dihedrals(subject: Subject) -> Sequence[str]:
    """Parts of a measure of what has paths of three bonds."""
    return WHOLE if len(chains.dihedral_quadruplets(subject.bonds)) else ()


def signs(subject: Subject, paths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return -1 for paths of molecules with more S than R, else 1, (n_paths,).

    So the two hands of a racemate do not cancel.
    """
    hands = subject.mapping.hands
    if hands is None:
        return np.ones(len(paths), dtype=np.int64)
    molecules = subject.mapping.graph.molecule_index
    sums = np.bincount(molecules, weights=hands)
    return np.where(sums < 0.0, -1, 1)[subject.molecules[paths[:, 0]]]


def look(subject: Subject, run: Run) -> Handedness:
    """Measure one side."""
    paths = chains.dihedral_quadruplets(subject.bonds)
    turn = signs(subject, paths)
    n_runs, n_frames = run.positions.shape[:2]
    stride = 1 + n_runs * n_frames * len(paths) // MAX_ANGLES
    positions = run.positions[:, ::stride]
    volumes = np.empty(positions.shape[:2])
    edges = np.linspace(-np.pi, np.pi, N_BINS + 1)
    n_blocks = min(N_BLOCKS, positions.shape[1])
    blocks = np.zeros((n_blocks, N_BINS))
    means, squares = np.zeros(len(paths)), 0.0
    molecules = subject.molecules[paths[:, 0]]
    owner = np.arange(positions.shape[1]) * n_blocks // positions.shape[1]
    for frame, block in enumerate(owner.tolist()):
        angles, own = chains.signed_volumes(positions[:, frame], paths)
        volumes[:, frame] = (turn * own).mean(axis=-1)
        here = (turn * own).mean(axis=0)
        means += here / len(owner)
        squares += _scatter(here, molecules) ** 2 / len(owner)
        blocks[block] += np.histogram(turn * angles, edges)[0]
    blocks *= N_BINS / (2.0 * np.pi) / blocks.sum(axis=1, keepdims=True)
    spread = blocks.std(axis=0, ddof=1) if n_blocks > 1 else np.full(N_BINS, np.nan)
    scatter = _scatter(means, molecules)
    memory = 0.5 * len(owner) * scatter**2 / squares if squares else np.nan
    errors = spread / np.sqrt(n_blocks)
    return Handedness(volumes, blocks.mean(axis=0), errors, scatter, memory)


def _scatter(means: Floats, molecules: NDArray[np.int64]) -> float:
    """Standard error of the mean over paths, (n_paths,), of independent molecules."""
    _, own, n_paths = np.unique(molecules, return_inverse=True, return_counts=True)
    if (n := len(n_paths)) < MIN_MOLECULES:
        return float("nan")
    off = np.bincount(own, means - means.mean()) / len(means)
    return float(np.sqrt(n / (n - 1) * (off**2).sum()))


def both(comparison: Comparison) -> list[Handedness]:
    """Measure both sides."""
    return [look(comparison.subject, run) for run in comparison.runs]


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Mean signed volume of three bonds, and how far dihedral angles are off.

    Args:
        comparison: of molecules with paths of three bonds.

    Returns:
        handedness_* (1 for a right-handed, -1 for a left-handed screw of right
        angles, 0 without handedness) and its difference, handedness_error;
        dihedral_deviation, the part of the angles that stands elsewhere (total
        variation distance), and dihedral_sampling, what it is by the errors of both
        sides alone. dihedral_time_reference, ps, that conformations last;
        handedness_time_reference the same of too few molecules to tell the error of
        the mean without it, else 0.
    """
    one, other = comparison.once(both)
    right, learned = one.mean, other.mean
    width = 2.0 * np.pi / N_BINS
    gaps = np.abs(one.density - other.density).sum()
    errors = np.hypot(one.errors, other.errors).sum() * np.sqrt(2.0 / np.pi)
    known = np.isfinite(one.scatter) and np.isfinite(other.scatter)
    time = _time(comparison, one)
    return {
        "dihedral_time_reference": exact(time),
        "handedness_time_reference": exact(0.0 if known else time),
        "handedness_reference": right,
        "handedness_learned": learned,
        "handedness_error": Estimate(
            learned.value - right.value, float(np.hypot(right.error, learned.error))
        ),
        "dihedral_deviation": exact(0.5 * width * gaps),
        "dihedral_sampling": exact(0.5 * width * errors),
    }


def _time(comparison: Comparison, side: Handedness) -> float:
    """How long conformations of the reference last, ps; NaN: for ever.

    By the scatter of molecules; of few, the integrated time of the mean volume.
    """
    spacing = float(comparison.reference.duration) / side.volumes.shape[1]
    if np.isfinite(side.memory):
        return float(spacing * side.memory)
    if np.ptp(side.volumes) <= 1e-12 * np.abs(side.volumes).max():
        return float("nan")
    return float(spacing * statistics.integrated_time(side.volumes).value)


def dihedrals(comparisons: Sequence[Comparison]) -> Figure | None:
    """Draw the density of dihedral angles of both sides, the most handed last."""
    if not comparisons:
        return None
    chosen = drawing.spread_out(
        comparisons,
        lambda item: abs(item.figures["handedness_reference"].value),
        MAX_SUBJECTS,
    )
    figure, (axes,) = drawing.panels(1, len(chosen), 2.1)
    centres = np.degrees((np.arange(N_BINS) + 0.5) * 2.0 * np.pi / N_BINS - np.pi)
    for axis, item in zip(axes, chosen, strict=True):
        for side, colour in zip(item.once(both), drawing.COLOURS, strict=True):
            drawing.band(axis, centres, side.density, side.errors, colour)
            axis.plot(centres, side.density, color=colour)
        drawing.entitle(axis, item.subject.name)
        axis.set(
            xlabel="dihedral angle / degrees",
            xticks=(-180, -90, 0, 90, 180),
            xlim=(-180.0, 180.0),
        )
        axis.set_ylim(bottom=0.0)
    axes[0].set_ylabel("density / rad$^{-1}$")
    drawing.legend(figure)
    return figure


MEASURE = Measure(
    name="handedness",
    place=45,
    parts=has_dihedrals,
    compute=compute,
    rows=(
        Entry(
            "handedness_error",
            "handedness (signed volume of three bonds), mean absolute error",
            form=".4f",
            samples=(magnitude("handedness_error"),),
            pair="handedness",
            memory="handedness_time_reference",
        ),
        Entry(
            "handedness_sampling",
            "— of which sampling of both sides",
            form=".4f",
            samples=(noise("handedness_error"),),
            is_judged=False,
        ),
        Entry(
            "dihedral_deviation",
            "signed dihedral angles, total variation distance",
            form=".4f",
            memory="dihedral_time_reference",
        ),
        Entry(
            "dihedral_sampling",
            "— of which sampling of both sides",
            form=".4f",
            is_judged=False,
        ),
    ),
    columns=(
        Entry("handedness_reference", "handedness, reference", form="+.3f"),
        Entry(
            "handedness_learned",
            "learned",
            form="+.3f",
            memory="handedness_time_reference",
        ),
    ),
    pictures=(
        Picture(
            "dihedrals",
            "Dihedral angles of four beads in a row with their sign: a molecule and "
            "its mirror image have mirrored distributions. Bands: standard errors.",
            lambda e: dihedrals([c for c in e.comparisons if has_dihedrals(c.subject)]),
            "dihedral angles",
        ),
    ),
)
