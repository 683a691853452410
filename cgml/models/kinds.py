"""Which kinds of models there are: the one table that tells them apart.

What needs torch is imported when it is called: a spec is read without.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from cgml.published.spec import PublishedSpec
from cgml.spec import BaseSpec, Execution, ModelSpec, Refinement

if TYPE_CHECKING:
    from torch import nn

    from cgml.contract.stepper import Stepper
    from cgml.molecules.systems import Systems


class Kind(NamedTuple):
    """What a kind of model brings; `Any` is the spec of that kind.

    Attributes:
        spec: what its file says.
        networks: spec -> networks, to be filled with the weights of a file.
        program: spec, networks -> what a file holds besides, see contract/program.py.
        stepper: networks, spec, systems, sampler or None, execution -> Stepper.
    """

    spec: type[BaseSpec]
    networks: "Callable[[Any], nn.Module]"
    program: "Callable[[Any, Any], nn.Module]"
    stepper: "Callable[[Any, Any, Systems, Refinement | None, Execution], Stepper]"


def _made(module: str, name: str, *given: Any) -> Any:
    """Call what a module has, which is imported only then."""
    return getattr(import_module(module), name)(*given)


OWN = "cgml"
"""Kind of the files that do not name one: models trained here."""
KINDS = {
    OWN: Kind(
        ModelSpec,
        networks=partial(_made, "cgml.network.model", "Model"),
        program=partial(_made, "cgml.network.program", "OwnProgram"),
        stepper=partial(_made, "cgml.network.stepper", "LearnedStepper"),
    ),
    "graphwm": Kind(
        PublishedSpec,
        networks=partial(_made, "cgml.published.model", "published_model"),
        program=partial(_made, "cgml.published.program", "PublishedProgram"),
        stepper=partial(_made, "cgml.published.stepper", "PublishedStepper"),
    ),
}
"""Name of a kind, as its spec and its files have it -> what it brings."""
