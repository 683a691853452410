"""A learned propagator for coarse-grained molecular dynamics.

This is the public face; importing it costs what is used. The packages behind it stand
in docs/architecture.md.

For example:
    from cgml import Propagator, load_model
"""

from typing import TYPE_CHECKING

from cgml.lazy import attach

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
    __getattr__, __dir__ = attach(
        __name__,
        {
            "Execution": "cgml.spec",
            "Mapping": "cgml.molecules.mapping",
            "MolecularGraph": "cgml.molecules.graph",
            "Propagator": "cgml.dynamics.propagator",
            "State": "cgml.contract.state",
            "load_model": "cgml.models.file",
        },
    )
