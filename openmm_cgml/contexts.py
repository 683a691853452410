"""OpenMM tells a Python class nothing of its Context: here Contexts tell theirs."""

import warnings
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Protocol

import openmm

from openmm_cgml.history import ARMED

_LEAST = 32  # bytes of a particle: positions and velocities, on all platforms


class Driver(Protocol):
    """An integrator in Python that wants to know its Context."""

    def _prepare(self, system: openmm.System) -> None:
        """Check the System of a Context that is about to be made."""

    def _renew(self, system: openmm.System, *, is_kept: bool) -> None:
        """Check the System that the Context is about to be made anew of."""

    def _bind(self, context: openmm.Context) -> None:
        """Remember the Context that was made."""

    def _reload(self) -> None:
        """Read all variables anew: they are filled from a file."""

    def _check_loaded(self) -> None:
        """Refuse a file that was damaged, now that all is filled from it."""


@cache
def watch_contexts(kind: type[Any]) -> None:
    """Let every new Context introduce itself to an integrator of this kind.

    Args:
        kind: class of Drivers.
    """
    original = openmm.Context.__init__

    @wraps(original)
    def watched(self: openmm.Context, *args: Any) -> None:
        integrator = args[1] if len(args) > 1 else None
        if isinstance(integrator, kind):
            integrator._prepare(args[0])
            original(self, *args)
            integrator._bind(self)
        else:
            _refuse_remains(integrator, kind)
            original(self, *args)

    openmm.Context.__init__ = watched
    openmm.Context.reinitialize = _renewed(openmm.Context.reinitialize, kind)
    openmm.Context.setState = _watched(openmm.Context.setState, kind)
    openmm.Context.loadCheckpoint = _watched(openmm.Context.loadCheckpoint, kind)


def _renewed(original: Callable[..., None], kind: type[Any]) -> Callable[..., None]:
    """Let a Context be made anew of a System that may be another by now."""

    @wraps(original)
    def renew(self: openmm.Context, preserveState: bool = False) -> None:  # noqa: FBT001, FBT002
        integrator = self.getIntegrator()
        if isinstance(integrator, kind):
            integrator._renew(self.getSystem(), is_kept=preserveState)
        original(self, preserveState)

    return renew


def _watched(original: Callable[..., None], kind: type[Any]) -> Callable[..., None]:
    """Let a Context be filled from what another integrator has written, and say so."""

    @wraps(original)
    def fill(self: openmm.Context, *content: Any, **named: Any) -> None:
        integrator = self.getIntegrator()
        if not isinstance(integrator, kind):
            original(self, *content, **named)
            return
        if original.__name__ == "loadCheckpoint":  # of a file that may be damaged
            _check_size(self, content[0] if content else b"")
        types = openmm.State
        state: Any = content[0] if content else None
        held = state.getDataTypes() if isinstance(state, openmm.State) else -1  # all
        if held & types.IntegratorParameters:
            integrator._reload()
        elif state.getStepCount() and held & types.Velocities:
            warnings.warn(
                "the state has no variables of an integrator, or its file is damaged: "
                "a LearnedCGIntegrator starts from its positions without history",
                stacklevel=2,
            )
        try:
            original(self, *content, **named)
        except openmm.OpenMMException as error:
            _accept_foreign(error)
        if held & types.IntegratorParameters and held & types.Positions:
            integrator._check_loaded()

    return fill


def _check_size(context: openmm.Context, checkpoint: Any) -> None:
    """Refuse a checkpoint that ends in the positions: some would be set, some not."""
    n = context.getSystem().getNumParticles()
    if isinstance(checkpoint, bytes) and 0 < len(checkpoint) < _LEAST * n:
        raise openmm.OpenMMException(
            f"a checkpoint of {n} particles has at least {_LEAST * n} bytes, this one "
            f"has {len(checkpoint)}: it is cut short, or of another System; take an "
            "earlier one"
        )


def _accept_foreign(error: openmm.OpenMMException) -> None:
    """Go on where only the variables of another integrator could not be read.

    OpenMM reads them last: time, box, positions and velocities are set.
    """
    text = str(error)
    of_integrator = ("IntegratorParameters", "global variable", "per-DOF variable")
    if any(words in text for words in of_integrator):
        warnings.warn(
            "the state was written by another integrator: its time, box and positions "
            "were taken, a LearnedCGIntegrator starts from them without history, with "
            "the seed it has",
            stacklevel=4,
        )
        return
    raise openmm.OpenMMException(
        f"{text}: this file is of another System or damaged; take box and positions "
        "from a state alone, state = openmm.XmlSerializer.deserialize(text), "
        "context.setPeriodicBoxVectors(*state.getPeriodicBoxVectors()), "
        "context.setPositions(state.getPositions())"
    ) from error


def _refuse_remains(integrator: Any, kind: type[Any]) -> None:
    """Refuse our C++ half without its Python half: it would stand still."""
    inner = [integrator]
    if isinstance(integrator, openmm.CompoundIntegrator):
        count = integrator.getNumIntegrators()
        inner = [integrator.getIntegrator(i) for i in range(count)]
    for item in inner:
        if isinstance(item, openmm.CustomIntegrator) and ARMED in _globals_of(item):
            raise ValueError(
                f"a {kind.__name__} must drive its Context by itself, got "
                + (
                    "one inside a CompoundIntegrator"
                    if item is not integrator
                    else "a copy of one made through XML"
                )
                + f": build a {kind.__name__} and pass it to the Context"
            )


def _globals_of(integrator: openmm.CustomIntegrator) -> list[str]:
    """Name the global variables of an integrator."""
    count = integrator.getNumGlobalVariables()
    return [integrator.getGlobalVariableName(i) for i in range(count)]
