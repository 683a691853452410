"""The folder of an evaluation: figures.json, one PNG per plot, and one page."""

import base64
import html
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl

from cgml.evaluation import comparison, measures
from cgml.evaluation.comparison import Line
from cgml.evaluation.drawing import STYLE
from cgml.evaluation.measure import Measure, Picture, union
from cgml.evaluation.results import Evaluation
from cgml.files import make_folder, replacing
from cgml.observables.statistics import Estimate, as_json

JSON = "figures.json"
PAGE = "report.html"
DPI = 160
ABLATED = "without score network"


def write(evaluation: Evaluation, output: Path) -> Path:
    """Write all files of an evaluation.

    Args:
        evaluation: from `evaluation.evaluate`.
        output: folder, made if need be.

    Returns:
        The page, which holds its plots and needs no other file.
    """
    make_folder(output)
    text = json.dumps(content(evaluation), indent=1, allow_nan=False)
    with replacing(output / JSON) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    images = []
    for measure in applied(evaluation):
        own = _restricted(evaluation, measure)
        for picture in measure.pictures:
            png = _png(picture, own)
            if png is None:
                continue
            with replacing(output / f"{picture.name}.png") as temporary:
                temporary.write_bytes(png)
            data = base64.b64encode(png).decode("ascii")
            images.append(picture._asdict() | {"data": data})
    page = output / PAGE
    with replacing(page) as temporary:
        temporary.write_text(render(evaluation, images), encoding="utf-8")
    return page


def content(evaluation: Evaluation) -> dict[str, Any]:
    """Return all figures with their errors as JSON has them; NaN is null."""
    run = evaluation.options.as_json()
    if not evaluation.is_periodic:
        run["rg2_source"] = evaluation.rg2_source
    return {
        "format": 1,
        "model": evaluation.spec.model_dump(mode="json"),
        "run": run,
        "summary": as_json(evaluation.summary),
        "reference_halves": as_json(evaluation.floor),
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
    """Return the lines of the console: words and unit, learned, reference halves."""
    return [
        (
            html.unescape(re.sub("<[^>]*>", "", line.heading)),
            *_print(line, (evaluation.summary, evaluation.floor)),
        )
        for line in comparison.lines(evaluation.comparisons)
    ]


def render(evaluation: Evaluation, images: Sequence[dict[str, Any]]) -> str:
    """Return the page as HTML.

    Args:
        evaluation: what to show.
        images: name, caption and base64 data of each plot.
    """
    source = resources.files("cgml.evaluation").joinpath("report.html.jinja")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = environment.from_string(source.read_text(encoding="utf-8"))
    others = columns(evaluation)
    sides = (evaluation.summary, evaluation.floor, *others.values())
    lines = comparison.lines(evaluation.comparisons)
    listed = comparison.lines(evaluation.comparisons, listed=True)
    source_of = "all atoms" if evaluation.rg2_source == "atoms" else "the beads"
    return template.render(
        spec=evaluation.spec,
        options=evaluation.options,
        length=evaluation.cost.length,
        subject=_noun(evaluation),
        facts="lengths in nm, times in ps"
        if evaluation.is_periodic
        else f"squared radius of gyration from {source_of} on both sides",
        notes=[measure.note for measure in applied(evaluation) if measure.note],
        rows=[[line.heading, *_print(line, sides)] for line in lines],
        baselines=list(others),
        columns=[line.heading for line in listed],
        subjects=[
            [item.subject.name, *(_print(line, [item.figures])[0] for line in listed)]
            for item in evaluation.comparisons
        ],
        failed=evaluation.failed,
        guard_trips=evaluation.guard_counts,
        cost=evaluation.cost,
        images=images,
    )


def applied(evaluation: Evaluation) -> list[Measure]:
    """Return the measures that apply to any of the subjects."""
    shown = evaluation.comparisons
    return [item for item in measures.table() if union(item.parts, shown)]


def _print(line: Line, sides: Sequence[dict[str, Estimate]]) -> list[str]:
    """Print a figure as each side has it, "" where it has none."""
    return [
        line.entry.show(side[line.name]) if line.name in side else "" for side in sides
    ]


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


def _png(picture: Picture, evaluation: Evaluation) -> bytes | None:
    """Draw in the house style; None where there is nothing to show."""
    stream = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure = picture.draw(evaluation)
        if figure is None:
            return None
        figure.savefig(stream, format="png", dpi=DPI)
    return stream.getvalue()
