"""Free energy of the shape of a molecule, over two principal components."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from cgml.evaluation import drawing
from cgml.evaluation.measure import WHOLE, Entry, Measure, Picture, exact
from cgml.evaluation.measures.relaxation import by_speed
from cgml.evaluation.results import Comparison
from cgml.evaluation.subject import Subject
from cgml.observables import statistics
from cgml.observables.chains import Surface, free_energy
from cgml.observables.statistics import Estimate

MAX_ENERGY = 6.0  # kT, top of the free-energy scale

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
    """Draw the fastest, the median and the slowest molecule, both sides."""
    chosen = by_speed(comparisons)
    figure, rows = drawing.panels(2, len(chosen), 2.3, 2.0)
    filled = None
    for column, (word, item) in enumerate(chosen.items()):
        planes = [item.once(plane).project(run.positions) for run in item.runs]
        x, y = _mesh(planes)
        for row, name, points in zip(rows, drawing.SIDES, planes, strict=True):
            filled = row[column].contourf(
                x,
                y,
                _energy(points, x, y),  # white above the scale
                levels=np.arange(0.0, MAX_ENERGY + 0.1, 0.5),
                cmap="viridis",
            )
            if column == 0:
                row[0].set_ylabel(f"{name}\ncomponent 2 / nm")
        rows[0][column].set_title(f"{word}: {drawing.plain(item.subject.name)}")
        rows[1][column].set_xlabel("component 1 / nm")
    if filled is not None:
        figure.colorbar(
            filled, ax=[axis for row in rows for axis in row], label="free energy / kT"
        )
    return figure


def _energy(points: Floats, x: Floats, y: Floats) -> Floats:
    """Free energy on a mesh from a smooth density, kT."""
    density = gaussian_kde(points[:: max(len(points) // 2000, 1)].T)
    values = density(np.stack((x.ravel(), y.ravel()))).reshape(x.shape)
    return free_energy(np.maximum(values, 1e-300))


def _mesh(planes: Sequence[Floats], n: int = 50) -> tuple[Floats, Floats]:
    both = np.concatenate(list(planes))
    low, high = both.min(axis=0), both.max(axis=0)
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
            "Free energy over the two leading principal components of all distances "
            "between beads, fitted on the reference.",
            lambda e: surfaces(e.comparisons),
        ),
    ),
)
