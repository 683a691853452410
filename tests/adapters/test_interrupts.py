"""Ctrl-C at any line of an engine's update: the old state or the new one."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest
from ase_systems import make_dynamics
from openmm_systems import loaded, positions_of, simulate, velocities_of

import ase_cgml.dynamics
import ase_cgml.record
import openmm_cgml.history
import openmm_cgml.integrator
from cgml.dynamics import passengers
from cgml.dynamics.guards import Trip

OPENMM = (passengers, openmm_cgml.history, openmm_cgml.integrator)
ASE = (passengers, ase_cgml.dynamics, ase_cgml.record)
ALL = 10**9

State = tuple[int, np.ndarray, np.ndarray]
"""Steps done, positions, velocities."""


@contextmanager
def interrupting(modules: tuple[Any, ...], number: int) -> Iterator[set[Any]]:
    """Raise KeyboardInterrupt at the so-manieth new line of some modules that is run.

    Args:
        modules: whose lines count.
        number: of the line, from 0; ALL: only note the lines.
    """
    files = {module.__file__ for module in modules}
    seen: set[Any] = set()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        del argument
        if frame.f_code.co_filename not in files:
            return None
        place = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and place not in seen:
            seen.add(place)
            if len(seen) == number + 1:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(None)


class InOpenMM:
    """A run in OpenMM, its cache forgotten: the variables must tell all."""

    modules = OPENMM

    def __init__(self, model, level: str) -> None:
        self.run = simulate(model, level)

    def step(self, n: int) -> None:
        self.run.integrator._reload()
        self.run.step(n)

    def set_history(self, frames) -> None:
        self.run.integrator.setHistory(frames)

    def now(self) -> State:
        done = self.run.context.getStepCount()
        return done, positions_of(self.run), velocities_of(self.run)


class InAse:
    """A run in ASE."""

    modules = ASE

    def __init__(self, model, level: str) -> None:
        self.run = make_dynamics(loaded(model), beads=level == "beads")

    def step(self, n: int) -> None:
        for _ in range(n):
            self.run.step()

    def set_history(self, frames) -> None:
        self.run.set_history(frames)

    def now(self) -> State:
        atoms = self.run.atoms
        done = atoms.info["cgml"]["step"]
        return done, atoms.get_positions(), atoms.get_velocities()


ENGINES = {"openmm": InOpenMM, "ase": InAse}


def check(found: State, path: list[State]) -> None:
    _, positions, velocities = path[found[0]]
    np.testing.assert_array_equal(found[1], positions)
    np.testing.assert_array_equal(found[2], velocities)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupt_leaves_the_old_state_or_the_new_one(tiny_model, engine):
    straight, run = (ENGINES[engine](tiny_model, "atoms") for _ in range(2))
    path = [straight.now()]

    def follow() -> None:
        while len(path) <= run.now()[0]:
            straight.step(1)
            path.append(straight.now())
        check(run.now(), path)

    run.step(2)
    with interrupting(run.modules, ALL) as lines:
        run.step(2)
    assert len(lines) > 60
    n_old = n_new = 0
    for number in range(len(lines)):
        before = run.now()[0]
        with pytest.raises(KeyboardInterrupt), interrupting(run.modules, number):
            run.step(2)
        n_done = run.now()[0] - before
        n_old, n_new = n_old + (n_done == 0), n_new + (n_done > 0)
        follow()
        run.step(1)
        assert run.now()[0] == before + n_done + 1
        follow()
    assert min(n_old, n_new) > 3


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupt_leaves_the_old_history_or_the_new_one(tiny_model, engine):
    straight, run = (ENGINES[engine](tiny_model, "beads") for _ in range(2))
    for each in (straight, run):
        each.step(3)
    earlier = straight.now()[1][None] - 0.1
    with interrupting(run.modules, ALL) as lines:
        run.set_history(earlier)
    ends = {}
    for name in ("old", "new"):
        again = ENGINES[engine](tiny_model, "beads")
        again.step(3)
        if name == "new":
            again.set_history(earlier)
        again.step(1)
        ends[name] = again.now()[1].tobytes()
    assert ends["old"] != ends["new"]
    kinds = set()
    for number in range(0, len(lines), 3):
        run = ENGINES[engine](tiny_model, "beads")
        run.step(3)
        with pytest.raises(KeyboardInterrupt), interrupting(run.modules, number):
            run.set_history(earlier)
        run.step(1)
        (kind,) = (name for name, end in ends.items() if end == run.now()[1].tobytes())
        kinds.add(kind)
    assert kinds == {"old", "new"}


def test_an_interrupted_step_is_not_counted(tiny_model):
    """Neither what guards refused nor whom they stopped."""
    moved = make_dynamics(loaded(tiny_model), beads=True).propagator
    start, watch = moved.start(np.zeros((moved.n_beads, 3))), moved._watch
    trip = Trip("bond", 0, 1, 20.0, 3.0, 1.0, "", "")

    def refuse(before, after):
        if moved.guard_trips[0]["bond"]:
            raise KeyboardInterrupt
        moved.stopped[0] = None
        return {0: trip}

    watch._check, watch._policy = refuse, "redraw"
    with pytest.raises(KeyboardInterrupt):
        moved.step(start)
    assert moved.guard_counts["bond"] == 0
    assert not moved.stopped


def test_what_interrupts_twice_comes_out_when_all_is_done():
    done: list[int] = []

    def change() -> None:
        done.append(1)
        if len(done) < 3:
            raise KeyboardInterrupt(len(done))

    with pytest.raises(KeyboardInterrupt, match="2"):
        passengers.complete(change)
    assert len(done) == 3
