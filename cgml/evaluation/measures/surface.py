"""Free energy of the shape of a molecule, over two principal components."""

from collections.abc import Sequence

import numpy as np
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from cgml.evaluation import drawing
from cgml.evaluation.measure import WHOLE, Entry, Measure, Picture, exact
from cgml.evaluation.measures.relaxation import by_speed, named
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Subject
from cgml.observables import statistics
from cgml.observables.chains import Surface, free_energy
from cgml.observables.statistics import Estimate

MAX_ENERGY = 6.0  # kT, top of the free-energy scale
MAX_DIFFERENCE = 3.0  # kT, ends of the scale of differences

Floats = NDArray[np.float64]


def has_shape(subject: Subject) -> Sequence[str]:
    """Parts of a measure of one molecule of three beads or more."""
    return WHOLE if subject.is_single and len(subject.masses) > 2 else ()


def plane(comparison: Comparison) -> Surface:
    """Fit the plane and its grid to the reference."""
    return Surface.fit(comparison.reference.positions)


def compute(comparison: Comparison) -> dict[str, Estimate]:
    """Divergence of the two histograms over the plane, surface_jsd, nats."""
    surface = comparison.once(plane)
    one, other = (surface.histogram(run.positions) for run in comparison.runs)
    return {"surface_jsd": exact(statistics.jensen_shannon_divergence(one, other))}


def surfaces(comparisons: Sequence[Comparison]) -> Figure:
    """Draw molecules from fast to slow: both sides, and their difference."""
    chosen = by_speed(comparisons)
    figure, rows = drawing.blocks([len(chosen)] * 3, 1.9, max(len(chosen), 2))
    scales = [np.arange(0.0, MAX_ENERGY + 0.1, 0.5)] * 2
    scales.append(np.linspace(-MAX_DIFFERENCE, MAX_DIFFERENCE, 13))
    names = [*drawing.SIDES, "learned - reference"]
    filled: dict[int, QuadContourSet] = {}
    for column, (word, item) in enumerate(chosen.items()):
        planes = [item.once(plane).project(run.positions) for run in item.runs]
        x, y = _mesh(planes)
        one, other = (_energy(points, x, y) for points in planes)
        is_known = np.minimum(one, other) < MAX_ENERGY
        shown = [one, other, np.where(is_known, other - one, np.nan)]
        for k, (row, energy) in enumerate(zip(rows, shown, strict=True)):
            is_last = k == len(rows) - 1
            filled[k] = row[column].contourf(
                x,
                y,
                np.clip(energy, *scales[k][[0, -1]]) if is_last else energy,
                levels=scales[k],
                cmap="RdBu_r" if is_last else "viridis",  # white above the scale
            )
            for side in (row[column].xaxis, row[column].yaxis):
                drawing.set_ticks(side, (0.0, 1.0), is_log=False)
        is_one = len(chosen) == 1
        drawing.entitle(rows[0][column], item.subject.name, word="" if is_one else word)
        rows[-1][column].set_xlabel("component 1 / nm")
    for row, name in zip(rows, names, strict=True):
        row[0].set_ylabel(f"{name}\ncomponent 2 / nm")
    figure.colorbar(filled[0], ax=[*rows[0], *rows[1]], label="free energy / kT")
    figure.colorbar(filled[2], ax=rows[2], label="difference / kT")
    return figure


def _energy(points: Floats, x: Floats, y: Floats) -> Floats:
    """Free energy on a mesh from a smooth density, kT."""
    density = gaussian_kde(points[:: max(len(points) // 2000, 1)].T)
    values = density(np.stack((x.ravel(), y.ravel()))).reshape(x.shape)
    return free_energy(np.maximum(values, 1e-300))


def _mesh(planes: Sequence[Floats], n: int = 50) -> tuple[Floats, Floats]:
    both = np.concatenate(list(planes))
    low, high = both.min(axis=0), both.max(axis=0)
    room = 0.25 * (high - low)  # for the smooth edge of a density
    low, high = low - room, high + room
    x, y = np.meshgrid(*(np.linspace(a, b, n) for a, b in zip(low, high, strict=True)))
    return x, y


MEASURE = Measure(
    name="surface",
    place=30,
    parts=has_shape,
    compute=compute,
    rows=(
        Entry("surface_jsd", "free-energy surface, Jensen-Shannon divergence", "nats"),
    ),
    columns=(Entry("surface_jsd", "surface", "nats"),),
    pictures=(
        Picture(
            "surfaces",
            lambda e: (
                "Free energy over the two leading principal components of all "
                "distances between beads, fitted on the reference, of "
                f"{named(e.comparisons)}: reference, learned, and learned less "
                "reference. "
                f"White: above {MAX_ENERGY:g} kT; differences beyond "
                f"{MAX_DIFFERENCE:g} kT "
                "have the colour of that."
            ),
            lambda e: surfaces(e.comparisons),
            "free-energy surfaces",
        ),
    ),
)
