"""Progress that knows simulated time: a bar, or lines where there is no terminal."""

import time
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

from cgml.texts import time_span

BETWEEN_LINES = 60.0  # s


class _Rate(ProgressColumn):
    """Simulated time of all paths per second of wall time."""

    def __init__(self, time_per_item: float) -> None:
        super().__init__()
        self._time_per_item = time_per_item  # ps

    def render(self, task: Task) -> Text:
        """Show ps per second, or nothing where it is not known yet."""
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        return Text(_said(speed * self._time_per_item))


@contextmanager
def progress(
    console: Console, what: str, n_items: int, time_per_item: float
) -> Iterator[Callable[[int], None]]:
    """Show a bar with the rate and the time left, from the first count on.

    In a log there are lines of them, one a minute.

    Args:
        console: where to.
        what: is counted, for example "frames".
        n_items: length of the bar.
        time_per_item: simulated time of all paths in each, ps.

    Yields:
        Function to call with the number done.
    """
    if not console.is_terminal:
        yield _Lines(console, what, n_items, time_per_item)
        return
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


class _Lines:
    """Prints how far it is: after a minute, each minute, and at the end."""

    def __init__(
        self, console: Console, what: str, n_items: int, time_per_item: float
    ) -> None:
        self._console, self._what, self._n_items = console, what, n_items
        self._time_per_item = time_per_item  # ps
        self._begun: tuple[float, int] | None = None  # s, items
        self._next = 0.0  # s

    def __call__(self, n_done: int) -> None:
        now = time.monotonic()
        if self._begun is None:
            self._begun, self._next = (now, n_done), now + BETWEEN_LINES
        is_done = n_done == self._n_items
        if not is_done and now < self._next:
            return
        self._next = now + BETWEEN_LINES
        line = f"{self._what} {n_done:,} of {self._n_items:,}"
        seconds, n_new = now - self._begun[0], n_done - self._begun[1]
        if n_new > 0 and seconds > 0.0:
            rate = n_new / seconds
            line += f", {_said(rate * self._time_per_item)}"
            line += f", {time_span((self._n_items - n_done) / rate)} left"
        self._console.print(line, highlight=False, soft_wrap=True)


def _said(rate: float) -> str:
    """Write a rate in ps/s, small ones with two digits."""
    return f"{rate:,.0f} ps/s" if rate >= 10.0 else f"{rate:.2g} ps/s"
