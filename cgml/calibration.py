"""What a model file says of how unsure the model is of new molecules."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from cgml.fields import Count, Positive, Real, Section


class LatentRange(Section):
    """Where the training molecules lie in the latent space of a predictor.

    A Gaussian with a few free variances and one for all other directions
    (probabilistic principal components).

    Attributes:
        mean: latent of a molecule, the mean over its beads, n numbers.
        axes: unit vectors of largest variance, each n numbers.
        variances: along these.
        rest: variance along every other direction.
    """

    mean: Annotated[list[Real], Field(max_length=4096)]
    axes: Annotated[list[list[Real]], Field(max_length=64)]
    variances: list[Positive]
    rest: Positive

    @model_validator(mode="after")
    def _fit(self) -> Self:
        n = len(self.mean)
        if len(self.variances) != len(self.axes) or {*map(len, self.axes)} - {n}:
            raise ValueError(f"a variance for each axis of {n} numbers is required")
        return self


class Calibration(Section):
    """How unsure a model is of molecules that it was not trained on.

    Attributes:
        n_molecules: validation molecules that were looked at.
        typical: median of their scores (dynamics/extrapolation.py).
        largest: of their scores; the unit of the extrapolation grade.
        latent: of the training molecules, for a model of one set of weights; None: the
            score is what the members of an ensemble disagree by.
    """

    n_molecules: Count
    typical: Positive
    largest: Positive
    latent: LatentRange | None = None
