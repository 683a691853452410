"""How the score network of a model is sampled, as its file says."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cgml.fields import Integer, NonNegative, Positive, Section

MAX_EVALUATIONS = 100_000


def check_evaluations(n: int) -> None:
    """Refuse a step that would not end: n evaluations of a score network.

    Raises:
        ValueError: more than 100,000.
    """
    if n > MAX_EVALUATIONS:
        raise ValueError(
            f"a step takes {MAX_EVALUATIONS:,} evaluations of the score network at "
            f"most, got {n:,}"
        )


class Refinement(Section):
    """How the score network is sampled.

    Noise levels are in units of the predictor's own spread.

    Attributes:
        sampler: "multistep" (two-step integrator of the probability flow, exact for
            the predictor's Gaussian), "ancestral" (the same integrator of the reverse
            diffusion: fresh noise between the levels), "heun" (two evaluations per
            level), "langevin" (the constant-step loop of the paper), or "none" (draw
            from the predictor's Gaussian).
        n_levels: number of noise levels = score evaluations ("heun": twice less 1).
        sigma_max: level at which the sampler starts.
        sigma_min: last level, removed by one denoising step.
        rho: spacing: levels are even in arctan(sigma)^(1/rho).
        noise_min: no fresh noise at levels below ("ancestral" only).
        n_repeats: steps at each level ("langevin" only).
        step_size: of these steps, in squared white coordinates ("langevin" only).
    """

    sampler: Literal["multistep", "heun", "ancestral", "langevin", "none"] = "multistep"
    n_levels: Annotated[Integer, Field(ge=1, le=100_000)] = 5
    sigma_max: Positive = 3.0
    sigma_min: Positive = 0.02
    rho: Positive = 1.5
    noise_min: NonNegative = 0.0
    n_repeats: Annotated[Integer, Field(ge=1, le=100_000)] = 10
    step_size: Positive = 5e-5

    @model_validator(mode="after")
    def _descend(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(
                f"sigma_min must be below sigma_max, got {self.sigma_min} and "
                f"{self.sigma_max}"
            )
        is_repeated = self.sampler == "langevin"
        check_evaluations(self.n_levels * (self.n_repeats if is_repeated else 1))
        return self


Precision = Literal["float32", "bfloat16"]


class Execution(Section):
    """How the networks are evaluated: what costs time and leaves the answer alone.

    Attributes:
        compiled: use networks that `cgml compile` made for this machine, where there
            are any (CPU, of this precision).
        capture: record a step as a CUDA graph (capture.py); models trained here, on
            CUDA only. Up to three times as fast for a few replicas, of no use for
            hundreds, hence not the default.
        precision: of products inside the networks; sums over edges, normalisation
            and positions stay float32 or better.
    """

    compiled: bool = True
    capture: bool = False
    precision: Precision = "float32"


FAST = Execution()  # what is used unless something else is asked for
