"""Learned coarse-grained dynamics in ASE.

Example:
    >>> from ase_cgml import CGMLDynamics
    >>> CGMLDynamics.__name__
    'CGMLDynamics'
"""

from ase_cgml.beads import bead_atoms as bead_atoms
from ase_cgml.calculator import CGMLDynamics as CGMLDynamics
from ase_cgml.convert import graph_from_atoms as graph_from_atoms
from ase_cgml.dynamics import LearnedCGMD as LearnedCGMD
