"""Figures of boxes draw what the comparison holds."""

import io

import numpy as np
import pytest
from electrolyte_systems import electrolyte, walk
from matplotlib.figure import Figure

from cgml.evaluation import comparison
from cgml.evaluation.drawing import parity
from cgml.evaluation.measures import (
    collisions,
    displacement,
    pairs,
    residence,
)
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.results import Comparison, ComparisonOptions

SPECIES = ["cation", "anion", "polymer"]


def diffusivities(boxes: list[Comparison]) -> Figure:
    return parity(displacement.PARITY, SPECIES, boxes)


def lifetimes(boxes: list[Comparison]) -> Figure:
    return parity(residence.PARITY, list(boxes[0].subject.pairs), boxes)


@pytest.fixture(scope="module")
def boxes() -> list[Comparison]:
    options = ComparisonOptions(shortest=2.0, longest=40.0, quantile=0.02)
    return [
        comparison.compare(
            electrolyte(f"box {k}"), walk(k, 80), walk(k + 10, 80), options=options
        )
        for k in range(2)
    ]


@pytest.mark.parametrize(
    ("draw", "n_axes"),
    [
        (diffusivities, 3),
        (displacement.displacements, 3),
        (pairs.radial_distributions, 12),
        (collisions.picture, 2),
        (residence.residences, 12),
        (lifetimes, 6),
    ],
)
@pytest.mark.parametrize("n_boxes", [1, 2])
def test_every_figure_is_drawn(boxes, draw, n_axes, n_boxes):
    figure = draw(boxes[:n_boxes])
    assert isinstance(figure, Figure)
    per_box = draw in (
        pairs.radial_distributions,
        collisions.picture,
        residence.residences,
    )
    used = [axis for axis in figure.axes if axis.axison]
    assert len(used) == n_axes // (2 // n_boxes if per_box else 1)
    figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_parity_has_a_column_for_each_baseline(boxes):
    values = {f"log10_d_{name}": np.full((1, 2), -2.0) for name in SPECIES}
    items = [Prediction("mean", ["0", "1"], values)]
    figure = parity(displacement.PARITY, SPECIES, boxes, items)
    assert len(figure.axes) == 6
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    right = boxes[0].figures["log10_d_cation_reference"].value
    other = boxes[1].figures["log10_d_cation_reference"].value
    error = np.mean([abs(-2.0 - right), abs(-2.0 - other)])
    assert f"mean error {error:.3f}" in texts


def test_boxes_that_are_drawn_span_the_speeds(boxes):
    many = [boxes[k % 2] for k in range(9)]
    chosen = displacement.slowest_first(many)
    speeds = [item.figures["log10_d_cation_reference"].value for item in chosen]
    assert len(chosen) == 4
    assert speeds == sorted(speeds)
    assert speeds[0] < speeds[-1]
