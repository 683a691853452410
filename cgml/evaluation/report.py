"""The folder of an evaluation: figures.json, a PNG and a PDF per plot, one page."""

import base64
import html
import io
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np

from cgml.evaluation import comparison, measures
from cgml.evaluation.comparison import Line
from cgml.evaluation.drawing import STYLE
from cgml.evaluation.measure import Measure, Picture, union
from cgml.evaluation.provenance import Provenance
from cgml.evaluation.results import Comparison, Evaluation
from cgml.evaluation.verdict import (
    ENOUGH,
    LIMITS,
    Verdict,
    apart,
    spans,
    verdicts,
)
from cgml.files import make_folder, replacing
from cgml.observables.statistics import Estimate, as_json

JSON = "figures.json"
PAGE = "report.html"
DPI = 160
ABLATED = "without score network"
LEARNED = "_learned"


def write(
    evaluation: Evaluation, output: Path, provenance: Provenance | None = None
) -> Path:
    """Write all files of an evaluation.

    Args:
        evaluation: from `evaluation.evaluate`.
        output: folder, made if need be.
        provenance: what the page says of its making; None: date and versions.

    Returns:
        The page, which holds its plots and needs no other file. Beside it lie
        figures.json, and every plot as PNG and as PDF.
    """
    make_folder(output)
    made = provenance or Provenance()
    text = json.dumps(content(evaluation, made), indent=1, allow_nan=False)
    with replacing(output / JSON) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    images = []
    for measure in applied(evaluation):
        own = _restricted(evaluation, measure)
        for picture in measure.pictures:
            drawn = _draw(picture, own)
            for form, content_of in drawn.items():
                with replacing(output / f"{picture.name}.{form}") as temporary:
                    temporary.write_bytes(content_of)
            if drawn:
                data = base64.b64encode(drawn["png"]).decode("ascii")
                images.append(picture.describe(own) | {"data": data})
    page = output / PAGE
    with replacing(page) as temporary:
        temporary.write_text(render(evaluation, images, made), encoding="utf-8")
    return page


def content(
    evaluation: Evaluation, provenance: Provenance | None = None
) -> dict[str, Any]:
    """Return all figures with their errors as JSON has them; NaN is null."""
    lines = comparison.lines(evaluation.comparisons)
    run = evaluation.options.as_json()
    if not evaluation.is_periodic:
        run["rg2_source"] = evaluation.rg2_source
    return {
        "format": 1,
        "provenance": (provenance or Provenance()).as_json(),
        "model": evaluation.spec.model_dump(mode="json"),
        "run": run,
        "summary": as_json(evaluation.summary),
        "reference_halves": as_json(evaluation.floor),
        "verdicts": {
            line.name: verdict._asdict()
            for line, verdict in zip(lines, verdicts(evaluation, lines), strict=True)
        },
        "baselines": {
            name: as_json(found) for name, found in columns(evaluation).items()
        },
        "guard_trips": evaluation.guard_counts,
        "failed": evaluation.failed,
        "cost": evaluation.cost.as_json(),
        _noun(evaluation): {
            item.subject.name: as_json(item.figures) for item in evaluation.comparisons
        },
    }


def columns(evaluation: Evaluation) -> dict[str, dict[str, Estimate]]:
    """Return the figures of each baseline, and of the ablation."""
    found = {
        item.name: comparison.scores(evaluation.comparisons, item)
        for item in evaluation.predictions
    }
    if evaluation.ablation:
        found[ABLATED] = comparison.summarise(
            evaluation.ablation, evaluation.options.seed
        )
    return found


def table(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Return the lines of the console: words and unit, learned, halves, verdict."""
    return [
        (
            html.unescape(re.sub("<[^>]*>", "", line.heading)),
            *_print(line, (evaluation.summary, evaluation.floor)),
            verdict.word,
        )
        for line, verdict in _judged(evaluation)
    ]


def render(
    evaluation: Evaluation,
    images: Sequence[dict[str, Any]],
    provenance: Provenance | None = None,
) -> str:
    """Return the page as HTML.

    Args:
        evaluation: what to show.
        images: name, title, caption and base64 data of each plot.
        provenance: see `write`.
    """
    source = resources.files("cgml.evaluation").joinpath("report.html.jinja")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = environment.from_string(source.read_text(encoding="utf-8"))
    others = columns(evaluation)
    sides = (evaluation.summary, evaluation.floor, *others.values())
    listed = [
        line
        for line in comparison.lines(evaluation.comparisons, listed=True)
        if any(line.name in item.figures for item in evaluation.comparisons)
    ]
    source_of = "all atoms" if evaluation.rg2_source == "atoms" else "the beads"
    return template.render(
        spec=evaluation.spec,
        options=evaluation.options,
        length=evaluation.cost.length,
        subject=_noun(evaluation),
        facts="lengths in nm, times in ps"
        if evaluation.is_periodic
        else f"squared radius of gyration from {source_of} on both sides",
        notes=[
            measure.note
            for measure in applied(evaluation)
            if measure.note and evaluation.predictions
        ],
        rows=[
            (line.heading, _print(line, sides), verdict)
            for line, verdict in _judged(evaluation)
        ],
        baselines=list(others),
        columns=[line.heading for line in listed],
        subjects=[
            (item.subject.name, [_cell(item, line) for line in listed])
            for item in evaluation.comparisons
        ],
        provenance=provenance or Provenance(),
        failed=evaluation.failed,
        guard_trips=evaluation.guard_counts,
        cost=evaluation.cost,
        images=images,
    )


def _judged(evaluation: Evaluation) -> list[tuple[Line, Verdict]]:
    """Return figures and verdicts: a number, or why the halves alone have one."""
    lines = comparison.lines(evaluation.comparisons)
    known, halves = (
        [np.isfinite(side[line.name].value) for line in lines]
        for side in (evaluation.summary, evaluation.floor)
    )
    found = zip(lines, verdicts(evaluation, lines), known, halves, strict=True)
    return [
        (line, verdict)
        for line, verdict, is_known, has_halves in found
        if is_known or (verdict.word and has_halves)
    ]


def applied(evaluation: Evaluation) -> list[Measure]:
    """Return the measures that apply to any of the subjects."""
    shown = evaluation.comparisons
    return [item for item in measures.table() if union(item.parts, shown)]


def _print(line: Line, sides: Sequence[dict[str, Estimate]]) -> list[str]:
    """Print a figure as each side has it, "" where it has none."""
    return [
        line.entry.show(side[line.name]) if line.name in side else "" for side in sides
    ]


def _cell(item: Comparison, line: Line) -> tuple[str, float]:
    """Print a figure of one subject, and how many errors it is off, 0 if few."""
    (text,) = _print(line, [item.figures])
    if not line.name.endswith(LEARNED) or not spans([item], line) >= ENOUGH:
        return text, 0.0
    (deviation,) = np.abs(apart([item], line.name.removesuffix(LEARNED)))
    return text, float(deviation) if deviation > LIMITS[1] else 0.0


def _restricted(evaluation: Evaluation, measure: Measure) -> Evaluation:
    """Keep the subjects to which a measure applies."""
    kept = [item for item in evaluation.comparisons if measure.parts(item.subject)]
    names = [item.subject.name for item in kept]
    return replace(
        evaluation,
        comparisons=kept,
        predictions=[item.take(names) for item in evaluation.predictions],
        ablation=[item for item in evaluation.ablation if item.subject.name in names],
    )


def _noun(evaluation: Evaluation) -> str:
    return "boxes" if evaluation.is_periodic else "molecules"


def _draw(picture: Picture, evaluation: Evaluation) -> dict[str, bytes]:
    """Draw in the house style, in both forms; nothing where there is nothing."""
    drawn = {}
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of a name
        figure = picture.draw(evaluation)
        if figure is None:
            return {}
        for form in ("png", "pdf"):
            stream = io.BytesIO()
            own = {"CreationDate": None} if form == "pdf" else {}
            figure.savefig(stream, format=form, dpi=DPI, metadata=own)
            drawn[form] = stream.getvalue()
            figure.set_layout_engine("none")  # it is laid out by now
    return drawn
