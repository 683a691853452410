"""Two sets of runs of the same molecules, one judged by the other.

Pure functions of arrays. One of the two is called the reference; the other may come
from a model, or from anywhere else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgml.observables import chains as observables
from cgml.observables import statistics
from cgml.observables.chains import Surface
from cgml.observables.statistics import Estimate

QUANTILES = (0.01, 0.50, 0.99)
"""Quantiles of the bond lengths that are watched."""

N_SEGMENTS = 10
"""Pieces of a run in which the drift of the bonds is followed."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Molecule:
    """What stays the same: name, bead masses (n_beads,) Da, bonds (n_bonds, 2)."""

    name: str
    masses: Floats
    bonds: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Run:
    """Frames of one molecule from one run, or from several of the same length.

    Attributes:
        positions: (n_runs, n_frames, n_beads, 3) nm, unwrapped.
        rg2: squared radius of gyration, (n_runs, n_frames) nm^2.
        time_step: time between frames, ps.
    """

    positions: NDArray[np.floating]
    rg2: Floats
    time_step: float

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        if self.positions.ndim != 4 or self.rg2.shape != self.positions.shape[:2]:
            raise ValueError(
                "positions (n_runs, n_frames, n_beads, 3) and rg2 (n_runs, n_frames) "
                f"are required, got {self.positions.shape} and {self.rg2.shape}"
            )
        if not (np.isfinite(self.positions).all() and np.isfinite(self.rg2).all()):
            raise ValueError("positions and rg2 of a run must be finite, got NaN")

    def every(self, stride: int) -> "Run":
        """Take every stride-th frame."""
        return replace(
            self,
            positions=self.positions[:, ::stride],
            rg2=self.rg2[:, ::stride],
            time_step=self.time_step * stride,
        )

    def halves(self) -> tuple["Run", "Run"]:
        """Cut in the middle."""
        middle = self.rg2.shape[1] // 2
        first = replace(
            self, positions=self.positions[:, :middle], rg2=self.rg2[:, :middle]
        )
        second = replace(
            self, positions=self.positions[:, middle:], rg2=self.rg2[:, middle:]
        )
        return first, second


class Correlation(NamedTuple):
    """Autocorrelation of the squared radius of gyration of both sides.

    Attributes:
        lags: (n_lags,) ps.
        values: reference and learned, (2, n_lags).
        errors: standard errors from blocks, (2, n_lags).
    """

    lags: Floats
    values: Floats
    errors: Floats


@dataclass(frozen=True, eq=False)
class Comparison:
    """One molecule: all figures, and the arrays that the plots need.

    Attributes:
        molecule: what was compared.
        reference: all frames of the reference.
        learned: all frames of the other side.
        figures: name -> value with standard error (NaN where there is none).
        correlation: autocorrelation on the spacing both sides share.
        surface: plane and grid, fitted on the reference.
        bond_drift: quantiles of the learned bond lengths over those of the whole
            reference, in successive pieces of the run, (N_SEGMENTS, 3).
    """

    molecule: Molecule
    reference: Run
    learned: Run
    figures: dict[str, Estimate]
    correlation: Correlation
    surface: Surface
    bond_drift: Floats


def common_strides(time_step: float, other: float) -> tuple[int, int]:
    """Return the smallest strides that give two series the same spacing.

    Args:
        time_step: spacing of the first, ps.
        other: spacing of the second, ps.

    Raises:
        ValueError: no common spacing within 100 frames.

    Example:
        >>> common_strides(5.0, 20.0)
        (4, 1)
    """
    ratio = Fraction(other / time_step).limit_denominator(100)
    if ratio == 0 or abs(float(ratio) * time_step / other - 1.0) > 1e-6:
        raise ValueError(
            "spacings with a common multiple within 100 frames are required, got "
            f"{time_step:g} ps and {other:g} ps"
        )
    if max(ratio.numerator, ratio.denominator) > 100:
        raise ValueError(
            "spacings that differ at most 100 times are required, got "
            f"{time_step:g} ps and {other:g} ps"
        )
    return ratio.numerator, ratio.denominator


def compare(molecule: Molecule, reference: Run, learned: Run) -> Comparison:
    """Compare two sets of runs of one molecule.

    Distributions use all frames of each side; kinetics use the finest spacing that
    both share, so that sampling cannot make a difference.

    Args:
        molecule: masses, bonds, name.
        reference: what is right.
        learned: what is judged.

    Returns:
        Figures: rg2_* (nm^2), tau_* (integrated, ps), relaxation_* (1/e, ps),
        end_to_end_* (nm), rg2_relative_error, rg2_emd (in standard deviations of the
        reference), tau_log10_error, surface_jsd (nats), angle_emd (rad),
        contact_error, bond_start_error and bond_end_error (largest relative deviation
        of a quantile in the first and the last tenth).
    """
    strides = common_strides(reference.time_step, learned.time_step)
    aligned = (reference.every(strides[0]), learned.every(strides[1]))
    surface = Surface.fit(reference.positions)
    drift = _bond_drift(molecule, reference, learned)
    figures = {
        **_sizes(molecule, reference, learned),
        **_kinetics(*aligned),
        **_shapes(molecule, reference, learned),
        "tau_reference_own_spacing": _time(reference),
        "tau_learned_own_spacing": _time(learned),
        "surface_jsd": _exact(
            statistics.jensen_shannon_divergence(
                surface.histogram(reference.positions),
                surface.histogram(learned.positions),
            )
        ),
        "bond_start_error": _exact(float(np.abs(drift[0] - 1.0).max())),
        "bond_end_error": _exact(float(np.abs(drift[-1] - 1.0).max())),
    }
    return Comparison(
        molecule, reference, learned, figures, _correlation(*aligned), surface, drift
    )


def summarise(
    comparisons: Sequence[Comparison], generator: np.random.Generator
) -> dict[str, Estimate]:
    """Condense many molecules into the figures a model is judged by.

    Args:
        comparisons: one for each molecule.
        generator: source of the bootstrap over molecules, which gives the errors.

    Returns:
        Name -> value and standard error over the choice of molecules; NaN where too
        few molecules leave a figure without meaning. `rg2_sampling_error` is the
        mean absolute relative error that the standard errors of both sides make by
        themselves. `bond_*_error` is the largest deviation of a quantile, averaged
        over molecules, because one molecule's tenth of a run holds few extremes.
    """
    table = columns(comparisons)
    sizes = (table["rg2_reference"], table["rg2_learned"])
    times = (table["tau_reference"], table["tau_learned"])
    noise = np.array([c.figures["rg2_relative_error"].error for c in comparisons])

    drift = np.array([c.bond_drift for c in comparisons])

    def over(statistic: Callable[..., float], *samples: Floats) -> Estimate:
        error = statistics.bootstrap_error(statistic, *samples, generator=generator)
        return Estimate(statistic(*samples), error)

    return {
        "rg2_relative_error": over(statistics.relative_error, *sizes),
        "rg2_sampling_error": over(_mean, noise * np.sqrt(2.0 / np.pi)),
        "rg2_r2": over(statistics.r_squared, *sizes),
        "rg2_correlation": over(statistics.correlation, *sizes),
        "rg2_emd": over(_mean, table["rg2_emd"]),
        "rg2_beads_relative_error": over(
            statistics.relative_error,
            table["rg2_beads_reference"],
            table["rg2_beads_learned"],
        ),
        "tau_log10_error": over(statistics.log10_error, *times),
        "tau_factor_median": over(statistics.median_factor, *times),
        "tau_spearman": over(statistics.spearman, *times),
        "surface_jsd": over(_mean, table["surface_jsd"]),
        "angle_emd": over(_mean, table["angle_emd"]),
        "contact_error": over(_mean, table["contact_error"]),
        "bond_start_error": over(_largest_bias, drift[:, 0]),
        "bond_end_error": over(_largest_bias, drift[:, -1]),
    }


def columns(comparisons: Sequence[Comparison]) -> dict[str, Floats]:
    """Return each figure of all molecules, (n_molecules,)."""
    return {
        name: np.array([c.figures[name].value for c in comparisons])
        for name in comparisons[0].figures
    }


def _sizes(molecule: Molecule, reference: Run, learned: Run) -> dict[str, Estimate]:
    """Squared radius of gyration: means, errors of both sides, distribution."""
    one, other = (statistics.mean_estimate(run.rg2) for run in (reference, learned))
    beads = [
        statistics.mean_estimate(
            observables.squared_radius_of_gyration(run.positions, molecule.masses)
        )
        for run in (reference, learned)
    ]
    ratio = other.value / one.value
    noise = np.hypot(one.error / one.value, other.error / other.value)
    distance = statistics.earth_movers_distance(reference.rg2, learned.rg2)
    return {
        "rg2_reference": one,
        "rg2_learned": other,
        "rg2_beads_reference": beads[0],
        "rg2_beads_learned": beads[1],
        "rg2_relative_error": Estimate(ratio - 1.0, float(ratio * noise)),
        "rg2_emd": _exact(distance / float(reference.rg2.std())),
    }


def _kinetics(reference: Run, learned: Run) -> dict[str, Estimate]:
    """Relaxation times of the squared radius of gyration at equal spacing, ps."""
    one, other = _time(reference), _time(learned)
    noise = np.hypot(one.error / one.value, other.error / other.value) / np.log(10.0)
    return {
        "tau_reference": one,
        "tau_learned": other,
        "tau_log10_error": Estimate(
            float(np.log10(other.value / one.value)), float(noise)
        ),
        "relaxation_reference": _exact(
            statistics.relaxation_time(reference.rg2) * reference.time_step
        ),
        "relaxation_learned": _exact(
            statistics.relaxation_time(learned.rg2) * learned.time_step
        ),
    }


def _shapes(molecule: Molecule, reference: Run, learned: Run) -> dict[str, Estimate]:
    """End-to-end distance, angles, contacts."""
    runs = (reference, learned)
    ends = [
        statistics.mean_estimate(observables.end_to_end_distance(run.positions))
        for run in runs
    ]
    triplets = observables.angle_triplets(molecule.bonds)
    angles = [observables.angles(run.positions, triplets) for run in runs]
    bonds = observables.bond_lengths(reference.positions, molecule.bonds)
    cutoff = float(np.sqrt(np.mean(bonds**2)))
    contacts = [observables.contact_map(run.positions, cutoff) for run in runs]
    pairs = np.triu_indices(len(molecule.masses), k=2)
    return {
        "end_to_end_reference": ends[0],
        "end_to_end_learned": ends[1],
        "angle_emd": _exact(statistics.earth_movers_distance(*angles)),
        "contact_error": _exact(float(np.abs(contacts[1] - contacts[0])[pairs].mean())),
    }


def _time(run: Run) -> Estimate:
    """Integrated time, ps."""
    frames = statistics.integrated_time(run.rg2)
    return Estimate(frames.value * run.time_step, frames.error * run.time_step)


def _bond_drift(molecule: Molecule, reference: Run, learned: Run) -> Floats:
    """Quantiles in pieces of the learned run over those of the reference."""
    right = np.quantile(
        observables.bond_lengths(reference.positions, molecule.bonds), QUANTILES
    )
    lengths = observables.bond_lengths(learned.positions, molecule.bonds)
    pieces = np.array_split(lengths, N_SEGMENTS, axis=1)
    return np.array([np.quantile(piece, QUANTILES) / right for piece in pieces])


def _correlation(reference: Run, learned: Run, n_blocks: int = 8) -> Correlation:
    """Autocorrelation of both sides up to a tenth of the shorter run, with errors."""
    n_lags = max(min(reference.rg2.shape[1], learned.rg2.shape[1]) // 10, 2)
    values, errors = [], []
    for run in (reference, learned):
        mean = float(run.rg2.mean())
        values.append(statistics.autocorrelation(run.rg2, mean)[:n_lags])
        pieces = np.array_split(run.rg2, n_blocks, axis=1)
        each = [statistics.autocorrelation(piece, mean)[:n_lags] for piece in pieces]
        shortest = min(n_lags, *(len(block) for block in each))
        spread = np.std([block[:shortest] for block in each], axis=0, ddof=1)
        errors.append(np.pad(spread, (0, n_lags - shortest), mode="edge"))
    return Correlation(
        np.arange(n_lags) * reference.time_step,
        np.array(values),
        np.array(errors) / np.sqrt(n_blocks),
    )


def _mean(values: Floats) -> float:
    return float(np.mean(values))


def _largest_bias(ratios: Floats) -> float:
    """Average (n_molecules, n_quantiles) over molecules; largest distance from 1."""
    return float(np.abs(ratios.mean(axis=0) - 1.0).max())


def _exact(value: float) -> Estimate:
    return Estimate(value, float("nan"))
