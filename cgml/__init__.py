"""Learned coarse-grained molecular dynamics: the core under OpenMM and ASE adapters.

from cgml import Mapping, MolecularGraph, Propagator, load_model
"""

from cgml.export import ModelFileError as ModelFileError
from cgml.export import bundled_models as bundled_models
from cgml.export import load_model as load_model
from cgml.guards import GuardError as GuardError
from cgml.mapping import Mapping as Mapping
from cgml.propagator import Propagator as Propagator
from cgml.propagator import State as State
from cgml.topology import MolecularGraph as MolecularGraph
