"""Learned coarse-grained dynamics in ASE.

Example:
    >>> from ase_cgml import CGMLDynamics
    >>> CGMLDynamics.__name__
    'CGMLDynamics'
"""

from typing import TYPE_CHECKING

from cgml.lazy import attach

if TYPE_CHECKING:
    from ase_cgml.beads import bead_atoms
    from ase_cgml.calculator import CGMLDynamics
    from ase_cgml.convert import graph_from_atoms
    from ase_cgml.dynamics import LearnedCGMD

__all__ = ["CGMLDynamics", "LearnedCGMD", "bead_atoms", "graph_from_atoms"]

if not TYPE_CHECKING:  # a type checker must see that other names do not exist
    __getattr__, __dir__ = attach(
        __name__,
        {
            "CGMLDynamics": "ase_cgml.calculator",
            "LearnedCGMD": "ase_cgml.dynamics",
            "bead_atoms": "ase_cgml.beads",
            "graph_from_atoms": "ase_cgml.convert",
        },
    )
