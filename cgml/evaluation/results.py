"""What an evaluation holds: comparisons, predictions of baselines, cost."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from cgml.dynamics.noise import checked_seed
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.subject import Run, Subject
from cgml.molecules.seen import Unseen
from cgml.observables.statistics import Estimate
from cgml.observables.transport import Window
from cgml.ranges import at_least, positive
from cgml.spec import BaseSpec, Precision

Floats = NDArray[np.float64]
Result = TypeVar("Result")


@dataclass(frozen=True)
class ComparisonOptions:
    """Where the two sides are compared.

    Attributes:
        shortest: smallest lag of displacements, ps.
        longest: largest lag of displacements, ps; at most half of the shorter run.
        window: of the fits of diffusivities, ps; None: where the reference is
            diffusive.
        quantile: of the nearest distances of the reference; what is closer collides.
        step: of the model, ps, after which frames are compared; None: they are not.

    Raises:
        ValueError: lags that are none.
    """

    shortest: float = 5.0
    longest: float = 500.0
    window: Window | None = None
    quantile: float = 1e-3
    step: float | None = None

    def __post_init__(self) -> None:
        """Check the lags."""
        positive(self.shortest, "shortest lag")
        if not positive(self.longest, "longest lag") > self.shortest:
            raise ValueError(
                f"a longest lag of more than {self.shortest:g} ps is required, got "
                f"{self.longest:g} ps"
            )


@dataclass(frozen=True, eq=False)
class Comparison:
    """A subject, what is right of it and what is judged; reference first.

    Attributes:
        subject: what was compared.
        reference: runs that are right.
        learned: runs that are judged.
        options: lags, quantiles.
        figures: name -> value with standard error (NaN where there is none).
    """

    subject: Subject
    reference: Run
    learned: Run
    options: ComparisonOptions = ComparisonOptions()
    figures: dict[str, Estimate] = field(default_factory=dict)
    _known: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False)

    @property
    def runs(self) -> tuple[Run, Run]:
        """Both sides with all their frames."""
        return self.reference, self.learned

    @cached_property
    def aligned(self) -> tuple[Run, Run]:
        """Both sides at the finest spacing that they, and a step of a model, share."""
        strides = common_strides(self.reference.time_step, self.learned.time_step)
        one, other = self.reference.every(strides[0]), self.learned.every(strides[1])
        if self.options.step is None:
            return one, other
        stride, _ = common_strides(one.time_step, self.options.step)
        return one.every(stride), other.every(stride)

    def once(self, function: Callable[["Comparison"], Result]) -> Result:
        """Return function(self), computed at the first call alone.

        Curves that several measures, or a measure and its picture, need are functions
        of a comparison; asked for in this way, they are kept.
        """
        if function not in self._known:
            self._known[function] = function(self)
        found: Result = self._known[function]
        return found


def column(comparisons: Sequence[Comparison], name: str) -> Floats:
    """Return a figure and its error of all subjects, (n_subjects, 2); NaN: has none."""
    nothing = Estimate(np.nan, np.nan)
    return np.array([item.figures.get(name, nothing) for item in comparisons])


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


@dataclass(frozen=True)
class EvaluationOptions:
    """How the model is run.

    Attributes:
        length: simulated time of every run, ps; None: that of each reference.
        n_replicas: runs of every subject, each with randomness of its own.
        seed: seed of the runs and of the bootstrap.
        device: of the networks, "cpu" or "cuda".
        precision: of products inside the networks (Execution).
        md_seconds_per_ps: wall time of reference dynamics for 1 ps of all runs
            together (subjects times replicas), measured on this machine in this
            process, s/ps; None: not measured.
        unseen: what happens to molecules that are new to the model (Propagator).
        longest_lag: largest lag of displacements, ps; at most half of the shorter run.

    Raises:
        ValueError: a number that makes no sense.
    """

    length: float | None = None
    n_replicas: int = 1
    seed: int = 0
    device: str = "cpu"
    precision: Precision = "float32"
    md_seconds_per_ps: float | None = None
    unseen: Unseen = "refuse"
    longest_lag: float = 500.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        at_least(self.n_replicas, 1, "n_replicas")
        checked_seed(self.seed)
        times = {"length": self.length, "md_seconds_per_ps": self.md_seconds_per_ps}
        for name, number in times.items():
            if number is not None:
                positive(number, name)
        ComparisonOptions(longest=self.longest_lag)

    def as_json(self) -> dict[str, Any]:
        """Return what decides the runs."""
        content = asdict(self)
        del content["md_seconds_per_ps"]
        return content


@dataclass(frozen=True)
class Cost:
    """Wall time of the runs.

    Attributes:
        length: of the longest run, ps.
        n_paths: subjects times replicas, moved together.
        n_threads: CPU threads of torch.
        seconds_per_ps: model, s per ps of all paths together.
        md_seconds_per_ps: reference dynamics, likewise; None: not measured.
    """

    length: float
    n_paths: int
    n_threads: int
    seconds_per_ps: float
    md_seconds_per_ps: float | None

    @property
    def speedup(self) -> float | None:
        """How much faster than the reference; None where that was not measured."""
        if self.md_seconds_per_ps is None:
            return None
        return self.md_seconds_per_ps / self.seconds_per_ps

    def as_json(self) -> dict[str, float | None]:
        """Return all numbers."""
        return asdict(self) | {"speedup": self.speedup}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that an evaluation found.

    Attributes:
        spec: of the model.
        options: how it was run.
        rg2_source: what the squared radius of gyration of single molecules was taken
            from, on both sides: all "atoms" (property head), or the "beads".
        comparisons: one for each subject that stayed finite.
        failed: names of the subjects that did not, and of single replicas left out.
        summary: figures over all subjects, `comparison.summarise`.
        floor: the same figures of the first half of each reference against its
            second: what sampling alone makes at half the length.
        predictions: the baselines.
        ablation: the same subjects moved by the predictor's Gaussian alone; may be
            empty.
        guard_counts: how often each guard tripped.
        cost: wall time.
    """

    spec: BaseSpec
    options: EvaluationOptions
    rg2_source: Literal["atoms", "beads"]
    comparisons: list[Comparison]
    failed: list[str]
    summary: dict[str, Estimate]
    floor: dict[str, Estimate]
    predictions: list[Prediction]
    ablation: list[Comparison]
    guard_counts: dict[str, int]
    cost: Cost

    @property
    def is_periodic(self) -> bool:
        """Whether the subjects are boxes."""
        return self.spec.periodic
