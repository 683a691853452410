"""The folder of an evaluation: figures.json, one PNG per figure, and one page."""

import base64
import io
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from cgml.evaluation import box_figures as electrolyte_figures
from cgml.evaluation import figures
from cgml.evaluation.box_evaluation import BoxEvaluation
from cgml.evaluation.evaluation import Evaluation
from cgml.files import replacing
from cgml.observables.statistics import Estimate

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
    draw: Callable[[Any], Figure]


CHAIN_PICTURES = (
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
"""Figures of single molecules, in order."""

BOX_PICTURES = (
    Picture(
        "parity_diffusivity",
        "Diffusivity D of every box against long reference dynamics; chains diffuse as "
        "their centres of mass. Bars: standard errors. Bottom right: mean absolute "
        "error of log10 D.",
        lambda e: electrolyte_figures.parity_diffusivity(e.comparisons, e.predictions),
    ),
    Picture(
        "displacements",
        "Mean squared displacement over time lag, drift of the box removed.",
        lambda e: electrolyte_figures.displacements(e.comparisons),
    ),
    Picture(
        "radial_distributions",
        "Radial distribution of the beads of two species.",
        lambda e: electrolyte_figures.radial_distributions(e.comparisons),
    ),
    Picture(
        "residences",
        "How long contacts last: probability that two beads in contact (closer than "
        "the first minimum of g of the reference) are so after a time. Numbers: "
        "integrated lifetimes.",
        lambda e: electrolyte_figures.residences(e.comparisons),
    ),
    Picture(
        "collisions",
        "Pairs of beads closer than all but 0.1 % of the nearest neighbours of the "
        "reference, along the run.",
        lambda e: electrolyte_figures.collisions(e.comparisons),
    ),
    Picture(
        "collisions_ablation",
        "The same without the score network: every bead drawn by itself.",
        lambda e: electrolyte_figures.collisions(e.ablation),
    ),
    Picture(
        "cost",
        "Simulated time of all runs together per second of wall time, on this machine.",
        lambda e: figures.cost(e.cost),
    ),
)
"""Figures of boxes, in order."""

BOX_WORDS = {
    "log10_d_{}_error": Label("log<sub>10</sub> <i>D</i> of {}, mean absolute error"),
    "log10_d_{}_sampling_error": Label("— of which sampling of both sides"),
    "msd_{}_deviation": Label(
        "mean squared displacement of {}, 5-500 ps, largest deviation of "
        "log<sub>10</sub>"
    ),
    "rdf_{}_deviation": Label(
        "<i>g</i>(<i>r</i>) {}, largest deviation / peak of the reference"
    ),
    "lifetime_{}_log10_error": Label(
        "contact lifetime {}, mean absolute error of log<sub>10</sub>"
    ),
}
"""Rows of the table of boxes, one for each species or pair."""

BOX_NOTE = (
    "Property predictors (mean, composition, graph network) give diffusivities alone, "
    "and on alike boxes they are strong. What only a simulator gives, from one frame "
    "and without dynamics of the new box, is diffusivities, displacements, structure "
    "and lifetimes together."
)


class Layout(NamedTuple):
    """What a page shows.

    Attributes:
        subject: what was run, in the plural.
        facts: sentence under the title.
        note: sentence under the table.
        labels: rows of the table.
        columns: columns of the second table.
        pictures: figures.
        rows: the comparisons with their names.
    """

    subject: str
    facts: str
    note: str
    labels: dict[str, Label]
    columns: dict[str, Label]
    pictures: tuple[Picture, ...]
    rows: list[tuple[str, dict[str, Estimate]]]


def layout(evaluation: Evaluation | BoxEvaluation) -> Layout:
    """Choose what a page shows."""
    if isinstance(evaluation, Evaluation):
        source = "all atoms" if evaluation.rg2_source == "atoms" else "the beads"
        return Layout(
            "molecules",
            f"squared radius of gyration from {source} on both sides",
            "",
            LABELS,
            COLUMNS,
            CHAIN_PICTURES,
            [(item.molecule.name, item.figures) for item in evaluation.comparisons],
        )
    pictures = [
        item
        for item in BOX_PICTURES
        if evaluation.ablation or item.name != "collisions_ablation"
    ]
    return Layout(
        "boxes",
        "lengths in nm, times in ps",
        BOX_NOTE,
        _box_labels(evaluation.summary),
        _box_columns(list(evaluation.comparisons[0].electrolyte.groups)),
        tuple(pictures),
        [(item.electrolyte.name, item.figures) for item in evaluation.comparisons],
    )


def _box_labels(summary: dict[str, Estimate]) -> dict[str, Label]:
    """Name the figures of boxes, for each species and pair."""
    labels = {}
    for form, label in BOX_WORDS.items():
        start, end = form.split("{}")
        for name in summary:
            if name.startswith(start) and name.endswith(end):
                middle = name.removeprefix(start).removesuffix(end)
                if form == "log10_d_{}_error" and middle.endswith("_sampling"):
                    continue
                labels[name] = label._replace(text=label.text.format(middle))
    labels["collisions_ratio"] = Label("collisions, learned / reference", ".2f")
    labels["collisions_end_ratio"] = Label("— in the last tenth of the run", ".2f")
    return labels


def _box_columns(species: list[str]) -> dict[str, Label]:
    """Columns of the table of boxes."""
    columns = {}
    for name in species:
        stem = f"log10_d_{name}"
        title = f"log<sub>10</sub> <i>D</i> {name}"
        columns[f"{stem}_reference"] = Label(f"{title}, reference", ".3f")
        columns[f"{stem}_learned"] = Label("learned", ".3f")
    columns["collisions_ratio"] = Label("collisions", ".2f")
    return columns


def write(evaluation: Evaluation | BoxEvaluation, output: Path) -> Path:
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
    page_layout = layout(evaluation)
    for picture in page_layout.pictures:
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


def render(evaluation: Evaluation | BoxEvaluation, images: list[dict[str, str]]) -> str:
    """Return the page as HTML.

    Args:
        evaluation: what to show.
        images: name, caption and base64 data of each figure.
    """
    source = resources.files("cgml.evaluation").joinpath("report.html.jinja")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = environment.from_string(source.read_text(encoding="utf-8"))
    learned, floor = evaluation.summary, evaluation.floor
    scores, shown = evaluation.baseline_scores(), layout(evaluation)
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
        for name, label in shown.labels.items()
    ]
    molecules = [
        [name] + [_print(found[key], label) for key, label in shown.columns.items()]
        for name, found in shown.rows
    ]
    return template.render(
        spec=evaluation.spec,
        options=evaluation.options,
        length=evaluation.cost.length,
        subject=shown.subject,
        facts=shown.facts,
        note=shown.note,
        rows=rows,
        baselines=list(scores),
        columns=[label.text for label in shown.columns.values()],
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


def _png(
    draw: Callable[[Any], Figure], evaluation: Evaluation | BoxEvaluation
) -> bytes:
    """Draw a figure in the house style."""
    stream = io.BytesIO()
    with mpl.rc_context(figures.STYLE):
        draw(evaluation).savefig(stream, format="png", dpi=DPI)
    return stream.getvalue()
