"""What the runs cost: simulated time per second of wall time."""

from matplotlib.figure import Figure

from cgml.evaluation import drawing
from cgml.evaluation.measure import WHOLE, Measure, Picture
from cgml.evaluation.results import Cost


def bars(cost: Cost) -> Figure | None:
    """Draw the rate of the model beside that of reference dynamics, if it is known."""
    if cost.md_seconds_per_ps is None:
        return None
    names = ["learned", "reference MD"]
    rates = [cost.n_paths / cost.seconds_per_ps, cost.n_paths / cost.md_seconds_per_ps]
    figure, ((axis,),) = drawing.panels(1, 1, 0.5 + 0.4 * len(names), least=1)
    drawn = axis.barh(
        names,
        rates,
        color=[drawing.LEARNED, drawing.REFERENCE],
        height=0.6,
    )
    axis.bar_label(drawn, [f"{rate:,.0f}" for rate in rates], padding=4)
    axis.set_xlim(0.0, 1.2 * max(rates))
    axis.invert_yaxis()
    axis.set_xlabel(f"simulated time of {cost.n_paths} runs together / ps per second")
    return figure


MEASURE = Measure(
    name="cost",
    place=900,
    parts=lambda subject: WHOLE,
    compute=lambda comparison: {},
    pictures=(
        Picture(
            "cost",
            "Simulated time of all runs together per second of wall time, on this "
            "machine.",
            lambda evaluation: bars(evaluation.cost),
            "simulated time per second",
        ),
    ),
)
