"""The learned propagator inside OpenMM.

    from openmm_cgml import LearnedCGIntegrator

    integrator = LearnedCGIntegrator("copolymer-chain", topology=topology)
    simulation = Simulation(topology, system, integrator)

Trajectories: OpenMM's own reporters are right. DCD headers hold the time between
frames as step size times interval, which MDAnalysis, VMD and cgml read; mdtraj takes
no times from any DCD file and counts frames, so prefer XTC for it.
"""

from openmm_cgml.beads import bead_simulation
from openmm_cgml.convert import graph_from_topology
from openmm_cgml.integrator import LearnedCGIntegrator
from openmm_cgml.reporter import GuardReporter

__all__ = [
    "GuardReporter",
    "LearnedCGIntegrator",
    "bead_simulation",
    "graph_from_topology",
]
