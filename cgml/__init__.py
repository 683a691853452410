"""A learned propagator for coarse-grained molecular dynamics.

This is the public face; importing it costs what is used. The packages behind it stand
in docs/architecture.md.

For example:
    from cgml import Propagator, load_model
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgml.contract.state import State
    from cgml.dynamics.propagator import Propagator
    from cgml.models.file import load_model
    from cgml.molecules.graph import MolecularGraph
    from cgml.molecules.mapping import Mapping
    from cgml.spec import Execution

__version__ = "0.2.0"
__all__ = [
    "Execution",
    "Mapping",
    "MolecularGraph",
    "Propagator",
    "State",
    "__version__",
    "load_model",
]

if not TYPE_CHECKING:  # a type checker must see that other names do not exist
    _HOMES = {
        "Execution": "cgml.spec",
        "Mapping": "cgml.molecules.mapping",
        "MolecularGraph": "cgml.molecules.graph",
        "Propagator": "cgml.dynamics.propagator",
        "State": "cgml.contract.state",
        "load_model": "cgml.models.file",
    }

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value

    def __dir__() -> list[str]:
        """List the public names, imported or not, beside the rest."""
        return sorted({*globals(), *__all__})
