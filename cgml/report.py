"""The folder of an evaluation: figures.json, one PNG per figure, and one page."""

import base64
import io
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from cgml import figures
from cgml.evaluation import Evaluation
from cgml.files import replacing
from cgml.statistics import Estimate

JSON = "figures.json"
PAGE = "report.html"
DPI = 160


class Label(NamedTuple):
    """How a figure is named and printed: words, format of the value, factor."""

    text: str
    form: str = ".3f"
    factor: float = 1.0


LABELS = {
    "rg2_relative_error": Label(
        "⟨<i>R</i><sub>g</sub>²⟩, mean absolute relative error / %", ".1f", 100.0
    ),
    "rg2_sampling_error": Label("— of which sampling of both sides / %", ".1f", 100.0),
    "rg2_r2": Label("⟨<i>R</i><sub>g</sub>²⟩, <i>R</i>² across molecules"),
    "rg2_correlation": Label("⟨<i>R</i><sub>g</sub>²⟩, correlation across molecules"),
    "rg2_beads_relative_error": Label(
        "⟨<i>R</i><sub>g</sub>²⟩ of the beads, mean absolute relative error / %",
        ".1f",
        100.0,
    ),
    "rg2_emd": Label(
        "<i>R</i><sub>g</sub>² distribution, earth mover's distance / standard "
        "deviation"
    ),
    "tau_log10_error": Label("log<sub>10</sub> τ, mean absolute error"),
    "tau_factor_median": Label("τ, median factor between the two", ".2f"),
    "tau_spearman": Label("τ, Spearman's rank correlation"),
    "surface_jsd": Label("free-energy surface, Jensen-Shannon divergence / nats"),
    "angle_emd": Label("angles, earth mover's distance / rad", ".4f"),
    "contact_error": Label("contact map, mean absolute error", ".4f"),
    "bond_start_error": Label(
        "bond-length quantiles at the start, largest deviation / %", ".1f", 100.0
    ),
    "bond_end_error": Label(
        "bond-length quantiles at the end, largest deviation / %", ".1f", 100.0
    ),
}
"""Rows of the table, in order."""

COLUMNS = {
    "rg2_reference": Label("⟨<i>R</i><sub>g</sub>²⟩ reference / nm²", ".2f"),
    "rg2_learned": Label("learned / nm²", ".2f"),
    "rg2_relative_error": Label("deviation / %", "+.1f", 100.0),
    "rg2_emd": Label("distribution, distance / σ", ".2f"),
    "tau_reference": Label("τ reference / ps", ".0f"),
    "tau_learned": Label("learned / ps", ".0f"),
    "surface_jsd": Label("surface / nats", ".3f"),
    "bond_end_error": Label("bonds at the end / %", ".1f", 100.0),
}
"""Columns of the table of molecules."""


class Picture(NamedTuple):
    """One figure on the page."""

    name: str
    caption: str
    draw: Callable[[Evaluation], Figure]


PICTURES = (
    Picture(
        "parity_rg2",
        "Mean squared radius of gyration of every molecule against long reference "
        "dynamics. Bars: standard errors, corrected for correlation.",
        lambda e: figures.parity_sizes(e.comparisons, e.predictions),
    ),
    Picture(
        "parity_tau",
        "Integrated relaxation time τ of the squared radius of gyration. The "
        "regressions learn it from short runs, which cut long times off.",
        lambda e: figures.parity_times(e.comparisons, e.predictions),
    ),
    Picture(
        "distributions",
        "Distribution of the squared radius of gyration, by molecule.",
        lambda e: figures.distributions(e.comparisons),
    ),
    Picture(
        "autocorrelation",
        "Autocorrelation of the squared radius of gyration of the fastest, the median "
        "and the slowest molecule. Shaded: one standard error, from eight blocks.",
        lambda e: figures.correlations(e.comparisons),
    ),
    Picture(
        "surfaces",
        "Free energy over the two leading principal components of all distances "
        "between beads, fitted on the reference.",
        lambda e: figures.surfaces(e.comparisons),
    ),
    Picture(
        "bonds",
        "Distances of bonded beads along the run: deviation of three quantiles from "
        "those of the whole reference.",
        lambda e: figures.bond_drift(e.comparisons),
    ),
    Picture(
        "cost",
        "Simulated time of all runs together per second of wall time, on this machine.",
        lambda e: figures.cost(e.cost),
    ),
)


def write(evaluation: Evaluation, output: Path) -> Path:
    """Write all files of an evaluation.

    Args:
        evaluation: from `evaluation.evaluate`.
        output: folder, made if need be.

    Returns:
        The page, which holds its figures and needs no other file.
    """
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation.as_json(), indent=1, allow_nan=False)
    with replacing(output / JSON) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    images = []
    for picture in PICTURES:
        png = _png(picture.draw, evaluation)
        with replacing(output / f"{picture.name}.png") as temporary:
            temporary.write_bytes(png)
        images.append(
            {
                "name": picture.name,
                "caption": picture.caption,
                "data": base64.b64encode(png).decode("ascii"),
            }
        )
    page = output / PAGE
    with replacing(page) as temporary:
        temporary.write_text(render(evaluation, images), encoding="utf-8")
    return page


def render(evaluation: Evaluation, images: list[dict[str, str]]) -> str:
    """Return the page as HTML.

    Args:
        evaluation: what to show.
        images: name, caption and base64 data of each figure.
    """
    source = resources.files("cgml").joinpath("report.html.jinja")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = environment.from_string(source.read_text(encoding="utf-8"))
    learned, floor = evaluation.summary, evaluation.floor
    scores = evaluation.baseline_scores()
    rows = [
        {
            "label": label.text,
            "learned": _print(learned[name], label),
            "floor": _print(floor[name], label),
            "baselines": [
                _print(some[name], label) if name in some else ""
                for some in scores.values()
            ],
        }
        for name, label in LABELS.items()
    ]
    molecules = [
        [item.molecule.name]
        + [_print(item.figures[name], label) for name, label in COLUMNS.items()]
        for item in evaluation.comparisons
    ]
    longest = max(item.learned.rg2.shape[1] for item in evaluation.comparisons)
    return template.render(
        spec=evaluation.spec,
        options=evaluation.options,
        length=longest * evaluation.spec.time_step,
        rg2_source=evaluation.rg2_source,
        rows=rows,
        baselines=list(scores),
        columns=[label.text for label in COLUMNS.values()],
        molecules=molecules,
        failed=evaluation.failed,
        guard_trips=evaluation.guard_counts,
        cost=evaluation.cost,
        images=images,
    )


def _print(estimate: Estimate, label: Label) -> str:
    """Return value and standard error in words."""
    value, error = (label.factor * number for number in estimate)
    if not np.isfinite(value):
        return "–"
    text = format(value, label.form)
    if not np.isfinite(error):
        return text
    return f"{text} ± {format(error, label.form.lstrip('+'))}"


def _png(draw: Callable[[Evaluation], Figure], evaluation: Evaluation) -> bytes:
    """Draw a figure in the house style."""
    stream = io.BytesIO()
    with mpl.rc_context(figures.STYLE):
        draw(evaluation).savefig(stream, format="png", dpi=DPI)
    return stream.getvalue()
