"""Figures of boxes draw what the comparison holds."""

import io
from itertools import pairwise
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from electrolyte_systems import electrolyte, walk
from matplotlib.figure import Figure

from cgml.evaluation import comparison, drawing
from cgml.evaluation.measures import (
    collisions,
    displacement,
    pairs,
    residence,
)
from cgml.evaluation.parity import parity
from cgml.evaluation.predictions import Prediction
from cgml.evaluation.results import Comparison, ComparisonOptions

SPECIES = ["cation", "anion", "polymer"]


def diffusivities(boxes: list[Comparison]) -> Figure:
    return parity(displacement.PARITY, SPECIES, boxes)


def lifetimes(boxes: list[Comparison]) -> Figure:
    return parity(residence.PARITY, list(boxes[0].subject.pairs), boxes)


def test_pairs_without_contacts_are_not_drawn(boxes, monkeypatch):
    """Of free walkers some pairs have no minimum of g, and so no panel."""
    names = residence.formed(boxes[0])
    assert 0 < len(names) < len(boxes[0].subject.pairs)
    for draw in (residence.residences, residence.lifetimes):
        figure = draw(boxes[:1])
        assert len([axis for axis in figure.axes if axis.axison]) == len(names)
    monkeypatch.setattr(residence, "formed", lambda comparison: [])
    assert residence.residences(boxes) is residence.lifetimes(boxes) is None


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
        (lifetimes, 6),
    ],
)
@pytest.mark.parametrize("n_boxes", [1, 2])
def test_every_figure_is_drawn(boxes, draw, n_axes, n_boxes):
    figure = draw(boxes[:n_boxes])
    assert isinstance(figure, Figure)
    per_box = draw in (pairs.radial_distributions, collisions.picture)
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
    assert f"mean absolute error {error:.3f}" in texts


def test_boxes_that_are_drawn_span_the_speeds(boxes):
    many = [boxes[k % 2] for k in range(9)]
    chosen = displacement.slowest_first(many)
    speeds = [item.figures["log10_d_cation_reference"].value for item in chosen]
    assert len(chosen) == 4
    assert speeds == sorted(speeds)
    assert speeds[0] < speeds[-1]


IONS = ("Li", "C2F6NO4S2")
PARTS = {
    "validation_16x8_14_7": (*IONS, "C2F6NO4S2-CH2(24)CH3(2)O13", "CH2(24)CH3(2)O13"),
    30 * "N" + 30 * "M": (*IONS, 60 * "Q"),
}


@mpl.rc_context(drawing.STYLE)
def test_titles_stay_over_their_panels_and_only_what_there_is_has_one():
    """Names of any length; a box has panels of its own parts."""
    boxes = [SimpleNamespace(subject=SimpleNamespace(name=name)) for name in PARTS]
    figure, cells = drawing.subject_panels(
        boxes, lambda subject: PARTS[subject.name], ("time / ps", "y")
    )
    drawing.legend(figure, [(drawing.line("black"), name) for name in PARTS])
    drawn = [(item.subject.name, part) for _, item, part in cells]
    assert drawn == [(name, part) for name, own in PARTS.items() for part in own]
    figure.savefig(io.BytesIO(), format="png", dpi=80)
    renderer = figure.canvas.get_renderer()
    spans = [axis.title.get_window_extent(renderer) for axis, _, _ in cells]
    for one, other in pairwise(spans):
        assert one.x1 < other.x0 or one.y0 != other.y0
    assert min(one.x0 for one in spans) >= 0.0
    assert max(one.x1 for one in spans) <= figure.bbox.x1
    (legend,) = figure.legends
    frame = legend.get_window_extent(renderer)
    assert 0.0 <= frame.x0 < frame.x1 <= figure.bbox.x1
    names = [text.get_text() for text in legend.get_texts()]
    assert names[:3] == ["reference", "learned", "validation_16x8_14_7"]


def test_a_title_keeps_both_ends_of_a_name():
    figure, (axis, _) = drawing.grid(2, 1.5)
    drawing.entitle(axis, "a$b" + 200 * "x" + "end", word="slowest")
    title = axis.get_title()
    assert title.startswith(r"slowest: a\$bx")
    assert title.endswith("xend")
    assert "…" in title
    assert len(title.splitlines()) <= 3
    del figure
