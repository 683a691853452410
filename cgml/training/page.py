"""progress.html of a training run: losses, and the last rollout over its reference."""

import html
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cgml.files import replacing
from cgml.molecules.box import widths
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.molecules.frames import BeadTrajectory
from cgml.observables.chains import bond_lengths
from cgml.observables.structure import radial_distribution

Points = Sequence[tuple[int, float]]
Rollout = tuple[BeadTrajectory, NDArray[np.floating]]
"""A validation system and frames of the model from its first one, (n, n_beads, 3)."""

REFRESH = 30  # s
N_FRAMES = 100  # of a side, for g(r)
N_SHOWN = 3  # systems
QUANTILES = (0.01, 0.5, 0.99)
COLOURS = ("black", "tab:red")  # reference, learned

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta http-equiv="refresh" content="{refresh}">
<style>body {{ font-family: sans-serif; margin: 2em; }} svg {{ max-width: 100%; }}
</style></head><body><h1>{name}</h1><p>{status}</p>{figures}
<p>Black: reference; red: the model, run from the first frame of validation systems with
the averaged weights. The page is written after each validation and loads itself again
every {refresh} s.</p></body></html>
"""


def write_page(
    path: Path,
    status: str,
    losses: Points,
    validations: Points,
    rollouts: Sequence[Rollout],
) -> None:
    """Write the page, whole.

    Args:
        path: of the page.
        status: one line.
        losses: of training, (step, loss).
        validations: (step, loss).
        rollouts: of the last validation.
    """
    figures = [_curves(losses, validations)]
    figures += [_compare(*item) for item in rollouts[:N_SHOWN]]
    text = _PAGE.format(
        name=html.escape(path.parent.name),
        refresh=REFRESH,
        status=html.escape(status),
        figures="\n".join(_svg(figure) for figure in figures),
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _curves(losses: Points, validations: Points) -> Figure:
    figure, (axis,) = _panels(1, 7.0)
    for points, colour, name in (
        (losses, "tab:blue", "training"),
        (validations, "tab:orange", "validation"),
    ):
        steps, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
        marker = "o" if len(steps) < 40 else ""
        axis.plot(steps, values, color=colour, label=name, marker=marker, markersize=3)
    axis.set(xlabel="step", ylabel="loss")
    axis.legend(frameon=False)
    return figure


def _compare(reference: BeadTrajectory, learned: NDArray[np.floating]) -> Figure:
    """Bond lengths, sizes of molecules, and neighbours, of both sides."""
    kept = learned[np.isfinite(learned).all(axis=(1, 2))]
    mapping = reference.mapping
    is_melt = mapping.molecule_index.max() > 0  # pairs of different molecules
    bonds, boxed = mapping.bead_bonds, reference.box is not None and is_melt
    figure, axes = _panels(2 + boxed, 2.6)
    figure.suptitle(reference.name, fontsize=9)
    sides = (reference.positions, kept)
    if len(kept) == 0:
        axes[0].set_title("no frame is finite", fontsize=8)
        return figure
    if len(bonds):
        lengths = [bond_lengths(frames, bonds).ravel() for frames in sides]
        marks = [np.quantile(one, QUANTILES) for one in lengths]
        off = ", ".join(f"{x:+.1%}" for x in marks[1] / marks[0] - 1.0)
        _histograms(axes[0], lengths, "bond / nm", f"1, 50, 99 %: {off}")
        sizes = [_squared_radii(reference, frames) for frames in sides]
        ratio = sizes[1].mean() / sizes[0].mean() - 1.0
        _histograms(axes[1], sizes, "$R_g^2$ / nm$^2$", f"mean {ratio:+.1%}")
    if reference.box is not None and boxed:
        reach = 0.499 * float(widths(reference.box).min())
        for frames, colour in zip(sides, COLOURS, strict=True):
            few = frames[:: max(1, len(frames) // N_FRAMES)]
            rdf = radial_distribution(
                few,
                reference.box,
                cutoff=reach,
                molecules=mapping.molecule_index,
                n_blocks=1,
            )
            axes[2].plot(rdf.distances, rdf.values, color=colour)
        axes[2].set(xlabel="distance / nm")
        axes[2].set_title("$g(r)$, all beads", fontsize=8)
    return figure


def _squared_radii(
    reference: BeadTrajectory, frames: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Squared radii of gyration of all molecules of several beads, nm^2."""
    mapping = reference.mapping
    found = []
    for molecule in np.unique(mapping.molecule_index[mapping.bead_bonds]):
        inside = mapping.molecule_index == molecule
        masses = mapping.bead_masses[inside]
        found.append(squared_radius_of_gyration(frames[:, inside], masses))
    return np.concatenate(found)


def _histograms(
    axis: Axes, sides: Sequence[NDArray[np.float64]], label: str, title: str
) -> None:
    low, high = np.quantile(np.concatenate(sides), (0.001, 0.999))
    edges = np.linspace(low, high if high > low else low + 1.0, 41)
    for values, colour in zip(sides, COLOURS, strict=True):
        axis.hist(values, edges.tolist(), density=True, histtype="step", color=colour)
    axis.set(xlabel=label, yticks=[])
    axis.set_title(title, fontsize=8)


def _panels(n: int, width: float) -> tuple[Figure, list[Axes]]:
    with mpl.rc_context({"font.size": 8.0, "axes.titlesize": 8.0}):
        figure = Figure(figsize=(width * n, 2.3), layout="constrained")
        axes = figure.subplots(1, n, squeeze=False)
    return figure, list(axes[0])


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg")
    text = stream.getvalue()
    return text[text.index("<svg") :]
