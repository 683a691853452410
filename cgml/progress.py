"""A progress bar that knows simulated time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """Simulated time of all paths per second of wall time."""

    def __init__(self, time_per_item: float) -> None:
        super().__init__()
        self._time_per_item = time_per_item  # ps

    def render(self, task: Task) -> Text:
        """Show ps per second, or a dash where it is not known yet."""
        speed = task.finished_speed or task.speed
        return Text(
            "- ps/s" if speed is None else f"{speed * self._time_per_item:,.0f} ps/s"
        )


@contextmanager
def progress(
    console: Console, what: str, n_items: int, time_per_item: float
) -> Iterator[Callable[[int], None]]:
    """Show a bar with the rate and the time left, from the first count on.

    Args:
        console: where to.
        what: is counted, for example "frames".
        n_items: length of the bar.
        time_per_item: simulated time of all paths in each, ps.

    Yields:
        Function to call with the number done.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(time_per_item),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=n_items, visible=False)
        yield lambda n: bar.update(task, completed=n, visible=True)
