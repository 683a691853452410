"""Progress in a log: lines with the rate and the time left, not too many."""

import io

import pytest
from rich.console import Console

from cgml import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def lines(counts, clock, n_items=1000):
    console = Console(file=io.StringIO(), width=40)
    with progress.progress(console, "frames", n_items, 20.0) as show:
        for n, seconds in counts:
            clock[0] += seconds
            show(n)
    return console.file.getvalue().splitlines()


def test_a_log_has_a_line_a_minute_and_one_at_the_end(clock):
    told = lines([(0, 0.0)] + [(n, 1.0) for n in range(10, 1010, 10)], clock)
    assert told == [
        "frames 600 of 1,000, 200 ps/s, 40 s left",
        "frames 1,000 of 1,000, 200 ps/s, 0 s left",
    ]


def test_the_rate_is_of_this_process_not_of_what_was_there(clock):
    told = lines([(500, 5.0), (510, 100.0)], clock)
    assert told == ["frames 510 of 1,000, 2 ps/s, 81.7 min left"]


def test_work_that_was_done_before_has_no_rate(clock):
    assert lines([(1000, 5.0)], clock) == ["frames 1,000 of 1,000"]


def test_a_quiet_console_says_nothing(clock):
    console = Console(file=io.StringIO(), quiet=True)
    with progress.progress(console, "frames", 1, 20.0) as show:
        show(1)
    assert console.file.getvalue() == ""
