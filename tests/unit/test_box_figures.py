"""Figures of boxes draw what the comparison holds."""

import io

import numpy as np
import pytest
from electrolyte_systems import electrolyte, walk
from matplotlib.figure import Figure

from cgml.evaluation import box_comparison as comparison
from cgml.evaluation import box_figures as figures
from cgml.evaluation.box_baselines import Prediction
from cgml.evaluation.box_comparison import Comparison, ComparisonOptions


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
        (figures.parity_diffusivity, 3),
        (figures.displacements, 3),
        (figures.radial_distributions, 4),
        (figures.collisions, 2),
        (figures.residences, 4),
        (figures.lifetimes, 2),
    ],
)
@pytest.mark.parametrize("n_boxes", [1, 2])
def test_every_figure_is_drawn(boxes, draw, n_axes, n_boxes):
    figure = draw(boxes[:n_boxes])
    assert isinstance(figure, Figure)
    per_box = draw in (
        figures.radial_distributions,
        figures.collisions,
        figures.residences,
    )
    assert len(figure.axes) == n_axes // (2 // n_boxes if per_box else 1)
    figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_parity_has_a_column_for_each_baseline(boxes):
    names = ["cation", "anion", "polymer"]
    items = [Prediction("mean", ["0", "1"], names, np.full((1, 2, 3), -2.0))]
    figure = figures.parity_diffusivity(boxes, items)
    assert len(figure.axes) == 6
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    right = boxes[0].figures["log10_d_cation_reference"].value
    other = boxes[1].figures["log10_d_cation_reference"].value
    error = np.mean([abs(-2.0 - right), abs(-2.0 - other)])
    assert f"mean error {error:.3f}" in texts


def test_boxes_that_are_drawn_span_the_speeds(boxes):
    many = [boxes[k % 2] for k in range(9)]
    chosen = figures.spread_out(many)
    speeds = [item.figures["log10_d_cation_reference"].value for item in chosen]
    assert len(chosen) == 4
    assert speeds == sorted(speeds)
    assert speeds[0] < speeds[-1]
